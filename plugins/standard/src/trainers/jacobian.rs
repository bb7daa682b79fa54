//! Jacobian regularisation: cross-entropy plus half the squared Frobenius norm of the input-output Jacobian, by random projections.

use flatscape_sdk::{Ask, Component, Error, Program};

use super::formulas::{cross_entropy, weight};
use super::projections::{self, Projections};

pub(crate) fn component() -> Component {
    Component::trainer("jacobian", "cross-entropy plus lambda/2 times the squared norm of the input-output Jacobian")
        .source("Hoffman, Roberts, Yaida 2019 (arXiv:1908.02729), equations 3 to 7; with the factor C that equation 8 lacks")
        .param(weight("lambda", "0.01", "weight of the regulariser; it multiplies half the norm, in pixel units"))
        .param(projections::param())
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let projections = Projections::asked(ask)?;
    Ok(ask.program().cotangent(|g| g.give("ct", projections.vectors(g))).cost(|g| {
        // CE + λ/2·‖J‖²,  ‖J‖² ≈ (C/n)·Σ_μ ‖Jᵀv_μ‖²
        let (ce, norm) = (cross_entropy(g, g.logits()), projections.norm(g));
        g.give("cost", ce + norm * g.arg("lambda") * 0.5);
        g.give("log_ce", ce);
        g.give("log_jacobian", norm);
    }))
}
