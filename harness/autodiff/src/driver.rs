//! The reverse pass: visits the nodes between the variables and the root, applies each rule, undoes broadcasting, accumulates,
//! and refuses by name. It knows no operator.

use std::ops::Range;

use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Node, NodeId, ValueId};

use crate::application::{Application, list};
use crate::book::Rulebook;
use crate::error::{DiffError, Why};
use crate::rule::{Integers, Passage, Rule, Written, rule_for};

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
    let last = builder.graph().value(y).producer.map(|(node, _)| node.0 as usize + 1).unwrap_or(0);
    let mut active = Active::none(&builder.graph(), 0);
    for &v in wrt.iter().filter(|&&v| builder.graph().dtype(v).is_none_or(DType::is_float)) {
        active.set(v);
    }
    active.follow(book, &builder.graph(), 0);
    let mut cotangents = Cotangents::none(&active);
    if active.holds(y) {
        cotangents.set(y, ct);
    }
    sweep(book, builder, 0..last, &active, &mut cotangents)?;
    Ok(wrt.iter().map(|&v| cotangents.get(v)).collect())
}

/// For every value whether a derivative with respect to one of `wrt` can be other than zero. An operator without a rule
/// counts as passing, so that a cotangent that arrives there is refused and not lost.
pub(crate) fn active_values(book: &Rulebook, graph: &Graph, wrt: &[ValueId]) -> Vec<bool> {
    let mut active = Active::none(graph, 0);
    for &v in wrt.iter().filter(|&&v| graph.dtype(v).is_none_or(DType::is_float)) {
        active.set(v);
    }
    active.follow(book, graph, 0);
    active.marks
}

/// The values from one on, and a few before it, whose derivative is wanted or can be nonzero.
struct Active {
    first: usize,
    marks: Vec<bool>,
    before: Vec<ValueId>,
}

impl Active {
    fn none(graph: &Graph, first: usize) -> Active {
        Active { first, marks: vec![false; graph.values().len() - first], before: Vec::new() }
    }

    fn set(&mut self, v: ValueId) {
        match (v.0 as usize).checked_sub(self.first) {
            Some(at) => self.marks[at] = true,
            None => self.before.push(v),
        }
    }

    /// Values that came after the marks were made are not active.
    fn holds(&self, v: ValueId) -> bool {
        match (v.0 as usize).checked_sub(self.first) {
            Some(at) => self.marks.get(at) == Some(&true),
            None => self.before.contains(&v),
        }
    }

    /// Marks what depends on what is marked, from a node on.
    fn follow(&mut self, book: &Rulebook, graph: &Graph, node: usize) {
        let float = |v: ValueId| graph.dtype(v).is_none_or(DType::is_float);
        for node in &graph.nodes()[node..] {
            let rule = book.rule(&node.domain, &node.op);
            let reached: Vec<ValueId> = (0..node.inputs.len())
                .filter(|&i| rule.is_none_or(|r| r.passes(i)))
                .filter_map(|i| node.input(i).filter(|&v| self.holds(v)))
                .collect();
            if reached.is_empty() {
                continue;
            }
            let integers = match rule.map_or(Integers::Stop, |r| r.integers) {
                Integers::Stop => false,
                Integers::Pass => reached.iter().any(|&v| !float(v)),
                Integers::Start => true,
            };
            let carrying = if rule.is_some_and(|r| r.first_result) { 1 } else { node.outputs.len() };
            for &output in node.outputs.iter().take(carrying).flatten() {
                let index = graph.dtype(output) == Some(DType::I64) || graph.dtype(output) == Some(DType::Bool);
                if float(output) || integers && !index {
                    self.set(output);
                }
            }
        }
    }
}

/// The cotangents that have arrived at active values.
struct Cotangents {
    first: usize,
    slots: Vec<Option<ValueId>>,
    before: Vec<(ValueId, Option<ValueId>)>,
}

impl Cotangents {
    fn none(active: &Active) -> Cotangents {
        let before = active.before.iter().map(|&v| (v, None)).collect();
        Cotangents { first: active.first, slots: vec![None; active.marks.len()], before }
    }

    fn slot(&mut self, v: ValueId) -> Option<&mut Option<ValueId>> {
        match (v.0 as usize).checked_sub(self.first) {
            Some(at) => self.slots.get_mut(at),
            None => self.before.iter_mut().find(|(have, _)| *have == v).map(|(_, slot)| slot),
        }
    }

    fn get(&self, v: ValueId) -> Option<ValueId> {
        match (v.0 as usize).checked_sub(self.first) {
            Some(at) => self.slots.get(at).copied().flatten(),
            None => self.before.iter().find(|(have, _)| *have == v).and_then(|(_, slot)| *slot),
        }
    }

    fn set(&mut self, v: ValueId, ct: ValueId) {
        if let Some(slot) = self.slot(v) {
            *slot = Some(ct);
        }
    }

    fn add(&mut self, book: &Rulebook, builder: &Builder, v: ValueId, contribution: ValueId) {
        let sum = match self.get(v) {
            Some(sum) => {
                let before = builder.graph().nodes().len();
                let sum = (book.join)(builder.expr(sum), builder.expr(contribution));
                let label = builder.graph().value(v).name.clone();
                name_nodes(builder, &label, before);
                sum.id
            }
            None => contribution,
        };
        self.set(v, sum);
    }
}

/// Takes the cotangents from the results of these nodes to their operands, last node first.
fn sweep(
    book: &Rulebook,
    builder: &Builder,
    nodes: Range<usize>,
    active: &Active,
    cotangents: &mut Cotangents,
) -> Result<(), DiffError> {
    for index in nodes.rev() {
        let id = NodeId(index as u32);
        let node = builder.graph().node_at(id).clone();
        let arrived: Vec<Option<ValueId>> = node.outputs.iter().map(|o| o.and_then(|v| cotangents.get(v))).collect();
        if arrived.iter().all(Option::is_none) {
            continue;
        }
        let wanted: Vec<usize> = (0..node.inputs.len()).filter(|&i| node.input(i).is_some_and(|v| active.holds(v))).collect();
        if wanted.is_empty() {
            continue;
        }
        let rule = book.rule(&node.domain, &node.op).ok_or_else(|| DiffError::at(&node, Why::NoRule))?;
        for (i, contribution) in apply(book, builder, id, &node, rule, &wanted, arrived)? {
            if let Some(operand) = node.input(i) {
                cotangents.add(book, builder, operand, contribution);
            }
        }
    }
    Ok(())
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
    match rule.kind {
        Passage::Never(reason) => return Err(DiffError::at(node, Why::Never(reason))),
        Passage::Before(into) => return Err(DiffError::at(node, Why::Before(into))),
        _ => {}
    }
    if let Some(k) = arrived.iter().skip(1).position(Option::is_some).filter(|_| !rule.all_results) {
        return Err(refused(format!("its result {} is differentiated, and only the first one can be", k + 2)));
    }
    let Some(ct) = arrived.iter().copied().flatten().next() else { return Ok(Vec::new()) };
    let before = builder.graph().nodes().len();
    let problems = builder.graph().problems().len();
    let site = Application::new(builder, id, node.clone(), arrived);
    let mut contributions = Vec::with_capacity(wanted.len());
    let wanted = wanted.iter().copied().filter(|&i| rule.passes(i));
    if let Passage::Written(formula) = rule.kind {
        let wanted: Vec<usize> = wanted.collect();
        contributions = through(book, &site, formula, &wanted).map_err(refused)?;
    } else {
        for i in wanted {
            let ct = builder.expr(ct);
            let contribution = match rule.kind {
                Passage::Vjp(formulas) => match formulas.get(i) {
                    Some(formula) => formula(&site, ct),
                    None => return Err(refused(format!("it is differentiated with respect to its operand {}", i + 1))),
                },
                Passage::Each(formula) => formula(&site, i, ct),
                _ => continue,
            };
            contributions.push((i, contribution.id));
            if site.is_refused() {
                break;
            }
        }
    }
    if let Some(why) = site.take_refusal() {
        return Err(refused(why));
    }
    for (i, contribution) in &mut contributions {
        let fitted = fit(book, builder.expr(*contribution), site.x(*i), node.inputs.len() == 1);
        *contribution = fitted.map_err(|why| DiffError::at(node, why))?.id;
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

/// Takes the cotangents of a node through the formula that its operator is written as.
fn through(book: &Rulebook, site: &Application<'_>, formula: Written, wanted: &[usize]) -> Result<Vec<(usize, ValueId)>, String> {
    let builder = site.builder();
    let (first, from) = (builder.graph().values().len(), builder.graph().nodes().len());
    let results = formula(site)?;
    let end = builder.graph().nodes().len();
    let mut active = Active::none(&builder.graph(), first);
    let mut places: Vec<(usize, ValueId)> = Vec::new();
    for &i in wanted {
        let Some(operand) = site.node().input(i) else { continue };
        // an operand that stands twice has its whole cotangent at the first place
        if places.iter().all(|&(_, v)| v != operand) {
            places.push((i, operand));
            active.set(operand);
        }
    }
    active.follow(book, &builder.graph(), from);
    let mut cotangents = Cotangents::none(&active);
    for (k, result) in results.iter().enumerate() {
        if let Some(ct) = site.ct(k).filter(|_| active.holds(result.id)) {
            cotangents.add(book, builder, result.id, ct.id);
        }
    }
    sweep(book, builder, from..end, &active, &mut cotangents)
        .map_err(|e| format!("in the formula that it is written as, {e}"))?;
    let arrived = |(i, v): (usize, ValueId)| cotangents.get(v).map(|ct| (i, ct));
    Ok(places.into_iter().filter_map(arrived).collect())
}

/// Appends the results of an operator written with others; `None` if its rule is not of that kind. With this a graph can be
/// run where a runtime lacks the operator in double precision.
///
/// # Errors
/// A clause, if the formula does not cover this use.
pub fn write_out(builder: &Builder, node: NodeId) -> Option<Result<Vec<ValueId>, String>> {
    let operator = builder.graph().node_at(node).clone();
    let Passage::Written(formula) = rule_for(&operator.domain, &operator.op)?.kind else { return None };
    let results = operator.outputs.len();
    let site = Application::new(builder, node, operator, vec![None; results]);
    let written = formula(&site).map(|results| results.into_iter().map(|e| e.id).collect());
    Some(site.take_refusal().map_or(written, Err))
}

/// Gives a contribution the extents of its operand: sums where the operand was broadcast, broadcasts where the formula left
/// an extent of 1. Extents that are not known are taken as equal unless one is literally 1.
fn fit<'b>(book: &Rulebook, contribution: Expr<'b>, operand: Expr<'b>, only: bool) -> Result<Expr<'b>, Why> {
    let agrees =
        if operand.dtype().is_float() { contribution.dtype() == operand.dtype() } else { contribution.dtype().is_float() };
    if !agrees {
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
