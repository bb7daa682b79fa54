//! The sum norm: the absolute changes of all pixels add up to at most ε.
//! Source: Croce and Hein, «Mind the box: l1-APGD» (2021), for the exact projection on ball ∩ box.

use flatscape_graph::Expr;

use super::{Ball, Threat, hyperplane, plain, sample_axes};

/// An image of a million pixels has no two points farther apart than this.
const LARGEST: f64 = 1e6;

/// Halvings of the interval in which the threshold lies: float32 has no more digits.
const HALVINGS: usize = 30;

/// Rounding to float32 changes a number by at most this part of it. A change is made smaller by that much before it is added to
/// x0, so that the sum is never rounded away from x0. Otherwise pixels that are equal are all rounded in the same direction, and
/// together they can leave the ball.
const HALF_UNIT: f64 = 1.0 / 16_777_216.0;

/// The share of coordinates that a steepest step leaves alone.
const QUANTILE: f64 = 0.99;

pub(super) const THREAT: Threat = Threat {
    name: "l1",
    summary: "the absolute changes of all pixels add up to at most EPS",
    example: "l1:12",
    largest: LARGEST,
    read: plain,
    distance,
    distance_graph,
    project,
    steepest,
    hyperplane: Some(hyperplane::l1),
    parameter: None,
};

fn distance(x: &[f32], x0: &[f32], _: Option<[usize; 3]>) -> Option<f64> {
    Some(x.iter().zip(x0).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).sum())
}

/// Σ|x − x0|
fn distance_graph<'b>(x: Expr<'b>, x0: Expr<'b>) -> Expr<'b> {
    (x - x0).abs().sum(&sample_axes(x), false)
}

/// x0 + sign(δ)·clip(|δ| − λ, 0, cap) with the smallest λ ≥ 0 whose total is at most ε, where cap is the room to the box in
/// the direction of δ. λ is found by bisection on [0, max|δ|] and its upper end is used, so the point is inside. Where λ > 0 the
/// change of a pixel is smaller than that by at most one unit of its last place, unless it ends at the box: there it is exact, because
/// attacks ask which pixels the box stops.
fn project<'b>(x: Expr<'b>, ball: Ball<'b>) -> Expr<'b> {
    let axes = sample_axes(x);
    let d = x - ball.x0;
    let size = d.abs();
    let cap = d.at_least(0.0).select(ball.hi - ball.x0, ball.x0 - ball.lo);
    let shrunk = |threshold: Expr<'b>| (size - threshold).relu().min(cap);
    let fits = |threshold: Expr<'b>| shrunk(threshold).sum(&axes, true).at_most(ball.eps);
    let mut high = size.reduce("ReduceMax", &axes, true);
    let mut low = high * 0.0;
    for _ in 0..HALVINGS {
        let middle = (low + high) * 0.5;
        let enough = fits(middle);
        (low, high) = (enough.select(low, middle), enough.select(middle, high));
    }
    let half_unit = ball.x0.abs().max(x.abs()) * HALF_UNIT;
    let reduced = ball.x0 + d.sign() * shrunk(high + half_unit);
    fits(high * 0.0).select(x, reduced).max(ball.lo).min(ball.hi)
}

/// sign(g)/k on the k largest |g|, k = ⌈(1 − q)D⌉; ties at the k-th place share the step
fn steepest(g: Expr<'_>) -> Expr<'_> {
    let b = g.builder();
    let extents: Option<Vec<usize>> = g.dims().and_then(|dims| dims.iter().skip(1).map(|d| d.fixed()).collect());
    let Some(extents) = extents else {
        b.graph_mut().add_problem("the steepest l1 step needs an image of known size".to_owned());
        return g;
    };
    let count: usize = extents.iter().product();
    let k = (((1.0 - QUANTILE) * count as f64).ceil() as usize).max(1);
    let flat = g.abs().reshape(&[-1, count as i64]);
    let largest = b.ops("TopK", &[flat, b.ints(&[k as i64])], 2, [("axis", 1.into())])[0];
    let keep: Vec<i64> = std::iter::once(-1).chain(extents.iter().map(|_| 1)).collect();
    let bound = largest.slice(&[k as i64 - 1], &[k as i64], &[1], &[1]).reshape(&keep);
    let chosen = g.abs().at_least(bound).cast(g.dtype()) * g.sign();
    chosen / chosen.abs().sum(&sample_axes(g), true).max(1.0)
}
