//! The gradient that attacks follow is not the gradient of the model.

use super::{Doubt, Flag};

/// What stands in the column `flags`.
pub const CODE: &str = "gradient-certificate";

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: CODE,
        unreliable: true,
        raised_if: "a check of the gradient certificate fails: slopes, the dot-product identity, a second engine, float64, \
                    zero or infinite gradients",
        explanation: "Gradient attacks follow the gradient. If it is not the slope of the model, or if the slope is not \
                      informative at the distance of a step, they are misled, and a high robust accuracy is meaningless.",
        advice: "Read the certificate in report.html: zero gradients mean saturation or rounding, a failing slope means a \
                 surrogate or a masked gradient, a failing slope-near or slope-far a shattered one. Attack with a loss on \
                 margins, and without gradients.",
    },
    judge: |evidence| evidence.certificate.filter(|c| c.passed() == Some(false)).map(|c| c.sentence()),
};
