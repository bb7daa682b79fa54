//! Thresholds: comparisons whose truth value is used as a number. A comparison that only chooses between values, or switches a
//! value on and off, is an ordinary kink and not a hazard.

use flatscape_graph::{Node, ValueId};

use super::reading::{Reading, cause, operands};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "threshold",
        unreliable: true,
        raised_if: "the truth value of a comparison that depends on the pixels is used as a number, not only to choose or to \
                    switch",
        explanation: "The result is piecewise constant: its derivative is zero almost everywhere, and an attack that follows \
                      the gradient gets no information about what lies behind it.",
        advice: "Let attacks look through it: --remedy straight-through takes the derivative of a smooth step. The verdict is \
                 that of the untouched model. Add an attack without gradients.",
    },
    remedies: &["straight-through"],
    find,
};

/// Operators that compare numbers.
pub(crate) const COMPARISONS: &[&str] = &["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"];

fn find(reading: &Reading) -> Option<Cause> {
    cause(thresholds(reading), "whose truth becomes a number between pixels and logits")
}

/// The comparisons that become numbers.
pub(crate) fn thresholds<'a>(reading: &Reading<'a>) -> Vec<&'a Node> {
    let nodes: Vec<&Node> = reading.between().collect();
    let is_root = |node: &Node| COMPARISONS.contains(&&*node.op) && operands(node).any(|v| reading.is_active(v));
    let is_frozen = |node: &Node| node.outputs.iter().flatten().all(|&v| reading.is_frozen(v));
    // forwards: values that are made of comparisons and of nothing that has a derivative, and where they are used as numbers
    let mut stepped = vec![false; reading.graph.values().len()];
    let mut used = vec![false; reading.graph.values().len()];
    for node in &nodes {
        if is_root(node) || operands(node).any(|v| stepped[v.0 as usize]) {
            if is_frozen(node) {
                node.outputs.iter().flatten().for_each(|v| stepped[v.0 as usize] = true);
            } else if !switches(node, |v| stepped[v.0 as usize]) {
                operands(node).filter(|v| stepped[v.0 as usize]).for_each(|v| used[v.0 as usize] = true);
            }
        }
    }
    used[reading.logits.0 as usize] |= stepped[reading.logits.0 as usize];
    // backwards: to the comparisons that they are made of
    let mut found = Vec::new();
    for node in nodes.iter().rev().filter(|n| is_frozen(n)) {
        if node.outputs.iter().flatten().any(|v| used[v.0 as usize]) {
            if is_root(node) {
                found.push(*node);
            } else {
                operands(node).filter(|v| stepped[v.0 as usize]).for_each(|v| used[v.0 as usize] = true);
            }
        }
    }
    found.reverse();
    found
}

/// Whether a node that carries a derivative uses its step-like operands to choose or to switch only.
fn switches(node: &Node, is_step: impl Fn(ValueId) -> bool) -> bool {
    let steps: Vec<usize> = (0..node.inputs.len()).filter(|&i| node.input(i).is_some_and(&is_step)).collect();
    match &*node.op {
        "Mul" | "Div" => true,
        "Where" => steps == [0],
        "Gather" | "GatherElements" | "GatherND" | "ScatterElements" | "ScatterND" => !steps.contains(&0),
        _ => false,
    }
}
