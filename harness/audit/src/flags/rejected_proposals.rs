//! An attack proposes points that are not allowed.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "rejected-proposals",
        unreliable: false,
        raised_if: "an attack proposes points outside the ball or the box, or with entries that are NaN or infinite",
        explanation: "Such points are dropped, so the attack is weaker than its author believes; the robust accuracy is still \
                      an upper bound.",
        advice: "This is a fault of the plugin: tell its author which sample it was (samples.csv).",
    },
    judge: |evidence| {
        let worst = evidence.attacks.iter().max_by_key(|a| a.rejected)?;
        (worst.rejected > 0).then(|| format!("{} proposals of {} were dropped", worst.rejected, worst.label))
    },
};
