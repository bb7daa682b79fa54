//! The gradient in float32 against the same graph in float64: what rounding does to it, and what the fast forms of operators do.

use crate::Check;
use crate::errors::Tolerance;
use crate::second_engine::distances;

/// ‖g − g64‖ / ‖g64‖ per sample.
pub(super) const CHECK: Check = Check {
    name: "float64",
    what: "the gradient against that of the same graph in double precision, with every operator in its plain form",
    counts: true,
    slopes: false,
    measure: |points, site| {
        let double = points.double.as_ref().map_err(String::clone)?;
        let expected = points.gradient_of(double, &site.x)?;
        let tolerance = Tolerance { noun: "samples", error: 0.02, of: "‖∇‖", share: 0.05, median: 1e-3 };
        Ok(Some(distances(points, site, &expected).judged(points, String::new(), &tolerance)))
    },
};
