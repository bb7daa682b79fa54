//! Metrics over the weights that leave some of them alone.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "unrecognised-weights",
        unreliable: false,
        raised_if: "a metric over the weights ran, and constants of the model are not recognised as weights of a layer: those of \
                    LSTM, GRU and RNN, and what is computed before a layer reads it",
        explanation: "Such constants stay as they are. A trace, an eigenvalue or a landscape over the weights is about the others \
                      alone, and is not comparable with that of a model whose weights are all recognised.",
        advice: "Export the model with its weights as constants of Conv, Gemm or MatMul, or read these numbers as those of the \
                 recognised layers.",
    },
    judge: |evidence| evidence.unrecognised.clone(),
};
