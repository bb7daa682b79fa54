//! Fed in another way the model would be far better.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "other-preprocessing",
        unreliable: true,
        raised_if: "correcting one of the usual mistakes makes the clean accuracy significantly better on the same images, which \
                    are spread over the classes (McNemar's exact test at 1 %, divided by the number of corrections tried, and at \
                    least 2 points), or pixels are normalised twice",
        explanation: "The model probably gets wrong input, and everything measured describes that mistake. Nothing was \
                      changed: only the person who knows the model can say which preprocessing is right.",
        advice: "Repeat the audit with what is suggested, if that is how the model was trained.",
    },
    judge: |evidence| (!evidence.suggestions.is_empty()).then(|| evidence.suggestions.join("; ")),
};
