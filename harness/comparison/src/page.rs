//! `compare.html`: one file that needs no network and runs no script. Style and rules are those of the report page.

use minijinja::{Environment, context};
use serde::Serialize;

use super::{
    Across, Comparison, Difference, Relation, across_headings, across_line, difference_headings, difference_line, grids,
    relation_headings, relation_line,
};
use flatscape_report::{MAX_PAGE_BYTES, ReportError, STYLE, shown, shown_to, sweep_svg, without_script};

/// How much of a comparison the page shows: differences, and ids of flipped samples for each.
struct Limits {
    differences: usize,
    ids: usize,
    rows: usize,
    relations: usize,
    sweeps: usize,
}

/// From generous to spare; the first that keeps the page small enough is taken.
const LIMITS: &[Limits] = &[
    Limits { differences: 2_000, ids: 400, rows: 400, relations: 600, sweeps: 24 },
    Limits { differences: 500, ids: 100, rows: 200, relations: 200, sweeps: 8 },
    Limits { differences: 100, ids: 20, rows: 60, relations: 60, sweeps: 2 },
];

/// Most sentences about sample sizes for one pair.
const ADVICE: usize = 4;

#[derive(Serialize)]
struct Contents {
    command: String,
    runs: Vec<ShownRun>,
    facts: Vec<(String, Vec<String>)>,
    grids: Vec<ShownGrid>,
    pairs: Vec<ShownPair>,
    headings: [&'static str; 8],
    differences_left_out: usize,
    relations: Vec<ShownRelations>,
    relation_headings: [&'static str; 7],
    relations_left_out: usize,
    across: Vec<ShownAcross>,
    sweeps: Vec<minijinja::Value>,
    ranking: String,
    warnings: Vec<String>,
    notes: Vec<String>,
    conditions: Vec<ShownCondition>,
}

/// The correlations of one kind and one ground.
#[derive(Serialize)]
struct ShownRelations {
    title: String,
    /// Whether they are over models; otherwise over samples.
    models: bool,
    lines: Vec<[String; 7]>,
    /// What is to be known of some of them, each once.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct ShownAcross {
    title: String,
    headings: Vec<String>,
    lines: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct ShownRun {
    name: String,
    baseline: bool,
}

#[derive(Serialize)]
struct ShownGrid {
    title: String,
    apart: String,
    /// Threat models with the number of columns that each spans.
    spans: Vec<(String, usize)>,
    columns: Vec<String>,
    rows: Vec<ShownRow>,
    left_out: usize,
}

#[derive(Serialize)]
struct ShownRow {
    name: String,
    flags: Vec<String>,
    cells: Vec<Option<ShownCell>>,
}

#[derive(Serialize)]
struct ShownCell {
    value: String,
    interval: String,
    n: u64,
    rank: String,
    ranked: usize,
}

#[derive(Serialize)]
struct ShownPair {
    entry: String,
    reference: String,
    lines: Vec<ShownLine>,
    /// Measure, ids gained, ids lost.
    flips: Vec<(String, String, String)>,
    /// What the pairings rest on, each once.
    why: Vec<String>,
    /// How many images separate the two.
    advice: Vec<String>,
}

#[derive(Serialize)]
struct ShownLine {
    cells: [String; 8],
    /// Whether the interval leaves out zero.
    apart: bool,
}

#[derive(Serialize)]
struct ShownCondition {
    text: String,
    sentence: String,
    holds: bool,
}

/// The comparison as HTML. The same comparison gives the same bytes.
///
/// # Errors
/// When it cannot be kept under [`MAX_PAGE_BYTES`] even with most differences left out.
pub fn compare_html(comparison: &Comparison) -> Result<String, ReportError> {
    let mut bytes = 0;
    for limits in LIMITS {
        let text = filled(&contents(comparison, limits))?;
        bytes = text.len();
        if bytes <= MAX_PAGE_BYTES {
            return Ok(text);
        }
    }
    Err(ReportError::PageTooLarge { bytes, limit: MAX_PAGE_BYTES })
}

fn filled(contents: &Contents) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_keep_trailing_newline(true);
    // The name ends in `.html`, which turns escaping on.
    environment.add_template("compare.html", include_str!("compare.html"))?;
    let style = minijinja::Value::from_safe_string(format!("{STYLE}{}", include_str!("compare.css")));
    let policy = minijinja::Value::from_safe_string(without_script());
    let own = context! { style, policy };
    Ok(environment.get_template("compare.html")?.render(context! { ..own, ..minijinja::Value::from_serialize(contents) })?)
}

fn contents(comparison: &Comparison, limits: &Limits) -> Contents {
    let sentences = |texts: &[String]| texts.iter().take(60).map(|text| shown_to(text, 800)).collect();
    let run = |(place, name): (usize, &String)| ShownRun { name: shown(name), baseline: comparison.baseline == Some(place) };
    let fact = |fact: &super::Fact| (shown(&fact.what), fact.values.iter().map(|value| shown_to(value, 400)).collect());
    let condition = |condition: &super::Condition| ShownCondition {
        text: shown(&condition.text),
        sentence: shown_to(&condition.sentence, 800),
        holds: condition.holds,
    };
    Contents {
        command: shown_to(&comparison.command, 1000),
        runs: comparison.runs.iter().enumerate().take(200).map(run).collect(),
        facts: comparison.facts.iter().take(200).map(fact).collect(),
        grids: grids(comparison).into_iter().map(|grid| shown_grid(grid, limits)).collect(),
        pairs: pairs(comparison, limits),
        headings: difference_headings(),
        differences_left_out: comparison.differences.len().saturating_sub(limits.differences),
        relations: relations(comparison, limits),
        relation_headings: relation_headings(),
        relations_left_out: comparison.relations.len().saturating_sub(limits.relations),
        across: comparison.across.iter().take(limits.sweeps).map(|across| shown_across(comparison, across, limits)).collect(),
        sweeps: comparison.sweeps.iter().take(limits.sweeps).map(|s| minijinja::Value::from_safe_string(sweep_svg(s))).collect(),
        ranking: comparison.ranking.clone(),
        warnings: sentences(&comparison.warnings),
        notes: sentences(&comparison.notes),
        conditions: comparison.conditions.iter().take(500).map(condition).collect(),
    }
}

/// The correlations by kind and ground, in the order of the comparison.
fn relations(comparison: &Comparison, limits: &Limits) -> Vec<ShownRelations> {
    let shown_ones = &comparison.relations[..comparison.relations.len().min(limits.relations)];
    let groups =
        shown_ones.chunk_by(|a, b| a.over == b.over && a.ground == b.ground && (a.over == "models" || a.scope == b.scope));
    let group = |group: &[Relation]| {
        let first = &group[0];
        let models = first.over == "models";
        let title =
            if models { shown_to(&first.ground, 300) } else { format!("{}, {}", shown(&first.scope), shown(&first.ground)) };
        let mut notes: Vec<String> = Vec::new();
        for note in group.iter().map(|relation| shown_to(&relation.note, 300)).filter(|note| !note.is_empty()) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        ShownRelations { title, models, lines: group.iter().map(relation_line).collect(), notes }
    };
    groups.map(group).collect()
}

fn shown_across(comparison: &Comparison, across: &Across, limits: &Limits) -> ShownAcross {
    ShownAcross {
        title: shown_to(&across.ground, 300),
        headings: across_headings(comparison, across),
        lines: across.rows.iter().take(limits.rows).map(across_line).collect(),
    }
}

fn shown_grid(grid: super::Grid, limits: &Limits) -> ShownGrid {
    let mut spans: Vec<(String, usize)> = Vec::new();
    for (threat, _) in &grid.columns {
        match spans.last_mut() {
            Some((last, count)) if last == threat => *count += 1,
            _ => spans.push((threat.clone(), 1)),
        }
    }
    let cell = |cell: super::GridCell| ShownCell {
        value: cell.value,
        interval: cell.interval,
        n: cell.n,
        rank: cell.rank,
        ranked: cell.ranked,
    };
    let row = |row: super::GridRow| ShownRow {
        name: row.name,
        flags: row.flags.into_iter().take(12).collect(),
        cells: row.cells.into_iter().map(|c| c.map(cell)).collect(),
    };
    ShownGrid {
        title: grid.title,
        apart: shown_to(&grid.apart, 800),
        spans,
        columns: grid.columns.into_iter().map(|(_, name)| name).collect(),
        left_out: grid.rows.len().saturating_sub(limits.rows),
        rows: grid.rows.into_iter().take(limits.rows).map(row).collect(),
    }
}

/// The differences by pair of models, in order.
fn pairs(comparison: &Comparison, limits: &Limits) -> Vec<ShownPair> {
    let mut pairs: Vec<ShownPair> = Vec::new();
    let mut last = None;
    for difference in comparison.differences.iter().take(limits.differences) {
        if last != Some((difference.entry, difference.reference)) {
            last = Some((difference.entry, difference.reference));
            pairs.push(ShownPair {
                entry: comparison.entry_name(difference.entry),
                reference: comparison.entry_name(difference.reference),
                lines: Vec::new(),
                flips: Vec::new(),
                why: Vec::new(),
                advice: Vec::new(),
            });
        }
        if let Some(pair) = pairs.last_mut() {
            add(pair, comparison, difference, limits);
        }
    }
    pairs
}

fn add(pair: &mut ShownPair, comparison: &Comparison, difference: &Difference, limits: &Limits) {
    let cells = difference_line(comparison, difference);
    if let Some(flips) = difference.flips.as_ref().filter(|flips| !flips.gained.is_empty() || !flips.lost.is_empty()) {
        pair.flips.push((cells[0].clone(), ids(&flips.gained, limits), ids(&flips.lost, limits)));
    }
    pair.advice.extend(difference.advice(comparison).map(|advice| shown_to(&advice, 400)).filter(|_| pair.advice.len() < ADVICE));
    let why = shown_to(&difference.why, 400);
    if !pair.why.contains(&why) {
        pair.why.push(why);
    }
    let apart = difference.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0);
    pair.lines.push(ShownLine { cells, apart });
}

fn ids(ids: &[u64], limits: &Limits) -> String {
    let first: Vec<String> = ids.iter().take(limits.ids).map(u64::to_string).collect();
    match ids.len() {
        0 => "none".to_owned(),
        n if n > limits.ids => format!("{} … and {} more in compare.csv", first.join(", "), n - limits.ids),
        _ => first.join(", "),
    }
}
