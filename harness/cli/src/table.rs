//! The tables that end an audit: models down, measurements across, every number with its interval.

use std::io::IsTerminal;

use comfy_table::{Cell, CellAlignment, Table, presets};
use flatscape_certificate::Certificate;
use flatscape_comparison::{
    Across, Comparison, Grid, GridCell, across_headings, across_line, difference_headings, difference_line, grids,
    relation_headings, relation_line,
};
use flatscape_report::{Record, TableCell, TableRow, shown, shown_to, tables};

/// One table per data set and threat model, as text.
pub fn results(records: &[Record]) -> String {
    tables(records).iter().map(text).collect::<Vec<_>>().join("\n\n")
}

/// The checks of a gradient certificate, as text.
pub fn certificate(certificate: &Certificate) -> String {
    let mut drawn = Table::new();
    drawn.load_preset(if std::io::stdout().is_terminal() { presets::UTF8_HORIZONTAL_ONLY } else { presets::ASCII_MARKDOWN });
    drawn.set_header(["check", "points", "samples", "directions", "allowed", "found", "outcome"]);
    for row in &certificate.rows {
        let words = [&row.check, &row.points, &row.samples.to_string(), &row.directions, &row.threshold, &row.measured];
        drawn.add_row(words.map(|word| shown(word)).into_iter().chain([row.outcome.word().to_owned()]));
    }
    drawn.to_string()
}

/// Most differences that are printed; `compare.csv` has all.
const MOST_DIFFERENCES: usize = 40;

/// Longest sentence that is printed, in characters.
const SENTENCE: usize = 600;

/// Runs side by side: what differs between them first, then values, differences and conditions.
pub fn comparison(comparison: &Comparison) -> String {
    let mut parts: Vec<String> =
        comparison.warnings.iter().map(|warning| format!("UNRELIABLE: {}", shown_to(warning, SENTENCE))).collect();
    if comparison.runs.len() > 1 {
        parts.push(differing_facts(comparison));
    }
    parts.extend(comparison.notes.iter().map(|note| format!("note: {}", shown_to(note, SENTENCE))));
    parts.extend(grids(comparison).iter().map(grid));
    if !comparison.ranking.is_empty() {
        parts.push(comparison.ranking.clone());
    }
    parts.extend(differences(comparison));
    parts.extend(across(comparison));
    parts.extend(relations(comparison));
    for condition in &comparison.conditions {
        let verdict = if condition.holds { "holds" } else { "does not hold" };
        parts.push(format!("{} {verdict}: {}", shown(&condition.text), shown_to(&condition.sentence, SENTENCE)));
    }
    parts.join("\n\n")
}

fn differing_facts(comparison: &Comparison) -> String {
    if comparison.facts.is_empty() {
        return "The runs do not differ in program, engine, device, seed, data, models, plugins, threat models or options."
            .to_owned();
    }
    let mut drawn = blank();
    drawn.set_header(std::iter::once("differs".to_owned()).chain(comparison.runs.iter().map(|run| shown(run))));
    for fact in &comparison.facts {
        drawn.add_row(std::iter::once(fact.what.clone()).chain(fact.values.iter().map(|value| shown_to(value, SENTENCE))));
    }
    drawn.to_string()
}

fn grid(grid: &Grid) -> String {
    // a cell has several lines on a terminal, and one where another program may read it
    let gap = if std::io::stdout().is_terminal() { "\n" } else { " " };
    let mut drawn = blank();
    let heading =
        |(threat, name): &(String, String)| if threat.is_empty() { name.clone() } else { format!("{threat}{gap}{name}") };
    drawn.set_header(std::iter::once("model".to_owned()).chain(grid.columns.iter().map(heading)));
    let words = |cell: &GridCell| {
        let rank = if cell.rank.is_empty() { String::new() } else { format!("{gap}rank {} of {}", cell.rank, cell.ranked) };
        let space = if cell.interval.is_empty() { "" } else { " " };
        format!("{}{space}{}{gap}n={}{rank}", cell.value, cell.interval, cell.n)
    };
    for row in &grid.rows {
        let flags = if row.flags.is_empty() { String::new() } else { format!("{gap}{}", row.flags.join(", ")) };
        let mut line = vec![Cell::new(format!("{}{flags}", row.name))];
        line.extend(
            row.cells
                .iter()
                .map(|cell| Cell::new(cell.as_ref().map_or("–".to_owned(), words)).set_alignment(CellAlignment::Right)),
        );
        drawn.add_row(line);
    }
    let apart = if grid.apart.is_empty() { String::new() } else { format!("{}\n", shown_to(&grid.apart, SENTENCE)) };
    format!("{}\n{apart}{drawn}", grid.title)
}

/// One table per pair, and how many differences are left out.
fn differences(comparison: &Comparison) -> Vec<String> {
    let shown_ones = &comparison.differences[..comparison.differences.len().min(MOST_DIFFERENCES)];
    let mut parts: Vec<String> = Vec::new();
    for pair in shown_ones.chunk_by(|a, b| (a.entry, a.reference) == (b.entry, b.reference)) {
        let mut drawn = blank();
        drawn.set_header(difference_headings());
        pair.iter().for_each(|difference| {
            drawn.add_row(difference_line(comparison, difference));
        });
        let [entry, reference] = [pair[0].entry, pair[0].reference].map(|entry| comparison.entry_name(entry));
        let mut why: Vec<&str> = pair.iter().map(|difference| difference.why.as_str()).collect();
        why.dedup();
        let advice: String =
            pair.iter().filter_map(|d| d.advice(comparison)).take(MOST_ADVICE).map(|a| format!("\n{a}")).collect();
        parts.push(format!("{entry} minus {reference}\n{}\n{drawn}{advice}", why.join("\n")));
    }
    let left_out = comparison.differences.len() - shown_ones.len();
    if left_out > 0 {
        parts.push(format!("{left_out} further differences are in compare.csv."));
    }
    parts
}

/// Most sentences about sample sizes for one pair.
const MOST_ADVICE: usize = 2;

/// The accuracies across attacks, where models differ in them.
fn across(comparison: &Comparison) -> Vec<String> {
    let one = |across: &Across| {
        let mut drawn = blank();
        drawn.set_header(across_headings(comparison, across));
        across.rows.iter().for_each(|row| {
            drawn.add_row(across_line(row));
        });
        format!("Across attacks: {}\n{drawn}", shown_to(&across.ground, SENTENCE))
    };
    comparison.across.iter().map(one).collect()
}

/// The correlations over models; those over samples are in `correlations.csv`.
fn relations(comparison: &Comparison) -> Option<String> {
    let models: Vec<_> = comparison.relations.iter().filter(|r| r.over == "models").take(MOST_DIFFERENCES).collect();
    let mut drawn = blank();
    drawn.set_header(relation_headings());
    models.iter().for_each(|relation| {
        drawn.add_row(relation_line(relation));
    });
    let left_out = comparison.relations.len() - models.len();
    let notes = models.iter().map(|relation| relation.note.as_str()).filter(|note| !note.is_empty());
    let mut notes: Vec<&str> = notes.collect();
    notes.dedup();
    let more = format!("{left_out} further correlations, those over samples among them, are in correlations.csv.");
    match (models.is_empty(), left_out) {
        (true, 0) => None,
        (true, _) => Some(more),
        (false, 0) => Some(format!("Rank correlations over models\n{drawn}\n{}", notes.join("\n")).trim_end().to_owned()),
        (false, _) => Some(format!("Rank correlations over models\n{drawn}\n{}\n{more}", notes.join("\n"))),
    }
}

fn blank() -> Table {
    let mut drawn = Table::new();
    drawn.load_preset(if std::io::stdout().is_terminal() { presets::UTF8_HORIZONTAL_ONLY } else { presets::ASCII_MARKDOWN });
    drawn
}

fn text(table: &flatscape_report::Table) -> String {
    let mut drawn = Table::new();
    drawn.load_preset(if std::io::stdout().is_terminal() { presets::UTF8_HORIZONTAL_ONLY } else { presets::ASCII_MARKDOWN });
    let words = |cell: &Option<TableCell>| {
        let words = cell.as_ref().map_or_else(String::new, |c| format!("{} {}", c.value, c.interval).trim().to_owned());
        Cell::new(words).set_alignment(CellAlignment::Right)
    };
    if table.is_turned() {
        drawn.set_header(std::iter::once("measure".to_owned()).chain(table.rows.iter().map(|row| shown(&row.model))));
        for (place, (heading, _)) in table.columns.iter().enumerate() {
            let cells = table.rows.iter().map(|row| row.cells.get(place).map_or_else(|| Cell::new(""), words));
            drawn.add_row(std::iter::once(Cell::new(heading)).chain(cells).collect::<Vec<_>>());
        }
    } else {
        let headings = table.columns.iter().map(|(heading, _)| heading.as_str());
        drawn.set_header(std::iter::once("model").chain(headings));
        for row in table.rows.iter().filter(|row| is_measured(row)) {
            drawn.add_row(std::iter::once(Cell::new(shown(&row.model))).chain(row.cells.iter().map(words)).collect::<Vec<_>>());
        }
    }
    let missing = table.rows.iter().filter(|row| !is_measured(row));
    let missing = missing.map(|row| format!("\n{}: not measured: {}", shown(&row.model), row.flags.join(", ")));
    let samples = table.rows.iter().flat_map(|r| r.cells.iter().flatten()).map(|c| c.n).max().unwrap_or(0);
    format!("{} (n = {samples})\n{drawn}{}", table.title, missing.collect::<String>())
}

fn is_measured(row: &TableRow) -> bool {
    row.cells.iter().any(Option::is_some)
}
