//! A final softmax, cut, so that logits are logits.

use std::fmt;

use crate::ir::{Dim, Graph, Node, NodeId, Output, ValueId};

/// What was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing: the output is what the file gives.
    Nothing,
    /// A `Softmax` over the classes: the file gives probabilities.
    Softmax,
    /// A `LogSoftmax` over the classes: the file gives log-probabilities.
    LogSoftmax,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cut::Nothing => "nothing",
            Cut::Softmax => "Softmax",
            Cut::LogSoftmax => "LogSoftmax",
        })
    }
}

/// The graph with logits `[N,C]` as its first output. If the output at that position ends in a softmax over the classes
/// (followed at most by nodes that change the shape), the first output is called `logits` and holds what went into the
/// softmax, in the shape of the output; the file's own output follows under its own name. Otherwise the output is first and
/// only. Other outputs of the file are dropped.
pub fn logits(graph: &Graph, output: usize) -> (Graph, Cut) {
    let mut new = graph.clone();
    let Some(own) = graph.outputs().get(output).cloned() else { return (new, Cut::Nothing) };
    let found = softmax_behind(graph, own.value);
    let Some((before, after, cut)) = found else {
        new.set_outputs(vec![own]);
        return (new.without_dead(), Cut::Nothing);
    };
    // the nodes that change the shape, once more, on the logits
    let mut value = before;
    for id in after.into_iter().rev() {
        let old = graph.node_at(id);
        let mut inputs = old.inputs.clone();
        inputs[0] = Some(value);
        let node = Node { inputs, outputs: Vec::new(), ..old.clone() };
        value = new.push(node, 1)[0];
    }
    let name = if &*own.name == "logits" { "logits_before_softmax" } else { "logits" };
    new.set_outputs(vec![Output { name: name.into(), value }, own]);
    (new.without_dead(), cut)
}

/// The operand of a final softmax, and the nodes between it and the output, the last one first.
fn softmax_behind(graph: &Graph, output: ValueId) -> Option<(ValueId, Vec<NodeId>, Cut)> {
    let mut after = Vec::new();
    let mut value = output;
    loop {
        let (id, position) = graph.value(value).producer?;
        let node = graph.node_at(id);
        if position != 0 || !node.domain.is_empty() {
            return None;
        }
        let cut = match &*node.op {
            "Softmax" => Cut::Softmax,
            "LogSoftmax" => Cut::LogSoftmax,
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                after.push(id);
                value = node.input(0)?;
                continue;
            }
            _ => return None,
        };
        let x = node.input(0)?;
        let axis = node.attributes.int("axis", -1);
        return over_classes(graph.shape(x)?, axis).then_some((x, after, cut));
    }
}

/// Whether the axis is the only one beside the batch that is not 1.
fn over_classes(shape: &[Dim], axis: i64) -> bool {
    let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
    axis > 0 && shape.iter().enumerate().skip(1).all(|(i, d)| i as i64 == axis || d.fixed() == Some(1))
}
