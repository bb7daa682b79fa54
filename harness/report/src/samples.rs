//! `samples.csv`: the join of geometry and robustness, one line per model, threat model and sample. It does not know which
//! attacks or metrics exist; they arrive as column names.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::cell::{Cell, csv_bytes, unguard};
use crate::error::ReportError;
use crate::float::shortest;
use crate::text::shown;

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

/// The lines and columns of `samples.csv`, in order of first appearance. Storing a value, writing and reading take time linear
/// in the number of values.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    columns: Vec<String>,
    column_places: HashMap<String, usize>,
    rows: Vec<Row>,
    /// Number of a model and of a threat model, in order of first appearance.
    groups: HashMap<String, HashMap<String, usize>>,
    group_count: usize,
    row_places: HashMap<(usize, u64), usize>,
}

#[derive(Clone, Debug)]
struct Row {
    key: SampleKey,
    cells: Vec<Option<SampleValue>>,
}

/// One line of `samples.csv`, with what was measured without a threat model joined to it.
#[derive(Clone, Copy, Debug)]
pub struct SampleLine<'a> {
    row: &'a Row,
    /// What was measured on the same sample without a threat model.
    shared: Option<&'a Row>,
}

impl<'a> SampleLine<'a> {
    /// What the line is about.
    pub fn key(&self) -> &'a SampleKey {
        &self.row.key
    }

    /// The value in the column at `place` of [`Samples::columns`]; `None` where nothing was measured.
    pub fn value(&self, place: usize) -> Option<&'a SampleValue> {
        let cell = |row: &'a Row| row.cells.get(place).and_then(Option::as_ref);
        cell(self.row).or_else(|| self.shared.and_then(cell))
    }
}

impl Samples {
    /// Stores one measurement, in a new line and a new column where there is none yet. `column` is `<attack>.outcome`,
    /// `<attack>.distance`, `<attack>.margin`, or a metric's `<name>` or `<name>@<at>`. A second value for the same place
    /// replaces the first.
    pub fn set(&mut self, key: &SampleKey, column: &str, value: SampleValue) {
        let column = self.column_place(column);
        let row = self.row_place(key);
        let cells = &mut self.rows[row].cells;
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

    /// Place of a column in [`Samples::columns`]; `None` if there is no such column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.column_places.get(name).copied()
    }

    /// Number of lines of `samples.csv`.
    pub fn len(&self) -> usize {
        self.lines().count()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of `samples.csv`. What was measured without a threat model is joined to every line of the same model and
    /// sample that has one, and is a line of its own only where there is none.
    pub fn lines(&self) -> impl Iterator<Item = SampleLine<'_>> {
        let threatened = self.rows.iter().filter(|row| !row.key.threat.is_empty());
        let joined: HashSet<(&str, u64)> = threatened.map(|row| (row.key.model.as_str(), row.key.id)).collect();
        self.rows.iter().filter_map(move |row| {
            let own = row.key.threat.is_empty();
            if own && joined.contains(&(row.key.model.as_str(), row.key.id)) {
                return None;
            }
            let shared = if own { None } else { self.unthreatened(&row.key) };
            Some(SampleLine { row, shared })
        })
    }

    fn unthreatened(&self, key: &SampleKey) -> Option<&Row> {
        let group = *self.groups.get(&key.model)?.get("")?;
        self.row_places.get(&(group, key.id)).map(|&place| &self.rows[place])
    }

    /// Per model, threat model and attack: how many samples had each outcome, in words, and the median distance.
    pub(crate) fn outcomes(&self) -> Vec<OutcomeCount> {
        let attacks: Vec<(usize, &str, Option<usize>)> = self
            .columns
            .iter()
            .enumerate()
            .filter_map(|(place, name)| Some((place, name.strip_suffix(".outcome")?)))
            .map(|(place, attack)| (place, attack, self.column(&format!("{attack}.distance"))))
            .collect();
        let mut counts: Vec<OutcomeCount> = Vec::new();
        let mut places: HashMap<(&str, &str, usize), usize> = HashMap::new();
        let mut distances: Vec<Vec<f64>> = Vec::new();
        for row in &self.rows {
            for &(column, attack, distance) in &attacks {
                let Some(Some(SampleValue::Text(outcome))) = row.cells.get(column) else { continue };
                let place = *places.entry((&row.key.model, &row.key.threat, column)).or_insert_with(|| {
                    counts.push(OutcomeCount {
                        model: row.key.model.clone(),
                        threat: row.key.threat.clone(),
                        attack: attack.to_owned(),
                        outcomes: BTreeMap::new(),
                        median_distance: None,
                    });
                    distances.push(Vec::new());
                    counts.len() - 1
                });
                *counts[place].outcomes.entry(outcome.clone()).or_default() += 1;
                if let Some(Some(SampleValue::Number(distance))) = distance.and_then(|column| row.cells.get(column))
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
        let group = self.group(key);
        *self.row_places.entry((group, key.id)).or_insert_with(|| {
            self.rows.push(Row { key: key.clone(), cells: Vec::new() });
            self.rows.len() - 1
        })
    }

    fn group(&mut self, key: &SampleKey) -> usize {
        if let Some(&group) = self.groups.get(&key.model).and_then(|threats| threats.get(&key.threat)) {
            return group;
        }
        self.groups.entry(key.model.clone()).or_default().insert(key.threat.clone(), self.group_count);
        self.group_count += 1;
        self.group_count - 1
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

/// The columns that say what a line is about.
const KEYS: [&str; 5] = ["model", "threat", "id", "label", "prediction"];

/// `samples.csv`: keys `model, threat, id, label, prediction`, then the columns in order of first appearance. What was measured
/// without a threat model is joined to every line of the same model and sample that has one, and gets a line of its own only
/// where there is none. A missing measurement is an empty cell. The rules of [`crate::results_csv`] hold.
pub fn samples_csv(samples: &Samples) -> Vec<u8> {
    let header = KEYS.into_iter().chain(samples.columns.iter().map(String::as_str));
    let lines = samples.lines().map(|line| {
        let key = line.key();
        let mut cells = vec![
            Cell::Text(key.model.as_str().into()),
            Cell::Text(key.threat.as_str().into()),
            Cell::Integer(key.id.into()),
            Cell::Integer(key.label.into()),
            key.prediction.map_or(Cell::Missing, |class| Cell::Integer(class.into())),
        ];
        cells.extend((0..samples.columns.len()).map(|place| line.value(place).map_or(Cell::Missing, written)));
        cells
    });
    csv_bytes(header.map(|name| Cell::Text(name.into())), lines)
}

/// Reads `samples.csv`: [`samples_csv`] of what it returns gives the same bytes again. A cell that is written as a number is a
/// number, except in a column that ends in `.outcome`; an empty cell is not a measurement.
///
/// # Errors
/// Malformed CSV, columns that do not begin with the five keys, a column or a line that occurs twice, a key that is not
/// a whole number.
pub fn read_samples(bytes: &[u8]) -> Result<Samples, ReportError> {
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers()?.clone();
    if let Some((_, column)) = KEYS.into_iter().enumerate().find(|&(place, key)| header.get(place) != Some(key)) {
        return Err(ReportError::MissingColumn { column });
    }
    let mut samples = Samples::default();
    for (place, name) in header.iter().skip(KEYS.len()).enumerate() {
        if samples.column_place(unguard(name)) != place {
            return Err(ReportError::RepeatedColumn { column: shown(name) });
        }
    }
    for line in reader.records() {
        let line = line?;
        let number = line.position().map_or(0, csv::Position::line);
        let key = sample_key(&line, number)?;
        let row = samples.rows.len();
        if samples.row_place(&key) != row {
            return Err(ReportError::RepeatedLine {
                line: number,
                what: shown(&format!("sample {} of {} under {:?}", key.id, key.model, key.threat)),
            });
        }
        let cells = line.iter().skip(KEYS.len()).zip(&samples.columns).map(|(cell, column)| read_cell(cell, column));
        samples.rows[row].cells = cells.collect();
    }
    Ok(samples)
}

fn sample_key(line: &csv::StringRecord, number: u64) -> Result<SampleKey, ReportError> {
    let bad = |place: usize, expected: &'static str| ReportError::BadCell {
        line: number,
        column: KEYS[place],
        found: shown(&line[place]),
        expected,
    };
    Ok(SampleKey {
        model: unguard(&line[0]).to_owned(),
        threat: unguard(&line[1]).to_owned(),
        id: line[2].parse().map_err(|_| bad(2, "a whole number"))?,
        label: line[3].parse().map_err(|_| bad(3, "a whole number"))?,
        prediction: match &line[4] {
            "" => None,
            class => Some(class.parse().map_err(|_| bad(4, "a whole number or empty"))?),
        },
    })
}

fn read_cell(cell: &str, column: &str) -> Option<SampleValue> {
    if cell.is_empty() {
        return None;
    }
    let number = cell.parse::<f64>().ok().filter(|&value| !column.ends_with(".outcome") && shortest(value) == cell);
    Some(number.map_or_else(|| SampleValue::Text(unguard(cell).to_owned()), SampleValue::Number))
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

    #[test]
    fn what_is_written_reads_back_to_the_same_bytes() {
        let mut samples = Samples::default();
        let texts = ["held", "=1+1", "7", "-7", "NaN", "a,\"b\"\r\nc", "'@x", "\u{202e}"];
        let numbers = [0.1, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-300, -3.0];
        for (id, (text, number)) in texts.iter().zip(numbers.iter().cycle()).enumerate() {
            let key = SampleKey { prediction: None, ..key("=a", "linf:1", id as u64) };
            samples.set(&key, "@pgd.outcome", SampleValue::Text((*text).into()));
            samples.set(&key, "logp", SampleValue::Number(*number));
            samples.set(&key, "word", SampleValue::Text((*text).into()));
        }
        samples.set(&key("=a", "", 3), "phi", SampleValue::Number(-2.5));
        samples.set(&key("b", "", 3), "phi", SampleValue::Number(-1.5));
        let bytes = samples_csv(&samples);
        let back = read_samples(&bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&samples_csv(&back)), String::from_utf8_lossy(&bytes));
        assert_eq!(back.columns(), samples.columns());
        let line = back.lines().nth(3).unwrap();
        assert_eq!(line.key(), &SampleKey { prediction: None, ..key("=a", "linf:1", 3) });
        assert_eq!(line.value(back.column("@pgd.outcome").unwrap()), Some(&SampleValue::Text("-7".into())));
        assert_eq!(line.value(back.column("phi").unwrap()), Some(&SampleValue::Number(-2.5)));
        assert_eq!(back.lines().next().unwrap().value(3), None);
        let empty = samples_csv(&Samples::default());
        assert_eq!(samples_csv(&read_samples(&empty).unwrap()), empty);
    }

    #[test]
    fn an_altered_samples_file_is_refused_in_a_sentence() {
        let says = |text: &str| read_samples(text.as_bytes()).unwrap_err().to_string();
        let head = "model,threat,id,label,prediction";
        assert!(says("").contains("no column `model`"));
        assert!(says("model,threat,label,id,prediction\n").contains("no column `id`"));
        assert!(says(&format!("{head},x,x\n")).contains("`x` occurs twice"));
        assert_eq!(
            says(&format!("{head}\na,,0,1,1\na,,0,1,1\n")),
            "line 3: the sample 0 of a under \"\" occurs twice; write the samples again or restore the file"
        );
        assert_eq!(says(&format!("{head}\na,,-1,1,1\n")), "line 2, column `id`: \"-1\" is not a whole number");
        assert_eq!(says(&format!("{head}\na,,1,1,x\n")), "line 2, column `prediction`: \"x\" is not a whole number or empty");
        assert!(says(&format!("{head}\na,,1\n")).contains("not well-formed CSV"));
    }

    #[test]
    fn ten_thousand_samples_with_ten_columns_are_joined_to_every_line() {
        let mut samples = Samples::default();
        for column in 0..10 {
            for id in 0..10_000 {
                samples.set(&key("a", "", id), &format!("metric-{column}"), SampleValue::Number(id as f64));
                samples.set(&key("a", "linf:1", id), &format!("attack-{column}.outcome"), SampleValue::Text("held".into()));
            }
        }
        assert_eq!(samples.len(), 10_000);
        assert!(samples.lines().all(|line| (0..20).all(|place| line.value(place).is_some())));
        assert!(samples.outcomes().iter().all(|count| count.outcomes["held"] == 10_000));
        let bytes = samples_csv(&samples);
        assert_eq!(samples_csv(&read_samples(&bytes).unwrap()), bytes);
    }
}
