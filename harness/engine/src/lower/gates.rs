//! `gates`: `Where(x > 0, v, 0)`, the gradient of a ReLU, as one operator of our own, `Gate`. Exact for every v, also infinite ones.

use flatscape_graph::{Attributes, DType, Graph, Node, ValueId};

use super::{GATE, producer, pushed};

pub(super) fn apply(graph: &Graph, engine: &str) -> Graph {
    let lowered = graph.rewrite(|new, node, inputs| {
        let (x, v) = gate(new, node, inputs)?;
        let dtype = new.dtype(x);
        let has_one = dtype == Some(DType::F32) || (engine == "tract" && dtype == Some(DType::F64));
        if !has_one || new.shape(x).is_none() || new.shape(x) != new.shape(v) {
            return None;
        }
        let ty = new.value(x).ty.clone();
        Some(vec![Some(pushed(new, Node::new(GATE, &[x, v], Attributes::none()), &ty))])
    });
    lowered.without_dead()
}

/// The x and the v of `Where(x > 0, v, 0)`.
pub(super) fn gate(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<(ValueId, ValueId)> {
    if &*node.op != "Where" || !node.domain.is_empty() {
        return None;
    }
    let operand = |place: usize| inputs.get(place).copied().flatten();
    let zero = |id: ValueId| new.constant(id).is_some_and(|c| c.len() == 1 && c.to_f64() == [0.0]);
    let compared = producer(new, operand(0)?, "Greater")?;
    (zero(compared.input(1)?) && zero(operand(2)?)).then_some((compared.input(0)?, operand(1)?))
}
