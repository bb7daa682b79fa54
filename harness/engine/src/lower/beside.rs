//! What an operator of our own for convolutions does besides: the addition, the ReLU and the gate that follow it.

use std::collections::HashMap;

use flatscape_graph::{Graph, Node, ValueId, ValueType};

use super::{DOMAIN, GATE};

/// A node that does to the result of such an operator, which nobody else reads, what the operator can do itself.
pub(super) fn joined(
    op: &str,
    new: &Graph,
    node: &Node,
    inputs: &[Option<ValueId>],
    uses: &HashMap<ValueId, usize>,
) -> Option<Node> {
    let operand = |place: usize| {
        let only = uses.get(&node.input(place)?) == Some(&1);
        let (producer, _) = new.value(inputs.get(place).copied()??).producer?;
        let made = new.node_at(producer);
        (only && &*made.op == op && &*made.domain == DOMAIN).then_some(made)
    };
    let relu = |made: &Node| made.attributes.ints("relu") == Some(&[1]);
    let with = |made: &Node, place: usize, value: ValueId| {
        let mut made = made.clone();
        made.outputs = Vec::new();
        made.inputs[place] = Some(value);
        made
    };
    let value = |place: usize| inputs.get(place).copied().flatten();
    match (&*node.domain, &*node.op) {
        ("", "Relu") => {
            let made = operand(0).filter(|made| !relu(made) && made.input(GATED).is_none())?;
            let attributes = made.attributes.clone().with("relu", [1]);
            Some(Node { attributes, outputs: Vec::new(), ..made.clone() })
        }
        ("", "Add") => {
            let free = |made: &&Node| !relu(made) && made.input(GATED).is_none() && made.input(SUM).is_none();
            let place = [0, 1].into_iter().find(|&place| operand(place).is_some_and(|made| free(&made)))?;
            let other = value(1 - place)?;
            alike(new, value(place)?, other).then(|| with(operand(place)?, SUM, other).into())?
        }
        (DOMAIN, GATE) => {
            let made = operand(1).filter(|made| made.input(GATED).is_none())?;
            Some(with(made, GATED, value(0)?))
        }
        _ => None,
    }
}

/// Operands of these operators.
pub(super) const SUM: usize = 3;
pub(super) const GATED: usize = 4;

/// Whether two values have the same known extents and element type.
fn alike(new: &Graph, a: ValueId, b: ValueId) -> bool {
    let known = |ty: &ValueType| ty.shape.is_some() && ty.dtype.is_some();
    let (a, b) = (&new.value(a).ty, &new.value(b).ty);
    known(a) && a.shape == b.shape && a.dtype == b.dtype
}
