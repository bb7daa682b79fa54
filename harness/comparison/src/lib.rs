//! Runs side by side: what they have in common and what differs, as a CSV file, an HTML page and a Markdown block. It lays out a
//! [`Comparison`] and computes none of its numbers; everything it prints may be hostile.

mod columns;
mod grid;
mod markdown;
mod page;
mod relations;

pub use columns::{COMPARE_COLUMNS, CompareColumn, compare_csv};
pub use grid::{Grid, GridCell, GridRow, difference_headings, difference_line, grids};
pub use markdown::compare_markdown;
pub use page::compare_html;
pub use relations::{
    Across, AcrossRow, Rated, Relation, across_headings, across_line, correlations_csv, relation_headings, relation_line,
};

use flatscape_report::{Sweep, percent, shown};

/// Runs side by side.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The command as typed; empty where unknown.
    pub command: String,
    /// Names of the runs, in the order in which they were named.
    pub runs: Vec<String>,
    /// The run that the others are held against, by its place in `runs`.
    pub baseline: Option<usize>,
    /// In what the runs differ; empty where they are alike.
    pub facts: Vec<Fact>,
    /// The models, each in each run.
    pub entries: Vec<Entry>,
    /// The sets of samples that were measured.
    pub grounds: Vec<Ground>,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// Every value: an entry, a ground and a measure.
    pub values: Vec<Value>,
    /// Every difference of two entries.
    pub differences: Vec<Difference>,
    /// Rank correlations over models and over samples.
    pub relations: Vec<Relation>,
    /// Accuracies across attacks, one table per set of samples.
    pub across: Vec<Across>,
    /// Sweeps over families of models.
    pub sweeps: Vec<Sweep>,
    /// How ranks were found, in a sentence; empty where there are none.
    pub ranking: String,
    /// What a reader must know, in sentences.
    pub notes: Vec<String>,
    /// Why a number should not be trusted, in sentences.
    pub warnings: Vec<String>,
    /// The conditions that were set, and whether they hold.
    pub conditions: Vec<Condition>,
}

/// Something in which runs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is, such as `engine`.
    pub what: String,
    /// What each run says of it, in the order of the runs.
    pub values: Vec<String>,
}

/// One model in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Place of the run.
    pub run: usize,
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its file.
    pub model_sha256: String,
}

/// A set of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Name of the data set.
    pub dataset: String,
    /// `test` or `train`.
    pub split: String,
    /// SHA-256 of the split as read.
    pub data_sha256: String,
    /// Shape and preparation of the images, in words.
    pub images: String,
    /// Which samples, in words.
    pub samples: String,
    /// Why it is apart from the grounds before it, in a sentence; empty for the first.
    pub apart: String,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The metric, such as `robust_accuracy`.
    pub metric: String,
    /// The attack or metric that gave it.
    pub component: String,
    /// Its arguments as written; for a union the attacks that it is of.
    pub args: String,
    /// What tables name of them: what tells the component from others of its run, and all of them where that would give two measures one
    /// name.
    pub apart: String,
    /// The threat model as written; empty without one.
    pub threat: String,
    /// Whether values are rates in [0, 1].
    pub rate: bool,
    /// Whether it has a column in the tables; otherwise `compare.csv` alone has it.
    pub shown: bool,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Place of the model and run.
    pub entry: usize,
    /// Place of the set of samples.
    pub ground: usize,
    /// Place of what was measured.
    pub measure: usize,
    /// Samples behind it.
    pub n: u64,
    /// The value; `None` where nothing could be measured.
    pub value: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// Name of the interval's method; empty without one.
    pub method: String,
    /// Its place among the values of the same ground and measure.
    pub rank: Option<Rank>,
    /// Codes of doubts and errors.
    pub flags: Vec<String>,
}

/// A place in a ranking: from `first` to `last` of `of`. Values that cannot be distinguished share places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// The best place that is possible.
    pub first: usize,
    /// The worst place that is possible.
    pub last: usize,
    /// Number of values that are ranked.
    pub of: usize,
}

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}–{}", self.first, self.last) }
    }
}

/// The difference `entry − reference` of one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Place of the model and run.
    pub entry: usize,
    /// Place of the model and run that it is held against.
    pub reference: usize,
    /// Place of what was measured.
    pub measure: usize,
    /// Place of the entry's set of samples.
    pub ground: usize,
    /// Value of the entry.
    pub value: f64,
    /// Value of the reference. On common samples both are about these alone.
    pub reference_value: f64,
    /// `value − reference_value`.
    pub difference: f64,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// Name of the interval's method; empty without one.
    pub method: String,
    /// Whether the same samples were compared, one by one.
    pub pairing: Pairing,
    /// What the pairing rests on, in a clause.
    pub why: String,
    /// Samples of the entry.
    pub n: u64,
    /// Samples of the reference.
    pub reference_n: u64,
    /// Samples after which a difference like this one is found in four of five comparisons (Connor 1987); `None` where the samples are not
    /// paired, the values are not rates, or nothing differs.
    pub needed: Option<u64>,
    /// Samples that flipped; `None` where the samples are not paired or the values are not rates.
    pub flips: Option<Flips>,
}

/// Whether two values rest on the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// The same samples.
    Paired,
    /// The samples that both have, which are not all.
    Common,
    /// Different samples.
    TwoSample,
}

impl Pairing {
    /// As tables write it.
    pub fn word(self) -> &'static str {
        match self {
            Pairing::Paired => "paired",
            Pairing::Common => "paired on common samples",
            Pairing::TwoSample => "two-sample",
        }
    }
}

/// The samples that are right for one and wrong for the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Flips {
    /// Ids of the samples that are right for the entry alone.
    pub gained: Vec<u64>,
    /// Ids of the samples that are right for the reference alone.
    pub lost: Vec<u64>,
    /// The two-sided p-value of McNemar's exact test.
    pub p: f64,
}

/// A condition on a difference, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The condition as typed.
    pub text: String,
    /// What it is about and what was found, in a sentence.
    pub sentence: String,
    /// Whether it holds.
    pub holds: bool,
}

impl Comparison {
    /// How tables call an entry: the model, and the run where there are several.
    pub fn entry_name(&self, entry: usize) -> String {
        let Entry { run, model, .. } = &self.entries[entry];
        match self.runs.len() {
            1 => shown(model),
            _ => format!("{} · {}", shown(model), shown(&self.runs[*run])),
        }
    }
}

impl Measure {
    /// How tables call it: `pgd steps=20`, `union of fgsm, pgd`, `clean accuracy`, `ams_mean`.
    pub fn name(&self) -> String {
        let arguments = |joined: &str| if self.apart.is_empty() { String::new() } else { format!("{joined}{}", self.apart) };
        let name = match (self.metric.as_str(), self.component.as_str()) {
            ("clean_accuracy", _) => "clean accuracy".to_owned(),
            ("robust_accuracy", "union") => format!("union{}", arguments(" of ")),
            ("robust_accuracy", component) => format!("{component}{}", arguments(" ")),
            ("distance_median", component) => format!("median distance, {component}{}", arguments(" ")),
            (metric, "union") => format!("{metric} of the union{}", arguments(" of ")),
            (metric, component) if metric.starts_with(component) => format!("{metric}{}", arguments(" ")),
            (metric, component) => format!("{metric} of {component}{}", arguments(" ")),
        };
        shown(&name)
    }
}

impl Difference {
    /// How many samples separate two models that differ like these, as a sentence; `None` where there is no [`Difference::needed`].
    pub fn advice(&self, comparison: &Comparison) -> Option<String> {
        let (needed, flips) = (self.needed?, self.flips.as_ref()?);
        let apart = (flips.gained.len() + flips.lost.len()) as f64 / self.n as f64;
        Some(format!(
            "{}: they disagree on {} of {} images and differ by {}; a difference like this one is found in four of five comparisons of {needed} \
             images.",
            comparison.measures[self.measure].name(),
            percent(apart, None),
            self.n,
            percent(self.difference.abs(), None),
        ))
    }
}

#[cfg(test)]
mod tests;
