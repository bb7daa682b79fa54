//! Examples made on another model break what attacks on the model itself do not.

use super::{Doubt, Flag};
use crate::escalation::accident;

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "transfer-stronger",
        unreliable: true,
        raised_if: "attacks that see another model (`--transfer`) break more than max(1, 0.2 %) of the samples that no attack on the \
                    model itself breaks",
        explanation: "An attack on the model itself knows more than one on another model. If it finds less, its gradient is masked \
                      (Athalye, Carlini and Wagner 2018, «Obfuscated gradients give a false sense of security»).",
        advice: "Attack with another loss, more steps and restarts; look for operators that mask the gradient (flatscape inspect).",
    },
    judge: |evidence| {
        let alone = evidence.transferred?;
        (alone > accident(evidence.n)).then(|| format!("{alone} of {} samples are broken by transfer alone", evidence.n))
    },
};
