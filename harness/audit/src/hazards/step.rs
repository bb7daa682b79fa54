//! Comparisons whose truth becomes a number: staircases. A comparison that only chooses between values, or switches one on and
//! off, is an ordinary kink and no hazard.

use flatscape_graph::{Node, ValueId};

use super::reading::{Reading, cause, operands};
use super::{Cause, Hazard};
use crate::flags::Flag;

pub(super) const HAZARD: Hazard = Hazard {
    flag: Flag {
        code: "step",
        unreliable: true,
        raised_if: "the truth of a comparison of something that depends on the pixels is used as a number, and not only to choose or to switch",
        explanation: "The result is a staircase: its derivative is zero almost everywhere, and an attack that follows the gradient sees nothing of \
                      what lies behind it.",
        advice: "Let attacks look through it: --remedy straight-through takes the derivative of a smooth step. The verdict is that of the untouched \
                 model. Add an attack without gradients.",
        judge: |evidence| evidence.hazard("step"),
    },
    remedies: &["straight-through"],
    find,
};

/// Operators that compare numbers.
pub(crate) const COMPARISONS: &[&str] = &["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"];

fn find(reading: &Reading) -> Option<Cause> {
    cause(steps(reading), "whose truth becomes a number between pixels and logits")
}

/// The comparisons that become numbers.
pub(crate) fn steps<'a>(reading: &Reading<'a>) -> Vec<&'a Node> {
    // per value: the comparisons that it is made of, and of nothing else that has a derivative
    let mut made_of: Vec<Vec<usize>> = vec![Vec::new(); reading.graph.values().len()];
    let mut found: Vec<usize> = Vec::new();
    let nodes: Vec<&Node> = reading.between().collect();
    for (index, node) in nodes.iter().enumerate() {
        let mut from: Vec<usize> = operands(node).flat_map(|v| made_of[v.0 as usize].iter().copied()).collect();
        if COMPARISONS.contains(&&*node.op) && operands(node).any(|v| reading.is_active(v)) {
            from = vec![index];
        }
        from.sort_unstable();
        from.dedup();
        if from.is_empty() {
            continue;
        }
        let frozen = node.outputs.iter().flatten().all(|&v| reading.is_frozen(v));
        if frozen {
            node.outputs.iter().flatten().for_each(|v| made_of[v.0 as usize].clone_from(&from));
        } else if !switches(node, |v| !made_of[v.0 as usize].is_empty()) {
            found.extend(from);
        }
    }
    found.extend(&made_of[reading.logits.0 as usize]);
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|index| nodes[index]).collect()
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
