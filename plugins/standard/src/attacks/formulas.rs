//! Formulas that several attacks share. Rows of samples are float \[N,D\], numbers per sample \[N,1\].

use flatscape_sdk::{DType, Expr, Names, Tensor};

/// The same number for every sample, \[N,1\].
pub(crate) fn per_sample<'b>(g: &Names<'b>, value: f64) -> Expr<'b> {
    (g.y().cast(DType::F32) * 0.0 + value).unsqueeze(&[1])
}

/// Zeros, \[N,width\].
pub(crate) fn row<'b>(g: &Names<'b>, width: usize) -> Expr<'b> {
    per_sample(g, 0.0) + numbers(g, &vec![0.0; width])
}

/// The k-th number of a table, a scalar: a schedule is a constant of the graph.
pub(crate) fn scheduled<'b>(g: &Names<'b>, table: &[f64]) -> Expr<'b> {
    numbers(g, table).gather(g.k(), 0)
}

/// A constant row of numbers.
pub(crate) fn numbers<'b>(g: &Names<'b>, table: &[f64]) -> Expr<'b> {
    g.constant(Tensor::floats(table.iter().map(|&v| v as f32).collect()))
}

/// (1 + cos(πk/T))/2 for k = 0, …, T − 1: from 1 towards 0
pub(crate) fn cosine(steps: i64) -> Vec<f64> {
    (0..steps).map(|k| (1.0 + (std::f64::consts::PI * k as f64 / steps as f64).cos()) / 2.0).collect()
}

/// Whether `x` is an adversarial example, bool \[N,1\]: another class than the label, or the target.
pub(crate) fn adversarial<'b>(g: &Names<'b>) -> Expr<'b> {
    let class = g.builder().op("ArgMax", &[g.logits()], [("axis", 1.into()), ("keepdims", 1.into())]);
    match g.task().targeted {
        true => class.equal(g.target().unsqueeze(&[1])),
        false => class.equal(g.y().unsqueeze(&[1])).negate(),
    }
}

/// 1 at the class and 0 elsewhere: \[N\] → \[N,classes\], \[N,K\] → \[N,K,classes\].
pub(crate) fn one_hot<'b>(g: &Names<'b>, class: Expr<'b>) -> Expr<'b> {
    let every: Vec<i64> = (0..g.task().classes as i64).collect();
    class.cast(DType::I64).unsqueeze(&[-1]).equal(g.builder().ints(&every)).cast(DType::F32)
}

/// The classes of the ranks 2, …, `count` + 1 by their scores, int64 \[N,count\].
pub(crate) fn runners_up<'b>(g: &Names<'b>, logits: Expr<'b>, count: usize) -> Expr<'b> {
    let b = g.builder();
    let ranks = b.ops("TopK", &[logits, b.ints(&[count as i64 + 1])], 2, [("axis", 1.into())])[1];
    ranks.slice(&[1], &[count as i64 + 1], &[1], &[1])
}

/// ‖v‖₂ of rows, \[N,1\]
pub(crate) fn length(v: Expr<'_>) -> Expr<'_> {
    (v * v).sum(&[-1], true).sqrt()
}

/// v/‖v‖₂ of rows, after dividing by max |v| so that squares of small numbers do not vanish; 0 where v is 0
pub(crate) fn unit(v: Expr<'_>) -> Expr<'_> {
    let v = v / v.abs().reduce("ReduceMax", &[-1], true).max(f64::from(f32::MIN_POSITIVE));
    v / length(v).max(1e-12)
}

/// clip(x, lo, hi)
pub(crate) fn boxed<'b>(g: &Names<'b>, x: Expr<'b>) -> Expr<'b> {
    x.max(g.lo()).min(g.hi())
}

/// The distance of two points in the norm of the threat model, \[N,1\].
pub(crate) fn distance<'b>(g: &Names<'b>, x: Expr<'b>, y: Expr<'b>) -> Expr<'b> {
    g.function("Distance", &[x, y]).reshape(&[-1, 1])
}

/// The corner of the box that is farthest from the image.
pub(crate) fn farthest<'b>(g: &Names<'b>) -> Expr<'b> {
    let (lo, hi) = (g.lo(), g.hi());
    let lower = (g.x0() - lo).greater(hi - g.x0());
    lower.select(lo, hi)
}
