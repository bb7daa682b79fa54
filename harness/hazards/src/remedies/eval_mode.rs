//! Evaluation mode: batch normalisation with its stored statistics, dropout that drops nothing. The model that the trainer meant,
//! and not the one in the file.

use std::collections::HashSet;

use flatscape_graph::{Attribute, Graph, Node, ValueId, simplify};

use super::{Changes, Remedy, listed};

pub(super) const REMEDY: Remedy = Remedy {
    name: "eval-mode",
    summary: "audits the model with BatchNormalization and Dropout in evaluation mode: another model than the file's",
    changes: Changes::Model,
    rewrite,
};

fn rewrite(graph: &Graph) -> Option<(Graph, String)> {
    let mut changed = Vec::new();
    let read: HashSet<ValueId> = graph.nodes().iter().flat_map(|n| n.inputs.iter().flatten().copied()).collect();
    let new = graph.rewrite(|new, node, inputs| {
        let read = |position: usize| node.output(position).is_some_and(|v| read.contains(&v));
        match (&*node.domain, &*node.op) {
            ("", "BatchNormalization") if node.attributes.int("training_mode", 0) != 0 && !read(1) && !read(2) => {
                changed.push(node.describe());
                let mut evaluated = Node { inputs: inputs.to_vec(), outputs: vec![node.output(0)], ..node.clone() };
                evaluated.attributes.0.insert("training_mode".into(), Attribute::Int(0));
                Some(new.copy_node(graph, &evaluated, inputs.to_vec()))
            }
            ("", "Dropout") if node.input(2).is_some() && !read(1) => {
                changed.push(node.describe());
                Some(vec![inputs[0]])
            }
            _ => None,
        }
    });
    (!changed.is_empty()).then(|| (simplify(&new), format!("{} evaluated", listed(&changed))))
}
