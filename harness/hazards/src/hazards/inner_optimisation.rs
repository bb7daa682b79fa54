//! Loops and branches on data inside a model: an optimisation that runs when it is asked.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "inner-optimisation",
        unreliable: true,
        raised_if: "Loop, Scan, If or a training operator stands between pixels and logits, and what it does depends on the \
                    pixels",
        explanation: "Defences that optimise, purify or search at inference look robust because a gradient through them is \
                      wrong or missing (Tramèr et al. 2020, «On adaptive attacks»).",
        advice: "Export the model with the loop unrolled, or attack the classifier behind it and try the adversarial examples \
                 on the whole.",
    },
    remedies: &[],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let loops = |op: &str| matches!(op, "Loop" | "Scan" | "If" | "SequenceMap");
    let trains = |domain: &str| domain == "ai.onnx.preview.training";
    cause(reading.between().filter(|n| loops(&n.op) || trains(&n.domain)), "between pixels and logits")
}
