//! The soft rank of the Hessian in the weights, Σ λ/(λ + μ) over its eigenvalues, negative ones counted as 0, by stochastic Lanczos
//! quadrature. Source: «Flatness After All?» (arXiv:2506.17809).

use flatscape_sdk::{Ask, Component, Error, Param, Reduction, Weights};

use super::density::nodes;
use super::eigenvalues::{build, steps};
use super::head::Head;
use super::trace::of;
use super::{estimated, input};

pub(crate) fn component() -> Component {
    Component::metric(
        "soft-rank",
        "soft rank of the Hessian of the loss in the weights, the last layer or the input: the sum of λ/(λ + damping)",
    )
    .source("Flatness After All? 2025 (arXiv:2506.17809)")
    .param(of())
    .param(Param::float("damping", "0.01", "the weight of the quadratic penalty; directions of less curvature hardly count"))
    .param(Param::int("probes", 10, "random directions").range(1.0, 10_000.0))
    .param(steps())
    .build(|ask| damping(ask).and_then(|_| build(ask)))
    .reduce(reduce)
    .weights(measure)
}

/// n · Σ w λ⁺/(λ⁺ + μ)
fn rank(nodes: &[(f64, f64)], size: usize, damping: f64) -> f64 {
    size as f64 * nodes.iter().map(|&(value, weight)| weight * value.max(0.0) / (value.max(0.0) + damping)).sum::<f64>()
}

/// The last layer alone, exact where the matrix is small, else by quadrature; the input sample by sample, by one start of Lanczos.
fn reduce(ask: &Ask, rows: &Reduction<'_>) -> Result<(), Error> {
    let damping = damping(ask)?;
    let number = |name: &str| usize::try_from(ask.int(name)).unwrap_or(0);
    let head = match ask.text("of") {
        "weights" => return Ok(()),
        "head" => Head::of(rows)?,
        _ => {
            let of = |nodes: &Option<_>| nodes.as_ref().map_or(f64::NAN, |n: &Vec<_>| rank(n, ask.task.pixels(), damping));
            return rows.give_column("input_soft_rank", &input::nodes(rows)?.iter().map(of).collect::<Vec<_>>());
        }
    };
    let Some(head) = head else { return Ok(()) };
    let all = head.nodes(number("steps"), number("probes"))?;
    let (mean, _, interval) = estimated(&all.iter().map(|nodes| rank(nodes, head.size, damping)).collect::<Vec<_>>());
    match interval {
        Some(interval) => rows.give_within("head_soft_rank", mean, interval, all.len()),
        None => rows.give("head_soft_rank", mean, head.samples()),
    }
}

fn damping(ask: &Ask) -> Result<f64, Error> {
    let damping = ask.float("damping");
    let possible = damping > 0.0 && damping.is_finite();
    possible.then_some(damping).ok_or_else(|| Error::invalid(format!("damping={damping} is not possible: it is more than 0")))
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let damping = damping(ask)?;
    let (all, size) = nodes(ask, weights)?;
    let draws: Vec<f64> = all.iter().map(|nodes| rank(nodes, size, damping)).collect();
    let (mean, _, interval) = estimated(&draws);
    weights.value("soft_rank", mean, interval, all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identity of size 10 with λ = 1 has the soft rank 5; without damping it is the rank.
    #[test]
    fn the_identity_has_half_its_rank() {
        assert_eq!(rank(&[(1.0, 1.0)], 10, 1.0), 5.0);
        assert!((rank(&[(1.0, 0.3), (0.0, 0.7)], 10, 1e-12) - 3.0).abs() < 1e-9);
        assert_eq!(rank(&[(-4.0, 1.0)], 10, 1.0), 0.0);
    }
}
