//! The steps of an attack cannot reach the edge of the ball.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "short-of-reach",
        unreliable: false,
        raised_if: "alpha · steps < eps for an iterative attack",
        explanation: "Such an attack cannot cross the ball it is allowed to use; a random start hides this only in part.",
        advice: "Take alpha ≈ 2.5 · eps / steps, the default.",
    },
    judge: |evidence| {
        let eps = evidence.threat?.eps;
        evidence.attacks.iter().find_map(|attack| {
            let (alpha, steps) = attack.step_length.zip(attack.program_steps)?;
            (alpha * f64::from(steps) < eps * (1.0 - 1e-9))
                .then(|| format!("{}: {steps} steps of {alpha} for eps {eps}", attack.label))
        })
    },
};
