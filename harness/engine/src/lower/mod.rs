//! Forms of operators that are fast on an engine. Every lowering keeps the meaning of the graph; which one is used is decided by
//! what the graph contains (operators, constants, extents), never by names.

mod flipped;
mod masks;
mod phases;
mod pools;
mod transposed;

#[cfg(test)]
mod tests;

use flatscape_graph::{Graph, Node, ValueId};

/// The domain of the operators that the engine brings along for ONNX Runtime on the CPU. Files never contain them.
pub(crate) const DOMAIN: &str = "flatscape.engine";
/// `PoolGradient(x, ȳ)`, attributes of `MaxPool` and `positive`: whether only maxima above 0 pass.
pub(crate) const POOL_GRADIENT: &str = "PoolGradient";
/// `Interleave(a, b, c, d)`, attribute `extent`: four phases of an image.
pub(crate) const INTERLEAVE: &str = "Interleave";

/// One rewriting of a graph for some engines.
pub struct Lowering {
    /// Its name: the file that holds it.
    pub name: &'static str,
    /// The engines that it is for (`ort`, `cuda`, `tract`).
    pub engines: &'static [&'static str],
    /// When it applies and what it makes.
    pub summary: &'static str,
    /// What was measured.
    pub evidence: &'static str,
    /// Rewrites a graph for one of the engines.
    apply: fn(&Graph, &str) -> Graph,
}

/// Every lowering, in the order in which they are applied.
pub const LOWERINGS: &[Lowering] = &[
    Lowering {
        name: "flipped",
        engines: &["ort", "cuda"],
        summary: "ConvTranspose, stride 1, constant kernel, 16 channels or more on both sides: Conv with kernels flipped and swapped",
        evidence: "the blocked kernels of the forward pass serve the backward pass too",
        apply: flipped::apply,
    },
    Lowering {
        name: "phases",
        engines: &["ort", "cuda"],
        summary: "ConvTranspose, stride 2, constant kernel, 16 channels or more on both sides: four small Convs, interleaved",
        evidence: "1.13 to 1.2 times faster than ConvTranspose, 1.4 times faster than inserting zeros",
        apply: phases::apply,
    },
    Lowering {
        name: "pools",
        engines: &["ort"],
        summary: "the gradient of MaxPool (indices and ScatterElements): one operator of our own, ReLU included",
        evidence: "8 to 14 % of a gradient step of the 64-64-128-128 net",
        apply: pools::apply,
    },
    Lowering {
        name: "masks",
        engines: &["ort"],
        summary: "Cast(x > 0): two steep HardSigmoids, exactly 0 or 1",
        evidence: "2 to 3 % of a gradient step",
        apply: masks::apply,
    },
];

/// The graph in the form that this engine (`ort`, `cuda` for ONNX Runtime on a GPU, or `tract`) runs fastest.
pub fn lower(graph: &Graph, engine: &str) -> Graph {
    LOWERINGS
        .iter()
        .filter(|l| l.engines.contains(&engine))
        .fold(graph.clone(), |graph, lowering| (lowering.apply)(&graph, engine))
}

/// The node that produces a value, if it is this operator.
fn producer<'g>(graph: &'g Graph, id: ValueId, op: &str) -> Option<&'g Node> {
    let (node, _) = graph.value(id).producer?;
    let node = graph.node_at(node);
    (&*node.op == op).then_some(node)
}
