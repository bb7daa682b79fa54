//! Formulas that several metrics share. Logits are \[N,classes\].

use flatscape_sdk::{Ask, DType, Error, Expr, Names, Param, Tensor};

pub(crate) use crate::attacks::one_hot;
pub(crate) use crate::trainers::square;

/// The norm of a gradient \[N,D\] that bounds growth per radius of the threat model: l1 for linf, l2 for l2, linf for l1. \[N\]
pub(crate) fn dual_norm<'b>(g: &Names<'b>, v: Expr<'b>) -> Result<Expr<'b>, Error> {
    match g.task().norm.as_str() {
        "linf" => Ok(v.abs().sum(&[1], false)),
        "l2" => Ok(norm(v)),
        "l1" => Ok(v.abs().reduce("ReduceMax", &[1], false)),
        other => Err(unserved(other)),
    }
}

/// ‖v‖₂ of every row, \[N,D\] → \[N\]. Where the sum of squares leaves the range of float32, the row is divided by its largest |v| first.
pub(crate) fn norm(v: Expr<'_>) -> Expr<'_> {
    let sum = square(v);
    let largest = v.abs().reduce("ReduceMax", &[1], true);
    // what is infinite or NaN stays that
    let unit = largest.greater(0.0).and(largest.less(f64::from(f32::MAX))).select(largest, largest.scalar(1.0));
    let scaled = square(v / unit).sqrt() * unit.squeeze(&[1]);
    sum.greater(1e-30).and(sum.less(f64::from(f32::MAX))).select(sum.sqrt(), scaled)
}

/// The parameter of metrics whose values are norms of gradients.
pub(crate) fn grad_units() -> Param {
    Param::choice(
        "grad-units",
        &["pixel", "model"],
        "per pixel in [0,1], or per unit of what the model is fed: times std/scale of its card",
    )
}

/// A gradient in pixels, \[N,D\], in the units that were asked for.
pub(crate) fn in_units<'b>(g: &Names<'b>, ask: &Ask, gradient: Expr<'b>) -> Expr<'b> {
    if ask.text("grad-units") == "model" { gradient * g.model_unit() } else { gradient }
}

/// Refuses a threat model whose radius has no dual norm.
pub(crate) fn unserved(norm: &str) -> Error {
    Error::unsupported(format!("the threat model is {norm}; it serves linf, l2, l1"))
}

/// A number \[N\] below `count` as a row with one 1: float \[N,count\].
pub(crate) fn indicator<'b>(g: &Names<'b>, number: Expr<'b>, count: usize) -> Expr<'b> {
    let every: Vec<i64> = (0..count as i64).collect();
    let every = g.constant(Tensor::ints(&every)).unsqueeze(&[0]);
    number.unsqueeze(&[1]).equal(every).cast(DType::F32)
}

/// The largest entry of every row, int64 \[N\].
pub(crate) fn argmax<'b>(g: &Names<'b>, rows: Expr<'b>) -> Expr<'b> {
    g.builder().op("ArgMax", &[rows], [("axis", 1.into()), ("keepdims", 0.into())])
}

/// The most likely class other than the label, int64 \[N\].
pub(crate) fn rival<'b>(g: &Names<'b>, logits: Expr<'b>) -> Expr<'b> {
    let at_label = one_hot(g, g.y()).greater(0.5);
    argmax(g, at_label.select(logits.scalar(f64::from(f32::MIN)), logits))
}

/// The sum over the classes other than each: Σ_{t≠s} p_t, without 1 − p_s. \[N,classes\] of any float type.
pub(crate) fn others<'b>(g: &Names<'b>, p: Expr<'b>) -> Expr<'b> {
    let beside = -g.constant(Tensor::identity(g.task().classes)) + 1.0;
    p.matmul(beside.cast(p.dtype()))
}
