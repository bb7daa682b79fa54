//! Two runs of the same images differ.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "not-repeatable",
        unreliable: true,
        raised_if: "the logits of the first images differ between two runs",
        explanation: "The model draws random numbers or keeps a state between runs. A single run says little about it: one \
                      lucky draw counts as an adversarial example, and a resumed audit would give other numbers.",
        advice: "Export the model without its noise and in evaluation mode; see the hazards for the nodes that draw.",
    },
    judge: |evidence| evidence.repeat_difference.map(|d| format!("the largest relative difference is {d:.1e}")),
};
