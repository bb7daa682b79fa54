//! Whether a model answers the same twice: two runs of one session, a run of another session, and the same images in another
//! order. Knows graphs and an engine.

use flatscape_engine::{CompileOptions, Engine, EngineError};
use flatscape_graph::{Graph, Tensor};

use super::TOLERANCE;
use crate::intake::IntakeError;
use crate::stage::rows;

/// What was found when the same images were run again.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Steadiness {
    /// Largest difference between two runs, relative to max(1, largest |logit|).
    pub repeat: f64,
    /// Largest difference between the images in order and the other way round, in the same terms.
    pub order: f64,
}

impl Steadiness {
    /// Whether two runs agree up to rounding.
    pub fn repeats(&self) -> bool {
        self.repeat <= TOLERANCE
    }

    /// Whether the order of the images does not matter. Where runs differ anyhow, nothing is learned about the order.
    pub fn keeps_order(&self) -> bool {
        self.order <= TOLERANCE || !self.repeats()
    }
}

/// Runs the graph (its first output [N,K]) four times on the images: in a fresh session, in the same again, in another fresh
/// one, and there with the images in reverse.
///
/// # Errors
/// An engine error.
pub fn measure(engine: &dyn Engine, graph: &Graph, images: &Tensor) -> Result<Steadiness, IntakeError> {
    let failed = |e: EngineError| IntakeError::engine(6, e.to_string());
    let plain = CompileOptions { split: false, ..CompileOptions::default() };
    let run = |executable: &dyn flatscape_engine::Executable, x: &Tensor| -> Result<Vec<f64>, EngineError> {
        let x = executable.upload(x)?;
        executable.run(&[&x])?.first().map_or(Ok(Vec::new()), |o| o.host().map(|t| t.to_f64()))
    };
    let n = images.shape().first().copied().unwrap_or(0);
    let (one, other) = (engine.compile(graph, &plain).map_err(failed)?, engine.compile(graph, &plain).map_err(failed)?);
    let first = run(one.as_ref(), images).map_err(failed)?;
    let again = run(one.as_ref(), images).map_err(failed)?;
    let fresh = run(other.as_ref(), images).map_err(failed)?;
    let backwards: Vec<usize> = (0..n).rev().collect();
    let turned = run(other.as_ref(), &rows(images, &backwards)).map_err(failed)?;
    let classes = (turned.len() / n.max(1)).max(1);
    let turned: Vec<f64> = turned.chunks(classes).rev().flatten().copied().collect();
    let repeat = difference(&first, &again).max(difference(&first, &fresh));
    Ok(Steadiness { repeat, order: difference(&fresh, &turned) })
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    let scale = a.iter().filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()));
    let one = |(a, b): (&f64, &f64)| match (a == b || a.is_nan() && b.is_nan(), (a - b).abs() / scale) {
        (true, _) => 0.0,
        (false, d) if d.is_nan() => f64::INFINITY,
        (false, d) => d,
    };
    if a.len() == b.len() { a.iter().zip(b).map(one).fold(0.0, f64::max) } else { f64::INFINITY }
}
