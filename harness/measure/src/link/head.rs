//! The last linear layer of a model, found by walking back from the logits: a matrix product or a convolution of one pixel with
//! constant weights, then at most reshapes and constant biases. Knows graphs only.

use flatscape_graph::{Graph, Node, Tensor, ValueId};

/// logits = weight · features + bias.
#[derive(Debug)]
pub(super) struct Head {
    /// The input of the layer, [N,F] or with further extents of 1.
    pub input: ValueId,
    /// float[classes,F]
    pub weight: Tensor,
    /// float[classes]
    pub bias: Tensor,
}

/// A matrix of the walk: the input of the layer, its weights row by row, what is added, and the number of rows.
type Layer = (ValueId, Vec<f32>, Option<Vec<f64>>, usize);

impl Head {
    /// Finds the layer. The error is a clause.
    pub fn of(model: &Graph) -> Result<Head, String> {
        let mut value = model.outputs().first().ok_or("it has no output")?.value;
        let mut biases: Vec<Vec<f64>> = Vec::new();
        loop {
            let Some((id, _)) = model.value(value).producer else { return Err("its logits are its input".into()) };
            let node = model.node_at(id);
            let constant = |place: usize| node.input(place).and_then(|v| model.constant(v));
            let next = match &*node.op {
                "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => 0,
                "Add" if constant(1).is_some() => 0,
                "Add" if constant(0).is_some() => 1,
                _ => break finish(model, node, biases),
            };
            if let ("Add", Some(bias)) = (&*node.op, constant(1 - next)) {
                biases.push(bias.to_f64());
            }
            value = node.input(next).ok_or("one of its last operators has no operand")?;
        }
    }

    /// F, the number of features.
    pub fn width(&self) -> usize {
        self.weight.shape()[1]
    }
}

fn finish(model: &Graph, node: &Node, mut biases: Vec<Vec<f64>>) -> Result<Head, String> {
    let constant = |place: usize| node.input(place).and_then(|v| model.constant(v));
    let layer = match &*node.op {
        "Gemm" => gemm(node, constant(1), constant(2)),
        "MatMul" => matmul(node, constant(1)),
        "Conv" => pixel(node, constant(1), constant(2)),
        other => return Err(format!("the operator before the logits is {}", flatscape_graph::shown(other))),
    };
    let what = || format!("{} is not a product with constant weights that gives one row per sample", node.describe());
    let (input, weight, own, classes) = layer.ok_or_else(what)?;
    let width = weight.len() / classes.max(1);
    let ones = |value: ValueId| {
        let dims = model.shape(value)?;
        Some(dims.iter().skip(1).map(|d| d.fixed()).product::<Option<usize>>()? == width)
    };
    if ones(input) != Some(true) {
        return Err(what());
    }
    biases.extend(own);
    let mut bias = vec![0f64; classes];
    for part in biases {
        if part.len() != 1 && part.len() != classes {
            return Err(format!("what is added to its logits has {} values for {classes} classes", part.len()));
        }
        bias.iter_mut().enumerate().for_each(|(class, sum)| *sum += part[class % part.len()]);
    }
    let bias: Vec<f32> = bias.into_iter().map(|v| v as f32).collect();
    let tensors = Tensor::new(&[classes, width], weight).zip(Tensor::new(&[classes], bias));
    tensors.map(|(weight, bias)| Head { input, weight, bias }).ok_or_else(what)
}

/// y = αABᵗ + βC
fn gemm(node: &Node, weight: Option<&std::sync::Arc<Tensor>>, bias: Option<&std::sync::Arc<Tensor>>) -> Option<Layer> {
    let weight = weight?;
    let [rows, columns] = *weight.shape() else { return None };
    if node.attributes.int("transA", 0) != 0 || (node.input(2).is_some() && bias.is_none()) {
        return None;
    }
    let (alpha, beta) = (node.attributes.float("alpha", 1.0), node.attributes.float("beta", 1.0));
    let data: Vec<f32> = weight.to_f64().into_iter().map(|v| v as f32 * alpha).collect();
    let bias = bias.map(|b| b.to_f64().into_iter().map(|v| v * f64::from(beta)).collect());
    if node.attributes.int("transB", 0) != 0 {
        return Some((node.input(0)?, data, bias, rows));
    }
    Some((node.input(0)?, transposed(&data, rows, columns), bias, columns))
}

/// y = xW
fn matmul(node: &Node, weight: Option<&std::sync::Arc<Tensor>>) -> Option<Layer> {
    let weight = weight?;
    let [rows, columns] = *weight.shape() else { return None };
    let data: Vec<f32> = weight.to_f64().into_iter().map(|v| v as f32).collect();
    Some((node.input(0)?, transposed(&data, rows, columns), None, columns))
}

/// A convolution with a kernel of one pixel, on one pixel.
fn pixel(node: &Node, weight: Option<&std::sync::Arc<Tensor>>, bias: Option<&std::sync::Arc<Tensor>>) -> Option<Layer> {
    let weight = weight?;
    let [classes, _, 1, 1] = *weight.shape() else { return None };
    let padded = node.attributes.ints("pads").is_some_and(|pads| pads.iter().any(|&p| p != 0));
    if node.attributes.int("group", 1) != 1 || padded || (node.input(2).is_some() && bias.is_none()) {
        return None;
    }
    let data = weight.to_f64().into_iter().map(|v| v as f32).collect();
    Some((node.input(0)?, data, bias.map(|b| b.to_f64()), classes))
}

fn transposed(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| data[r * columns + c])).collect()
}
