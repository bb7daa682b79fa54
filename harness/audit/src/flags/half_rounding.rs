//! A file in half precision answers otherwise in another precision, on few images.

use super::{Doubt, Flag, Precisions};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "half-rounding",
        unreliable: false,
        raised_if: "the file computes in half precision, and on some of the images, or of the samples under one attack, but on no \
                    more than 1 % or on one or two, the class or the verdict is another one in float32, or where every \
                    result is rounded to half precision",
        explanation: "Near a boundary rounding decides. Accuracies are those of the file on the engine of the run; gradients are \
                      those of a float32 copy.",
        advice: "Nothing needs to be done; the numbers in the other precisions are beside those of the file.",
    },
    judge: |evidence| {
        let little = |p: &&Precisions| p.apart() > 0 && !p.are_others();
        evidence.precisions.as_ref().filter(little).map(Precisions::words)
    },
};
