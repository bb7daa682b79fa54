//! Rules of softmax and its logarithm, along one axis.

use crate::rule::{Rule, vjp};

pub(super) const RULES: &[Rule] = &[
    // y = softmax(x)     x̄ = y · (ȳ − Σ ȳ·y)
    vjp(
        "Softmax",
        &[|n, ct| {
            let y = n.y(0);
            y * (ct - (ct * y).sum(&[n.int("axis", -1)], true))
        }],
    ),
    // y = ln softmax(x)  x̄ = ȳ − e^y · Σ ȳ
    vjp("LogSoftmax", &[|n, ct| ct - n.y(0).exp() * ct.sum(&[n.int("axis", -1)], true)]),
];
