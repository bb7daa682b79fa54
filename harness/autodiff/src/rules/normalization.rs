//! Rules of normalizations. With statistics over some axes, `i = (var + ε)^(−½)`, `x̂ = (x − mean)·i` and `G = ȳ·γ`:
//! `x̄ = i · (G − mean(G) − x̂ · mean(G·x̂))`. The statistics are computed again, since the operators do not give them.

use flatscape_graph::{Attributes, Dim, Expr, Tensor};

use crate::application::Application;
use crate::rule::{Rule, vjp, written};

pub(super) const RULES: &[Rule] = &[
    // inference: y = γ·(x − μ)·i + β, i = (v + ε)^(−½)
    //            x̄ = ȳ·γ·i     γ̄ = Σ ȳ·(x − μ)·i     β̄ = Σ ȳ     μ̄ = −γ·i·Σ ȳ     v̄ = −½·γ·i³·Σ ȳ·(x − μ)
    // training:  statistics over batch and space; its running statistics are not differentiated
    vjp(
        "BatchNormalization",
        &[
            |n, ct| match training(n) {
                true => n.or_refuse(over_batch(n).and_then(|axes| standardized(n, ct * channel(n, 1), &axes))),
                false => ct * (channel(n, 1) * inverse(n)),
            },
            |n, ct| match training(n) {
                true => n.or_refuse(over_batch(n).and_then(|axes| Ok(per_channel(n, ct * statistics(n, &axes)?.0)))),
                false => per_channel(n, ct * (n.x(0) - channel(n, 3)) * inverse(n)),
            },
            |n, ct| per_channel(n, ct),
            |n, ct| only_in_inference(n, |n| -per_channel(n, ct * (channel(n, 1) * inverse(n)))),
            |n, ct| {
                only_in_inference(n, |n| {
                    let i = inverse(n);
                    per_channel(n, ct * (n.x(0) - channel(n, 3)) * (channel(n, 1) * i * i * i * -0.5))
                })
            },
        ],
    )
    .first_result(),
    // y = γ·x̂ + β, statistics over the axes from `axis` on; the further results are mean and i
    vjp(
        "LayerNormalization",
        &[
            |n, _| n.or_refuse(layer(n)),
            |n, _| n.or_refuse(trailing(n).and_then(|axes| Ok(first(n) * statistics(n, &axes)?.0))),
            |n, _| first(n),
        ],
    )
    .all_results(),
    // y = γ·x̂ + β, statistics over the spatial axes
    vjp(
        "InstanceNormalization",
        &[
            |n, ct| n.or_refuse(spatial(n).and_then(|axes| standardized(n, ct * channel(n, 1), &axes))),
            |n, ct| n.or_refuse(spatial(n).and_then(|axes| Ok(per_channel(n, ct * statistics(n, &axes)?.0)))),
            |n, ct| per_channel(n, ct),
        ],
    ),
    // y = x / (κ + α/n · Σ x²)^β, summed over n channels around each
    written("LRN", local_response),
    // y = x / ‖x‖ along an axis, 0 where x is
    written("LpNormalization", lp),
    // y = (x − mean) / (√var + 1e-9)
    written("MeanVarianceNormalization", mean_variance),
];

fn training(n: &Application<'_>) -> bool {
    n.int("training_mode", 0) != 0
}

/// In training mode the stated statistics reach the running ones alone.
fn only_in_inference<'b>(n: &Application<'b>, formula: impl FnOnce(&Application<'b>) -> Expr<'b>) -> Expr<'b> {
    if training(n) { n.zeros_like(n.x(3)) } else { formula(n) }
}

/// An operand [C] with extents that broadcast against [N, C, spatial…].
fn channel<'b>(n: &Application<'b>, i: usize) -> Expr<'b> {
    n.or_refuse(n.rank(0).map(|rank| n.x(i).unsqueeze(&(1..rank as i64 - 1).collect::<Vec<_>>())))
}

/// (v + ε)^(−½) of the stated variance.
fn inverse<'b>(n: &Application<'b>) -> Expr<'b> {
    (channel(n, 4) + epsilon(n)).sqrt().reciprocal()
}

fn epsilon(n: &Application<'_>) -> f64 {
    n.float("epsilon", 1e-5)
}

fn per_channel<'b>(n: &Application<'b>, v: Expr<'b>) -> Expr<'b> {
    n.or_refuse(over_batch(n).map(|axes| v.sum(&axes, false)))
}

/// Every axis but the channels.
fn over_batch(n: &Application<'_>) -> Result<Vec<i64>, String> {
    Ok((0..n.rank(0)? as i64).filter(|&axis| axis != 1).collect())
}

fn spatial(n: &Application<'_>) -> Result<Vec<i64>, String> {
    Ok((2..n.rank(0)? as i64).collect())
}

fn trailing(n: &Application<'_>) -> Result<Vec<i64>, String> {
    let rank = n.rank(0)?;
    Ok((n.axis(n.int("axis", -1), rank)? as i64..rank as i64).collect())
}

/// x̂ and i.
fn statistics<'b>(n: &Application<'b>, axes: &[i64]) -> Result<(Expr<'b>, Expr<'b>), String> {
    let centred = n.x(0) - n.x(0).mean(axes, true);
    let i = ((centred * centred).mean(axes, true) + epsilon(n)).sqrt().reciprocal();
    Ok((centred * i, i))
}

fn standardized<'b>(n: &Application<'b>, g: Expr<'b>, axes: &[i64]) -> Result<Expr<'b>, String> {
    let (x, i) = statistics(n, axes)?;
    Ok((g - g.mean(axes, true) - x * (g * x).mean(axes, true)) * i)
}

/// The cotangent of y, or zeros where only mean or i have one.
fn first<'b>(n: &Application<'b>) -> Expr<'b> {
    n.ct(0).unwrap_or_else(|| n.zeros_like(n.y(0)))
}

/// Beside what y gives: mean̄ / n, and −ī · i² · x̂ / n.
fn layer<'b>(n: &Application<'b>) -> Result<Expr<'b>, String> {
    let axes = trailing(n)?;
    let mut parts = Vec::new();
    if let Some(ct) = n.ct(0) {
        parts.push(standardized(n, ct * n.x(1), &axes)?);
    }
    if let Some(ct) = n.ct(1) {
        parts.push(ct / n.elements_per(n.x(0), ct));
    }
    if let Some(ct) = n.ct(2) {
        let (x, i) = statistics(n, &axes)?;
        parts.push(-(ct * i * i / n.elements_per(n.x(0), ct) * x));
    }
    parts.into_iter().reduce(|a, b| a + b).ok_or_else(|| "no cotangent arrived".to_owned())
}

/// The sum over neighbouring channels is a convolution with a band of ones. It reaches ⌊(n−1)/2⌋ back and ⌈(n−1)/2⌉ on.
fn local_response<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let (x, dims) = (n.x(0), n.dims(0)?);
    let channels = dims.get(1).and_then(Dim::fixed).ok_or("the number of channels is unknown")?;
    let size = usize::try_from(n.int("size", 1)).ok().filter(|&s| s > 0).ok_or("its size is not positive")?;
    let (back, on) = ((size - 1) / 2, size / 2);
    let inside = |to: usize, from: usize| if from + back >= to && from <= to + on { 1.0 } else { 0.0 };
    let band = (0..channels * channels).map(|at| inside(at / channels, at % channels)).collect();
    let mut shape = vec![1; dims.len()];
    shape[..2].fill(channels);
    let band = Tensor::new::<f64>(&shape, band).ok_or("its channels could not be counted")?;
    let band = n.builder().constant(band.cast(x.dtype()));
    let squares = n.builder().op("Conv", &[x * x, band], Attributes::none());
    let scale = squares * (n.float("alpha", 1e-4) / size as f64) + n.float("bias", 1.0);
    Ok(vec![x * scale.pow(-n.float("beta", 0.75))])
}

fn lp<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let x = n.x(0);
    let op = if n.int("p", 2) == 1 { "ReduceL1" } else { "ReduceL2" };
    let norm = x.reduce(op, &[n.int("axis", -1)], true);
    Ok(vec![x / norm.equal(norm.scalar(0.0)).select(1.0, norm)])
}

fn mean_variance<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let axes = n.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
    let centred = n.x(0) - n.x(0).mean(&axes, true);
    Ok(vec![centred / ((centred * centred).mean(&axes, true).sqrt() + 1e-9)])
}
