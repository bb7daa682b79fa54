//! The batch made a name: a first extent that the file has fixed becomes `N`, and reshapes that spell it out are rewritten.
//! Whether the graph then computes the same is not decided here; it must be run.

use std::borrow::Cow;

use crate::ir::{Attribute, Dim, Graph, Node, ValueId, ValueType};
use crate::ops;
use crate::simplify::simplify;
use crate::tensor::Tensor;

/// The name of the batch extent.
pub const BATCH: &str = "N";

/// The graph with the first extent of `input` called `N`, or `None` if it is called so already. Another name that the file
/// uses for it is replaced. A fixed extent is freed: targets of `Reshape` that contain it are rewritten, types inferred
/// anew. Inputs and outputs keep their order, not their ids.
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
        if &*node.op != "Reshape" || !node.domain.is_empty() {
            return None;
        }
        let mut node = node.on(inputs.to_vec());
        free_target(&renamed, new, &mut node, fixed);
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

/// Rewrites the constant target of a `Reshape` (whose result has its fixed extents in `old`) so that the extent which held the batch is worked out at run time.
fn free_target(old: &Graph, new: &mut Graph, node: &mut Node, batch: usize) -> Option<()> {
    let (x, target) = (node.input(0)?, node.input(1)?);
    new.constant(target)?;
    let data = new.shape(x)?;
    let at = data.iter().position(|d| mentions(d, BATCH))?;
    let output = node.outputs.first().copied().flatten()?;
    let before: Vec<usize> = extents(old, output)?;
    // extents before the batch axis must stay before it
    let ahead = size(&data[..at].iter().map(Dim::fixed).collect::<Option<Vec<usize>>>()?);
    let place = |exact: bool| {
        (0..before.len())
            .find(|&i| size(&before[..i]) == ahead && if exact { before[i] == batch } else { before[i].is_multiple_of(batch) })
    };
    let at = place(true).or_else(|| place(false))?;
    let rest: Vec<Dim> = (0..before.len()).filter(|&i| i != at).map(|i| Dim::Fixed(before[i])).collect();
    let free = ops::quotient_of(data, &rest);
    if ops::infer(new, node).ok()?.first()?.ty.shape.as_ref()?.get(at).is_some_and(|d| d.same(&free)) {
        return None;
    }
    let mut wanted: Vec<i64> = before.iter().map(|&n| i64::try_from(n).ok()).collect::<Option<_>>()?;
    wanted[at] = if data.get(at).is_some_and(|d| d.same(&free)) { 0 } else { -1 };
    node.inputs[1] = Some(new.add_constant("shape", Tensor::ints(&wanted)));
    node.attributes.0.insert("allowzero".into(), Attribute::Int(0));
    None
}

fn size(shape: &[usize]) -> usize {
    shape.iter().fold(1, |n, &d| n.saturating_mul(d))
}

fn extents(graph: &Graph, value: ValueId) -> Option<Vec<usize>> {
    graph.shape(value)?.iter().map(Dim::fixed).collect()
}

fn mentions(dim: &Dim, name: &str) -> bool {
    matches!(dim, Dim::Symbol(s) if s.split('*').any(|factor| factor == name))
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
