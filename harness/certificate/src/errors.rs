//! Relative errors and what is said of them: how many exceed what is tolerated, the median and the largest. A share is only
//! called too large where it is so with confidence: one kink among a few samples is not an error of the gradient.

use crate::Finding;
use crate::points::Points;
use flatscape_measure::statistics::clopper_pearson;

/// Relative errors with the samples they belong to.
#[derive(Default)]
pub(super) struct Errors {
    /// Position of the sample, error.
    all: Vec<(usize, f64)>,
}

/// What is tolerated of a set of errors.
pub(super) struct Tolerance {
    /// What an error is about: `pairs` of a sample and a direction, or `samples`.
    pub(super) noun: &'static str,
    /// The largest error that is tolerated.
    pub(super) error: f64,
    /// Relative to what, as a word or formula.
    pub(super) of: &'static str,
    /// The share that may exceed it: kinks, and rounding beside them.
    pub(super) share: f64,
    /// The largest median, which no kink can move.
    pub(super) median: f64,
}

impl Errors {
    /// Adds |found − expected| / max(scale, |expected|); equal values give 0, NaN counts as wrong.
    pub(super) fn add(&mut self, sample: usize, found: f64, expected: f64, scale: f64) {
        let difference = (found - expected).abs();
        let error = if difference == 0.0 { 0.0 } else { difference / scale.max(expected.abs()) };
        self.push(sample, error);
    }

    /// Adds an error.
    pub(super) fn push(&mut self, sample: usize, error: f64) {
        self.all.push((sample, if error.is_nan() { f64::INFINITY } else { error }));
    }

    /// The finding.
    pub(super) fn judged(mut self, points: &Points, directions: String, tolerance: &Tolerance) -> Finding {
        self.all.sort_by(|a, b| a.1.total_cmp(&b.1));
        let count = self.all.len();
        let beyond = self.all.iter().filter(|(_, error)| *error > tolerance.error).count();
        let median = self.all.get(count.saturating_sub(1) / 2).map_or(f64::NAN, |e| e.1);
        let (worst, largest) = self.all.last().copied().unwrap_or((0, f64::NAN));
        let whose = points.subject.ids.get(worst).map_or(String::new(), |id| format!(" at sample {id}"));
        let noun = tolerance.noun;
        Finding {
            samples: points.subject.blocks,
            directions,
            threshold: format!(
                "at most {} of the {noun} beyond {} of {}, the median within {}",
                percent(tolerance.share),
                percent(tolerance.error),
                tolerance.of,
                percent(tolerance.median)
            ),
            measured: format!("{beyond} of {count} {noun} beyond it; median {median:.1e}, largest {largest:.1e}{whose}"),
            holds: median <= tolerance.median && !exceeds(beyond, count, tolerance.share),
        }
    }
}

/// Whether a count is a larger share than allowed: the lower end of its 95 % interval is.
pub(super) fn exceeds(count: usize, of: usize, share: f64) -> bool {
    of > 0 && clopper_pearson(count as u64, of as u64).low > share
}

/// `5 %`, `0.1 %`.
pub(super) fn percent(share: f64) -> String {
    if share > 0.0 && share < 1e-4 { format!("{share:e}") } else { format!("{} %", (share * 1e4).round() / 100.0) }
}
