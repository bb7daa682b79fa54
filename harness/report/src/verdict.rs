//! The verdict: one sentence per model and threat model, and one-sided. It says what was shown and never more.

use std::collections::BTreeSet;

use plotters::prelude::*;

use crate::failure::UNSUPPORTED;
use crate::label::Labels;
use crate::palette::{CURVES, INK};
use crate::record::Record;
use crate::svg::{Anchor, Ink, at, fill, label, line, picture, rule, stroke};
use crate::table::{Group, flags_of, groups};
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
    /// SHA-256 of the model file, as it may be shown.
    pub model_sha256: String,
    /// Name of the data set, as it may be shown.
    pub dataset: String,
    /// `test` or `train`.
    pub split: String,
    /// Threat model as spelled, as it may be shown; empty where none was used.
    pub threat: String,
    /// Budget of the threat model in pixel units.
    pub eps: Option<f64>,
    /// The attacks behind the bound, as they may be shown: `pgd`, or `pgd:steps=50` beside another `pgd`.
    pub attacks: Vec<String>,
    /// The sentence, without its subject: `robust accuracy is at most 41.2 % [39.8, 42.7] under these attacks …`.
    pub sentence: String,
    /// Accuracy on the unperturbed samples.
    pub clean: Option<Rate>,
    /// Share of samples that no attack broke: robust accuracy is at most this. For models that take integers the points are
    /// stored as 8-bit pixels.
    pub bound: Option<Rate>,
    /// The same for points that were not rounded to 8-bit pixels, for models that take integers.
    pub continuous: Option<Rate>,
    /// The bound before the audit tried harder because gradients looked masked; `bound` supersedes it.
    pub superseded: Option<Rate>,
    /// Share of samples that no image of the ball can change.
    pub certified: Option<Rate>,
    /// Share of samples that at least one attack saw, where that is not all of them.
    pub coverage: Option<Rate>,
    /// Every flag raised for the model under this threat model, once.
    pub flags: Vec<String>,
}

/// One verdict per model and threat model. The bound is the `union` row, or the lowest attack where there is no such row. A
/// model of which nothing could be measured is named once.
pub fn verdicts(records: &[Record]) -> Vec<Verdict> {
    let labels = Labels::of(records);
    let mut refused = BTreeSet::new();
    let mut verdicts = Vec::new();
    for group in &groups(records) {
        for (model, records) in group.models() {
            let measured = records.iter().any(|record| record.value.is_some());
            if measured || refused.insert((model, records[0].model_sha256.as_str())) {
                verdicts.push(verdict(group, model, &records, &labels));
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

fn verdict(group: &Group, model: &str, records: &[&Record], labels: &Labels) -> Verdict {
    let clean = records.iter().rev().filter(|record| record.metric == "clean_accuracy").find_map(|record| rate(record));
    let mut attacks: Vec<String> = Vec::new();
    for record in records.iter().filter(|record| record.metric == "robust_accuracy" && record.component != "union") {
        let attack = labels.shown(record);
        if rate(record).is_some() && !attacks.contains(&attack) {
            attacks.push(attack);
        }
    }
    let coverage = records.iter().filter(|record| record.metric == "coverage" && record.component == "union");
    let mut verdict = Verdict {
        model: shown(model),
        about: group.title(),
        model_sha256: shown(&records[0].model_sha256),
        dataset: shown(group.dataset),
        split: shown(group.split),
        threat: shown(group.threat),
        eps: group.eps,
        attacks,
        sentence: String::new(),
        clean,
        bound: bound(records, "robust_accuracy"),
        continuous: bound(records, "robust_accuracy_continuous"),
        superseded: bound(records, "robust_accuracy_before_escalation"),
        certified: bound(records, "certified_accuracy"),
        coverage: coverage.filter_map(|record| rate(record)).find(|rate| rate.value < 1.0),
        flags: flags_of(records),
    };
    verdict.sentence = sentence(&verdict, records, labels);
    verdict
}

/// The union of the attacks, or the lowest attack where there is no union.
fn bound(records: &[&Record], metric: &str) -> Option<Rate> {
    let rates = || records.iter().filter(|record| record.metric == metric).filter_map(|record| Some((record, rate(record)?)));
    let union = rates().rfind(|(record, _)| record.component == "union");
    union.or_else(|| rates().min_by(|a, b| a.1.value.total_cmp(&b.1.value))).map(|(_, rate)| rate)
}

fn sentence(verdict: &Verdict, records: &[&Record], labels: &Labels) -> String {
    let Some(bound) = verdict.bound else {
        let measured = records.iter().any(|record| record.value.is_some());
        return if !measured && !verdict.flags.is_empty() {
            format!("nothing could be measured: {}.", verdict.flags.join(", "))
        } else {
            "no attack has finished, so nothing is said about its robustness.".to_owned()
        };
    };
    let spelled = percent(bound.value, bound.interval);
    let attacks = if verdict.attacks.is_empty() { String::new() } else { format!(" ({})", verdict.attacks.join(", ")) };
    let mut sentence = format!("robust accuracy is at most {spelled} under these attacks{attacks}, n={}.", bound.n);
    if let Some(continuous) = verdict.continuous {
        let spelled = percent(continuous.value, continuous.interval);
        sentence += &format!(" The model takes integers: without rounding to 8-bit pixels it would be at most {spelled}.");
    }
    if let Some(certified) = verdict.certified {
        let spelled = percent(certified.value, certified.interval);
        sentence += &format!(" Of the samples, {spelled} are verified: no image of the ball has another class.");
    }
    if let Some(coverage) = verdict.coverage {
        sentence += &format!(
            " Only {} of the samples were attacked; the others count as not broken.",
            percent(coverage.value, coverage.interval)
        );
    }
    let mut failed: Vec<String> = Vec::new();
    for record in
        records.iter().filter(|record| record.metric.is_empty() && record.value.is_none() && !record.component.is_empty())
    {
        for code in record.flags.iter().filter(|flag| *flag != UNSUPPORTED) {
            failed.push(format!("{} ({})", labels.shown(record), shown(code)));
        }
    }
    if !failed.is_empty() {
        sentence += &format!(" These parts failed, and what they did not see counts as not broken: {}.", failed.join(", "));
    }
    sentence
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

    #[test]
    fn what_was_not_attacked_what_failed_and_what_was_not_rounded_is_said() {
        let mut union = row("a", "union", "robust_accuracy", Some(0.5));
        union.args = String::new();
        let records = [
            row("a", "pgd", "robust_accuracy", Some(0.45)),
            union,
            row("a", "union", "robust_accuracy_continuous", Some(0.4)),
            row("a", "union", "coverage", Some(0.9)),
            Record { flags: vec!["P012".into()], ..row("a", "square", "", None) },
            Record { flags: vec![UNSUPPORTED.into()], ..row("a", "deepfool", "", None) },
        ];
        let verdict = verdicts(&records).remove(0);
        assert_eq!(
            verdict.sentence,
            "robust accuracy is at most 50.0 % [48.6, 51.5] under these attacks (pgd), n=1000. The model takes integers: without \
             rounding to 8-bit pixels it would be at most 40.0 % [38.6, 41.5]. Only 90.0 % [88.6, 91.5] of the samples were \
             attacked; the others count as not broken. These parts failed, and what they did not see counts as not broken: square \
             (P012)."
        );
        assert_eq!((verdict.threat.as_str(), verdict.attacks.len()), ("linf:8/255", 1));
    }

    #[test]
    fn two_attacks_of_one_id_are_named_apart() {
        let with = |args: &str| Record { args: args.into(), ..row("a", "pgd", "robust_accuracy", Some(0.5)) };
        let verdict = verdicts(&[with("steps=20,loss=ce"), with("steps=50,loss=ce")]).remove(0);
        assert!(verdict.sentence.contains("(pgd:steps=20, pgd:steps=50)"), "{}", verdict.sentence);
    }
}
