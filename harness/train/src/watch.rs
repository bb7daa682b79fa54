//! Catastrophic overfitting: a model that is trained at the points of a single step learns to withstand that step and nothing else,
//! within an epoch. After every epoch fixed training images are attacked with that step and with the attack of the evaluation.
//! Source: Wong, Rice, Kolter 2020 (arXiv:2001.03994), section 5.4. Knows accuracies; nothing of trainers.

use std::sync::atomic::AtomicBool;

use flatscape_intake::data::Dataset;
use flatscape_measure::stage::Values;
use flatscape_report::training::Rate;

use crate::evaluate::{Evaluation, rate};
use crate::learner::{Inner, LearnError};

/// Training images that are watched, at most.
pub const WATCHED: usize = 256;

/// The fall of an accuracy that counts, absolute.
const FALL: f64 = 0.2;

/// The single step that a model is trained with, on the evaluation form, and the images.
pub struct Watch {
    single: Inner,
    ids: Vec<u64>,
}

/// What was found after an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watched {
    /// Accuracy at the points of the single step.
    pub single: Rate,
    /// Accuracy at the last points of the attack of the evaluation.
    pub robust: Rate,
}

impl Watch {
    /// Watches the first of these images; `single` is compiled on the evaluation form.
    pub fn new(single: Inner, training: &[u64]) -> Watch {
        Watch { single, ids: training[..training.len().min(WATCHED)].to_vec() }
    }

    /// Attacks the images twice; `None` where the evaluation has no attack.
    ///
    /// # Errors
    /// A graph failed, or somebody asked to stop.
    pub fn of(
        &self,
        evaluation: &Evaluation,
        weights: &Values,
        data: &Dataset,
        stop: &AtomicBool,
    ) -> Result<Option<Watched>, LearnError> {
        let Some(strong) = evaluation.attack() else { return Ok(None) };
        let held = |inner: &Inner| evaluation.held(inner, weights, data, &self.ids, stop);
        let (single, robust) = (held(&self.single)?, held(strong)?);
        Ok(Some(Watched { single: rate(single, self.ids.len()), robust: rate(robust, self.ids.len()) }))
    }
}

/// A sentence where a model has overfitted: its accuracy under the attack is more than 0.2 below `best`, the largest before, and more
/// than 0.2 below that under the single step. If both accuracies fall, the model is bad and has not overfitted to the step.
pub fn overfitted(best: Option<f64>, now: &Watched) -> Option<String> {
    let best = best?;
    let (single, robust) = (now.single.share, now.robust.share);
    (best - robust > FALL && single - robust > FALL).then(|| {
        format!(
            "of {} training images {:.2} % hold against the attack, down from {:.2} %, and {:.2} % hold against the single step",
            now.robust.n,
            100.0 * robust,
            100.0 * best,
            100.0 * single
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(single: usize, robust: usize) -> Watched {
        Watched { single: rate(single, 100), robust: rate(robust, 100) }
    }

    #[test]
    fn a_fall_under_the_attack_alone_is_overfitting() {
        assert_eq!(overfitted(None, &watched(90, 0)), None);
        assert_eq!(overfitted(Some(0.5), &watched(90, 31)), None);
        // a model that becomes bad as a whole
        assert_eq!(overfitted(Some(0.5), &watched(20, 10)), None);
        let said = overfitted(Some(0.5), &watched(95, 29)).expect("overfitted");
        assert!(said.contains("29.00 % hold against the attack, down from 50.00 %, and 95.00 %"), "{said}");
    }
}
