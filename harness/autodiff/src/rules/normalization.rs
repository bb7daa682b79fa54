//! Rules of normalizations. With statistics over some axes, `i = (var + ε)^(−½)`, `x̂ = (x − mean)·i` and `G = ȳ·γ`:
//! `x̄ = i · (G − mean(G) − x̂ · mean(G·x̂))`. The statistics are computed again, since the operators do not give them.

use flatscape_graph::Expr;

use crate::rule::{Rule, vjp};
use crate::site::Site;

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
    ),
    // y = γ·x̂ + β, statistics over the axes from `axis` on
    vjp(
        "LayerNormalization",
        &[
            |n, ct| n.or_refuse(trailing(n).and_then(|axes| standardized(n, ct * n.x(1), &axes))),
            |n, ct| n.or_refuse(trailing(n).and_then(|axes| Ok(ct * statistics(n, &axes)?.0))),
            |_, ct| ct,
        ],
    ),
    // y = γ·x̂ + β, statistics over the spatial axes
    vjp(
        "InstanceNormalization",
        &[
            |n, ct| n.or_refuse(spatial(n).and_then(|axes| standardized(n, ct * channel(n, 1), &axes))),
            |n, ct| n.or_refuse(spatial(n).and_then(|axes| Ok(per_channel(n, ct * statistics(n, &axes)?.0)))),
            |n, ct| per_channel(n, ct),
        ],
    ),
];

fn training(n: &Site<'_>) -> bool {
    n.int("training_mode", 0) != 0
}

fn only_in_inference<'b>(n: &Site<'b>, formula: impl FnOnce(&Site<'b>) -> Expr<'b>) -> Expr<'b> {
    if training(n) { n.refuse("its running statistics are differentiated in training mode".to_owned()) } else { formula(n) }
}

/// An operand [C] with extents that broadcast against [N, C, spatial…].
fn channel<'b>(n: &Site<'b>, i: usize) -> Expr<'b> {
    n.or_refuse(n.rank(0).map(|rank| n.x(i).unsqueeze(&(1..rank as i64 - 1).collect::<Vec<_>>())))
}

/// (v + ε)^(−½) of the stated variance.
fn inverse<'b>(n: &Site<'b>) -> Expr<'b> {
    (channel(n, 4) + epsilon(n)).sqrt().reciprocal()
}

fn epsilon(n: &Site<'_>) -> f64 {
    n.float("epsilon", 1e-5)
}

fn per_channel<'b>(n: &Site<'b>, v: Expr<'b>) -> Expr<'b> {
    n.or_refuse(over_batch(n).map(|axes| v.sum(&axes, false)))
}

/// Every axis but the channels.
fn over_batch(n: &Site<'_>) -> Result<Vec<i64>, String> {
    Ok((0..n.rank(0)? as i64).filter(|&axis| axis != 1).collect())
}

fn spatial(n: &Site<'_>) -> Result<Vec<i64>, String> {
    Ok((2..n.rank(0)? as i64).collect())
}

fn trailing(n: &Site<'_>) -> Result<Vec<i64>, String> {
    let rank = n.rank(0)?;
    Ok((n.axis(n.int("axis", -1), rank)? as i64..rank as i64).collect())
}

/// x̂ and i.
fn statistics<'b>(n: &Site<'b>, axes: &[i64]) -> Result<(Expr<'b>, Expr<'b>), String> {
    let centred = n.x(0) - n.x(0).mean(axes, true);
    let i = ((centred * centred).mean(axes, true) + epsilon(n)).sqrt().reciprocal();
    Ok((centred * i, i))
}

fn standardized<'b>(n: &Site<'b>, g: Expr<'b>, axes: &[i64]) -> Result<Expr<'b>, String> {
    let (x, i) = statistics(n, axes)?;
    Ok((g - g.mean(axes, true) - x * (g * x).mean(axes, true)) * i)
}
