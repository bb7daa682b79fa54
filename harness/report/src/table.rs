//! The main table: models down, clean accuracy, attacks, their union and flatness across; one table per data set and threat
//! model. It pivots rows and knows by name only the metrics that are headlines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::record::Record;
use crate::text::{eps_text, quantity_parts, rate_parts, shown};

/// A metric that has a column in the main table.
struct Headline {
    metric: &'static str,
    /// Heading of the column; `None` where every component has one under its own name.
    heading: Option<&'static str>,
    help: &'static str,
}

/// The headlines, in the order of the columns.
const HEADLINES: &[Headline] = &[
    Headline { metric: "clean_accuracy", heading: Some("clean"), help: "accuracy on the unperturbed samples" },
    Headline {
        metric: "robust_accuracy",
        heading: None,
        help: "share of samples that is right and that this attack did not break: an upper bound on robust accuracy",
    },
    Headline {
        metric: "phi_mean",
        heading: Some("Φ mean"),
        help: "mean of −‖∇ log p‖ around the samples (per grid point); closer to 0 is flatter",
    },
    Headline {
        metric: "phi_sum",
        heading: Some("Φ sum"),
        help: "the same, summed over the grid points as in the paper; comparable at equal grids only",
    },
    Headline {
        metric: "ams_mean",
        heading: Some("AMS"),
        help: "mean of −‖∇ log p‖ at the samples (approximate mass score); closer to 0 is flatter",
    },
];

/// Whether the values of a metric are rates in [0, 1].
pub(crate) fn is_rate(metric: &str) -> bool {
    matches!(metric, "clean_accuracy" | "robust_accuracy" | "robust_accuracy_uint8" | "claimed_success" | "nan_in_ball")
        || metric.ends_with("_rate")
        || metric.ends_with("_accuracy")
}

/// The main table of one data set and threat model.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Data set, split and threat model, in words.
    pub title: String,
    /// Heading and help of every column after the model's name.
    pub columns: Vec<(String, String)>,
    /// One row per model, in order of first appearance.
    pub rows: Vec<TableRow>,
}

/// One model's row.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// Name of the model, as it may be shown.
    pub model: String,
    /// As many as the table has columns; `None` where nothing was measured.
    pub cells: Vec<Option<TableCell>>,
    /// Every flag raised for the model under this threat model, once.
    pub flags: Vec<String>,
}

/// One number with its interval and n, spelled; [`Display`](fmt::Display) puts them together: `0.473 [0.463, 0.483] n=10000`.
#[derive(Clone, Debug, PartialEq)]
pub struct TableCell {
    /// The number.
    pub value: String,
    /// Its interval in brackets; empty where there is none.
    pub interval: String,
    /// Number of samples behind it.
    pub n: u64,
}

impl TableCell {
    /// The cell of a row; `None` without a value.
    pub(crate) fn of(record: &Record) -> Option<TableCell> {
        let interval = record.ci_low.zip(record.ci_high);
        let spelled = if is_rate(&record.metric) { rate_parts } else { quantity_parts };
        let (value, interval) = spelled(record.value?, interval);
        Some(TableCell { value, interval, n: record.n })
    }
}

impl fmt::Display for TableCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.interval.is_empty() { "" } else { " " };
        write!(f, "{}{space}{} n={}", self.value, self.interval, self.n)
    }
}

/// The main tables of `records`, in order of first appearance. A row that names no threat model (clean accuracy, a metric)
/// belongs to every threat model of its data set; a model that was refused has a row with its flags and no numbers.
pub fn tables(records: &[Record]) -> Vec<Table> {
    groups(records).iter().map(table).collect()
}

/// The rows about one data set, split and threat model.
pub(crate) struct Group<'a> {
    pub(crate) dataset: &'a str,
    pub(crate) split: &'a str,
    pub(crate) threat: &'a str,
    pub(crate) eps: Option<f64>,
    pub(crate) records: Vec<&'a Record>,
}

impl<'a> Group<'a> {
    /// Data set, split and threat model, in words.
    pub(crate) fn title(&self) -> String {
        let mut title = shown(self.dataset);
        if !self.split.is_empty() {
            title += &format!(" ({})", shown(self.split));
        }
        if !self.threat.is_empty() {
            let spelled = shown(self.threat);
            let budget = self.eps.filter(|&eps| eps > 0.0).map(eps_text).filter(|budget| !spelled.contains(budget.as_str()));
            title += &format!(", threat model {spelled}");
            if let Some(budget) = budget {
                title += &format!(", ε = {budget}");
            }
        }
        title
    }

    /// The group's rows by model, in order of first appearance.
    pub(crate) fn models(&self) -> Vec<(&'a str, Vec<&'a Record>)> {
        let mut models: Vec<(&str, Vec<&Record>)> = Vec::new();
        let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for &record in &self.records {
            let place = *places.entry((&record.model, &record.model_sha256)).or_insert_with(|| {
                models.push((&record.model, Vec::new()));
                models.len() - 1
            });
            models[place].1.push(record);
        }
        models
    }
}

/// Rows grouped by data set, split and threat model; see [`tables`].
pub(crate) fn groups(records: &[Record]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut of_data: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
    for record in records.iter().filter(|record| !record.threat.is_empty()) {
        let place = start_group(record, &mut places, &mut groups);
        of_data.entry((&record.dataset, &record.split)).or_default().insert(place);
    }
    for record in records.iter().filter(|record| record.threat.is_empty() && !record.dataset.is_empty()) {
        let data = (record.dataset.as_str(), record.split.as_str());
        if !of_data.contains_key(&data) {
            let place = start_group(record, &mut places, &mut groups);
            of_data.entry(data).or_default().insert(place);
        }
    }
    if of_data.is_empty() && !records.is_empty() {
        let place = start_group(&records[0], &mut places, &mut groups);
        of_data.entry(("", "")).or_default().insert(place);
    }
    for record in records {
        if !record.threat.is_empty() {
            if let Some(&place) = places.get(&(record.dataset.as_str(), record.split.as_str(), record.threat.as_str())) {
                groups[place].records.push(record);
            }
        } else if let Some(own) = of_data.get(&(record.dataset.as_str(), record.split.as_str())) {
            own.iter().for_each(|&place| groups[place].records.push(record));
        } else {
            groups.iter_mut().for_each(|group| group.records.push(record));
        }
    }
    groups
}

fn start_group<'a>(
    record: &'a Record,
    places: &mut BTreeMap<(&'a str, &'a str, &'a str), usize>,
    groups: &mut Vec<Group<'a>>,
) -> usize {
    let key = (record.dataset.as_str(), record.split.as_str(), record.threat.as_str());
    *places.entry(key).or_insert_with(|| {
        groups.push(Group { dataset: key.0, split: key.1, threat: key.2, eps: record.eps, records: Vec::new() });
        groups.len() - 1
    })
}

fn table(group: &Group) -> Table {
    // A column is a headline and, for attacks, a component with its arguments; the union is the last of them.
    let mut places: BTreeMap<ColumnKey, usize> = BTreeMap::new();
    let mut keys: Vec<ColumnKey> = Vec::new();
    for record in &group.records {
        let Some(key) = column_key(record) else { continue };
        if let std::collections::btree_map::Entry::Vacant(vacant) = places.entry(key) {
            vacant.insert(0);
            keys.push(key);
        }
    }
    keys.sort_by_key(|&(headline, component, _)| (headline, component == "union"));
    for (place, key) in keys.iter().enumerate() {
        places.insert(*key, place);
    }
    let columns = keys.iter().map(|&(headline, component, args)| {
        let alone = keys.iter().filter(|other| other.0 == headline && other.1 == component).count() == 1;
        let heading = HEADLINES[headline]
            .heading
            .map_or_else(|| if alone { shown(component) } else { shown(&format!("{component} {args}")) }, str::to_owned);
        let help = if args.is_empty() {
            HEADLINES[headline].help.to_owned()
        } else {
            format!("{} ({})", HEADLINES[headline].help, shown(args))
        };
        (heading, help)
    });
    let rows = group.models().into_iter().map(|(model, records)| {
        let mut cells = vec![None; keys.len()];
        for record in &records {
            if let (Some(key), Some(cell)) = (column_key(record), TableCell::of(record)) {
                cells[places[&key]] = Some(cell);
            }
        }
        TableRow { model: shown(model), cells, flags: flags_of(&records) }
    });
    Table { title: group.title(), columns: columns.collect(), rows: rows.collect() }
}

/// Place in [`HEADLINES`], component and arguments; the last two are empty where the headline has one column.
type ColumnKey<'a> = (usize, &'a str, &'a str);

fn column_key(record: &Record) -> Option<ColumnKey<'_>> {
    let headline = HEADLINES.iter().position(|headline| headline.metric == record.metric)?;
    Some(if HEADLINES[headline].heading.is_some() { (headline, "", "") } else { (headline, &record.component, &record.args) })
}

/// Every flag of the rows, once, in order of first appearance.
pub(crate) fn flags_of(records: &[&Record]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    records.iter().flat_map(|record| &record.flags).filter(|flag| seen.insert(flag.as_str())).map(|flag| shown(flag)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, component: &str, threat: &str, metric: &str, value: Option<f64>) -> Record {
        Record {
            model: model.into(),
            dataset: "digits".into(),
            split: "test".into(),
            component: component.into(),
            threat: threat.into(),
            eps: (!threat.is_empty()).then_some(8.0 / 255.0),
            metric: metric.into(),
            value,
            ci_low: value.map(|value| value - 0.01),
            ci_high: value.map(|value| value + 0.01),
            n: 1000,
            ..Record::default()
        }
    }

    #[test]
    fn models_down_headlines_across_union_last_of_the_attacks() {
        let mut refused = row("c", "", "", "", None);
        refused.dataset = String::new();
        refused.split = String::new();
        refused.flags = vec!["M031".into()];
        let records = [
            row("a", "", "", "clean_accuracy", Some(0.97)),
            row("a", "union", "linf:8/255", "robust_accuracy", Some(0.4)),
            row("a", "fgsm", "linf:8/255", "robust_accuracy", Some(0.6)),
            row("a", "phi", "", "phi_mean", Some(-29.6)),
            row("b", "fgsm", "linf:8/255", "robust_accuracy", Some(0.5)),
            row("b", "fgsm", "l2:0.5", "robust_accuracy", Some(0.7)),
            refused,
        ];
        let tables = tables(&records);
        assert_eq!(
            tables.iter().map(|table| table.title.as_str()).collect::<Vec<_>>(),
            ["digits (test), threat model linf:8/255", "digits (test), threat model l2:0.5, ε = 8/255"]
        );
        let headings: Vec<&str> = tables[0].columns.iter().map(|(heading, _)| heading.as_str()).collect();
        assert_eq!(headings, ["clean", "fgsm", "union", "Φ mean"]);
        let spelled = |row: &TableRow| {
            row.cells.iter().map(|cell| cell.as_ref().map_or("–".to_owned(), TableCell::to_string)).collect::<Vec<_>>()
        };
        assert_eq!(
            spelled(&tables[0].rows[0]),
            [
                "0.970 [0.960, 0.980] n=1000",
                "0.600 [0.590, 0.610] n=1000",
                "0.400 [0.390, 0.410] n=1000",
                "−29.600 [−29.610, −29.590] n=1000"
            ]
        );
        assert_eq!(spelled(&tables[0].rows[1]), ["–", "0.500 [0.490, 0.510] n=1000", "–", "–"]);
        assert_eq!((tables[0].rows[2].model.as_str(), tables[0].rows[2].flags.as_slice()), ("c", &["M031".to_owned()][..]));
    }

    #[test]
    fn the_same_attack_with_two_sets_of_arguments_has_two_columns() {
        let with_args = |args: &str| Record { args: args.into(), ..row("a", "pgd", "linf:8/255", "robust_accuracy", Some(0.4)) };
        let tables = tables(&[with_args("steps=20"), with_args("steps=100")]);
        let headings: Vec<&str> = tables[0].columns.iter().map(|(heading, _)| heading.as_str()).collect();
        assert_eq!(headings, ["pgd steps=20", "pgd steps=100"]);
    }
}
