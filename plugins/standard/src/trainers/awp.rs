//! Adversarial weight perturbation: adversarial training at weights that are moved against it, each layer in proportion to its norm.

use flatscape_sdk::{Component, DType, Expr};

use super::formulas::{bn_attack, cross_entropy, statistics, weight};

pub(crate) fn component() -> Component {
    Component::trainer("awp", "adversarial training at weights that are moved along the gradient by gamma times their norm first")
        .source("Wu, Xia, Wang 2020 (arXiv:2004.05884), equations 8 to 11; biases and scales stay, as in their code")
        .param(weight("gamma", "0.005", "how far each weight is moved, relative to its norm"))
        .param(bn_attack(&["eval", "train"]))
        .build(|ask| {
            let program = ask.program().attack("pgd:steps=10").bn_attack(statistics(ask));
            Ok(program.cost(|g| g.give("cost", cross_entropy(g, g.logits_adv()))).perturb(|g| {
                // w + γ·‖w‖·∇L/‖∇L‖ for every weight by itself
                let far = norm(g.param()) / (norm(g.dparam()) + 1e-20) * g.arg("gamma");
                let moves = g.rank().greater(1.0).cast(DType::F32);
                g.give("param_perturbed", g.param() + g.dparam() * (far * moves));
            }))
        })
}

/// The Euclidean norm over all axes, a scalar.
fn norm(v: Expr<'_>) -> Expr<'_> {
    v.builder().op("ReduceSum", &[v * v], [("keepdims", 0.into())]).sqrt()
}
