//! What becomes of each class: how many samples of it are right, how many stay right, and what the others become. It spells counts
//! and rates that it is given.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Page;
use crate::text::{rate_parts, shown, shown_to};

/// The classes of one model under one threat model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassTable {
    /// Name of the model.
    pub model: String,
    /// Threat model as written; empty where nothing was attacked.
    pub threat: String,
    /// One row per label that occurs, ascending.
    pub rows: Vec<ClassRow>,
}

/// The samples of one class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassRow {
    /// The label.
    pub label: i64,
    /// Samples with this label.
    pub n: u64,
    /// Share that is right unperturbed, and its interval.
    pub clean: (f64, (f64, f64)),
    /// Share that is right and that no attack broke, and its interval; absent where nothing was attacked.
    pub robust: Option<(f64, (f64, f64))>,
    /// What the samples become, each counted once: the label where the sample stands, the class of its nearest adversarial example where
    /// it is broken, the predicted class where it is wrong unperturbed. `None` is a broken sample whose class is not known.
    pub becomes: BTreeMap<Option<i64>, u64>,
}

/// Most classes that have a column each.
const COLUMNS: usize = 12;
/// What a row names of what its samples become, where classes have no columns.
const NAMED: usize = 4;

#[derive(Serialize)]
pub(super) struct ShownClasses {
    title: String,
    attacked: bool,
    /// The classes that samples become, one column each; empty where they are too many.
    columns: Vec<String>,
    rows: Vec<ShownClass>,
    left_out: usize,
}

#[derive(Serialize)]
struct ShownClass {
    name: String,
    n: u64,
    clean: (String, String),
    robust: Option<(String, String)>,
    cells: Vec<ClassCell>,
    /// The most frequent classes in words, where classes have no columns.
    words: String,
}

#[derive(Serialize)]
struct ClassCell {
    count: u64,
    /// `stands` on the diagonal; else how dark the cell is: empty, `few`, `some`, `many`.
    shade: &'static str,
}

/// A class by its name and number: `3 · Dress`, or its number where it has no other name.
pub(crate) fn class_words(names: &[String], class: i64) -> String {
    let name = usize::try_from(class).ok().and_then(|place| names.get(place)).map(|name| shown_to(name, 40));
    match name {
        Some(name) if !name.is_empty() && name != class.to_string() => format!("{class} · {name}"),
        _ => class.to_string(),
    }
}

/// At most `limit` tables of at most `rows` rows, and how many tables were left out.
pub(super) fn shown_classes(page: &Page, limit: usize, rows: usize) -> (Vec<ShownClasses>, usize) {
    let tables = page.classes.iter().take(limit).map(|table| shown_table(table, &page.class_names, rows));
    (tables.collect(), page.classes.len().saturating_sub(limit))
}

fn shown_table(table: &ClassTable, names: &[String], rows: usize) -> ShownClasses {
    let mut classes: Vec<Option<i64>> = table.rows.iter().flat_map(|row| row.becomes.keys().copied()).collect();
    classes.extend(table.rows.iter().map(|row| Some(row.label)));
    // what is not known stands last
    classes.sort_by_key(|class| (class.is_none(), *class));
    classes.dedup();
    if classes.len() > COLUMNS {
        classes.clear();
    }
    let word = |class: &Option<i64>| class.map_or_else(|| "?".to_owned(), |class| class_words(names, class));
    let title =
        if table.threat.is_empty() { shown(&table.model) } else { format!("{}, {}", shown(&table.model), shown(&table.threat)) };
    let parts = |(value, interval): (f64, (f64, f64))| rate_parts(value, Some(interval));
    let row = |row: &ClassRow| {
        let others = row.becomes.iter().filter(|(class, _)| **class != Some(row.label));
        let mut others: Vec<(&Option<i64>, u64)> = others.map(|(class, &count)| (class, count)).collect();
        others.sort_by_key(|&(class, count)| (std::cmp::Reverse(count), *class));
        let mut words: Vec<String> =
            others.iter().take(NAMED).map(|(class, count)| format!("{} ({count})", word(class))).collect();
        if others.len() > NAMED {
            words.push(format!("{} others", others.len() - NAMED));
        }
        ShownClass {
            name: class_words(names, row.label),
            n: row.n,
            clean: parts(row.clean),
            robust: row.robust.map(parts),
            cells: classes.iter().map(|class| cell(row, *class)).collect(),
            words: words.join(", "),
        }
    };
    ShownClasses {
        title,
        attacked: table.rows.iter().any(|row| row.robust.is_some()),
        columns: classes.iter().map(word).collect(),
        rows: table.rows.iter().take(rows).map(row).collect(),
        left_out: table.rows.len().saturating_sub(rows),
    }
}

fn cell(row: &ClassRow, class: Option<i64>) -> ClassCell {
    let count = row.becomes.get(&class).copied().unwrap_or(0);
    let share = count as f64 / row.n.max(1) as f64;
    let shade = match share {
        _ if class == Some(row.label) => "stands",
        0.0 => "",
        share if share < 0.05 => "few",
        share if share < 0.2 => "some",
        _ => "many",
    };
    ClassCell { count, shade }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_its_number_and_its_name() {
        let names = ["T-shirt".to_owned(), "1".to_owned(), "\u{202e}".to_owned()];
        let words: Vec<String> = [-1, 0, 1, 2, 3].map(|class| class_words(&names, class)).into();
        assert_eq!(words, ["-1", "0 · T-shirt", "1", "2 · \\u{202e}", "3"]);
    }

    #[test]
    fn many_classes_are_named_and_few_have_columns() {
        let row = |label: i64, becomes: &[(Option<i64>, u64)]| ClassRow {
            label,
            n: becomes.iter().map(|(_, count)| count).sum(),
            robust: Some((0.5, (0.4, 0.6))),
            becomes: becomes.iter().copied().collect(),
            ..ClassRow::default()
        };
        let few = ClassTable { rows: vec![row(0, &[(Some(0), 5), (Some(4), 2), (None, 1)])], ..ClassTable::default() };
        let shown = shown_table(&few, &[], 10);
        assert_eq!(shown.columns, ["0", "4", "?"]);
        assert_eq!(
            shown.rows[0].cells.iter().map(|c| (c.count, c.shade)).collect::<Vec<_>>(),
            [(5, "stands"), (2, "many"), (1, "some")]
        );
        let all: Vec<(Option<i64>, u64)> = (0..40).map(|class| (Some(class), 1 + class as u64 / 38)).collect();
        let shown = shown_table(&ClassTable { rows: vec![row(0, &all), row(1, &all)], ..ClassTable::default() }, &[], 1);
        assert!(shown.columns.is_empty() && shown.left_out == 1);
        assert_eq!(shown.rows[0].words, "38 (2), 39 (2), 1 (1), 2 (1), 35 others");
    }
}
