//! The soft rank of the Hessian in the weights, Σ λ/(λ + μ) over its eigenvalues, negative ones counted as 0, by stochastic Lanczos
//! quadrature. Source: «Flatness After All?» (arXiv:2506.17809).

use flatscape_sdk::{Ask, Component, Error, Param, Reduction, Weights};

use super::density::nodes;
use super::eigenvalues::steps;
use super::estimated;
use super::head::{self, Head};
use super::lanczos::quadrature;

pub(crate) fn component() -> Component {
    Component::metric("soft-rank", "soft rank of the Hessian of the loss in the weights, the sum of λ/(λ + damping)")
        .source("Flatness After All? 2025 (arXiv:2506.17809)")
        .param(Param::choice(
            "of",
            &["weights", "head"],
            "by what the loss is differentiated: all weights, or those of the last layer",
        ))
        .param(Param::float("damping", "0.01", "the weight of the quadratic penalty; directions of less curvature hardly count"))
        .param(Param::int("probes", 10, "random directions").range(1.0, 10_000.0))
        .param(steps())
        .build(|ask| damping(ask).map(|_| if ask.text("of") == "head" { head::program(ask) } else { ask.program() }))
        .reduce(reduce)
        .weights(measure)
}

/// n · Σ w λ⁺/(λ⁺ + μ)
fn rank(nodes: &[(f64, f64)], size: usize, damping: f64) -> f64 {
    size as f64 * nodes.iter().map(|&(value, weight)| weight * value.max(0.0) / (value.max(0.0) + damping)).sum::<f64>()
}

/// The last layer alone: exact where the matrix is small, else by quadrature.
fn reduce(ask: &Ask, rows: &Reduction<'_>) -> Result<(), Error> {
    if ask.text("of") != "head" {
        return Ok(());
    }
    let damping = damping(ask)?;
    let Some(head) = Head::of(rows)? else { return Ok(()) };
    if let Some(values) = head.eigenvalues()? {
        let rank: f64 = values.iter().map(|v| v.max(0.0) / (v.max(0.0) + damping)).sum();
        return rows.give("head_soft_rank", rank, head.samples());
    }
    let number = |name: &str| usize::try_from(ask.int(name)).unwrap_or(0);
    let one = |probe| Ok(rank(&quadrature(&head.lanczos(number("steps"), probe)?)?, head.size, damping));
    let (mean, _, interval) = estimated(&(0..number("probes")).map(one).collect::<Result<Vec<_>, Error>>()?);
    match interval {
        Some(interval) => rows.give_within("head_soft_rank", mean, interval, number("probes")),
        None => rows.give("head_soft_rank", mean, number("probes")),
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
