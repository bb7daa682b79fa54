//! TRADES: cross-entropy of the images, and the divergence between the predictions at an image and at the worst point near it.
//! The attack ascends that divergence. Its gradient is 0 at the image itself, so the attack starts beside it, at 0.001·N(0, I), as
//! the authors' does.

use flatscape_sdk::{Ask, Component, Error, Program};

use super::formulas::{bn_attack, cross_entropy, kl, statistics, weight};

pub(crate) fn component() -> Component {
    Component::trainer("trades", "cross-entropy plus beta times KL(p(x) ‖ p(x_adv)), where the attack ascends the KL")
        .source("Zhang et al. 2019 (arXiv:1901.08573), equation 5 and algorithm 1")
        .param(weight("beta", "6", "weight of the divergence (1/λ in the paper)"))
        .param(bn_attack(&["eval", "train"]))
        .build(build)
}

/// Ten steps of 0.007 at ε = 0.031, in proportion to ε, from the image plus 0.001·N(0, I): the authors' code.
pub(super) fn attack(ask: &Ask) -> String {
    format!("pgd:steps=10,sigma=0.001,alpha={}", ask.task.eps * 0.007 / 0.031)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let program = ask.program().attack(&attack(ask)).bn_attack(statistics(ask));
    Ok(program.adversary(|g| g.give("loss", kl(g.logits0(), g.logits()))).cost(|g| {
        // CE(f(x), y) + β·KL(p(x) ‖ p(x')), derivatives through both arguments of the KL
        let (ce, kl) = (cross_entropy(g, g.logits()), kl(g.logits(), g.logits_adv()));
        g.give("cost", ce + kl * g.arg("beta"));
        g.give("log_ce", ce);
        g.give("log_kl", kl);
    }))
}
