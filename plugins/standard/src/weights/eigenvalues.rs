//! The largest eigenvalues of the Hessian of the loss in the weights, in those of the last layer or in the input, by Lanczos with full reorthogonalisation. Source: Golub and Van
//! Loan, section 10.3; Yao et al. 2020 (PyHessian, arXiv:1912.07145).

use flatscape_sdk::{Ask, Component, Error, Law, Param, Program, Reduction, Weights};

use super::head::{self, Head};
use super::input;
use super::lanczos::{Tridiagonal, lanczos};
use super::layers::{layers, trained};
use super::trace::of;
use super::{narrow, wide};

pub(crate) fn component() -> Component {
    Component::metric(
        "hessian-eigenvalues",
        "largest eigenvalues of the Hessian of the loss in the weights, the last layer or the input",
    )
    .source("Golub and Van Loan, Matrix Computations, section 10.3; Yao et al. 2020, PyHessian")
    .param(of())
    .param(Param::int("count", 5, "how many, from the largest downwards").range(1.0, 100.0))
    .param(steps())
    .param(Param::flag("layers", false, "of=weights: the largest one of every layer's block, too"))
    .build(build)
    .reduce(reduce)
    .weights(measure)
}

/// The graphs behind the spectrum of the last layer and of the input; for `of=weights` none: the extension does the work.
pub(crate) fn build(ask: &Ask) -> Result<Program, Error> {
    match ask.text("of") {
        "weights" => Ok(ask.program()),
        "head" => Ok(head::program(ask)),
        _ => input::program(ask),
    }
}

fn reduce(ask: &Ask, rows: &Reduction<'_>) -> Result<(), Error> {
    let count = usize::try_from(ask.int("count")).unwrap_or(0);
    match ask.text("of") {
        "weights" => Ok(()),
        "head" => {
            let Some(head) = Head::of(rows)? else { return Ok(()) };
            let steps = usize::try_from(ask.int("steps")).unwrap_or(0);
            let values = match head.eigenvalues()? {
                Some(values) => values,
                None => head.lanczos(steps, 0)?.ritz()?.iter().map(|r| r.value).collect(),
            };
            for (place, value) in values.iter().rev().take(count).enumerate() {
                rows.give(&format!("head_hessian_eigenvalue_{}", place + 1), *value, head.samples())?;
            }
            Ok(())
        }
        _ => input::reduce(rows, count),
    }
}

pub(crate) fn steps() -> Param {
    Param::int("steps", 40, "steps of Lanczos: products with the Hessian, and vectors that are kept").range(2.0, 1000.0)
}

/// Lanczos on the block of the Hessian that these parts of θ have, from a vector of signs.
pub(crate) fn block(
    weights: &Weights,
    ranges: &[std::ops::Range<usize>],
    steps: usize,
    probe: u32,
) -> Result<Tridiagonal, Error> {
    let theta = weights.theta();
    let size: usize = ranges.iter().map(std::ops::Range::len).sum();
    let picked = |whole: &[f32]| -> Vec<f64> { ranges.iter().flat_map(|r| wide(&whole[r.clone()])).collect() };
    let start = picked(&weights.noise(Law::Rademacher, 0, probe)?);
    let mut product = |v: &[f64]| {
        let mut whole = vec![0f32; theta.len()];
        let mut at = 0;
        for range in ranges {
            whole[range.clone()].copy_from_slice(&narrow(&v[at..at + range.len()]));
            at += range.len();
        }
        Ok(picked(&weights.hvp(theta, &whole)?))
    };
    let mut fresh = |step: usize| Ok(picked(&weights.noise(Law::Normal, 1 + probe, u32::try_from(step).unwrap_or(u32::MAX))?));
    lanczos(&start, steps.min(size), &mut product, &mut fresh)
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let segments = weights.segments();
    let number = |name: &str| usize::try_from(ask.int(name)).map_err(|_| Error::invalid(format!("{name} must be positive")));
    let (count, steps) = (number("count")?, number("steps")?);
    let made = block(weights, &trained(&segments), steps, 0)?;
    let ritz = made.ritz()?;
    for (place, found) in ritz.iter().rev().take(count).enumerate() {
        let name = format!("hessian_eigenvalue_{}", place + 1);
        weights.value(&name, found.value, None, weights.samples())?;
        // an eigenvalue lies within |β·s| of the Ritz value
        weights.value(&format!("{name}_residual"), (made.last * found.last).abs(), None, weights.samples())?;
    }
    if let Some(least) = ritz.first() {
        weights.value("hessian_eigenvalue_min", least.value, None, weights.samples())?;
    }
    for layer in layers(&segments).iter().filter(|_| ask.flag("layers")) {
        if let Some(largest) = block(weights, &layer.ranges, steps, 0)?.ritz()?.last() {
            weights.value(&format!("hessian_eigenvalue_1_{}", layer.name), largest.value, None, weights.samples())?;
        }
    }
    Ok(())
}
