//! A graph, read between its input and its logits: which values depend on pixels, which of them carry a derivative, which the
//! logits need. Knows no hazard.

use flatscape_autodiff::carrying;
use flatscape_graph::{Dim, Graph, Node, ValueId, ops};

use super::Cause;

/// What was read off a graph.
pub struct Reading<'a> {
    /// The graph; its first input holds the images, its first output the logits.
    pub graph: &'a Graph,
    /// The images.
    pub input: ValueId,
    /// The logits.
    pub logits: ValueId,
    /// The smallest and the largest number that it is fed, where that is known.
    pub fed: Option<(f64, f64)>,
    /// Per value: whether its elements depend on the pixels, and not on their number only.
    carried: Vec<bool>,
    /// Per value: whether a derivative with respect to the pixels can be other than zero.
    active: Vec<bool>,
    /// Per value: whether the logits depend on it.
    needed: Vec<bool>,
    /// Per value: whether it is the pixels before the first layer with weights.
    raw: Vec<bool>,
    /// Per value: the first node that the logits need and that reads it, and how many do.
    readers: Vec<Option<(&'a Node, usize)>>,
}

/// Operators that look at extents and not at elements, or at elements of another operand only.
const BLIND: &[&str] = &["Shape", "Size", "EyeLike", "RandomNormalLike", "RandomUniformLike"];

/// Operators that multiply by weights.
const WEIGHTED: &[&str] = &[
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "Einsum",
    "LSTM",
    "GRU",
    "RNN",
    "PRelu",
    "QLinearConv",
    "ConvInteger",
    "QLinearMatMul",
    "MatMulInteger",
];

impl<'a> Reading<'a> {
    /// Reads a graph that has an input and an output. Takes time in proportion to its size.
    pub fn of(graph: &'a Graph) -> Option<Reading<'a>> {
        let (input, logits) = (*graph.inputs().first()?, graph.outputs().first()?.value);
        let none = || vec![false; graph.values().len()];
        let (mut carried, mut needed, mut raw) = (none(), none(), none());
        (carried[input.0 as usize], raw[input.0 as usize], needed[logits.0 as usize]) = (true, true, true);
        for node in graph.nodes().iter().filter(|n| !BLIND.contains(&&*n.op)) {
            let follows = |from: &[bool]| operands(node).any(|v| from[v.0 as usize]);
            let (depends, is_raw) = (follows(&carried), follows(&raw) && !is_weighted(graph, node));
            for v in node.outputs.iter().flatten() {
                carried[v.0 as usize] |= depends;
                raw[v.0 as usize] |= is_raw;
            }
        }
        let mut readers: Vec<Option<(&Node, usize)>> = vec![None; graph.values().len()];
        for node in graph.nodes().iter().rev() {
            if node.outputs.iter().flatten().any(|v| needed[v.0 as usize]) {
                for v in operands(node) {
                    needed[v.0 as usize] = true;
                    let count = readers[v.0 as usize].map_or(0, |(_, count)| count);
                    readers[v.0 as usize] = Some((node, count + 1));
                }
            }
        }
        let active = carrying(graph, &starts(graph, input, &carried));
        Some(Reading { graph, input, logits, fed: None, carried, active, needed, raw, readers })
    }

    /// Whether the elements of a value depend on the pixels.
    pub fn carries(&self, value: ValueId) -> bool {
        self.carried[value.0 as usize]
    }

    /// Whether a value has a derivative with respect to the pixels.
    pub fn is_active(&self, value: ValueId) -> bool {
        self.active[value.0 as usize]
    }

    /// Whether a value depends on the pixels and has no derivative with respect to them.
    pub fn is_frozen(&self, value: ValueId) -> bool {
        self.carries(value) && !self.is_active(value)
    }

    /// Nodes that the logits need, in topological order.
    pub fn needed(&self) -> impl Iterator<Item = &'a Node> {
        self.graph.nodes().iter().filter(|n| n.outputs.iter().flatten().any(|v| self.needed[v.0 as usize]))
    }

    /// Nodes between the pixels and the logits, in topological order: their elements matter, not only their extents.
    pub fn between(&self) -> impl Iterator<Item = &'a Node> {
        self.needed().filter(|n| operands(n).any(|v| self.carries(v)) && n.outputs.iter().flatten().any(|&v| self.carries(v)))
    }

    /// Nodes between the pixels and the first layers with weights, these not included.
    pub fn front(&self) -> impl Iterator<Item = &'a Node> {
        self.between().filter(|n| n.outputs.iter().flatten().any(|v| self.raw[v.0 as usize]))
    }

    /// The first layers with weights: they read values of the front, or the input itself.
    pub fn first_layers(&self) -> impl Iterator<Item = &'a Node> {
        self.between().filter(|n| is_weighted(self.graph, n) && n.input(0).is_some_and(|v| self.raw[v.0 as usize]))
    }

    /// The node that produces a value.
    pub fn producer(&self, value: ValueId) -> Option<&'a Node> {
        self.graph.value(value).producer.map(|(id, _)| self.graph.node_at(id))
    }

    /// How many nodes that the logits need read a value.
    pub fn readers(&self, value: ValueId) -> usize {
        self.readers[value.0 as usize].map_or(0, |(_, count)| count)
    }

    /// The node that reads a value, if there is one and no other.
    pub fn only_reader(&self, value: ValueId) -> Option<&'a Node> {
        self.readers[value.0 as usize].filter(|(_, count)| *count == 1).map(|(node, _)| node)
    }

    /// The constant behind an operand, if all its elements are the same number.
    pub fn number(&self, node: &Node, operand: usize) -> Option<f64> {
        let values = self.graph.constant(node.input(operand)?)?.to_f64();
        let first = *values.first()?;
        values.iter().all(|&v| v == first).then_some(first)
    }

    /// Whether an extent of a value counts images: a free batch is called `N`; where the batch is fixed, the first extent.
    pub fn counts_images(&self, value: ValueId, axis: usize) -> bool {
        let batch = self.graph.shape(self.input).and_then(|s| s.first());
        match (self.graph.shape(value).and_then(|s| s.get(axis)), batch) {
            (Some(Dim::Symbol(extent)), Some(Dim::Symbol(batch))) => extent.split('*').any(|factor| factor == &**batch),
            (Some(Dim::Fixed(extent)), Some(Dim::Fixed(batch))) => axis == 0 && *batch > 1 && extent == batch,
            _ => false,
        }
    }
}

/// The operands of a node whose elements its results depend on.
pub(super) fn operands(node: &Node) -> impl Iterator<Item = ValueId> + '_ {
    // a surrogate stands for its second operand and is differentiated through its first: what hides behind it is answered
    let count = if &*node.domain == ops::FUNCTIONS && &*node.op == "Surrogate" { 1 } else { node.inputs.len() };
    node.inputs.iter().take(count).flatten().copied()
}

/// The first floats that pixels become: the input itself, or what integers are cast to.
fn starts(graph: &Graph, input: ValueId, carried: &[bool]) -> Vec<ValueId> {
    let is_float = |v: ValueId| graph.dtype(v).is_none_or(|t| t.is_float());
    if is_float(input) {
        return vec![input];
    }
    let mut integer = vec![false; carried.len()];
    integer[input.0 as usize] = true;
    let mut found = Vec::new();
    for node in graph.nodes().iter().filter(|n| !BLIND.contains(&&*n.op)) {
        if !operands(node).any(|v| integer[v.0 as usize]) {
            continue;
        }
        for &v in node.outputs.iter().flatten() {
            if is_float(v) { found.push(v) } else { integer[v.0 as usize] = true }
        }
    }
    found
}

/// Whether a node multiplies by weights. What gives one number of its operand times a factor only scales and moves: exporters write
/// normalisations so.
fn is_weighted(graph: &Graph, node: &Node) -> bool {
    WEIGHTED.contains(&&*node.op) && !scales(graph, node)
}

/// Whether every result of a linear operator is made of one number at most.
fn scales(graph: &Graph, node: &Node) -> bool {
    /// Weights that are looked at, at most.
    const MOST: usize = 1 << 22;
    let Some(weights) = node.input(1).and_then(|w| graph.constant(w)).filter(|w| w.len() <= MOST) else { return false };
    let per_result: Vec<usize> = match (&*node.op, weights.shape()) {
        ("Conv", [outputs, ..]) => {
            let size = weights.len() / (*outputs).max(1);
            (0..weights.len()).map(|i| i / size.max(1)).collect()
        }
        ("Gemm", [_, columns]) if node.attributes.int("transB", 0) != 0 => {
            (0..weights.len()).map(|i| i / (*columns).max(1)).collect()
        }
        ("Gemm" | "MatMul", [_, columns]) => (0..weights.len()).map(|i| i % (*columns).max(1)).collect(),
        _ => return false,
    };
    let mut counts = vec![0usize; per_result.iter().max().map_or(0, |m| m + 1)];
    weights.to_f64().iter().zip(per_result).filter(|(w, _)| **w != 0.0).for_each(|(_, result)| counts[result] += 1);
    counts.iter().all(|&count| count <= 1)
}

/// The cause that these nodes are: the first ones by name, how many more, and `what` behind.
pub(super) fn cause<'n>(nodes: impl IntoIterator<Item = &'n Node>, what: &str) -> Option<Cause> {
    const IN_WORDS: usize = 3;
    const LISTED: usize = 50;
    let nodes: Vec<&Node> = nodes.into_iter().collect();
    let listed: Vec<String> = nodes.iter().take(LISTED).map(|n| n.describe()).collect();
    let named = listed.iter().take(IN_WORDS).cloned().collect::<Vec<_>>().join(", ");
    let more = nodes.len().saturating_sub(IN_WORDS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!nodes.is_empty()).then(|| Cause { what: format!("{named}{more} {what}"), nodes: listed })
}
