//! What only running shows about the end of a model: that removing a softmax left the predictions unchanged, and whether outputs
//! without a removable softmax are probabilities. Knows an engine and some images.

use flatscape_engine::{CompileOptions, Engine, EngineError};
use flatscape_graph::{Builder, Graph, Tensor};

use super::judge::Form;
use super::native::Native;
use super::pixels::{Outputs, Pixels};
use crate::data::Dataset;
use crate::refusal::Refusal;
use crate::scores::argmax;

/// Images that are tried, at most.
const TRIED: usize = 16;

/// Probabilities below this have this one's logarithm: the smallest normal number of float32.
const LEAST: f64 = 1.175_494_4e-38;

/// A sentence that says on how many images the logits and the file's own output choose the same class; nothing where nothing was
/// cut.
///
/// # Errors
/// `M057` if they do not; engine errors.
pub(super) fn same_predictions(
    native: &Native,
    pixels: &Pixels,
    data: &Dataset,
    engine: &dyn Engine,
) -> Result<Option<String>, Refusal> {
    if native.graph.outputs().len() < 2 {
        return Ok(None);
    }
    let (runs, extent) = native.runnable()?;
    let images = extent.fixed().unwrap_or(TRIED);
    let graph = pixels.before(runs, extent, data.shape, Outputs::Own)?;
    let results = run(&graph, data, images, engine)?;
    let [logits, own, ..] = &results[..] else { return Ok(None) };
    let (z, p) = (rows(logits, native.classes), rows(own, native.classes));
    let n = z.len();
    let agree = |(z, p): (&Vec<f64>, &Vec<f64>)| match &p[..] {
        // one number: above 1/2 where it is a probability, above 0 where it is the logit itself
        &[s] => argmax(z).map(|k| k == 1) == Some(s > if native.cut.is_some() { 0.5 } else { 0.0 }) || z[0] == z[1],
        p => argmax(z).is_none_or(|k| p.iter().all(|&other| other <= p[k] || other.is_nan())),
    };
    let same = z.iter().zip(&p).filter(|&pair| agree(pair)).count();
    if same == n && n > 0 {
        return Ok(Some(format!("on {n} images the logits choose the same classes as the file's own output")));
    }
    let what = format!(
        "{}: cut off at {}, it would choose other classes on {} of {n} images",
        native.name,
        native.cut.as_deref().unwrap_or("its end"),
        n - same
    );
    Err(Refusal::model(57, what).help("export the model without a softmax"))
}

/// Whether the first output comes from an operator of unbounded range, so that it cannot be a probability.
pub(super) fn is_affine(graph: &Graph) -> bool {
    const AFFINE: &[&str] = &["Gemm", "MatMul", "Conv", "Add", "Sub", "Neg"];
    let Some(output) = graph.outputs().first() else { return false };
    let mut value = output.value;
    while let Some((id, _)) = graph.value(value).producer {
        let node = graph.node_at(id);
        match (&*node.op, node.input(0)) {
            ("Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Identity" | "Cast", Some(x)) => value = x,
            (op, _) => return AFFINE.contains(&op),
        }
    }
    false
}

/// The model with ln p in place of its first output p, where no softmax was found to be cut off.
pub(super) fn logarithms(native: &Native) -> Result<Native, Refusal> {
    let refuse = |e: String| Refusal::model(57, format!("{}: {e}", native.name));
    let mut new = native.changed(|graph| Ok(with_logarithm(graph))).map_err(refuse)?;
    let fact = "its output holds probabilities, and no softmax was found to be cut off: their logarithms stand for logits";
    new.facts.push(fact.to_owned());
    new.form = Form::Probabilities;
    Ok(new)
}

fn with_logarithm(graph: &Graph) -> Graph {
    let Some(own) = graph.outputs().first().cloned() else { return graph.clone() };
    let b = Builder::new(graph.clone());
    let logits = b.expr(own.value).max(LEAST).log().id;
    let mut new = b.into_graph();
    let name = if &*own.name == "logits" { "log_probabilities" } else { "logits" };
    new.set_outputs(vec![flatscape_graph::Output { name: name.into(), value: logits }, own]);
    flatscape_graph::simplify(&new)
}

fn run(graph: &Graph, data: &Dataset, images: usize, engine: &dyn Engine) -> Result<Vec<Tensor>, Refusal> {
    let failed = |e: EngineError| Refusal::engine(6, e.to_string());
    let executable = engine.compile(graph, &CompileOptions { split: false, ..CompileOptions::default() }).map_err(failed)?;
    let ids: Vec<u64> = (0..images as u64).map(|i| i % data.len().max(1) as u64).collect();
    let images = data.gather(&ids).x;
    let x = executable.upload(&images).map_err(failed)?;
    let outputs = executable.run(&[&x]).map_err(failed)?;
    outputs.iter().map(|o| o.host().map_err(failed)).collect()
}

/// The rows of a tensor with the images in front; `classes` or 1 number each.
fn rows(tensor: &Tensor, classes: usize) -> Vec<Vec<f64>> {
    let images = tensor.shape().first().copied().unwrap_or(0).max(1);
    let width = if tensor.len() == images { 1 } else { classes.max(1) };
    tensor.to_f64().chunks(width).map(<[f64]>::to_vec).collect()
}
