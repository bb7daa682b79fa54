//! Whether two runs of a model agree, and whether the order of the images matters. Knows graphs and an engine.

use flatscape_engine::{CompileOptions, Engine, EngineError};
use flatscape_graph::{Graph, Tensor};

use super::{TOLERANCE, difference};
use crate::refusal::Refusal;
use flatscape_graph::rows;

/// What was found when the same images were run again.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Steadiness {
    /// Largest difference between two runs, relative to max(1, largest |logit|).
    pub repeat: f64,
    /// Largest difference between the images in order and in reverse, in the same terms.
    pub order: f64,
}

impl Steadiness {
    /// Whether two runs agree up to rounding.
    pub fn repeats(&self) -> bool {
        self.repeat <= TOLERANCE
    }

    /// Whether the order of the images does not matter. If two runs differ, nothing can be said about the order.
    pub fn keeps_order(&self) -> bool {
        self.order <= TOLERANCE || !self.repeats()
    }
}

/// Runs the graph (its first output [N,K]) three times on the images: twice as they are, and once in reverse.
///
/// # Errors
/// An engine error.
pub fn measure(engine: &dyn Engine, graph: &Graph, images: &Tensor) -> Result<Steadiness, Refusal> {
    let failed = |e: EngineError| Refusal::engine(6, e.to_string());
    let executable = engine.compile(graph, &CompileOptions { split: false, ..CompileOptions::default() }).map_err(failed)?;
    let run = |x: &Tensor| -> Result<Vec<f64>, EngineError> {
        let x = executable.upload(x)?;
        executable.run(&[&x])?.first().map_or(Ok(Vec::new()), |o| o.host().map(|t| t.to_f64()))
    };
    let n = images.shape().first().copied().unwrap_or(0);
    let backwards: Vec<usize> = (0..n).rev().collect();
    let first = run(images).map_err(failed)?;
    let again = run(images).map_err(failed)?;
    let turned = run(&rows(images, &backwards)).map_err(failed)?;
    let classes = (turned.len() / n.max(1)).max(1);
    let turned: Vec<f64> = turned.chunks(classes).rev().flatten().copied().collect();
    Ok(Steadiness { repeat: difference(&first, &again), order: difference(&first, &turned) })
}
