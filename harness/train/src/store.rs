//! The state of a training as tensors with names, and back. Knows the order of buffers; no files.

use flatscape_engine::{Buffer, EngineError};
use flatscape_graph::Tensor;
use flatscape_report::training::Progress;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::learner::{LearnError, Learner, State};
use crate::sums::Sums;

/// What a checkpoint holds beside tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The epoch that is under way, from 0.
    pub epoch: u32,
    /// Batches of it that are done.
    pub batch: usize,
    /// Steps of the training that are done.
    pub k: u64,
    /// Sums over the part of the epoch that is done.
    pub sums: Sums,
    /// Mean cost of the first batch.
    pub first_cost: Option<f64>,
    /// The finished epochs.
    pub rows: Vec<Progress>,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// The largest accuracy of the watched images under the attack of the evaluation, where they are watched.
    pub watched: Option<f64>,
    /// Why the training ended before its last epoch: it overfitted, as a sentence.
    pub overfitted: Option<String>,
}

impl Facts {
    /// A sentence where the validation images do not show that the best epoch is better than guessing: the lower end of the 95 %
    /// interval of its clean accuracy (Clopper-Pearson) is at most one in `classes`.
    pub fn guesses(&self, classes: usize) -> Option<String> {
        let best = self.best.as_ref()?;
        let clean = self.rows.get(best.epoch as usize)?.clean?;
        (clean.low <= 1.0 / classes as f64).then(|| {
            format!(
                "The model is not shown to be better than guessing: {:.2} % of {} validation images are classified correctly, and \
                 one class in {classes} would be {:.2} %.",
                100.0 * clean.share,
                clean.n,
                100.0 / classes as f64
            )
        })
    }
}

/// The best epoch: the accuracy on validation images that it reached, under attack where there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// From 0.
    pub epoch: u32,
    /// What it is worth.
    pub value: f64,
}

/// A state that was read.
pub struct Restored {
    /// Parameters, states, statistics, averages.
    pub state: State,
    /// Weights of the best epoch.
    pub best: Option<Vec<Tensor>>,
    /// Mean of the weights.
    pub mean: Option<Vec<Tensor>>,
    /// Perturbations of the slots.
    pub delta: Option<Tensor>,
}

/// The tensors of a checkpoint.
///
/// # Errors
/// The engine does not give them.
pub fn stored(
    state: &State,
    best: Option<&[Tensor]>,
    mean: Option<&[Tensor]>,
    delta: Option<&Tensor>,
) -> Result<Vec<(String, Tensor)>, EngineError> {
    let mut tensors = Vec::new();
    for (name, buffers) in [("parameter", &state.parameters), ("state", &state.states), ("average", &state.averages)] {
        for (i, buffer) in buffers.iter().enumerate() {
            tensors.push((format!("{name}.{i}"), buffer.host()?));
        }
    }
    for (name, list) in [("statistic", Some(&state.statistics[..])), ("best", best), ("mean", mean)] {
        let numbered = list.unwrap_or_default().iter().enumerate();
        tensors.extend(numbered.map(|(i, tensor)| (format!("{name}.{i}"), tensor.clone())));
    }
    tensors.extend(delta.map(|delta| ("delta".to_owned(), delta.clone())));
    Ok(tensors)
}

/// The state of a checkpoint. The inner error is a clause about what does not fit.
///
/// # Errors
/// The engine does not take the tensors.
pub fn restored(checkpoint: &Checkpoint<Facts>, learner: &Learner) -> Result<Result<Restored, String>, LearnError> {
    let list = |name: &str| -> Vec<Tensor> { (0..).map_while(|i| checkpoint.tensor(&format!("{name}.{i}")).cloned()).collect() };
    let upload = |name: &str| -> Result<Vec<Buffer>, LearnError> { list(name).iter().map(|t| learner.upload(t)).collect() };
    let state = State {
        parameters: upload("parameter")?,
        states: upload("state")?,
        statistics: list("statistic"),
        averages: upload("average")?,
    };
    if let Some(clause) = learner.misfit(&state) {
        return Ok(Err(clause));
    }
    let some = |list: Vec<Tensor>| if list.is_empty() { None } else { Some(list) };
    let (best, mean) = (some(list("best")), some(list("mean")));
    Ok(Ok(Restored { state, best, mean, delta: checkpoint.tensor("delta").cloned() }))
}
