//! The values of one measure, sample by sample, where `samples.csv` has them. A column is used only if it gives the value of
//! the row again.

use flatscape_report::Record;

use super::metrics::{Kind, kind};
use super::run::Facts;
use flatscape_measure::statistics::Mean;

/// Values by sample, in the order of the ids.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Points {
    pub ids: Vec<u64>,
    pub labels: Vec<i64>,
    /// For a rate 1 where the sample is right, else 0.
    pub values: Vec<f64>,
}

impl Points {
    /// The samples that both have, as values of one and of the other in the same order. `None` where a sample has two labels.
    pub fn common(&self, other: &Points) -> Option<(Points, Points)> {
        let mut both = (Points::empty(), Points::empty());
        let (mut i, mut j) = (0, 0);
        while i < self.ids.len() && j < other.ids.len() {
            match self.ids[i].cmp(&other.ids[j]) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => {
                    if self.labels[i] != other.labels[j] {
                        return None;
                    }
                    both.0.push(self, i);
                    both.1.push(other, j);
                    (i, j) = (i + 1, j + 1);
                }
            }
        }
        Some(both)
    }

    /// The mean: for a rate the share of samples that are right.
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    fn empty() -> Points {
        Points { ids: Vec::new(), labels: Vec::new(), values: Vec::new() }
    }

    fn push(&mut self, from: &Points, place: usize) {
        self.ids.push(from.ids[place]);
        self.labels.push(from.labels[place]);
        self.values.push(from.values[place]);
    }
}

/// The values of a row by sample; `None` where `samples.csv` does not hold them.
pub(super) fn points(facts: &Facts, record: &Record) -> Option<Points> {
    let found = match (record.metric.as_str(), record.component.as_str()) {
        ("clean_accuracy", _) => clean(facts, record),
        ("robust_accuracy" | "robust_accuracy_uint8", "union") => union(facts, record),
        ("robust_accuracy" | "robust_accuracy_uint8", _) => attack(facts, record, |outcome| outcome == "held"),
        ("nan_in_ball", _) => attack(facts, record, |outcome| outcome == "nan-in-ball"),
        (metric, _) if kind(metric) == Kind::Mean => return columns(facts, record),
        _ => None,
    };
    found.filter(|points| gives(points, record))
}

/// Whether values by sample give the value of the row.
fn gives(points: &Points, record: &Record) -> bool {
    let Some(value) = record.value else { return false };
    let mean = match kind(&record.metric) {
        Kind::Rate => points.mean(),
        _ => Mean::of(&points.values).map_or(f64::NAN, |mean| mean.value),
    };
    let same = (mean - value).abs() <= 1e-9 * value.abs().max(1.0) || (mean.is_nan() && value.is_nan());
    points.ids.len() as u64 == record.n && same
}

fn clean(facts: &Facts, record: &Record) -> Option<Points> {
    let mut points = Points::empty();
    for line in facts.lines(&record.model, "") {
        let key = line.key();
        points.ids.push(key.id);
        points.labels.push(key.label);
        points.values.push(f64::from(u8::from(key.prediction == Some(key.label))));
    }
    Some(points)
}

/// What an attack has not seen counts as not broken by it.
const NOT_ATTACKED: &str = "not-attacked";

fn attack(facts: &Facts, record: &Record, counts: fn(&str) -> bool) -> Option<Points> {
    let label = &facts.component(record)?.label;
    let column = facts.run.samples.column(&format!("{label}.outcome"))?;
    let mut points = Points::empty();
    for line in facts.lines(&record.model, &record.threat) {
        let key = line.key();
        let outcome = Facts::text(line, column)?;
        let right = if outcome == NOT_ATTACKED { counts("held") && key.prediction == Some(key.label) } else { counts(outcome) };
        points.ids.push(key.id);
        points.labels.push(key.label);
        points.values.push(f64::from(u8::from(right)));
    }
    Some(points)
}

fn union(facts: &Facts, record: &Record) -> Option<Points> {
    let columns: Vec<usize> =
        facts.run.attacks.iter().filter_map(|attack| facts.run.samples.column(&format!("{}.outcome", attack.label))).collect();
    let mut points = Points::empty();
    for line in facts.lines(&record.model, &record.threat) {
        let key = line.key();
        let mut outcomes = columns.iter().filter_map(|&column| Facts::text(line, column));
        let stands = outcomes.all(|outcome| outcome == "held" || outcome == NOT_ATTACKED);
        points.ids.push(key.id);
        points.labels.push(key.label);
        points.values.push(f64::from(u8::from(stands && key.prediction == Some(key.label))));
    }
    Some(points)
}

/// The column of a metric: named like the row's metric, apart like its component.
fn columns(facts: &Facts, record: &Record) -> Option<Points> {
    let component = facts.component(record)?;
    let apart = component.label.strip_prefix(&record.component)?;
    let names = facts.run.samples.columns().iter().enumerate().filter(|(_, column)| {
        let name = column.strip_suffix(apart).unwrap_or(column);
        record.metric == name || record.metric.strip_suffix("_mean") == Some(name)
    });
    let read = |place: usize| {
        let mut points = Points::empty();
        for line in facts.lines(&record.model, &record.threat) {
            let Some(value) = Facts::number(line, place) else { continue };
            points.ids.push(line.key().id);
            points.labels.push(line.key().label);
            points.values.push(value);
        }
        points
    };
    names.map(|(place, _)| read(place)).find(|points| gives(points, record))
}
