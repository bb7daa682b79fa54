//! A permitted input makes a logit of the model NaN.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "nan-in-ball",
        unreliable: true,
        raised_if: "a verified point inside ball and box has a logit that is NaN or infinite",
        explanation: "Such a sample is not an adversarial example, and it is not robust either: it lowers the robust accuracy \
                      and is counted apart.",
        advice: "Look for divisions, logarithms and square roots in the model that can see 0, and for overflow in half \
                 precision.",
    },
    judge: |evidence| {
        let worst = evidence.attacks.iter().max_by_key(|a| a.nan_in_ball)?;
        (worst.nan_in_ball > 0).then(|| format!("{} samples under {}", worst.nan_in_ball, worst.label))
    },
};
