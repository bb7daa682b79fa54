//! A float32 graph in float64, with the operators that an engine only has in float32 written as formulas. Knows what operators
//! mean in the forward direction; the derivatives are already in the graph.

use std::f64::consts::FRAC_2_SQRT_PI;
use std::sync::Arc;

use flatscape_graph::{Attribute, Attributes, Builder, DType, Expr, Graph, Node, ValueId, ValueType};

/// The same graph with every float32 as float64.
pub fn spelled_out(graph: &Graph) -> Result<Graph, String> {
    let b = Builder::new(Graph::new(&graph.name));
    let mut map: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    for &input in graph.inputs() {
        let value = graph.value(input);
        let ty = ValueType { dtype: value.ty.dtype.map(widened), ..value.ty.clone() };
        map[input.0 as usize] = Some(b.input(&value.name, ty).id);
    }
    for (id, value) in graph.values() {
        if let Some(tensor) = &value.constant {
            let tensor = tensor.cast(widened(tensor.dtype()));
            map[id.0 as usize] = Some(b.graph_mut().add_constant(&value.name, tensor));
        }
    }
    for node in graph.nodes() {
        let inputs: Vec<Option<ValueId>> = node.inputs.iter().map(|i| i.and_then(|v| map[v.0 as usize])).collect();
        let operands: Vec<Option<Expr<'_>>> = inputs.iter().map(|i| i.map(|v| b.expr(v))).collect();
        if let Some(y) = formula(&b, node, &operands) {
            if let Some(result) = node.output(0) {
                map[result.0 as usize] = Some(y.id);
            }
            continue;
        }
        let mut copy = Node::new(&node.op, &[], attributes(node));
        copy.inputs = inputs;
        if &*node.op == "Resize" {
            // the region and the scales are float32 whatever is resized
            for at in [1, 2] {
                if let Some(constant) = node.input(at).and_then(|v| graph.constant(v)) {
                    copy.inputs[at] = Some(b.constant(constant.as_ref().clone()).id);
                }
            }
        }
        let names: Vec<Option<&str>> = node.outputs.iter().map(|o| o.map(|v| &*graph.value(v).name)).collect();
        let results = b.graph_mut().push_named(copy, &names);
        for (old, new) in node.outputs.iter().zip(results) {
            if let Some(old) = old {
                map[old.0 as usize] = new;
            }
        }
    }
    for output in graph.outputs() {
        let value = map[output.value.0 as usize].ok_or("an output is not computed")?;
        b.output(&output.name, b.expr(value));
    }
    let graph = flatscape_graph::simplify(&b.into_graph());
    graph.check().map_err(|e| format!("in double precision: {e}"))?;
    Ok(graph)
}

fn widened(dtype: DType) -> DType {
    if dtype == DType::F32 { DType::F64 } else { dtype }
}

fn attributes(node: &Node) -> Attributes {
    let mut attributes = node.attributes.clone();
    for (name, attribute) in attributes.0.iter_mut() {
        match attribute {
            Attribute::Int(to @ 1) if &*node.op == "Cast" && name == "to" => *to = 11,
            Attribute::Tensor(tensor) => *tensor = Arc::new(tensor.cast(widened(tensor.dtype()))),
            _ => {}
        }
    }
    attributes
}

/// The operators without float64 kernels, by their definitions.
fn formula<'b>(b: &'b Builder, node: &Node, x: &[Option<Expr<'b>>]) -> Option<Expr<'b>> {
    let first = x.first().copied().flatten()?;
    let float = |name: &str, default: f32| f64::from(node.attributes.float(name, default));
    Some(match &*node.op {
        "Sigmoid" => {
            // neither branch overflows
            let e = (-first.abs()).exp();
            first.less(0.0).select(e / (e + 1.0), (e + 1.0).unary("Reciprocal"))
        }
        "Softplus" => first.unary("Relu") + ((-first.abs()).exp() + 1.0).log(),
        "HardSwish" => first * clipped(b, first * (1.0 / 6.0) + 0.5),
        "HardSigmoid" => clipped(b, first * float("alpha", 0.2) + float("beta", 0.5)),
        "LeakyRelu" => first.less(0.0).select(first * float("alpha", 0.01), first),
        "Elu" => first.less(0.0).select((first.exp() - 1.0) * float("alpha", 1.0), first),
        "Selu" => {
            let (alpha, gamma) = (float("alpha", 1.673_263_2), float("gamma", 1.050_701));
            first.less(0.0).select((first.exp() - 1.0) * alpha, first) * gamma
        }
        "Erf" => error_function(first),
        "Gemm" => {
            let side = |i: usize, flag: &str| {
                let e = x[i]?;
                Some(if node.attributes.int(flag, 0) == 1 { e.transpose(&[1, 0]) } else { e })
            };
            let product = b.op("MatMul", &[side(0, "transA")?, side(1, "transB")?], Attributes::none());
            let product = scaled(product, float("alpha", 1.0));
            match x.get(2).copied().flatten() {
                Some(bias) => product + scaled(bias, float("beta", 1.0)),
                None => product,
            }
        }
        "LayerNormalization" if node.outputs.len() == 1 => {
            let rank = first.rank()? as i64;
            let axis = node.attributes.int("axis", -1);
            let axes: Vec<i64> = (if axis < 0 { axis + rank } else { axis }..rank).collect();
            let y = standardised(first, &axes, float("epsilon", 1e-5)) * x[1]?;
            x.get(2).copied().flatten().map_or(y, |bias| y + bias)
        }
        "BatchNormalization" if node.attributes.int("training_mode", 0) == 1 => {
            let rank = first.rank()? as i64;
            let axes: Vec<i64> = (0..rank).filter(|&axis| axis != 1).collect();
            let spread: Vec<i64> = (1..rank - 1).collect();
            let y = standardised(first, &axes, float("epsilon", 1e-5));
            y * x[1]?.unsqueeze(&spread) + x[2]?.unsqueeze(&spread)
        }
        "InstanceNormalization" => {
            let axes: Vec<i64> = (2..first.rank()? as i64).collect();
            let spread: Vec<i64> = (1..axes.len() as i64 + 1).collect();
            let y = standardised(first, &axes, float("epsilon", 1e-5));
            y * x[1]?.unsqueeze(&spread) + x[2]?.unsqueeze(&spread)
        }
        _ => return None,
    })
}

fn scaled(e: Expr<'_>, factor: f64) -> Expr<'_> {
    if factor == 1.0 { e } else { e * factor }
}

fn clipped<'b>(b: &'b Builder, e: Expr<'b>) -> Expr<'b> {
    let low = b.op("Max", &[e, e.scalar(0.0)], Attributes::none());
    b.op("Min", &[low, e.scalar(1.0)], Attributes::none())
}

fn standardised<'b>(x: Expr<'b>, axes: &[i64], epsilon: f64) -> Expr<'b> {
    let d = x - x.mean(axes, true);
    d / ((d * d).mean(axes, true) + epsilon).sqrt()
}

/// erf x = 2/√π · e^(−x²) · x · Σ_n (2x²)ⁿ / (2n+1)!!, whose terms are positive; beyond 5.5 it is ±1 to the last bit but three.
fn error_function(x: Expr<'_>) -> Expr<'_> {
    let near = x.sign() * x.abs().less(5.5).select(x.abs(), x.scalar(5.5));
    let square = near * near;
    let sum = (1..120).rev().fold(near.scalar(1.0), |sum, n| square * sum * (2.0 / f64::from(2 * n + 1)) + 1.0);
    near * (-square).exp() * sum * FRAC_2_SQRT_PI
}
