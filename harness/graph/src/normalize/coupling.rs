//! Probabilities of classes from those of pairs of classes, as support vectors have them: the second method of Wu, Lin and Weng,
//! «Probability estimates for multi-class classification by pairwise coupling» (JMLR 5, 2004). libsvm and ONNX Runtime iterate until
//! 0.005/K; here the system is solved.

use super::learners::row;
use crate::expr::{Builder, Expr};
use crate::tensor::Tensor;

/// Probabilities keep this distance from 0 and 1, as there.
const LEAST: f64 = 1e-7;

/// Nodes that K classes take.
pub(super) fn nodes(classes: usize) -> usize {
    16 + 8 * classes
}

/// σ of the scores s of each pair: the first class has the probability `1 − σ(a·s + b)`.
pub(super) fn of_pairs<'b>(b: &'b Builder, scores: Expr<'b>, slopes: &[f32], shifts: &[f32]) -> Expr<'b> {
    let z = scores * row(b, slopes) + row(b, shifts);
    (-z).sigmoid().max(LEAST).min(1.0 - LEAST)
}

/// p `[N,K]` that minimises `Σᵢ Σⱼ (r_ji·pᵢ − r_ij·pⱼ)²` with `Σ p = 1`, where r_ij is the probability of class i in the pair i < j, given
/// as `[N,K·(K−1)/2]` in the order of pairs. With `Q_ii = Σⱼ r_ji²` and `Q_ij = −r_ji·r_ij` p is in the direction of `(Q + eeᵀ)⁻¹·e`.
pub(super) fn coupled<'b>(b: &'b Builder, pairs: Expr<'b>, classes: usize) -> Expr<'b> {
    let k = classes as i64;
    let r = square(b, pairs, classes);
    let turned = r.transpose(&[0, 2, 1]);
    let diagonal = (turned * turned).sum(&[2], true) * matrix(b, classes, classes, |i, j| f32::from(u8::from(i == j)));
    let system = diagonal - r * turned + 1.0;
    // beside it a column of ones, which becomes the solution
    let ones = system.slice(&[0], &[1], &[2], &[1]) * 0.0 + 1.0;
    let mut a = b.concat(&[system, ones], 2);
    for i in 0..k {
        let pivot = a.slice(&[i], &[i + 1], &[1], &[1]);
        let solved = pivot / pivot.slice(&[i], &[i + 1], &[2], &[1]);
        // the row itself becomes the solved one: a − (a − 1)·a/a
        let factor = a.slice(&[i], &[i + 1], &[2], &[1]) - matrix(b, classes, 1, |j, _| f32::from(u8::from(j as i64 == i)));
        a = a - factor * solved;
    }
    let p = a.slice(&[k], &[k + 1], &[2], &[1]).squeeze(&[2]);
    p / p.sum(&[1], true)
}

/// The matrices `[N,K,K]` of r_ij, with zeros on the diagonal and `1 − r_ij` below it.
fn square<'b>(b: &'b Builder, pairs: Expr<'b>, classes: usize) -> Expr<'b> {
    let list: Vec<(usize, usize)> = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j))).collect();
    let places = matrix(b, list.len(), classes * classes, |pair, place| match (place / classes, place % classes) {
        at if at == list[pair] => 1.0,
        (i, j) if (j, i) == list[pair] => -1.0,
        _ => 0.0,
    });
    let below = matrix(b, 1, classes * classes, |_, place| f32::from(u8::from(place / classes > place % classes)));
    (pairs.matmul(places) + below).reshape(&[-1, classes as i64, classes as i64])
}

/// A constant matrix.
fn matrix<'b>(b: &'b Builder, rows: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Expr<'b> {
    let at = &at;
    let values: Vec<f32> = (0..rows).flat_map(|i| (0..columns).map(move |j| at(i, j))).collect();
    b.constant(Tensor::new(&[rows, columns], values).unwrap_or_else(|| Tensor::scalar(0f32)))
}
