//! The output of a file that names a class for every image, beside the one that holds scores: whether both answer alike is tried by
//! running. Knows an engine and some images.

use flatscape_engine::{CompileOptions, Engine, EngineError};
use flatscape_graph::{DType, Dim, Graph, Tensor, normalize, shown};

use super::native::Native;
use super::pixels::{Outputs, Pixels};
use crate::data::Dataset;
use crate::mcnemar::mcnemar;
use crate::refusal::Refusal;
use crate::scores::argmax;

/// Images that are tried, at most.
const TRIED: usize = 1000;

/// Images that are tried at once where the file fixes no batch.
const BATCH: usize = 64;

/// With a p-value below this the label is better than the scores.
const SIGNIFICANT: f64 = 0.01;

/// An output of integers, one for each image.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// Its name.
    name: String,
    /// Its graph, with the batch of the file, and with the batch called `N` where that can be.
    graph: Graph,
    any_batch: Option<Graph>,
    /// The numbers of the classes in the order of the scores, where the file states numbers.
    numbers: Vec<i64>,
}

impl Label {
    /// The first output that is one integer per image, beside the one with the scores.
    pub(super) fn of(whole: &Graph, scores: usize, classes: usize, labels: &[String]) -> Option<Label> {
        let integer = |dtype: Option<DType>| matches!(dtype, Some(DType::I64 | DType::I32));
        let single = |shape: Option<&[Dim]>| matches!(shape, Some([_] | [_, Dim::Fixed(1)]));
        let mut others = whole.outputs().iter().enumerate().filter(|(i, _)| *i != scores).map(|(_, output)| output);
        let output = others.find(|o| integer(whole.dtype(o.value)) && single(whole.shape(o.value)))?;
        let mut graph = whole.clone();
        graph.set_outputs(vec![output.clone()]);
        let graph = graph.without_dead().without_unread_inputs().0;
        let &[input] = graph.inputs() else { return None };
        graph.dtype(input).filter(|d| d.is_float())?;
        let any_batch = match normalize::symbolic_batch(&graph, input) {
            Ok(freed) => Some(freed.unwrap_or_else(|| graph.clone())),
            Err(_) => None,
        };
        let numbers: Option<Vec<i64>> = labels.iter().map(|label| label.parse().ok()).collect();
        let numbers = numbers.filter(|n| n.len() == classes).unwrap_or_else(|| (0..classes as i64).collect());
        Some(Label { name: output.name.to_string(), graph, any_batch, numbers })
    }

    fn compared(
        &self,
        native: &Native,
        pixels: &Pixels,
        data: &Dataset,
        engine: &dyn Engine,
        stated: bool,
    ) -> Result<Option<String>, Refusal> {
        let (runs, extent) = native.runnable()?;
        let graph = if extent.fixed().is_some() { Some(&self.graph) } else { self.any_batch.as_ref() };
        let Some(graph) = graph else { return Ok(None) };
        let scores = pixels.before(runs, extent.clone(), data.shape, Outputs::Logits)?;
        let labels = pixels.before(graph, extent.clone(), data.shape, Outputs::Own)?;
        let n = data.len().min(TRIED);
        let ids: Vec<u64> = (0..n).map(|i| (i * data.len() / n.max(1)) as u64).collect();
        let batch = extent.fixed().unwrap_or(BATCH).max(1);
        let by_scores: Vec<Option<usize>> = answers(&scores, data, &ids, batch, engine)?.iter().map(|row| argmax(row)).collect();
        let by_label = match answers(&labels, data, &ids, batch, engine) {
            Ok(answers) => self.places(&answers),
            Err(why) => {
                return Ok(Some(format!("the output {} was not compared with the scores: {}", shown(&self.name), why.what)));
            }
        };
        let truth = data.gather(&ids).y;
        let right = |answers: &[Option<usize>]| -> Vec<bool> {
            answers.iter().zip(&truth).map(|(answer, y)| answer.map(|k| k as i64) == Some(*y)).collect()
        };
        let (scored, labelled) = (right(&by_scores), right(&by_label));
        let flips = |from: &[bool], to: &[bool]| from.iter().zip(to).filter(|(from, to)| !**from && **to).count() as u64;
        let differ = by_scores.iter().zip(&by_label).filter(|(a, b)| a != b).count();
        let name = shown(&self.name);
        if differ == 0 {
            return Ok(Some(format!("on {n} images the output {name} names the class of the largest score")));
        }
        let rate = |right: &[bool]| right.iter().filter(|r| **r).count() as f64 / n as f64;
        let what = format!(
            "on {differ} of {n} images the output {name} does not name the class of the largest score: {:.4} of its labels are right, \
             and {:.4} of the classes with the largest score, which is what counts here",
            rate(&labelled),
            rate(&scored)
        );
        let (gained, lost) = (flips(&scored, &labelled), flips(&labelled, &scored));
        if stated || gained <= lost || mcnemar(gained, lost) >= SIGNIFICANT {
            return Ok(Some(what));
        }
        let help = format!("if the scores answer nevertheless, name their output: --output {}", native.output);
        Err(Refusal::model(61, format!("{}: {what}", native.name)).help(help))
    }

    /// Which class each label is: that of its number, or of its place where labels are no numbers of classes.
    fn places(&self, labels: &[Vec<f64>]) -> Vec<Option<usize>> {
        let labels: Vec<i64> = labels.iter().map(|row| row.first().map_or(-1, |&v| v as i64)).collect();
        let numbered = labels.iter().all(|label| self.numbers.contains(label));
        let place = |label: &i64| match numbered {
            true => self.numbers.iter().position(|n| n == label),
            false => usize::try_from(*label).ok().filter(|&k| k < self.numbers.len()),
        };
        labels.iter().map(place).collect()
    }
}

/// A sentence about how often label and scores answer alike; nothing where the label cannot be run as the scores are. `stated` says
/// that the user named the output of the scores.
///
/// # Errors
/// `M061` where the label is right on significantly more images than the scores, and nothing was stated; engine errors.
pub(super) fn compared(
    native: &Native,
    pixels: &Pixels,
    data: &Dataset,
    engine: &dyn Engine,
    stated: bool,
) -> Result<Option<String>, Refusal> {
    native.label.as_ref().map_or(Ok(None), |label| label.compared(native, pixels, data, engine, stated))
}

/// The first output for each of these images, run in batches of this size; the last one is filled up.
fn answers(graph: &Graph, data: &Dataset, ids: &[u64], batch: usize, engine: &dyn Engine) -> Result<Vec<Vec<f64>>, Refusal> {
    let failed = |e: EngineError| Refusal::engine(6, e.to_string());
    let executable = engine.compile(graph, &CompileOptions { split: false, ..CompileOptions::default() }).map_err(failed)?;
    let mut rows = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(batch) {
        let filled: Vec<u64> = chunk.iter().copied().cycle().take(batch).collect();
        let x = executable.upload(&data.gather(&filled).x).map_err(failed)?;
        let results = executable.run(&[&x]).map_err(failed)?;
        let first: Tensor = match results.first() {
            Some(result) => result.host().map_err(failed)?,
            None => return Err(Refusal::engine(6, "the engine gave no result".to_owned())),
        };
        let width = (first.len() / batch).max(1);
        rows.extend(first.to_f64().chunks(width).take(chunk.len()).map(<[f64]>::to_vec));
    }
    Ok(rows)
}
