//! A model and the gradient of something in one ONNX file: what `flatscape grad` writes. Knows interface names and which scalar is
//! differentiated; the rules are those of `flatscape-autodiff`, and whether the result is right is asked in `certificate`.

mod source;

use std::collections::{BTreeSet, HashSet};

use std::cell::RefCell;

use flatscape_autodiff::{DiffError, vjp, without_marks};
use flatscape_graph::{Attributes, Builder, DType, Dim, Expr, Graph, NodeId, Tensor, ValueId, ValueType, onnx, shown, simplify};

pub use source::Source;

use crate::card::{Layout, Preprocessing};
use crate::functions::{cross_entropy, log_sum_exp};
use crate::model::{Native, Outputs, Pixels, rows_of_logits};
use crate::refusal::{Refusal, nearest};
use crate::remedies;

/// What is differentiated, per sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// Cross-entropy with the input `label` int64[N]; output `loss` float[N].
    CrossEntropy,
    /// The unnormalised log-likelihood LSE(logits); output `loss` float[N].
    LogLikelihood,
    /// One logit.
    Logit(usize),
    /// The product of the logits with the input `cotangent` [N,K].
    Cotangent,
    /// A float output or a value inside the graph. One number per sample, or one in all, is differentiated itself; of anything
    /// else its product with the input `cotangent`, which has its shape.
    Value(String),
}

/// With respect to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WithRespectTo {
    /// The first input of the model.
    Input,
    /// The input or the initializer of that name.
    Named(String),
    /// Every float constant that the logits depend on.
    Parameters,
}

/// What the gradient file should hold.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is differentiated.
    pub of: Of,
    /// With respect to what.
    pub wrt: WithRespectTo,
    /// 1: the gradient. 2: also the product of the Hessian with the input `vector`.
    pub order: u32,
    /// Preprocessing to put in front, so that the input is in pixel units; none unless it is stated.
    pub preprocessing: Option<Preprocessing>,
    /// Remedies by name: what is differentiated instead of the model itself.
    pub remedies: Vec<String>,
    /// Rules for single operators, as `--surrogate` takes them.
    pub surrogates: Vec<String>,
}

impl Request {
    /// Reads `--of` and `--wrt`: `ce`, `logp`, `logit:K`, `cotangent` or the name of a value; `input`, `params`, or the name of an
    /// input or an initializer.
    ///
    /// # Errors
    /// Usage errors that name what is known.
    pub fn parse(of: &str, wrt: &str, order: u32) -> Result<Request, Refusal> {
        let of =
            match of.split_once(':') {
                None if of == "ce" => Of::CrossEntropy,
                None if of == "logp" => Of::LogLikelihood,
                None if of == "cotangent" => Of::Cotangent,
                Some(("logit", class)) => Of::Logit(class.parse().map_err(|_| {
                    Refusal::usage(91, format!("--of {}: {} is not the number of a class", shown(of), shown(class)))
                })?),
                _ => Of::Value(of.to_owned()),
            };
        let wrt = match wrt {
            "input" => WithRespectTo::Input,
            "params" => WithRespectTo::Parameters,
            name => WithRespectTo::Named(name.to_owned()),
        };
        if !(1..=2).contains(&order) {
            return Err(Refusal::usage(92, format!("--order {order}: there are orders 1 and 2")));
        }
        if order == 2 && wrt == WithRespectTo::Parameters {
            return Err(Refusal::usage(93, "--order 2 is with respect to one input or initializer, not to params"));
        }
        Ok(Request { of, wrt, order, preprocessing: None, remedies: Vec::new(), surrogates: Vec::new() })
    }
}

/// A graph of the model, its gradient and nothing else, of standard operators.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// Inputs and outputs are named as the command line documents them.
    pub graph: Graph,
    /// The values that lead to what is differentiated, as its first and only output; inputs are the model's own, and what the
    /// gradient is taken with respect to.
    pub forward: Graph,
    /// Whether [`Gradient::forward`] gives logits of samples, and of how many classes.
    pub classes: Option<usize>,
    /// Names of what the gradient is taken with respect to, with their values where they are constants of the model.
    pub variables: Vec<(String, Option<Tensor>)>,
    /// Whether a requested remedy differentiates something other than the values.
    pub surrogate: bool,
    /// What was done to the model, as sentences.
    pub facts: Vec<String>,
    /// What the file is, as a sentence, and the same for programs.
    pub description: String,
    properties: Vec<(&'static str, String)>,
}

impl Gradient {
    /// The bytes of an ONNX file.
    pub fn bytes(&self) -> Vec<u8> {
        onnx::write_described(&self.graph, &self.description, &self.properties)
    }
}

/// Joins a model with the requested gradient. Inputs: the model's own, then `label` or `cotangent`, then `vector`.
/// Outputs: the logits under their own name (or `logits`, and the file's output behind, where a softmax was cut), or the value
/// that was named; `loss`; `grad_<name>`, `hvp_<name>`.
///
/// # Errors
/// Usage errors about names; `M026` where an operator on the way has no gradient; `M052` and `M053` about shapes.
pub fn assemble(native: &Native, request: &Request) -> Result<Gradient, Refusal> {
    join(&Source::of(native), request)
}

/// As [`assemble`], of any graph: in a graph that is not a classifier, only a named value can be differentiated.
///
/// # Errors
/// As for [`assemble`].
pub fn join(source: &Source, request: &Request) -> Result<Gradient, Refusal> {
    let mut facts = source.facts.clone();
    let base = base(source, request, &mut facts)?;
    let (loss_alone, asked): (Vec<String>, Vec<String>) = request.remedies.iter().cloned().partition(|r| remedies::is_of_loss(r));
    if let Some(name) = loss_alone.first() {
        facts.push(format!("--remedy {name} is about what attacks ascend; what this file differentiates says --of"));
    }
    let remedied = remedies::of_request(&base, "", &asked, &request.surrogates)?;
    let surrogate = remedied.twin.is_some();
    facts.extend(remedied.sentences.into_iter().chain(remedied.idle));
    let b = Builder::new(remedied.twin.unwrap_or(base));
    let first = b.graph().outputs().first().map(|o| o.value);
    let Some(value) = first.map(|id| b.expr(id)) else {
        return Err(Refusal::model(15, format!("{} has no output", source.name)));
    };
    let y = if source.classes.is_some() { rows_of_logits(value) } else { value };
    let batch = batch_extent(&b);
    let wrt = variables(&b, source, &request.wrt)?;
    let forward = forward(&b.graph(), y.id, &wrt);

    let names = Names { b: &b, said: RefCell::new(Vec::new()) };
    let extra = |name: &str, dtype: DType, dims: Vec<Dim>| b.input(&names.free(name), ValueType::new(dtype, dims));
    let before = b.graph().nodes().len();
    let (loss, ct) = match (&request.of, source.classes) {
        (Of::Value(_), _) if is_scalar(y) => {
            let one = y.scalar(1.0);
            (None, if y.rank() == Some(0) { one } else { b.op("Expand", &[one, y.shape()], Attributes::none()) })
        }
        (Of::Value(_), _) | (_, None) => {
            let ty = b.graph().value(y.id).ty.clone();
            let dims = ty.shape.ok_or_else(|| no_shape(source, &request.of))?;
            (None, extra("cotangent", ty.dtype.unwrap_or(DType::F32), dims))
        }
        (Of::CrossEntropy, _) => {
            let label = extra("label", DType::I64, vec![batch.clone()]);
            let (loss, ct) = cross_entropy(&b, y, label);
            (Some(loss), ct)
        }
        (Of::LogLikelihood, _) => (Some(log_sum_exp(y)), y.softmax(1)),
        (Of::Logit(class), Some(classes)) if *class >= classes => {
            let what = format!("--of logit:{class}: {} has the classes 0..{}", source.name, classes - 1);
            return Err(Refusal::usage(91, what));
        }
        (Of::Logit(class), Some(classes)) => {
            let row = (0..classes).map(|k| if k == *class { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
            let row = Tensor::new(&[1, classes], row).unwrap_or_else(|| Tensor::scalar(0.0f32)).cast(y.dtype());
            (None, b.constant(row).expand_like(y))
        }
        (Of::Cotangent, Some(classes)) => (None, extra("cotangent", y.dtype(), vec![batch.clone(), Dim::Fixed(classes)])),
    };
    name_from(&b, before, "loss");
    if let Some(loss) = loss {
        b.output(&names.free("loss"), loss);
    }
    let ids: Vec<ValueId> = wrt.iter().map(|(_, id)| *id).collect();
    let refused = |e: DiffError| Refusal::model(26, e.in_model(&source.name).to_string());
    let gradients = vjp(&b, y.id, ct.id, &ids).map_err(refused)?;
    let mut reached = Vec::new();
    for ((name, id), gradient) in wrt.iter().zip(gradients) {
        let gradient = match (gradient, &request.wrt) {
            (Some(gradient), _) => b.expr(gradient),
            (None, WithRespectTo::Parameters) => continue,
            (None, _) => {
                let what = format!("{}: no gradient reaches {}: it is 0 everywhere", source.name, shown(name));
                return Err(
                    Refusal::model(28, what).help("`flatscape inspect MODEL` names the operators that stop it; --remedy straight-through differentiates some of them as smooth functions")
                );
            }
        };
        reached.push((name.clone(), b.graph().constant(*id).map(|t| (**t).clone())));
        b.output(&names.free(&format!("grad_{name}")), gradient);
        if request.order == 2 {
            let ty = b.graph().value(*id).ty.clone();
            let vector = extra("vector", ty.dtype.unwrap_or(DType::F32), ty.shape.unwrap_or_default());
            let product = vjp(&b, gradient.id, vector.id, &[*id]).map_err(refused)?;
            let product = product.first().copied().flatten().map_or_else(|| b.expr(*id) * 0.0, |p| b.expr(p));
            b.output(&names.free(&format!("hvp_{name}")), product);
        }
    }
    facts.extend(names.said.into_inner());
    facts.extend(computed(source, &reached));
    let graph = simplify(&without_marks(b.into_graph()));
    graph.check().map_err(|e| Refusal::model(26, format!("{}: the gradient graph does not check: {e}", source.name)))?;
    let classes = source.classes.filter(|_| !matches!(request.of, Of::Value(_)));
    let (description, properties) = described(source, request);
    Ok(Gradient { graph, forward, classes, variables: reached, surrogate, facts, description, properties })
}

/// A sentence that names the constants with a gradient that are not initializers of the file, if there are any.
fn computed(source: &Source, variables: &[(String, Option<Tensor>)]) -> Option<String> {
    let others = variables.iter().filter(|(name, value)| value.is_some() && !source.initializers.contains(name));
    let names: Vec<String> = others.map(|(name, _)| shown(name)).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!("these constants were computed from initializers when the file was read; the gradients are with respect to the computed values: {names}")
    })
}

/// Names of what the gradient file adds to the interface.
struct Names<'b> {
    b: &'b Builder,
    /// Names that were taken, as sentences.
    said: RefCell<Vec<String>>,
}

impl Names<'_> {
    /// The name, or, where the model has an input or an output called so, the name with a number behind.
    fn free(&self, wanted: &str) -> String {
        let graph = self.b.graph();
        let taken = |name: &str| graph.input_named(name).is_some() || graph.output_named(name).is_some();
        if !taken(wanted) {
            return wanted.to_owned();
        }
        let mut number = 2;
        while taken(&format!("{wanted}_{number}")) {
            number += 1;
        }
        let name = format!("{wanted}_{number}");
        self.said
            .borrow_mut()
            .push(format!("the model has an input or an output {wanted}, so this file says {name} for its own"));
        name
    }
}

/// What the file says of itself.
fn described(source: &Source, request: &Request) -> (String, Vec<(&'static str, String)>) {
    let of = match &request.of {
        Of::CrossEntropy => "ce".to_owned(),
        Of::LogLikelihood => "logp".to_owned(),
        Of::Logit(class) => format!("logit:{class}"),
        Of::Cotangent => "cotangent".to_owned(),
        Of::Value(name) => name.clone(),
    };
    let wrt = match &request.wrt {
        WithRespectTo::Input => "input".to_owned(),
        WithRespectTo::Named(name) => name.clone(),
        WithRespectTo::Parameters => "params".to_owned(),
    };
    let description = format!("{} and the gradient of {of} with respect to {wrt}, by flatscape grad", source.name);
    let mut properties = vec![
        ("gradient.of", of),
        ("gradient.wrt", wrt),
        ("gradient.order", request.order.to_string()),
        ("gradient.model", source.name.clone()),
        ("gradient.model_sha256", source.sha256.clone()),
    ];
    if let Some(stated) = &request.preprocessing {
        properties.push(("gradient.preprocessing", stated.text()));
    }
    (description, properties)
}

/// One number per sample, or one in all.
fn is_scalar(y: Expr<'_>) -> bool {
    y.dims().is_some_and(|dims| dims.iter().skip(1).all(|d| d.fixed() == Some(1)))
}

fn no_shape(source: &Source, of: &Of) -> Refusal {
    let name = if let Of::Value(name) = of { shown(name) } else { "the output".to_owned() };
    Refusal::model(60, format!("{}: the rank of {name} cannot be inferred, so its cotangent has no shape", source.name))
}

/// Names the nodes from a position on.
fn name_from(b: &Builder, before: usize, label: &str) {
    let mut graph = b.graph_mut();
    for index in before..graph.nodes().len() {
        let id = NodeId(index as u32);
        let (name, results) = (format!("{label}/{}", graph.node_at(id).op), graph.node_at(id).outputs.clone());
        graph.name_node(id, &name);
        results.into_iter().flatten().for_each(|result| graph.rename(result, &name));
    }
}

/// The graph as it stands with one output, `value`, and with what it is differentiated with respect to as inputs.
fn forward(graph: &Graph, y: ValueId, wrt: &[(String, ValueId)]) -> Graph {
    let mut new = Graph::new(&graph.name);
    let mut map: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    for &input in graph.inputs() {
        map[input.0 as usize] = Some(new.add_input(&graph.value(input).name, graph.value(input).ty.clone()));
    }
    for (name, id) in wrt.iter().filter(|(_, id)| graph.constant(*id).is_some()) {
        map[id.0 as usize] = Some(new.add_input(name, graph.value(*id).ty.clone()));
    }
    let carry = |new: &mut Graph, map: &mut Vec<Option<ValueId>>, id: ValueId| {
        *map[id.0 as usize].get_or_insert_with(|| match graph.constant(id) {
            Some(tensor) => new.add_constant(&graph.value(id).name, tensor.clone()),
            None => new.add_constant(&graph.value(id).name, Tensor::scalar(0f32)),
        })
    };
    for node in graph.nodes() {
        let inputs = node.inputs.iter().map(|i| i.map(|id| carry(&mut new, &mut map, id))).collect();
        for (old, result) in node.outputs.iter().zip(new.copy_node(graph, node, inputs)) {
            if let Some(old) = old {
                map[old.0 as usize] = result;
            }
        }
    }
    let value = carry(&mut new, &mut map, y);
    new.add_output("value", value);
    simplify(&without_marks(new))
}

/// The model with any batch if possible, behind its preprocessing if requested. Its first output is what
/// is differentiated.
fn base(source: &Source, request: &Request, facts: &mut Vec<String>) -> Result<Graph, Refusal> {
    if let (None, Some(n)) = (&source.any_batch, source.fixed_batch) {
        facts.push(format!("the batch stays fixed to {n}: it cannot be made free"));
    }
    let free = source.any_batch.is_some();
    let graph = source.any_batch.as_ref().unwrap_or(&source.graph);
    let Some(stated) = &request.preprocessing else { return Ok(graph.clone()) };
    let Some(native) = source.native.filter(|_| !matches!(request.wrt, WithRespectTo::Parameters)) else {
        return Err(Refusal::usage(93, "--wrt params and --of NAME take the model in its own units, without preprocessing"));
    };
    let input = native.only_input()?;
    let extents: Option<Vec<usize>> = native.graph.shape(input).and_then(|s| s.iter().skip(1).map(Dim::fixed).collect());
    let shape = match (extents.as_deref(), stated.layout) {
        (Some(&[h, w, c]), Some(Layout::Nhwc)) => [c, h, w],
        (Some(&[c, h, w]), None | Some(Layout::Nchw)) => [c, h, w],
        _ => {
            let what =
                format!("{}: the size of images cannot be inferred from the input {}", native.name, native.graph.value(input).ty);
            return Err(Refusal::usage(93, what).help("without preprocessing the file takes the model's own input"));
        }
    };
    let pixels = Pixels::settle(native, stated, shape)?;
    let batch = native.graph.shape(input).and_then(|s| s.first().cloned()).filter(|_| !free);
    let mut graph = pixels.before(graph, batch.unwrap_or_else(|| Dim::symbol("N")), shape, Outputs::Own)?;
    facts.push(format!("the input is in pixel units [0, 1]: {}", pixels.text()));
    if let Some(&x) = graph.inputs().first() {
        graph.rename(x, &native.graph.value(input).name);
    }
    Ok(graph)
}

/// Names and values of what the gradient is taken with respect to.
fn variables(b: &Builder, source: &Source, wrt: &WithRespectTo) -> Result<Vec<(String, ValueId)>, Refusal> {
    let graph = b.graph();
    let named = |id: ValueId| (graph.value(id).name.to_string(), id);
    let is_float = |id: ValueId| graph.constant(id).is_some_and(|t| t.dtype().is_float());
    let read: BTreeSet<ValueId> = graph.nodes().iter().flat_map(|n| n.inputs.iter().flatten().copied()).collect();
    match wrt {
        WithRespectTo::Input => graph
            .inputs()
            .first()
            .map(|&id| vec![named(id)])
            .ok_or_else(|| Refusal::model(15, format!("{} has no input", source.name))),
        WithRespectTo::Named(name) => {
            let constant = || read.iter().copied().find(|&id| is_float(id) && *graph.value(id).name == **name);
            match graph.input_named(name).or_else(constant) {
                Some(id) => Ok(vec![named(id)]),
                None => {
                    let constants: Vec<ValueId> = read.iter().copied().filter(|&id| is_float(id)).collect();
                    let known = || graph.inputs().iter().chain(&constants).map(|&id| &*graph.value(id).name);
                    let meant = nearest(name, known()).map_or(String::new(), |n| format!("; did you mean {}?", shown(n)));
                    let some: Vec<String> = known().take(8).map(shown).collect();
                    let more = known().count().saturating_sub(some.len());
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    let what = match source.initializers.contains(name) {
                        true => format!(
                            "{}: the initializer {} is folded into other constants when the file is read, so that its gradient cannot be computed",
                            source.name,
                            shown(name)
                        ),
                        false => format!("{} has no input and no initializer {}", source.name, shown(name)),
                    };
                    Err(Refusal::usage(91, what).help(format!("--wrt input, params, or one of {}{more}{meant}", some.join(", "))))
                }
            }
        }
        WithRespectTo::Parameters => {
            let is_parameter = |id: ValueId| is_float(id) && graph.rank(id) != Some(0);
            let mut seen = HashSet::new();
            let mut unique = |(name, id): (String, ValueId)| {
                let fresh = if seen.contains(&name) { format!("{name}_{}", id.0) } else { name };
                seen.insert(fresh.clone());
                (fresh, id)
            };
            Ok(read.into_iter().filter(|&id| is_parameter(id)).map(named).map(&mut unique).collect())
        }
    }
}

fn batch_extent(b: &Builder) -> Dim {
    let graph = b.graph();
    let first = graph.inputs().first().and_then(|&i| graph.shape(i)).and_then(|s| s.first().cloned());
    first.unwrap_or_else(|| Dim::symbol("N"))
}
