//! Sharpness-aware minimisation: the gradient is taken at the worst parameters of a small ball, to first order.

use flatscape_sdk::Component;

use super::formulas::{cross_entropy, weight};

pub(crate) fn component() -> Component {
    Component::trainer("sam", "cross-entropy at parameters that are moved by rho along the gradient first")
        .source("Foret et al. 2021 (arXiv:2010.01412), equations 2 and 3, in the norm p = 2")
        .param(weight("rho", "0.05", "how far the parameters are moved, all together"))
        .build(|ask| {
            let program = ask.program().cost(|g| g.give("cost", cross_entropy(g, g.logits())));
            Ok(program.perturb(|g| {
                // θ + ρ·∇L/‖∇L‖, the norm over all parameters
                g.give("param_perturbed", g.param() + g.dparam() * (g.arg("rho") / (g.dparam_norm() + 1e-12)));
            }))
        })
}
