//! Where the gradient is zero, nothing that follows it moves.

use flatscape_intake::scores::margin;

use crate::errors::{exceeds, percent};
use crate::points::{Points, Site};
use crate::{Check, Finding};

/// Below this nothing that float32 holds has a direction left.
const NOTHING: f64 = 1e-30;

/// The share of samples that may have none.
const ALLOWED: f64 = 0.05;

/// From this lead of the label's score on, the gradient of cross-entropy is nothing because the model is sure: e^(−69) is
/// [`NOTHING`]. The direction that attacks ascend lacks the factor that vanishes, so for them such samples do not count; where
/// that direction is zero, too, the attacks count it.
const SURE: f64 = 60.0;

/// At the points themselves, where attacks begin; at iterates of the samples that are still right, since an attack needs no
/// direction once it has won (and a step too many may end where every unit of a small net is dead).
pub(super) const CHECK: Check = Check {
    name: "zero-gradients",
    what: "samples whose gradient is zero everywhere",
    counts: true,
    slopes: false,
    measure: |points, site| {
        let size = points.subject.size().max(1);
        let gradient = &site.gradient_at_exact;
        let asked = asked(points, site);
        let zero = |g: &[f64]| g.iter().all(|v| v.abs() < NOTHING);
        let count = gradient.chunks(size).zip(&asked).filter(|(g, asked)| **asked && zero(g)).count();
        let entries = gradient.iter().filter(|v| **v == 0.0).count() as f64 / gradient.len().max(1) as f64;
        let of = asked.iter().filter(|asked| **asked).count();
        let which = if of < asked.len() { " that are in question" } else { "" };
        Ok(Some(Finding {
            samples: of,
            directions: String::new(),
            threshold: format!("at most {} of the samples", percent(ALLOWED)),
            measured: format!("{count} of {of} samples{which}; {} of the entries are zero", percent(entries)),
            holds: !exceeds(count, of, ALLOWED),
        }))
    },
};

/// The samples whose gradient should say something: for attacks those of which the model is not sure, and at iterates those that
/// are still right.
fn asked(points: &Points, site: &Site) -> Vec<bool> {
    let Some(labels) = points.subject.labels.as_ref().filter(|_| points.subject.batched) else {
        return vec![true; points.subject.blocks];
    };
    let classes = (site.values.len() / labels.len().max(1)).max(1);
    let one = |(z, &y): (&[f64], &i64)| {
        let lead = margin(z, y as usize);
        lead.is_nan() || ((lead < SURE || !points.subject.ascent) && (lead >= 0.0 || site.name != "iterate"))
    };
    site.values.chunks(classes).zip(labels).map(one).collect()
}
