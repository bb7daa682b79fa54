//! PGD: steepest steps from a random point of the ball, projected after every step by the host.

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program};

use super::objectives;
use super::starts::{self, Moved};

pub(crate) fn component() -> Component {
    let [loss, kappa] = objectives::params_with_rescaled();
    Component::attack("pgd", "projected gradient descent from a random start")
        .source("Madry et al. 2018 (arXiv:1706.06083), equation 1; l1 steps as in Tramèr and Boneh 2019 (arXiv:1904.13000)")
        .param(Param::int("steps", 20, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("alpha", "auto", "length of a step in the unit of eps; auto is 2.5·eps/steps").range(1e-9, 1e6))
        .param(Param::int("restarts", 1, "how many starts").range(1.0, 10_000.0))
        .param(Param::flag("random-start", true, "start at a random point of the ball instead of the image"))
        .param(
            Param::float(
                "sigma",
                "auto",
                "start at the image plus sigma times N(0, 1) per pixel; auto starts anywhere in the ball",
            )
            .range(0.0, 1e6),
        )
        .param(loss)
        .param(kappa)
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (steps, restarts) = (ask.int("steps"), ask.int("restarts"));
    let moved = starts::named(&ask.task.norm)?;
    if restarts > 1 && !ask.flag("random-start") {
        return Err(Error::invalid("restarts without random-start would repeat the same run; drop one of them"));
    }
    let sigma = ask.maybe_float("sigma");
    if sigma.is_some() && (!ask.flag("random-start") || matches!(moved, Moved::Parameter)) {
        return Err(Error::invalid("sigma is the width of a random start in pixels; drop it or random-start=false"));
    }
    let alpha = ask.maybe_float("alpha");
    warn_if_short(ask, alpha, steps);
    let mut program = objectives::chosen(ask.program(), ask);
    if ask.flag("random-start") {
        program = program.init(|g| match sigma {
            Some(_) => g.give("x", g.x0() + g.noise_normal() * g.arg("sigma")),
            None => start(g, moved),
        });
    }
    Ok(program
        .step(|g| step(g, moved, if alpha.is_some() { g.arg("alpha") } else { g.eps() * (2.5 / steps as f64) }))
        .steps(steps)
        .restarts(restarts))
}

/// A random point of the ball.
pub(super) fn start(g: &Names, moved: Moved) {
    match moved {
        Moved::Image(start) => g.give("x", g.x0() + start(g) * g.eps()),
        Moved::Parameter => g.give("z", starts::parameter(g) * g.eps()),
    }
}

/// x' = Π(x + α·u(∇ℓ(x))); u is a direction, so a positive factor of ∇ℓ does not matter. The same for z, where images are decoded
/// from a parameter.
pub(super) fn step<'b>(g: &Names<'b>, moved: Moved, alpha: Expr<'b>) {
    let step = |gradient| g.function("Steepest", &[gradient]) * alpha;
    match moved {
        Moved::Image(_) if g.task().norm == "l1" => g.give("x_next", g.x() + step(starts::free_to_move(g))),
        Moved::Image(_) => g.give("x_next", g.x() + step(g.ascent())),
        Moved::Parameter => g.give("z_next", g.z() + step(g.ascent_z())),
    }
}

/// Steps that together are shorter than the radius.
pub(super) fn warn_if_short(ask: &Ask, alpha: Option<f64>, steps: i64) {
    if let Some(alpha) = alpha.filter(|alpha| alpha * (steps as f64) < ask.task.eps) {
        ask.warn(format!(
            "{steps} steps of {alpha} do not reach eps = {}, so the attack is weaker than it could be; try alpha=auto",
            ask.task.eps
        ));
    }
}
