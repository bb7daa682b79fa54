//! The number of changed pixels: at most ε places of the image may differ, each by any amount within the box. A pixel counts once,
//! however many of its channels change. Sources: Croce and Hein 2019 (arXiv:1909.05040) for the projection; Pintor et al. 2021
//! (arXiv:2102.12827) for the Euclidean step.

use flatscape_graph::{Attributes, DType, Expr, Tensor};

use super::{Ball, Radius, Threat, l2, sample_axes};

/// No image has more pixels.
const LARGEST: f64 = 1e8;

pub(super) const THREAT: Threat = Threat {
    name: "l0",
    summary: "at most EPS pixels change, each counted once over its channels",
    example: "l0:20",
    largest: LARGEST,
    read,
    distance,
    distance_graph,
    project,
    steepest,
    hyperplane: None,
    parameter: None,
};

fn read(spelling: &str) -> Result<Radius, String> {
    let radius = super::plain(spelling)?;
    if radius.eps.fract() != 0.0 {
        return Err("is not a whole number of pixels".into());
    }
    Ok(radius)
}

fn distance(x: &[f32], x0: &[f32], shape: Option<[usize; 3]>) -> Option<f64> {
    let [c, h, w] = shape?;
    let differs = |channel: usize, pixel: usize| x.get(channel * h * w + pixel) != x0.get(channel * h * w + pixel);
    Some((0..h * w).filter(|&pixel| (0..c).any(|channel| differs(channel, pixel))).count() as f64)
}

/// Σ over pixels of [x ≠ x0 in some channel]
fn distance_graph<'b>(x: Expr<'b>, x0: Expr<'b>) -> Expr<'b> {
    let changed = (x - x0).abs().greater(0.0).cast(x.dtype());
    let pixels = if x.rank() == Some(4) { changed.reduce("ReduceMax", &[1], true) } else { changed };
    pixels.sum(&sample_axes(x), false)
}

/// The nearest point of ball ∩ box in the Euclidean norm: the ε pixels that gain most by it keep clip(x), the others return to x0.
/// A pixel gains Σ over channels of (x − x0)² − (x − clip(x))², so that what lies beyond the box counts, too. Of equal gains the
/// engine's order decides; the number is exact.
fn project<'b>(x: Expr<'b>, ball: Ball<'b>) -> Expr<'b> {
    let b = x.builder();
    let clipped = x.max(ball.lo).min(ball.hi);
    let dims: Option<Vec<usize>> = x.dims().and_then(|dims| dims.iter().skip(1).map(|d| d.fixed()).collect());
    let Some([_, h, w]) = dims.and_then(|dims| <[usize; 3]>::try_from(dims).ok()) else {
        b.graph_mut().add_problem("the l0 projection needs images [N,C,H,W] of known size".to_owned());
        return clipped;
    };
    let pixels = h * w;
    let (moved, beyond) = (x - ball.x0, x - clipped);
    let gain = (moved * moved - beyond * beyond).sum(&[1], false).reshape(&[-1, pixels as i64]);
    let order = b.ops("TopK", &[gain, b.ints(&[pixels as i64])], 2, [("axis", 1.into())])[1];
    let places: Vec<f32> = (1..=pixels).map(|place| place as f32).collect();
    let places = b.constant(Tensor::new(&[1, pixels], places).unwrap_or_else(|| Tensor::scalar(0f32)));
    let zeros = gain * 0.0;
    let rank = b.op("ScatterElements", &[zeros, order, zeros + places], Attributes::none().with("axis", 1));
    let rank = rank.reshape(&[-1, 1, h as i64, w as i64]);
    rank.cast(DType::F32).at_most(ball.eps).select(clipped, ball.x0)
}

/// g/‖g‖₂: the ball has no steepest direction of unit length, because the size of a change is free
fn steepest(g: Expr<'_>) -> Expr<'_> {
    l2::steepest(g)
}
