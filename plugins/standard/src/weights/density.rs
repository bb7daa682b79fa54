//! The density of the eigenvalues of the Hessian in the weights, those of the last layer or the input, by stochastic Lanczos quadrature. Source: Ghorbani, Krishnan, Xiao 2019
//! (arXiv:1901.10159), section 2; Yao et al. 2020 (PyHessian, arXiv:1912.07145), whose grid and width these are.

use flatscape_sdk::{Ask, Component, Error, Param, Reduction, Weights};

use super::eigenvalues::{block, build, steps};
use super::head::Head;
use super::lanczos::{Nodes, quadrature};
use super::layers::trained;
use super::trace::of;
use super::{estimated, input, spaced};

/// Points of the curve, and what it is wider than the spectrum.
const POINTS: usize = 10_000;
const MARGIN: f64 = 0.01;

pub(crate) fn component() -> Component {
    Component::metric(
        "hessian-density",
        "density of the eigenvalues of the Hessian of the loss in the weights, the last layer or the input",
    )
    .source("Ghorbani, Krishnan, Xiao 2019, section 2; Yao et al. 2020, PyHessian")
    .param(of())
    .param(Param::int("probes", 10, "random directions").range(1.0, 10_000.0))
    .param(steps())
    .build(build)
    .reduce(reduce)
    .weights(measure)
}

/// That of the last layer, and the mean over samples of those in the input, each by one start of Lanczos.
fn reduce(ask: &Ask, rows: &Reduction<'_>) -> Result<(), Error> {
    let number = |name: &str| usize::try_from(ask.int(name)).unwrap_or(0);
    let (name, all, size) = match ask.text("of") {
        "weights" => return Ok(()),
        "head" => {
            let Some(head) = Head::of(rows)? else { return Ok(()) };
            ("head_hessian", head.nodes(number("steps"), number("probes"))?, head.size)
        }
        _ => {
            let nodes = input::nodes(rows)?;
            let trace = |nodes: &Option<Nodes>| nodes.as_ref().map_or(f64::NAN, |n| moment(n, ask.task.pixels(), 1));
            rows.give_column("input_hessian_density_trace", &nodes.iter().map(trace).collect::<Vec<_>>())?;
            ("input_hessian", nodes.into_iter().flatten().collect(), ask.task.pixels())
        }
    };
    if all.is_empty() {
        return Ok(());
    }
    let (x, y) = density(&all);
    rows.give_curve(&format!("{name}_density"), &x.into_iter().zip(y).collect::<Vec<_>>())?;
    for (what, power) in [("trace", 1), ("square", 2)].into_iter().skip(usize::from(name == "input_hessian")) {
        let draws: Vec<f64> = all.iter().map(|nodes| moment(nodes, size, power)).collect();
        rows.give(&format!("{name}_density_{what}"), estimated(&draws).0, all.len())?;
    }
    if name == "head_hessian" {
        return Ok(()); // it has no negative eigenvalues
    }
    let negative: Vec<f64> = all.iter().map(negative_share).collect();
    rows.give(&format!("{name}_density_negative_share"), estimated(&negative).0, all.len())
}

/// The weight of the nodes below 0; what is small beside the largest is rounding.
fn negative_share(nodes: &Nodes) -> f64 {
    let largest = nodes.iter().fold(0.0, |most: f64, n| most.max(n.0.abs()));
    nodes.iter().filter(|n| n.0 < -1e-6 * largest).map(|n| n.1).sum()
}

/// n·Σ w λᵏ, the trace of the k-th power.
fn moment(nodes: &Nodes, size: usize, power: i32) -> f64 {
    size as f64 * nodes.iter().map(|(value, weight)| weight * value.powi(power)).sum::<f64>()
}

/// Nodes and weights of every probe.
pub(crate) fn nodes(ask: &Ask, weights: &Weights) -> Result<(Vec<Nodes>, usize), Error> {
    let ranges = trained(&weights.segments());
    let size = ranges.iter().map(std::ops::Range::len).sum();
    let number = |name: &str| u32::try_from(ask.int(name)).map_err(|_| Error::invalid(format!("{name} must be positive")));
    let steps = number("steps")? as usize;
    let all = (0..number("probes")?).map(|probe| quadrature(&block(weights, &ranges, steps, probe)?));
    Ok((all.collect::<Result<_, _>>()?, size))
}

/// The density on a grid: Gaussians of variance 1e-5·max(1, λmax − λmin) at the nodes, the mean over probes, of integral 1.
fn density(all: &[Nodes]) -> (Vec<f64>, Vec<f64>) {
    let values = all.iter().flatten().map(|n| n.0);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let variance = 1e-5 * (high - low).max(1.0);
    let x = spaced(low - MARGIN, high + MARGIN, POINTS);
    let mut y: Vec<f64> = x
        .iter()
        .map(|x| all.iter().flatten().map(|(node, weight)| weight * (-(x - node).powi(2) / (2.0 * variance)).exp()).sum())
        .collect();
    let step = x[1] - x[0];
    let total: f64 = y.iter().sum::<f64>() * step;
    y.iter_mut().for_each(|y| *y /= total);
    (x, y)
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let (all, size) = nodes(ask, weights)?;
    let (x, y) = density(&all);
    weights.curve("hessian_density", &x, &y)?;
    for (name, power) in [("hessian_density_trace", 1), ("hessian_density_square", 2)] {
        let (mean, _, interval) = estimated(&all.iter().map(|nodes| moment(nodes, size, power)).collect::<Vec<_>>());
        weights.value(name, mean, interval, all.len())?;
    }
    let share: Vec<f64> = all.iter().map(negative_share).collect();
    let (mean, _, interval) = estimated(&share);
    let interval = interval.map(|(low, high)| (low.max(0.0), high.min(1.0)));
    weights.value("hessian_density_negative_share", mean, interval, all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_density_integrates_to_one_and_peaks_at_its_nodes() {
        let (x, y) = density(&[vec![(0.0, 0.9), (5.0, 0.1)], vec![(0.0, 0.7), (5.0, 0.3)]]);
        let step = x[1] - x[0];
        assert!((y.iter().sum::<f64>() * step - 1.0).abs() < 1e-9);
        let near: f64 = x.iter().zip(&y).filter(|(x, _)| (**x - 5.0).abs() < 0.1).map(|(_, y)| y * step).sum();
        // the Gaussian at 0 is not cut off, that at 5 neither
        assert!((near - 0.2).abs() < 0.01, "{near}");
    }
}
