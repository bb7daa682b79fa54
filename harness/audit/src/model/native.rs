//! A model in its own terms: which input, which output, logits instead of probabilities, any batch. Knows nothing of pixels.

use std::collections::BTreeMap;

use flatscape_graph::normalize;
use flatscape_graph::{Dim, Expr, Graph, Output, ValueId, shown};

use super::Intake;
use super::admit::admit;
use super::source::{self, Found};
use crate::card::Card;
use crate::intake::IntakeError;

/// A model as its file has it, normalised: one opset, constants folded, a final softmax cut off.
#[derive(Clone, Debug)]
pub struct Native {
    /// The name in its card, or the stem of its file.
    pub name: String,
    /// Its path, or that it was shipped.
    pub source: String,
    /// SHA-256 of the model file.
    pub sha256: String,
    /// The program that wrote the file; may be empty.
    pub producer: String,
    /// Opset of the file.
    pub opset: i64,
    /// Operators of the file with their counts.
    pub operators: BTreeMap<String, usize>,
    /// Inputs and outputs under their own names, types and shapes, before anything was changed.
    pub interface: Interface,
    /// Inputs are the file's own. The first output holds the logits: under their own name, or, where a softmax was cut off, as
    /// `logits` before the file's own output.
    pub graph: Graph,
    /// The same with the batch called `N`, or the clause that says why it cannot be. Nothing has been run yet.
    any_batch: Result<Graph, String>,
    /// The extent that the file gave the batch.
    pub fixed_batch: Option<usize>,
    /// The operator that was cut off behind the logits, e.g. `Softmax`.
    pub cut: Option<String>,
    /// Name of the file's output that the logits lead to.
    pub output: String,
    /// How many logits.
    pub classes: usize,
    /// The card beside the model, completed by its metadata.
    pub card: Card,
    /// What was done to the file, as sentences.
    pub facts: Vec<String>,
}

/// Names and types of the interface of a file.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Interface {
    /// `(name, type)`, e.g. `("input", "float[1,1,28,28]")`.
    pub inputs: Vec<(String, String)>,
    /// As for inputs.
    pub outputs: Vec<(String, String)>,
}

impl Native {
    /// Reads and normalises the model of that name or at that path.
    ///
    /// # Errors
    /// Model errors with the number of the kind of fault, and usage errors about the output that was named and the card.
    pub fn load(source: &str, intake: &Intake) -> Result<Native, IntakeError> {
        let Found { name, source, sha256, file, card, mut facts } = source::find(source, &intake.limits)?;
        facts.extend(normalize::flat_ensembles(&file.graph));
        let (producer, opset) = (file.producer.clone(), file.opset);
        let mut operators = BTreeMap::new();
        file.graph.nodes().iter().for_each(|n| *operators.entry(n.op.to_string()).or_insert(0) += 1);
        let whole = admit(&name, &file)?;
        let refuse = |number: u16, what: String| IntakeError::model(number, format!("{name}: {what}"));
        let interface = interface(&whole);
        let Some(&input) = whole.inputs().first() else { return Err(refuse(15, "the model has no input".to_owned())) };
        let chosen = choose_output(&whole, &name, intake.output.as_deref())?;
        let own_output = whole.outputs()[chosen].name.to_string();
        let (graph, cut) = normalize::logits(&whole, chosen);
        if cut != normalize::Cut::Nothing {
            facts.push(format!("the {cut} before output {} was cut off, so that logits are logits", shown(&own_output)));
        }
        let input = graph.input_named(&whole.value(input).name).unwrap_or(input);
        let classes = graph.outputs().first().map_or(Err("the model has no output".to_owned()), |o| class_extent(&graph, o));
        let classes = classes.map_err(|what| refuse(60, what))?;
        let fixed_batch = graph.shape(input).and_then(|s| s.first()).and_then(Dim::fixed);
        let any_batch = match normalize::symbolic_batch(&graph, input) {
            Ok(None) => Ok(graph.clone()),
            Ok(Some(freed)) => Ok(freed),
            Err(why) => Err(why),
        };
        Ok(Native {
            name,
            source,
            sha256,
            producer,
            opset,
            operators,
            interface,
            graph,
            any_batch,
            fixed_batch,
            cut: (cut != normalize::Cut::Nothing).then(|| cut.to_string()),
            output: own_output,
            classes,
            card,
            facts,
        })
    }

    /// Applies the remedy of the model that is among `asked`, if it finds something to do; gives its name and the sentence that
    /// says that this is another model.
    pub fn remedy(&mut self, asked: &[String]) -> Option<(&'static str, String)> {
        let (name, graph, said) = crate::remedies::of_model(&self.graph, asked)?;
        self.graph = graph;
        if let Ok(any) = &self.any_batch
            && let Some((_, graph, _)) = crate::remedies::of_model(any, asked)
        {
            self.any_batch = Ok(graph);
        }
        Some((name, said))
    }

    /// The graph that takes any batch.
    ///
    /// # Errors
    /// `M052` with the node that does not let the batch be free.
    pub fn any_batch(&self) -> Result<&Graph, IntakeError> {
        self.any_batch.as_ref().map_err(|why| {
            let batch = self.fixed_batch.map_or(String::new(), |n| format!("is fixed to {n} and "));
            IntakeError::model(52, format!("{}: the batch {batch}cannot be made free: {why}", self.name))
                .help("export the model with a dynamic batch axis")
        })
    }

    /// The only input. The name is for messages.
    ///
    /// # Errors
    /// A usage error where the model has several.
    pub fn only_input(&self) -> Result<ValueId, IntakeError> {
        match self.graph.inputs() {
            [only] => Ok(*only),
            several => {
                let names: Vec<String> = several.iter().map(|&i| shown(&self.graph.value(i).name)).collect();
                let what = format!("{} has {} inputs: {}", self.name, several.len(), names.join(", "));
                Err(IntakeError::model(59, what).help("export a model whose only input is the image"))
            }
        }
    }
}

/// The output that was named, or the only one that can be logits: float [N,C], with extents of 1 behind.
fn choose_output(graph: &Graph, model: &str, wanted: Option<&str>) -> Result<usize, IntakeError> {
    let all = graph.outputs();
    let list = || all.iter().map(|o| format!("{} {}", shown(&o.name), graph.value(o.value).ty)).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = wanted {
        return all.iter().position(|o| &*o.name == wanted).ok_or_else(|| {
            IntakeError::usage(59, format!("{model} has no output {}", shown(wanted))).help(format!("its outputs are {}", list()))
        });
    }
    if all.len() == 1 {
        return Ok(0);
    }
    let candidates: Vec<usize> = (0..all.len()).filter(|&i| class_extent(graph, &all[i]).is_ok()).collect();
    match candidates[..] {
        [only] => Ok(only),
        _ => Err(IntakeError::usage(59, format!("{model} has {} outputs: {}", all.len(), list()))
            .help("say which one holds the logits, [N,classes]: --output NAME")),
    }
}

/// The number of classes of an output that can be logits; otherwise a clause that says why it cannot.
fn class_extent(graph: &Graph, output: &Output) -> Result<usize, String> {
    let ty = &graph.value(output.value).ty;
    let cannot = |why: &str| Err(format!("output {} is {ty}: {why}", shown(&output.name)));
    match (ty.dtype, ty.shape.as_deref()) {
        (Some(dtype), _) if !dtype.is_float() => cannot("logits are floats"),
        (_, None) => cannot("its shape cannot be worked out, so the classes are unknown"),
        (_, Some([_, classes, ones @ ..])) if ones.iter().all(|d| d.fixed() == Some(1)) => match classes.fixed() {
            Some(n) if n >= 2 => Ok(n),
            Some(_) => cannot("one number per image; models with a single logit are not read by this version"),
            None => cannot("the number of classes is not fixed"),
        },
        _ => cannot("expected [N,classes], with extents of 1 behind at most"),
    }
}

/// Logits as [N,K], without the extents of 1 that may follow.
pub fn rows_of_logits(logits: Expr<'_>) -> Expr<'_> {
    let trailing: Vec<i64> = (2..logits.rank().unwrap_or(2) as i64).collect();
    logits.squeeze(&trailing)
}

fn interface(graph: &Graph) -> Interface {
    let entry = |name: &str, id| (name.to_owned(), graph.value(id).ty.to_string());
    Interface {
        inputs: graph.inputs().iter().map(|&i| entry(&graph.value(i).name, i)).collect(),
        outputs: graph.outputs().iter().map(|o| entry(&o.name, o.value)).collect(),
    }
}
