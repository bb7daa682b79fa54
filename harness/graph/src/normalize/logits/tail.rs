//! Recognises what turns logits into answers, from the output backwards. Every pattern is a few lines under its formula.

use super::{TailError, over_classes, producer};
use crate::ir::{Graph, Node, NodeId, ValueId};
use crate::tensor::DType;

/// Which function of the logits was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// p = exp(z) / Σ exp(z)
    Softmax,
    /// ln p
    LogSoftmax,
    /// 1 / (1 + exp(−s)), per number
    Sigmoid,
    /// (1 − p, p) for p = 1 / (1 + exp(−s))
    SigmoidPair,
}

/// A tail: the logits, what was made of them, and what follows.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) kind: Kind,
    /// What goes in.
    pub(super) logits: ValueId,
    /// Nodes that move or reshape what comes out, the last one first.
    pub(super) after: Vec<NodeId>,
    /// Whether several operators stand for it.
    pub(super) written: bool,
}

/// How many nodes a tail may have.
const LONGEST: usize = 24;

/// The tail behind an output, if there is one.
pub(super) fn behind(graph: &Graph, output: ValueId) -> Result<Option<Tail>, TailError> {
    let mut after = Vec::new();
    let mut value = output;
    // a logarithm was passed: what is behind it must be a probability
    let mut logarithm = false;
    // what keeps the order of the classes was passed: it says nothing alone
    let mut kept = false;
    for _ in 0..LONGEST {
        if let Some(tail) = core(graph, value, output)? {
            let kind = match (tail.kind, logarithm) {
                (Kind::Softmax, true) => Kind::LogSoftmax,
                // ln p − … of log-probabilities is not a tail
                (Kind::LogSoftmax, true) => return Ok(None),
                (kind, _) => kind,
            };
            return Ok(Some(Tail { kind, after, written: tail.written || logarithm || kept, ..tail }));
        }
        let Some((id, node)) = producer(graph, value) else { return Ok(None) };
        let Some(x) = node.input(0) else { return Ok(None) };
        match &*node.op {
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" => after.push(id),
            "Cast" if graph.dtype(value).is_some_and(DType::is_float) && graph.dtype(x).is_some_and(DType::is_float) => {
                after.push(id);
            }
            "Log" if !logarithm => logarithm = true,
            // max(p, ε), clip(p, ε, 1 − ε), p + ε
            "Clip" => kept = true,
            "Max" | "Min" | "Add" if beside_constant(graph, node).is_some() => {
                kept = true;
                value = beside_constant(graph, node).unwrap_or(x);
                continue;
            }
            // p / Σ p
            "Div" => match total(graph, node.input(1)) {
                Some(summed) if summed == x => kept = true,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        }
        value = x;
    }
    Ok(None)
}

/// A tail that ends exactly here, without anything behind it.
fn core(graph: &Graph, value: ValueId, output: ValueId) -> Result<Option<Tail>, TailError> {
    let Some((_, node)) = producer(graph, value) else { return Ok(None) };
    let tail = |kind, logits, written| Ok(Some(Tail { kind, logits, after: Vec::new(), written }));
    match &*node.op {
        "Softmax" | "LogSoftmax" => {
            let Some(x) = node.input(0) else { return Ok(None) };
            let axis = node.attributes.int("axis", -1);
            let Some(shape) = graph.shape(x) else { return Ok(None) };
            if !over_classes(shape, axis) {
                let answers = super::class_count(graph, output).is_some();
                let front = if axis < 0 { axis + shape.len() as i64 } else { axis };
                return match front {
                    _ if !answers => Ok(None),
                    0 => Err(TailError::WrongAxis(format!("a {} over axis 0, which is the batch", node.op))),
                    _ => Err(TailError::WrongAxis(format!(
                        "a {} over axis {axis} of {}, which are not the classes",
                        node.op,
                        graph.value(x).ty
                    ))),
                };
            }
            tail(if &*node.op == "Softmax" { Kind::Softmax } else { Kind::LogSoftmax }, x, false)
        }
        "Sigmoid" => node.input(0).map_or(Ok(None), |s| tail(Kind::Sigmoid, s, false)),
        // 1 / (1 + exp(−s))
        "Reciprocal" => match node.input(0).and_then(|d| one_and_exponential(graph, d)) {
            Some(s) => tail(Kind::Sigmoid, s, true),
            None => Ok(None),
        },
        "Div" => {
            let (Some(a), Some(b)) = (node.input(0), node.input(1)) else { return Ok(None) };
            if let Some(s) = one_and_exponential(graph, b).filter(|_| is_all(graph, a, 1.0)) {
                return tail(Kind::Sigmoid, s, true);
            }
            // exp(u) / Σ exp(u)
            match exponential(graph, a).filter(|_| total(graph, Some(b)).is_some_and(|s| same_exponential(graph, s, a))) {
                Some(u) => tail(Kind::Softmax, unshifted(graph, u), true),
                None => Ok(None),
            }
        }
        // exp(u) · (1 / Σ exp(u))
        "Mul" => {
            for (a, b) in both_orders(node) {
                let sum = operand_of(graph, b, "Reciprocal");
                if let Some(u) = exponential(graph, a)
                    && total(graph, sum).is_some_and(|s| same_exponential(graph, s, a))
                {
                    return tail(Kind::Softmax, unshifted(graph, u), true);
                }
            }
            Ok(None)
        }
        // u − ln Σ exp(u)
        "Sub" => {
            let (Some(u), Some(lse)) = (node.input(0), node.input(1)) else { return Ok(None) };
            if is_log_sum_exp(graph, lse, u) { tail(Kind::LogSoftmax, unshifted(graph, u), true) } else { Ok(None) }
        }
        // exp(ln p)
        "Exp" => match node.input(0).map(|x| core(graph, x, output)).transpose()?.flatten() {
            Some(inner) if inner.kind == Kind::LogSoftmax => tail(Kind::Softmax, inner.logits, true),
            _ => Ok(None),
        },
        // (1 − p, p)
        "Concat" => {
            let [Some(q), Some(p)] = node.inputs[..] else { return Ok(None) };
            let axis = node.attributes.int("axis", 0);
            let classes = graph.shape(value).is_some_and(|s| over_classes(s, axis));
            let complement = producer(graph, q).filter(|(_, n)| {
                &*n.op == "Sub" && n.input(0).is_some_and(|one| is_all(graph, one, 1.0)) && n.input(1) == Some(p)
            });
            match core(graph, p, output)? {
                Some(inner) if inner.kind == Kind::Sigmoid && classes && complement.is_some() => {
                    tail(Kind::SigmoidPair, inner.logits, true)
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// u of exp(u).
fn exponential(graph: &Graph, value: ValueId) -> Option<ValueId> {
    operand_of(graph, value, "Exp")
}

/// Whether two values are the same exponential, be it one node or two.
fn same_exponential(graph: &Graph, a: ValueId, b: ValueId) -> bool {
    a == b || exponential(graph, a).is_some_and(|u| exponential(graph, b) == Some(u))
}

/// What is summed over the classes in a value that is [N,1] beside [N,K], whatever keeps the sum from being 0.
fn total(graph: &Graph, value: Option<ValueId>) -> Option<ValueId> {
    let mut value = value?;
    for _ in 0..4 {
        let (_, node) = producer(graph, value)?;
        value = match &*node.op {
            "ReduceSum" => return summed(graph, node),
            "Clip" | "Identity" | "Unsqueeze" | "Expand" => node.input(0)?,
            "Max" | "Add" => beside_constant(graph, node)?,
            _ => return None,
        };
    }
    None
}

/// x of Σ x over the classes.
fn summed(graph: &Graph, node: &Node) -> Option<ValueId> {
    let x = node.input(0)?;
    let axes = graph.constant(node.input(1)?)?.to_ints()?;
    let [axis] = axes[..] else { return None };
    over_classes(graph.shape(x)?, axis).then_some(x)
}

/// ln Σ exp(u), also as max u + ln Σ exp(u − max u).
fn is_log_sum_exp(graph: &Graph, value: ValueId, u: ValueId) -> bool {
    let Some((_, node)) = producer(graph, value) else { return false };
    match &*node.op {
        "ReduceLogSumExp" => summed(graph, node) == Some(u),
        "Unsqueeze" | "Identity" | "Expand" => node.input(0).is_some_and(|x| is_log_sum_exp(graph, x, u)),
        "ReduceLogSum" => summed(graph, node).and_then(|e| exponential(graph, e)) == Some(u),
        "Log" => total(graph, node.input(0)).and_then(|e| exponential(graph, e)) == Some(u),
        "Add" => both_orders(node).into_iter().any(|(max, log)| {
            let sum = operand_of(graph, log, "Log");
            let shifted = total(graph, sum).and_then(|e| exponential(graph, e));
            is_maximum(graph, max, u) && shifted.is_some_and(|v| v != u && unshifted(graph, v) == u)
        }),
        _ => false,
    }
}

/// z of z − max z; anything else as it is.
fn unshifted(graph: &Graph, u: ValueId) -> ValueId {
    let shifted = producer(graph, u).filter(|(_, n)| &*n.op == "Sub").and_then(|(_, n)| n.input(0).zip(n.input(1)));
    shifted.filter(|&(z, max)| is_maximum(graph, max, z)).map_or(u, |(z, _)| z)
}

fn is_maximum(graph: &Graph, value: ValueId, of: ValueId) -> bool {
    let Some((_, node)) = producer(graph, value) else { return false };
    match &*node.op {
        "ReduceMax" => summed(graph, node) == Some(of),
        "Unsqueeze" | "Identity" | "Expand" => node.input(0).is_some_and(|x| is_maximum(graph, x, of)),
        _ => false,
    }
}

/// s of 1 + exp(−s).
fn one_and_exponential(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let (_, node) = producer(graph, value).filter(|(_, n)| &*n.op == "Add")?;
    let (_, e) = both_orders(node).into_iter().find(|&(one, _)| is_all(graph, one, 1.0))?;
    operand_of(graph, exponential(graph, e)?, "Neg")
}

/// The operand of a node, if a value comes from such a node.
fn operand_of(graph: &Graph, value: ValueId, op: &str) -> Option<ValueId> {
    producer(graph, value).filter(|(_, n)| &*n.op == op).and_then(|(_, n)| n.input(0))
}

/// The operand beside a scalar constant.
fn beside_constant(graph: &Graph, node: &Node) -> Option<ValueId> {
    let scalar = |v: ValueId| graph.constant(v).is_some_and(|t| t.len() == 1);
    both_orders(node).into_iter().find(|&(x, c)| scalar(c) && !scalar(x)).map(|(x, _)| x)
}

fn both_orders(node: &Node) -> Vec<(ValueId, ValueId)> {
    match node.inputs[..] {
        [Some(a), Some(b)] => vec![(a, b), (b, a)],
        _ => Vec::new(),
    }
}

fn is_all(graph: &Graph, value: ValueId, number: f64) -> bool {
    graph.constant(value).is_some_and(|t| !t.is_empty() && t.to_f64().iter().all(|&v| v == number))
}
