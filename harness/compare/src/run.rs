//! A run as a comparison sees it: rows, samples, and the facts of its manifest that a value depends on.

use std::collections::BTreeMap;

use flatscape_report::{Record, SampleLine, SampleValue, Samples};
use serde_json::Value;

/// A run that is compared.
#[derive(Clone, Debug)]
pub struct RunView {
    /// How it is called: the path as typed.
    pub name: String,
    /// Its manifest, in which it may differ from others.
    pub manifest: Value,
    /// Its labelled images.
    pub data: Data,
    /// Its attacks, in the order of the plan.
    pub attacks: Vec<Component>,
    /// Its metrics.
    pub metrics: Vec<Component>,
    /// Rows of `results.csv`.
    pub records: Vec<Record>,
    /// Rows of `samples.csv`.
    pub samples: Samples,
    /// Why its numbers should not be trusted, in sentences.
    pub warnings: Vec<String>,
    /// What a reader should know of it, in sentences.
    pub notes: Vec<String>,
}

/// The labelled images of a run. Samples are the same where split and SHA-256 are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Name of the data set.
    pub name: String,
    /// `test` or `train`.
    pub split: String,
    /// SHA-256 of the split as read.
    pub sha256: String,
    /// Shape and preparation, in words.
    pub images: String,
}

impl Data {
    /// Whether two runs took their samples from the same list of images.
    pub(super) fn same_source(&self, other: &Data) -> bool {
        self.split == other.split && self.sha256 == other.sha256
    }
}

/// An attack or a metric of a run, as its rows and its columns call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its id.
    pub id: String,
    /// In columns of `samples.csv`: the id and what tells it apart.
    pub label: String,
    /// Every argument, defaults and those of the host included: the column `args`, and what makes two requests the same.
    pub complete: String,
}

/// A run with its samples in order.
pub(super) struct Facts<'a> {
    pub run: &'a RunView,
    lines: BTreeMap<&'a str, BTreeMap<&'a str, Vec<SampleLine<'a>>>>,
}

impl<'a> Facts<'a> {
    /// Puts the samples in order.
    pub fn of(run: &'a RunView) -> Facts<'a> {
        let mut lines: BTreeMap<&str, BTreeMap<&str, Vec<SampleLine>>> = BTreeMap::new();
        for line in run.samples.lines() {
            lines.entry(&line.key().model).or_default().entry(&line.key().threat).or_default().push(line);
        }
        lines.values_mut().flat_map(BTreeMap::values_mut).for_each(|lines| lines.sort_by_key(|line| line.key().id));
        Facts { run, lines }
    }

    /// The component that a row is about.
    pub fn component(&self, record: &Record) -> Option<&Component> {
        self.run.attacks.iter().chain(&self.run.metrics).find(|c| c.id == record.component && c.complete == record.args)
    }

    /// The lines of a model under a threat model, or, where there are none, its lines under any: by id.
    pub fn lines(&self, model: &str, threat: &str) -> &[SampleLine<'a>] {
        let of_model = self.lines.get(model);
        let own = of_model.and_then(|threats| threats.get(threat).or_else(|| threats.values().next()));
        own.map_or(&[], Vec::as_slice)
    }

    /// The number in a column of a line.
    pub fn number(line: &SampleLine<'_>, place: usize) -> Option<f64> {
        match line.value(place)? {
            SampleValue::Number(value) => Some(*value),
            SampleValue::Text(_) => None,
        }
    }

    /// The word in a column of a line.
    pub fn text(line: &SampleLine<'a>, place: usize) -> Option<&'a str> {
        match line.value(place)? {
            SampleValue::Text(text) => Some(text),
            SampleValue::Number(_) => None,
        }
    }
}

impl Component {
    /// The name and all arguments.
    pub(super) fn whole(&self) -> String {
        if self.complete.is_empty() { self.id.clone() } else { format!("{}:{}", self.id, self.complete) }
    }
}
