//! Simplification: folds constants, shares equal nodes, drops dead nodes, and applies algebra that changes no value. Knows the
//! meaning of operators from `ops` and never trades accuracy for speed.

use crate::ir::{Dim, Graph, Node, ValueId};
use crate::ops;
use crate::tensor::{DType, Tensor};

mod identities;
mod sharing;
#[cfg(test)]
mod tests;

use sharing::Sharing;

/// An equivalent graph with the same inputs and outputs, usually smaller. Takes time linear in the size of the graph. Numbers
/// stay the same to the bit, up to the sign of zeros and the order of sums inside folded constants.
pub fn simplify(graph: &Graph) -> Graph {
    simplified(graph, Shapes::Fold)
}

/// Whether a shape that the types state is as good as a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shapes {
    /// Yes: `Shape(x)` of an x of known extents becomes a constant.
    Fold,
    /// No, the extents may still change: they follow from a batch that the file has fixed.
    Keep,
}

pub(crate) fn simplified(graph: &Graph, shapes: Shapes) -> Graph {
    let mut sharing = Sharing::default();
    let read = uses(graph);
    let mut budget = Budget::of(graph);
    let new = graph.rewrite_some(&graph.needed(), |new, node, inputs| {
        let inputs: Vec<Option<ValueId>> = inputs.iter().map(|i| i.map(|v| sharing.constant(new, v))).collect();
        let mut node = node.on(inputs);
        forget_unread(&mut node, &read);
        if let Some(folded) = fold(new, &node, &mut budget) {
            return Some(folded);
        }
        if let Some(same) = identities::apply(new, &mut node, shapes) {
            return Some(same);
        }
        let key = match sharing.node(new, &node) {
            Ok(same) => return Some(same),
            Err(key) => key,
        };
        let mut results = new.copy_node(graph, &node, node.inputs.clone());
        if shapes == Shapes::Fold {
            results.iter_mut().flatten().for_each(|v| *v = known(new, *v));
        }
        if let Some(key) = key {
            sharing.remember(key, &results);
        }
        Some(results)
    });
    new.without_dead()
}

/// Operators whose results behind the first are optional.
const OPTIONAL_RESULTS: &[&str] = &["Dropout", "MaxPool", "BatchNormalization", "LayerNormalization"];

/// Drops optional results that nothing reads.
fn forget_unread(node: &mut Node, read: &[u32]) {
    // in training mode all three results are stated, or engines refuse the node
    let trains = &*node.op == "BatchNormalization" && node.attributes.int("training_mode", 0) != 0;
    if node.domain.is_empty() && OPTIONAL_RESULTS.contains(&&*node.op) && !trains {
        for result in node.outputs.iter_mut().skip(1) {
            *result = result.filter(|v| read[v.0 as usize] > 0);
        }
        while node.outputs.len() > 1 && node.outputs.last() == Some(&None) {
            node.outputs.pop();
        }
    }
}

/// What folding may still cost in this pass, in elements: however many nodes a graph has, folding stays linear in its constants.
struct Budget {
    /// Elements that may be read and written.
    work: usize,
    /// Elements that results may have more than their operands.
    growth: usize,
}

impl Budget {
    fn of(graph: &Graph) -> Budget {
        let given: usize = graph.values().filter_map(|(_, v)| v.constant.as_deref()).map(Tensor::len).sum();
        Budget { work: given.saturating_mul(16).saturating_add(1 << 28), growth: given.saturating_add(1 << 24) }
    }

    /// Whether the budget allows a node that reads and writes this many elements; if so, they are deducted.
    fn pays(&mut self, read: usize, written: usize) -> bool {
        let (work, growth) = (read.saturating_add(written).saturating_add(64), written.saturating_sub(read));
        let pays = work <= self.work && growth <= self.growth;
        if pays {
            (self.work, self.growth) = (self.work - work, self.growth - growth);
        }
        pays
    }
}

/// The results of a node on constants, as constants.
fn fold(graph: &mut Graph, node: &Node, budget: &mut Budget) -> Option<Vec<Option<ValueId>>> {
    if node.outputs.is_empty() {
        return None;
    }
    let operands: Option<Vec<Option<&Tensor>>> =
        node.inputs.iter().map(|i| i.map_or(Some(None), |v| graph.constant(v).map(|t| Some(&**t)))).collect();
    let operands = operands?;
    let given: usize = operands.iter().flatten().map(|t| t.len()).sum();
    if !budget.pays(given, 0) {
        return None;
    }
    let results = match ops::evaluate(node, &operands)? {
        Ok(results) => results,
        // inference names what it sees when the node is copied; what only the numbers show is recorded here
        Err(what) => {
            if ops::infer(graph, node).is_ok() {
                graph.add_problem(format!("{}: {what}", node.describe()));
            }
            return None;
        }
    };
    if !budget.pays(given, results.iter().map(Tensor::len).sum()) {
        return None;
    }
    let mut results = results.into_iter();
    Some(
        node.outputs
            .iter()
            .map(|o| results.next().filter(|_| o.is_some()).map(|t| graph.add_constant(&label(node), t)))
            .collect(),
    )
}

/// A constant in place of a small integer value whose elements are all known extents.
fn known(graph: &mut Graph, id: ValueId) -> ValueId {
    let value = graph.value(id);
    let (Some(dtype @ (DType::I64 | DType::I32)), Some(shape), Some(extents)) =
        (value.ty.dtype, value.ty.shape.as_deref(), value.extents.as_deref())
    else {
        return id;
    };
    let ints: Option<Vec<i64>> = extents.iter().map(|d| d.fixed().and_then(|n| i64::try_from(n).ok())).collect();
    let sizes: Option<Vec<usize>> = shape.iter().map(Dim::fixed).collect();
    let tensor = ints.zip(sizes).and_then(|(ints, sizes)| Tensor::ints(&ints).cast(dtype).reshape(&sizes));
    match tensor {
        Some(tensor) => {
            let name = value.name.clone();
            graph.add_constant(&name, tensor)
        }
        None => id,
    }
}

fn label(node: &Node) -> String {
    if node.name.is_empty() { node.op.to_string() } else { node.name.to_string() }
}

/// How often every value is read by nodes that some output needs, and by the interface; by the number of its id.
pub(crate) fn uses(graph: &Graph) -> Vec<u32> {
    let mut count = vec![0; graph.values().len()];
    let nodes = graph.nodes().iter().zip(graph.needed()).filter(|(_, needed)| *needed);
    let read = nodes.flat_map(|(n, _)| n.inputs.iter().flatten().copied());
    read.chain(graph.outputs().iter().map(|o| o.value)).for_each(|v| count[v.0 as usize] += 1);
    count
}
