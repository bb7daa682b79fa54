//! What is known of a metric by its name: how it may be compared, which end of it is better, and whether tables show it.

use std::cmp::Ordering;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A share of samples.
    Rate,
    /// A mean over samples.
    Mean,
    /// Neither: it has no interval, and a difference of two has none.
    Other,
}

struct Row {
    metric: &'static str,
    kind: Kind,
    /// [`Ordering::Greater`] where more is better; `None` where neither end is.
    better: Option<Ordering>,
    shown: bool,
}

/// The metrics that every audit may have; a star stands for any ending. Any other is a rate if its name ends in `_accuracy` or `_rate`,
/// else a mean; neither end of it is better.
#[rustfmt::skip]
const METRICS: &[Row] = &[
    Row { metric: "clean_accuracy",             kind: Kind::Rate,  better: Some(Ordering::Greater), shown: true },
    Row { metric: "robust_accuracy",            kind: Kind::Rate,  better: Some(Ordering::Greater), shown: true },
    Row { metric: "robust_accuracy_continuous", kind: Kind::Rate,  better: Some(Ordering::Greater), shown: true },
    Row { metric: "robust_accuracy_uint8",      kind: Kind::Rate,  better: Some(Ordering::Greater), shown: false },
    Row { metric: "robust_accuracy_*",          kind: Kind::Rate,  better: Some(Ordering::Greater), shown: false },
    Row { metric: "certified_accuracy",         kind: Kind::Rate,  better: Some(Ordering::Greater), shown: true },
    Row { metric: "corruption_accuracy_mean",   kind: Kind::Mean,  better: Some(Ordering::Greater), shown: true },
    Row { metric: "corruption_accuracy_*",      kind: Kind::Mean,  better: Some(Ordering::Greater), shown: false },
    Row { metric: "claimed_success",            kind: Kind::Rate,  better: None,                    shown: false },
    Row { metric: "nan_in_ball",                kind: Kind::Rate,  better: None,                    shown: false },
    Row { metric: "coverage",                   kind: Kind::Rate,  better: None,                    shown: false },
    Row { metric: "borderline",                 kind: Kind::Rate,  better: None,                    shown: false },
    Row { metric: "ties",                       kind: Kind::Rate,  better: None,                    shown: false },
    Row { metric: "canary_found",               kind: Kind::Other, better: None,                    shown: false },
    Row { metric: "distance_median",            kind: Kind::Other, better: None,                    shown: true },
    Row { metric: "gradient_certificate",       kind: Kind::Other, better: None,                    shown: false },
];

fn row(metric: &str) -> Option<&'static Row> {
    let named = |row: &&Row| row.metric.strip_suffix('*').map_or(row.metric == metric, |start| metric.starts_with(start));
    METRICS.iter().find(named)
}

/// What a value of this metric is.
pub(super) fn kind(metric: &str) -> Kind {
    let by_name = || if metric.ends_with("_accuracy") || metric.ends_with("_rate") { Kind::Rate } else { Kind::Mean };
    row(metric).map_or_else(by_name, |row| row.kind)
}

/// Which end is better.
pub(super) fn better(metric: &str) -> Option<Ordering> {
    row(metric)?.better
}

/// Whether tables show it.
pub(super) fn shown(metric: &str) -> bool {
    row(metric).is_none_or(|row| row.shown)
}
