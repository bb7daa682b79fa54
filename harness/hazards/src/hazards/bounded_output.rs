//! An output that saturates: probabilities where logits should be.

use super::reading::Reading;
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "bounded-output",
        unreliable: false,
        raised_if: "the output comes from Softmax, Sigmoid, Tanh, Relu, Clip or the like, which could not be removed",
        explanation: "At its bound such an output has a derivative that is zero or rounds to zero; gradient attacks then get \
                      no direction although its input would change.",
        advice: "Let attacks see its input: --remedy logits, if that keeps the order of the classes. The verdict is that of \
                 the untouched model. Or export the model without its last activation.",
    },
    remedies: &["logits"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let (bound, _) = crate::remedies::logits::tail(reading.graph, reading.logits)?;
    let node = bound.describe();
    Some(Cause { what: format!("the output comes from {node}"), nodes: vec![node] })
}
