//! Hazards: what can be read off a model before any attack that makes a gradient useless, an answer vary or a number mean
//! something else. One file and one row per hazard; each row is a doubt too. Nothing is run here.

mod argmax;
mod baked_normalisation;
mod baked_resize;
mod batch_mixing;
mod batch_norm_in_training;
mod batch_size;
mod bounded_output;
mod clipped_pixels;
mod data_dependent_length;
mod dropout_in_training;
mod inner_optimisation;
mod integer_cast;
mod logit_scale;
mod lost_pixels;
mod no_gradient;
mod quantiser;
mod random_operator;
mod reading;
mod rounding;
mod sign;
#[cfg(test)]
mod tests;
mod threshold;
mod tree_ensemble;
mod winner_take_all;

use flatscape_graph::Graph;
use serde::Serialize;

pub use baked_normalisation::KNOWN as NORMALISATIONS;
pub(crate) use clipped_pixels::clipped;
pub use reading::Reading;
pub(crate) use threshold::{COMPARISONS, thresholds};

use crate::doubt::Doubt;

/// A hazard: how a graph is read for it, and the doubt that it becomes.
#[derive(Clone, Copy)]
pub struct Hazard {
    /// The doubt: its code, what it means, what to do, and whether a number measured beside it can be trusted.
    pub doubt: Doubt,
    /// Remedies by name ([`crate::remedies::REMEDIES`]) that answer it.
    pub remedies: &'static [&'static str],
    /// What of it the graph shows.
    find: fn(&Reading) -> Option<Cause>,
}

/// What was found in a graph.
pub struct Cause {
    /// A clause that names the nodes.
    what: String,
    /// The nodes, described: `Round (node "/quantise/Round")`.
    nodes: Vec<String>,
}

/// All hazards, in the order of the report: what hides the gradient, what makes answers vary, what distorts the loss, what
/// happens to pixels.
pub const HAZARDS: &[Hazard] = &[
    rounding::HAZARD,
    sign::HAZARD,
    integer_cast::HAZARD,
    quantiser::HAZARD,
    argmax::HAZARD,
    threshold::HAZARD,
    winner_take_all::HAZARD,
    clipped_pixels::HAZARD,
    data_dependent_length::HAZARD,
    tree_ensemble::HAZARD,
    inner_optimisation::HAZARD,
    no_gradient::HAZARD,
    random_operator::HAZARD,
    dropout_in_training::HAZARD,
    batch_norm_in_training::HAZARD,
    batch_mixing::HAZARD,
    batch_size::HAZARD,
    bounded_output::HAZARD,
    logit_scale::HAZARD,
    baked_normalisation::HAZARD,
    baked_resize::HAZARD,
    lost_pixels::HAZARD,
];

/// Hazards that ask whether the input is right: where the clean accuracy is good they are notes and no doubts.
pub const QUESTIONS: &[&str] = &["baked-normalisation"];

/// A hazard that a model has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The code of the hazard, as in the column `flags`.
    pub code: &'static str,
    /// Whether numbers measured beside it are not to be trusted.
    pub unreliable: bool,
    /// A clause that names the nodes.
    pub cause: String,
    /// The nodes, described.
    pub nodes: Vec<String>,
    /// What it means.
    pub consequence: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// The remedies for it, as `--remedy` takes them.
    pub remedies: &'static [&'static str],
    /// Whether a requested remedy has answered it.
    pub answered: bool,
}

impl<'de> serde::Deserialize<'de> for Found {
    /// Reads what [`Found`] is written as; what its hazard means comes from [`HAZARDS`].
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Found, D::Error> {
        #[derive(serde::Deserialize)]
        struct Written {
            code: String,
            cause: String,
            nodes: Vec<String>,
            answered: bool,
        }
        let Written { code, cause, nodes, answered } = Written::deserialize(from)?;
        let hazard = HAZARDS.iter().find(|h| h.doubt.code == code);
        let hazard = hazard.ok_or_else(|| serde::de::Error::custom(format!("there is no hazard {code:?}")))?;
        Ok(Found { nodes, answered, ..hazard.found(Cause { what: cause, nodes: Vec::new() }) })
    }
}

impl Hazard {
    fn found(&self, cause: Cause) -> Found {
        Found {
            code: self.doubt.code,
            unreliable: self.doubt.unreliable,
            cause: cause.what,
            nodes: cause.nodes,
            consequence: self.doubt.explanation,
            remedy: self.doubt.advice,
            remedies: self.remedies,
            answered: false,
        }
    }
}

/// The hazards between the first input and the first output of a graph. `fed` is the smallest and the largest number that it is fed; as
/// far as the graph tells where absent.
pub fn hazards(graph: &Graph, fed: Option<(f64, f64)>) -> Vec<Found> {
    let Some(mut reading) = Reading::of(graph) else { return Vec::new() };
    reading.fed = fed;
    HAZARDS.iter().filter_map(|hazard| (hazard.find)(&reading).map(|cause| hazard.found(cause))).collect()
}

/// The nodes before the logits that draw random numbers, dropout in training mode among them.
pub(crate) fn drawing<'a>(reading: &Reading<'a>) -> Vec<&'a flatscape_graph::Node> {
    reading.needed().filter(|n| random_operator::OPS.contains(&&*n.op) || dropout_in_training::is_training(reading, n)).collect()
}

/// Marks the hazards that remedies have answered: those of `asked` that the graph which attacks differentiate no longer has,
/// and those of the loss, which is not part of the graph.
pub fn answer(found: &mut [Found], asked: &[String], twin: Option<&Graph>) {
    // what attacks see takes pixels
    let left = twin.map(|twin| hazards(twin, Some((0.0, 1.0))));
    for hazard in found {
        let mut answers = hazard.remedies.iter().filter(|r| asked.iter().any(|a| a == *r));
        let gone = left.as_ref().is_some_and(|left| !left.iter().any(|l| l.code == hazard.code));
        hazard.answered = answers.any(|name| gone || crate::remedies::is_of_loss(name));
    }
}
