//! Another precision is judged than that of the file.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "float32-copy",
        unreliable: false,
        raised_if: "the file computes in half or double precision, and the engine of the run does not run it as it is",
        explanation: "Every number of this model is that of a copy in float32. The file itself was not asked: where its precision \
                      matters, by overflow or by rounding, it may answer otherwise.",
        advice: "Audit a file in half precision with --engine ort on the CPU, where points are judged by the file itself, or export \
                 the model in float32 and audit and deploy that.",
    },
    judge: |evidence| evidence.copy.map(str::to_owned),
};
