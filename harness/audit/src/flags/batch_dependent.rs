//! The answer for one image depends on the others in its batch.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "batch-dependent",
        unreliable: true,
        raised_if: "images alone and together give logits that differ by more than the tolerance of the intake",
        explanation: "Normalisation in training mode and the like mix the images of a batch. An attack on one image then \
                      moves the others, and no verdict on a single image exists.",
        advice: "Export the model in evaluation mode (model.eval() before the export).",
    },
    judge: |evidence| evidence.batch_difference.map(|d| format!("the largest relative difference is {d:.1e}")),
};
