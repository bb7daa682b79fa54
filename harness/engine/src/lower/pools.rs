//! `pools`: the gradient of `MaxPool` as one operator of our own, `PoolGradient`, which finds the first largest element of every window
//! and adds the cotangent there; a ReLU before the pool costs nothing more.
//!
//! Measured on one AVX-512 core with ONNX Runtime 1.31, [8, 64, 28, 28], windows of 2×2: the standard form takes 1.7 ms for the pool
//! (with indices it leaves the blocked layout and its vectors), 0.1 for zeros, 0.4 for `ScatterElements` and 0.3 for the ReLU; this
//! one 0.07 for the pool and 0.14. Comparing with the enlarged maxima is as fast and wrong on ties.

use std::collections::HashSet;

use flatscape_graph::{Attributes, DType, Graph, Node, Tensor, ValueId};

use super::gates::gate;
use super::{POOL_GRADIENT, producer, pushed};

pub(super) fn apply(graph: &Graph, _: &str) -> Graph {
    let lowered = graph.rewrite(|new, node, inputs| {
        if let Some(found) = scattered(new, node, inputs) {
            let ct = shaped(new, found.ct, &found.windows);
            return Some(vec![Some(pool_gradient(new, found.x, ct, found.attributes))]);
        }
        let (x, ct, attributes) = masked(new, node, inputs)?;
        Some(vec![Some(pool_gradient(new, x, ct, attributes.with("positive", [1])))])
    });
    without_indices(&lowered.without_dead())
}

/// Pools do not write indices that no node reads.
fn without_indices(graph: &Graph) -> Graph {
    let read: HashSet<ValueId> = graph.nodes().iter().flat_map(|n| n.inputs.iter().flatten().copied()).collect();
    let seen = |v: ValueId| read.contains(&v) || graph.outputs().iter().any(|o| o.value == v);
    graph.rewrite(|new, node, inputs| {
        let unread = &*node.op == "MaxPool" && node.domain.is_empty() && node.output(1).is_some_and(|v| !seen(v));
        unread.then(|| vec![Some(new.push(Node { inputs: inputs.to_vec(), ..node.clone() }, 1)[0])])
    })
}

fn pool_gradient(new: &mut Graph, x: ValueId, ct: ValueId, attributes: Attributes) -> ValueId {
    let ty = new.value(x).ty.clone();
    pushed(new, Node::new(POOL_GRADIENT, &[x, ct], attributes), &ty)
}

/// The operands of the gradient of one pool.
struct Found {
    x: ValueId,
    /// ȳ, in any shape.
    ct: ValueId,
    /// The shape of ȳ as a target of `Reshape`.
    windows: Vec<i64>,
    attributes: Attributes,
}

/// `Reshape(ScatterElements(zeros, indices of a pool, ȳ, add), shape of x)`.
fn scattered(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<Found> {
    if &*node.op != "Reshape" || !node.domain.is_empty() {
        return None;
    }
    let scatter = producer(new, inputs.first().copied()??, "ScatterElements")?;
    let adds = scatter.attributes.string("reduction", "none") == "add" && scatter.attributes.int("axis", 0) == 0;
    if !adds || !zeros(new, scatter.input(0)?) {
        return None;
    }
    let indices = before_reshape(new, scatter.input(1)?);
    let (pool, position) = new.value(indices).producer?;
    let pool = new.node_at(pool);
    let x = pool.input(0)?;
    let plain = &*pool.op == "MaxPool" && position == 1 && pool.attributes.int("storage_order", 0) == 0;
    let known = plain && new.rank(x) == Some(4) && new.dtype(x) == Some(DType::F32);
    let automatic = !matches!(pool.attributes.string("auto_pad", "NOTSET"), "NOTSET" | "");
    let target = new.constant(inputs.get(1).copied()??).and_then(|t| t.to_ints());
    if !known || automatic || !same_shape(new, x, target.as_deref()) {
        return None;
    }
    let windows: Vec<i64> = new.shape(indices)?.iter().map(|d| d.fixed().map_or(-1, |n| n as i64)).collect();
    if windows.len() != 4 || windows.iter().filter(|&&n| n == -1).count() > 1 {
        return None;
    }
    let ints = |name: &str, default: &[i64]| pool.attributes.ints(name).unwrap_or(default).to_vec();
    let kernel = pool.attributes.ints("kernel_shape")?.to_vec();
    let attributes = Attributes::none()
        .with("kernel_shape", kernel)
        .with("strides", ints("strides", &[1, 1]))
        .with("dilations", ints("dilations", &[1, 1]))
        .with("pads", ints("pads", &[0; 4]));
    Some(Found { x, ct: before_reshape(new, scatter.input(2)?), windows, attributes })
}

/// ȳ with one element for each window, whatever shape it came in.
fn shaped(new: &mut Graph, ct: ValueId, windows: &[i64]) -> ValueId {
    if same_shape(new, ct, Some(windows)) {
        return ct;
    }
    let target = new.add_constant("windows", Tensor::ints(windows));
    new.node("Reshape", &[ct, target], Attributes::none())
}

/// `Where(x > 0, PoolGradient(x, ȳ), 0)`: the elements that passed are maxima, so the test moves into the operator.
fn masked(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<(ValueId, ValueId, Attributes)> {
    let (compared, gradient) = gate(new, node, inputs)?;
    let gradient = producer(new, gradient, POOL_GRADIENT)?;
    let x = gradient.input(0)?;
    (compared == x).then(|| Some((x, gradient.input(1)?, gradient.attributes.clone())))?
}

fn same_shape(new: &Graph, x: ValueId, target: Option<&[i64]>) -> bool {
    let (Some(dims), Some(target)) = (new.shape(x), target) else { return false };
    let fits = |(d, &t): (&flatscape_graph::Dim, &i64)| d.fixed().map_or(t == -1 || t == 0, |n| n as i64 == t);
    dims.len() == target.len() && dims.iter().zip(target).all(fits)
}

/// What a `Reshape` was given, or the value itself. The order of elements is the same.
fn before_reshape(new: &Graph, id: ValueId) -> ValueId {
    producer(new, id, "Reshape").and_then(|reshape| reshape.input(0)).unwrap_or(id)
}

/// Whether every element is certainly zero.
fn zeros(new: &Graph, id: ValueId) -> bool {
    if let Some(constant) = new.constant(id) {
        return constant.to_f64().iter().all(|&v| v == 0.0);
    }
    if let Some(reshape) = producer(new, id, "Reshape").and_then(|n| n.input(0)) {
        return zeros(new, reshape);
    }
    producer(new, id, "ConstantOfShape").is_some_and(|n| match n.attributes.get("value") {
        None => true,
        Some(flatscape_graph::Attribute::Tensor(value)) => value.to_f64().iter().all(|&v| v == 0.0),
        Some(_) => false,
    })
}
