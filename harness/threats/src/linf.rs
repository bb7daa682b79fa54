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
    // eight maxima beside each other
    let mut largest = [0f64; 8];
    for (x, x0) in x.chunks(8).zip(x0.chunks(8)) {
        for ((largest, &a), &b) in largest.iter_mut().zip(x).zip(x0) {
            let moved = (f64::from(a) - f64::from(b)).abs();
            *largest = if moved > *largest { moved } else { *largest };
        }
    }
    Some(largest.into_iter().fold(0.0, f64::max))
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
