//! The optimizer's graphs, written for one parameter, instantiated for all parameters of a model in one graph. Knows names of the
//! plugin interface; nothing of costs.

use flatscape_graph::{Builder, DType, Expr, Graph, Tensor, ValueType, simplify};

use crate::form::parameter;

/// A graph of an optimizer for all parameters.
#[derive(Debug)]
pub struct Instantiated {
    /// Inputs: `lr` and `k` where they are read, then for every parameter `param_<i>`, `dparam_<i>` and its states, which end in `_<i>`. Outputs:
    /// `dparam_norm` and for every parameter `param_<i>_next` and `state_<name>_<i>_next`.
    pub graph: Graph,
    /// The states: name, parameter, extents.
    pub states: Vec<Slot>,
}

/// A state of a parameter. It starts at 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// `state_<name>_<i>`.
    pub name: String,
    /// Which parameter.
    pub parameter: usize,
    /// Its type.
    pub dtype: DType,
    /// Extents: those of the parameter, or none where the optimizer declares a number.
    pub shape: Vec<usize>,
}

/// An optimizer that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// It reads a name that is not there.
    #[error("the optimizer reads `{0}`, which is not among the names of an update")]
    Name(String),
    /// It does not give what it must.
    #[error("the optimizer's {role} graph does not give `{name}`")]
    Output {
        /// The role.
        role: &'static str,
        /// The name.
        name: String,
    },
    /// A result has another shape than the parameter.
    #[error("the optimizer gives `{name}` as {found} for a parameter of {wanted}")]
    Shape {
        /// The name.
        name: String,
        /// Its type.
        found: String,
        /// That of the parameter.
        wanted: String,
    },
    /// The graph is not well formed.
    #[error("the optimizer does not fit the parameters: {0}")]
    Check(String),
}

/// Names that are the same for every parameter, fed by the host: the learning rate, and the number of the update from 0.
const FED: &[(&str, DType)] = &[("lr", DType::F32), ("k", DType::I64)];

/// Instantiates the role `update` (`result` is `param_next`) or `perturb` (`param_perturbed`) for parameters of these types. With
/// `average` every parameter has the further input `average_<i>` and the output `average_<i>_next`, D·average + (1 − D)·param_next.
///
/// # Errors
/// The graph reads or gives other names, or gives another shape.
pub fn instantiate(
    role: (&'static str, &str),
    graph: &Graph,
    parameters: &[ValueType],
    arguments: &[(String, f64)],
    average: Option<f64>,
) -> Result<Instantiated, UpdateError> {
    let b = Builder::new(Graph::new(role.0));
    let fed: Vec<(&str, Expr<'_>)> = FED
        .iter()
        .filter(|(name, _)| graph.input_named(name).is_some())
        .map(|(name, dtype)| (*name, b.input(name, ValueType::new(*dtype, vec![]))))
        .collect();
    let pairs: Vec<(Expr<'_>, Expr<'_>)> = parameters
        .iter()
        .enumerate()
        .map(|(i, ty)| (b.input(&parameter(i), ty.clone()), b.input(&format!("d{}", parameter(i)), ty.clone())))
        .collect();
    let norm = norm(&pairs);
    if let Some(norm) = norm {
        b.output("dparam_norm", norm);
    }
    let mut states = Vec::new();
    for (i, &(param, dparam)) in pairs.iter().enumerate() {
        let mut own: Vec<(String, Expr<'_>)> = fed.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        own.extend([("param".to_owned(), param), ("dparam".to_owned(), dparam)]);
        own.extend(norm.map(|norm| ("dparam_norm".to_owned(), norm)));
        for &input in graph.inputs() {
            let (name, ty) = (graph.value(input).name.to_string(), graph.value(input).ty.clone());
            if own.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let value = match &*name {
                "rank" => b.constant(Tensor::scalar(param.rank().unwrap_or(0) as i64)),
                _ if name.starts_with("state_") => state(&b, &name, &ty, i, &parameters[i], &mut states),
                _ => argument(&b, &name, &ty, arguments)?,
            };
            own.push((name, value));
        }
        let bind = |name: &str, _: &ValueType| own.iter().find(|(known, _)| known == name).map(|(_, value)| value.id);
        let given = b.inline(graph, &bind).map_err(|e| UpdateError::Check(e.to_string()))?;
        let given: Vec<(String, Expr<'_>)> = given.into_iter().map(|(name, id)| (name.to_string(), b.expr(id))).collect();
        let next = outputs(&b, role, &given, i, &parameters[i], &states)?;
        if let Some(decay) = average {
            let before = b.input(&format!("average_{i}"), parameters[i].clone());
            b.output(&format!("average_{i}_next"), before * decay + next * (1.0 - decay));
        }
    }
    let graph = b.into_graph();
    graph.check().map_err(|e| UpdateError::Check(e.to_string()))?;
    Ok(Instantiated { graph: simplify(&graph), states })
}

/// Gives the next value of a parameter and of its states to the outside.
fn outputs<'b>(
    b: &'b Builder,
    (role, result): (&'static str, &str),
    given: &[(String, Expr<'b>)],
    i: usize,
    parameter_type: &ValueType,
    states: &[Slot],
) -> Result<Expr<'b>, UpdateError> {
    let named = |name: &str| {
        let found = given.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        found.ok_or_else(|| UpdateError::Output { role, name: name.to_owned() })
    };
    let next = named(result)?;
    same_shape(b, result, next, parameter_type)?;
    b.output(&format!("{}_next", parameter(i)), next);
    for slot in states.iter().filter(|slot| slot.parameter == i) {
        let own = slot.name.strip_suffix(&format!("_{i}")).unwrap_or(&slot.name);
        let name = format!("{own}_next");
        let value = named(&name)?;
        same_shape(b, &name, value, &ValueType::fixed(slot.dtype, &slot.shape))?;
        b.output(&format!("{}_next", slot.name), value);
    }
    Ok(next)
}

/// The Euclidean norm of all derivatives together.
fn norm<'b>(pairs: &[(Expr<'b>, Expr<'b>)]) -> Option<Expr<'b>> {
    let squares = pairs.iter().map(|(_, dparam)| {
        let axes: Vec<i64> = (0..dparam.rank().unwrap_or(0) as i64).collect();
        (*dparam * *dparam).sum(&axes, false).cast(DType::F32)
    });
    squares.reduce(|a, b| a + b).map(Expr::sqrt)
}

fn state<'b>(
    b: &'b Builder,
    name: &str,
    declared: &ValueType,
    i: usize,
    parameter: &ValueType,
    states: &mut Vec<Slot>,
) -> Expr<'b> {
    let number = declared.shape.as_ref().is_some_and(Vec::is_empty);
    let extents = |ty: &ValueType| ty.shape.iter().flatten().filter_map(|d| d.fixed()).collect::<Vec<usize>>();
    let shape = if number { Vec::new() } else { extents(parameter) };
    let dtype = declared.dtype.or(parameter.dtype).unwrap_or(DType::F32);
    let slot = Slot { name: format!("{name}_{i}"), parameter: i, dtype, shape };
    let value = b.input(&slot.name, ValueType::fixed(dtype, &slot.shape));
    states.push(slot);
    value
}

fn argument<'b>(b: &'b Builder, name: &str, declared: &ValueType, arguments: &[(String, f64)]) -> Result<Expr<'b>, UpdateError> {
    let value = name.strip_prefix("arg_").and_then(|name| arguments.iter().find(|(known, _)| known == name));
    let (_, value) = value.ok_or_else(|| UpdateError::Name(name.to_owned()))?;
    Ok(b.constant(Tensor::full(declared.dtype.unwrap_or(DType::F32), &[], *value)))
}

fn same_shape(b: &Builder, name: &str, value: Expr<'_>, wanted: &ValueType) -> Result<(), UpdateError> {
    let found = b.graph().value(value.id).ty.clone();
    if found.shape == wanted.shape && found.dtype == wanted.dtype {
        return Ok(());
    }
    Err(UpdateError::Shape { name: name.to_owned(), found: found.to_string(), wanted: wanted.to_string() })
}
