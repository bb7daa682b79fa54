//! The gradient graph that came with the model is not our gradient.

use super::{Doubt, Flag};

/// What stands in the column `flags`.
pub const CODE: &str = "gradients-disagree";

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: CODE,
        unreliable: false,
        raised_if: "the gradient of --gradients differs from ours by more than 2 % of its norm on more than 5 % of the samples",
        explanation: "One of the two is not the gradient of this model. The certificate says which: it holds the gradient in \
                      use against the slope of the model.",
        advice: "A cosine of 1 means another scale, such as a loss that is averaged over the batch; a cosine far from 1 \
                 another loss, another preprocessing or a straight-through rule.",
    },
    judge: |evidence| {
        let row = evidence.certificate?.disagreement()?;
        Some(format!("{} ({})", row.measured, row.points))
    },
};
