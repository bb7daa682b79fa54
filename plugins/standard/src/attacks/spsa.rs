//! SPSA and NES: the gradient of the margin is estimated from the scores at random pairs of points, and Adam follows it.

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program};

use super::formulas::{row, scheduled};
use super::starts::{self, Moved};
use super::{adam, objectives};

pub(crate) fn component() -> Component {
    Component::attack("spsa", "gradients estimated from the scores at random pairs of points, followed by Adam")
        .source("Uesato et al. 2018 (arXiv:1802.05666), algorithm 1; NES: Ilyas et al. 2018 (arXiv:1804.08598), section 2.1")
        .param(Param::int("steps", 100, "how many steps of Adam").range(1.0, 10_000.0))
        .param(Param::int("pairs", 128, "pairs of points per step; images of many pixels need thousands").range(1.0, 100_000.0))
        .param(Param::choice("law", &["spsa", "nes"], "pairs along random signs, or along normal vectors"))
        .param(Param::float("delta", "auto", "half the distance of a pair; auto is 0.01, for nes 0.001").range(1e-9, 1e3))
        .param(Param::float("lr", "0.01", "learning rate of Adam, pixel units").range(1e-9, 1e3))
        .free()
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (steps, pairs, width) = (ask.int("steps"), ask.int("pairs"), ask.task.pixels());
    let Moved::Image(start) = starts::named(&ask.task.norm)? else {
        return Err(Error::unsupported(format!("the threat model is {}; it serves linf, l2, l1, l0", ask.task.norm)));
    };
    // the first pair of a turn is the point itself, twice
    let total = 2 * steps * (pairs + 1);
    if total > 1_000_000 {
        return Err(Error::invalid(format!("{steps} steps of {pairs} pairs are more than 1,000,000 evaluations; try fewer")));
    }
    let nes = ask.text("law") == "nes";
    let delta = ask.maybe_float("delta").unwrap_or(if nes { 0.001 } else { 0.01 });
    let place = move |k: i64| k / 2 % (pairs + 1);
    let still: Vec<f64> = (0..total).map(|k| f64::from(place(k) == 0)).collect();
    let ends: Vec<f64> = (0..total).map(|k| f64::from(place(k) == pairs)).collect();
    let turns: Vec<i64> = (0..total).map(|k| k / (2 * (pairs + 1)) + 1).collect();
    Ok(objectives::margin(ask.program(), ask)
        .init(|g| {
            let x = g.function("Project", &[g.x0() + start(g) * g.eps()]);
            g.give("x", x);
            g.give("state_base", x);
            g.give("state_along", row(g, width));
            g.give("state_estimate", row(g, width));
            g.give("state_above", row(g, 1));
            adam::init(g, width);
        })
        // at x + δv: the other point of the pair is x − δv
        .step(|g| {
            let along = g.state("along", &[width]);
            g.give("state_above_next", g.loss().unsqueeze(&[1]));
            g.give("x_next", g.state("base", &[width]) - along * delta);
        })
        // at x − δv: ĝ = mean of v·(ℓ(x + δv) − ℓ(x − δv))/(2δ); at the end of a turn x ← Π(x + lr·Adam(ĝ))
        .step(|g| {
            let (base, along) = (g.state("base", &[width]), g.state("along", &[width]));
            let rise = (g.state("above", &[1]) - g.loss().unsqueeze(&[1])) * (0.5 / delta / pairs as f64);
            let estimate = g.state("estimate", &[width]) + scheduled(g, &still).greater(0.0).select(0.0, along * rise);
            let ends = scheduled(g, &ends).greater(0.0);
            let moved = base + adam::direction_where(g, estimate, width, &turns, Some(ends)) * g.arg("lr");
            let base = ends.select(g.function("Project", &[moved]), base);
            let law = if nes { g.noise_normal() } else { g.noise_rademacher() };
            let along = ends.select(0.0, law);
            g.give("x_next", base + along * delta);
            g.give("state_base_next", base);
            g.give("state_along_next", along);
            g.give("state_estimate_next", ends.select(0.0, estimate));
        })
        .emit(|g: &Names| {
            let base: Expr = g.state("base", &[width]);
            g.give("x_adv", base);
        })
        .steps(total))
}
