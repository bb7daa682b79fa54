//! The tables of a comparison: one per set of samples, models down and measures across. A threat model is part of the measure, so
//! that another one has a column of its own.

use flatscape_report::{fixed, quantity_parts, rate_parts, shown, significant};

use super::{Comparison, Difference};

/// The values of one set of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Data set, split and samples, in words.
    pub title: String,
    /// Why it is apart from the tables before it; empty for the first.
    pub apart: String,
    /// Threat model (empty without one) and name of every column after the first.
    pub columns: Vec<(String, String)>,
    /// One row per model and run.
    pub rows: Vec<GridRow>,
}

/// One model in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRow {
    /// Model and run.
    pub name: String,
    /// As many as the table has columns; `None` where nothing was measured.
    pub cells: Vec<Option<GridCell>>,
    /// Every flag of the row, once.
    pub flags: Vec<String>,
}

/// One number, spelled.
#[derive(Clone, Debug, PartialEq)]
pub struct GridCell {
    /// The number.
    pub value: String,
    /// Its interval in brackets; empty where there is none.
    pub interval: String,
    /// Samples behind it.
    pub n: u64,
    /// Its rank: `2`, or `2–3` if it cannot be distinguished from another; empty where nothing is ranked.
    pub rank: String,
    /// How many values are ranked.
    pub ranked: usize,
}

/// The tables, in the order of the grounds. Measures that are not shown and rows without a value are left out.
pub fn grids(comparison: &Comparison) -> Vec<Grid> {
    (0..comparison.grounds.len()).filter_map(|ground| grid(comparison, ground)).collect()
}

fn grid(comparison: &Comparison, ground: usize) -> Option<Grid> {
    let own: Vec<_> = comparison.values.iter().filter(|v| v.ground == ground && comparison.measures[v.measure].shown).collect();
    let used = |measure: usize| own.iter().any(|v| v.measure == measure);
    let measures: Vec<usize> = (0..comparison.measures.len()).filter(|&m| used(m)).collect();
    let mut rows = Vec::new();
    for entry in 0..comparison.entries.len() {
        let values: Vec<_> = own.iter().filter(|v| v.entry == entry).collect();
        if values.is_empty() {
            continue;
        }
        let cell = |&measure: &usize| {
            let value = values.iter().find(|v| v.measure == measure)?;
            let spelled = if comparison.measures[measure].rate { rate_parts } else { quantity_parts };
            let (number, interval) = spelled(value.value?, value.interval);
            let rank = value.rank.map_or_else(String::new, |rank| rank.to_string());
            Some(GridCell { value: number, interval, n: value.n, rank, ranked: value.rank.map_or(0, |rank| rank.of) })
        };
        let mut flags: Vec<String> = Vec::new();
        for flag in values.iter().flat_map(|v| &v.flags) {
            if !flags.contains(flag) {
                flags.push(flag.clone());
            }
        }
        rows.push(GridRow {
            name: comparison.entry_name(entry),
            cells: measures.iter().map(cell).collect(),
            flags: flags.iter().map(|flag| shown(flag)).collect(),
        });
    }
    let about = &comparison.grounds[ground];
    let split = if about.split.is_empty() { String::new() } else { format!(" ({})", shown(&about.split)) };
    let columns = measures.iter().map(|&m| (shown(&comparison.measures[m].threat), comparison.measures[m].name()));
    (!rows.is_empty()).then(|| Grid {
        title: format!("{}{split}, {}", shown(&about.dataset), shown(&about.samples)),
        apart: about.apart.clone(),
        columns: columns.collect(),
        rows,
    })
}

/// The headings of [`difference_line`].
pub fn difference_headings() -> [&'static str; 8] {
    ["measure", "reference", "value", "difference", "95 % interval", "samples", "McNemar p", "gained / lost"]
}

/// A difference in the columns of [`difference_headings`].
pub fn difference_line(comparison: &Comparison, difference: &Difference) -> [String; 8] {
    let measure = &comparison.measures[difference.measure];
    let place = if measure.threat.is_empty() { String::new() } else { format!(" under {}", shown(&measure.threat)) };
    let (value, reference, change, interval) = spelled(difference, measure.rate);
    let interval = if interval.is_empty() { "none".to_owned() } else { format!("{interval} {}", difference.method) };
    let n = match (difference.n, difference.reference_n) {
        (n, m) if n == m => format!("n={n}"),
        (n, m) => format!("n={n} and {m}"),
    };
    let (p, flips) = match &difference.flips {
        Some(flips) => (p_value(flips.p), format!("{} / {}", flips.gained.len(), flips.lost.len())),
        None => ("–".to_owned(), "–".to_owned()),
    };
    [
        format!("{}{place}", measure.name()),
        reference,
        value,
        change,
        interval,
        format!("{}, {n}", difference.pairing.word()),
        p,
        flips,
    ]
}

/// Value, reference, difference and interval with as many decimals as they deserve; a difference has its sign.
fn spelled(difference: &Difference, rate: bool) -> (String, String, String, String) {
    let Difference { value, reference_value, difference: change, interval, .. } = *difference;
    let signed = |text: String| if change > 0.0 && !text.starts_with('+') { format!("+{text}") } else { text };
    if rate {
        let (text, interval) = rate_parts(change, interval);
        return (fixed(value, 3), fixed(reference_value, 3), signed(text), interval);
    }
    let (text, interval) = quantity_parts(change, interval);
    (significant(value, 4), significant(reference_value, 4), signed(text), interval)
}

/// A p-value with two significant digits, never zero.
fn p_value(p: f64) -> String {
    if p >= 0.995 {
        "1".to_owned()
    } else if p < 1e-9 {
        "< 1e-9".to_owned()
    } else if p < 1e-3 {
        format!("{p:.1e}")
    } else {
        significant(p, 2)
    }
}
