//! Operators that draw random numbers.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "random-operator",
        unreliable: true,
        raised_if: "the logits depend on RandomNormal, RandomUniform, Bernoulli or Multinomial",
        explanation: "Two runs of the same image differ. Points are judged over 20 keyed draws, which no attack sees; but an attack \
                      that sees a single draw in every step is misled by it, and finds less than there is (Athalye, Carlini and \
                      Wagner 2018). Draws of Multinomial, or of unknown extents, cannot be keyed: there an engine draws once.",
        advice: "Let attacks ascend the mean loss over draws: --eot 20, or the profile rand. Or export the model without its \
                 noise.",
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
