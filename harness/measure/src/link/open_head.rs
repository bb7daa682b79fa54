//! The last linear layer of a model whose weights are inputs: the walk of `head`, with the weights as values of the graph in place
//! of tensors, so that what is made of them can be differentiated.

use std::collections::HashSet;

use flatscape_graph::{Builder, Expr, Graph, Tensor, ValueId};

/// Adds the outputs `features`, `head_weight` [classes,F] and `head_bias` [classes] to a model. Gives F, or a clause that says why it has
/// no linear last layer.
pub(super) fn open(model: &mut Graph) -> Result<usize, String> {
    let moving = moving(model);
    let b = Builder::new(model.clone());
    let (input, weight, bias) = walk(&b, &moving)?;
    let dims = weight.dims().ok_or("the shape of its last weights is unknown")?;
    let [Some(classes), Some(width)] = [0, 1].map(|axis| dims.get(axis).and_then(|d| d.fixed())) else {
        return Err("the shape of its last weights is unknown".into());
    };
    // a bias of one number is that of every class
    let zeros = b.constant(Tensor::full(weight.dtype(), &[classes], 0.0));
    let bias = bias.map_or(zeros, |bias| bias + zeros);
    b.output("features", b.expr(input));
    b.output("head_weight", weight);
    b.output("head_bias", bias);
    let opened = b.into_graph();
    opened.check().map_err(|e| e.to_string())?;
    *model = opened;
    Ok(width)
}

/// The values that depend on the image.
fn moving(model: &Graph) -> HashSet<ValueId> {
    let mut moving: HashSet<ValueId> = model.inputs().first().copied().into_iter().collect();
    for node in model.nodes() {
        if node.inputs.iter().flatten().any(|v| moving.contains(v)) {
            moving.extend(node.outputs.iter().flatten().copied());
        }
    }
    moving
}

/// The input of the layer, its weights [classes,F], and what is added.
type Layer<'b> = (ValueId, Expr<'b>, Option<Expr<'b>>);

fn walk<'b>(b: &'b Builder, moving: &HashSet<ValueId>) -> Result<Layer<'b>, String> {
    let mut value = b.graph().outputs().first().ok_or("it has no output")?.value;
    let mut bias: Option<Expr<'b>> = None;
    loop {
        let producer = b.graph().value(value).producer;
        let Some((id, _)) = producer else { return Err("its logits are its input".into()) };
        let node = b.graph().node_at(id).clone();
        let still = |place: usize| node.input(place).filter(|v| !moving.contains(v)).map(|v| b.expr(v));
        let mut add = |part: Expr<'b>| {
            let part = part.reshape(&[-1]);
            bias = Some(bias.map_or(part, |sum| sum + part));
        };
        let through = node.input(0).filter(|v| moving.contains(v));
        let other = || format!("the operator before the logits is {}", flatscape_graph::shown(&node.op));
        match &*node.op {
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => value = through.ok_or_else(other)?,
            "Add" => match (still(0), still(1)) {
                (None, Some(part)) => {
                    add(part);
                    value = through.ok_or_else(other)?;
                }
                (Some(part), None) => {
                    add(part);
                    value = node.input(1).ok_or_else(other)?;
                }
                _ => return Err(other()),
            },
            "Gemm" if node.attributes.int("transA", 0) == 0 => {
                let weight = still(1).ok_or_else(other)? * f64::from(node.attributes.float("alpha", 1.0));
                let beta = f64::from(node.attributes.float("beta", 1.0));
                still(2).into_iter().for_each(|part| add(part * beta));
                let weight = if node.attributes.int("transB", 0) != 0 { weight } else { weight.transpose(&[1, 0]) };
                return Ok((through.ok_or_else(other)?, weight, bias));
            }
            "MatMul" => {
                let weight = still(1).filter(|w| w.rank() == Some(2)).ok_or_else(other)?;
                return Ok((through.ok_or_else(other)?, weight.transpose(&[1, 0]), bias));
            }
            _ => return Err(other()),
        }
    }
}
