//! FGSM with a random start: one steepest step, a little longer than ε, from a random point of the ball.

use flatscape_sdk::{Component, Param};

use super::{pgd, starts};

pub(crate) fn component() -> Component {
    Component::attack("rs-fgsm", "FGSM from a random point of the ball")
        .source("Wong, Rice, Kolter 2020 (arXiv:2001.03994), algorithm 3")
        .param(Param::float("alpha", "auto", "length of the step in the unit of eps; auto is 1.25·eps").range(1e-9, 1e6))
        .build(|ask| {
            let moved = starts::named(&ask.task.norm)?;
            let given = ask.maybe_float("alpha").is_some();
            // x' = Π(x + α·u(∇ℓ(x)))        x a random point of the ball
            Ok(ask
                .program()
                .init(|g| pgd::start(g, moved))
                .step(|g| pgd::step(g, moved, if given { g.arg("alpha") } else { g.eps() * 1.25 }))
                .steps(1))
        })
}
