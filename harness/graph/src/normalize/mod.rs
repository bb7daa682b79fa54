//! From the many forms of a file to the one form that everything else works on: opset 18, no leftovers of training, padding
//! and kernels stated, batch normalisation folded. What must be run to be known is not decided here.

use crate::ir::{Dim, Graph};
use crate::simplify::{Shapes, simplified};

mod attention;
mod batch;
mod batch_norm;
mod classic;
mod control;
mod coupling;
mod elements;
mod expansions;
mod functions;
mod known;
mod learners;
mod logits;
mod quantised;
mod recurrent;
mod sequences;
#[cfg(test)]
mod structure_tests;
#[cfg(test)]
mod tests;
mod trees;
mod upgrade;
mod vendor;
mod volumes;
mod windows;

pub use batch::{BATCH, symbolic_batch};
pub use elements::{float_input, has_double, in_float32};
pub use learners::smaller_wins;
pub use logits::{Answer, Cut, TailError, logits, logits_of};
pub use trees::{TREES, flat_ensembles};
pub(crate) use upgrade::same_form;

/// The opsets that can be read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=27;

/// What [`normalize`] is asked to do beyond the opset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether `BatchNormalization` in inference form is folded into the convolution or matrix product before it.
    pub fold_batch_norm: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { fold_batch_norm: true }
    }
}

/// Why a graph has no normal form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NormalizeError {
    /// The file is newer than this build.
    #[error("opset {0}; this build knows up to {max}: re-export or upgrade", max = OPSETS.end())]
    TooNew(i64),
    /// The file is older than anything that this build reads.
    #[error("opset {0}; this build knows {min} to {max}: re-export with opset {min} or newer", min = OPSETS.start(), max = OPSETS.end())]
    TooOld(i64),
    /// A node is wrong, or has no form at opset 18. The sentence names it.
    #[error("{0}")]
    Node(String),
    /// A branch or a loop depends on data, or becomes too long. The sentence names the node.
    #[error("{0} (control flow is not differentiated)")]
    ControlFlow(String),
}

/// What a pass knows beside the graph.
struct Settings {
    opset: i64,
    shapes: Shapes,
    options: Options,
}

type Pass = fn(Graph, &Settings) -> Result<Graph, NormalizeError>;

/// The passes, in order.
const PASSES: &[(&str, Pass)] = &[
    ("operators in their opset-18 form", upgrade::upgrade),
    ("kernels and padding stated", windows::windows),
    ("constants folded, equal nodes shared, dead nodes gone", |graph, settings| Ok(simplified(&graph, settings.shapes))),
    ("batch normalisation folded", batch_norm::batch_norm),
];

/// The normal form of a graph whose operators have the meaning of `opset` (7 to 27): the same inputs, the same outputs, the
/// operators of opset 18.
///
/// As long as an input has a fixed first extent, shapes that follow from it stay computed, so that [`symbolic_batch`] can
/// still free it; [`crate::simplify`] folds them.
///
/// # Errors
/// If the opset is not known, or a node contradicts its operands or cannot be said at opset 18.
pub fn normalize(graph: &Graph, opset: i64, options: &Options) -> Result<Graph, NormalizeError> {
    match opset {
        newer if newer > *OPSETS.end() => return Err(NormalizeError::TooNew(opset)),
        older if older < *OPSETS.start() => return Err(NormalizeError::TooOld(opset)),
        _ => {}
    }
    let fixed = graph.inputs().iter().any(|&v| graph.shape(v).and_then(|s| s.first()).is_some_and(|d| d.fixed().is_some()));
    let shapes = if fixed { Shapes::Keep } else { Shapes::Fold };
    let settings = Settings { opset, shapes, options: options.clone() };
    let mut graph = graph.clone();
    for (_, pass) in PASSES {
        graph = pass(graph, &settings)?;
        if let Some(problem) = graph.problems().first() {
            return Err(NormalizeError::Node(problem.what.clone()));
        }
    }
    Ok(graph)
}

/// Extents that are all known.
fn fixed(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(Dim::fixed).collect()
}
