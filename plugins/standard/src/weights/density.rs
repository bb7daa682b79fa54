//! The density of the eigenvalues of the Hessian in the weights, by stochastic Lanczos quadrature. Source: Ghorbani, Krishnan, Xiao 2019
//! (arXiv:1901.10159), section 2; Yao et al. 2020 (PyHessian, arXiv:1912.07145), whose grid and width these are.

use flatscape_sdk::{Ask, Component, Error, Param, Weights};

use super::eigenvalues::{block, steps};
use super::lanczos::{Nodes, quadrature};
use super::layers::trained;
use super::{estimated, spaced};

/// Points of the curve, and what it is wider than the spectrum.
const POINTS: usize = 10_000;
const MARGIN: f64 = 0.01;

pub(crate) fn component() -> Component {
    Component::metric("hessian-density", "density of the eigenvalues of the Hessian of the loss in the weights")
        .source("Ghorbani, Krishnan, Xiao 2019, section 2; Yao et al. 2020, PyHessian")
        .param(Param::int("probes", 10, "random directions").range(1.0, 10_000.0))
        .param(steps())
        .weights(measure)
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
    let moment = |power: i32| -> Vec<f64> {
        all.iter().map(|nodes| size as f64 * nodes.iter().map(|(v, w)| w * v.powi(power)).sum::<f64>()).collect()
    };
    for (name, power) in [("hessian_density_trace", 1), ("hessian_density_square", 2)] {
        let (mean, _, interval) = estimated(&moment(power));
        weights.value(name, mean, interval, all.len())?;
    }
    let share: Vec<f64> = all.iter().map(|nodes| nodes.iter().filter(|n| n.0 < 0.0).map(|n| n.1).sum()).collect();
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
