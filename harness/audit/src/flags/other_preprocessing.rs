//! Fed in another way the model would be far better.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "other-preprocessing",
        unreliable: true,
        raised_if: "the clean accuracy is below 50 %, and correcting one of the usual mistakes gives at least 20 points more \
                    on the first images",
        explanation: "The model probably gets wrong input, and everything measured describes that mistake. Nothing was \
                      changed: only the person who knows the model can say which preprocessing is right.",
        advice: "Repeat the audit with what is suggested, if that is how the model was trained.",
    },
    judge: |evidence| (!evidence.suggestions.is_empty()).then(|| evidence.suggestions.join("; ")),
};
