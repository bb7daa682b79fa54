//! Logits recovered from an output that saturates: what went into the last Softmax, Sigmoid, Tanh, Relu or Clip, where the order of
//! the classes is the same but for ties.

use flatscape_graph::{Dim, Graph, Node, NodeId, Output, ValueId};

use super::{Changes, Remedy};

pub(super) const REMEDY: Remedy = Remedy {
    name: "logits",
    summary: "attacks see what goes into a final Softmax, Sigmoid, Tanh, Relu or Clip that is not removed anyway",
    changes: Changes::Gradient,
    rewrite,
};

/// The node that bounds the output, and the nodes behind it that keep the order of the classes, the last one first.
pub(crate) fn tail(graph: &Graph, output: ValueId) -> Option<(&Node, Vec<NodeId>)> {
    let mut after = Vec::new();
    let mut value = output;
    loop {
        let (id, _) = graph.value(value).producer?;
        let node = graph.node_at(id);
        value = match &*node.op {
            "Softmax" if over_classes(graph, node) => return Some((node, after)),
            "Sigmoid" | "Tanh" | "HardSigmoid" | "Softsign" | "Relu" | "Clip" => return Some((node, after)),
            "Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Log" => node.input(0)?,
            "Mul" | "Add" => {
                let constant = (0..2).find(|&i| number(graph, node, i).is_some_and(|c| &*node.op == "Add" || c > 0.0))?;
                node.input(1 - constant)?
            }
            "Div" | "Sub" => {
                number(graph, node, 1).filter(|&c| &*node.op == "Sub" || c > 0.0)?;
                node.input(0)?
            }
            _ => return None,
        };
        after.push(id);
    }
}

fn rewrite(graph: &Graph) -> Option<(Graph, String)> {
    let (mut new, mut cut) = (graph.clone(), Vec::new());
    while let Some((bound, after)) = new.outputs().first().and_then(|output| tail(&new, output.value)) {
        cut.push(bound.describe());
        let value = bound.input(0)?;
        new = without(new.clone(), value, &after);
    }
    (!cut.is_empty()).then(|| (new, format!("attacks see what goes into {}, not what comes out of it", cut.join(" and "))))
}

/// The graph with another value as its first output. Of the nodes behind what was cut, those that change the shape follow it; those
/// that change the numbers are left out.
fn without(mut graph: Graph, mut value: ValueId, after: &[NodeId]) -> Graph {
    for id in after.iter().rev() {
        let node = graph.node_at(*id).clone();
        if matches!(&*node.op, "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze") {
            let mut inputs = node.inputs.clone();
            inputs[0] = Some(value);
            value = graph.push(Node { inputs, outputs: Vec::new(), ..node }, 1)[0];
        }
    }
    let mut outputs: Vec<Output> = graph.outputs().to_vec();
    if let Some(first) = outputs.first_mut() {
        first.value = value;
    }
    graph.set_outputs(outputs);
    graph.without_dead()
}

/// The one number that a constant operand holds.
fn number(graph: &Graph, node: &Node, operand: usize) -> Option<f64> {
    let values = graph.constant(node.input(operand)?)?.to_f64();
    let first = *values.first()?;
    values.iter().all(|&v| v == first).then_some(first)
}

fn over_classes(graph: &Graph, softmax: &Node) -> bool {
    let Some(shape) = softmax.input(0).and_then(|x| graph.shape(x)) else { return false };
    let axis = softmax.attributes.int("axis", -1);
    let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
    axis > 0 && shape.iter().enumerate().skip(1).all(|(i, d): (usize, &Dim)| i as i64 == axis || d.fixed() == Some(1))
}
