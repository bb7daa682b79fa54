//! MIM, also called MI-FGSM: steps along a sum of all gradients so far, each scaled to the same size.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::formulas::row;
use super::pgd;
use super::starts::{self, Moved};

pub(crate) fn component() -> Component {
    Component::attack("mim", "momentum iterative method")
        .source("Dong et al. 2018 (arXiv:1710.06081), algorithm 1")
        .param(Param::int("steps", 10, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("alpha", "auto", "length of a step in the unit of eps; auto is eps/steps").range(1e-9, 1e6))
        .param(Param::float("mu", "1", "how much of the sum a step keeps; 0 is BIM").range(0.0, 1.0))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (steps, moved) = (ask.int("steps"), starts::named(&ask.task.norm)?);
    let alpha = ask.maybe_float("alpha");
    pgd::warn_if_short(ask, alpha, steps);
    let width = ask.task.parameters;
    Ok(ask
        .program()
        .init(|g| g.give("state_momentum", row(g, width)))
        .step(|g| {
            // m' = μ·m + ∇ℓ/‖∇ℓ‖₁        x' = Π(x + α·u(m'))
            let gradient = if matches!(moved, Moved::Parameter) { g.ascent_z() } else { g.ascent() };
            let scaled = gradient / gradient.abs().reduce("ReduceMax", &[1], true).max(f64::from(f32::MIN_POSITIVE));
            let momentum = g.state("momentum", &[width]) * g.arg("mu") + scaled / scaled.abs().sum(&[1], true).max(1e-12);
            let alpha = if alpha.is_some() { g.arg("alpha") } else { g.eps() * (1.0 / steps as f64) };
            let along = g.function("Steepest", &[momentum]) * alpha;
            match moved {
                Moved::Image(_) => g.give("x_next", g.x() + along),
                Moved::Parameter => g.give("z_next", g.z() + along),
            }
            g.give("state_momentum_next", momentum);
        })
        .steps(steps))
}
