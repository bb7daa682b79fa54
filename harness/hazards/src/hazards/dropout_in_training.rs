//! Dropout that drops when the model is asked.

use flatscape_graph::Node;

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "dropout-in-training",
        unreliable: true,
        raised_if: "Dropout in training mode stands between pixels and logits",
        explanation: "Activations are dropped at random at every run: the model was exported in training mode. Its answers \
                      vary, and its accuracy is lower than that of the model that was trained.",
        advice: "Export in evaluation mode (model.eval() before the export), or audit that model: --remedy eval-mode. \
                 --eot 20 keeps the dropping and lets attacks ascend the mean loss over 20 draws.",
    },
    remedies: &["eval-mode", "average"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    cause(reading.between().filter(|n| is_training(reading, n)), "in training mode")
}

/// A mode that is computed counts as training.
pub(super) fn is_training(reading: &Reading, node: &Node) -> bool {
    let mode = node.input(2).map(|_| reading.number(node, 2));
    let ratio = node.input(1).map_or(Some(0.5), |_| reading.number(node, 1));
    &*node.op == "Dropout" && mode.is_some_and(|mode| mode != Some(0.0)) && ratio != Some(0.0)
}
