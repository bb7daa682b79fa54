//! `samples.csv`: the join of geometry and robustness, one line per model, threat model and sample. It does not know which
//! attacks or metrics exist; they arrive as column names.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cell::{Cell, csv_bytes};
use crate::float::shortest;

/// What a line of `samples.csv` is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleKey {
    /// Name of the model.
    pub model: String,
    /// Threat model as spelled; empty for what was measured without one.
    pub threat: String,
    /// Place of the sample in the data set's canonical order.
    pub id: u64,
    /// Its label.
    pub label: i64,
    /// What the model predicts for it, unperturbed.
    pub prediction: Option<i64>,
}

/// One measurement of one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SampleValue {
    /// A number: a distance, a margin, a metric.
    Number(#[serde(with = "crate::float::one")] f64),
    /// A word: an outcome.
    Text(String),
}

/// The lines and columns of `samples.csv`, in order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    columns: Vec<String>,
    column_places: BTreeMap<String, usize>,
    rows: Vec<(SampleKey, Vec<Option<SampleValue>>)>,
    row_places: BTreeMap<(String, String, u64), usize>,
}

impl Samples {
    /// Stores one measurement, in a new line and a new column where there is none yet. `column` is `<attack>.outcome`,
    /// `<attack>.distance`, `<attack>.margin`, or a metric's `<name>` or `<name>@<at>`. A second value for the same place
    /// replaces the first.
    pub fn set(&mut self, key: &SampleKey, column: &str, value: SampleValue) {
        let column = self.column_place(column);
        let row = self.row_place(key);
        let cells = &mut self.rows[row].1;
        if cells.len() <= column {
            cells.resize(column + 1, None);
        }
        cells[column] = Some(value);
    }

    /// Makes sure that a sample has a line, even if nothing was measured on it.
    pub fn mention(&mut self, key: &SampleKey) {
        self.row_place(key);
    }

    /// The columns after the keys, in order of first appearance.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of lines of `samples.csv`.
    pub fn len(&self) -> usize {
        self.lines().len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines that stand for themselves: those without a threat model are joined to those that have one.
    fn lines(&self) -> Vec<&(SampleKey, Vec<Option<SampleValue>>)> {
        let threatened = self.rows.iter().filter(|(key, _)| !key.threat.is_empty());
        let joined: BTreeSet<(&str, u64)> = threatened.map(|(key, _)| (key.model.as_str(), key.id)).collect();
        self.rows.iter().filter(|(key, _)| !key.threat.is_empty() || !joined.contains(&(key.model.as_str(), key.id))).collect()
    }

    /// Per model, threat model and attack: how many samples had each outcome, in words, and the median distance.
    pub(crate) fn outcomes(&self) -> Vec<OutcomeCount> {
        let mut counts: Vec<OutcomeCount> = Vec::new();
        let mut places: BTreeMap<(&str, &str, usize), usize> = BTreeMap::new();
        let mut distances: Vec<Vec<f64>> = Vec::new();
        for (key, cells) in &self.rows {
            for (column, cell) in cells.iter().enumerate() {
                let (Some(SampleValue::Text(outcome)), Some(attack)) = (cell, self.columns[column].strip_suffix(".outcome"))
                else {
                    continue;
                };
                let place = *places.entry((&key.model, &key.threat, column)).or_insert_with(|| {
                    counts.push(OutcomeCount {
                        model: key.model.clone(),
                        threat: key.threat.clone(),
                        attack: attack.to_owned(),
                        outcomes: BTreeMap::new(),
                        median_distance: None,
                    });
                    distances.push(Vec::new());
                    counts.len() - 1
                });
                *counts[place].outcomes.entry(outcome.clone()).or_default() += 1;
                let distance = self.column_places.get(&format!("{attack}.distance")).and_then(|&column| cells.get(column));
                if let Some(Some(SampleValue::Number(distance))) = distance
                    && distance.is_finite()
                {
                    distances[place].push(*distance);
                }
            }
        }
        for (count, mut distances) in counts.iter_mut().zip(distances) {
            distances.sort_by(f64::total_cmp);
            count.median_distance = median(&distances);
        }
        counts
    }

    fn column_place(&mut self, column: &str) -> usize {
        if let Some(&place) = self.column_places.get(column) {
            return place;
        }
        self.columns.push(column.to_owned());
        self.column_places.insert(column.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    fn row_place(&mut self, key: &SampleKey) -> usize {
        *self.row_places.entry((key.model.clone(), key.threat.clone(), key.id)).or_insert_with(|| {
            self.rows.push((key.clone(), Vec::new()));
            self.rows.len() - 1
        })
    }
}

/// How an attack went, counted.
pub(crate) struct OutcomeCount {
    pub(crate) model: String,
    pub(crate) threat: String,
    pub(crate) attack: String,
    pub(crate) outcomes: BTreeMap<String, u64>,
    pub(crate) median_distance: Option<f64>,
}

/// `samples.csv`: keys `model, threat, id, label, prediction`, then the columns in order of first appearance. What was measured
/// without a threat model is joined to every line of the same model and sample that has one, and gets a line of its own only
/// where there is none. A place where nothing was measured is an empty cell. The rules of [`crate::results_csv`] hold.
pub fn samples_csv(samples: &Samples) -> Vec<u8> {
    let header = ["model", "threat", "id", "label", "prediction"].into_iter().chain(samples.columns.iter().map(String::as_str));
    let lines = samples.lines().into_iter().map(|(key, cells)| {
        let geometry = samples.row_places.get(&(key.model.clone(), String::new(), key.id)).map(|&place| &samples.rows[place].1);
        let mut line = vec![
            Cell::Text(key.model.as_str().into()),
            Cell::Text(key.threat.as_str().into()),
            Cell::Integer(key.id.into()),
            Cell::Integer(key.label.into()),
            key.prediction.map_or(Cell::Missing, |class| Cell::Integer(class.into())),
        ];
        line.extend((0..samples.columns.len()).map(|column| {
            let own = cells.get(column).and_then(Option::as_ref);
            let shared = || geometry.and_then(|cells| cells.get(column)).and_then(Option::as_ref);
            own.or_else(shared).map_or(Cell::Missing, written)
        }));
        line
    });
    csv_bytes(header.map(|name| Cell::Text(name.into())), lines)
}

fn written(value: &SampleValue) -> Cell<'_> {
    match value {
        SampleValue::Number(value) => Cell::Number(*value),
        SampleValue::Text(text) => Cell::Text(text.as_str().into()),
    }
}

impl std::fmt::Display for SampleValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SampleValue::Number(value) => f.write_str(&shortest(*value)),
            SampleValue::Text(text) => f.write_str(text),
        }
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str, threat: &str, id: u64) -> SampleKey {
        SampleKey { model: model.into(), threat: threat.into(), id, label: 3, prediction: Some(5) }
    }

    #[test]
    fn ragged_columns_are_joined_in_order_of_first_appearance() {
        let mut samples = Samples::default();
        samples.set(&key("a", "", 0), "logp", SampleValue::Number(-1.5));
        samples.set(&key("a", "linf:8/255", 0), "pgd.outcome", SampleValue::Text("broken".into()));
        samples.set(&key("a", "linf:8/255", 0), "pgd.distance", SampleValue::Number(0.1));
        samples.set(&key("b", "", 7), "phi@clean", SampleValue::Number(f64::NAN));
        samples.mention(&key("=c", "l2:1", 1));
        let text = String::from_utf8(samples_csv(&samples)).unwrap();
        assert_eq!(
            text,
            "model,threat,id,label,prediction,logp,pgd.outcome,pgd.distance,phi@clean\n\
             a,linf:8/255,0,3,5,-1.5,broken,0.1,\n\
             b,,7,3,5,,,,NaN\n\
             '=c,l2:1,1,3,5,,,,\n"
        );
    }

    #[test]
    fn outcomes_are_counted_per_attack() {
        let mut samples = Samples::default();
        for (id, outcome, distance) in [(0, "broken", 0.1), (1, "held", f64::NAN), (2, "broken", 0.3)] {
            samples.set(&key("a", "linf:1", id), "pgd.outcome", SampleValue::Text(outcome.into()));
            samples.set(&key("a", "linf:1", id), "pgd.distance", SampleValue::Number(distance));
        }
        let counts = samples.outcomes();
        assert_eq!(counts.len(), 1);
        assert_eq!(counts[0].outcomes, BTreeMap::from([("broken".into(), 2), ("held".into(), 1)]));
        assert_eq!(counts[0].median_distance, Some(0.2));
    }
}
