//! Sequences of tensors, resolved where they vanish: every element is known by its place, and what reads the sequence reads the
//! elements. A sequence whose length depends on data is refused.

use std::collections::HashMap;

use super::NormalizeError;
use super::control::{formulas, split};
use super::known::{known, known_int};
use super::upgrade::{Old, Renewed};
use crate::ir::{Graph, ValueId};
use crate::tensor::Tensor;

/// `SequenceConstruct`, `SequenceEmpty`.
pub(super) fn construct(old: &mut Old) -> Renewed {
    let elements: Option<Vec<ValueId>> = old.node.inputs.iter().copied().collect();
    Ok(sequence(old, elements.ok_or("an element is missing")?))
}

/// `SplitToSequence`: parts of extent 1 without the axis, parts of one extent, or parts of listed extents.
pub(super) fn split_up(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let shape = old.graph.shape(x).ok_or("the rank of x is not known")?;
    let axis = crate::ops::front(old.node.attributes.int("axis", 0), shape.len())?;
    let extent = shape[axis].fixed().ok_or("the extent of x along the axis is not fixed")?;
    let (sizes, squeezed) = match old.node.input(1) {
        None => (vec![1; extent], old.node.attributes.int("keepdims", 1) == 0),
        Some(split) => {
            let given = known(old.graph, split).ok_or("the extents of the parts depend on data")?;
            let ints = given.to_ints().ok_or("the extents of the parts are not integers")?;
            match (given.shape(), &ints[..]) {
                ([], &[part]) if part > 0 => {
                    let whole = extent as i64 / part;
                    let rest = extent as i64 % part;
                    (std::iter::repeat_n(part, whole as usize).chain((rest > 0).then_some(rest)).collect(), false)
                }
                ([], _) => return Err("the extent of the parts is not positive".to_owned()),
                _ => (ints, false),
            }
        }
    };
    if sizes.iter().any(|&n| n < 0) || sizes.iter().sum::<i64>() != extent as i64 {
        return Err(format!("the parts {sizes:?} do not add up to {extent}"));
    }
    old.walk.afford(2 * sizes.len() + 1)?;
    let parts = formulas(old, |b| {
        let (x, axis) = (b.expr(x), axis as i64);
        let parts = match sizes.len() {
            1 => vec![x],
            n if sizes.iter().all(|&s| s == 1) => split(b, x, axis, n),
            n => b.ops("Split", &[x, b.ints(&sizes)], n, [("axis", axis.into())]),
        };
        parts.into_iter().map(|p| Some(if squeezed { p.squeeze(&[axis]) } else { p })).collect()
    });
    let elements = parts.into_iter().flatten().flatten().collect();
    Ok(sequence(old, elements))
}

/// `SequenceAt`.
pub(super) fn at(old: &mut Old) -> Renewed {
    let elements = elements(old)?;
    let place = place(old, 1, elements.len(), "reads")?.ok_or("it has no position")?;
    elements.get(place).map(|&v| Some(vec![Some(v)])).ok_or_else(|| format!("the sequence has {} elements", elements.len()))
}

/// `SequenceInsert`.
pub(super) fn insert(old: &mut Old) -> Renewed {
    let (mut elements, new) = (elements(old)?, old.x(1)?);
    let place = place(old, 2, elements.len(), "inserts")?.unwrap_or(elements.len());
    if place > elements.len() {
        return Err(format!("the sequence has {} elements", elements.len()));
    }
    elements.insert(place, new);
    Ok(sequence(old, elements))
}

/// `SequenceErase`.
pub(super) fn erase(old: &mut Old) -> Renewed {
    let mut elements = elements(old)?;
    let last = elements.len().checked_sub(1).ok_or("the sequence is empty")?;
    let place = place(old, 1, elements.len(), "erases")?.unwrap_or(last);
    if place > last {
        return Err(format!("the sequence has {} elements", elements.len()));
    }
    elements.remove(place);
    Ok(sequence(old, elements))
}

/// `SequenceLength`.
pub(super) fn length(old: &mut Old) -> Renewed {
    let length = elements(old)?.len() as i64;
    Ok(Some(vec![Some(old.graph.add_constant("length", Tensor::scalar(length)))]))
}

/// `ConcatFromSequence`.
pub(super) fn concat(old: &mut Old) -> Renewed {
    let elements = elements(old)?;
    let axis = old.node.attributes.int("axis", 0);
    let stacked = old.node.attributes.int("new_axis", 0) == 1;
    if elements.is_empty() {
        return Err("the sequence is empty".to_owned());
    }
    old.walk.afford(elements.len() + 1)?;
    Ok(formulas(old, |b| {
        let parts: Vec<_> = elements.iter().map(|&v| if stacked { b.expr(v).unsqueeze(&[axis]) } else { b.expr(v) }).collect();
        vec![Some(b.concat(&parts, axis))]
    }))
}

/// `Identity`, which hands sequences on as well.
pub(super) fn identity(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    Ok(old.walk.sequences.contains_key(&x).then(|| vec![Some(x)]))
}

/// A sentence about the first operator or output that a sequence reaches and that is not made for sequences.
pub(super) fn still_there(graph: &Graph, sequences: &HashMap<ValueId, Vec<ValueId>>) -> Option<NormalizeError> {
    if sequences.is_empty() {
        return None;
    }
    let reads = |list: &[Option<ValueId>]| list.iter().flatten().any(|v| sequences.contains_key(v));
    let node = graph.nodes().iter().find(|n| reads(&n.inputs)).map(|n| n.describe());
    let output = || graph.outputs().iter().find(|o| sequences.contains_key(&o.value));
    let culprit = node.or_else(|| output().map(|o| format!("the output {}", crate::shown(&o.name))));
    culprit.map(|what| NormalizeError::Node(format!("{what} reads a sequence of tensors, which is not supported")))
}

/// A value that stands for a sequence; nothing ever reads it.
fn sequence(old: &mut Old, elements: Vec<ValueId>) -> Option<Vec<Option<ValueId>>> {
    let id = old.graph.add_constant("sequence", Tensor::ints(&[]));
    old.walk.sequences.insert(id, elements);
    Some(vec![Some(id)])
}

fn elements(old: &Old) -> Result<Vec<ValueId>, String> {
    old.walk.sequences.get(&old.x(0)?).cloned().ok_or_else(|| "the length of its sequence depends on data".to_owned())
}

/// A position counted from the front.
fn place(old: &Old, operand: usize, length: usize, what: &str) -> Result<Option<usize>, String> {
    let Some(v) = old.node.input(operand) else { return Ok(None) };
    let at = known_int(old.graph, v).ok_or_else(|| format!("where it {what} depends on data"))?;
    let counted = if at < 0 { at + length as i64 } else { at };
    usize::try_from(counted).map(Some).map_err(|_| format!("the position {at} is outside a sequence of {length}"))
}
