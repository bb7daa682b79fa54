//! Rounding between pixels and logits.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "rounding",
        unreliable: true,
        raised_if: "Round, Floor or Ceil is applied to something that depends on the pixels, and the logits depend on the result",
        explanation: "The derivative of rounding is zero almost everywhere: an attack that follows the gradient gets no \
                      information about what lies behind it, and the robust accuracy that it reports is meaningless.",
        advice: "Let attacks look through it: --remedy straight-through (Athalye et al. 2018, BPDA). The verdict is that of \
                 the untouched model. Add an attack without gradients.",
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let rounded: Vec<_> = reading.between().filter(|n| matches!(&*n.op, "Round" | "Floor" | "Ceil")).collect();
    // round(x·k)/k is a quantiser of step 1/k
    let step = rounded.iter().find_map(|node| {
        let scaled = reading.producer(node.input(0)?)?;
        let number = reading.number(scaled, 1).or_else(|| reading.number(scaled, 0))?;
        match &*scaled.op {
            "Mul" => Some(1.0 / number),
            "Div" => Some(number),
            _ => None,
        }
    });
    let steps = step.map_or(String::new(), |step| format!(", in steps of {:.4}", step.abs()));
    cause(rounded, &format!("between pixels and logits{steps}"))
}
