//! A gradient that came with the model against our own. It is reported and doubted, but only the gradient that is used decides
//! whether the certificate holds.

use crate::errors::{exceeds, percent};
use crate::{Check, Finding};

/// Largest relative distance between two gradients of one sample that are the same.
const TOLERATED: f64 = 0.02;

/// The share of samples that may differ: kinks, on which two programs may fall on different sides.
const ALLOWED: f64 = 0.05;

/// ‖g − g'‖ / max(‖g‖, ‖g'‖), and the cosine between them.
pub(super) const CHECK: Check = Check {
    name: "given-gradients",
    what: "the gradient that came with the model against our own",
    counts: false,
    slopes: false,
    measure: |points, site| {
        let (Some(other), Some(compiled)) = (&points.subject.other, &points.other) else { return Ok(None) };
        let theirs = points.gradient_from(compiled.as_ref().map_err(String::clone)?, &other.output, &site.x)?;
        let size = points.subject.size().max(1);
        let mut pairs: Vec<(usize, f64, f64)> = Vec::new();
        for (block, (a, b)) in site.gradient.chunks(size).zip(theirs.chunks(size)).enumerate() {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            let (na, nb) = (dot(a, a).sqrt(), dot(b, b).sqrt());
            let distance = dot(&difference, &difference).sqrt();
            let error = if distance == 0.0 { 0.0 } else { distance / na.max(nb) };
            let cosine = if na * nb > 0.0 { dot(a, b) / (na * nb) } else { f64::NAN };
            pairs.push((block, if error.is_nan() { f64::INFINITY } else { error }, cosine));
        }
        pairs.sort_by(|a, b| a.1.total_cmp(&b.1));
        let beyond = pairs.iter().filter(|p| p.1 > TOLERATED).count();
        let Some(&(worst, error, cosine)) = pairs.last() else { return Ok(None) };
        let median = pairs[(pairs.len() - 1) / 2].1;
        let id = points.subject.ids.get(worst).copied().unwrap_or(worst as u64);
        Ok(Some(Finding {
            samples: pairs.len(),
            directions: String::new(),
            threshold: format!("at most {} of the samples beyond {} of ‖∇‖", percent(ALLOWED), percent(TOLERATED)),
            measured: format!(
                "{beyond} of {} samples differ; median {median:.1e}; worst is sample {id}: relative error {error:.1e}, cosine {cosine:.4}",
                pairs.len()
            ),
            holds: !exceeds(beyond, pairs.len(), ALLOWED),
        }))
    },
};
