//! Algebra that changes no value: nodes that are equal to one of their operands, and nodes with a simpler form.

use crate::ir::{Attribute, Attributes, Dim, Graph, Node, ValueId};
use crate::ops;
use crate::simplify::Shapes;
use crate::tensor::{DType, Tensor};

/// A node in the graph that is being built, before it is appended.
struct Place<'g> {
    graph: &'g mut Graph,
    node: &'g mut Node,
    shapes: Shapes,
}

/// Either the value that the node's first result equals, or the node, possibly changed, stays.
type Rule = fn(&mut Place) -> Option<ValueId>;

/// The operators and what is tried on them, in order.
const RULES: &[(&[&str], Rule)] = &[
    // y = x
    (&["Identity"], first),
    (&["Dropout"], dropout_in_evaluation),
    (&["Cast"], cast_to_the_same),
    (&["Sum", "Max", "Min", "Mean", "Concat"], of_one_operand),
    // x + 0, x · 1
    (&["Add", "Sub"], |p| neutral(p, 0.0)),
    (&["Mul", "Div", "Pow"], |p| neutral(p, 1.0)),
    // parts of a result, each padded to the whole of it
    (&["Add"], sum_of_pads),
    // −(−x)
    (&["Neg"], neg_of_neg),
    (&["Not"], neg_of_neg),
    // nothing is moved
    (&["Transpose"], transpose_of_transpose),
    (&["Expand", "Tile", "Slice", "Pad", "Split"], nothing_moved),
    (&["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"], reduce_over_one),
    // what shapes are computed from
    (&["Where"], target_of_expand),
    // the same elements in another shape
    (&["Reshape", "Flatten", "Squeeze", "Unsqueeze"], reshape_of_reshape),
];

/// Operators that keep the elements and their order.
const RESHAPES: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/// Results that the node would have and that are there already. The node itself may be changed to a simpler one.
pub(super) fn apply(graph: &mut Graph, node: &mut Node, shapes: Shapes) -> Option<Vec<Option<ValueId>>> {
    if !node.domain.is_empty() {
        return None;
    }
    let rules = RULES.iter().filter(|(ops, _)| ops.contains(&&*node.op)).map(|(_, rule)| *rule).collect::<Vec<Rule>>();
    for rule in rules {
        if let Some(same) = rule(&mut Place { graph, node, shapes }) {
            let mut results = vec![None; node.outputs.len()];
            results[0] = Some(same);
            return Some(results);
        }
    }
    None
}

fn first(p: &mut Place) -> Option<ValueId> {
    p.node.input(0)
}

fn dropout_in_evaluation(p: &mut Place) -> Option<ValueId> {
    let training = match p.node.input(2) {
        None => false,
        Some(t) => p.graph.constant(t)?.to_ints()?.first() != Some(&0),
    };
    // the mask is all true, and a node may read it
    let masked = p.node.output(1).is_some();
    if training || masked { None } else { p.node.input(0) }
}

fn cast_to_the_same(p: &mut Place) -> Option<ValueId> {
    let x = p.node.input(0)?;
    let to = ops::dtype_of_code(p.node.attributes.int("to", 0))?;
    (p.graph.dtype(x) == Some(to)).then_some(x)
}

fn of_one_operand(p: &mut Place) -> Option<ValueId> {
    if let [Some(only)] = p.node.inputs[..] { Some(only) } else { None }
}

/// `x + 0`, `0 + x`, `x − 0`, `x · 1`, `1 · x`, `x / 1`, `x ^ 1`, where the constant does not make the result larger than x.
fn neutral(p: &mut Place, value: f64) -> Option<ValueId> {
    let commutes = matches!(&*p.node.op, "Add" | "Mul");
    for (x, c) in [(0, 1), (1, 0)] {
        if (x, c) == (1, 0) && !commutes {
            break;
        }
        let (x, c) = (p.node.input(x)?, p.node.input(c)?);
        let Some(constant) = p.graph.constant(c) else { continue };
        if !everywhere(constant, value) {
            continue;
        }
        let (Some(shape), ones) = (p.graph.shape(x), constant.shape()) else { continue };
        let inside = shape.iter().rev().zip(ones.iter().rev()).all(|(d, &n)| n == 1 || d.fixed() == Some(n));
        if ones.len() <= shape.len() && inside {
            return Some(x);
        }
    }
    None
}

/// `Pad(a) + Pad(b)` with zeros along one axis, where b begins at the place where a ends, as in the gradient of a `Split` or of several
/// `Slice`s: the parts beside each other, padded by what is left.
fn sum_of_pads(p: &mut Place) -> Option<ValueId> {
    let (x, y) = (p.node.input(0)?, p.node.input(1)?);
    if !same_extents(p.graph.shape(x)?, p.graph.shape(y)?) {
        return None;
    }
    let (mut first, mut second) = (padded(p.graph, x)?, padded(p.graph, y)?);
    if first.before > second.before {
        std::mem::swap(&mut first, &mut second);
    }
    if first.axis != second.axis || first.before + first.extent != second.before {
        return None;
    }
    let parts = Node::new("Concat", &[first.part, second.part], Attributes::none().with("axis", first.axis as i64));
    let beside = p.graph.push(parts, 1)[0];
    let rank = p.graph.rank(beside)?;
    let mut pads = vec![0; 2 * rank];
    (pads[first.axis], pads[rank + first.axis]) = (first.before, second.after);
    if pads.iter().all(|&n| n == 0) {
        return Some(beside);
    }
    let pads = p.graph.add_constant("pads", Tensor::ints(&pads));
    *p.node = Node { outputs: p.node.outputs.clone(), ..Node::new("Pad", &[beside, pads], Attributes::none()) };
    None
}

/// A value with zeros before and behind it along one axis.
struct Padded {
    part: ValueId,
    axis: usize,
    before: i64,
    extent: i64,
    after: i64,
}

fn padded(graph: &Graph, value: ValueId) -> Option<Padded> {
    let pad = producer(graph, value).filter(|n| &*n.op == "Pad" && n.domain.is_empty())?;
    let zero = pad.input(2).is_none_or(|v| graph.constant(v).is_some_and(|t| everywhere(t, 0.0)));
    let (part, pads) = (pad.input(0)?, graph.constant(pad.input(1)?)?.to_ints()?);
    let rank = graph.rank(part)?;
    if !zero || pad.attributes.string("mode", "constant") != "constant" || pad.input(3).is_some() || pads.len() != 2 * rank {
        return None;
    }
    let mut touched = (0..rank).filter(|&axis| pads[axis] != 0 || pads[rank + axis] != 0);
    let (axis, None) = (touched.next()?, touched.next()) else { return None };
    let (before, after) = (pads[axis], pads[rank + axis]);
    let extent = graph.shape(part)?[axis].fixed()? as i64;
    (before >= 0 && after >= 0).then_some(Padded { part, axis, before, extent, after })
}

fn everywhere(tensor: &Tensor, value: f64) -> bool {
    match tensor {
        Tensor::F32(a) => a.iter().all(|&v| f64::from(v) == value),
        Tensor::F64(a) => a.iter().all(|&v| v == value),
        Tensor::I8(a) => a.iter().all(|&v| f64::from(v) == value),
        Tensor::I32(a) => a.iter().all(|&v| f64::from(v) == value),
        Tensor::I64(a) => a.iter().all(|&v| v == value as i64),
        Tensor::U8(a) => a.iter().all(|&v| f64::from(v) == value),
        Tensor::Bool(_) => false,
    }
}

/// Undoing twice: `−(−x)`, `¬¬x`.
fn neg_of_neg(p: &mut Place) -> Option<ValueId> {
    let inner = producer(p.graph, p.node.input(0)?)?;
    (inner.op == p.node.op && inner.domain.is_empty()).then(|| inner.input(0))?
}

/// Two permutations become one; one that moves nothing is gone.
fn transpose_of_transpose(p: &mut Place) -> Option<ValueId> {
    let mut x = p.node.input(0)?;
    let rank = p.graph.rank(x)?;
    let order = |node: &Node| -> Option<Vec<i64>> {
        let order = match node.attributes.ints("perm") {
            Some(perm) => perm.to_vec(),
            None => (0..rank as i64).rev().collect(),
        };
        (order.len() == rank && order.iter().all(|&a| (0..rank as i64).contains(&a))).then_some(order)
    };
    let mut perm = order(p.node)?;
    if let Some(inner) = producer(p.graph, x).filter(|n| &*n.op == "Transpose" && n.domain.is_empty()) {
        let before = order(inner)?;
        perm = perm.iter().map(|&a| before[a as usize]).collect();
        x = inner.input(0)?;
        p.node.inputs[0] = Some(x);
        p.node.attributes.0.insert("perm".into(), Attribute::Ints(perm.clone()));
    }
    perm.iter().enumerate().all(|(i, &a)| i as i64 == a).then_some(x)
}

/// `Expand`, `Tile`, `Slice`, `Pad`, `Split` whose result has exactly the extents of x, element by element.
fn nothing_moved(p: &mut Place) -> Option<ValueId> {
    let x = p.node.input(0)?;
    let constant = |i: usize| p.node.input(i).and_then(|v| p.graph.constant(v)).and_then(|t| t.to_ints());
    let in_place = match &*p.node.op {
        "Slice" => p.node.input(4).is_none() || constant(4)?.iter().all(|&s| s == 1),
        "Pad" => constant(1)?.iter().all(|&n| n == 0),
        "Split" => p.node.outputs.len() == 1,
        _ => true,
    };
    if !in_place {
        return None;
    }
    let found = ops::infer(p.graph, p.node).ok()?.into_iter().next()?;
    same_extents(found.ty.shape.as_deref()?, p.graph.shape(x)?).then_some(x)
}

/// `Where(s = −1, 1, s)` with an s put together from extents and numbers, as PyTorch writes the target of an `Expand` in which −1
/// leaves an axis as it is: the numbers are known here, and what remains is a `Concat` of which inference knows the extents.
fn target_of_expand(p: &mut Place) -> Option<ValueId> {
    let (condition, ones, s) = (p.node.input(0)?, p.node.input(1)?, p.node.input(2)?);
    let all = |p: &Place, v: ValueId, n: i64| Some(p.graph.constant(v)?.to_ints()?.iter().all(|&k| k == n));
    let equal = producer(p.graph, condition).filter(|n| &*n.op == "Equal" && n.domain.is_empty())?;
    let (a, b) = (equal.input(0)?, equal.input(1)?);
    let against = if a == s { b } else { a };
    let parts = producer(p.graph, s).filter(|n| &*n.op == "Concat" && n.domain.is_empty())?.inputs.clone();
    let vectors = p.graph.rank(s) == Some(1) && p.graph.rank(ones) == Some(1) && p.graph.shape(s) == p.graph.shape(ones);
    if !vectors || ![a, b].contains(&s) || !all(p, against, -1)? || !all(p, ones, 1)? || p.graph.dtype(s) != Some(DType::I64) {
        return None;
    }
    let mut known = Vec::new();
    for part in parts.into_iter().flatten() {
        let numbers = p.graph.constant(part).and_then(|t| t.to_ints());
        let extents = p.graph.value(part).extents.as_ref();
        known.push(match (numbers, extents) {
            (Some(numbers), _) => Some(numbers.iter().map(|&n| if n == -1 { 1 } else { n }).collect::<Vec<i64>>()),
            (None, Some(extents)) if !extents.contains(&Dim::Unknown) => None,
            _ => return None,
        });
    }
    let parts = producer(p.graph, s)?.inputs.clone();
    let inputs: Vec<Option<ValueId>> = parts
        .iter()
        .zip(known)
        .map(|(part, numbers)| numbers.map_or(*part, |n| Some(p.graph.add_constant("shape", Tensor::ints(&n)))))
        .collect();
    p.node.op = "Concat".into();
    p.node.inputs = inputs;
    p.node.attributes = Attributes::none().with("axis", 0);
    None
}

/// A reduction over axes of extent 1 that stay.
fn reduce_over_one(p: &mut Place) -> Option<ValueId> {
    let x = p.node.input(0)?;
    let found = ops::infer(p.graph, p.node).ok()?.into_iter().next()?;
    let (before, after) = (p.graph.shape(x)?, found.ty.shape?);
    same_extents(before, &after).then_some(x)
}

/// A chain of reshapes goes back to a value of the wanted extents, or becomes one `Reshape` of where it starts.
fn reshape_of_reshape(p: &mut Place) -> Option<ValueId> {
    const FAR: usize = 8;
    let found = ops::infer(p.graph, p.node).ok()?.into_iter().next()?;
    let wanted = found.ty.shape?;
    let direct = p.node.input(0)?;
    let mut source = direct;
    for _ in 0..FAR {
        if p.graph.shape(source).is_some_and(|s| same_elements(s, &wanted)) {
            return Some(source);
        }
        match producer(p.graph, source).filter(|n| RESHAPES.contains(&&*n.op) && n.domain.is_empty()) {
            Some(inner) => source = inner.input(0)?,
            None => break,
        }
    }
    let computed = &*p.node.op == "Reshape" && p.node.input(1).is_some_and(|t| p.graph.constant(t).is_none());
    if source == direct && !computed {
        return None;
    }
    if p.shapes == Shapes::Keep && (computed || !states_its_target(p)) {
        return None;
    }
    let target = if states_its_target(p) {
        p.node.input(1)?
    } else {
        let target = target(p.graph.shape(source)?, &wanted)?;
        p.graph.add_constant("shape", Tensor::ints(&target))
    };
    p.node.op = "Reshape".into();
    p.node.inputs = vec![Some(source), Some(target)];
    p.node.attributes = Default::default();
    None
}

/// Whether it is a `Reshape` to a constant shape that copies no extent of its operand.
fn states_its_target(p: &Place) -> bool {
    let target = p.node.input(1).filter(|_| &*p.node.op == "Reshape").and_then(|t| p.graph.constant(t));
    target.and_then(|t| t.to_ints()).is_some_and(|t| t.iter().all(|&n| n != 0))
}

/// A constant target: extents of the source are copied with 0, one other unknown is −1.
fn target(source: &[Dim], wanted: &[Dim]) -> Option<Vec<i64>> {
    let mut open = false;
    let entry = |(i, d): (usize, &Dim)| match d {
        Dim::Fixed(0) => None,
        Dim::Fixed(n) => i64::try_from(*n).ok(),
        d if source.get(i).is_some_and(|s| s.same(d)) => Some(0),
        _ if std::mem::replace(&mut open, true) => None,
        _ => Some(-1),
    };
    wanted.iter().enumerate().map(entry).collect()
}

fn producer(graph: &Graph, value: ValueId) -> Option<&Node> {
    graph.value(value).producer.map(|(node, _)| graph.node_at(node))
}

fn same_extents(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
}

/// As [`same_extents`] for two shapes of the same elements: one extent may be unknown, the others determine it.
fn same_elements(a: &[Dim], b: &[Dim]) -> bool {
    let unknown = a.iter().zip(b).filter(|(a, b)| !a.same(b)).count();
    let empty = b.iter().any(|d| d.fixed() == Some(0));
    a.len() == b.len() && (unknown == 0 || unknown == 1 && !empty)
}
