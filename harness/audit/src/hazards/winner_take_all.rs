//! Layers that keep only their largest entries (k-WTA).

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::flags::Flag;

pub(super) const HAZARD: Hazard = Hazard {
    flag: Flag {
        code: "winner-take-all",
        unreliable: true,
        raised_if: "TopK stands between pixels and logits",
        explanation: "Which entries are kept changes with every small step, so the model is discontinuous in many places and the gradient at one point \
                      says little about the next (k-WTA was broken by attacks that do not follow it: Tramèr et al. 2020).",
        advice: "--remedy straight-through lets the gradient pass as if every entry were kept, where the kept entries are chosen by comparing with the \
                 k-th. Add an attack without gradients, with many queries.",
        judge: |evidence| evidence.hazard("winner-take-all"),
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    cause(reading.between().filter(|n| &*n.op == "TopK"), "between pixels and logits")
}
