//! What a run could not measure: refused models, failed parts, attacks that do not serve a threat model, samples that an attack
//! never saw. It reads rows and the sentences that the run gives for them.

use crate::label::Labels;
use crate::page::Page;
use crate::record::Record;
use crate::text::{percent, shown, shown_to};

/// Why a model was refused or a part of a run has no result, in a sentence. Fields that do not apply are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Name of the model.
    pub model: String,
    /// Id of the component; empty for a model that was refused.
    pub component: String,
    /// Threat model as spelled.
    pub threat: String,
    /// Id of the refusal, as in the `flags` of rows: `M031`.
    pub code: String,
    /// The sentence, with a way out.
    pub sentence: String,
}

/// The flag of a row about an attack that does not serve the row's threat model.
pub const UNSUPPORTED: &str = "unsupported";

/// One thing that was not measured, as it may be shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gap {
    pub(crate) kind: GapKind,
    /// Name of the model as the rows spell it.
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) component: String,
    pub(crate) threat: String,
    /// Id of the refusal; empty where nothing failed.
    pub(crate) code: String,
    pub(crate) sentence: String,
}

/// What kind of thing was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GapKind {
    /// A model was refused, or a part failed.
    Failed,
    /// An attack does not serve the threat model.
    Unsupported,
    /// An attack did not see every sample.
    Uncovered,
    /// The largest scores of some clean samples are equal.
    Ties,
}

/// Everything that the run did not measure, in the order of the rows; then the failures that no row tells of.
pub(crate) fn gaps(page: &Page) -> Vec<Gap> {
    let labels = Labels::of(&page.records);
    let mut told = vec![false; page.failures.len()];
    let mut gaps: Vec<Gap> = Vec::new();
    for record in &page.records {
        if record.metric.is_empty() && record.value.is_none() {
            for flag in &record.flags {
                gaps.push(unmeasured(record, flag, page, &mut told, &labels));
            }
        }
        gaps.extend(incomplete(record, &labels));
    }
    let untold = page.failures.iter().zip(told).filter(|(_, told)| !told).map(|(failure, _)| Gap {
        kind: GapKind::Failed,
        name: failure.model.clone(),
        model: shown(&failure.model),
        component: shown(&failure.component),
        threat: shown(&failure.threat),
        code: shown(&failure.code),
        sentence: shown_to(&failure.sentence, 1200),
    });
    gaps.extend(untold);
    gaps
}

/// A row without a metric: its flag says why there is no number.
fn unmeasured(record: &Record, flag: &str, page: &Page, told: &mut [bool], labels: &Labels) -> Gap {
    let gap = Gap { code: shown(flag), ..blank(record, labels) };
    if flag == UNSUPPORTED {
        let sentence = "the attack does not serve this threat model, so it says nothing about it".to_owned();
        return Gap { kind: GapKind::Unsupported, code: String::new(), sentence, ..gap };
    }
    let fits = |own: &str, other: &str| own.is_empty() || own == other;
    let about = |failure: &Failure| {
        failure.code == flag
            && fits(&failure.model, &record.model)
            && fits(&failure.component, &record.component)
            && fits(&failure.threat, &record.threat)
    };
    let fitting = || page.failures.iter().enumerate().filter(|(_, failure)| about(failure)).map(|(place, _)| place);
    let place = fitting().find(|&place| !told[place]).or_else(|| fitting().next());
    let sentence = place.map(|place| {
        told[place] = true;
        shown_to(&page.failures[place].sentence, 1200)
    });
    let what = if record.component.is_empty() { "the model was refused" } else { "a part failed and has no result" };
    Gap { sentence: sentence.unwrap_or_else(|| what.to_owned()), ..gap }
}

/// A row that says how much was covered, or how many scores are equal.
fn incomplete(record: &Record, labels: &Labels) -> Option<Gap> {
    let value = record.value?;
    let rate = percent(value, record.ci_low.zip(record.ci_high));
    let n = record.n;
    let (kind, sentence) = match record.metric.as_str() {
        "coverage" if value < 1.0 => {
            (GapKind::Uncovered, format!("only {rate} of the samples were attacked (n={n}); the others count as not broken"))
        }
        "ties" if value > 0.0 => {
            (GapKind::Ties, format!("the largest scores are equal for {rate} of the samples (n={n}); the first of equals counts"))
        }
        _ => return None,
    };
    Some(Gap { kind, sentence, ..blank(record, labels) })
}

fn blank(record: &Record, labels: &Labels) -> Gap {
    Gap {
        kind: GapKind::Failed,
        name: record.model.clone(),
        model: shown(&record.model),
        component: labels.shown(record),
        threat: shown(&record.threat),
        code: String::new(),
        sentence: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_without_a_number_has_a_sentence_and_no_failure_is_lost() {
        let row = |component: &str, metric: &str, value: Option<f64>, flags: &[&str]| Record {
            model: "a".into(),
            component: component.into(),
            threat: "l1:12".into(),
            metric: metric.into(),
            value,
            n: 200,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Record::default()
        };
        let failure = |model: &str, code: &str, sentence: &str| Failure {
            model: model.into(),
            code: code.into(),
            sentence: sentence.into(),
            ..Failure::default()
        };
        let page = Page {
            records: vec![
                row("deepfool", "", None, &[UNSUPPORTED]),
                row("square", "", None, &["P012"]),
                row("square", "robust_accuracy", Some(0.5), &["Q03"]),
                row("square", "coverage", Some(0.25), &[]),
                row("union", "coverage", Some(1.0), &[]),
                row("clean", "ties", Some(0.5), &[]),
                row("fgsm", "", None, &["E001"]),
            ],
            failures: vec![failure("b", "P012", "another model"), failure("a", "P012", "square refused the second part")],
            ..Page::default()
        };
        let found: Vec<(GapKind, String, String)> =
            gaps(&page).into_iter().map(|gap| (gap.kind, gap.component, gap.sentence)).collect();
        let expected = [
            (GapKind::Unsupported, "deepfool", "the attack does not serve this threat model, so it says nothing about it"),
            (GapKind::Failed, "square", "square refused the second part"),
            (GapKind::Uncovered, "square", "only 25.0 % of the samples were attacked (n=200); the others count as not broken"),
            (
                GapKind::Ties,
                "clean",
                "the largest scores are equal for 50.0 % of the samples (n=200); the first of equals counts",
            ),
            (GapKind::Failed, "fgsm", "a part failed and has no result"),
            (GapKind::Failed, "", "another model"),
        ];
        assert_eq!(found, expected.map(|(kind, component, sentence)| (kind, component.to_owned(), sentence.to_owned())));
    }
}
