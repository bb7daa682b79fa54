//! A graph as its file has it, normalised and nothing more: no logits are looked for, every output stays. Knows files.

use std::collections::BTreeSet;

use flatscape_graph::{Graph, normalize};

use super::Intake;
use super::admit::admit_as;
use super::native::float_constants;
use super::source::{self, Found};
use crate::refusal::Refusal;

/// Any ONNX graph.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The stem of its file, or the name in its card.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Names of the initializers of the file that hold floats.
    pub initializers: BTreeSet<String>,
    /// Inputs and outputs are the file's own.
    pub graph: Graph,
    /// What was done to the file, as sentences.
    pub facts: Vec<String>,
}

impl Whole {
    /// Reads the graph of that name or at that path, in a stated normal form.
    ///
    /// # Errors
    /// Model errors with the number of the kind of fault.
    pub fn load(source: &str, intake: &Intake, options: &normalize::Options) -> Result<Whole, Refusal> {
        let Found { name, sha256, file, facts, .. } = source::find(source, &intake.limits)?;
        let initializers = float_constants(&file.graph);
        let graph = admit_as(&name, &file, options)?;
        Ok(Whole { name, sha256, initializers, graph, facts })
    }
}
