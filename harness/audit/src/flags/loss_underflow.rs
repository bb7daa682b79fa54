//! The loss is zero because the model is sure.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "loss-underflow",
        unreliable: true,
        raised_if: "more than 1 % of the samples are right by a margin of more than 87 logits, and every attack steps on the \
                    gradient of cross-entropy itself",
        explanation: "exp(−87) is the smallest normal number of float32: cross-entropy and its gradient are zero there, \
                      attacks that follow it do not move, and the model looks robust because its logits are large.",
        advice: "Use an attack that reads `ascent`, the direction without the factor that vanishes (pgd and fgsm do), or one \
                 with a loss of its own: pgd:loss=margin, or --remedy margin.",
    },
    judge: |evidence| {
        let share = evidence.underflowing as f64 / evidence.n.max(1) as f64;
        let blind = !evidence.attacks.is_empty() && evidence.attacks.iter().all(|a| a.reads_grad);
        (blind && share > 0.01).then(|| format!("{:.1} % of the clean samples", 100.0 * share))
    },
};

/// The lead in logits from which on cross-entropy is lost in float32: −ln of its smallest normal number.
pub(crate) const LEAD: f64 = 87.33;
