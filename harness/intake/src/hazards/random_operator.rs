//! Operators that draw random numbers.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "random-operator",
        unreliable: true,
        raised_if: "the logits depend on RandomNormal, RandomUniform, Bernoulli or Multinomial",
        explanation: "Two runs of the same image differ, so one lucky draw counts as an adversarial example and one unlucky \
                      gradient misleads an attack; engines draw from a sequence, so even a stated seed gives other numbers in \
                      another session.",
        advice: "Export the model without its noise. --remedy average lets attacks see the mean over 8 draws; the verdict \
                 still rests on single draws and is not to be trusted.",
    },
    remedies: &["average"],
    find,
};

/// Operators that draw.
pub(crate) const OPS: &[&str] =
    &["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"];

fn find(reading: &Reading) -> Option<Cause> {
    cause(reading.needed().filter(|n| OPS.contains(&&*n.op)), "before the logits")
}
