//! The batch made a name: a first extent that the file has fixed becomes `N`, and operators that spell it out are rewritten.
//! Whether the graph then computes the same is not decided here; it must be run.

use std::borrow::Cow;

use crate::ir::{Dim, Graph, ValueId, ValueType};
use crate::simplify::simplify;

mod rules;

/// The name of the batch extent.
pub const BATCH: &str = "N";

/// The graph with the first extent of `input` called `N`, or `None` if it is called so already. Another name that the file
/// uses for it is replaced. A fixed extent is freed: operators that spell it out (targets of `Reshape`, class tokens, initial
/// states) are rewritten, types inferred anew. Inputs and outputs keep their order, not their ids.
///
/// # Errors
/// A clause that says which node lets an output no longer begin with `N`, or which node is wrong with a free batch.
pub fn symbolic_batch(graph: &Graph, input: ValueId) -> Result<Option<Graph>, String> {
    let ty = &graph.value(input).ty;
    let first = ty.shape.as_deref().and_then(<[Dim]>::first).ok_or("the input has no first extent that could be a batch")?;
    let fixed = match first {
        Dim::Symbol(name) if &**name == BATCH => return Ok(None),
        Dim::Symbol(name) => {
            let renamed = rename(graph, name);
            return checked(simplify(&renamed)).map(Some);
        }
        Dim::Fixed(0) => return Err("the batch of the input is empty".into()),
        Dim::Fixed(n) => *n,
        Dim::Unknown => 1,
    };
    let mut shape = ty.shape.clone().unwrap_or_default();
    shape[0] = Dim::symbol(BATCH);
    let place = graph.inputs().iter().position(|&v| v == input).ok_or("it is not an input of the graph")?;
    let renamed = rename(graph, BATCH);
    let freed = renamed.with_input_type(renamed.inputs()[place], ValueType { dtype: ty.dtype, shape: Some(shape) });
    let new = freed.rewrite(|new, node, inputs| {
        let mut node = node.on(inputs.to_vec());
        rules::apply(&mut rules::Place { old: &renamed, new, node: &mut node, batch: fixed });
        Some(new.copy_node(&freed, &node, node.inputs.clone()))
    });
    checked(simplify(&new)).map(Some)
}

/// Every extent of that name, in all inputs, called `N`; another extent that has this name already is called `N_`.
fn rename<'g>(graph: &'g Graph, name: &str) -> Cow<'g, Graph> {
    let concerned = |dim: &Dim| matches!(dim, Dim::Symbol(s) if &**s == BATCH || &**s == name);
    let inputs: Vec<ValueId> =
        graph.inputs().iter().copied().filter(|&v| graph.shape(v).is_some_and(|s| s.iter().any(concerned))).collect();
    if inputs.is_empty() {
        return Cow::Borrowed(graph);
    }
    let mut renamed = graph.clone();
    for input in inputs {
        let ty = &graph.value(input).ty;
        let new = |dim: &Dim| match dim {
            Dim::Symbol(s) if &**s == BATCH => Dim::symbol("N_"),
            Dim::Symbol(s) if &**s == name => Dim::symbol(BATCH),
            dim => dim.clone(),
        };
        let shape = ty.shape.as_ref().map(|s| s.iter().map(new).collect());
        renamed = renamed.with_input_type(input, ValueType { dtype: ty.dtype, shape });
    }
    Cow::Owned(renamed.rewrite(|_, _, _| None))
}

/// Every output that depends on an input must begin with the batch.
fn checked(graph: Graph) -> Result<Graph, String> {
    if let Some(problem) = graph.problems().first() {
        return Err(problem.what.clone());
    }
    for output in graph.outputs() {
        if !leads(&graph, output.value) && graph.constant(output.value).is_none() {
            return Err(format!(
                "the output {} does not begin with the batch: {}",
                crate::shown(&output.name),
                culprit(&graph, output.value)
            ));
        }
    }
    Ok(graph)
}

fn leads(graph: &Graph, value: ValueId) -> bool {
    matches!(graph.shape(value).and_then(<[Dim]>::first), Some(Dim::Symbol(s)) if &**s == BATCH)
}

/// The last node on the way to an output that still reads the batch in front and does not hand it on.
fn culprit(graph: &Graph, output: ValueId) -> String {
    let mut stack = vec![output];
    let mut seen = vec![false; graph.values().len()];
    let mut latest = None;
    while let Some(value) = stack.pop() {
        let Some((id, _)) = graph.value(value).producer.filter(|_| !std::mem::replace(&mut seen[value.0 as usize], true)) else {
            continue;
        };
        let node = graph.node_at(id);
        if node.inputs.iter().flatten().any(|&v| leads(graph, v)) && !leads(graph, value) {
            latest = latest.max(Some((id, value)));
        } else {
            stack.extend(node.inputs.iter().flatten());
        }
    }
    match latest {
        Some((id, value)) => format!("{} gives {}", graph.node_at(id).describe(), graph.value(value).ty),
        None => format!("it has the type {}", graph.value(output).ty),
    }
}
