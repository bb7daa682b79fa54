//! Fast adversarial training: one step from a random start. Watch for catastrophic overfitting: the accuracy under PGD may fall to 0
//! within an epoch.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::formulas::{bn_attack, cross_entropy, statistics};

pub(crate) fn component() -> Component {
    Component::trainer("fast", "cross-entropy after one step of the attack from a random start")
        .source("Wong, Rice, Kolter 2020 (arXiv:2001.03994), algorithm 3; batch normalisation as in their code")
        .param(Param::float("alpha", "auto", "length of the step in the unit of eps; auto is 1.25·eps").range(1e-9, 1e6))
        .param(bn_attack(&["train", "eval"]))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let alpha = ask.maybe_float("alpha").unwrap_or(1.25 * ask.task.eps);
    let program = ask.program().attack(&format!("pgd:steps=1,alpha={alpha}")).bn_attack(statistics(ask));
    Ok(program.cost(|g| g.give("cost", cross_entropy(g, g.logits_adv()))))
}
