//! The verdict: one sentence per model and threat model, and one-sided. It says what was shown and never more.

use std::collections::BTreeSet;

use plotters::prelude::*;

use crate::palette::{CURVES, INK};
use crate::record::Record;
use crate::svg::{Anchor, Ink, at, fill, label, line, picture, rule, stroke};
use crate::table::{flags_of, groups};
use crate::text::{percent, shown};

/// A rate with its interval and n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The rate, in [0, 1].
    pub value: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
    /// Number of samples behind it.
    pub n: u64,
}

/// What is said about one model under one threat model.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Name of the model, as it may be shown.
    pub model: String,
    /// Data set, split and threat model, in words.
    pub about: String,
    /// The sentence, without its subject: `robust accuracy is at most 41.2 % [39.8, 42.7] under these attacks …`.
    pub sentence: String,
    /// Accuracy on the unperturbed samples.
    pub clean: Option<Rate>,
    /// Share of samples that no attack broke: robust accuracy is at most this.
    pub bound: Option<Rate>,
    /// Every flag raised for the model under this threat model, once.
    pub flags: Vec<String>,
}

/// One verdict per model and threat model. The bound is the `union` row, or the lowest attack where there is no such row. A
/// model of which nothing could be measured is named once.
pub fn verdicts(records: &[Record]) -> Vec<Verdict> {
    let mut refused = BTreeSet::new();
    let mut verdicts = Vec::new();
    for group in &groups(records) {
        for (model, records) in group.models() {
            let measured = records.iter().any(|record| record.value.is_some());
            if measured || refused.insert((model, records[0].model_sha256.as_str())) {
                verdicts.push(verdict(shown(model), group.title(), &records));
            }
        }
    }
    verdicts
}

/// The verdict as a line from 0 to 100 %: a dot with its interval for the bound, a ring for clean accuracy.
pub(crate) fn bar_svg(verdict: &Verdict) -> String {
    const WIDTH: f64 = 250.0;
    let across = |rate: f64| 14.0 + (WIDTH - 28.0) * rate.clamp(0.0, 1.0);
    let spelled = |name: &str, rate: Option<Rate>| rate.map(|rate| format!("{name} {}", percent(rate.value, rate.interval)));
    let description: Vec<String> =
        [spelled("at most", verdict.bound), spelled("clean accuracy", verdict.clean)].into_iter().flatten().collect();
    picture((WIDTH, 34.0), &description.join(", "), |canvas| {
        rule(canvas, (across(0.0), 12.0), (across(1.0), 12.0))?;
        for (rate, words) in [(0.0, "0"), (0.25, ""), (0.5, "50 %"), (0.75, ""), (1.0, "100 %")] {
            rule(canvas, (across(rate), 8.0), (across(rate), 16.0))?;
            let (anchor, x) = if rate < 1.0 { (Anchor::Middle, across(rate)) } else { (Anchor::End, WIDTH) };
            label(canvas, (x, 30.0), anchor, 10.0, Ink::Quiet, words, 8)?;
        }
        if let Some(clean) = verdict.clean {
            canvas.draw(&Circle::new(at((across(clean.value), 12.0)), 42, stroke(INK, 15)))?;
        }
        if let Some(bound) = verdict.bound {
            let (low, high) = bound.interval.unwrap_or((bound.value, bound.value));
            let pale = RGBColor::from(CURVES[0]).mix(0.45).stroke_width(50);
            line(canvas, &[(across(low), 12.0), (across(high), 12.0)], pale)?;
            canvas.draw(&Circle::new(at((across(bound.value), 12.0)), 44, fill(CURVES[0])))?;
        }
        Ok(())
    })
}

fn verdict(model: String, about: String, records: &[&Record]) -> Verdict {
    let clean = records.iter().rev().filter(|record| record.metric == "clean_accuracy").find_map(|record| rate(record));
    let robust: Vec<(&Record, Rate)> = records
        .iter()
        .filter(|record| record.metric == "robust_accuracy")
        .filter_map(|record| Some((*record, rate(record)?)))
        .collect();
    let union = robust.iter().rev().find(|(record, _)| record.component == "union");
    let lowest = robust.iter().min_by(|a, b| a.1.value.total_cmp(&b.1.value));
    let bound = union.or(lowest).map(|&(_, rate)| rate);
    let mut attacks: Vec<String> = Vec::new();
    for (record, _) in robust.iter().filter(|(record, _)| record.component != "union") {
        let attack = shown(&record.component);
        if !attacks.contains(&attack) {
            attacks.push(attack);
        }
    }
    let flags = flags_of(records);
    let measured = records.iter().any(|record| record.value.is_some());
    let sentence = match bound {
        Some(bound) => {
            let attacks = if attacks.is_empty() { String::new() } else { format!(" ({})", attacks.join(", ")) };
            format!(
                "robust accuracy is at most {} under these attacks{attacks}, n={}.",
                percent(bound.value, bound.interval),
                bound.n
            )
        }
        None if !measured && !flags.is_empty() => format!("nothing could be measured: {}.", flags.join(", ")),
        None => "no attack has finished, so nothing is said about its robustness.".to_owned(),
    };
    Verdict { model, about, sentence, clean, bound, flags }
}

fn rate(record: &Record) -> Option<Rate> {
    let value = record.value.filter(|value| value.is_finite())?;
    Some(Rate { value, interval: record.ci_low.zip(record.ci_high), n: record.n })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, component: &str, metric: &str, value: Option<f64>) -> Record {
        Record {
            model: model.into(),
            dataset: "digits".into(),
            component: component.into(),
            threat: "linf:8/255".into(),
            metric: metric.into(),
            value,
            ci_low: value.map(|value| value - 0.014),
            ci_high: value.map(|value| value + 0.015),
            n: 1000,
            ..Record::default()
        }
    }

    #[test]
    fn the_verdict_is_one_sided_and_takes_the_union() {
        let records = [
            row("a", "fgsm", "robust_accuracy", Some(0.6)),
            row("a", "pgd", "robust_accuracy", Some(0.45)),
            row("a", "union", "robust_accuracy", Some(0.412)),
            row("b", "pgd", "robust_accuracy", Some(0.3)),
            row("b", "fgsm", "robust_accuracy", Some(0.5)),
            row("c", "", "clean_accuracy", Some(0.9)),
            Record { flags: vec!["M031".into()], ..row("d", "", "", None) },
        ];
        let sentences: Vec<String> =
            verdicts(&records).into_iter().map(|verdict| format!("{}: {}", verdict.model, verdict.sentence)).collect();
        assert_eq!(
            sentences,
            [
                "a: robust accuracy is at most 41.2 % [39.8, 42.7] under these attacks (fgsm, pgd), n=1000.",
                "b: robust accuracy is at most 30.0 % [28.6, 31.5] under these attacks (pgd, fgsm), n=1000.",
                "c: no attack has finished, so nothing is said about its robustness.",
                "d: nothing could be measured: M031.",
            ]
        );
    }
}
