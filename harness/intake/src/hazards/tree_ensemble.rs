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
        explanation: "Trees compare and answer with constants: the model is a staircase, its gradient is zero almost everywhere, and attacks that follow it stand still.",
        advice: "Use an attack without gradients; a robust accuracy under attacks by gradient says nothing here.",
    },
    remedies: &[],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    // the normal form has them as walks down their nodes
    let looks = |n: &&flatscape_graph::Node| n.name.starts_with(TREES) && &*n.op == "GatherElements";
    cause(reading.between().filter(looks), "between pixels and logits")
}
