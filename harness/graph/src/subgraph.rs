//! A graph inside an attribute: a branch of `If`, the body of `Loop` or `Scan`. What it captures from outside is explicit, so
//! that passes over the outer graph see every value that is read. What the operators do with it is not known here.

use crate::ir::{Attribute, Graph, Node};

/// A graph inside an attribute.
///
/// Its inputs are its own ones and then what it captures. The operands of the node that holds it are the operator's own and then
/// the captured values of its subgraphs, in the order of the attributes' names.
#[derive(Clone, Debug)]
pub struct Subgraph {
    /// The nodes. In a file of another opset nothing is inferred here; types come when the graph is inlined.
    pub graph: Graph,
    /// How many of the inputs are captured from outside; they are the last ones.
    pub captured: usize,
}

impl PartialEq for Subgraph {
    fn eq(&self, other: &Subgraph) -> bool {
        self.captured == other.captured && self.graph.difference(&other.graph).is_none()
    }
}

impl Node {
    /// How many of the operands, at the end, are values that subgraphs capture.
    pub fn captured(&self) -> usize {
        self.subgraphs().map(|(_, g)| g.captured).sum()
    }

    /// The subgraphs by the names of their attributes.
    pub(crate) fn subgraphs(&self) -> impl Iterator<Item = (&str, &Subgraph)> {
        self.attributes.0.iter().filter_map(|(name, value)| match value {
            Attribute::Graph(graph) => Some((name.as_str(), &**graph)),
            _ => None,
        })
    }

    /// The operands of the operator itself.
    pub(crate) fn own_inputs(&self) -> &[Option<crate::ValueId>] {
        &self.inputs[..self.inputs.len().saturating_sub(self.captured())]
    }

    /// The operands that the subgraph in an attribute captures.
    pub(crate) fn captures_of(&self, attribute: &str) -> &[Option<crate::ValueId>] {
        let mut at = self.own_inputs().len();
        for (name, graph) in self.subgraphs() {
            let end = (at + graph.captured).min(self.inputs.len());
            if name == attribute {
                return &self.inputs[at..end];
            }
            at = end;
        }
        &[]
    }
}

impl Graph {
    /// Gives every node another name, in subgraphs too. `name` gets the number of the node in its graph.
    pub fn name_nodes(&mut self, name: &dyn Fn(usize, &Node) -> String) {
        for (i, node) in self.nodes_mut().iter_mut().enumerate() {
            node.name = name(i, node).into();
            for value in node.attributes.0.values_mut() {
                if let Attribute::Graph(inner) = value {
                    std::sync::Arc::make_mut(inner).graph.name_nodes(name);
                }
            }
        }
    }
}
