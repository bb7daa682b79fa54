//! A sample is verified and broken: one of the two is wrong.

use super::{Doubt, Flag};

pub const CODE: &str = "certified-broken";

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: CODE,
        unreliable: true,
        raised_if: "a sample whose margin is bounded away from zero over the whole ball (`certified_accuracy`) has a verified \
                    adversarial example in that ball",
        explanation: "Both cannot be true of the same function. Either flatscape is wrong, or the engine that runs the model computes \
                      something else than its file says, by more than rounding.",
        advice: "Report it with the run directory: the adversarial example in `witness/` and the bound in `samples.csv` show which \
                 one is wrong.",
    },
    judge: |evidence| {
        let (first, count) = (evidence.certified_broken.first()?, evidence.certified_broken.len());
        Some(format!("{count} samples, the first is {first}"))
    },
};
