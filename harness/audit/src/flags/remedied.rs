//! The model or its gradient was changed by a requested remedy.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "remedied",
        unreliable: false,
        raised_if: "--remedy or --surrogate was given, and found something to do",
        explanation: "A remedy of the gradient changes what attacks see, never what is verified; a remedy of the model \
                      changes what is audited, and the numbers are those of the changed model and not of the file.",
        advice: "State this beside the numbers; the graphs are in the folder remedies of the run directory.",
    },
    judge: |evidence| (!evidence.remedies.is_empty()).then(|| evidence.remedies.join("; ")),
};
