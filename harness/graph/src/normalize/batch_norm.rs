//! Batch normalisation in inference form, folded: `γ·(y − μ)/√(σ² + ε) + β` of a convolution or a matrix product is one with
//! other weights. Computed in double, rounded once.

use ndarray::{ArrayD, Axis};

use super::{NormalizeError, Settings};
use crate::ir::{Attribute, Graph, Node, ValueId};
use crate::simplify::uses;
use crate::tensor::{DType, Tensor};

/// Folds every `BatchNormalization` with constant statistics into the node before it, or writes it as `Mul` and `Add`.
pub(super) fn batch_norm(graph: Graph, settings: &Settings) -> Result<Graph, NormalizeError> {
    let any = graph.nodes().iter().any(|n| &*n.op == "BatchNormalization");
    if !any || !settings.options.fold_batch_norm {
        return Ok(graph);
    }
    let uses = uses(&graph);
    // values of the new graph that nothing but their next reader sees
    let mut private: Vec<bool> = Vec::new();
    let new = graph.rewrite(|new, node, inputs| {
        let folded = affine(new, node, inputs).and_then(|affine| {
            let x = inputs[0]?;
            let absorbed = if private.get(x.0 as usize) == Some(&true) { absorb(new, x, &affine) } else { None };
            absorbed.or_else(|| multiply_add(new, x, &affine))
        });
        let results = match folded {
            Some(y) => vec![Some(y)],
            None => new.copy_node(&graph, node, inputs.to_vec()),
        };
        for (old, new) in node.outputs.iter().zip(&results) {
            if let (Some(old), Some(new)) = (old, new)
                && uses[old.0 as usize] == 1
            {
                let at = new.0 as usize;
                private.resize(private.len().max(at + 1), false);
                private[at] = true;
            }
        }
        Some(results)
    });
    Ok(new.without_dead())
}

/// `y = scale·x + shift` per channel.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
    dtype: DType,
}

fn affine(graph: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<Affine> {
    let inference = node.attributes.int("training_mode", 0) == 0 && node.outputs.iter().skip(1).all(Option::is_none);
    if &*node.op != "BatchNormalization" || !node.domain.is_empty() || !inference {
        return None;
    }
    let row = |i: usize| inputs.get(i).copied().flatten().and_then(|v| graph.constant(v)).map(|t| t.to_f64());
    let (gamma, beta, mean, variance) = (row(1)?, row(2)?, row(3)?, row(4)?);
    let epsilon = f64::from(node.attributes.float("epsilon", 1e-5));
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    let dtype = graph.dtype(inputs[0]?).filter(|d| d.is_float())?;
    Some(Affine { scale, shift, dtype })
}

/// The node that produces x, once more, with the affine map in its weights.
fn absorb(graph: &mut Graph, x: ValueId, affine: &Affine) -> Option<ValueId> {
    let (producer, _) = graph.value(x).producer?;
    let mut node = graph.node_at(producer).clone();
    if !node.domain.is_empty() {
        return None;
    }
    let weights = graph.constant(node.input(1)?)?.clone();
    let bias = match node.input(2) {
        Some(bias) => Some(graph.constant(bias)?.to_f64()),
        None => None,
    };
    let Tensor::F64(mut wide) = weights.cast(DType::F64) else { return None };
    let mut factor = 1.0;
    match &*node.op {
        "Conv" => scale_axis(&mut wide, 0, &affine.scale)?,
        "ConvTranspose" => scale_groups(&mut wide, node.attributes.int("group", 1), &affine.scale)?,
        "Gemm" => {
            let axis = if node.attributes.int("transB", 0) != 0 { 0 } else { 1 };
            scale_axis(&mut wide, axis, &affine.scale)?;
            factor = f64::from(node.attributes.float("beta", 1.0));
            node.attributes.0.insert("beta".into(), Attribute::Float(1.0));
        }
        _ => return None,
    }
    let channels = affine.scale.len();
    let old = bias.unwrap_or_else(|| vec![0.0]);
    if old.len() != 1 && old.len() != channels {
        return None;
    }
    let moved = |c: usize| factor * old[if old.len() == 1 { 0 } else { c }] * affine.scale[c] + affine.shift[c];
    let shift: Vec<f64> = (0..channels).map(moved).collect();
    let name = graph.value(node.input(1)?).name.to_string();
    let w = graph.add_constant(&name, Tensor::F64(wide).cast(affine.dtype));
    let b = graph.add_constant(&format!("{name}_bias"), vector(&shift, &[channels], affine.dtype)?);
    node.inputs = vec![node.input(0), Some(w), Some(b)];
    node.outputs.clear();
    graph.push(node, 1).first().copied()
}

/// `x·scale + shift`, the vectors laid along axis 1.
fn multiply_add(graph: &mut Graph, x: ValueId, affine: &Affine) -> Option<ValueId> {
    let mut shape = vec![affine.scale.len()];
    shape.resize(graph.rank(x)?.checked_sub(1)?, 1);
    let scale = graph.add_constant("scale", vector(&affine.scale, &shape, affine.dtype)?);
    let shift = graph.add_constant("shift", vector(&affine.shift, &shape, affine.dtype)?);
    let scaled = graph.node("Mul", &[x, scale], crate::Attributes::none());
    Some(graph.node("Add", &[scaled, shift], crate::Attributes::none()))
}

fn scale_axis(w: &mut ArrayD<f64>, axis: usize, scale: &[f64]) -> Option<()> {
    if w.shape().get(axis) != Some(&scale.len()) {
        return None;
    }
    for (mut part, s) in w.axis_iter_mut(Axis(axis)).zip(scale) {
        part.mapv_inplace(|v| v * s);
    }
    Some(())
}

/// w `[C, M/group, …]`: output channel `g·M/group + j` reads the block of rows g at column j.
fn scale_groups(w: &mut ArrayD<f64>, group: i64, scale: &[f64]) -> Option<()> {
    let group = usize::try_from(group).ok().filter(|&g| g > 0)?;
    let (rows, columns) = (*w.shape().first()?, *w.shape().get(1)?);
    if columns * group != scale.len() || !rows.is_multiple_of(group) {
        return None;
    }
    for (row, mut part) in w.axis_iter_mut(Axis(0)).enumerate() {
        let first = row / (rows / group) * columns;
        for (column, mut kernel) in part.axis_iter_mut(Axis(0)).enumerate() {
            kernel.mapv_inplace(|v| v * scale[first + column]);
        }
    }
    Some(())
}

fn vector(values: &[f64], shape: &[usize], dtype: DType) -> Option<Tensor> {
    Tensor::new(shape, values.to_vec()).map(|t| t.cast(dtype))
}
