//! Correlations over models: every mean of a metric against the accuracy under all attacks, over all models and within families, and the
//! sweep over a family.

use flatscape_comparison::{Relation, Value};
use flatscape_report::{Sweep, SweepPoint};

use super::correlation::{midranks, partial, permutation_p, spearman};
use super::{TESTED, family};
use crate::metrics::{Kind, kind};
use crate::values::Values;

/// Metrics whose logarithm says how large the logits of a model are: covariates of the partial correlation.
const SCALES: &[&str] = &["temperature", "temperature_mean", "kappa", "kappa_mean"];

/// One accuracy under attack and one metric, over the models that have both.
struct Table<'a> {
    accuracy: usize,
    metric: usize,
    ground: String,
    /// Every model once, in the order of the runs.
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    entry: usize,
    model: &'a str,
    y: &'a Value,
    x: &'a Value,
    clean: Option<f64>,
    scale: Option<f64>,
}

/// The correlations over all models and within every family of at least three models that is not all of them.
pub(crate) fn over_models(all: &Values, prefixes: &[String]) -> Vec<Relation> {
    let mut relations = Vec::new();
    for table in tables(all) {
        let whole: Vec<&Row> = table.rows.iter().collect();
        relations.extend(relation(all, &table, "all models".to_owned(), &whole));
        for (name, rows) in families(&table, prefixes) {
            if rows.len() < whole.len() {
                relations.extend(relation(all, &table, format!("family {name}"), &rows));
            }
        }
    }
    relations
}

/// The sweeps over the families of at least three models that have Φ.
pub(crate) fn sweeps(all: &Values, prefixes: &[String]) -> Vec<Sweep> {
    let mut sweeps = Vec::new();
    for table in tables(all) {
        let (metric, accuracy) = (&all.measures[table.metric], &all.measures[table.accuracy]);
        if metric.metric != "phi_mean" {
            continue;
        }
        for (name, rows) in families(&table, prefixes) {
            let point = |row: &&Row| SweepPoint {
                name: row.model.to_owned(),
                clean: row.clean,
                robust: row.y.value.unwrap_or(f64::NAN),
                robust_interval: row.y.interval,
                value: row.x.value.unwrap_or(f64::NAN),
                interval: row.x.interval,
            };
            let title = format!("{name}, {}", accuracy.threat);
            sweeps.push(Sweep { title, quantity: metric.name(), models: rows.iter().map(point).collect() });
        }
    }
    sweeps
}

/// The rows of every family of at least three models, in order of first appearance.
fn families<'a, 'b>(table: &'b Table<'a>, prefixes: &'b [String]) -> Vec<(&'b str, Vec<&'b Row<'a>>)> {
    let mut families: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in &table.rows {
        let Some(name) = family(row.model, prefixes) else { continue };
        match families.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => families.push((name, vec![row])),
        }
    }
    families.retain(|(_, rows)| rows.len() >= 3);
    families
}

/// A table for each accuracy of a union and each metric that is a mean.
fn tables(all: &Values) -> Vec<Table<'_>> {
    let mut tables = Vec::new();
    let unions =
        (0..all.measures.len()).filter(|&m| all.measures[m].metric == "robust_accuracy" && all.measures[m].component == "union");
    for accuracy in unions {
        for metric in 0..all.measures.len() {
            let about = &all.measures[metric];
            let flat = kind(&about.metric) == Kind::Mean && about.shown && !about.metric.contains("accuracy");
            if !flat || SCALES.contains(&about.metric.as_str()) {
                continue;
            }
            for ground in 0..all.grounds.len() {
                let rows = rows(all, accuracy, metric, ground);
                if rows.len() >= 3 {
                    let about = &all.grounds[ground];
                    let ground =
                        format!("{} ({}), {}, {}", about.dataset, about.split, about.samples, all.measures[accuracy].threat);
                    tables.push(Table { accuracy, metric, ground, rows });
                }
            }
        }
    }
    tables
}

fn rows(all: &Values, accuracy: usize, metric: usize, ground: usize) -> Vec<Row<'_>> {
    let mut rows: Vec<Row> = Vec::new();
    let data = |place: usize| (&all.grounds[place].data_sha256, &all.grounds[place].split, &all.grounds[place].images);
    let known = |entry: usize, of: &dyn Fn(&Value) -> bool| {
        let own = |v: &&Value| v.entry == entry && data(v.ground) == data(ground) && v.value.is_some_and(f64::is_finite) && of(v);
        all.values.iter().find(own)
    };
    let named = |entry: usize, names: &[&str]| known(entry, &|v| names.contains(&all.measures[v.measure].metric.as_str()));
    for y in all.values.iter().filter(|v| v.measure == accuracy && v.ground == ground && v.value.is_some()) {
        let entry = &all.entries[y.entry];
        // a model that is in several runs is one model
        if rows.iter().any(|row| all.entries[row.entry].model_sha256 == entry.model_sha256) {
            continue;
        }
        let Some(x) = known(y.entry, &|v| v.measure == metric) else { continue };
        let clean = named(y.entry, &["clean_accuracy"]).and_then(|v| v.value);
        let scale = named(y.entry, SCALES).and_then(|v| v.value).filter(|scale| *scale > 0.0).map(f64::ln);
        rows.push(Row { entry: y.entry, model: &entry.model, y, x, clean, scale });
    }
    rows
}

fn relation(all: &Values, table: &Table, scope: String, rows: &[&Row]) -> Option<Relation> {
    let column = |of: &dyn Fn(&Row) -> Option<f64>| rows.iter().map(|row| of(row)).collect::<Option<Vec<f64>>>();
    let (x, y) = (column(&|row| row.x.value)?, column(&|row| row.y.value)?);
    let mut relation = Relation {
        over: "models".to_owned(),
        scope,
        ground: table.ground.clone(),
        x: all.measures[table.metric].name(),
        y: all.measures[table.accuracy].name(),
        n: rows.len() as u64,
        ..Relation::default()
    };
    let Some(found) = spearman(&x, &y) else {
        relation.note = "One of the two is the same for all models.".to_owned();
        return Some(relation);
    };
    found.into(&mut relation);
    if rows.len() < TESTED {
        relation.interval = None;
        relation.note = format!("{} models are described and not tested; a test needs {TESTED}.", rows.len());
        return Some(relation);
    }
    relation.p = permutation_p(&x, &y);
    let covariates: Vec<(&str, Vec<f64>)> =
        [("clean accuracy", column(&|row| row.clean)), ("log logit scale", column(&|row| row.scale))]
            .into_iter()
            .filter_map(|(name, values)| Some((name, values?)))
            .collect();
    let columns: Vec<&[f64]> = covariates.iter().map(|(_, values)| values.as_slice()).collect();
    if columns.is_empty() || rows.len() < columns.len() + 4 {
        return Some(relation);
    }
    relation.given = covariates.iter().map(|(name, _)| (*name).to_owned()).collect();
    match partial(&x, &y, &columns) {
        Some(found) => (relation.partial, relation.partial_interval) = (Some(found.rho), found.interval),
        None => relation.note = undefined(&covariates, &x, &y),
    }
    Some(relation)
}

/// Why there is no partial coefficient.
fn undefined(covariates: &[(&str, Vec<f64>)], x: &[f64], y: &[f64]) -> String {
    let same = |a: &[f64], b: &[f64]| {
        let (a, b) = (midranks(a), midranks(b));
        let turned: Vec<f64> = b.iter().map(|rank| b.len() as f64 + 1.0 - rank).collect();
        a == b || a == turned
    };
    let guilty = covariates.iter().find(|(_, values)| same(values, x) || same(values, y));
    let what = guilty
        .map_or("the covariates depend on each other".to_owned(), |(name, _)| format!("{name} has the order of one of the two"));
    format!("The partial coefficient is undefined: {what}.")
}
