//! Layers that keep only their largest entries (k-WTA).

use flatscape_graph::{Node, ValueId};

use super::reading::{Reading, cause};
use super::{COMPARISONS, Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "winner-take-all",
        unreliable: true,
        raised_if: "TopK chooses which entries are passed on, by comparing with the k-th or by position",
        explanation: "Which entries are kept changes with every small step, so the model is discontinuous in many places and \
                      the gradient at one point says little about the next (k-WTA was broken by attacks that do not follow \
                      it: Tramèr et al. 2020).",
        advice: "--remedy straight-through lets the gradient pass as if every entry were kept, where the kept entries are \
                 chosen by comparing with the k-th. Add an attack without gradients, with many queries.",
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let chooses: Vec<&Node> = reading.between().filter(|n| &*n.op == "TopK").collect();
    let thresholds = below(reading, |n| n.output(0).filter(|_| &*n.op == "TopK"));
    let compares = |n: &Node| COMPARISONS.contains(&&*n.op) && n.inputs.iter().flatten().any(|v| thresholds[v.0 as usize]);
    let by_threshold = reading.between().any(compares);
    let marks = |n: &Node| chooses.iter().any(|c| c.output(1).is_some_and(|i| marked_by(reading, n, i)));
    let by_place = !chooses.is_empty() && reading.between().any(marks);
    // the largest values themselves move with the pixels, and nothing jumps
    cause(
        chooses.into_iter().filter(|_| by_threshold || by_place),
        "keeps some entries and drops others, between pixels and logits",
    )
}

/// Whether a node uses positions for anything but fetching from where they were found.
fn marked_by(reading: &Reading, node: &Node, positions: ValueId) -> bool {
    let fetches = matches!(&*node.op, "GatherElements" | "Gather" | "GatherND");
    let found_in = reading.producer(positions).and_then(|n| n.input(0));
    node.inputs.contains(&Some(positions)) && !(fetches && node.input(0) == found_in)
}

/// Per value: whether it depends on what `start` names.
fn below(reading: &Reading, start: impl Fn(&Node) -> Option<ValueId>) -> Vec<bool> {
    let mut below = vec![false; reading.graph.values().len()];
    for node in reading.between() {
        if let Some(value) = start(node) {
            below[value.0 as usize] = true;
        }
        if node.inputs.iter().flatten().any(|v| below[v.0 as usize]) {
            node.outputs.iter().flatten().for_each(|v| below[v.0 as usize] = true);
        }
    }
    below
}
