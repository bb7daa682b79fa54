//! The reverse pass: visits the nodes between the variables and the root, applies each rule, undoes broadcasting, adds up,
//! and refuses by name. Knows no operator.

use flatscape_graph::{Builder, Dim, Expr, Graph, Node, NodeId, ValueId};

use crate::book::Rulebook;
use crate::error::{DiffError, Why};
use crate::rule::{Kind, Rule};
use crate::site::{Site, list};

/// Appends the reverse pass of one value: for every `wrt` the cotangent `Σ_j ct_j · ∂y_j/∂wrt`, or `None` where no
/// differentiable path leads from it to `y` (the derivative is zero).
///
/// `ct` has the element type and extents of `y`. A `wrt` may be an input, a constant or a value in between; each cotangent
/// has the element type and extents of its `wrt`. What is appended are operators of the standard domain that have a rule
/// or are flat, so a gradient is differentiated by the same call.
///
/// # Errors
///
/// An operator on a path from a `wrt` to `y` has no rule, must not be differentiated, or is used in a way that its rule does
/// not cover. The graph then holds nodes that nothing reads.
pub fn vjp(builder: &Builder, y: ValueId, ct: ValueId, wrt: &[ValueId]) -> Result<Vec<Option<ValueId>>, DiffError> {
    vjp_by(&Rulebook::standard(), builder, y, ct, wrt)
}

/// [`vjp`] by another book.
///
/// # Errors
///
/// See [`vjp`].
pub fn vjp_by(
    book: &Rulebook,
    builder: &Builder,
    y: ValueId,
    ct: ValueId,
    wrt: &[ValueId],
) -> Result<Vec<Option<ValueId>>, DiffError> {
    let active = active_values(book, &builder.graph(), wrt);
    let last = builder.graph().value(y).producer.map(|(node, _)| node.0 as usize + 1).unwrap_or(0);
    let mut cotangents: Vec<Option<ValueId>> = vec![None; active.len()];
    if active[y.0 as usize] {
        cotangents[y.0 as usize] = Some(ct);
    }
    for index in (0..last).rev() {
        let id = NodeId(index as u32);
        let node = builder.graph().node_at(id).clone();
        let arrived: Vec<Option<ValueId>> =
            node.outputs.iter().map(|o| o.and_then(|v| cotangents.get(v.0 as usize).copied().flatten())).collect();
        if arrived.iter().all(Option::is_none) {
            continue;
        }
        let wanted: Vec<usize> =
            (0..node.inputs.len()).filter(|&i| node.input(i).is_some_and(|v| active[v.0 as usize])).collect();
        if wanted.is_empty() {
            continue;
        }
        let rule = book.rule(&node.domain, &node.op).ok_or_else(|| DiffError::at(&node, Why::NoRule))?;
        for (i, contribution) in apply(book, builder, id, &node, rule, &wanted, arrived)? {
            let Some(operand) = node.input(i) else { continue };
            let slot = &mut cotangents[operand.0 as usize];
            *slot = Some(match *slot {
                Some(sum) => {
                    let before = builder.graph().nodes().len();
                    let sum = (book.join)(builder.expr(sum), builder.expr(contribution));
                    let label = builder.graph().value(operand).name.clone();
                    name_nodes(builder, &label, before);
                    sum.id
                }
                None => contribution,
            });
        }
    }
    Ok(wrt.iter().map(|v| cotangents[v.0 as usize]).collect())
}

/// For every value whether a derivative with respect to one of `wrt` can be other than zero. An operator without a rule
/// counts as passing, so that a cotangent that arrives there is refused and not lost.
pub(crate) fn active_values(book: &Rulebook, graph: &Graph, wrt: &[ValueId]) -> Vec<bool> {
    let float = |v: ValueId| graph.dtype(v).is_none_or(|t| t.is_float());
    let mut active = vec![false; graph.values().len()];
    for &v in wrt {
        active[v.0 as usize] = float(v);
    }
    for node in graph.nodes() {
        let rule = book.rule(&node.domain, &node.op);
        let passes = |i: usize| rule.is_none_or(|r| r.passes(i));
        let reached = (0..node.inputs.len()).any(|i| node.input(i).is_some_and(|v| active[v.0 as usize]) && passes(i));
        if reached {
            for output in node.outputs.iter().flatten().filter(|&&v| float(v)) {
                active[output.0 as usize] = true;
            }
        }
    }
    active
}

/// The contributions of one node to the cotangents of its wanted operands, each with the operand's extents.
fn apply(
    book: &Rulebook,
    builder: &Builder,
    id: NodeId,
    node: &Node,
    rule: &Rule,
    wanted: &[usize],
    arrived: Vec<Option<ValueId>>,
) -> Result<Vec<(usize, ValueId)>, DiffError> {
    let refused = |why: String| DiffError::at(node, Why::Refused(why));
    if let Kind::Never(reason) = rule.kind {
        return Err(DiffError::at(node, Why::Never(reason)));
    }
    if let Some(k) = arrived.iter().skip(1).position(Option::is_some).filter(|_| !rule.all_results) {
        return Err(refused(format!("its result {} is differentiated, and only the first one can be", k + 2)));
    }
    let Some(ct) = arrived.iter().copied().flatten().next() else { return Ok(Vec::new()) };
    let before = builder.graph().nodes().len();
    let problems = builder.graph().problems().len();
    let site = Site::new(builder, id, node.clone(), arrived);
    let mut contributions = Vec::with_capacity(wanted.len());
    for &i in wanted.iter().filter(|&&i| rule.passes(i)) {
        let ct = builder.expr(ct);
        let contribution = match rule.kind {
            Kind::Vjp(formulas) => match formulas.get(i) {
                Some(formula) => formula(&site, ct),
                None => return Err(refused(format!("it is differentiated with respect to its operand {}", i + 1))),
            },
            Kind::Each(formula) => formula(&site, i, ct),
            Kind::Flat | Kind::Never(_) => continue,
        };
        if let Some(why) = site.take_refusal() {
            return Err(refused(why));
        }
        let fitted = fit(book, contribution, site.x(i), node.inputs.len() == 1);
        contributions.push((i, fitted.map_err(|why| DiffError::at(node, why))?.id));
    }
    if let Some(problem) = builder.graph().problems().get(problems) {
        return Err(DiffError::at(node, Why::Defect(problem.what.clone())));
    }
    let label = match node.output(0) {
        Some(result) if node.name.is_empty() => builder.graph().value(result).name.clone(),
        _ => node.name.clone(),
    };
    name_nodes(builder, &label, before);
    Ok(contributions)
}

/// Gives a contribution the extents of its operand: sums where the operand was broadcast, broadcasts where the formula left
/// an extent of 1. Extents that are not known are taken as equal unless one is literally 1.
fn fit<'b>(book: &Rulebook, contribution: Expr<'b>, operand: Expr<'b>, only: bool) -> Result<Expr<'b>, Why> {
    if contribution.dtype() != operand.dtype() {
        let (found, wanted) = (contribution.dtype().name(), operand.dtype().name());
        return Err(Why::Defect(format!("it gives a cotangent of {found} for an operand of {wanted}")));
    }
    let (Some(have), Some(want)) = (contribution.dims(), operand.dims()) else {
        return if only {
            Ok(contribution)
        } else {
            Err(Why::Refused("the rank of an operand is unknown, so broadcasting cannot be undone".to_owned()))
        };
    };
    let one = |dim: &Dim| dim.fixed() == Some(1);
    let extra = have.len().saturating_sub(want.len());
    let missing = want.len().saturating_sub(have.len());
    let mut summed = Vec::new();
    let mut target = vec![Dim::Fixed(1); want.len()];
    let mut grows = missing > 0;
    for (axis, wanted) in want.iter().enumerate() {
        let Some(present) = axis.checked_sub(missing).and_then(|a| have.get(a + extra)) else {
            target[axis] = wanted.clone();
            continue;
        };
        match (one(present), one(wanted)) {
            (false, true) => summed.push((axis - missing + extra) as i64),
            (true, false) => {
                target[axis] = wanted.clone();
                grows = true;
            }
            _ if present.fixed().zip(wanted.fixed()).is_some_and(|(a, b)| a != b) => {
                let (found, wanted) = (list(&have), list(&want));
                return Err(Why::Defect(format!("it gives a cotangent of {found} for an operand of {wanted}")));
            }
            _ => {}
        }
    }
    let leading: Vec<i64> = (0..extra as i64).collect();
    let over = |ct: Expr<'b>, axes: &[i64], keep| if axes.is_empty() { ct } else { (book.collapse)(ct, axes, keep) };
    let fitted = over(over(contribution, &summed, true), &leading, false);
    if !grows {
        return Ok(fitted);
    }
    let known: Option<Vec<i64>> = target.iter().map(|d| d.fixed().map(|n| n as i64)).collect();
    Ok(match known {
        Some(known) => {
            let shape = contribution.builder().ints(&known);
            contribution.builder().op("Expand", &[fitted, shape], flatscape_graph::Attributes::none())
        }
        None => fitted.expand_like(operand),
    })
}

/// Names what was appended for a node or a value after it, nodes and their results, so that a viewer shows what belongs
/// together: `grad/conv1/ConvTranspose`.
fn name_nodes(builder: &Builder, label: &str, before: usize) {
    let mut graph = builder.graph_mut();
    for index in before..graph.nodes().len() {
        let id = NodeId(index as u32);
        let node = graph.node_at(id);
        let (name, results) = (format!("grad/{}/{}", label.trim_start_matches('/'), node.op), node.outputs.clone());
        graph.name_node(id, &name);
        results.into_iter().flatten().for_each(|result| graph.rename(result, &name));
    }
}
