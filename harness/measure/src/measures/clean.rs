//! Predictions on the images themselves.

use flatscape_intake::scores::{argmax, is_undefined, log_sum_exp, margin};

use super::{CleanAnswer, Conditions, Group, Measure, Watch, class};
use crate::columns::{DRAWN_SHARE, FLOAT32_MARGIN, FLOAT32_PREDICTION, RIVAL_ENTROPY, ROUNDED_PREDICTION};
use crate::error::MeasureError;
use crate::findings::Findings;

/// The images, each alone and in batches of the sizes that the run uses.
pub(crate) struct Clean;

impl Measure for Clean {
    fn group(&self, conditions: &Conditions) -> usize {
        conditions.settings.batch_size
    }

    fn doubts_batches(&self) -> bool {
        true
    }

    fn measure(&self, on: &Group, _: &mut Watch) -> Result<(Findings, Option<MeasureError>), MeasureError> {
        Ok((self.findings(on), None))
    }

    fn skipped(&self, on: &Group) -> Result<Findings, MeasureError> {
        Ok(self.findings(on))
    }
}

impl Clean {
    fn findings(&self, on: &Group) -> Findings {
        let mut findings = on.findings();
        // what an attack ascends is computed from the scores of the graph
        let logits = |answer: &CleanAnswer| answer.others.float32.as_ref().unwrap_or(&answer.scores).clone();
        let all = || on.clean.iter().zip(&on.batch.y).map(|(answer, &y)| (logits(answer), y as usize));
        if on.verifier.draws() > 1 {
            findings.put(&DRAWN_SHARE, on.clean.iter().map(|answer| answer.share.unwrap_or(f64::NAN)).collect());
        }
        findings.put(&RIVAL_ENTROPY, all().map(|(scores, y)| rival_entropy(&scores, y)).collect());
        if on.verifier.asks_the_file() {
            findings.put(&FLOAT32_PREDICTION, all().map(|(scores, _)| class(argmax(&scores))).collect());
            findings.put(&FLOAT32_MARGIN, all().map(|(scores, y)| margin(&scores, y)).collect());
        }
        if on.verifier.rounds() {
            let rounded = on.clean.iter().map(|a| a.others.rounded.as_deref().map_or(a.prediction, argmax));
            findings.put(&ROUNDED_PREDICTION, rounded.map(class).collect());
        }
        findings
    }
}

/// See [`RIVAL_ENTROPY`].
fn rival_entropy(scores: &[f64], label: usize) -> f64 {
    if is_undefined(scores) {
        return f64::NAN;
    }
    let rivals: Vec<f64> = scores.iter().enumerate().filter(|&(k, _)| k != label).map(|(_, &z)| z).collect();
    if rivals.len() < 2 {
        return 0.0;
    }
    // −∞ is a class that cannot be
    let total = log_sum_exp(&rivals);
    let terms = rivals.iter().map(|z| z - total).filter(|l| l.is_finite()).map(|l| -l.exp() * l);
    terms.sum::<f64>() / (rivals.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::rival_entropy;

    #[test]
    fn the_entropy_of_rivals_has_its_closed_forms() {
        let close = |scores: &[f64], label, expected: f64| {
            let found = rival_entropy(scores, label);
            assert!((found - expected).abs() < 1e-12, "{scores:?}: {found} is not {expected}");
        };
        close(&[9.0, 1.0, 1.0, 1.0], 0, 1.0);
        close(&[1000.0, 0.0, -1000.0, -2000.0], 1, 0.0);
        close(&[5.0, 0.0], 0, 0.0);
        // q = (3/4, 1/4): −(3/4 ln 3/4 + 1/4 ln 1/4) / ln 2
        close(&[3f64.ln(), 7.0, 0.0], 1, 2.0 - 0.75 * 3f64.log2());
        close(&[0.0, 7.0, f64::NEG_INFINITY, 0.0], 1, 2f64.ln() / 3f64.ln());
        assert!(rival_entropy(&[f64::NAN, 0.0, 1.0], 2).is_nan());
    }
}
