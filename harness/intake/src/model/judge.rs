//! Who says what a model answers when a point is judged. A file that computes in half precision is widened to float32 for gradients;
//! its answers are then taken from the file itself, run as it was written, where an engine does that. Engines may compute parts of
//! it in float32, so a graph that rounds every result to half precision is asked, too. Knows files, pixels and an engine; nothing
//! of verdicts.

use flatscape_engine::{CompileOptions, Engine, EngineError, Executable};
use flatscape_graph::normalize::Cut;
use flatscape_graph::onnx::{self, ModelFile, OwnFile};
use flatscape_graph::{DType, Dim, Graph, Output, Tensor, ValueType, rows};

use super::Intake;
use super::admit::admit;
use super::answer::Task;
use super::given::identity;
use super::native::{Native, with_inputs};
use super::pixels::{Outputs, Pixels};
use crate::data::Dataset;

/// Images that are tried.
const TRIED: usize = 8;

/// How far an integer input may be from a whole number, by rounding of the preprocessing.
const WHOLE: f64 = 1e-3;

/// Who says what a model answers.
#[derive(Clone, Debug)]
pub enum Judge {
    /// The graph: it computes what the file says, in the precision of the file.
    Graph,
    /// The file itself.
    File(Box<Own>),
    /// A float32 copy of the file; the clause says why the file does not answer.
    Copy(String),
}

/// The same as data, for the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgedBy {
    /// See [`Judge::Graph`].
    #[default]
    Graph,
    /// See [`Judge::File`].
    File,
    /// See [`Judge::Copy`].
    Float32Copy(String),
}

/// What the numbers of a file's output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One score per class: the largest wins.
    Scores,
    /// One probability per class, of which the logarithm is the score.
    Probabilities,
    /// One number: the logit of class 1.
    Logit,
    /// One number: the probability of class 1.
    Probability,
}

/// What answers in the terms of a file, and how it is asked.
#[derive(Clone, Debug)]
pub struct Own {
    /// Input `x` float[N,C,H,W] in pixel units, output float: what the file takes.
    before: Graph,
    runs: Runs,
    form: Form,
    classes: usize,
}

/// What is run: one input and one output.
#[derive(Clone, Debug)]
enum Runs {
    /// The file as it is.
    File(OwnFile),
    /// A graph of it.
    Graph(Graph),
}

/// A file that answers for itself, compiled.
pub struct Answering {
    before: Box<dyn Executable>,
    file: Box<dyn Executable>,
    own: Own,
}

impl Form {
    pub(super) fn of(cut: Cut, task: Option<Task>) -> Form {
        match (cut, task) {
            (Cut::Nothing, Some(Task::Binary)) => Form::Logit,
            (Cut::Sigmoid, Some(Task::Binary)) => Form::Probability,
            (Cut::Softmax | Cut::WrittenSoftmax | Cut::SigmoidPair, _) => Form::Probabilities,
            (Cut::Nothing | Cut::LogSoftmax | Cut::WrittenLogSoftmax | Cut::Sigmoid, _) => Form::Scores,
        }
    }

    /// The scores of one image.
    fn scores(self, values: &[f64]) -> Vec<f64> {
        match (self, values) {
            (Form::Logit, &[s]) => vec![0.0, s],
            (Form::Probability, &[p]) => vec![ln(1.0 - p), ln(p)],
            (Form::Probabilities, values) => values.iter().map(|&p| ln(p)).collect(),
            (_, values) => values.to_vec(),
        }
    }
}

/// ln p; −∞ for 0 and, by rounding, below it; NaN stays NaN.
fn ln(p: f64) -> f64 {
    if p <= 0.0 { f64::NEG_INFINITY } else { p.ln() }
}

/// Who answers for a file, and what rounding to half precision makes of it, where that can be computed; both are said.
pub(super) fn settle(
    native: &Native,
    intake: &Intake,
    pixels: &Pixels,
    changed: Option<&str>,
    data: &Dataset,
    engine: &dyn Engine,
    facts: &mut Vec<String>,
) -> (Judge, Option<Own>) {
    let judge = Judge::settle(native, pixels, changed, data, engine);
    facts.extend(judge.fact());
    if changed.is_some() {
        return (judge, None);
    }
    match Own::rounded(native, intake, pixels, data, engine) {
        Ok(rounded) => (judge, rounded),
        Err(why) => {
            facts.push(format!("what half precision does to its numbers is not known: {why}"));
            (judge, None)
        }
    }
}

impl Judge {
    /// Finds out who answers for a file, by running it on a few images. `changed` is the remedy that made another model of it.
    pub(super) fn settle(native: &Native, pixels: &Pixels, changed: Option<&str>, data: &Dataset, engine: &dyn Engine) -> Judge {
        if let Some(why) = &native.narrowed {
            return Judge::Copy(why.clone());
        }
        let Some(stored) = &native.own else { return Judge::Graph };
        if let Some(remedy) = changed {
            return Judge::Copy(format!("the remedy {remedy} made another model of the file"));
        }
        let own = stored.clone().and_then(|bytes| {
            let file = OwnFile::new(&bytes, &native.output).map_err(|why| format!("it {why}"))?;
            Own::tried(Runs::File(file), native, pixels, data, engine)
        });
        own.map_or_else(Judge::Copy, |own| Judge::File(Box::new(own)))
    }

    /// The same as data.
    pub fn facts(&self) -> JudgedBy {
        match self {
            Judge::Graph => JudgedBy::Graph,
            Judge::File(_) => JudgedBy::File,
            Judge::Copy(why) => JudgedBy::Float32Copy(why.clone()),
        }
    }

    /// A sentence, where the graph does not answer.
    fn fact(&self) -> Option<String> {
        match self {
            Judge::Graph => None,
            Judge::File(_) => Some(
                "points are judged by the file itself, in its own precision; gradients, metrics and landscapes are those of a \
                 float32 copy"
                    .to_owned(),
            ),
            Judge::Copy(why) => Some(format!("points are judged by a float32 copy, not by the file itself: {why}")),
        }
    }
}

impl Own {
    /// What the file says where every result of an operator of half precision is rounded to it, as on hardware that computes in it;
    /// nothing for a file in another precision.
    ///
    /// # Errors
    /// A clause: the file has no such graph, or the engine does not run it.
    fn rounded(
        native: &Native,
        intake: &Intake,
        pixels: &Pixels,
        data: &Dataset,
        engine: &dyn Engine,
    ) -> Result<Option<Own>, String> {
        let Some(stored) = &native.own else { return Ok(None) };
        let file = onnx::read_rounded(&stored.clone()?).map_err(|e| e.to_string())?;
        let graph = with_inputs(&file.graph, &intake.inputs, &native.name, &mut Vec::new()).map_err(|refusal| refusal.what)?;
        let mut graph = admit(&native.name, &ModelFile { graph, ..file }).map_err(|refusal| refusal.what)?;
        let value = graph.output_named(&native.output).ok_or("its output has another name")?;
        graph.set_outputs(vec![Output { name: native.output.as_str().into(), value }]);
        let (graph, _) = graph.without_dead().without_unread_inputs();
        if graph.inputs().len() != 1 {
            return Err("it takes several inputs".to_owned());
        }
        Own::tried(Runs::Graph(graph), native, pixels, data, engine).map(Some)
    }

    /// Runs a few images.
    fn tried(runs: Runs, native: &Native, pixels: &Pixels, data: &Dataset, engine: &dyn Engine) -> Result<Own, String> {
        let before =
            pixels.before(&identity(native), Dim::symbol("N"), data.shape, Outputs::Own).map_err(|refusal| refusal.what)?;
        let own = Own { before, runs, form: native.form, classes: native.classes };
        let count = TRIED.min(data.len());
        let images = data.gather(&(0..count as u64).collect::<Vec<_>>()).x;
        own.compile(engine).and_then(|answering| answering.scores(&images)).map_err(|e| first_line(&e.to_string()))?;
        Ok(own)
    }

    /// Compiles the file and what brings pixels to it.
    ///
    /// # Errors
    /// The engine does not run files as they are, or refuses this one.
    pub fn compile(&self, engine: &dyn Engine) -> Result<Answering, EngineError> {
        let plain = CompileOptions::default();
        let file = match &self.runs {
            Runs::File(file) => engine.compile_file(file)?,
            Runs::Graph(graph) => engine.compile(graph, &plain)?,
        };
        Ok(Answering { before: engine.compile(&self.before, &plain)?, file, own: self.clone() })
    }
}

impl Runs {
    fn entering(&self, v: f64) -> f64 {
        if let Runs::File(file) = self { file.entering(v) } else { v }
    }

    fn leaving(&self, v: f64) -> f64 {
        if let Runs::File(file) = self { file.leaving(v) } else { v }
    }

    fn input(&self) -> ValueType {
        match self {
            Runs::File(file) => file.input.1.clone(),
            Runs::Graph(graph) => graph.inputs().first().map_or_else(ValueType::default, |&x| graph.value(x).ty.clone()),
        }
    }
}

impl Answering {
    /// The scores that the file gives for points [n,C,H,W], each alone; `None` for a point that it cannot be fed, because it takes
    /// whole numbers.
    ///
    /// # Errors
    /// The engine failed, or the file gives another number of scores.
    pub fn scores(&self, points: &Tensor) -> Result<Vec<Option<Vec<f64>>>, EngineError> {
        let count = points.shape().first().copied().unwrap_or(0);
        (0..count).map(|row| self.score(&rows(points, &[row]))).collect()
    }

    fn score(&self, point: &Tensor) -> Result<Option<Vec<f64>>, EngineError> {
        let Own { runs, form, classes, .. } = &self.own;
        let wrong = |reason: String| EngineError::Run { engine: "the file itself", graph: "own".to_owned(), reason };
        let fed = self.before.run(&[&self.before.upload(point)?])?;
        let fed = fed.first().ok_or_else(|| wrong("it got no input".to_owned()))?.host()?;
        let ty = runs.input();
        let dtype = ty.dtype.unwrap_or(DType::F32);
        let entering: Vec<f64> = fed.to_f64().into_iter().map(|v| runs.entering(v)).collect();
        let Some(values) = typed(&entering, dtype) else { return Ok(None) };
        // a file that takes a batch gets copies, one that takes one image without a batch gets that
        let inner = fed.shape().get(1..).unwrap_or(&[]);
        let declared = ty.shape.as_deref();
        let bare = declared.is_some_and(|dims| dims.len() == inner.len());
        let batch = if bare { 1 } else { declared.and_then(|d| d.first()).and_then(Dim::fixed).unwrap_or(1) };
        let shape: Vec<usize> = if bare { Vec::new() } else { vec![batch] }.into_iter().chain(inner.iter().copied()).collect();
        let input = Tensor::new(&shape, values.repeat(batch)).ok_or_else(|| wrong("its input has no shape".to_owned()))?;
        let given = self.file.run(&[&self.file.upload(&input.cast(dtype))?])?;
        let given = given.first().ok_or_else(|| wrong("it gave nothing".to_owned()))?.host()?.to_f64();
        let per_image = given.len() / batch.max(1);
        let expected = if matches!(form, Form::Logit | Form::Probability) { 1 } else { *classes };
        if per_image != expected || given.len() != expected * batch {
            return Err(wrong(format!("it gives {} numbers for {batch} images, not {expected} for each", given.len())));
        }
        let own: Vec<f64> = given[..expected].iter().map(|&v| runs.leaving(v)).collect();
        Ok(Some(form.scores(&own)))
    }
}

/// Numbers as an input of this type takes them; `None` where it takes whole numbers and one of these is none.
fn typed(values: &[f64], dtype: DType) -> Option<Vec<f64>> {
    if dtype.is_float() {
        return Some(values.to_vec());
    }
    let whole = |&v: &f64| (v.is_finite() && (v - v.round()).abs() <= WHOLE).then(|| v.round());
    values.iter().map(whole).collect()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_output_becomes_scores() {
        let low = f64::NEG_INFINITY;
        assert_eq!(Form::Scores.scores(&[2.0, -1.0]), [2.0, -1.0]);
        assert_eq!(Form::Logit.scores(&[-3.0]), [0.0, -3.0]);
        assert_eq!(Form::Probability.scores(&[0.5]), [0.5f64.ln(), 0.5f64.ln()]);
        assert_eq!(Form::Probability.scores(&[1.0]), [low, 0.0]);
        assert_eq!(Form::Probabilities.scores(&[0.0, 1.0, -0.0]), [low, 0.0, low]);
        assert!(Form::Probabilities.scores(&[f64::NAN, 1.0])[0].is_nan());
    }

    #[test]
    fn whole_numbers_are_fed_as_whole_numbers_only() {
        assert_eq!(typed(&[0.25, 1.0], DType::F32), Some(vec![0.25, 1.0]));
        assert_eq!(typed(&[254.999_98, 1.0], DType::U8), Some(vec![255.0, 1.0]));
        assert_eq!(typed(&[254.5, 1.0], DType::U8), None);
    }
}
