//! Whether the attacks find planted adversarial examples could not be told.

use super::canary_missed::ENOUGH;
use super::{Doubt, Flag};

pub const CODE: &str = "canary-inconclusive";

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: CODE,
        unreliable: false,
        raised_if: "adversarial examples were to be planted, and fewer than 20 were, or more than 5 % of them are found by random \
                    points, or more than 10 % could not be planted",
        explanation: "Without planted adversarial examples nothing shows that the attacks of the run would find one on this model.",
        advice: "Audit more images; for a model without a linear last layer, compare with an attack without gradients (square).",
    },
    judge: |evidence| {
        let canaries = evidence.canaries.as_ref()?;
        if let Some(why) = &canaries.impossible {
            return Some(format!("no adversarial example could be planted: {why}"));
        }
        let of = canaries.planted + canaries.easy + canaries.failed;
        if canaries.planted < ENOUGH {
            return Some(format!(
                "{} of {of} adversarial examples could be planted and are not found by random points",
                canaries.planted
            ));
        }
        if 20 * canaries.easy > canaries.planted + canaries.easy {
            return Some(format!(
                "random points find {} of {} planted adversarial examples",
                canaries.easy,
                canaries.planted + canaries.easy
            ));
        }
        (10 * canaries.failed > of).then(|| format!("{} of {of} adversarial examples could not be planted", canaries.failed))
    },
};
