//! A factor that makes logits huge.

use super::reading::Reading;
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "logit-scale",
        unreliable: false,
        raised_if: "the logits are multiplied by constants whose product exceeds 100",
        explanation: "Once the label leads by about 100, cross-entropy and its gradient round to zero in float32: the model \
                      has not become robust, its loss has lost its gradient (Carlini and Wagner 2017 on defensive \
                      distillation).",
        advice: "Attack the margin between logits instead of cross-entropy: --remedy margin.",
    },
    remedies: &["margin"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let (mut value, mut factor, mut nodes) = (reading.logits, 1.0f64, Vec::new());
    while let Some(node) = reading.producer(value) {
        let next = match &*node.op {
            "Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => node.input(0),
            "Mul" | "Div" => {
                let constant = (0..2).find(|&i| node.input(i).is_some_and(|v| !reading.carries(v)));
                constant.and_then(|i| {
                    let numbers = reading.graph.constant(node.input(i)?)?.to_f64();
                    let number = numbers.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                    factor *= if &*node.op == "Div" { 1.0 / number } else { number };
                    nodes.push(node.describe());
                    node.input(1 - i).filter(|_| i == 1 || &*node.op == "Mul")
                })
            }
            "Add" | "Sub" if node.inputs.iter().flatten().filter(|&&v| reading.carries(v)).count() == 1 => {
                node.inputs.iter().flatten().copied().find(|&v| reading.carries(v))
            }
            _ => None,
        };
        let Some(next) = next else { break };
        value = next;
    }
    let named = nodes.join(", ");
    (factor > 100.0).then(|| Cause { what: format!("the logits are multiplied by {factor:.0}: {named}"), nodes })
}
