//! Forms of operators that are fast on an engine. Every lowering keeps the meaning of the graph; which one is used is decided by
//! what the graph contains (operators, constants, extents), never by names.

use flatscape_graph::Graph;

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
    apply: fn(&Graph) -> Graph,
}

/// Every lowering, in the order in which they are applied.
pub const LOWERINGS: &[Lowering] = &[];

/// The graph in the form that this engine (`ort`, `cuda` for ONNX Runtime on a GPU, or `tract`) runs fastest.
pub fn lower(graph: &Graph, engine: &str) -> Graph {
    LOWERINGS.iter().filter(|l| l.engines.contains(&engine)).fold(graph.clone(), |graph, lowering| (lowering.apply)(&graph))
}
