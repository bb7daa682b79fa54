//! The maximum norm: every pixel may move by at most ε (formulas: ball ∩ box is coordinate-wise, so clip ∘ clip is exact).

use flatscape_graph::Expr;

use super::{Ball, Threat, hyperplane, plain, sample_axes};

pub(super) const THREAT: Threat = Threat {
    name: "linf",
    summary: "no pixel moves by more than EPS",
    example: "linf:8/255",
    largest: 1.0,
    read: plain,
    distance,
    distance_graph,
    project,
    steepest,
    hyperplane: Some(hyperplane::linf),
    parameter: None,
};

fn distance(x: &[f32], x0: &[f32], _: Option<[usize; 3]>) -> Option<f64> {
    Some(x.iter().zip(x0).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max))
}

/// max |x − x0|
fn distance_graph<'b>(x: Expr<'b>, x0: Expr<'b>) -> Expr<'b> {
    (x - x0).abs().reduce("ReduceMax", &sample_axes(x), false)
}

/// clip(clip(x, x0 − ε, x0 + ε), lo, hi)
fn project<'b>(x: Expr<'b>, ball: Ball<'b>) -> Expr<'b> {
    x.max(ball.x0 - ball.eps).min(ball.x0 + ball.eps).max(ball.lo).min(ball.hi)
}

/// sign(g)
fn steepest(g: Expr<'_>) -> Expr<'_> {
    g.sign()
}
