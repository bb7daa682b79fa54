//! `masks`: [x > 0] as a number, by `HardSigmoid` instead of `Greater` and `Cast`.
//!
//! ONNX Runtime keeps `HardSigmoid` in the blocked layout of its convolutions and would leave it for `Greater`. One HardSigmoid with a
//! slope of 3e38 is 1 for every normal positive x and a fraction for some subnormal ones; a second one makes those 1 as well
//! (the smallest x, 1.4e-45, becomes 4e-7 and then 1), so the mask is exactly 0 or 1. For x ≤ 0 both are 0.

use flatscape_graph::{Attribute, Attributes, DType, Graph, Node, ValueId};

use super::producer;

const SLOPE: f32 = 3e38;

pub(super) fn apply(graph: &Graph, _: &str) -> Graph {
    let lowered = graph.rewrite(|new, node, inputs| {
        let x = positive(new, node, inputs).filter(|&x| new.dtype(x) == Some(DType::F32))?;
        let steep = || Attributes::none().with("alpha", Attribute::Float(SLOPE)).with("beta", Attribute::Float(0.0));
        let once = new.node("HardSigmoid", &[x], steep());
        Some(vec![Some(new.node("HardSigmoid", &[once], steep()))])
    });
    lowered.without_dead()
}

/// The x of a node that computes [x > 0] as a number of the type of x.
pub(super) fn positive(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<ValueId> {
    if &*node.op != "Cast" || !node.domain.is_empty() {
        return None;
    }
    let compared = producer(new, inputs.first().copied()??, "Greater")?;
    let (x, zero) = (compared.input(0)?, compared.input(1)?);
    let zero = new.constant(zero)?;
    let to = new.dtype(x).map(flatscape_graph::ops::onnx_code);
    (zero.len() == 1 && zero.to_f64() == [0.0] && to == Some(node.attributes.int("to", 0))).then_some(x)
}
