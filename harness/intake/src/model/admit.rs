//! What must hold for a graph from a file before an engine gets any byte of it: known operators, attributes that fit, finite weights,
//! bounded memory. Knows nothing of classifiers.

use std::collections::HashSet;

use flatscape_graph::normalize::{self, NormalizeError};
use flatscape_graph::onnx::ModelFile;
use flatscape_graph::{Dim, Graph, Node, Tensor, ValueId, ops, shown};

use crate::refusal::Refusal;

/// The normal form of what a file holds. An engine can load it; whether it is a classifier is not checked.
///
/// # Errors
/// `M013` for an opset that is not known, `M020` for an empty input or output, `M025` for an operator that is not known, `M030`
/// for control flow that depends on data, `M034` where loading would take much memory, `M035` for a node that contradicts itself
/// or its operands, `M065` for weights that are not finite. The name is for messages.
pub fn admit(name: &str, file: &ModelFile) -> Result<Graph, Refusal> {
    admit_as(name, file, &normalize::Options::default())
}

/// As [`admit`], in another normal form.
pub(super) fn admit_as(name: &str, file: &ModelFile, options: &normalize::Options) -> Result<Graph, Refusal> {
    let refuse = |number: u16, what: String| Refusal::model(number, format!("{name}: {what}"));
    if let Some(node) = file.graph.nodes().iter().find(|n| &*n.domain == ops::FUNCTIONS) {
        let what = format!("the operator {} is of the domain {:?}, which files cannot use", node.describe(), ops::FUNCTIONS);
        return Err(refuse(25, what));
    }
    if let Some(what) = without_elements(&file.graph) {
        return Err(refuse(20, what).help("export the model with a positive or a named extent"));
    }
    let whole = normalize::normalize(&file.graph, file.opset, options).map_err(|e| refuse(number(&e), e.to_string()))?;
    if let Some(what) = ops::unknown(&whole) {
        return Err(refuse(25, what));
    }
    if let Some(what) = ops::foreign_attribute(&whole) {
        return Err(refuse(35, what).help("export the model again: engines treat such a node each in a way of its own"));
    }
    if let Some(what) = blind_division(&whole) {
        return Err(refuse(35, what));
    }
    finite_weights(&whole).map_err(|what| refuse(65, what))?;
    whole
        .within_limits()
        .map_err(|what| refuse(34, what).help("a small file that needs this much memory is refused before an engine loads it"))?;
    Ok(whole)
}

/// A clause about the first input or output of which an extent is 0.
fn without_elements(graph: &Graph) -> Option<String> {
    let named = |role, name, value| (role, name, graph.shape(value).is_some_and(|s| s.contains(&Dim::Fixed(0))));
    let inputs = graph.inputs().iter().map(|&v| named("input", &graph.value(v).name, v));
    let mut interface = inputs.chain(graph.outputs().iter().map(|o| named("output", &o.name, o.value)));
    interface.find(|(.., empty)| *empty).map(|(role, name, _)| format!("the {role} {} has the extent 0", shown(name)))
}

/// The number of what is wrong: the opset, control flow, or a node.
fn number(error: &NormalizeError) -> u16 {
    match error {
        NormalizeError::TooNew(_) | NormalizeError::TooOld(_) => 13,
        NormalizeError::ControlFlow(_) => 30,
        NormalizeError::Node(_) => 35,
    }
}

/// A sentence about the first division of integers by what is known only when it runs: engines crash on a 0 there.
fn blind_division(graph: &Graph) -> Option<String> {
    let divides = |node: &&Node| matches!(&*node.op, "Div" | "Mod") && node.domain.is_empty();
    let blind = graph.nodes().iter().filter(divides).find(|node| {
        let Some(divisor) = node.input(1).filter(|&v| graph.dtype(v).is_none_or(|d| !d.is_float())) else { return false };
        let extents = graph.value(divisor).extents.as_deref();
        let positive = |dim: &Dim| !matches!(dim, Dim::Unknown | Dim::Fixed(0));
        graph.constant(divisor).is_none() && !extents.is_some_and(|e| e.iter().all(positive))
    })?;
    Some(format!("{} divides integers by what is not known before it runs, and may be 0", blind.describe()))
}

/// Refuses weights that are not finite numbers, by name and count. Constants elsewhere may be infinite (a bound, a mask).
fn finite_weights(graph: &Graph) -> Result<(), String> {
    const WEIGHTED: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];
    let weighted = graph.nodes().iter().filter(|n| WEIGHTED.contains(&&*n.op)).flat_map(|n| n.inputs.iter().flatten().copied());
    let weights: HashSet<ValueId> = weighted.collect();
    for (id, value) in graph.values() {
        let Some(constant) = value.constant.as_deref().filter(|t| t.dtype().is_float()) else { continue };
        let (nan, infinite) = match constant {
            Tensor::F32(a) => count(a.iter().map(|&v| f64::from(v))),
            Tensor::F64(a) => count(a.iter().copied()),
            other => count(other.to_f64().into_iter()),
        };
        let infinite = if weights.contains(&id) { infinite } else { 0 };
        if nan + infinite > 0 {
            let counts = [(nan, "NaN"), (infinite, "infinite numbers")];
            let found: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
            return Err(format!("the constant {} holds {}", shown(&value.name), found.join(" and ")));
        }
    }
    Ok(())
}

/// How many numbers are NaN, and how many infinite.
fn count(numbers: impl Iterator<Item = f64>) -> (usize, usize) {
    numbers.fold((0, 0), |(nan, infinite), v| (nan + usize::from(v.is_nan()), infinite + usize::from(v.is_infinite())))
}
