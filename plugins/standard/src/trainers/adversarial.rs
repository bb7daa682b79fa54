//! Adversarial training: the cross-entropy of adversarial examples alone, made against the current parameters in every step.

use flatscape_sdk::Component;

use super::formulas::{bn_attack, cross_entropy, statistics};

pub(crate) fn component() -> Component {
    Component::trainer("adversarial", "cross-entropy at the points of an attack, by default PGD of 10 steps of length eps/4")
        .source("Madry et al. 2018 (arXiv:1706.06083), equation 2.1")
        .param(bn_attack(&["eval", "train"]))
        .build(|ask| {
            // ρ(θ) = E max_δ CE(f(x + δ), y)
            let program = ask.program().attack("pgd:steps=10").bn_attack(statistics(ask));
            Ok(program.cost(|g| g.give("cost", cross_entropy(g, g.logits_adv()))))
        })
}
