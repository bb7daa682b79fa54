//! The answer for one image depends on its place in the batch.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "order-dependent",
        unreliable: true,
        raised_if: "the images of a batch in another order give logits that differ by more than the tolerance of the intake",
        explanation: "The model treats the places of a batch differently or carries a state from one image to the next: the \
                      accuracy depends on the order of the data, and no verdict on a single image exists.",
        advice: "Export the model so that every image is treated alike, and without a state.",
    },
    judge: |evidence| evidence.order_difference.map(|d| format!("the largest relative difference is {d:.1e}")),
};
