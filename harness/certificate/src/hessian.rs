//! Second order, where something uses it: H·v against differences of gradients, and the symmetry ⟨u, H·v⟩ = ⟨v, H·u⟩.

use flatscape_graph::Tensor;

use crate::compiled::Compiled;
use crate::errors::{Errors, Tolerance};
use crate::points::{Points, Site};
use crate::{Check, Finding};

/// H·v = (∇(x + hv) − ∇(x − hv)) / 2h
pub(super) const SLOPE: Check = Check {
    name: "hessian",
    what: "the Hessian-vector product against central differences of gradients in double precision",
    counts: true,
    slopes: true,
    measure: |points, site| {
        let Some(output) = &points.subject.hessian else { return Ok(None) };
        let double = points.double.as_ref().map_err(String::clone)?;
        let Some(direction) = site.directions.first() else { return Ok(None) };
        if !points.subject.variables.iter().all(|variable| double.takes(&variable.name)) {
            return Err("the parameters are constants of the file, so its gradient cannot be moved".to_owned());
        }
        let found = product(points, double, output, &site.x, &direction.v)?;
        let mut best: Vec<f64> = vec![f64::INFINITY; points.subject.blocks];
        for h in [1e-4, 1e-6] {
            let h = h * points.subject.range;
            let moved = |sign: f64| site.x.iter().zip(&direction.v).map(|(x, v)| x + sign * h * v).collect::<Vec<f64>>();
            let (above, below) = (points.gradient_of(double, &moved(1.0))?, points.gradient_of(double, &moved(-1.0))?);
            let expected: Vec<f64> = above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * h)).collect();
            for (block, best) in best.iter_mut().enumerate() {
                let difference: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
                let norm = |v: &[f64]| points.dot(v, v, block).sqrt();
                let scale = norm(&expected).max(norm(&found));
                let error = if norm(&difference) == 0.0 { 0.0 } else { norm(&difference) / scale };
                *best = best.min(if error.is_nan() { f64::INFINITY } else { error });
            }
        }
        let mut errors = Errors::default();
        best.into_iter().enumerate().for_each(|(block, error)| errors.push(block, error));
        let tolerance = Tolerance { noun: "samples", error: 0.01, of: "‖Hv‖", share: 0.1, median: 1e-3 };
        Ok(Some(errors.judged(points, format!("1 {}", direction.law), &tolerance)))
    },
};

/// ⟨u, H·v⟩ = ⟨v, H·u⟩
pub(super) const SYMMETRY: Check = Check {
    name: "hessian-symmetry",
    what: "⟨u, Hv⟩ against ⟨v, Hu⟩ in double precision",
    counts: true,
    slopes: false,
    measure: |points, site| {
        let Some(output) = &points.subject.hessian else { return Ok(None) };
        let double = points.double.as_ref().map_err(String::clone)?;
        symmetric(points, site, double, output)
    },
};

fn symmetric(points: &Points, site: &Site, double: &Compiled, output: &str) -> Result<Option<Finding>, String> {
    let of = |law| site.directions.iter().find(|d| d.law == law);
    let (Some(u), Some(v)) = (of("Gaussian"), of("sign")) else { return Ok(None) };
    let (hu, hv) = (product(points, double, output, &site.x, &u.v)?, product(points, double, output, &site.x, &v.v)?);
    let mut errors = Errors::default();
    for block in 0..points.subject.blocks {
        let norm = |v: &[f64]| points.dot(v, v, block).sqrt();
        errors.add(block, points.dot(&u.v, &hv, block), points.dot(&v.v, &hu, block), norm(&hu).max(norm(&hv)));
    }
    let tolerance = Tolerance { noun: "samples", error: 1e-6, of: "max(‖Hu‖, ‖Hv‖)", share: 0.05, median: 1e-8 };
    Ok(Some(errors.judged(points, "1 Gaussian, 1 sign".to_owned(), &tolerance)))
}

fn product(points: &Points, graph: &Compiled, output: &str, x: &[f64], v: &[f64]) -> Result<Vec<f64>, String> {
    let vector = || -> Option<Tensor> { points.subject.variables.first().and_then(|first| points.subject.feed(&first.name, v)) };
    let mut results = graph.run(&|name| if name == "vector" { vector() } else { points.subject.feed(name, x) })?;
    results.remove(output).ok_or_else(|| format!("the graph gives no {}", flatscape_graph::shown(output)))
}
