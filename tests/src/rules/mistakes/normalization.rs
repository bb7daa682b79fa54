//! Mistakes of normalizations: ε, the statistics that depend on x, the axes.

use super::altered::{all_but_channels, channel, detached, right, set, written_with};
use super::{Mistake, wrong, wrongly_written};
use flatscape_autodiff::Application;
use flatscape_graph::Expr;

pub const MISTAKES: &[Mistake] = &[
    wrong("BatchNormalization", 0, "ε is forgotten", |n, ct| match training(n) {
        true => right(n, 0, ct),
        false => ct * channel(n, 1) / channel(n, 4).sqrt(),
    }),
    wrong("BatchNormalization", 0, "divided by the variance", |n, ct| match training(n) {
        true => right(n, 0, ct),
        false => ct * channel(n, 1) / (channel(n, 4) + epsilon(n)),
    }),
    wrong("BatchNormalization", 0, "in training the statistics are taken as constants", |n, ct| match training(n) {
        true => ct * channel(n, 1) * statistics(n, &all_but_channels(n), epsilon(n)).1,
        false => right(n, 0, ct),
    }),
    wrong("BatchNormalization", 0, "in training the running statistics are taken", |n, ct| {
        ct * channel(n, 1) / (channel(n, 4) + epsilon(n)).sqrt()
    }),
    wrong("BatchNormalization", 1, "the mean is not subtracted", |n, ct| match training(n) {
        true => right(n, 1, ct),
        false => (ct * n.x(0) / (channel(n, 4) + epsilon(n)).sqrt()).sum(&all_but_channels(n), false),
    }),
    wrong("BatchNormalization", 3, "the mean keeps its sign", |n, ct| -right(n, 3, ct)),
    wrong("BatchNormalization", 4, "without the factor ½", |n, ct| right(n, 4, ct) * 2.0),
    wrong("LayerNormalization", 0, "the mean is taken as a constant", |n, ct| {
        let axes = trailing(n);
        let (x, i) = statistics(n, &axes, epsilon(n));
        let g = ct * n.x(1);
        (g - x * (g * x).mean(&axes, true)) * i
    }),
    wrong("LayerNormalization", 0, "the variance is taken as a constant", |n, ct| {
        let axes = trailing(n);
        let g = ct * n.x(1);
        (g - g.mean(&axes, true)) * statistics(n, &axes, epsilon(n)).1
    }),
    wrong("LayerNormalization", 0, "ε is forgotten", |n, ct| standardized(n, ct * n.x(1), &trailing(n), 0.0)),
    wrong("LayerNormalization", 0, "the axis is always the last", |n, ct| standardized(n, ct * n.x(1), &[-1], epsilon(n))),
    wrong("LayerNormalization", 0, "the scale is left out", |n, ct| standardized(n, ct, &trailing(n), epsilon(n))),
    wrong("LayerNormalization", 1, "x is not standardized", |n, ct| ct * n.x(0)),
    wrong("LayerNormalization", 2, "with a sign", |_, ct| -ct),
    wrong("InstanceNormalization", 0, "statistics over the channels too", |n, ct| {
        let axes: Vec<i64> = (1..n.rank(0).unwrap_or(3) as i64).collect();
        standardized(n, ct * channel(n, 1), &axes, epsilon(n))
    }),
    wrong("InstanceNormalization", 0, "statistics over the batch too", |n, ct| {
        standardized(n, ct * channel(n, 1), &all_but_channels(n), epsilon(n))
    }),
    wrong("InstanceNormalization", 0, "ε is forgotten", |n, ct| {
        let axes: Vec<i64> = (2..n.rank(0).unwrap_or(3) as i64).collect();
        standardized(n, ct * channel(n, 1), &axes, 0.0)
    }),
    wrong("InstanceNormalization", 1, "averaged over the batch", |n, ct| right(n, 1, ct) * 0.5),
    wrong("LayerNormalization", 0, "the cotangents of its statistics are forgotten", |n, ct| match n.ct(0) {
        Some(ct) => standardized(n, ct * n.x(1), &trailing(n), epsilon(n)),
        None => n.zeros_like(n.x(0)) * ct.sum(&[0], true),
    }),
    wrongly_written("LRN", "α is not divided by the number of channels", |n| {
        let alpha = n.float("alpha", 1e-4) * n.int("size", 1) as f64;
        written_with(n, |node| set(node, "alpha", Some((alpha as f32).into())))
    }),
    wrongly_written("LRN", "a channel too many", |n| {
        let size = n.int("size", 1) + 1;
        written_with(n, |node| set(node, "size", Some(size.into())))
    }),
    wrongly_written("LRN", "the bias is 1", |n| written_with(n, |node| set(node, "bias", None))),
    wrongly_written("LRN", "β is ½", |n| written_with(n, |node| set(node, "beta", Some(0.5f32.into())))),
    wrongly_written("LpNormalization", "p is 2", |n| written_with(n, |node| set(node, "p", None))),
    wrongly_written("LpNormalization", "the axis is always the last", |n| written_with(n, |node| set(node, "axis", None))),
    wrongly_written("LpNormalization", "the norm is taken as a constant", |n| {
        let x = detached(n.x(0));
        let y = written_with(n, |_| {})?[0];
        Ok(vec![n.x(0) * detached(y / x)])
    }),
    wrongly_written("MeanVarianceNormalization", "statistics over the batch only", |n| {
        written_with(n, |node| set(node, "axes", Some([0].into())))
    }),
];

fn training(n: &Application<'_>) -> bool {
    n.int("training_mode", 0) != 0
}

fn epsilon(n: &Application<'_>) -> f64 {
    n.float("epsilon", 1e-5)
}

fn trailing(n: &Application<'_>) -> Vec<i64> {
    let rank = n.rank(0).expect("a known rank") as i64;
    let axis = n.int("axis", -1);
    (if axis < 0 { axis + rank } else { axis }..rank).collect()
}

/// x̂ and 1/√(variance + ε).
fn statistics<'b>(n: &Application<'b>, axes: &[i64], epsilon: f64) -> (Expr<'b>, Expr<'b>) {
    let centred = n.x(0) - n.x(0).mean(axes, true);
    let i = ((centred * centred).mean(axes, true) + epsilon).sqrt().reciprocal();
    (centred * i, i)
}

fn standardized<'b>(n: &Application<'b>, g: Expr<'b>, axes: &[i64], epsilon: f64) -> Expr<'b> {
    let (x, i) = statistics(n, axes, epsilon);
    (g - g.mean(axes, true) - x * (g * x).mean(axes, true)) * i
}
