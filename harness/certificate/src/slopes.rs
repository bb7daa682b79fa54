//! The gradient along a direction against the slope of the model, by central differences in double precision: of what is
//! differentiated, and of the margin between the label and its strongest rival.
//!
//! Where the values are not straight over a step, a smaller one is taken as well and the better one counts: the larger may cross a
//! kink, the smaller may drown in rounding. A gradient that is wrong agrees at neither.

use crate::errors::{Errors, Tolerance};
use crate::points::{Direction, Points, Site, Step};
use crate::{Check, Finding, Scalar};

/// ⟨∇loss, v⟩ = (loss(x + hv) − loss(x − hv)) / 2h
pub(super) const LOSS: Check = Check {
    name: "slope",
    what: "the gradient along a direction against the central difference of what is differentiated",
    counts: true,
    slopes: true,
    measure: |points, site| {
        let scalar = &points.subject.scalar;
        Ok(Some(compare(points, site, &site.gradient, &|values, block| scalar.of(values, block))))
    },
};

/// ⟨Jᵀ(e_rival − e_label), v⟩ = ((z_rival − z_label)(x + hv) − (z_rival − z_label)(x − hv)) / 2h
pub(super) const MARGIN: Check = Check {
    name: "margin-slope",
    what: "the gradient of the strongest rival's lead along a direction against its central difference",
    counts: true,
    slopes: true,
    measure: |points, site| {
        let Some(weights) = margin_weights(points, site) else { return Ok(None) };
        let (gradient, _) = points.product(&site.x, &weights, &vec![0.0; site.x.len()])?;
        let scalar = Scalar::Weighted(weights);
        Ok(Some(compare(points, site, &gradient, &|values, block| scalar.of(values, block))))
    },
};

/// e_rival − e_label of every row of logits; `None` if the values are not logits of samples.
pub(super) fn margin_weights(points: &Points, site: &Site) -> Option<Vec<f64>> {
    let labels = points.subject.labels.as_ref().filter(|_| points.subject.batched)?;
    let classes = site.values.len() / labels.len().max(1);
    let mut weights = vec![0.0; site.values.len()];
    for (row, (&label, z)) in labels.iter().zip(site.values.chunks(classes.max(1))).enumerate() {
        let label = label as usize;
        let rivals = (0..classes).filter(|&k| k != label);
        let rival = rivals.max_by(|&a, &b| z[a].total_cmp(&z[b])).filter(|_| label < classes)?;
        weights[row * classes + rival] = 1.0;
        weights[row * classes + label] = -1.0;
    }
    Some(weights)
}

/// The slope of a scalar of one block over a step.
pub(super) fn slope(step: &Step, scalar: &dyn Fn(&[f64], usize) -> f64, block: usize, blocks: usize) -> f64 {
    let size = step.above.len() / blocks.max(1);
    let rows = block * size..(block + 1) * size;
    (scalar(&step.above[rows.clone()], block) - scalar(&step.below[rows], block)) / (2.0 * step.h)
}

fn compare(points: &Points, site: &Site, gradient: &[f64], scalar: &dyn Fn(&[f64], usize) -> f64) -> Finding {
    let blocks = points.subject.blocks;
    let mut errors = Errors::default();
    for Direction { v, steps, .. } in &site.directions {
        for block in 0..blocks {
            let claimed = points.dot(gradient, v, block);
            let scale = points.scale(site, gradient, block);
            let off = |step: &Step| {
                let slope = slope(step, scalar, block, blocks);
                let difference = (claimed - slope).abs();
                if difference == 0.0 { 0.0 } else { difference / scale.max(slope.abs()) }
            };
            let nan_last = |error: f64| if error.is_nan() { f64::INFINITY } else { error };
            errors.push(block, steps.iter().map(|s| nan_last(off(s))).fold(f64::INFINITY, f64::min));
        }
    }
    let precise = points.precise.is_ok();
    let tolerance = if precise {
        Tolerance { noun: "pairs", error: 0.01, of: "max(‖∇‖, |slope|)", share: 0.05, median: 1e-3 }
    } else {
        Tolerance { noun: "pairs", error: 0.05, of: "max(‖∇‖, |slope|), in float32", share: 0.1, median: 0.02 }
    };
    errors.judged(points, points.directions(site), &tolerance)
}
