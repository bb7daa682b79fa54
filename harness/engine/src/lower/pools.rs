//! `pools`: the gradient of `MaxPool` as one operator of our own, `PoolGradient`, which finds the first largest element of every window
//! and adds the cotangent there; a ReLU before the pool costs nothing more. The standard form (indices, `ScatterElements`) makes ONNX
//! Runtime leave its blocked layout for a pool that writes indices.

use flatscape_graph::{Attributes, DType, Graph, Node, ValueId};

use super::{masks, producer};

/// The domain of the operators that the engine brings along.
pub(crate) const DOMAIN: &str = "flatscape.engine";
/// `PoolGradient(x, ȳ)`: attributes of `MaxPool`, and `positive`: whether only maxima above 0 pass.
pub(crate) const POOL_GRADIENT: &str = "PoolGradient";

pub(super) fn apply(graph: &Graph) -> Graph {
    let lowered = graph.rewrite(|new, node, inputs| {
        if let Some((x, ct, attributes)) = scattered(new, node, inputs) {
            return Some(vec![Some(pool_gradient(new, x, ct, attributes))]);
        }
        let (x, ct, attributes) = masked(new, node, inputs)?;
        Some(vec![Some(pool_gradient(new, x, ct, attributes.with("positive", 1)))])
    });
    lowered.without_dead()
}

fn pool_gradient(new: &mut Graph, x: ValueId, ct: ValueId, attributes: Attributes) -> ValueId {
    let ty = new.value(x).ty.clone();
    let node = Node { domain: DOMAIN.into(), ..Node::new(POOL_GRADIENT, &[x, ct], attributes) };
    let result = new.push(node, 1)[0];
    // the operator is not in the table of the graph; its result is as large as x
    let _ = new.declare(result, &ty);
    result
}

/// `Reshape(ScatterElements(zeros, indices of a pool, ȳ, add), shape of x)`, as (x, ȳ, the attributes of the pool).
fn scattered(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<(ValueId, ValueId, Attributes)> {
    if &*node.op != "Reshape" || !node.domain.is_empty() {
        return None;
    }
    let scatter = producer(new, inputs.first().copied()??, "ScatterElements")?;
    let adds = scatter.attributes.string("reduction", "none") == "add" && scatter.attributes.int("axis", 0) == 0;
    if !adds || !zeros(new, scatter.input(0)?) {
        return None;
    }
    let indices = flattened(new, scatter.input(1)?)?;
    let (pool, position) = new.value(indices).producer?;
    let pool = new.node_at(pool);
    let x = pool.input(0)?;
    let plain = &*pool.op == "MaxPool" && position == 1 && pool.attributes.int("storage_order", 0) == 0;
    let known = plain && new.rank(x) == Some(4) && new.dtype(x) == Some(DType::F32);
    let automatic = !matches!(pool.attributes.string("auto_pad", "NOTSET"), "NOTSET" | "");
    let ct = flattened(new, scatter.input(2)?)?;
    let target = new.constant(inputs.get(1).copied()??).and_then(|t| t.to_ints());
    if !known || automatic || !same_shape(new, x, target.as_deref()) {
        return None;
    }
    let ints = |name: &str, default: &[i64]| pool.attributes.ints(name).unwrap_or(default).to_vec();
    let kernel = pool.attributes.ints("kernel_shape")?.to_vec();
    let attributes = Attributes::none()
        .with("kernel_shape", kernel)
        .with("strides", ints("strides", &[1, 1]))
        .with("dilations", ints("dilations", &[1, 1]))
        .with("pads", ints("pads", &[0; 4]));
    Some((x, ct, attributes))
}

/// `Mul(PoolGradient(x, ȳ), [x > 0])`: the elements that passed are maxima, so the test moves into the operator.
fn masked(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<(ValueId, ValueId, Attributes)> {
    if &*node.op != "Mul" || !node.domain.is_empty() {
        return None;
    }
    let (a, b) = (inputs.first().copied()??, inputs.get(1).copied()??);
    [(a, b), (b, a)].into_iter().find_map(|(gradient, mask)| {
        let gradient = producer(new, gradient, POOL_GRADIENT)?;
        let mask = producer(new, mask, "Cast")?;
        let compared = masks::positive(new, mask, &mask.inputs)?;
        let x = gradient.input(0)?;
        (compared == x).then(|| Some((x, gradient.input(1)?, gradient.attributes.clone())))?
    })
}

fn same_shape(new: &Graph, x: ValueId, target: Option<&[i64]>) -> bool {
    let (Some(dims), Some(target)) = (new.shape(x), target) else { return false };
    let fits = |(d, &t): (&flatscape_graph::Dim, &i64)| d.fixed().map_or(t == -1 || t == 0, |n| n as i64 == t);
    dims.len() == target.len() && dims.iter().zip(target).all(fits)
}

/// The value before a `Reshape` to one axis.
fn flattened(new: &Graph, id: ValueId) -> Option<ValueId> {
    let reshape = producer(new, id, "Reshape")?;
    let target = new.constant(reshape.input(1)?)?.to_ints()?;
    (target.len() == 1).then(|| reshape.input(0))?
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
