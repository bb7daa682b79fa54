//! Norms of the gradient of cross-entropy in the pixels, and the growth of the loss over the radius to first order.

use flatscape_sdk::Component;

use super::formulas::{dual_norm, grad_units, in_units, norm};

pub(crate) fn component() -> Component {
    Component::metric("input-gradient", "norms of the gradient of cross-entropy")
        .source("Simon-Gabriel et al. 2019, First-order adversarial vulnerability (arXiv:1802.01421), equation 2; Drucker and Le Cun 1992")
        .param(grad_units())
        .build(|ask| {
            Ok(ask.program().emit(|g| {
                let grad = in_units(g, ask, g.grad());
                g.give("col_gradient_l1", grad.abs().sum(&[1], false));
                g.give("col_gradient_l2", norm(grad));
                g.give("col_gradient_linf", grad.abs().reduce("ReduceMax", &[1], false));
                // the loss gains ε·‖∇‖ in the dual norm, in pixels as ε is, where the threat model has one
                if let Ok(dual) = dual_norm(g, g.grad()) {
                    g.give("col_first_order_increase", dual * g.eps());
                }
            }))
        })
}
