//! What goes into the page's template: everything cut to a bounded size, spelled and counted. It knows the page's limits and
//! nothing about HTML.

use std::collections::BTreeMap;

use minijinja::Value;
use serde::Serialize;

use super::gaps::{ShownGap, ShownRequirement, shown_gaps, shown_requirements};
use super::{Certificate, Doubt, Page};
use crate::columns::COLUMNS;
use crate::error::ReportError;
use crate::figure::figure_svg;
use crate::landscape::{BOX_HEIGHT, EYE, axes_in_words, bare_svg, centre, colour_bar_svg, level, points_without_height, ticks};
use crate::palette::{ALARM, height_colour};
use crate::paths::{path_groups, paths_svg};
use crate::record::Record;
use crate::surface::{Surface, range_of};
use crate::table::{TableCell, tables};
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
    /// Bytes of the table of all rows, about.
    row_bytes: usize,
    manifest_bytes: usize,
}

/// From generous to strict; the first that keeps the page small enough is used.
#[rustfmt::skip]
pub(crate) const LIMITS: &[Limits] = &[
    Limits { verdicts: 60, table_rows: 200, table_columns: 24, figures: 12, curves: 24, surfaces: 16, grid: 41, doubts: 60, certificates: 60, outcomes: 200, row_bytes: 1_200_000, manifest_bytes: 200_000 },
    Limits { verdicts: 60, table_rows: 100, table_columns: 16, figures: 6,  curves: 14, surfaces: 16, grid: 25, doubts: 60, certificates: 30, outcomes: 60,  row_bytes: 600_000,   manifest_bytes: 60_000 },
    Limits { verdicts: 20, table_rows: 40,  table_columns: 8,  figures: 2,  curves: 7,  surfaces: 4,  grid: 21, doubts: 20, certificates: 8,  outcomes: 20,  row_bytes: 200_000,   manifest_bytes: 20_000 },
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
    paths: Vec<Value>,
    paths_left_out: usize,
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
struct LandscapeGroup {
    title: String,
    landscapes: Vec<Landscape>,
    bar: Value,
    axes: String,
    thinned: bool,
}

#[derive(Serialize)]
struct Landscape {
    index: usize,
    heading: String,
    about: String,
    picture: Value,
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

/// What the page's script reads.
#[derive(Serialize)]
struct ScriptData {
    eye: (f64, f64),
    #[serde(rename = "box")]
    box_height: f64,
    colours: Vec<String>,
    alarm: String,
    scales: Vec<Scale>,
    surfaces: Vec<ScriptSurface>,
}

/// One scale of heights, shared by all surfaces of a kind.
#[derive(Serialize)]
struct Scale {
    range: (f64, f64),
    ticks: Vec<(f64, String)>,
}

#[derive(Serialize)]
struct ScriptSurface {
    scale: usize,
    pixels: bool,
    x: Vec<Option<f64>>,
    y: Vec<Option<f64>>,
    x_words: [String; 3],
    y_words: [String; 3],
    /// Heights by row; `null` where not finite.
    z: Vec<Option<f64>>,
    classes: Vec<i64>,
    /// Place of the clean sample.
    centre: Option<usize>,
    /// Runs of cells whose class is not that of the clean sample: row, first column, column after the last.
    moved: Vec<(usize, usize, usize)>,
}

impl Contents {
    /// Everything of `page` within `limits`.
    pub(crate) fn of(page: &Page, limits: &Limits) -> Result<Contents, ReportError> {
        let (verdicts, verdicts_left_out) = shown_verdicts(page, limits);
        let (tables, tables_left_out) = shown_tables(page, limits);
        let (rows, rows_in_all) = (rows(page, limits), page.records.len());
        let (landscapes, data) = landscapes(page, limits)?;
        let figures = page.figures.iter().take(limits.figures).map(|figure| {
            let mut figure = figure.clone();
            figure.curves.truncate(limits.curves);
            Value::from_safe_string(figure_svg(&figure))
        });
        let (paths, paths_left_out) = shown_paths(page, limits);
        let (manifest, manifest_cut) = shown_manifest(page, limits)?;
        let (gaps, gaps_left_out) = shown_gaps(page, limits.outcomes);
        let outcomes = page.samples.outcomes();
        let interval = if page.interval.is_empty() { String::new() } else { format!(" (of rates: {})", shown(&page.interval)) };
        Ok(Contents {
            title: if page.title.is_empty() { "Robustness report".to_owned() } else { shown(&page.title) },
            command: shown_to(&page.command, 1000),
            partial: page.partial.map(|partial| PartialRun { done: partial.done, of: partial.of }),
            interval,
            advice: shown_to(&page.advice, 400),
            verdicts,
            verdicts_left_out,
            doubts: page.doubts.iter().take(limits.doubts).map(shown_doubt).collect(),
            doubts_left_out: page.doubts.len().saturating_sub(limits.doubts),
            requirements: shown_requirements(page, limits.outcomes),
            gaps,
            gaps_left_out,
            certificates: page.certificates.iter().take(limits.certificates).map(shown_certificate).collect(),
            certificates_left_out: page.certificates.len().saturating_sub(limits.certificates),
            tables,
            tables_left_out,
            figures: figures.collect(),
            figures_left_out: page.figures.len().saturating_sub(limits.figures),
            paths,
            paths_left_out,
            landscapes,
            landscapes_left_out: page.surfaces.len().saturating_sub(limits.surfaces),
            columns: COLUMNS
                .iter()
                .map(|column| Heading { heading: column.name.to_owned(), help: column.help.replace('`', "") })
                .collect(),
            outcomes: outcomes.iter().take(limits.outcomes).map(shown_outcome).collect(),
            samples: page.samples.len(),
            rows,
            rows_in_all,
            manifest,
            manifest_cut,
            data,
        })
    }
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

fn shown_doubt(doubt: &Doubt) -> ShownDoubt {
    ShownDoubt {
        code: shown(&doubt.code),
        raised_if: shown_to(doubt.raised_if.trim_end_matches('.'), 300),
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
        shown.push(ShownTable { title: table.title, columns: columns.collect(), rows });
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

fn shown_outcome(count: &crate::samples::OutcomeCount) -> Outcome {
    let outcomes: Vec<String> =
        count.outcomes.iter().take(12).map(|(outcome, n)| format!("{} {n}", shown_to(outcome, 40))).collect();
    Outcome {
        model: shown(&count.model),
        threat: shown(&count.threat),
        attack: shown(&count.attack),
        outcomes: outcomes.join(" · "),
        distance: count.median_distance.map_or_else(|| "–".to_owned(), |distance| significant(distance, 3)),
    }
}

/// The landscapes by sample and directions, and what the script needs to turn them.
fn landscapes(page: &Page, limits: &Limits) -> Result<(Vec<LandscapeGroup>, Value), ReportError> {
    let surfaces: Vec<&Surface> = page.surfaces.iter().take(limits.surfaces).collect();
    let mut groups: Vec<(LandscapeGroup, usize)> = Vec::new();
    let mut group_places: BTreeMap<(&str, u64, &str, &str), usize> = BTreeMap::new();
    let mut scale_places: BTreeMap<bool, usize> = BTreeMap::new();
    let mut data = ScriptData {
        eye: EYE,
        box_height: BOX_HEIGHT,
        colours: (0..64).map(|k| height_colour(f64::from(k) / 63.0, (0.0, 1.0)).hex()).collect(),
        alarm: ALARM.hex(),
        scales: Vec::new(),
        surfaces: Vec::new(),
    };
    for (index, &surface) in surfaces.iter().enumerate() {
        let scale = *scale_places.entry(surface.is_likelihood()).or_insert_with(|| {
            let range = range_of(page.surfaces.iter().filter(|other| other.is_likelihood() == surface.is_likelihood()));
            data.scales.push(Scale { range, ticks: ticks(range).into_iter().map(|tick| (tick, significant(tick, 3))).collect() });
            data.scales.len() - 1
        });
        let range = data.scales[scale].range;
        let key = (surface.kind.as_str(), surface.sample_id, surface.x_axis.name.as_str(), surface.y_axis.name.as_str());
        let group = *group_places.entry(key).or_insert_with(|| {
            let group = LandscapeGroup {
                title: format!("{} around sample {}, label {}", surface.height_name(), surface.sample_id, surface.label),
                landscapes: Vec::new(),
                bar: Value::from_safe_string(colour_bar_svg(range, surface.height_name())),
                axes: shown_to(&axes_in_words(surface), 400),
                thinned: false,
            };
            groups.push((group, scale));
            groups.len() - 1
        });
        let group = &mut groups[group].0;
        let drawn = surface.thinned(limits.grid);
        group.thinned |=
            drawn.x_axis.values.len() < surface.x_axis.values.len() || drawn.y_axis.values.len() < surface.y_axis.values.len();
        let left_out = points_without_height(surface);
        let about = if left_out > 0 { format!("{left_out} points without a finite value are left out") } else { String::new() };
        let picture = Value::from_safe_string(bare_svg(&drawn, range));
        group.landscapes.push(Landscape { index, heading: shown_to(surface.heading(), 60), about, picture });
        data.surfaces.push(script_surface(&drawn, scale));
    }
    let json = serde_json::to_string(&data)?;
    Ok((groups.into_iter().map(|(group, _)| group).collect(), Value::from_safe_string(inert(&json))))
}

fn script_surface(surface: &Surface, scale: usize) -> ScriptSurface {
    let (columns, rows) = (surface.x_axis.values.len(), surface.y_axis.values.len());
    let at = centre(surface);
    let clean = at.and_then(|(i, j)| surface.class(i, j));
    let mut moved = Vec::new();
    for j in (0..rows).filter(|_| clean.is_some()) {
        let mut from = None;
        for i in 0..=columns {
            let other = i < columns && surface.class(i, j).is_some_and(|class| Some(class) != clean);
            match (other, from) {
                (true, None) => from = Some(i),
                (false, Some(first)) => {
                    moved.push((j, first, i));
                    from = None;
                }
                _ => {}
            }
        }
    }
    let words = |values: &[f64]| {
        let spelled = |value: Option<f64>| {
            value.map_or_else(String::new, |value| if surface.in_pixels() { level(value) } else { significant(value, 3) })
        };
        let (first, last) = (values.first().copied(), values.last().copied());
        [spelled(first), spelled(first.zip(last).map(|(first, last)| (first + last) / 2.0)), spelled(last)]
    };
    ScriptSurface {
        scale,
        pixels: surface.in_pixels(),
        x: surface.x_axis.values.iter().map(|&value| short(value)).collect(),
        y: surface.y_axis.values.iter().map(|&value| short(value)).collect(),
        x_words: words(&surface.x_axis.values),
        y_words: words(&surface.y_axis.values),
        z: (0..rows).flat_map(|j| (0..columns).map(move |i| short(surface.height(i, j)))).collect(),
        classes: surface.predicted.iter().copied().take(columns * rows).collect(),
        centre: at.map(|(i, j)| j * columns + i),
        moved,
    }
}

/// Four significant digits; `None` where not finite.
fn short(value: f64) -> Option<f64> {
    if value.is_finite() { format!("{value:.3e}").parse().ok() } else { None }
}

/// JSON that cannot end or open an HTML element.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out += &format!("\\u{:04x}", u32::from(character)),
            other => out.push(other),
        }
    }
    out
}
