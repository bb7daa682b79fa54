//! The trace of the Hessian of the loss, by Hutchinson's estimator: E vᵀHv for signs v. Source: Hutchinson 1990; Yao et al. 2020
//! (PyHessian, arXiv:1912.07145), section III.

use flatscape_sdk::{Ask, Component, Error, Law, Param, Program, Weights};

use super::layers::{layers, trained};
use super::{estimated, head, wide};

pub(crate) fn component() -> Component {
    Component::metric(
        "hessian-trace",
        "trace of the Hessian of the loss in the weights, in those of the last layer or in the input",
    )
    .source("Hutchinson 1990; Yao et al. 2020, PyHessian, section III")
    .param(of())
    .param(Param::int("probes", 100, "random directions").range(2.0, 100_000.0))
    .build(build)
    .weights(measure)
}

/// By what the loss is differentiated.
pub(crate) fn of() -> Param {
    let help = "by what the loss is differentiated: all weights or those of the last layer (its mean), or the input (per sample)";
    Param::choice("of", &["weights", "input", "head"], help)
}

/// For `of=weights` no graphs: the extension does the work.
fn build(ask: &Ask) -> Result<Program, Error> {
    match ask.text("of") {
        "weights" => return Ok(ask.program()),
        "head" => return Ok(ask.program().emit(head::trace)),
        _ => {}
    }
    Ok(ask
        .program()
        .probe(|g| {
            g.give("x", g.x0());
            g.give("direction", g.noise_rademacher());
        })
        .observe(|g| g.give("obs_quadratic", (g.direction() * g.hvp()).sum(&[1], false)))
        .emit(|g| {
            let n = ask.int("probes") as f64;
            let probes = usize::try_from(ask.int("probes")).unwrap_or(0);
            let mean = g.observed_mean("quadratic", &[]);
            let every = g.observed("quadratic", probes, &[]).cast(mean.dtype());
            let centred = every - mean.unsqueeze(&[1]);
            g.give("col_input_hessian_trace", mean);
            g.give("col_input_hessian_trace_se", ((centred * centred).sum(&[1], false) / (n * (n - 1.0))).sqrt());
        })
        .probes(ask.int("probes")))
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let theta = weights.theta();
    let segments = weights.segments();
    let layers = layers(&segments);
    let probes = usize::try_from(ask.int("probes")).map_err(|_| Error::invalid("there must be probes"))?;
    let mut draws = vec![Vec::with_capacity(probes); layers.len() + 1];
    for probe in 0..probes {
        let mut v = vec![0f32; theta.len()];
        let signs = weights.noise(Law::Rademacher, 0, u32::try_from(probe).unwrap_or(u32::MAX))?;
        for range in trained(&segments) {
            v[range.clone()].copy_from_slice(&signs[range]);
        }
        let (hv, v) = (wide(&weights.hvp(theta, &v)?), wide(&v));
        let along = |range: &std::ops::Range<usize>| super::dot(&v[range.clone()], &hv[range.clone()]);
        let by_layer: Vec<f64> = layers.iter().map(|layer| layer.ranges.iter().map(along).sum()).collect();
        draws[0].push(by_layer.iter().sum());
        draws[1..].iter_mut().zip(by_layer).for_each(|(draws, value)| draws.push(value));
    }
    let names = std::iter::once(String::new()).chain(layers.iter().map(|layer| format!("_{}", layer.name)));
    for (name, draws) in names.zip(&draws) {
        let (mean, error, interval) = estimated(draws);
        weights.value(&format!("hessian_trace{name}"), mean, interval, probes)?;
        if let (true, Some(error)) = (name.is_empty(), error) {
            weights.value("hessian_trace_se", error, None, probes)?;
        }
    }
    Ok(())
}
