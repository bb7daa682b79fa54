//! A model and the gradient of something in one ONNX file: what `flatscape grad` writes. Knows interface names and which scalar is
//! differentiated; the rules are those of `flatscape-autodiff`.

use std::collections::{BTreeSet, HashSet};

use flatscape_autodiff::{DiffError, vjp, without_marks};
use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueId, ValueType, onnx, shown, simplify};

use crate::card::{Layout, Preprocessing};
use crate::functions::{cross_entropy, log_sum_exp};
use crate::intake::IntakeError;
use crate::model::{Native, Outputs, Pixels, rows_of_logits};
use crate::remedies;

/// What is differentiated, per sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Cross-entropy with the input `label` int64[N]; output `loss` float[N].
    CrossEntropy,
    /// The unnormalised log-likelihood LSE(logits); output `loss` float[N].
    LogLikelihood,
    /// One logit.
    Logit(usize),
    /// The product of the logits with the input `cotangent` [N,K].
    Cotangent,
}

/// With respect to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WithRespectTo {
    /// The input of the model, or the one of that name.
    Input(Option<String>),
    /// Every float constant that the logits depend on.
    Parameters,
}

/// What is asked for.
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
}

impl Request {
    /// Reads `--of` and `--wrt`: `ce`, `logp`, `logit:K`, `cotangent`; `input`, `params`, or the name of an input.
    ///
    /// # Errors
    /// Usage errors that name what is known.
    pub fn parse(of: &str, wrt: &str, order: u32) -> Result<Request, IntakeError> {
        let of = match of.split_once(':') {
            None if of == "ce" => Of::CrossEntropy,
            None if of == "logp" => Of::LogLikelihood,
            None if of == "cotangent" => Of::Cotangent,
            Some(("logit", class)) => Of::Logit(class.parse().map_err(|_| {
                IntakeError::usage(91, format!("--of {}: {} is not the number of a class", shown(of), shown(class)))
            })?),
            _ => {
                return Err(IntakeError::usage(91, format!("--of {} is not known", shown(of)))
                    .help("there are ce, logp, logit:K and cotangent"));
            }
        };
        let wrt = match wrt {
            "input" => WithRespectTo::Input(None),
            "params" => WithRespectTo::Parameters,
            name => WithRespectTo::Input(Some(name.to_owned())),
        };
        if !(1..=2).contains(&order) {
            return Err(IntakeError::usage(92, format!("--order {order}: there are orders 1 and 2")));
        }
        if order == 2 && wrt == WithRespectTo::Parameters {
            return Err(IntakeError::usage(93, "--order 2 is with respect to an input, not to params"));
        }
        Ok(Request { of, wrt, order, preprocessing: None, remedies: Vec::new() })
    }
}

/// A graph of the model, its gradient and nothing else, of standard operators.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// Inputs and outputs are named as the command line documents them.
    pub graph: Graph,
    /// What was done to the model, as sentences.
    pub facts: Vec<String>,
}

impl Gradient {
    /// The bytes of an ONNX file.
    pub fn bytes(&self) -> Vec<u8> {
        onnx::write(&self.graph)
    }
}

/// Joins a model with the gradient that is asked for. Inputs: the model's own, then `label` or `cotangent`, then `vector`.
/// Outputs: the logits under their own name (or `logits`, and the file's output behind, where a softmax was cut), `loss`,
/// `grad_<name>`, `hvp_<input>`.
///
/// # Errors
/// Usage errors about names; `M026` where an operator on the way has no gradient; `M052` and `M053` about shapes.
pub fn assemble(native: &Native, request: &Request) -> Result<Gradient, IntakeError> {
    let mut facts = native.facts.clone();
    let base = base(native, request, &mut facts)?;
    let (loss_alone, asked): (Vec<String>, Vec<String>) = request.remedies.iter().cloned().partition(|r| remedies::is_of_loss(r));
    if let Some(name) = loss_alone.first() {
        facts.push(format!("--remedy {name} is about what attacks ascend; what this file differentiates says --of"));
    }
    let remedied = remedies::of_gradient(&base, &asked);
    facts.extend(remedied.sentences.into_iter().chain(remedied.idle));
    let b = Builder::new(remedied.twin.unwrap_or(base));
    let first = b.graph().outputs().first().map(|o| o.value);
    let Some(logits) = first.map(|id| rows_of_logits(b.expr(id))) else {
        return Err(IntakeError::model(15, format!("{} has no output", native.name)));
    };
    let batch = batch_extent(&b);
    let wrt = variables(&b, native, &request.wrt)?;

    let extra = |name: &str, dtype: DType, dims: Vec<Dim>| {
        if b.graph().input_named(name).is_some() {
            let what = format!("{} has an input called {name}, a name that the gradient file needs for itself", native.name);
            return Err(IntakeError::model(59, what).help("rename the input in the model"));
        }
        Ok(b.input(name, ValueType::new(dtype, dims)))
    };
    let float = logits.dtype();
    let (loss, ct) = match request.of {
        Of::CrossEntropy => {
            let label = extra("label", DType::I64, vec![batch.clone()])?;
            let (loss, ct) = cross_entropy(&b, logits, label);
            (Some(loss), ct)
        }
        Of::LogLikelihood => (Some(log_sum_exp(logits)), logits.softmax(1)),
        Of::Logit(class) if class >= native.classes => {
            let what = format!("--of logit:{class}: {} has the classes 0..{}", native.name, native.classes - 1);
            return Err(IntakeError::usage(91, what));
        }
        Of::Logit(class) => {
            let row = (0..native.classes).map(|k| if k == class { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
            let row = Tensor::new(&[1, native.classes], row).unwrap_or_else(|| Tensor::scalar(0.0f32)).cast(float);
            (None, b.constant(row).expand_like(logits))
        }
        Of::Cotangent => (None, extra("cotangent", float, vec![batch.clone(), Dim::Fixed(native.classes)])?),
    };
    if let Some(loss) = loss {
        b.output("loss", loss);
    }
    let ids: Vec<ValueId> = wrt.iter().map(|(_, id)| *id).collect();
    let refused = |e: DiffError| IntakeError::model(26, e.in_model(&native.name).to_string());
    let gradients = vjp(&b, logits.id, ct.id, &ids).map_err(refused)?;
    for ((name, id), gradient) in wrt.iter().zip(gradients) {
        let gradient = match (gradient, &request.wrt) {
            (Some(gradient), _) => b.expr(gradient),
            (None, WithRespectTo::Parameters) => continue,
            (None, WithRespectTo::Input(_)) => {
                let what = format!("{}: no gradient reaches the input {}: it is 0 everywhere", native.name, shown(name));
                return Err(
                    IntakeError::model(28, what).help("`flatscape inspect MODEL` names the operators that stop it; --remedy straight-through differentiates some of them as something smooth")
                );
            }
        };
        b.output(&format!("grad_{name}"), gradient);
        if request.order == 2 {
            let ty = b.graph().value(*id).ty.clone();
            let vector = extra("vector", ty.dtype.unwrap_or(DType::F32), ty.shape.unwrap_or_default())?;
            let product = vjp(&b, gradient.id, vector.id, &[*id]).map_err(refused)?;
            let product = product.first().copied().flatten().map_or_else(|| b.expr(*id) * 0.0, |p| b.expr(p));
            b.output(&format!("hvp_{name}"), product);
        }
    }
    let graph = simplify(&without_marks(b.into_graph()));
    graph.check().map_err(|e| IntakeError::model(26, format!("{}: the gradient graph does not check: {e}", native.name)))?;
    Ok(Gradient { graph, facts })
}

/// The model with any batch where that is possible, behind its preprocessing where that was asked for.
fn base(native: &Native, request: &Request, facts: &mut Vec<String>) -> Result<Graph, IntakeError> {
    let any = native.any_batch();
    if let (Err(_), Some(n)) = (&any, native.fixed_batch) {
        facts.push(format!("the batch stays fixed to {n}: it cannot be made free"));
    }
    let free = any.is_ok();
    let graph = any.unwrap_or(&native.graph);
    let Some(stated) = &request.preprocessing else { return Ok(graph.clone()) };
    if request.wrt == WithRespectTo::Parameters {
        return Err(IntakeError::usage(93, "--wrt params takes the model in its own units, without preprocessing"));
    }
    let input = native.only_input()?;
    let extents: Option<Vec<usize>> = native.graph.shape(input).and_then(|s| s.iter().skip(1).map(Dim::fixed).collect());
    let shape = match (extents.as_deref(), stated.layout) {
        (Some(&[h, w, c]), Some(Layout::Nhwc)) => [c, h, w],
        (Some(&[c, h, w]), None | Some(Layout::Nchw)) => [c, h, w],
        _ => {
            let what =
                format!("{}: the size of images cannot be told from the input {}", native.name, native.graph.value(input).ty);
            return Err(IntakeError::usage(93, what).help("without preprocessing the file takes the model's own input"));
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
fn variables(b: &Builder, native: &Native, wrt: &WithRespectTo) -> Result<Vec<(String, ValueId)>, IntakeError> {
    let graph = b.graph();
    let named = |id: ValueId| (graph.value(id).name.to_string(), id);
    match wrt {
        WithRespectTo::Input(None) => graph
            .inputs()
            .first()
            .map(|&id| vec![named(id)])
            .ok_or_else(|| IntakeError::model(15, format!("{} has no input", native.name))),
        WithRespectTo::Input(Some(name)) => match graph.input_named(name) {
            Some(id) => Ok(vec![named(id)]),
            None => {
                let names: Vec<String> = native.interface.inputs.iter().map(|(name, _)| shown(name)).collect();
                Err(IntakeError::usage(91, format!("{} has no input {}", native.name, shown(name)))
                    .help(format!("--wrt input, params, or one of {}", names.join(", "))))
            }
        },
        WithRespectTo::Parameters => {
            let is_parameter = |id: ValueId| graph.constant(id).is_some_and(|t| t.dtype().is_float() && !t.shape().is_empty());
            let read: BTreeSet<ValueId> = graph.nodes().iter().flat_map(|n| n.inputs.iter().flatten().copied()).collect();
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
