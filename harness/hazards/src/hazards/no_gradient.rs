//! No gradient reaches the pixels at all.

use super::reading::Reading;
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "no-gradient",
        unreliable: true,
        raised_if: "the logits depend on the pixels, and no path between them carries a derivative",
        explanation: "Every path from the pixels to the logits leads through operators whose derivative is zero, so every \
                      gradient is zero and no attack that follows one moves.",
        advice: "Let attacks look through the operators named beside this: --remedy straight-through. Add an attack without \
                 gradients.",
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let cut = reading.is_frozen(reading.logits);
    cut.then(|| Cause {
        what: "no derivative of the logits with respect to the pixels is other than zero".to_owned(),
        nodes: Vec::new(),
    })
}
