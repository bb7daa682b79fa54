//! Signs between pixels and logits.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::flags::Flag;

pub(super) const HAZARD: Hazard = Hazard {
    flag: Flag {
        code: "sign",
        unreliable: true,
        raised_if: "Sign is applied to something that depends on the pixels, and the logits depend on the result",
        explanation: "Only the sign is handed on, and its derivative is zero almost everywhere: an attack that follows the gradient sees nothing of \
                      what lies behind it.",
        advice: "Let attacks look through it: --remedy straight-through takes the derivative of x/(1+|x|). The verdict is that of the untouched \
                 model. Add an attack without gradients.",
        judge: |evidence| evidence.hazard("sign"),
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    cause(reading.between().filter(|n| &*n.op == "Sign"), "between pixels and logits")
}
