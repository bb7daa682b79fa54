//! Decision trees between pixels and logits.

use flatscape_graph::normalize::TREES;

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "tree-ensemble",
        unreliable: true,
        raised_if: "a tree ensemble stands between pixels and logits",
        explanation: "Trees compare with thresholds and return constants: the model is piecewise constant, its gradient is \
                      zero almost everywhere, and attacks that follow it do not move.",
        advice: "Use an attack without gradients; a robust accuracy under gradient attacks is meaningless here.",
    },
    remedies: &[],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    // the normal form has them as walks down their nodes
    let looks = |n: &&flatscape_graph::Node| n.name.starts_with(TREES) && &*n.op == "GatherElements";
    cause(reading.between().filter(looks), "between pixels and logits")
}
