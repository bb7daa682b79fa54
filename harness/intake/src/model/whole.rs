//! A graph as its file has it, normalised and nothing more: no logits are looked for, every output stays. Knows files.

use flatscape_graph::Graph;

use super::Intake;
use super::admit::admit;
use super::source::{self, Found};
use crate::refusal::Refusal;

/// Any ONNX graph.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The stem of its file, or the name in its card.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Inputs and outputs are the file's own.
    pub graph: Graph,
    /// What was done to the file, as sentences.
    pub facts: Vec<String>,
}

impl Whole {
    /// Reads and normalises the graph of that name or at that path.
    ///
    /// # Errors
    /// Model errors with the number of the kind of fault.
    pub fn load(source: &str, intake: &Intake) -> Result<Whole, Refusal> {
        let Found { name, sha256, file, facts, .. } = source::find(source, &intake.limits)?;
        let graph = admit(&name, &file)?;
        Ok(Whole { name, sha256, graph, facts })
    }
}
