//! What a comparison says of several models together: rank correlations and accuracies across attacks. It spells numbers that it is given.

use flatscape_report::{Cell, csv_bytes, fixed, rate_parts, shown, shown_to, significant};

use super::Comparison;

/// A rank correlation of two quantities, over models or over the samples of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relation {
    /// `models` or `samples`.
    pub over: String,
    /// Over which: `all models`, `family NAME`, or the model and run whose samples they are.
    pub scope: String,
    /// Data, samples and threat model, in words.
    pub ground: String,
    /// The one quantity.
    pub x: String,
    /// The other.
    pub y: String,
    /// Rows: models or samples.
    pub n: u64,
    /// Spearman's coefficient; absent where it is not defined.
    pub rho: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p-value of the permutation test.
    pub p: Option<f64>,
    /// The coefficient given the covariates.
    pub partial: Option<f64>,
    /// Its 95 % interval.
    pub partial_interval: Option<(f64, f64)>,
    /// The covariates.
    pub given: Vec<String>,
    /// What a reader must know, in sentences; may be empty.
    pub note: String,
}

/// The accuracies of several models under several attacks of one set of samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Across {
    /// Data and samples, in words.
    pub ground: String,
    /// The models, by their place among the entries.
    pub entries: Vec<usize>,
    /// One row per attack and threat model; the first is clean accuracy.
    pub rows: Vec<AcrossRow>,
}

/// One attack against several models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AcrossRow {
    /// The attack with its arguments, or `clean`.
    pub attack: String,
    /// Threat model as written; empty for clean accuracy.
    pub threat: String,
    /// Mean 1 − SSIM of the examples that broke a sample, over all of the models, and their number; absent where it was not measured.
    pub dissimilarity: Option<(f64, u64)>,
    /// Accuracy, its interval and n, for each of the entries.
    pub cells: Vec<Option<Rated>>,
}

/// An accuracy, its interval and n.
pub type Rated = (f64, Option<(f64, f64)>, u64);

/// `correlations.csv`: one line per [`Relation`]. The rules of [`flatscape_report::results_csv`] hold.
pub fn correlations_csv(comparison: &Comparison) -> Vec<u8> {
    const HEADER: [&str; 16] = [
        "over",
        "scope",
        "ground",
        "x",
        "y",
        "n",
        "spearman",
        "ci_low",
        "ci_high",
        "interval",
        "permutation_p",
        "given",
        "partial",
        "partial_ci_low",
        "partial_ci_high",
        "note",
    ];
    let number = |value: Option<f64>| value.map_or(Cell::Missing, Cell::Number);
    let text = |text: &str| Cell::Text(text.to_owned().into());
    let lines = comparison.relations.iter().map(|r| {
        let method = if r.interval.is_some() || r.partial_interval.is_some() { "Bonett-Wright" } else { "" };
        let mut cells = vec![text(&r.over), text(&r.scope), text(&r.ground), text(&r.x), text(&r.y), Cell::Integer(r.n.into())];
        cells.extend([r.rho, r.interval.map(|i| i.0), r.interval.map(|i| i.1)].map(number));
        cells.extend([text(method), number(r.p), text(&r.given.join(";"))]);
        cells.extend([r.partial, r.partial_interval.map(|i| i.0), r.partial_interval.map(|i| i.1)].map(number));
        cells.push(text(&r.note));
        cells
    });
    csv_bytes(HEADER.into_iter().map(|name| Cell::Text(name.into())), lines)
}

/// The headings of [`relation_line`].
pub fn relation_headings() -> [&'static str; 7] {
    ["over", "x", "y", "n", "Spearman's ρ", "permutation p", "partial ρ"]
}

/// A correlation as tables show it.
pub fn relation_line(relation: &Relation) -> [String; 7] {
    let spelled = |rho: Option<f64>, interval: Option<(f64, f64)>| match (rho, interval) {
        (None, _) => "–".to_owned(),
        (Some(rho), None) => fixed(rho, 3),
        (Some(rho), Some((low, high))) => format!("{} [{}, {}]", fixed(rho, 3), fixed(low, 3), fixed(high, 3)),
    };
    let given = if relation.given.is_empty() { String::new() } else { format!(" given {}", relation.given.join(", ")) };
    let partial = spelled(relation.partial, relation.partial_interval);
    [
        shown(&relation.scope),
        shown(&relation.x),
        shown(&relation.y),
        relation.n.to_string(),
        spelled(relation.rho, relation.interval),
        relation.p.map_or_else(|| "–".to_owned(), |p| significant(p, 2)),
        shown_to(&if relation.given.is_empty() { partial } else { format!("{partial}{given}") }, 200),
    ]
}

/// The headings of a table of accuracies across attacks.
pub fn across_headings(comparison: &Comparison, across: &Across) -> Vec<String> {
    let names = across.entries.iter().map(|&entry| comparison.entry_name(entry));
    ["attack".to_owned(), "threat model".to_owned(), "1 − SSIM".to_owned()].into_iter().chain(names).collect()
}

/// A row of a table of accuracies across attacks.
pub fn across_line(row: &AcrossRow) -> Vec<String> {
    let cell = |cell: &Option<Rated>| match cell {
        None => "–".to_owned(),
        Some((value, interval, n)) => {
            let (value, interval) = rate_parts(*value, *interval);
            let space = if interval.is_empty() { "" } else { " " };
            format!("{value}{space}{interval} n={n}")
        }
    };
    let dissimilarity = row.dissimilarity.map_or_else(|| "–".to_owned(), |(mean, n)| format!("{} n={n}", significant(mean, 4)));
    [shown(&row.attack), shown(&row.threat), dissimilarity].into_iter().chain(row.cells.iter().map(cell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation() -> Relation {
        Relation {
            over: "models".into(),
            scope: "=all".into(),
            ground: "digits".into(),
            x: "phi_mean".into(),
            y: "union".into(),
            n: 7,
            rho: Some(0.821_428_57),
            interval: Some((0.027_888_21, 0.979_878_16)),
            p: Some(172.0 / 5040.0),
            partial: Some(0.5),
            partial_interval: None,
            given: vec!["clean accuracy".into(), "log temperature".into()],
            note: String::new(),
        }
    }

    #[test]
    fn a_correlation_is_a_line_of_the_table_and_of_the_page() {
        let comparison = Comparison { relations: vec![relation(), Relation::default()], ..Comparison::default() };
        let text = String::from_utf8(correlations_csv(&comparison)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "models,'=all,digits,phi_mean,union,7,0.82142857,0.02788821,0.97987816,Bonett-Wright,0.034126984126984124,\
             clean accuracy;log temperature,0.5,,,"
        );
        assert_eq!(lines[2], ",,,,,0,,,,,,,,,,");
        assert_eq!(
            relation_line(&relation()),
            ["=all", "phi_mean", "union", "7", "0.821 [0.028, 0.980]", "0.034", "0.500 given clean accuracy, log temperature"]
        );
        assert_eq!(relation_line(&Relation::default())[4..], ["–", "–", "–"]);
    }

    #[test]
    fn a_row_across_attacks_has_the_distance_of_the_attack_and_every_model() {
        let row = AcrossRow {
            attack: "pgd".into(),
            threat: "linf:8/255".into(),
            dissimilarity: Some((0.008_206, 40)),
            cells: vec![Some((0.512, Some((0.5, 0.52)), 100)), None],
        };
        assert_eq!(across_line(&row), ["pgd", "linf:8/255", "0.008206 n=40", "0.512 [0.500, 0.520] n=100", "–"]);
    }
}
