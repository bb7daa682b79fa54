//! Taking the marks of the domain `flatscape` out of a graph once it is differentiated: what is left computes the same and is of
//! standard operators only.

use flatscape_graph::{Graph, ops};

/// The graph with every `Surrogate(s, v)` replaced by v and every `Detach(v)` by v. To be called after the last [`crate::vjp`]
/// and before the graph is simplified, written or run; types are inferred again only if there is a mark.
pub fn without_marks(graph: Graph) -> Graph {
    if !graph.nodes().iter().any(|n| &*n.domain == ops::FUNCTIONS) {
        return graph;
    }
    graph.rewrite(|_, node, inputs| match (&*node.domain, &*node.op) {
        (ops::FUNCTIONS, "Surrogate") => Some(vec![inputs.get(1).copied().flatten()]),
        (ops::FUNCTIONS, "Detach") => Some(vec![inputs.first().copied().flatten()]),
        _ => None,
    })
}
