//! The nodes between two values: whether a cotangent passes each of them, stops there, or is refused. Builds nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use flatscape_graph::{Graph, NodeId, ValueId};

use crate::book::Rulebook;
use crate::driver::active_values;
use crate::error::{DiffError, Why};
use crate::rule::{Class, Passage, rule_for};

/// What the table says about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It has a rule.
    Rule,
    /// Its derivative is zero: the cotangent stops.
    Flat,
    /// Differentiating it is a mistake; the clause says why.
    Never(&'static str),
    /// The table has no row for it.
    Unknown,
}

impl Verdict {
    /// One word: `rule`, `flat`, `never`, `unknown`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Rule => "rule",
            Verdict::Flat => "flat",
            Verdict::Never(_) => "never",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One node on the way.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// Its operator.
    pub op: Arc<str>,
    /// Its name in the file, or empty.
    pub name: Arc<str>,
    /// What the table says about it.
    pub verdict: Verdict,
    /// How far its rule is a derivative; `None` without a rule.
    pub class: Option<Class>,
}

/// The nodes on a way, in topological order.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// Every node that depends on the start and that the end depends on.
    pub steps: Vec<Step>,
    /// Whether some way from start to end carries a derivative.
    pub connected: bool,
    refused: Option<DiffError>,
}

impl Coverage {
    /// How many nodes of each operator have each verdict, as (verdict, operator) → count.
    pub fn counts(&self) -> BTreeMap<(Verdict, Arc<str>), usize> {
        let mut counts = BTreeMap::new();
        for step in &self.steps {
            *counts.entry((step.verdict, step.op.clone())).or_insert(0) += 1;
        }
        counts
    }

    /// How many nodes have this verdict, by its word.
    pub fn count(&self, word: &str) -> usize {
        self.steps.iter().filter(|s| s.verdict.word() == word).count()
    }

    /// How many nodes of each operator have rules of this class, in the order of the alphabet.
    pub fn of_class(&self, class: Class) -> BTreeMap<Arc<str>, usize> {
        let mut counts = BTreeMap::new();
        for step in self.steps.iter().filter(|s| s.verdict == Verdict::Rule && s.class == Some(class)) {
            *counts.entry(step.op.clone()).or_insert(0) += 1;
        }
        counts
    }

    /// The refusal of the first node that differentiation would refuse, if any. Uses of an operator that its rule does not cover
    /// show only when the gradient is built.
    pub fn refused(&self) -> Option<&DiffError> {
        self.refused.as_ref()
    }
}

/// For every value of a graph whether its derivative with respect to one of `from` can be other than zero, as far as the table knows. An
/// operator without a row counts as passing it on.
pub fn carrying(graph: &Graph, from: &[ValueId]) -> Vec<bool> {
    active_values(&Rulebook::standard(), graph, from)
}

/// What differentiating `to` with respect to `from` would meet.
pub fn coverage(graph: &Graph, from: ValueId, to: ValueId) -> Coverage {
    let values = graph.values().len();
    let mut below = vec![false; values];
    below[from.0 as usize] = true;
    for node in graph.nodes() {
        if node.inputs.iter().flatten().any(|v| below[v.0 as usize]) {
            node.outputs.iter().flatten().for_each(|v| below[v.0 as usize] = true);
        }
    }
    // `above` follows every edge back from the end, `carries` only those that a cotangent takes
    let active = active_values(&Rulebook::standard(), graph, &[from]);
    let mut above = vec![false; values];
    let mut carries = vec![false; values];
    above[to.0 as usize] = true;
    carries[to.0 as usize] = active[to.0 as usize];
    let mut steps = Vec::new();
    let mut refused = None;
    for (index, node) in graph.nodes().iter().enumerate().rev() {
        let any = |flags: &[bool]| node.outputs.iter().flatten().any(|v| flags[v.0 as usize]);
        if !any(&above) || !any(&below) {
            continue;
        }
        let rule = rule_for(&node.domain, &node.op);
        let verdict = match rule.map(|r| r.kind) {
            Some(Passage::Vjp(_) | Passage::Each(_) | Passage::Written(_)) => Verdict::Rule,
            Some(Passage::Flat) => Verdict::Flat,
            Some(Passage::Never(reason)) => Verdict::Never(reason),
            Some(Passage::Before(into)) => Verdict::Never(into),
            None => Verdict::Unknown,
        };
        let carried = any(&carries) && verdict != Verdict::Flat;
        for (i, v) in node.inputs.iter().enumerate().filter_map(|(i, v)| v.map(|v| (i, v.0 as usize))) {
            above[v] = true;
            carries[v] |= carried && active[v] && rule.is_none_or(|r| r.passes(i));
        }
        let why = match rule.map(|r| r.kind) {
            Some(Passage::Never(reason)) => Some(Why::Never(reason)),
            Some(Passage::Before(into)) => Some(Why::Before(into)),
            None => Some(Why::NoRule),
            Some(_) => None,
        };
        if let Some(why) = why.filter(|_| carried && node.inputs.iter().flatten().any(|v| active[v.0 as usize])) {
            refused = Some(DiffError::at(node, why));
        }
        let class = rule.and_then(|r| r.class());
        steps.push(Step { node: NodeId(index as u32), op: node.op.clone(), name: node.name.clone(), verdict, class });
    }
    steps.reverse();
    Coverage { steps, connected: carries[from.0 as usize], refused }
}
