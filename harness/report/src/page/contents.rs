//! What goes into the page's template: everything cut to a bounded size, spelled and counted. It knows the page's limits and
//! nothing about HTML.

use minijinja::Value;
use serde::Serialize;

use super::classes::{ShownClasses, shown_classes};
use super::closeups::{ShownCloseUps, shown_closeups};
use super::gaps::{ShownGap, ShownRequirement, shown_gaps, shown_requirements};
use super::landscapes::{LandscapeGroup, landscapes};
use super::{Certificate, Doubt, Page};
use crate::columns::COLUMNS;
use crate::curves::{curve_groups, curves_svg};
use crate::error::ReportError;
use crate::figure::figure_svg;
use crate::histogram::histogram_svg;
use crate::paths::{path_groups, paths_svg};
use crate::record::Record;
use crate::table::{TableCell, is_border, tables};
use crate::text::{percent, shown, shown_to, significant, threat_text};
use crate::verdict::{bar_svg, verdicts};

/// How much of everything a page shows.
pub(crate) struct Limits {
    verdicts: usize,
    table_rows: usize,
    table_columns: usize,
    figures: usize,
    curves: usize,
    surfaces: usize,
    /// Grid lines per axis.
    grid: usize,
    doubts: usize,
    certificates: usize,
    outcomes: usize,
    classes: usize,
    /// Rows of a table of classes.
    labels: usize,
    closeups: usize,
    /// Bytes of the table of all rows, about.
    row_bytes: usize,
    manifest_bytes: usize,
}

/// From generous to strict; the first that keeps the page small enough is used.
#[rustfmt::skip]
pub(crate) const LIMITS: &[Limits] = &[
    Limits { verdicts: 60, table_rows: 200, table_columns: 24, figures: 12, curves: 24, surfaces: 16, grid: 41, doubts: 60, certificates: 60, outcomes: 200, classes: 24, labels: 100, closeups: 144, row_bytes: 1_200_000, manifest_bytes: 200_000 },
    Limits { verdicts: 60, table_rows: 100, table_columns: 16, figures: 6,  curves: 14, surfaces: 16, grid: 25, doubts: 60, certificates: 30, outcomes: 60, classes: 8, labels: 40, closeups: 40, row_bytes: 600_000,   manifest_bytes: 60_000 },
    Limits { verdicts: 20, table_rows: 40,  table_columns: 8,  figures: 2,  curves: 7,  surfaces: 4,  grid: 21, doubts: 20, certificates: 8,  outcomes: 20, classes: 2, labels: 20, closeups: 6,  row_bytes: 200_000,   manifest_bytes: 20_000 },
];

/// The template's variables.
#[derive(Serialize)]
pub(crate) struct Contents {
    title: String,
    command: String,
    partial: Option<PartialRun>,
    interval: String,
    advice: String,
    verdicts: Vec<VerdictGroup>,
    verdicts_left_out: usize,
    raised: Vec<Raised>,
    doubts: Vec<ShownDoubt>,
    doubts_left_out: usize,
    requirements: Vec<ShownRequirement>,
    gaps: Vec<ShownGap>,
    gaps_left_out: usize,
    certificates: Vec<ShownCertificate>,
    certificates_left_out: usize,
    tables: Vec<ShownTable>,
    tables_left_out: usize,
    figures: Vec<Value>,
    figures_left_out: usize,
    histograms: Vec<Value>,
    histograms_left_out: usize,
    classes: Vec<ShownClasses>,
    classes_left_out: usize,
    closeups: Vec<ShownCloseUps>,
    closeups_left_out: usize,
    closeups_missing: String,
    paths: Vec<Value>,
    paths_left_out: usize,
    curves: Vec<Value>,
    curves_left_out: usize,
    landscapes: Vec<LandscapeGroup>,
    landscapes_left_out: usize,
    columns: Vec<Heading>,
    outcomes: Vec<Outcome>,
    samples: usize,
    rows: Vec<Row>,
    rows_in_all: usize,
    manifest: String,
    manifest_cut: bool,
    data: Value,
}

#[derive(Serialize)]
struct PartialRun {
    done: u64,
    of: u64,
}

/// The verdicts of one data set and threat model.
#[derive(Serialize)]
struct VerdictGroup {
    about: String,
    verdicts: Vec<ShownVerdict>,
}

#[derive(Serialize)]
struct ShownVerdict {
    model: String,
    sentence: String,
    superseded: Option<String>,
    flags: Vec<String>,
    bar: Value,
}

/// One code of a doubt, and for what it was raised.
#[derive(Serialize)]
struct Raised {
    code: String,
    about: Vec<String>,
    left_out: usize,
}

#[derive(Serialize)]
struct ShownDoubt {
    code: String,
    raised_if: String,
    explanation: String,
    advice: String,
    raised_for: String,
}

#[derive(Serialize)]
struct ShownCertificate {
    sentence: String,
    failed: bool,
    rows: Vec<ShownCheck>,
}

#[derive(Serialize)]
struct ShownCheck {
    what: String,
    words: [String; 3],
    samples: u64,
    threshold: String,
    measured: String,
    outcome: String,
    failed: bool,
}

#[derive(Serialize)]
struct ShownTable {
    title: String,
    /// Whether the models are the columns: there are few of them and many measures.
    turned: bool,
    columns: Vec<Heading>,
    rows: Vec<ShownRow>,
}

#[derive(Serialize)]
struct Heading {
    heading: String,
    help: String,
}

#[derive(Serialize)]
struct ShownRow {
    model: String,
    cells: Vec<Option<ShownCell>>,
    flags: Vec<String>,
}

#[derive(Serialize)]
struct ShownCell {
    value: String,
    interval: String,
    n: u64,
}

#[derive(Serialize)]
struct Outcome {
    model: String,
    threat: String,
    attack: String,
    outcomes: String,
    distance: String,
}

/// One line of the table of all rows.
#[derive(Serialize)]
struct Row {
    words: [String; 5],
    numbers: [String; 5],
    flags: String,
}

impl Contents {
    /// Everything of `page` within `limits`.
    pub(crate) fn of(page: &Page, limits: &Limits) -> Result<Contents, ReportError> {
        let (verdicts, verdicts_left_out) = shown_verdicts(page, limits);
        let (tables, tables_left_out) = shown_tables(page, limits);
        let (rows, rows_in_all) = (rows(page, limits), page.records.len());
        let (landscapes, data) = landscapes(page, limits.surfaces, limits.grid)?;
        let (paths, paths_left_out) = shown_paths(page, limits);
        let (curves, curves_left_out) = shown_curves(page, limits);
        let histograms = page.histograms.iter().take(limits.figures).map(|h| Value::from_safe_string(histogram_svg(h)));
        let (classes, classes_left_out) = shown_classes(page, limits.classes, limits.labels);
        let (closeups, closeups_left_out) = shown_closeups(page, limits.closeups);
        let (manifest, manifest_cut) = shown_manifest(page, limits)?;
        let (gaps, gaps_left_out) = shown_gaps(page, limits.outcomes);
        let counted = page.samples.outcomes();
        let outcomes = counted.iter().take(limits.outcomes).map(|count| shown_outcome(count, page)).collect();
        Ok(Contents {
            title: titled(&page.title),
            command: shown_to(&page.command, 1000),
            partial: page.partial.map(|partial| PartialRun { done: partial.done, of: partial.of }),
            interval: of_rates(&page.interval),
            advice: shown_to(&page.advice, 400),
            verdicts,
            verdicts_left_out,
            raised: raised(&page.doubts),
            doubts: page.doubts.iter().take(limits.doubts).map(shown_doubt).collect(),
            doubts_left_out: page.doubts.len().saturating_sub(limits.doubts),
            requirements: shown_requirements(page, limits.outcomes),
            gaps,
            gaps_left_out,
            certificates: page.certificates.iter().take(limits.certificates).map(shown_certificate).collect(),
            certificates_left_out: page.certificates.len().saturating_sub(limits.certificates),
            tables,
            tables_left_out,
            figures: shown_figures(page, limits),
            figures_left_out: page.figures.len().saturating_sub(limits.figures),
            histograms: histograms.collect(),
            histograms_left_out: page.histograms.len().saturating_sub(limits.figures),
            classes,
            classes_left_out,
            closeups,
            closeups_left_out,
            closeups_missing: shown_to(&page.closeups_missing, 400),
            paths,
            paths_left_out,
            curves,
            curves_left_out,
            landscapes,
            landscapes_left_out: page.surfaces.len().saturating_sub(limits.surfaces),
            columns: COLUMNS
                .iter()
                .map(|column| Heading { heading: column.name.to_owned(), help: column.help.replace('`', "") })
                .collect(),
            outcomes,
            samples: page.samples.len(),
            rows,
            rows_in_all,
            manifest,
            manifest_cut,
            data,
        })
    }
}

/// The pictures of the curves.
fn shown_figures(page: &Page, limits: &Limits) -> Vec<Value> {
    let figures = page.figures.iter().take(limits.figures).map(|figure| {
        let mut figure = figure.clone();
        figure.curves.truncate(limits.curves);
        Value::from_safe_string(figure_svg(&figure))
    });
    figures.collect()
}

/// The pictures of quantities along paths, and how many were left out.
fn shown_paths(page: &Page, limits: &Limits) -> (Vec<Value>, usize) {
    let groups = path_groups(&page.paths);
    let left_out = groups.len().saturating_sub(limits.figures);
    let shown = groups.iter().take(limits.figures).map(|group| {
        let curves = &group[..group.len().min(limits.curves)];
        Value::from_safe_string(paths_svg(curves))
    });
    (shown.collect(), left_out)
}

/// The pictures of curves of a data set that are no distributions, and how many were left out.
fn shown_curves(page: &Page, limits: &Limits) -> (Vec<Value>, usize) {
    let mut groups = curve_groups(&page.curves);
    // densities of log p are drawn above, from the samples
    groups.retain(|group| group[0].component != "logp");
    let left_out = groups.len().saturating_sub(limits.figures);
    let shown = groups.iter().take(limits.figures).map(|group| {
        let curves = &group[..group.len().min(limits.curves)];
        Value::from_safe_string(curves_svg(curves))
    });
    (shown.collect(), left_out)
}

/// The manifest as text of at most the limit's bytes, and whether it was cut.
fn shown_manifest(page: &Page, limits: &Limits) -> Result<(String, bool), ReportError> {
    let mut manifest = serde_json::to_string_pretty(&page.manifest)?;
    let cut = manifest.len() > limits.manifest_bytes;
    let end = (0..=limits.manifest_bytes.min(manifest.len())).rev().find(|&end| manifest.is_char_boundary(end)).unwrap_or(0);
    manifest.truncate(end);
    Ok((manifest.lines().map(|line| shown_to(line, 4000)).collect::<Vec<_>>().join("\n"), cut))
}

fn shown_verdicts(page: &Page, limits: &Limits) -> (Vec<VerdictGroup>, usize) {
    let all = verdicts(&page.records);
    let left_out = all.len().saturating_sub(limits.verdicts);
    let mut groups: Vec<VerdictGroup> = Vec::new();
    for verdict in all.into_iter().take(limits.verdicts) {
        let shown = ShownVerdict {
            bar: Value::from_safe_string(bar_svg(&verdict)),
            superseded: verdict.superseded.map(|rate| format!("at most {}", percent(rate.value, rate.interval))),
            model: verdict.model,
            sentence: verdict.sentence,
            flags: first(verdict.flags, 12),
        };
        match groups.last_mut() {
            Some(group) if group.about == verdict.about => group.verdicts.push(shown),
            _ => groups.push(VerdictGroup { about: verdict.about, verdicts: vec![shown] }),
        }
    }
    (groups, left_out)
}

fn titled(title: &str) -> String {
    if title.is_empty() { "Robustness report".to_owned() } else { shown(title) }
}

fn of_rates(interval: &str) -> String {
    if interval.is_empty() { String::new() } else { format!(" (of rates: {})", shown(interval)) }
}

/// The doubts by code, in the order in which they were raised first; of each the first few.
fn raised(doubts: &[Doubt]) -> Vec<Raised> {
    let mut all: Vec<Raised> = Vec::new();
    for doubt in doubts {
        let code = shown(&doubt.code);
        let place = all.iter().position(|raised| raised.code == code).unwrap_or(all.len());
        if place == all.len() {
            all.push(Raised { code, about: Vec::new(), left_out: 0 });
        }
        match all[place].about.len() < 4 {
            true => all[place].about.push(shown_to(&doubt.raised_for, 200)),
            false => all[place].left_out += 1,
        }
    }
    all.truncate(20);
    all
}

fn shown_doubt(doubt: &Doubt) -> ShownDoubt {
    ShownDoubt {
        code: shown(&doubt.code),
        raised_if: shown_to(doubt.raised_if.trim_end_matches('.'), 600),
        explanation: shown_to(&doubt.explanation, 1200),
        advice: shown_to(&doubt.advice, 800),
        raised_for: shown_to(&doubt.raised_for, 300),
    }
}

fn shown_certificate(certificate: &Certificate) -> ShownCertificate {
    let rows = certificate.rows.iter().take(60).map(|row| ShownCheck {
        what: shown_to(&row.what, 300),
        words: [&row.check, &row.points, &row.directions].map(|word| shown(word)),
        samples: row.samples,
        threshold: shown_to(&row.threshold, 300),
        measured: shown_to(&row.measured, 400),
        outcome: shown(&row.outcome),
        failed: row.failed,
    });
    ShownCertificate { sentence: shown_to(&certificate.sentence, 1200), failed: certificate.failed, rows: rows.collect() }
}

fn shown_tables(page: &Page, limits: &Limits) -> (Vec<ShownTable>, usize) {
    let (mut left, mut left_out) = (limits.table_rows, 0);
    let mut shown = Vec::new();
    for table in tables(&page.records) {
        left_out += table.rows.len().saturating_sub(left);
        if left == 0 {
            continue;
        }
        let turned = table.is_turned();
        let rows = table.rows.into_iter().take(left).map(|row| ShownRow {
            model: row.model,
            cells: row
                .cells
                .into_iter()
                .take(limits.table_columns)
                .map(|cell| cell.map(|TableCell { value, interval, n }| ShownCell { value, interval, n }))
                .collect(),
            flags: first(row.flags, 12),
        });
        let rows: Vec<ShownRow> = rows.collect();
        left -= rows.len();
        let columns = table.columns.into_iter().take(limits.table_columns).map(|(heading, help)| Heading { heading, help });
        shown.push(ShownTable { title: table.title, turned, columns: columns.collect(), rows });
    }
    (shown, left_out)
}

/// At most `count` flags, and a sign that there were more.
fn first(mut flags: Vec<String>, count: usize) -> Vec<String> {
    if flags.len() > count {
        flags.truncate(count);
        flags.push("…".to_owned());
    }
    flags
}

/// As many rows as fit, in order.
fn rows(page: &Page, limits: &Limits) -> Vec<Row> {
    let mut left = limits.row_bytes;
    let mut rows = Vec::new();
    for record in &page.records {
        let row = row(record);
        let texts = row.words.iter().chain([&row.flags]).map(|text| written_bytes(text)).sum::<usize>();
        let bytes = 320 + texts + row.numbers.iter().map(String::len).sum::<usize>();
        if bytes > left {
            break;
        }
        left -= bytes;
        rows.push(row);
    }
    rows
}

/// Bytes of a text once it is escaped.
fn written_bytes(text: &str) -> usize {
    text.len() + 5 * text.bytes().filter(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'' | b'/')).count()
}

fn row(record: &Record) -> Row {
    let data = if record.split.is_empty() {
        shown(&record.dataset)
    } else {
        format!("{} ({})", shown(&record.dataset), shown(&record.split))
    };
    let component = if record.args.is_empty() {
        shown(&record.component)
    } else {
        format!("{}:{}", shown(&record.component), shown(&record.args.replace(',', ";")))
    };
    let threat = threat_text(&record.threat, record.eps);
    let cell = TableCell::of(record);
    let (value, interval) = cell.map_or_else(|| ("–".to_owned(), String::new()), |cell| (cell.value, cell.interval));
    Row {
        words: [shown(&record.model), data, threat, component, shown(&record.metric)],
        numbers: [value, interval, record.n.to_string(), record.forwards.to_string(), record.backwards.to_string()],
        flags: shown(&record.flags.join(" ")),
    }
}

fn shown_outcome(count: &crate::samples::OutcomeCount, page: &Page) -> Outcome {
    let outcomes: Vec<String> =
        count.outcomes.iter().take(12).map(|(outcome, n)| format!("{} {n}", shown_to(outcome, 40))).collect();
    let radius = page.records.iter().find(|record| record.threat == count.threat).and_then(|record| record.eps);
    let distance = match count.median_distance {
        None => "–".to_owned(),
        // the attack always goes to the border of the ball, which says nothing about the model
        Some(distance) if radius.is_some_and(|radius| is_border(distance, radius)) => "the radius".to_owned(),
        Some(distance) => significant(distance, 3),
    };
    Outcome {
        model: shown(&count.model),
        threat: shown(&count.threat),
        attack: shown(&count.attack),
        outcomes: outcomes.join(" · "),
        distance,
    }
}
