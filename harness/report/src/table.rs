//! The main table: models down, clean accuracy, attacks, their union and flatness across; one table per data set and threat
//! model. It pivots rows and knows by name only the metrics that are headlines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::failure::UNSUPPORTED;
use crate::label::Labels;
use crate::record::Record;
use crate::text::{quantity_parts, rate_parts, shown, threat_text};

/// A metric that has a column in the main table.
struct Headline {
    metric: &'static str,
    heading: Heading,
    help: &'static str,
}

/// How a column of the main table is called.
enum Heading {
    /// By the metric; where several components have it, with the arguments that tell them apart.
    Metric(&'static str),
    /// By the component, with these words behind it.
    Component(&'static str),
}

/// The headlines, in the order of the columns.
const HEADLINES: &[Headline] = &[
    Headline { metric: "clean_accuracy", heading: Heading::Metric("clean"), help: "accuracy on the unperturbed samples" },
    Headline {
        metric: "robust_accuracy",
        heading: Heading::Component(""),
        help: "share of samples that are classified correctly and that this attack did not break: an upper bound on robust accuracy",
    },
    Headline {
        metric: "distance_median",
        heading: Heading::Component(" distance"),
        help: "median distance of the adversarial examples that this attack found, in the norm of the threat model",
    },
    Headline {
        metric: "certified_accuracy",
        heading: Heading::Metric("certified"),
        help: "share of samples for which a proof excludes adversarial examples: a lower bound on robust accuracy",
    },
    Headline {
        metric: "corruption_accuracy_mean",
        heading: Heading::Metric("corruptions mean"),
        help: "mean accuracy over the types of corruption that belong to the standard fifteen, and over all severities up to that of the threat model; its row in results.csv names the types",
    },
    Headline {
        metric: "phi_mean",
        heading: Heading::Metric("Φ mean"),
        help: "mean of −‖∇ log p‖ around the samples (per grid point); closer to 0 is flatter",
    },
    Headline {
        metric: "phi_sum",
        heading: Heading::Metric("Φ sum"),
        help: "the same, summed over the grid points as in the paper; comparable at equal grids only",
    },
    Headline {
        metric: "scaled_phi_sum",
        heading: Heading::Metric("Φ at T"),
        help: "Φ sum of the scores divided by the temperature of the model, which does not know the scale of the scores",
    },
    Headline {
        metric: "ams_mean",
        heading: Heading::Metric("AMS"),
        help: "mean of −‖∇ log p‖ at the samples (approximate mass score); closer to 0 is flatter",
    },
    Headline {
        metric: "rel_petzka_mean",
        heading: Heading::Metric("relative flatness (Petzka)"),
        help: "mean of ‖φ‖²·½Σ p_s p_t ‖w_s − w_t‖² of the last layer; lower is flatter",
    },
    Headline {
        metric: "rel_s2_mean",
        heading: Heading::Metric("relative flatness (‖W‖²)"),
        help: "mean of ‖W‖²·‖φ‖²·Σ p(1 − p) of the last layer; lower is flatter",
    },
];

/// Whether the values of a metric are rates in [0, 1].
pub(crate) fn is_rate(metric: &str) -> bool {
    const RATES: &[&str] = &["claimed_success", "nan_in_ball", "coverage", "ties", "borderline", "canary_found"];
    RATES.contains(&metric)
        || metric.starts_with("corruption_accuracy_")
        || metric.starts_with("robust_accuracy")
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

impl Table {
    /// Whether it is to be read with the models as columns: it has more measures than fit beside each other, and fewer models.
    pub fn is_turned(&self) -> bool {
        const BESIDE: usize = 9;
        self.columns.len() > BESIDE && self.rows.len() < self.columns.len()
    }
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
    let labels = Labels::of(records);
    groups(records).iter().map(|group| table(group, &labels)).collect()
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
            title += &format!(", threat model {}", threat_text(self.threat, self.eps));
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

fn table(group: &Group, labels: &Labels) -> Table {
    // A column is a headline and a component with its arguments; the union is the last of them.
    let mut places: BTreeMap<ColumnKey, usize> = BTreeMap::new();
    let mut keys: Vec<(ColumnKey, &Record)> = Vec::new();
    for record in &group.records {
        let Some(key) = column_key(record) else { continue };
        if let std::collections::btree_map::Entry::Vacant(vacant) = places.entry(key) {
            vacant.insert(0);
            keys.push((key, record));
        }
    }
    keys.sort_by_key(|&((headline, component, _), _)| (headline, component == "union"));
    for (place, (key, _)) in keys.iter().enumerate() {
        places.insert(*key, place);
    }
    let columns = keys.iter().map(|&((headline, _, args), record)| {
        let alone = keys.iter().filter(|((other, _, _), _)| *other == headline).count() == 1;
        let help = HEADLINES[headline].help;
        let help = if args.is_empty() { help.to_owned() } else { format!("{help} ({})", shown(args)) };
        (heading(&HEADLINES[headline].heading, record, alone, labels), help)
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

/// Place in [`HEADLINES`], component and arguments.
type ColumnKey<'a> = (usize, &'a str, &'a str);

/// The column of a row; `None` for a metric that is not a headline, and for a median distance that is the budget itself: an attack that
/// always goes to the border of the ball says nothing by it.
fn column_key(record: &Record) -> Option<ColumnKey<'_>> {
    let headline = HEADLINES.iter().position(|headline| headline.metric == record.metric)?;
    let at_border = record.value.zip(record.eps).is_some_and(|(value, eps)| is_border(value, eps));
    if record.metric == "distance_median" && at_border {
        return None;
    }
    Some((headline, &record.component, &record.args))
}

/// Whether a distance is the radius.
pub(crate) fn is_border(distance: f64, radius: f64) -> bool {
    (distance - radius).abs() <= 1e-4 * radius
}

fn heading(heading: &Heading, record: &Record, alone: bool, labels: &Labels) -> String {
    match heading {
        Heading::Component(words) => labels.shown(record) + words,
        Heading::Metric(name) if alone => (*name).to_owned(),
        Heading::Metric(name) => match labels.arguments(record) {
            arguments if arguments.is_empty() => format!("{name} ({})", labels.shown(record)),
            arguments => format!("{name} {arguments}"),
        },
    }
}

/// Every code of a doubt or failure in the flags of the rows, once, in order of first appearance.
pub(crate) fn flags_of(records: &[&Record]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let flags = records.iter().flat_map(|record| &record.flags).filter(|flag| *flag != UNSUPPORTED);
    flags.filter(|flag| seen.insert(flag.as_str())).map(|flag| shown(flag)).collect()
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
            ["digits (test), threat model linf:8/255", "digits (test), threat model l2:0.5"]
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
        assert_eq!(headings, ["pgd:steps=20", "pgd:steps=100"]);
    }

    #[test]
    fn the_same_metric_with_two_sets_of_arguments_has_two_columns() {
        let with_args = |args: &str, value: f64| Record { args: args.into(), ..row("a", "phi", "", "phi_mean", Some(value)) };
        let tables = tables(&[with_args("grid=3,directions=1", -1.0), with_args("grid=7,directions=1", -2.0)]);
        let headings: Vec<&str> = tables[0].columns.iter().map(|(heading, _)| heading.as_str()).collect();
        assert_eq!(headings, ["Φ mean grid=3", "Φ mean grid=7"]);
        let values: Vec<&str> = tables[0].rows[0].cells.iter().flatten().map(|cell| cell.value.as_str()).collect();
        assert_eq!(values, ["−1.000", "−2.000"]);
    }

    #[test]
    fn a_median_distance_is_a_column_where_it_is_not_the_budget() {
        let distance =
            |model: &str, component: &str, value: f64| row(model, component, "linf:8/255", "distance_median", Some(value));
        let records = [distance("a", "pgd", 8.0 / 255.0), distance("a", "ddn", 0.01), distance("b", "ddn", 0.02)];
        let tables = tables(&records);
        let headings: Vec<&str> = tables[0].columns.iter().map(|(heading, _)| heading.as_str()).collect();
        assert_eq!(headings, ["ddn distance"]);
        assert!(tables[0].rows.iter().all(|row| row.cells.iter().all(Option::is_some)));
    }
}
