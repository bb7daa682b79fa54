//! Random search over the corners of the linf ball: signs are drawn anew, fewer and fewer of them, and kept where the margin falls.

use flatscape_sdk::{Ask, Component, Error, Law, Param, Program};

use super::formulas::{per_sample, scheduled};
use super::objectives;

pub(crate) fn component() -> Component {
    Component::attack("random-search", "random search over the corners of the linf ball")
        .source("a baseline; Square Attack (Andriushchenko et al. 2020, arXiv:1912.00049) is its strong form")
        .param(Param::int("queries", 2000, "evaluations of the model per image").range(2.0, 100_000.0))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    if ask.task.norm != "linf" {
        return Err(Error::unsupported(format!("the threat model is {}; it serves linf", ask.task.norm)));
    }
    let pixels = [ask.task.pixels()];
    let steps = ask.int("queries") - 1;
    let shares: Vec<f64> = (0..steps).map(|k| (0.5 * 0.995f64.powf(k as f64)).max(0.03)).collect();
    Ok(objectives::margin(ask.program(), ask)
        .init(|g| {
            let signs = g.noise_rademacher();
            g.give("x", g.x0() + signs * g.eps());
            g.give("state_proposed", signs);
            g.give("state_best", signs);
            g.give("state_loss", per_sample(g, f64::from(f32::MIN)));
        })
        .step(|g| {
            // s ← s' where the loss is higher; then each sign anew with probability p_k, one at least
            let (loss, proposed) = (g.loss().unsqueeze(&[1]), g.state("proposed", &pixels));
            let better = loss.greater(g.state("loss", &[1]));
            let best = better.select(proposed, g.state("best", &pixels));
            let lot = (g.noise(Law::Uniform, "lot", &pixels) + 1.0) * 0.5;
            let anew = lot.less(scheduled(g, &shares)).or(lot.equal(lot.reduce("ReduceMin", &[1], true)));
            let signs = anew.select(g.noise_rademacher(), best);
            g.give("x_next", g.x0() + signs * g.eps());
            g.give("state_proposed_next", signs);
            g.give("state_best_next", best);
            g.give("state_loss_next", better.select(loss, g.state("loss", &[1])));
        })
        .steps(steps))
}
