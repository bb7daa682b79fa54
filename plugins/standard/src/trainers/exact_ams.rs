//! The squared mass score itself as the regulariser: ‖∇ log p(x)‖² = ‖Jᵀp‖², one product with the Jacobian, as AMSReg needs one.

use flatscape_sdk::Component;

use super::formulas::{cross_entropy, square, weight};

pub(crate) fn component() -> Component {
    Component::trainer("exact-ams", "cross-entropy plus mu/2 times the squared gradient of log p, the mass score itself")
        .source("Lin et al. 2020, Likelihood Landscapes, equations 5 and 6 in place of the bound of proposition 3.1")
        .param(weight("mu", "0.01", "weight of the regulariser; it multiplies half the square, in pixel units"))
        .build(|ask| {
            Ok(ask.program().cost(|g| {
                // CE + μ/2·‖∇ LSE(f(x))‖²
                let (ce, ams) = (cross_entropy(g, g.logits()), square(g.grad_logp()));
                g.give("cost", ce + ams * g.arg("mu") * 0.5);
                g.give("log_ce", ce);
                g.give("log_ams", ams);
                g.give("log_p_square", square(g.logits().softmax(1)));
            }))
        })
}
