//! Casts from floats to integers between pixels and logits.

use flatscape_graph::{DType, Node, ValueId};

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "integer-cast",
        unreliable: true,
        raised_if: "a float that depends on the pixels is cast to an integer, and the logits depend on the result",
        explanation: "A cast to integers cuts off the fraction; its derivative is zero almost everywhere, and an attack that \
                      follows the gradient gets no information about what lies behind it.",
        advice: "Let attacks look through it: --remedy straight-through, where the integers become floats again at once. The \
                 verdict is that of the untouched model. Add an attack without gradients.",
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let is_float = |v: Option<ValueId>| v.and_then(|v| reading.graph.dtype(v)).is_some_and(|t| t.is_float());
    let is_integer =
        |v: Option<ValueId>| v.and_then(|v| reading.graph.dtype(v)).is_some_and(|t| !t.is_float() && t != DType::Bool);
    let cuts = |n: &&Node| matches!(&*n.op, "Cast" | "CastLike") && is_float(n.input(0)) && is_integer(n.output(0));
    cause(reading.between().filter(cuts), "to integers, between pixels and logits")
}
