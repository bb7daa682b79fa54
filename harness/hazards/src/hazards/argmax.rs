//! Argmax between pixels and logits: which entry is largest, not how large it is.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "argmax",
        unreliable: true,
        raised_if: "ArgMax, ArgMin, Hardmax or OneHot is applied to something that depends on the pixels, and the logits \
                    depend on the result",
        explanation: "The index of the largest entry is piecewise constant and has no derivative: an attack that follows the \
                      gradient gets no information about what lies behind it.",
        advice: "Let attacks look through it: --remedy straight-through takes the derivative of a softmax for Hardmax and for \
                 OneHot of ArgMax. The verdict is that of the untouched model. Add an attack without gradients.",
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let positions = |op: &str| matches!(op, "ArgMax" | "ArgMin" | "Hardmax" | "OneHot");
    cause(reading.between().filter(|n| positions(&n.op)), "between pixels and logits")
}
