//! Batch normalisation with the statistics of the batch.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "batch-norm-in-training",
        unreliable: true,
        raised_if: "BatchNormalization in training mode stands between pixels and logits",
        explanation: "Every image is normalised with the mean and variance of the batch that it comes in: its logits depend \
                      on the other images of the batch, and no verdict on a single image exists.",
        advice: "Export in evaluation mode (model.eval() before the export), or audit that model: --remedy eval-mode.",
    },
    remedies: &["eval-mode"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let trains = reading.between().filter(|n| &*n.op == "BatchNormalization" && n.attributes.int("training_mode", 0) != 0);
    cause(trains, "in training mode")
}
