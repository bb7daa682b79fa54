//! The attacks do not find adversarial examples that certainly exist.

use flatscape_measure::statistics::clopper_pearson;

use super::{Canaries, Doubt, Flag};

pub const CODE: &str = "canary-missed";

/// The share of the canaries that must be found: the interval of what was found must reach it.
const SHARE: f64 = 0.95;

/// Canaries from which on something can be said.
pub(super) const ENOUGH: u64 = 20;

impl Canaries {
    /// Whether the attacks are shown to find what is planted.
    pub fn pass(&self) -> bool {
        self.planted >= ENOUGH && clopper_pearson(self.found, self.planted).high >= SHARE
    }
}

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: CODE,
        unreliable: true,
        raised_if: "the attacks of the run together find significantly less than 95 % of the planted adversarial examples, of at \
                    least 20 (`canary_found`; the upper end of the 95 % interval lies below); those that random points find do \
                    not count",
        explanation: "Near up to 200 images the last layer of the model is exchanged for one under which an adversarial example \
                      in the ball is known, and the attacks are run on that with their settings. Attacks that do not find it \
                      are too weak for these features, or their gradients are masked; what they do not break in the model itself \
                      says little.",
        advice: "Attack with more steps and restarts, with another loss (pgd:loss=margin) and without gradients (square), or look \
                 for operators that mask the gradient (flatscape inspect).",
    },
    judge: |evidence| {
        let canaries = evidence.canaries.as_ref()?;
        let missed = canaries.planted >= ENOUGH && !canaries.pass();
        missed.then(|| format!("the attacks find {} of {} planted adversarial examples", canaries.found, canaries.planted))
    },
};
