//! Results whose length depends on the pixels.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "data-dependent-length",
        unreliable: false,
        raised_if: "NonMaxSuppression, Unique, Compress or NonZero stands between pixels and logits",
        explanation: "The number of results depends on the pixels, so the output is discontinuous and no gradient is defined; \
                      attacks that need one are refused by row, unless another path from the pixels to the logits carries a \
                      gradient.",
        advice: "Export the classifier without post-processing, and choose its logits with --output; otherwise add an attack \
                 without gradients.",
    },
    remedies: &[],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let selects = |op: &str| matches!(op, "NonMaxSuppression" | "Unique" | "Compress" | "NonZero");
    cause(reading.between().filter(|n| selects(&n.op)), "between pixels and logits")
}
