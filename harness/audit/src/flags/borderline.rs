//! Adversarial examples that another engine may classify otherwise.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "borderline",
        unreliable: false,
        raised_if: "the margins of more than 1 % of the adversarial examples of an attack that does not look for the nearest one are \
                    within 1e-5 of max(1, largest |score|)",
        explanation: "Engines differ by about that much. An adversarial example whose margin is smaller may be classified correctly \
                      elsewhere.",
        advice: "Check with another engine (flatscape verify RUN --engine), or attack with a loss that goes on behind the boundary \
                 (pgd:loss=margin).",
    },
    judge: |evidence| {
        let worst = evidence.attacks.iter().max_by_key(|a| a.borderline)?;
        (100 * worst.borderline > worst.broken)
            .then(|| format!("{} of {} adversarial examples of {}", worst.borderline, worst.broken, worst.label))
    },
};
