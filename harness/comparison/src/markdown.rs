//! `compare.md`: the comparison as a block that a pull request or a model card can hold. Names from outside are escaped, so that
//! they can neither format nor link.

use super::{
    Comparison, across_headings, across_line, difference_headings, difference_line, grids, relation_headings, relation_line,
};
use flatscape_report::{markdown, shown, shown_to};

/// Most differences that the block holds; `compare.csv` has all.
const MOST: usize = 60;

/// The comparison as Markdown. The same comparison gives the same bytes.
pub fn compare_markdown(comparison: &Comparison) -> String {
    let mut text = String::from("## Runs compared\n\n");
    for warning in &comparison.warnings {
        text += &format!("**Unreliable:** {}\n\n", markdown(&shown_to(warning, 600)));
    }
    for (place, run) in comparison.runs.iter().enumerate() {
        let role = if comparison.baseline == Some(place) { " (baseline)" } else { "" };
        text += &format!("{}. {}{role}\n", place + 1, markdown(&shown(run)));
    }
    facts(comparison, &mut text);
    for grid in grids(comparison) {
        text += &format!("\n### {}\n\n", markdown(&grid.title));
        if !grid.apart.is_empty() {
            text += &format!("{}\n\n", markdown(&shown_to(&grid.apart, 600)));
        }
        let columns =
            grid.columns.iter().map(|(threat, name)| if threat.is_empty() { name.clone() } else { format!("{threat}: {name}") });
        let mut lines = vec![line(std::iter::once("model".to_owned()).chain(columns))];
        lines.push(format!("| --- |{}\n", " ---: |".repeat(grid.columns.len())));
        for row in &grid.rows {
            let flags = if row.flags.is_empty() { String::new() } else { format!(" ({})", row.flags.join(", ")) };
            let cells = row.cells.iter().map(|cell| match cell {
                Some(cell) => {
                    let rank = if cell.rank.is_empty() { String::new() } else { format!(", rank {}", cell.rank) };
                    let space = if cell.interval.is_empty() { "" } else { " " };
                    format!("{}{space}{} n={}{rank}", cell.value, cell.interval, cell.n)
                }
                None => "–".to_owned(),
            });
            lines.push(line(std::iter::once(format!("{}{flags}", row.name)).chain(cells)));
        }
        text += &lines.concat();
    }
    if !comparison.ranking.is_empty() {
        text += &format!("\n{}\n", markdown(&comparison.ranking));
    }
    differences(comparison, &mut text);
    across(comparison, &mut text);
    relations(comparison, &mut text);
    for condition in &comparison.conditions {
        let verdict = if condition.holds { "holds" } else { "**does not hold**" };
        text +=
            &format!("\n- {} {verdict}: {}", markdown(&shown(&condition.text)), markdown(&shown_to(&condition.sentence, 600)));
    }
    if !comparison.conditions.is_empty() {
        text.push('\n');
    }
    for note in &comparison.notes {
        text += &format!("\n{}\n", markdown(&shown_to(note, 600)));
    }
    text
}

fn facts(comparison: &Comparison, text: &mut String) {
    if comparison.facts.is_empty() {
        return;
    }
    *text += "\n### What differs between the runs\n\n";
    *text += &line(std::iter::once(String::new()).chain(comparison.runs.iter().map(|run| shown(run))));
    *text += &format!("| --- |{}\n", " --- |".repeat(comparison.runs.len()));
    for fact in &comparison.facts {
        *text += &line(std::iter::once(fact.what.clone()).chain(fact.values.iter().map(|value| shown_to(value, 300))));
    }
}

fn differences(comparison: &Comparison, text: &mut String) {
    let mut last = None;
    for difference in comparison.differences.iter().take(MOST) {
        let pair = (difference.entry, difference.reference);
        if last != Some(pair) {
            let [entry, reference] = [pair.0, pair.1].map(|entry| markdown(&comparison.entry_name(entry)));
            *text += &format!("\n### {entry} minus {reference}\n\n");
            *text += &line(difference_headings().map(str::to_owned).into_iter());
            *text += "| --- | ---: | ---: | ---: | --- | --- | ---: | ---: |\n";
            last = Some(pair);
        }
        *text += &line(difference_line(comparison, difference).into_iter());
    }
    if comparison.differences.len() > MOST {
        *text += &format!("\ncompare.csv has {} further differences.\n", comparison.differences.len() - MOST);
    }
}

fn across(comparison: &Comparison, text: &mut String) {
    for across in &comparison.across {
        *text += &format!("\n### Across attacks: {}\n\n", markdown(&shown_to(&across.ground, 300)));
        *text += &line(across_headings(comparison, across).into_iter());
        *text += &format!("| --- | --- | ---: |{}\n", " ---: |".repeat(across.entries.len()));
        *text += &across.rows.iter().map(|row| line(across_line(row).into_iter())).collect::<String>();
    }
}

/// The correlations over models; those over samples are in `correlations.csv`.
fn relations(comparison: &Comparison, text: &mut String) {
    let models: Vec<_> = comparison.relations.iter().filter(|relation| relation.over == "models").take(MOST).collect();
    if models.is_empty() {
        return;
    }
    *text += "\n### Rank correlations over models\n\n";
    *text += &line(relation_headings().map(str::to_owned).into_iter());
    *text += "| --- | --- | --- | ---: | ---: | ---: | --- |\n";
    *text += &models.iter().map(|relation| line(relation_line(relation).into_iter())).collect::<String>();
}

/// A row of a table.
fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.map(|cell| markdown(&cell)).collect();
    format!("| {} |\n", cells.join(" | "))
}
