//! Signs between pixels and logits.

use flatscape_graph::Node;

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "sign",
        unreliable: true,
        raised_if: "Sign is applied to something that depends on the pixels, and the logits depend on the result",
        explanation: "Only the sign is passed on, and its derivative is zero almost everywhere: an attack that follows the \
                      gradient gets no information about what lies behind it.",
        advice: "Let attacks look through it: --remedy straight-through takes the derivative of x/(1+|x|). The verdict is \
                 that of the untouched model. Add an attack without gradients.",
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    cause(reading.between().filter(|n| &*n.op == "Sign" && !restores(reading, n)), "between pixels and logits")
}

/// sign(u)·f(|u|), as exporters write powers of either sign: the derivative goes through |u|.
fn restores(reading: &Reading, sign: &Node) -> bool {
    let (Some(u), Some(s)) = (sign.input(0), sign.output(0)) else { return false };
    let Some(product) = reading.only_reader(s).filter(|n| &*n.op == "Mul") else { return false };
    let mut other = product.inputs.iter().flatten().copied().find(|&v| v != s);
    while let Some(node) = other.and_then(|v| reading.producer(v)) {
        if &*node.op == "Abs" {
            return node.input(0) == Some(u);
        }
        let follows = matches!(&*node.op, "Relu" | "Pow" | "Sqrt" | "Mul" | "Div" | "Add" | "Identity");
        other = node.input(0).filter(|&v| follows && reading.carries(v));
    }
    false
}
