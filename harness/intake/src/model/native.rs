//! A model in its own terms: which input, which output, logits instead of probabilities, any batch. Knows nothing of pixels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flatscape_graph::normalize::{self, Cut, TailError};
use flatscape_graph::onnx::ModelFile;
use flatscape_graph::{DType, Dim, Graph, Output, Tensor, ValueId, shown};

use super::Intake;
use super::admit::{admit, admit_as};
use super::answer::{Task, choose, class_extent, implied, unlike_labels};
use super::interface::with_batches;
use super::judge::Form;
use super::label::Label;
use super::source::{self, Found};
use crate::card::Card;
use crate::refusal::Refusal;

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
    /// Names of the initializers of the file that hold floats.
    pub initializers: BTreeSet<String>,
    /// Inputs are the file's own, with float pixels where the file has integers. The first output holds the logits: under their
    /// own name, or, where something was cut off, as `logits` before the file's own output.
    pub graph: Graph,
    /// The same with the batch called `N`, or the clause that says why it cannot be. Nothing has been run yet.
    any_batch: Result<Graph, String>,
    /// The extent that the file gave the batch.
    pub fixed_batch: Option<usize>,
    /// The element type of the pixels in the file, where they are integers there.
    pub integer_pixels: Option<DType>,
    /// The operator that was cut off behind the logits, e.g. `Softmax`.
    pub cut: Option<String>,
    /// Name of the file's output that the logits lead to.
    pub output: String,
    /// What that output holds.
    pub(super) form: Form,
    /// What it says about an image, as stated or as its classifier implies.
    pub(super) task: Option<Task>,
    /// The output that names a class for every image, beside that of the scores.
    pub(super) label: Option<Label>,
    /// The file with all its data inside, or the clause that says why there is none; only of files that were widened to float32.
    pub(super) own: Option<Result<Arc<[u8]>, String>>,
    /// Why the graph is in float32 where the file is in double.
    pub(super) narrowed: Option<String>,
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

/// The name of an output, and its number of classes or the clause that says why it holds no scores.
pub type OutputClasses = (String, Result<usize, String>);

impl Native {
    /// Reads and normalises the model of that name or at that path.
    ///
    /// # Errors
    /// As for [`Native::with`].
    pub fn load(source: &str, stated: &Intake) -> Result<Native, Refusal> {
        Native::with(source, stated, None)
    }

    /// Reads and normalises a model about which something is stated. `labels` is the number of classes of the data, where that
    /// is known: it decides between several outputs.
    ///
    /// # Errors
    /// Model errors with the number of the kind of fault, and usage errors about what is stated and the card.
    pub fn with(source: &str, stated: &Intake, labels: Option<usize>) -> Result<Native, Refusal> {
        let found = source::find(source, &stated.limits)?;
        Ok(Native::of(found, stated, labels, &normalize::Options::default())?.0)
    }

    /// As [`Native::load`], in a stated normal form.
    ///
    /// # Errors
    /// As for [`Native::with`].
    pub fn load_as(source: &str, stated: &Intake, options: &normalize::Options) -> Result<Native, Refusal> {
        let found = source::find(source, &stated.limits)?;
        Ok(Native::of(found, stated, None, options)?.0)
    }

    /// The same of a file that was read, in a stated normal form; with the normal form of the whole file, its interface unchanged.
    pub(super) fn of(
        found: Found,
        stated: &Intake,
        labels: Option<usize>,
        options: &normalize::Options,
    ) -> Result<(Native, Graph), Refusal> {
        let Found { name, source, sha256, mut file, own, card, mut facts } = found;
        facts.extend(
            card.output
                .iter()
                .filter(|_| stated.output.is_none())
                .map(|output| format!("the output {} holds the scores, as its card or its metadata state", shown(output))),
        );
        let stated = &stated.or(&card);
        facts.extend(normalize::flat_ensembles(&file.graph));
        let (producer, opset) = (file.producer.clone(), file.opset);
        let mut operators = BTreeMap::new();
        file.graph.nodes().iter().for_each(|n| *operators.entry(n.op.to_string()).or_insert(0) += 1);
        let initializers = float_constants(&file.graph);
        file.graph = with_inputs(&file.graph, &stated.inputs, &name, &mut facts)?;
        let whole = admit_as(&name, &file, options)?;
        let admitted = whole.clone();
        let refuse = |number: u16, what: String| Refusal::model(number, format!("{name}: {what}"));
        let interface = interface(&whole);
        if whole.inputs().is_empty() {
            return Err(refuse(15, "the model has no input".to_owned()));
        }
        let whole = with_batches(whole, &name, &mut facts)?;
        let labelled = std::mem::take(&mut file.class_labels);
        let task = stated.task.or_else(|| implied(&whole, &labelled, &mut facts));
        let chosen = choose(&whole, &name, stated.output.as_deref(), task, labels)?;
        let own_output = whole.outputs()[chosen].name.to_string();
        if whole.outputs().len() > 1 && stated.output.is_none() {
            facts.push(format!("of its {} outputs {} answers", whole.outputs().len(), shown(&own_output)));
        }
        let (graph, cut) = behind_probabilities(&whole, chosen, task, &name)?;
        facts.extend(tail_fact(cut, task, &own_output));
        let (graph, gone) = graph.without_unread_inputs();
        facts.extend(
            gone.iter().map(|input| {
                format!("the input {} is not read on the way to {} and was dropped", shown(input), shown(&own_output))
            }),
        );
        let classes = counted(&graph, &whole, chosen, task, &name)?;
        if let Some(what) = unlike_labels(&labelled, classes, &own_output) {
            return Err(refuse(60, what).help("export it with one score per class (decision_function_shape='ovr')"));
        }
        let (graph, integer_pixels) = float_pixels(graph, &name, &mut facts)?;
        let Some(&input) = graph.inputs().first() else { return Err(refuse(15, "no input leads to the output".to_owned())) };
        let fixed_batch = graph.shape(input).and_then(|s| s.first()).and_then(Dim::fixed);
        let any_batch = match normalize::symbolic_batch(&graph, input) {
            Ok(None) => Ok(graph.clone()),
            Ok(Some(freed)) => Ok(freed),
            Err(why) => Err(why),
        };
        let native = Native {
            name,
            source,
            sha256,
            producer,
            opset,
            operators,
            interface,
            initializers,
            graph,
            any_batch,
            fixed_batch,
            integer_pixels,
            cut: (cut != Cut::Nothing).then(|| cut.to_string()),
            output: own_output,
            form: Form::of(cut, task),
            task,
            label: Label::of(&whole, chosen, classes, &labelled),
            own,
            narrowed: None,
            classes,
            card,
            facts,
        };
        Ok((native, admitted))
    }

    /// The outputs of a model, each with the number of its classes or the clause that says why it holds no scores.
    ///
    /// # Errors
    /// As for [`Native::with`], where the file cannot be read.
    pub fn outputs(source: &str, stated: &Intake) -> Result<Vec<OutputClasses>, Refusal> {
        let Found { name, file, card, mut facts, .. } = source::find(source, &stated.limits)?;
        let stated = &stated.or(&card);
        let graph = with_inputs(&file.graph, &stated.inputs, &name, &mut facts)?;
        let whole = with_batches(admit(&name, &ModelFile { graph, ..file })?, &name, &mut facts)?;
        let one = |output: &Output| (output.name.to_string(), class_extent(&whole, output, stated.task));
        Ok(whole.outputs().iter().map(one).collect())
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

    /// The same model with other graphs: `change` is applied to the one of the file's batch and to the one of any batch.
    pub(super) fn changed(&self, change: impl Fn(&Graph) -> Result<Graph, String>) -> Result<Native, String> {
        let any_batch = match &self.any_batch {
            Ok(graph) => Ok(change(graph)?),
            Err(why) => Err(why.clone()),
        };
        Ok(Native { graph: change(&self.graph)?, any_batch, ..self.clone() })
    }

    /// The graph that takes any batch.
    ///
    /// # Errors
    /// `M052` with the node that does not let the batch be free.
    pub fn any_batch(&self) -> Result<&Graph, Refusal> {
        self.any_batch.as_ref().map_err(|why| {
            let batch = self.fixed_batch.map_or(String::new(), |n| format!("is fixed to {n} and "));
            Refusal::model(52, format!("{}: the batch {batch}cannot be made free: {why}", self.name))
                .help("export the model with a dynamic batch axis")
        })
    }

    /// The graph that is run and the extent of its batch: `N`, or the file's own where that cannot be freed.
    ///
    /// # Errors
    /// As for [`Native::any_batch`], where the file fixes no batch either.
    pub fn runnable(&self) -> Result<(&Graph, Dim), Refusal> {
        match (&self.any_batch, self.fixed_batch) {
            (Err(_), Some(size)) => Ok((&self.graph, Dim::Fixed(size))),
            _ => Ok((self.any_batch()?, Dim::symbol("N"))),
        }
    }

    /// Why the batch cannot be free, where it cannot.
    pub(super) fn kept_because(&self) -> Option<&str> {
        self.any_batch.as_ref().err().map(String::as_str)
    }

    /// Gives up the free batch, for a reason that is a clause.
    pub(super) fn keep_batch(&mut self, why: String) {
        self.any_batch = Err(why);
    }

    /// The only input. The name is for messages.
    ///
    /// # Errors
    /// A usage error where the model has several.
    pub fn only_input(&self) -> Result<ValueId, Refusal> {
        match self.graph.inputs() {
            [only] => Ok(*only),
            several => {
                let names: Vec<String> = several.iter().map(|&i| shown(&self.graph.value(i).name)).collect();
                let what = format!("{} has {} inputs: {}", self.name, several.len(), names.join(", "));
                Err(Refusal::model(59, what)
                    .help("give all but the image a value: --input NAME=NUMBER, or export a model whose only input is the image"))
            }
        }
    }
}

/// Constants in place of the inputs that were given a value, filled with it.
pub(super) fn with_inputs(
    graph: &Graph,
    stated: &[(String, f64)],
    model: &str,
    facts: &mut Vec<String>,
) -> Result<Graph, Refusal> {
    let mut given = graph.clone();
    for (name, value) in stated {
        let Some(input) = given.input_named(name) else {
            let names: Vec<String> = graph.inputs().iter().map(|&i| shown(&graph.value(i).name)).collect();
            return Err(Refusal::usage(59, format!("{model} has no input {}", shown(name)))
                .help(format!("its inputs are {}", names.join(", "))));
        };
        let ty = given.value(input).ty.clone();
        let extents: Vec<usize> = ty.shape.iter().flatten().map(|d| d.fixed().unwrap_or(1)).collect();
        if extents.iter().product::<usize>() > 1 << 16 {
            return Err(Refusal::usage(
                59,
                format!("{model}: the input {} is {ty}; one number is not a value for it", shown(name)),
            ));
        }
        given = given.with_constant_input(input, Tensor::full(ty.dtype.unwrap_or(DType::F32), &extents, *value));
        facts.push(format!("the input {} {ty} has the value {value} throughout, as stated", shown(name)));
    }
    Ok(given)
}

/// The graph with logits first, and what was cut off for that.
fn behind_probabilities(whole: &Graph, chosen: usize, task: Option<Task>, model: &str) -> Result<(Graph, Cut), Refusal> {
    normalize::logits(whole, chosen, Task::answer(task)).map_err(|e| {
        let number = if matches!(e, TailError::Multilabel(_)) { 58 } else { 57 };
        let refused = Refusal::model(number, format!("{model}: output {} {e}", shown(&whole.outputs()[chosen].name)));
        match e {
            TailError::Multilabel(_) => refused.help("if exactly one class is right for every image, say --task classes"),
            TailError::WrongAxis(_) => refused.help("export the model with its softmax over the classes, or without one"),
        }
    })
}

/// How many classes the first output of `graph` has, which was made of an output of `whole`.
fn counted(graph: &Graph, whole: &Graph, chosen: usize, task: Option<Task>, model: &str) -> Result<usize, Refusal> {
    let first = graph.outputs().first();
    let classes = first.map_or(Err("the model has no output".to_owned()), |o| class_extent(graph, o, task));
    classes.map_err(|what| Refusal::model(60, format!("{model}: {what}"))).map_err(|e| if_binary(e, whole, chosen, task))
}

/// What was made of the end of the model, as a sentence.
fn tail_fact(cut: Cut, task: Option<Task>, output: &str) -> Option<String> {
    let binary = task == Some(Task::Binary) || cut == Cut::SigmoidPair;
    let then = if binary { "; the logits of the classes 0 and 1 are (0, s)" } else { "" };
    match cut {
        Cut::Nothing if binary => Some(format!("output {} is the only logit s{then}", shown(output))),
        Cut::Nothing => None,
        cut => Some(format!("the {cut} before output {} was cut off, so that logits are logits{then}", shown(output))),
    }
}

/// The way out for an output of one number.
fn if_binary(error: Refusal, graph: &Graph, output: usize, task: Option<Task>) -> Refusal {
    let single = class_extent(graph, &graph.outputs()[output], Some(Task::Binary)) == Ok(2);
    if single && task.is_none() {
        return Refusal { number: 58, ..error }.help("if it decides between class 0 and class 1, say --task binary");
    }
    error
}

/// Float pixels where the image is made of integers.
fn float_pixels(graph: Graph, model: &str, facts: &mut Vec<String>) -> Result<(Graph, Option<DType>), Refusal> {
    let &[input] = graph.inputs() else { return Ok((graph, None)) };
    let ty = graph.value(input).ty.clone();
    let Some(dtype) = ty.dtype.filter(|d| !d.is_float()) else { return Ok((graph, None)) };
    let refuse = |why: String| {
        let what = format!("{model}: the input {} is {ty}: {why}", shown(&graph.value(input).name));
        Refusal::model(55, what).help("export the model with a float input")
    };
    if dtype == DType::Bool {
        return Err(refuse("truth values are not pixels".to_owned()));
    }
    let float = normalize::float_input(&graph, input).map_err(refuse)?;
    facts.push(format!(
        "the input {} is {ty}: gradients are taken behind its cast to float, and between whole numbers the model is the function \
         that the cast hides",
        shown(&graph.value(input).name)
    ));
    Ok((float, Some(dtype)))
}

fn interface(graph: &Graph) -> Interface {
    let entry = |name: &str, id| (name.to_owned(), graph.value(id).ty.to_string());
    Interface {
        inputs: graph.inputs().iter().map(|&i| entry(&graph.value(i).name, i)).collect(),
        outputs: graph.outputs().iter().map(|o| entry(&o.name, o.value)).collect(),
    }
}

/// Names of the constants of a graph that hold floats.
pub(super) fn float_constants(graph: &Graph) -> BTreeSet<String> {
    let floats = graph.values().filter(|(_, value)| value.constant.as_ref().is_some_and(|t| t.dtype().is_float()));
    floats.map(|(_, value)| value.name.to_string()).collect()
}
