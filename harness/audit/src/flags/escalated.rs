//! The audit tried harder by itself, because gradients look masked.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "escalated",
        unreliable: false,
        raised_if: "attacks of the profile that are kept for masked gradients have run",
        explanation: "The gradients of the model look masked, so the audit let attacks look through the operators that mask them, and \
                      attacked without gradients. `robust_accuracy_before_escalation` is what the other attacks alone give; it is \
                      superseded. Once two of these attacks in turn, one of them without gradients, break nothing new, and such \
                      attacks have broken samples before or find planted examples, the doubts about masked gradients are settled \
                      and are notes.",
        advice: "Quote the number after the escalation. If doubts about masked gradients are still grave, attack with more queries.",
    },
    judge: |evidence| {
        let (before, after) = evidence.escalated?;
        let settled = if evidence.settled { "settled" } else { "not settled" };
        Some(format!("{before} of {n} samples stood before it, {after} after it; {settled}", n = evidence.n))
    },
};
