//! DDN: steps of a shrinking length along the gradient, each put onto a sphere that shrinks where the point is adversarial and grows
//! where it is not.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::formulas::{adversarial, boxed, cosine, farthest, length, per_sample, scheduled, unit};
use super::objectives;

pub(crate) fn component() -> Component {
    Component::attack("ddn", "decoupled direction and norm: the nearest adversarial example in l2")
        .source("Rony et al. 2019 (arXiv:1811.09600), algorithm 1")
        .param(Param::int("steps", 100, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("gamma", "0.05", "by which share the sphere shrinks or grows").range(0.001, 0.99))
        .param(objectives::param())
        .minimal()
        .free()
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    if ask.task.norm != "l2" {
        return Err(Error::unsupported(format!("the threat model is {}; it serves l2", ask.task.norm)));
    }
    let steps = ask.int("steps");
    let needed = 2.0 * -ask.task.eps.ln() / -(1.0 - ask.float("gamma")).ln();
    if (steps as f64) < needed {
        let what = format!("{steps} steps from radius 1 hardly reach eps = {}", ask.task.eps);
        ask.warn(format!("{what}, so the distances may be too large; try steps={}", needed.ceil()));
    }
    // α_k from 1 to 0.01, in pixel units
    let alpha: Vec<f64> = cosine(steps).iter().map(|c| 0.01 + 0.99 * c).collect();
    Ok(objectives::chosen(ask.program(), ask)
        .init(|g| g.give("state_radius", per_sample(g, 1.0)))
        .step(|g| {
            // a random direction where the gradient is 0
            let (gradient, noise) = (g.ascent(), unit(g.noise_normal()));
            let moves = gradient.abs().reduce("ReduceMax", &[1], true).greater(0.0);
            let along = moves.select(unit(gradient), noise);
            // ρ ← ρ(1 − γ) or ρ(1 + γ), no larger than the box
            let change = adversarial(g).select(-g.arg("gamma"), g.arg("gamma"));
            let radius = (g.state("radius", &[1]) * (change + 1.0)).min(length(farthest(g) - g.x0()));
            // δ ← ρ·δ̃/‖δ̃‖        δ̃ = δ + α_k·∇ℓ/‖∇ℓ‖
            let moved = g.x() - g.x0() + along * scheduled(g, &alpha);
            g.give("x_next", boxed(g, g.x0() + unit(moved) * radius));
            g.give("state_radius_next", radius);
        })
        .steps(steps))
}
