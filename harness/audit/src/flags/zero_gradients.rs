//! The gradient is zero, so an attack by gradient sees nothing.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "zero-gradients",
        unreliable: true,
        raised_if: "more than 5 % of the input gradients that an attack computed are zero everywhere (no entry above the \
                    smallest normal number of float32), NaN or infinite",
        explanation: "Where the gradient vanishes an attack that follows it does not move, and its robust accuracy is \
                      meaningless. Saturated outputs, rounding and thresholds do this.",
        advice: "Do not trust this number; attack with a loss on margins (pgd:loss=margin) or without gradients, and look for \
                 rounding or a saturated softmax in the model.",
    },
    judge: |evidence| {
        let share = |bad: u64, all: u64| bad as f64 / all.max(1) as f64;
        let worst = evidence.attacks.iter().filter(|a| a.gradients > 0).max_by(|a, b| {
            share(a.zero_gradients + a.broken_gradients, a.gradients)
                .total_cmp(&share(b.zero_gradients + b.broken_gradients, b.gradients))
        })?;
        let found = share(worst.zero_gradients + worst.broken_gradients, worst.gradients);
        (found > 0.05).then(|| format!("{:.1} % of the gradients under {}", 100.0 * found, worst.label))
    },
};
