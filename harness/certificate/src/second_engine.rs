//! The gradient on another engine: two programs that share no kernel rarely make the same mistake.

use crate::Check;
use crate::errors::{Errors, Tolerance};
use crate::points::{Points, Site};

/// ‖g − g'‖ / ‖g'‖ per sample.
pub(super) const CHECK: Check = Check {
    name: "second-engine",
    what: "the gradient against that of the same graph on another engine",
    counts: true,
    slopes: false,
    measure: |points, site| {
        let other = points.second.as_ref().map_err(String::clone)?;
        let expected = points.gradient_of(other, &site.x)?;
        let tolerance = Tolerance { noun: "samples", error: 0.02, of: "‖∇‖", share: 0.05, median: 1e-3 };
        Ok(Some(distances(points, site, &expected).judged(points, String::new(), &tolerance)))
    },
};

/// Relative distances of the gradient in use from another one, per sample.
pub(super) fn distances(points: &Points, site: &Site, expected: &[f64]) -> Errors {
    let size = points.subject.size().max(1);
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    let mut errors = Errors::default();
    for (block, (g, e)) in site.gradient.chunks(size).zip(expected.chunks(size)).enumerate() {
        let difference = norm(&mut g.iter().zip(e).map(|(g, e)| g - e));
        errors.add(block, difference, 0.0, norm(&mut e.iter().copied()));
    }
    errors
}
