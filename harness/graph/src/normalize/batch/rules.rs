//! Operators that state a batch size which the file has fixed, and how they are changed to accept any. One row per operator.

use crate::expr::Builder;
use crate::ir::{Attribute, Dim, Graph, Node, ValueId};
use crate::ops;
use crate::tensor::Tensor;
use crate::with_array;

use super::BATCH;

/// A node on its way into the graph with the free batch. Its operands are values of `new`; its results are known in `old`, with
/// the extents that the file has.
pub(super) struct Place<'g> {
    pub(super) old: &'g Graph,
    pub(super) new: &'g mut Graph,
    pub(super) node: &'g mut Node,
    /// The extent of the batch in the file.
    pub(super) batch: usize,
}

/// Changes a node that states the batch size; `None` if nothing is to be done.
type Rule = fn(&mut Place) -> Option<()>;

/// What is done to which operators.
const RULES: &[(&[&str], Rule)] = &[
    (&["Reshape"], reshape),
    (&["Expand"], expand),
    (&["Concat"], concat),
    (
        &[
            "Add",
            "Sub",
            "Mul",
            "Div",
            "Pow",
            "Mod",
            "Max",
            "Min",
            "Sum",
            "Mean",
            "Where",
            "And",
            "Or",
            "Xor",
            "Equal",
            "Greater",
            "Less",
            "GreaterOrEqual",
            "LessOrEqual",
            "PRelu",
        ],
        |p| one_row(p, 0),
    ),
    (&["MatMul"], |p| one_row(p, 2)),
    (&["Gemm"], gemm),
    (&["LSTM", "GRU", "RNN"], initial_states),
    (&["Slice"], slice),
    (&["Resize"], resize),
];

/// Applies the row of the node's operator.
pub(super) fn apply(place: &mut Place) {
    if place.node.domain.is_empty()
        && let Some((_, rule)) = RULES.iter().find(|(ops, _)| ops.contains(&&*place.node.op))
    {
        rule(place);
    }
}

/// The constant target of a `Reshape`: the extent that held the batch is computed at run time.
fn reshape(p: &mut Place) -> Option<()> {
    let (x, target) = (p.node.input(0)?, p.node.input(1)?);
    p.new.constant(target)?;
    let data = p.new.shape(x)?;
    let at = data.iter().position(mentions)?;
    let output = p.node.outputs.first().copied().flatten()?;
    let before: Vec<usize> = extents(p.old, output)?;
    // extents before the batch axis must stay before it
    let ahead = size(&data[..at].iter().map(Dim::fixed).collect::<Option<Vec<usize>>>()?);
    let place = |exact: bool| {
        (0..before.len()).find(|&i| {
            size(&before[..i]) == ahead && if exact { before[i] == p.batch } else { before[i].is_multiple_of(p.batch) }
        })
    };
    let at = place(true).or_else(|| place(false))?;
    let rest: Vec<Dim> = (0..before.len()).filter(|&i| i != at).map(|i| Dim::Fixed(before[i])).collect();
    let free = ops::quotient_of(data, &rest);
    if ops::infer(p.new, p.node).ok()?.first()?.ty.shape.as_ref()?.get(at).is_some_and(|d| d.same(&free)) {
        return None;
    }
    let mut wanted: Vec<i64> = before.iter().map(|&n| i64::try_from(n).ok()).collect::<Option<_>>()?;
    wanted[at] = if data.get(at).is_some_and(|d| d.same(&free)) { 0 } else { -1 };
    p.node.inputs[1] = Some(p.new.add_constant("shape", Tensor::ints(&wanted)));
    p.node.attributes.0.insert("allowzero".into(), Attribute::Int(0));
    Some(())
}

/// The constant target of an `Expand` of something that has the batch already: 1 leaves it as it is.
fn expand(p: &mut Place) -> Option<()> {
    let (x, target) = (p.node.input(0)?, p.node.input(1)?);
    let mut wanted = p.new.constant(target)?.to_ints()?;
    let data = p.new.shape(x)?;
    let shift = wanted.len().checked_sub(data.len())?;
    let held: Vec<usize> = (0..data.len()).filter(|&i| mentions(&data[i])).collect();
    held.iter().for_each(|&i| wanted[shift + i] = 1);
    p.node.inputs[1] = Some(p.new.add_constant("shape", Tensor::ints(&wanted)));
    Some(())
}

/// Constants beside values with the batch, along another axis: their row, as often as there are images (a class token).
fn concat(p: &mut Place) -> Option<()> {
    let rank = p.new.rank(p.node.input(0)?)?;
    let joined = ops::front(p.node.attributes.int("axis", 0), rank).ok()?;
    for axis in (0..rank).filter(|&a| a != joined) {
        let operands: Vec<ValueId> = p.node.inputs.iter().flatten().copied().collect();
        let Some(like) = operands.iter().copied().find(|&v| is_batch(p.new, v, axis)) else { continue };
        for (i, &value) in operands.iter().enumerate() {
            if let Some(row) = first_row(p.new, value, axis, p.batch) {
                p.node.inputs[i] = Some(repeated(p.new, row, axis, like, axis));
            }
        }
    }
    Some(())
}

/// Constants that hold the same row for every image: one row, which broadcasts. The last `behind` axes are not a batch.
fn one_row(p: &mut Place, behind: usize) -> Option<()> {
    if p.batch == 1 {
        return None;
    }
    let operands: Vec<ValueId> = p.node.inputs.iter().flatten().copied().collect();
    let ranks: Vec<usize> = operands.iter().map(|&v| p.new.rank(v)).collect::<Option<_>>()?;
    let rank = ranks.iter().copied().max()?;
    for from_back in behind + 1..=rank {
        let axis = |rank: usize| rank.checked_sub(from_back);
        let holds = |i: usize| axis(ranks[i]).is_some_and(|a| is_batch(p.new, operands[i], a));
        if !(0..operands.len()).any(holds) {
            continue;
        }
        for (i, &rank) in ranks.iter().enumerate() {
            let value = p.node.input(i)?;
            if let Some(row) = axis(rank).and_then(|a| first_row(p.new, value, a, p.batch)) {
                p.node.inputs[i] = Some(p.new.add_constant("row", row));
            }
        }
    }
    Some(())
}

/// The summand of a `Gemm`, one row per image.
fn gemm(p: &mut Place) -> Option<()> {
    let (a, c) = (p.node.input(0)?, p.node.input(2)?);
    let rows = usize::from(p.node.attributes.int("transA", 0) != 0);
    if is_batch(p.new, a, rows) && p.new.rank(c)? == 2 && p.batch > 1 {
        let row = first_row(p.new, c, 0, p.batch)?;
        p.node.inputs[2] = Some(p.new.add_constant("row", row));
    }
    Some(())
}

/// Initial states and lengths of sequences, stored for the fixed batch.
fn initial_states(p: &mut Place) -> Option<()> {
    let x = p.node.input(0)?;
    let front = p.node.attributes.int("layout", 0) == 1;
    let (held, own) = if front { (0, 0) } else { (1, 1) };
    if !is_batch(p.new, x, held) {
        return None;
    }
    for (operand, axis) in [(4, 0), (5, own), (6, own)] {
        if let Some(row) = p.node.input(operand).and_then(|value| first_row(p.new, value, axis, p.batch)) {
            p.node.inputs[operand] = Some(repeated(p.new, row, axis, x, held));
        }
    }
    Some(())
}

/// A slice from the first image to the last one takes them all.
fn slice(p: &mut Place) -> Option<()> {
    let ints = |graph: &Graph, i: usize| p.node.input(i).and_then(|v| graph.constant(v)).and_then(|t| t.to_ints());
    let (starts, mut ends) = (ints(p.new, 1)?, ints(p.new, 2)?);
    let shape = p.new.shape(p.node.input(0)?)?;
    let axes = if p.node.input(3).is_some() { ints(p.new, 3)? } else { (0..starts.len() as i64).collect() };
    let steps = if p.node.input(4).is_some() { ints(p.new, 4)? } else { vec![1; starts.len()] };
    let mut changed = false;
    for (k, &axis) in axes.iter().enumerate() {
        let axis = ops::front(axis, shape.len()).ok()?;
        let whole = starts.get(k) == Some(&0) && steps.get(k) == Some(&1) && ends.get(k).is_some_and(|&e| e == p.batch as i64);
        if whole && matches!(&shape[axis], Dim::Symbol(name) if &**name == BATCH) {
            ends[k] = i64::MAX;
            changed = true;
        }
    }
    if changed {
        p.node.inputs[2] = Some(p.new.add_constant("ends", Tensor::ints(&ends)));
    }
    Some(())
}

/// The sizes of a `Resize` that name the batch: the operand's own batch instead.
fn resize(p: &mut Place) -> Option<()> {
    let (x, sizes) = (p.node.input(0)?, p.node.input(3)?);
    let stated = p.new.constant(sizes)?.to_ints()?;
    if p.node.attributes.ints("axes").is_some() || !is_batch(p.new, x, 0) || stated.first() != Some(&(p.batch as i64)) {
        return None;
    }
    let b = Builder::new(std::mem::take(p.new));
    let first = b.expr(x).unary("Shape").slice(&[0], &[1], &[0], &[1]);
    let all = b.concat(&[first, b.ints(&stated[1..])], 0).id;
    *p.new = b.into_graph();
    p.node.inputs[3] = Some(all);
    Some(())
}

/// The first row of a constant along an axis that has the batch's extent, if all its rows are equal.
fn first_row(graph: &Graph, value: ValueId, axis: usize, batch: usize) -> Option<Tensor> {
    let constant = graph.constant(value)?;
    if constant.shape().get(axis) != Some(&batch) {
        return None;
    }
    with_array!(&**constant, array => {
        let rows: Vec<_> = array.axis_iter(ndarray::Axis(axis)).collect();
        let first = rows.first()?;
        rows.iter().all(|row| row == first).then(|| Tensor::from(first.to_owned().insert_axis(ndarray::Axis(axis))))
    })
}

/// A row as often along `axis` as `like` is long along `along`.
fn repeated(graph: &mut Graph, row: Tensor, axis: usize, like: ValueId, along: usize) -> ValueId {
    let extents: Vec<i64> = row.shape().iter().map(|&n| n as i64).collect();
    let b = Builder::new(std::mem::take(graph));
    let along = along as i64;
    let count = b.expr(like).unary("Shape").slice(&[along], &[along + 1], &[0], &[1]);
    let shape = b.concat(&[b.ints(&extents[..axis]), count, b.ints(&extents[axis + 1..])], 0);
    let expanded = b.op("Expand", &[b.constant(row), shape], crate::ir::Attributes::none()).id;
    *graph = b.into_graph();
    expanded
}

fn is_batch(graph: &Graph, value: ValueId, axis: usize) -> bool {
    graph.shape(value).and_then(|s| s.get(axis)).is_some_and(|d| matches!(d, Dim::Symbol(name) if &**name == BATCH))
}

fn mentions(dim: &Dim) -> bool {
    matches!(dim, Dim::Symbol(s) if s.split('*').any(|factor| factor == BATCH))
}

fn size(shape: &[usize]) -> usize {
    shape.iter().fold(1, |n, &d| n.saturating_mul(d))
}

fn extents(graph: &Graph, value: ValueId) -> Option<Vec<usize>> {
    graph.shape(value)?.iter().map(Dim::fixed).collect()
}
