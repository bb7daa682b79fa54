//! σ-zero: the fewest pixels. A smooth count of the changed pixels is minimised together with the margin, and changes below a
//! threshold are undone; the threshold rises at adversarial examples and falls elsewhere.

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program};

use super::adam;
use super::formulas::{adversarial, boxed, per_sample, scheduled};

pub(crate) fn component() -> Component {
    Component::attack("sigma-zero", "the fewest changed pixels, by a smooth count of them")
        .source("Cinà et al. 2025 (arXiv:2402.01879), algorithm 1; the threshold is adapted, and a pixel counts once over its channels")
        .param(Param::int("steps", 1000, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("sigma", "0.001", "how sharp the count is").range(1e-9, 1.0))
        .param(Param::float("threshold", "0.3", "changes below it are undone at first").range(0.0, 1.0))
        .param(Param::float("lr", "1", "the first learning rate of Adam").range(1e-9, 1e3))
        .minimal()
        .free()
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    if ask.task.norm != "l0" {
        return Err(Error::unsupported(format!("the threat model is {}; it serves l0", ask.task.norm)));
    }
    let (steps, width) = (ask.int("steps"), ask.task.pixels());
    let counts: Vec<i64> = (1..=steps).collect();
    // η_k from 1 to 0.1
    let eta: Vec<f64> = super::formulas::cosine(steps).iter().map(|c| ask.float("lr") * (0.1 + 0.9 * c)).collect();
    Ok(ask
        .program()
        // ℓ = −(max(m, 0) + mean over pixels of s/(s + σ))        s = Σ over channels of δ²
        .objective(|g| {
            let ahead = match ask.task.targeted {
                true => -g.function("Margin", &[g.logits(), g.target()]),
                false => g.function("Margin", &[g.logits(), g.y()]),
            };
            let changes = by_pixel(g, g.x() - g.x0());
            let s = (changes * changes).sum(&[1], false);
            g.give("loss", -((-ahead).relu() + (s / (s + g.arg("sigma"))).mean(&[1], false)));
        })
        .init(|g| {
            adam::init(g, width);
            g.give("state_threshold", per_sample(g, ask.float("threshold")));
        })
        .step(|g| {
            let gradient = g.grad() / g.grad().abs().reduce("ReduceMax", &[1], true).max(1e-12);
            let eta = scheduled(g, &eta);
            let moved = boxed(g, g.x() + adam::direction(g, gradient, width, &counts) * eta);
            // τ ← clip(τ ± 0.01·η, 0, 1), upwards at an adversarial example
            let change = adversarial(g).select(0.01, per_sample(g, -0.01)) * eta;
            let threshold = (g.state("threshold", &[1]) + change).max(0.0).min(1.0);
            // pixels that have changed by less are as they were
            let largest = by_pixel(g, moved - g.x0()).abs().reduce("ReduceMax", &[1], true);
            let kept = largest.at_least(threshold.unsqueeze(&[2]));
            let (from, to) = (by_pixel(g, g.x0()), by_pixel(g, moved));
            g.give("x_next", kept.select(to, from).reshape(&[0, -1]));
            g.give("state_threshold_next", threshold);
        })
        .steps(steps))
}

/// \[N,D\] → \[N,C,H·W\]
fn by_pixel<'b>(g: &Names<'b>, x: Expr<'b>) -> Expr<'b> {
    let [c, h, w] = g.task().shape;
    x.reshape(&[-1, c as i64, (h * w) as i64])
}
