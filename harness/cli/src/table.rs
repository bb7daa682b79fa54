//! The tables that end an audit: models down, measurements across, every number with its interval.

use std::io::IsTerminal;

use comfy_table::{Cell, CellAlignment, Table, presets};
use flatscape_audit::certificate::Certificate;
use flatscape_report::{Record, shown, tables};

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

fn text(table: &flatscape_report::Table) -> String {
    let mut drawn = Table::new();
    drawn.load_preset(if std::io::stdout().is_terminal() { presets::UTF8_HORIZONTAL_ONLY } else { presets::ASCII_MARKDOWN });
    let headings = table.columns.iter().map(|(heading, _)| heading.as_str());
    drawn.set_header(std::iter::once("model").chain(headings));
    for row in &table.rows {
        let mut line = vec![Cell::new(shown(&row.model))];
        line.extend(row.cells.iter().map(|cell| {
            let words = cell.as_ref().map_or_else(String::new, |c| format!("{} {}", c.value, c.interval).trim().to_owned());
            Cell::new(words).set_alignment(CellAlignment::Right)
        }));
        if row.cells.iter().all(Option::is_none) {
            line.truncate(1);
            line.push(Cell::new(format!("not measured: {}", row.flags.join(", "))));
        }
        drawn.add_row(line);
    }
    let samples = table.rows.iter().flat_map(|r| r.cells.iter().flatten()).map(|c| c.n).max().unwrap_or(0);
    format!("{} (n = {samples})\n{drawn}", table.title)
}
