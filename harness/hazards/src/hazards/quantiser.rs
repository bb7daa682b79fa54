//! Quantised arithmetic between pixels and logits.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "quantiser",
        unreliable: false,
        raised_if: "QuantizeLinear, DynamicQuantizeLinear or integer arithmetic stands between pixels and logits",
        explanation: "Quantising rounds. QuantizeLinear and DequantizeLinear are differentiated by a surrogate (1 inside the \
                      range, 0 outside), so attacks by gradient run, on a gradient that is not the model's; integer \
                      arithmetic has no gradient at all, and attacks that need one are refused by row.",
        advice: "Add an attack without gradients; audit the float model from which this one was made and try its adversarial \
                 examples here.",
    },
    remedies: &[],
    find,
};

const OPS: &[&str] = &[
    "QuantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "QLinearAdd",
    "QLinearMul",
    "QGemm",
];

fn find(reading: &Reading) -> Option<Cause> {
    cause(reading.between().filter(|n| OPS.contains(&&*n.op)), "between pixels and logits")
}
