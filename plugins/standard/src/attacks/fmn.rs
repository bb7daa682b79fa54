//! FMN: steps of a shrinking length along the gradient of the margin, projected onto a ball whose radius follows the distance to the
//! boundary. It serves l0, l1, l2 and linf.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::boundaries::dual;
use super::formulas::{adversarial, boxed, cosine, distance, farthest, per_sample, scheduled, unit};
use super::objectives;

/// No distance yet.
const NEVER: f64 = 1e30;

pub(crate) fn component() -> Component {
    Component::attack("fmn", "fast minimum norm: the nearest adversarial example in l0, l1, l2 or linf")
        .source(
            "Pintor et al. 2021 (arXiv:2102.12827), algorithm 1; the first radius is larger by 1 + gamma, so that the point does not \
             stay on the boundary, and the l1 projection is that on ball and box",
        )
        .param(Param::int("steps", 100, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("alpha", "1", "length of the first step in l2, pixel units; the last is a hundredth of it").range(1e-9, 1e6))
        .param(Param::float("gamma", "0.05", "by which share the radius shrinks or grows at first; at last 0.001").range(0.001, 0.99))
        .minimal()
        .free()
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let norm = ask.task.norm.as_str();
    if !matches!(norm, "linf" | "l2" | "l1" | "l0") {
        return Err(Error::unsupported(format!("the threat model is {norm}; it serves linf, l2, l1, l0")));
    }
    let (steps, first, gamma) = (ask.int("steps"), ask.float("alpha"), ask.float("gamma"));
    let fallen = |from: f64, to: f64| cosine(steps).iter().map(|c| to + (from - to) * c).collect::<Vec<f64>>();
    let (alpha, gamma) = (fallen(first, first / 100.0), fallen(gamma, 0.001));
    Ok(objectives::margin(ask.program(), ask)
        .init(|g| {
            g.give("state_radius", per_sample(g, if norm == "l0" { 1.0 } else { NEVER }));
            g.give("state_nearest", per_sample(g, NEVER));
        })
        .step(|g| {
            let (there, away, gamma) = (adversarial(g), distance(g, g.x(), g.x0()), scheduled(g, &gamma));
            let nearest = there.select(away, per_sample(g, NEVER)).min(g.state("nearest", &[1]));
            let radius = g.state("radius", &[1]);
            let (smaller, larger) = (radius * (-gamma + 1.0), radius * (gamma + 1.0));
            let radius = if norm == "l0" {
                // one pixel at least in every step
                there.select(smaller.floor().min(radius - 1.0).min(nearest), larger.floor().max(radius + 1.0)).max(1.0)
            } else {
                // ρ ← min(ρ(1 − γ), nearest) at an adversarial example, ρ(1 + γ) after the first one, before it (‖δ‖ + |m|/‖∇m‖)(1 + γ)
                let slope = dual(norm, g.grad()).unsqueeze(&[1]).max(f64::from(f32::MIN_POSITIVE));
                let guess = (away + g.loss().unsqueeze(&[1]).abs() / slope) * (gamma + 1.0);
                there.select(smaller.min(nearest), nearest.less(NEVER).select(larger, guess))
            };
            let radius = radius.min(distance(g, farthest(g), g.x0()));
            // δ ← Π_ρ(δ + α_k·∇f/‖∇f‖₂): the step is one of l2 in every norm
            let moved = g.x() + unit(g.grad()) * scheduled(g, &alpha);
            let projected = g.function("Project", &[moved, radius.squeeze(&[1])]);
            g.give("x_next", boxed(g, projected));
            g.give("state_radius_next", radius);
            g.give("state_nearest_next", nearest);
        })
        .steps(steps))
}
