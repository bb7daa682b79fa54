//! Extents that a program leaves open, `float[N,D] x0`, filled in from the task: what a symbol means follows from the names at
//! which it stands, so that noise of shape `[N,D]` has a size before anything is linked.

use std::collections::HashMap;
use std::sync::Arc;

use flatscape_abi::names::Form;
use flatscape_graph::{Dim, Graph, ValueId, ValueType};

use crate::error::shown;
use crate::names::form_of;
use crate::task::Task;

/// The graph with every symbol but the batch replaced by its extent, where the task tells it. The error is a clause.
pub(crate) fn fill_in(graph: &Graph, task: &Task) -> Result<Graph, String> {
    let mut known: HashMap<Arc<str>, usize> = HashMap::new();
    let mut batch: Vec<Arc<str>> = Vec::new();
    let inputs = || graph.inputs().iter().map(|&id| graph.value(id));
    for input in inputs() {
        let (Some(form), Some(dims)) = (form_of(&input.name), input.ty.shape.as_deref()) else { continue };
        let led = !matches!(form, Form::Fixed | Form::HeadWeight | Form::HeadBias);
        if let (true, Some(Dim::Symbol(first))) = (led, dims.first()) {
            batch.push(first.clone());
        }
        for (dim, extent) in dims.iter().zip(extents(form, dims.len(), task)) {
            let (Dim::Symbol(symbol), Some(extent)) = (dim, extent) else { continue };
            let before = *known.entry(symbol.clone()).or_insert(extent);
            if before != extent {
                return Err(format!("uses the symbol {} for {before} and for {extent}", shown(symbol)));
            }
        }
    }
    if let Some(both) = batch.iter().find(|b| known.contains_key(*b)) {
        return Err(format!("uses the symbol {} for the batch and for {}", shown(both), known[both]));
    }
    let [c, h, w] = task.shape;
    for (symbol, extent) in [("D", task.pixels()), ("C", c), ("H", h), ("W", w)] {
        known.entry(symbol.into()).or_insert(extent);
    }
    let sized = |ty: &ValueType| {
        let fill = |dim: &Dim| match dim {
            Dim::Symbol(s) if !batch.contains(s) => known.get(s).map_or(dim.clone(), |&n| Dim::Fixed(n)),
            other => other.clone(),
        };
        ValueType { dtype: ty.dtype, shape: ty.shape.as_ref().map(|dims| dims.iter().map(fill).collect()) }
    };
    if inputs().all(|input| sized(&input.ty) == input.ty) {
        return Ok(graph.clone());
    }
    Ok(with_inputs(graph, sized))
}

/// What the extents of a name are, from the second on; `None` where the task does not tell.
fn extents(form: Form, rank: usize, task: &Task) -> Vec<Option<usize>> {
    let [c, h, w] = task.shape.map(Some);
    let d = Some(task.pixels());
    match (form, rank) {
        (Form::Pixels | Form::Product, 2) => vec![None, d],
        (Form::Pixels | Form::Product, 4) => vec![None, c, h, w],
        (Form::Product, 3) => vec![None, None, d],
        (Form::Product, 5) => vec![None, None, c, h, w],
        (Form::Logits, 2) => vec![None, Some(task.classes)],
        (Form::HeadWeight, 2) => vec![Some(task.classes), None],
        (Form::HeadBias, 1) => vec![Some(task.classes)],
        _ => Vec::new(),
    }
}

/// A copy whose inputs have other types; the types of everything else follow.
fn with_inputs(graph: &Graph, ty: impl Fn(&ValueType) -> ValueType) -> Graph {
    let mut new = Graph::new(&graph.name);
    let mut map: HashMap<ValueId, ValueId> = HashMap::new();
    for &input in graph.inputs() {
        let value = graph.value(input);
        map.insert(input, new.add_input(&value.name, ty(&value.ty)));
    }
    for (id, value) in graph.values() {
        if let Some(tensor) = &value.constant {
            map.insert(id, new.add_constant(&value.name, tensor.clone()));
        }
    }
    for node in graph.nodes() {
        let operands = node.inputs.iter().map(|i| i.and_then(|id| map.get(&id).copied())).collect();
        let results = new.copy_node(graph, node, operands);
        for (old, result) in node.outputs.iter().zip(results) {
            if let (Some(old), Some(result)) = (old, result) {
                map.insert(*old, result);
            }
        }
    }
    for output in graph.outputs() {
        match map.get(&output.value) {
            Some(&value) => new.add_output(&output.name, value),
            None => new.add_problem(format!("nothing produces the output {}", shown(&output.name))),
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use flatscape_graph::text;

    fn filled(text: &str) -> Result<String, String> {
        let graph = text::parse(text).unwrap_or_else(|e| panic!("{e}"));
        let filled = fill_in(&graph, &Task::new([3, 4, 5], 10, "linf", 0.1))?;
        filled.check().unwrap_or_else(|e| panic!("{e}"));
        let types: Vec<String> = filled.inputs().iter().map(|&v| filled.value(v).ty.to_string()).collect();
        Ok(types.join(" "))
    }

    #[test]
    fn symbols_mean_what_their_places_mean() {
        let noise = "init (float[N,D] x0, float[N,D] noise_uniform) => (float[N,D] x) { x = Add(x0, noise_uniform) }";
        assert_eq!(filled(noise).unwrap(), "float[N,60] float[N,60]");
        let classes = "cotangent (float[B,C] logits) => (float[B,C] ct) { ct = Softmax(logits) }";
        assert_eq!(filled(classes).unwrap(), "float[B,10]");
        let images = "step (float[N,C,H,W] x, float[N,C,H,W] grad) => (float[N,C,H,W] x_next) { x_next = Add(x, grad) }";
        assert_eq!(filled(images).unwrap(), "float[N,3,4,5] float[N,3,4,5]");
        let clash = "step (float[N,C] logits, float[N,C,H,W] x) => (x_next) { x_next = Identity(x) }";
        assert_eq!(filled(clash).unwrap_err(), "uses the symbol C for 10 and for 3");
        let batch = "step (float[D,D] x) => (x_next) { x_next = Identity(x) }";
        assert_eq!(filled(batch).unwrap_err(), "uses the symbol D for the batch and for 60");
    }
}
