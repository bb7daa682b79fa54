//! What `flatscape grad` differentiates: a classifier with its logits first, or any graph with one of its values first. Knows
//! how a value is found by its name.

use std::collections::BTreeSet;

use flatscape_graph::normalize::symbolic_batch;
use flatscape_graph::{Dim, Graph, Output, ValueId, shown};

use crate::model::{Native, Whole};
use crate::refusal::{Refusal, nearest};

/// A graph whose first output leads to what is differentiated.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// Display name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Names of the initializers of the file that hold floats.
    pub initializers: BTreeSet<String>,
    /// Inputs are the file's own.
    pub graph: Graph,
    /// The same with the batch called `N`, where that can be.
    pub any_batch: Option<Graph>,
    /// The extent that the file gave the batch.
    pub fixed_batch: Option<usize>,
    /// How many logits the first output holds, if it holds logits.
    pub classes: Option<usize>,
    /// What was done to the file, as sentences.
    pub facts: Vec<String>,
    pub(super) native: Option<&'a Native>,
}

impl<'a> Source<'a> {
    /// A classifier.
    pub fn of(native: &'a Native) -> Source<'a> {
        Source {
            name: native.name.clone(),
            sha256: native.sha256.clone(),
            initializers: native.initializers.clone(),
            graph: native.graph.clone(),
            any_batch: native.any_batch().ok().cloned(),
            fixed_batch: native.fixed_batch,
            classes: Some(native.classes),
            facts: native.facts.clone(),
            native: Some(native),
        }
    }

    /// A graph and a value in it: an output, or what a node gives, by its name in the file.
    ///
    /// # Errors
    /// A usage error: there is no such value, it holds no floats, or it is an input or a constant.
    pub fn named(whole: &Whole, name: &str) -> Result<Source<'static>, Refusal> {
        let graph = &whole.graph;
        let results = || graph.nodes().iter().flat_map(|n| n.outputs.iter().flatten().copied());
        let found = graph.output_named(name).or_else(|| results().find(|&id| *graph.value(id).name == *name));
        let Some(value) = found else {
            let outputs = graph.outputs().iter().map(|o| &*o.name);
            let known = || outputs.clone().chain(results().map(|id| &*graph.value(id).name));
            let meant = nearest(name, known()).map_or(String::new(), |n| format!("; did you mean {}?", shown(n)));
            let own: Vec<String> = outputs.clone().map(shown).collect();
            let what = format!("--of {}: {} has no value of that name", shown(name), whole.name);
            let help = format!(
                "there are ce, logp, logit:K and cotangent, the outputs {}, and values inside the graph{meant}; a value that was folded away has no name any more",
                own.join(", ")
            );
            return Err(Refusal::usage(91, what).help(help));
        };
        let ty = &graph.value(value).ty;
        if graph.value(value).producer.is_none() || !ty.dtype.is_some_and(flatscape_graph::DType::is_float) {
            let what = format!("--of {}: it is {ty}, and only floats that a node gives can be differentiated", shown(name));
            return Err(Refusal::usage(91, what));
        }
        let alone = with_output(graph, name, value);
        let input = alone.inputs().first().copied();
        let fixed_batch = input.and_then(|input| alone.shape(input)).and_then(|s| s.first()).and_then(Dim::fixed);
        let any_batch = input.and_then(|input| match symbolic_batch(&alone, input) {
            Ok(None) => Some(alone.clone()),
            Ok(Some(freed)) => Some(freed),
            Err(_) => None,
        });
        Ok(Source {
            name: whole.name.clone(),
            sha256: whole.sha256.clone(),
            initializers: whole.initializers.clone(),
            graph: alone,
            any_batch,
            fixed_batch,
            classes: None,
            facts: whole.facts.clone(),
            native: None,
        })
    }
}

fn with_output(graph: &Graph, name: &str, value: ValueId) -> Graph {
    let mut alone = graph.clone();
    alone.set_outputs(vec![Output { name: name.into(), value }]);
    alone.without_dead()
}
