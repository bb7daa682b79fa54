//! Free adversarial training: every batch is used m times in a row, and each backward pass gives the step of the parameters and that
//! of the perturbation, which the next batch inherits.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::formulas::cross_entropy;
use crate::attacks::starts::{self, Moved};

pub(crate) fn component() -> Component {
    Component::trainer("free", "adversarial training that reuses each batch m times and takes one step of the attack each time")
        .source("Shafahi et al. 2019 (arXiv:1904.12843), algorithm 1")
        .param(Param::int("m", 8, "how often a batch is used in a row; take that many fewer epochs").range(1.0, 1000.0))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    if matches!(starts::named(&ask.task.norm)?, Moved::Parameter) {
        return Err(Error::unsupported(format!("it moves pixels, and the threat model is {}", ask.task.norm)));
    }
    Ok(ask
        .program()
        .cost(|g| g.give("cost", cross_entropy(g, g.logits_adv())))
        .replay(|g| {
            // δ' = Π(x + δ + ε·u(∇δ)) − x        u = sign in linf; Π onto ball and box
            let step = g.function("Steepest", &[g.dx()]) * g.eps();
            g.give("delta_next", g.function("Project", &[g.x0() + g.delta() + step]) - g.x0());
        })
        .replays(ask.int("m")))
}
