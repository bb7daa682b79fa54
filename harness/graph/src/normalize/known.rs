//! What can be said about a value before anything runs: trip counts, conditions, lengths. Small values only.

use crate::ir::{Dim, Graph, Node, ValueId};
use crate::ops;
use crate::tensor::Tensor;

/// Values with more elements are not evaluated.
const SMALL: usize = 1 << 12;

/// How many nodes a question may lead to, and how far up.
const NODES: usize = 4096;
const DEPTH: usize = 256;

/// The value, if it follows from constants and from extents that are fixed.
pub(super) fn known(graph: &Graph, id: ValueId) -> Option<Tensor> {
    let mut left = NODES;
    search(graph, id, &mut left, DEPTH)
}

/// As [`known`], for a scalar or a vector of one element.
pub(super) fn known_int(graph: &Graph, id: ValueId) -> Option<i64> {
    match known(graph, id)?.to_ints()?[..] {
        [only] => Some(only),
        _ => None,
    }
}

/// The results of a node whose operands are small constants, as constants.
pub(super) fn folded(graph: &mut Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<Vec<Option<ValueId>>> {
    if node.captured() > 0 || node.outputs.is_empty() || inputs.iter().flatten().any(|&v| graph.constant(v).is_none()) {
        return None;
    }
    let mut left = NODES;
    let results = computed(graph, &node.on(inputs.to_vec()), &mut left, DEPTH)?;
    Some(results.into_iter().map(|t| Some(graph.add_constant(&node.op, t))).collect())
}

fn search(graph: &Graph, id: ValueId, left: &mut usize, depth: usize) -> Option<Tensor> {
    let value = graph.value(id);
    if let Some(constant) = &value.constant {
        return (constant.len() <= SMALL).then(|| (**constant).clone());
    }
    if let (Some(extents), Some(shape), Some(dtype)) = (&value.extents, &value.ty.shape, value.ty.dtype) {
        let ints: Option<Vec<i64>> = extents.iter().map(|d| d.fixed().map(|n| n as i64)).collect();
        let shape: Option<Vec<usize>> = shape.iter().map(Dim::fixed).collect();
        if let Some(found) = ints.zip(shape).and_then(|(ints, shape)| Tensor::ints(&ints).cast(dtype).reshape(&shape)) {
            return Some(found);
        }
    }
    let (node, position) = value.producer?;
    computed(graph, graph.node_at(node), left, depth.checked_sub(1)?)?.into_iter().nth(position)
}

fn computed(graph: &Graph, node: &Node, left: &mut usize, depth: usize) -> Option<Vec<Tensor>> {
    *left = left.checked_sub(1)?;
    // the extents of x may be fixed where x itself is not
    if node.domain.is_empty() && matches!(&*node.op, "Shape" | "Size") {
        let shape: Vec<usize> = graph.shape(node.input(0)?)?.iter().map(Dim::fixed).collect::<Option<_>>()?;
        if &*node.op == "Size" {
            return Some(vec![Tensor::scalar(shape.iter().product::<usize>() as i64)]);
        }
        let rank = shape.len() as i64;
        let clamp = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
        let (start, end) = (clamp(node.attributes.int("start", 0)), clamp(node.attributes.int("end", rank)));
        let ints: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        return Some(vec![Tensor::ints(&ints[start..end.max(start)])]);
    }
    let operands: Vec<Option<Tensor>> =
        node.inputs.iter().map(|i| i.map_or(Some(None), |v| search(graph, v, left, depth).map(Some))).collect::<Option<_>>()?;
    let operands: Vec<Option<&Tensor>> = operands.iter().map(Option::as_ref).collect();
    let results = ops::evaluate(node, &operands)?.ok()?;
    results.iter().all(|t| t.len() <= SMALL).then_some(results)
}
