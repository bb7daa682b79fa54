//! A gradient with NaN or infinite entries gives no direction.

use crate::errors::{exceeds, percent};
use crate::{Check, Finding};

/// The share of samples that may have one.
const ALLOWED: f64 = 0.01;

/// At the points themselves, where attacks begin.
pub(super) const CHECK: Check = Check {
    name: "finite-gradients",
    what: "samples whose gradient has an entry that is NaN or infinite",
    counts: true,
    slopes: false,
    measure: |points, site| {
        let size = points.subject.size().max(1);
        let gradient = &site.gradient_at_exact;
        let broken = gradient.chunks(size).filter(|g| g.iter().any(|v| !v.is_finite())).count();
        let entries = gradient.iter().filter(|v| !v.is_finite()).count() as f64 / gradient.len().max(1) as f64;
        Ok(Some(Finding {
            samples: points.subject.blocks,
            directions: String::new(),
            threshold: format!("at most {} of the samples", percent(ALLOWED)),
            measured: format!("{broken} of {} samples; {} of the entries", points.subject.blocks, percent(entries)),
            holds: !exceeds(broken, points.subject.blocks, ALLOWED),
        }))
    },
};
