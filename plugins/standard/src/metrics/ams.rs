//! AMS: s(x) = −‖∇ LSE(f(x))‖₂ = −‖Jᵀ softmax(f(x))‖₂, the approximate mass score. One product with the Jacobian.

use flatscape_sdk::Component;

use super::formulas::{grad_units, in_units, norm};

pub(crate) fn component() -> Component {
    Component::metric("ams", "approximate mass score: minus the norm of the gradient of log p")
        .source("Lin et al. 2020, Likelihood Landscapes, equations 5 and 6")
        .param(grad_units())
        .build(|ask| Ok(ask.program().emit(|g| g.give("col_ams", -norm(in_units(g, ask, g.grad_logp()))))))
}
