//! Pairs of sign vectors that are exactly orthogonal: d⊥ is d with the signs of a random half of the pixels turned.

use flatscape_sdk::{Attributes, Expr, Law, Names, Tensor};

/// Random directions, the same for every image and every model: entries −1 or 1, \[n,D\].
pub(crate) fn random<'b>(g: &Names<'b>, n: usize) -> Expr<'b> {
    g.shared_noise(Law::Rademacher, "direction", &[n, g.task().pixels()])
}

/// For each of n pairs −1 on a uniformly random half of the pixels and 1 elsewhere, \[n,D\]; d⊥ = d∘flip. The half are the
/// ⌊D/2⌋ largest of D random numbers, so ⟨d, d⊥⟩ is 0, or 1 where D is odd.
pub(crate) fn half_flip<'b>(g: &Names<'b>, n: usize) -> Expr<'b> {
    let d = g.task().pixels();
    let ones = g.constant(Tensor::full(flatscape_sdk::DType::F32, &[n, d], 1.0));
    let half = d / 2;
    if half == 0 {
        return ones;
    }
    let b = g.builder();
    let ranks = g.shared_noise(Law::Uniform, "half", &[n, d]);
    let largest = b.ops("TopK", &[ranks, b.ints(&[half as i64])], 2, [("axis", 1.into())]);
    let minus = g.constant(Tensor::full(flatscape_sdk::DType::F32, &[n, half], -1.0));
    b.op("ScatterElements", &[ones, largest[1], minus], Attributes::none().with("axis", 1))
}
