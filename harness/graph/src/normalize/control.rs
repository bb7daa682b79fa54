//! Expands `If`, `Loop` and `Scan`: the branch that is taken, the body as often as it runs. What depends on data is refused,
//! but for branches of one shape, which are both computed and selected.

use super::known::{known, known_int};
use super::upgrade::{Old, Renewed};
use crate::expr::{Builder, Expr};
use crate::ir::{Attribute, Graph, ValueId};
use crate::subgraph::Subgraph;
use crate::tensor::Tensor;

/// `If`. Where the condition is known, the branch that it chooses. Otherwise both branches and a `Where`, if they give the same
/// element types and extents and draw no random numbers: the numbers are those of the branch that is taken. The gradient is
/// that of the branch that is taken, almost everywhere; a branch that is not taken and gives infinities makes it NaN.
pub(super) fn branch(old: &mut Old) -> Renewed {
    let condition = old.x(0)?;
    let taken = known(old.graph, condition).filter(|t| t.len() == 1).map(|t| t.to_f64()[0] != 0.0);
    if let Some(taken) = taken {
        let results = inline_branch(old, if taken { "then_branch" } else { "else_branch" })?;
        return Ok(Some(results.into_iter().map(Some).collect()));
    }
    for name in ["then_branch", "else_branch"] {
        if let Some(op) = random(&subgraph(old, name)?.graph) {
            return Err(format!("its condition depends on data, and its {name} holds {op}"));
        }
    }
    let yes = inline_branch(old, "then_branch")?;
    let no = inline_branch(old, "else_branch")?;
    let same = |(&a, &b): (&ValueId, &ValueId)| {
        let (a, b) = (&old.graph.value(a).ty, &old.graph.value(b).ty);
        let extents = a.shape.as_ref().zip(b.shape.as_ref());
        a.dtype == b.dtype
            && a.dtype.is_some()
            && extents.is_some_and(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)))
    };
    let sequence = yes.iter().chain(&no).any(|v| old.walk.sequences.contains_key(v));
    if !old.walk.has_refused() && (sequence || yes.len() != no.len() || !yes.iter().zip(&no).all(same)) {
        return Err("its condition depends on data, and its branches differ in shape".to_owned());
    }
    let many = old.graph.shape(condition).is_none_or(|s| s.iter().any(|d| d.fixed() != Some(1)));
    if many && old.graph.rank(condition) != Some(0) {
        return Err("its condition depends on data and is not one value".to_owned());
    }
    Ok(formulas(old, |b| {
        let condition = b.expr(condition).reshape(&[]);
        yes.iter().zip(&no).map(|(&yes, &no)| Some(condition.select(b.expr(yes), b.expr(no)))).collect()
    }))
}

/// `Loop`: the body once per iteration. The number of iterations must follow from constants and fixed extents.
pub(super) fn repeat(old: &mut Old) -> Renewed {
    let body = subgraph(old, "body")?;
    let own = old.node.own_inputs().to_vec();
    let captures = old.node.captures_of("body").to_vec();
    let trips = match own.first().copied().flatten() {
        Some(m) => Some(known_int(old.graph, m).ok_or("its trip count depends on data")?),
        None => None,
    };
    let mut goes_on = match own.get(1).copied().flatten() {
        Some(condition) => truth(old.graph, condition).ok_or("its condition depends on data")?,
        None => true,
    };
    let mut carried: Vec<Option<ValueId>> = own.get(2..).unwrap_or_default().to_vec();
    let scanned = (body.graph.outputs().len()).checked_sub(1 + carried.len()).ok_or("its body has too few outputs")?;
    let mut scans: Vec<Vec<ValueId>> = vec![Vec::new(); scanned];
    let mut iteration = 0;
    while goes_on && trips.is_none_or(|trips| iteration < trips) {
        let counter = old.graph.add_constant("iteration", Tensor::scalar(iteration));
        let condition = old.graph.add_constant("condition", Tensor::scalar(true));
        let bound: Vec<Option<ValueId>> =
            [Some(counter), Some(condition)].into_iter().chain(carried.iter().copied()).chain(captures.iter().copied()).collect();
        let results = old.walk.inline(old.graph, &body.graph, &bound)?;
        if old.walk.has_refused() {
            return Ok(None);
        }
        iteration += 1;
        if trips.is_none_or(|trips| iteration < trips) {
            goes_on = truth(old.graph, results[0]).ok_or("whether it continues depends on data")?;
        }
        for (slot, &value) in carried.iter_mut().zip(&results[1..]) {
            *slot = Some(value);
        }
        for (list, &value) in scans.iter_mut().zip(&results[1 + carried.len()..]) {
            list.push(value);
        }
    }
    let asked = |i: usize| old.node.output(i).is_some();
    let first = carried.len();
    if iteration == 0 && (0..scanned).any(|i| asked(first + i)) {
        return Err("it does not run, and what it collects is empty".to_owned());
    }
    let asked: Vec<bool> = (0..scanned).map(|i| asked(first + i)).collect();
    Ok(formulas(old, |b| {
        let carried = carried.iter().map(|v| v.map(|v| b.expr(v)));
        let stacked = scans.iter().zip(&asked).map(|(list, &asked)| asked.then(|| stack(b, list, 0)));
        carried.chain(stacked).collect()
    }))
}

/// `Scan`: the body once per element of what is scanned, which must have a fixed extent.
pub(super) fn scan(old: &mut Old) -> Renewed {
    if old.opset < 9 {
        return Err("Scan of opset 8 scans a batch of sequences: re-export with opset 9 or newer".to_owned());
    }
    let body = subgraph(old, "body")?;
    let own = old.node.own_inputs().to_vec();
    let captures = old.node.captures_of("body").to_vec();
    let read = usize::try_from(old.node.attributes.int("num_scan_inputs", 0)).unwrap_or(0);
    let states = own.len().checked_sub(read).filter(|_| read > 0).ok_or("it scans nothing")?;
    let scanned = body.graph.outputs().len().checked_sub(states).ok_or("its body has too few outputs")?;
    let attributes = old.node.attributes.clone();
    let list = |name: &str, i: usize| attributes.ints(name).and_then(|l| l.get(i)).copied().unwrap_or(0);
    let mut length = None;
    let mut inputs = Vec::with_capacity(read);
    for (i, input) in own[states..].iter().enumerate() {
        let x = input.ok_or("an operand is missing")?;
        let shape = old.graph.shape(x).ok_or("the rank of what it scans is not known")?;
        let axis = crate::ops::front(list("scan_input_axes", i), shape.len())?;
        let extent = shape[axis].fixed().ok_or("the extent of what it scans is not fixed")?;
        if *length.get_or_insert(extent) != extent {
            return Err("what it scans differs in length".to_owned());
        }
        inputs.push((x, axis, list("scan_input_directions", i) == 1));
    }
    let length = length.filter(|&n| n > 0).ok_or("what it scans is empty")?;
    old.walk.afford(length.saturating_mul(read + 1))?;
    let elements: Vec<Vec<ValueId>> =
        inputs.iter().map(|&(x, axis, backwards)| pieces(old, x, axis, length, backwards)).collect();
    let outward: Vec<(i64, bool)> =
        (0..scanned).map(|i| (list("scan_output_axes", i), list("scan_output_directions", i) == 1)).collect();
    let mut carried = own[..states].to_vec();
    let mut scans: Vec<Vec<ValueId>> = vec![Vec::new(); scanned];
    for step in 0..length {
        let now = elements.iter().map(|list| list.get(step).copied());
        let bound: Vec<Option<ValueId>> = carried.iter().copied().chain(now).chain(captures.iter().copied()).collect();
        let results = old.walk.inline(old.graph, &body.graph, &bound)?;
        if old.walk.has_refused() {
            return Ok(None);
        }
        for (slot, &value) in carried.iter_mut().zip(&results) {
            *slot = Some(value);
        }
        for (list, &value) in scans.iter_mut().zip(&results[states..]) {
            list.push(value);
        }
    }
    for (list, (_, backwards)) in scans.iter_mut().zip(&outward) {
        if *backwards {
            list.reverse();
        }
    }
    Ok(formulas(old, |b| {
        let carried = carried.iter().map(|v| v.map(|v| b.expr(v)));
        let stacked = scans.iter().zip(&outward).map(|(list, (axis, _))| Some(stack(b, list, *axis)));
        carried.chain(stacked).collect()
    }))
}

/// The results of formulas in place of a node.
pub(super) fn formulas(
    old: &mut Old,
    write: impl for<'b> FnOnce(&'b Builder) -> Vec<Option<Expr<'b>>>,
) -> Option<Vec<Option<ValueId>>> {
    let builder = Builder::new(std::mem::take(old.graph));
    let results = write(&builder).into_iter().map(|e| e.map(|e| e.id)).collect();
    *old.graph = builder.into_graph();
    Some(results)
}

/// The elements of x along an axis, without the axis; the last one first if asked.
fn pieces(old: &mut Old, x: ValueId, axis: usize, length: usize, backwards: bool) -> Vec<ValueId> {
    let mut list: Vec<ValueId> = formulas(old, |b| {
        let axis = axis as i64;
        let parts = split(b, b.expr(x), axis, length);
        parts.into_iter().map(|part| Some(part.squeeze(&[axis]))).collect()
    })
    .into_iter()
    .flatten()
    .flatten()
    .collect();
    if backwards {
        list.reverse();
    }
    list
}

/// x in parts of extent 1 along an axis.
pub(super) fn split<'b>(b: &'b Builder, x: Expr<'b>, axis: i64, parts: usize) -> Vec<Expr<'b>> {
    if parts == 1 {
        return vec![x];
    }
    b.ops("Split", &[x, b.ints(&vec![1; parts])], parts, [("axis", axis.into())])
}

/// Values of one shape along a new axis.
fn stack<'b>(b: &'b Builder, list: &[ValueId], axis: i64) -> Expr<'b> {
    let parts: Vec<Expr> = list.iter().map(|&v| b.expr(v).unsqueeze(&[axis])).collect();
    b.concat(&parts, axis)
}

fn inline_branch(old: &mut Old, name: &str) -> Result<Vec<ValueId>, String> {
    let body = subgraph(old, name)?;
    let captures = old.node.captures_of(name).to_vec();
    old.walk.inline(old.graph, &body.graph, &captures)
}

fn subgraph(old: &Old, name: &str) -> Result<std::sync::Arc<Subgraph>, String> {
    match old.node.attributes.get(name) {
        Some(Attribute::Graph(graph)) => Ok(graph.clone()),
        _ => Err(format!("it has no {name}")),
    }
}

fn truth(graph: &Graph, condition: ValueId) -> Option<bool> {
    known(graph, condition).filter(|t| t.len() == 1).map(|t| t.to_f64()[0] != 0.0)
}

/// The first operator in a graph that gives another number each time.
fn random(graph: &Graph) -> Option<String> {
    graph.nodes().iter().find_map(|node| {
        let own = node.op.starts_with("Random") || matches!(&*node.op, "Bernoulli" | "Multinomial");
        if own { Some(node.op.to_string()) } else { node.subgraphs().find_map(|(_, inner)| random(&inner.graph)) }
    })
}
