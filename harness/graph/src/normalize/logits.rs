//! What stands behind the logits at the end of a classifier, cut off, so that logits are logits: softmax and sigmoid as
//! operators or written out, with the clipping, logarithms and changes of shape around them. Reads structure only; whether the
//! predictions stay the same is for others to try.

use std::fmt;

use crate::expr::Builder;
use crate::ir::{Dim, Graph, Node, NodeId, Output, ValueId};

mod tail;

use tail::{Kind, Tail};

/// What an output says about an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// One number per class, and exactly one class is right. A sigmoid per class says otherwise and stays.
    #[default]
    Classes,
    /// The same, stated: a sigmoid per class is cut, too.
    StatedClasses,
    /// One number: positive (or a probability above 1/2) for class 1.
    Binary,
}

/// What was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing: the output is what the file gives.
    Nothing,
    /// A `Softmax` over the classes: the file gives probabilities.
    Softmax,
    /// A `LogSoftmax` over the classes: the file gives log-probabilities.
    LogSoftmax,
    /// A softmax made of `Exp`, a sum and a division.
    WrittenSoftmax,
    /// The logarithm of a softmax, in several operators.
    WrittenLogSoftmax,
    /// A `Sigmoid` per class, or of the only logit.
    Sigmoid,
    /// The pair (1 − p, p) of a sigmoid p.
    SigmoidPair,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cut::Nothing => "nothing",
            Cut::Softmax => "Softmax",
            Cut::LogSoftmax => "LogSoftmax",
            Cut::WrittenSoftmax => "softmax (written out in several operators)",
            Cut::WrittenLogSoftmax => "log-softmax (written out in several operators)",
            Cut::Sigmoid => "Sigmoid",
            Cut::SigmoidPair => "pair (1 - p, p) of a Sigmoid",
        })
    }
}

/// Why an output has no logits: clauses whose subject is the output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// A softmax that does not run over the classes.
    #[error("ends in {0}")]
    WrongAxis(String),
    /// Every class is answered on its own.
    #[error("ends in a Sigmoid over {0} classes, so every class is answered on its own and several may be right at once")]
    Multilabel(usize),
}

/// The graph with logits as its first output: [N,K], extents of 1 behind may follow; [N,2] where the answer is binary, and then
/// they are (0, s), whose softmax is the sigmoid of s. If something was cut or changed, the first output is called `logits` and
/// the file's own output follows under its own name. Otherwise the output is first and only. Other outputs of the file are
/// dropped.
///
/// # Errors
/// A [`TailError`] where what is there at the end does not answer with one class out of several.
pub fn logits(graph: &Graph, output: usize, answer: Answer) -> Result<(Graph, Cut), TailError> {
    let mut new = graph.clone();
    let Some(own) = graph.outputs().get(output).cloned() else { return Ok((new, Cut::Nothing)) };
    let found = tail::behind(graph, own.value)?;
    let classes = class_count(graph, own.value);
    let (value, cut) = match found {
        Some(tail) if tail.kind == Kind::Sigmoid && answer != Answer::Binary => match (answer, classes) {
            (Answer::StatedClasses, _) | (_, None | Some(0 | 1)) => (tail.replay(&mut new), Cut::Sigmoid),
            (_, Some(k)) => return Err(TailError::Multilabel(k)),
        },
        Some(tail) if tail.kind == Kind::SigmoidPair => (pair(&mut new, tail.logits), Cut::SigmoidPair),
        Some(tail) => (tail.replay(&mut new), tail.cut()),
        None => (own.value, Cut::Nothing),
    };
    let value = if answer == Answer::Binary && classes.is_none_or(|k| k == 1) { pair(&mut new, value) } else { value };
    if value == own.value {
        new.set_outputs(vec![own]);
    } else {
        let name = if &*own.name == "logits" { "logits_before_softmax" } else { "logits" };
        new.set_outputs(vec![Output { name: name.into(), value }, own]);
    }
    Ok((new.without_dead(), cut))
}

/// The value whose softmax or sigmoid an output is, if it is one.
pub fn logits_of(graph: &Graph, output: ValueId) -> Option<ValueId> {
    tail::behind(graph, output).ok().flatten().map(|tail| tail.logits)
}

/// (0, s) as [N,2] for a logit s shaped [N], [N,1], [N,1,1], …
fn pair(graph: &mut Graph, value: ValueId) -> ValueId {
    let b = Builder::new(std::mem::take(graph));
    let s = b.expr(value);
    let column = match s.rank() {
        Some(1) => s.unsqueeze(&[1]),
        Some(rank) => s.squeeze(&(2..rank as i64).collect::<Vec<_>>()),
        None => s.reshape(&[-1, 1]),
    };
    let id = column.pad_zeros(&[0, 1, 0, 0]).id;
    *graph = b.into_graph();
    id
}

/// K of [N,K], [N,K,1,1]; 1 of [N].
fn class_count(graph: &Graph, value: ValueId) -> Option<usize> {
    match graph.shape(value)? {
        [_] => Some(1),
        [_, classes, ones @ ..] if ones.iter().all(|d| d.fixed() == Some(1)) => classes.fixed(),
        _ => None,
    }
}

impl Tail {
    fn cut(&self) -> Cut {
        match (self.kind, self.written) {
            (Kind::Softmax, false) => Cut::Softmax,
            (Kind::Softmax, true) => Cut::WrittenSoftmax,
            (Kind::LogSoftmax, false) => Cut::LogSoftmax,
            (Kind::LogSoftmax, true) => Cut::WrittenLogSoftmax,
            (Kind::Sigmoid, _) => Cut::Sigmoid,
            (Kind::SigmoidPair, _) => Cut::SigmoidPair,
        }
    }

    /// The nodes that change the shape, once more, on the logits.
    fn replay(&self, graph: &mut Graph) -> ValueId {
        let mut value = self.logits;
        for &id in self.after.iter().rev() {
            let old: &Node = graph.node_at(id);
            let mut inputs = old.inputs.clone();
            inputs[0] = Some(value);
            let node = Node { inputs, outputs: Vec::new(), ..old.clone() };
            value = graph.push(node, 1)[0];
        }
        value
    }
}

/// The operator that gives a value, if it is of the standard domain and this is its first result.
fn producer(graph: &Graph, value: ValueId) -> Option<(NodeId, &Node)> {
    let (id, position) = graph.value(value).producer?;
    let node = graph.node_at(id);
    (position == 0 && node.domain.is_empty()).then_some((id, node))
}

/// Whether the axis is the only one beside the batch that is not 1, in a shape with such an axis.
fn over_classes(shape: &[Dim], axis: i64) -> bool {
    let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
    axis > 0 && shape.iter().enumerate().skip(1).all(|(i, d)| (i as i64 == axis) != (d.fixed() == Some(1)))
}

#[cfg(test)]
mod tests;
