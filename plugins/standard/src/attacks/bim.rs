//! BIM, also called I-FGSM: steepest steps from the image, projected after every step by the host.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::{pgd, starts};

pub(crate) fn component() -> Component {
    Component::attack("bim", "basic iterative method: PGD that starts at the image")
        .source("Kurakin, Goodfellow, Bengio 2017 (arXiv:1607.02533), section 2.2; the defaults are its 10 steps of 1/255 at eps = 8/255")
        .param(Param::int("steps", 10, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("alpha", "auto", "length of a step in the unit of eps; auto is 1.25·eps/steps").range(1e-9, 1e6))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (steps, moved) = (ask.int("steps"), starts::named(&ask.task.norm)?);
    let alpha = ask.maybe_float("alpha");
    pgd::warn_if_short(ask, alpha, steps);
    // x' = Π(x + α·u(∇ℓ(x)))        from x0
    let step = |g: &flatscape_sdk::Names| {
        pgd::step(g, moved, if alpha.is_some() { g.arg("alpha") } else { g.eps() * (1.25 / steps as f64) });
    };
    Ok(ask.program().step(step).steps(steps))
}
