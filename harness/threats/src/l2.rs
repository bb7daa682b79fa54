//! The Euclidean norm: the perturbation as a whole has length at most ε.

use flatscape_graph::Expr;

use super::{Ball, Threat, hyperplane, plain, sample_axes};

/// An image of a million pixels has no two points farther apart than this.
const LARGEST: f64 = 1000.0;

pub(super) const THREAT: Threat = Threat {
    name: "l2",
    summary: "the perturbation has Euclidean length at most EPS",
    example: "l2:0.5",
    largest: LARGEST,
    read: plain,
    distance,
    distance_graph,
    project,
    steepest,
    hyperplane: Some(hyperplane::l2),
    parameter: None,
};

fn distance(x: &[f32], x0: &[f32], _: Option<[usize; 3]>) -> Option<f64> {
    Some(x.iter().zip(x0).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>().sqrt())
}

/// √Σ(x − x0)²
fn distance_graph<'b>(x: Expr<'b>, x0: Expr<'b>) -> Expr<'b> {
    let d = x - x0;
    (d * d).sum(&sample_axes(x), false).sqrt()
}

/// x0 + δ·min(1, ε/‖δ‖), then clip to the box; the clip only shrinks components of δ, so the point stays in the ball.
fn project<'b>(x: Expr<'b>, ball: Ball<'b>) -> Expr<'b> {
    let d = x - ball.x0;
    let length = (d * d).sum(&sample_axes(x), true).sqrt();
    let ratio = (ball.eps / length.max(1e-12)).min(1.0);
    (ball.x0 + d * ratio).max(ball.lo).min(ball.hi)
}

/// g/‖g‖, after dividing by max |g| so that squares of small gradients do not vanish
pub(super) fn steepest(g: Expr<'_>) -> Expr<'_> {
    let axes = sample_axes(g);
    let h = g / g.abs().reduce("ReduceMax", &axes, true).max(f64::from(f32::MIN_POSITIVE));
    h / ((h * h).sum(&axes, true).sqrt() + 1e-12)
}
