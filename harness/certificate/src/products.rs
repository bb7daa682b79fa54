//! The dot-product identity ⟨ȳ, J·v⟩ = ⟨Jᵀ·ȳ, v⟩ with random ȳ: J·v once by differences of the values, which knows nothing of
//! our rules, and once by differentiating the reverse pass in its cotangent, which is exact up to rounding.

use flatscape_autodiff::vjp;
use flatscape_graph::{Builder, Graph, ValueId};

use crate::errors::{Errors, Tolerance};
use crate::points::{Points, Site};
use crate::slopes::slope;
use crate::subject::Variable;
use crate::{Check, Finding, Scalar};
use flatscape_intake::random::Law;

/// Name of the cotangent of the values.
pub(super) const COTANGENT: &str = "certificate_cotangent";
/// Before the name of a variable: the direction in it.
pub(super) const ALONG: &str = "certificate_along_";
/// Name of J·v.
pub(super) const PUSHED: &str = "certificate_pushed";

/// Name of the variable's part of Jᵀ·ȳ.
pub(super) fn pulled(variable: &str) -> String {
    format!("certificate_pulled_{variable}")
}

/// J·v by differences.
pub(super) const BY_DIFFERENCES: Check = Check {
    name: "dot-product",
    what: "⟨Jᵀȳ, v⟩ against ⟨ȳ, Jv⟩ for random ȳ, with Jv by central differences of the values",
    counts: true,
    slopes: true,
    measure: |points, site| {
        let ct = random(points, site);
        let (pulled, _) = points.product(&site.x, &ct, &vec![0.0; site.x.len()])?;
        let scalar = Scalar::Weighted(ct);
        let mut errors = Errors::default();
        for direction in &site.directions {
            for block in 0..points.subject.blocks {
                let claimed = points.dot(&pulled, &direction.v, block);
                let scale = points.scale(site, &pulled, block);
                let of_step = |step| {
                    let expected = slope(step, &|values, block| scalar.of(values, block), block, points.subject.blocks);
                    let difference = (claimed - expected).abs();
                    let error = if difference == 0.0 { 0.0 } else { difference / scale.max(expected.abs()) };
                    if error.is_nan() { f64::INFINITY } else { error }
                };
                errors.push(block, direction.steps.iter().map(of_step).fold(f64::INFINITY, f64::min));
            }
        }
        let (error, median) = if points.precise.is_ok() { (0.01, 1e-3) } else { (0.05, 0.02) };
        let tolerance = Tolerance { noun: "pairs", error, of: "max(‖Jᵀȳ‖, |⟨ȳ, Jv⟩|)", share: 0.05, median };
        Ok(Some(errors.judged(points, points.directions(site), &tolerance)))
    },
};

/// J·v by the reverse pass of the reverse pass.
pub(super) const TWICE: Check = Check {
    name: "dot-product-twice",
    what: "⟨Jᵀȳ, v⟩ against ⟨ȳ, Jv⟩ for random ȳ, with Jv by differentiating Jᵀȳ in ȳ",
    counts: true,
    slopes: false,
    measure: |points, site| Ok(Some(twice(points, site)?)),
};

fn twice(points: &Points, site: &Site) -> Result<Finding, String> {
    let ct = random(points, site);
    let mut errors = Errors::default();
    let mut laws = Vec::new();
    for law in ["Gaussian", "sign"] {
        let Some(direction) = site.directions.iter().find(|d| d.law == law) else { continue };
        let (pulled, pushed) = points.product(&site.x, &ct, &direction.v)?;
        let pushed = pushed.ok_or("the reverse pass cannot be differentiated once more")?;
        for block in 0..points.subject.blocks {
            let scale = points.scale(site, &pulled, block);
            errors.add(block, points.dot(&pulled, &direction.v, block), points.dot(&ct, &pushed, block), scale);
        }
        laws.push(format!("1 {law}"));
    }
    let tolerance = Tolerance { noun: "pairs", error: 1e-3, of: "max(‖Jᵀȳ‖, |⟨ȳ, Jv⟩|)", share: 0.05, median: 1e-4 };
    Ok(errors.judged(points, laws.join(", "), &tolerance))
}

fn random(points: &Points, site: &Site) -> Vec<f64> {
    points.noise(Law::Normal, site.name, 2000, site.values.len() / points.subject.blocks.max(1))
}

/// The graph of both products. Without J·v where the reverse pass cannot be differentiated.
///
/// # Errors
/// A clause: the gradient cannot be built.
pub(super) fn graph(forward: &Graph, variables: &[Variable]) -> Result<Graph, String> {
    let Some(value) = forward.outputs().first().map(|o| o.value) else { return Err("the model has no output".to_owned()) };
    let wrt: Vec<ValueId> = variables.iter().filter_map(|v| forward.input_named(&v.name)).collect();
    let mut bare = forward.clone();
    bare.set_outputs(Vec::new());
    let b = Builder::new(bare);
    let ct = b.input(COTANGENT, forward.value(value).ty.clone());
    let pulled_values = vjp(&b, value, ct.id, &wrt).map_err(|e| e.to_string())?;
    let mut outputs = Vec::new();
    for (variable, found) in variables.iter().zip(&pulled_values) {
        let id = found.ok_or_else(|| format!("no gradient reaches {}", flatscape_graph::shown(&variable.name)))?;
        outputs.push((pulled(&variable.name), id));
    }
    let single = b.graph().clone();
    let mut sum = None;
    for ((variable, &input), (_, id)) in variables.iter().zip(&wrt).zip(&outputs) {
        let along = b.input(&format!("{ALONG}{}", variable.name), forward.value(input).ty.clone());
        let Ok(found) = vjp(&b, *id, along.id, &[ct.id]) else { return finished(single, &outputs) };
        let Some(found) = found.first().copied().flatten() else { return finished(single, &outputs) };
        let part = b.expr(found);
        sum = Some(sum.map_or(part, |sum| sum + part));
    }
    let Some(sum) = sum.map(|s| s.id) else { return finished(single, &outputs) };
    outputs.push((PUSHED.to_owned(), sum));
    finished(b.into_graph(), &outputs)
}

fn finished(mut graph: Graph, outputs: &[(String, ValueId)]) -> Result<Graph, String> {
    outputs.iter().for_each(|(name, id)| graph.add_output(name, *id));
    let graph = flatscape_graph::simplify(&graph);
    graph.check().map_err(|e| e.to_string())?;
    Ok(graph)
}
