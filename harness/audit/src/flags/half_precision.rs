//! A file in half precision answers otherwise in another precision.

use super::{Doubt, Flag, Precisions};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "half-precision",
        unreliable: true,
        raised_if: "the file computes in half precision, and on more than 1 % of the images, or of the samples under one attack, \
                    and on at least three, the class or the verdict is another one in float32, or where every result is \
                    rounded to half precision",
        explanation: "In half precision (float16 or bfloat16) numbers overflow above 65,504 or lose digits. Engines differ: some \
                      compute parts of such a file in float32, hardware with such arithmetic does not. Accuracies are those of the \
                      file on the engine of the run; gradients are those of a float32 copy. Where these functions differ, attacks \
                      miss adversarial examples, and another engine answers otherwise.",
        advice: "Keep the layers whose numbers overflow or lose digits in float32 when the model is converted, or deploy it in \
                 float32 and audit that file. Until then read robust accuracies as upper bounds for this engine.",
    },
    judge: |evidence| evidence.precisions.as_ref().filter(|p| p.are_others()).map(Precisions::words),
};
