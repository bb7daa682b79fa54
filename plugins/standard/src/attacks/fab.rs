//! FAB: steps to the linearised boundary, biased towards the image, and back where they have crossed it. Two rows: the nearest
//! boundary at every step, and one class after the other.

use flatscape_sdk::{Ask, Component, DType, Error, Expr, Names, Param, Program};

use super::boundaries::{nearest, towards};
use super::formulas::{adversarial, boxed, distance, per_sample, row, runners_up, unit};

pub(crate) fn targeted() -> Component {
    let targets = Param::int("targets", 9, "how many classes it goes towards, most likely ones first").range(1.0, 1000.0);
    component("fab-t", "fast adaptive boundary attack towards one class after the other", Some(targets))
}

pub(crate) fn untargeted() -> Component {
    component("fab", "fast adaptive boundary attack towards the nearest boundary of all classes", None)
}

fn component(id: &'static str, summary: &str, more: Option<Param>) -> Component {
    let own = [
        Param::int("steps", 100, "how many steps, each with a gradient and a second evaluation").range(1.0, 100_000.0),
        Param::int("restarts", 1, "how many starts, for every class where there are several; the first is the image")
            .range(1.0, 1000.0),
        Param::float("alpha", "0.1", "the largest bias towards the image").range(0.0, 1.0),
        Param::float("eta", "1.05", "how far a step goes, as a share of the way to the boundary").range(1.0, 2.0),
        Param::float("beta", "0.9", "the share of the way from the image that is kept once the boundary is crossed")
            .range(0.0, 1.0),
    ];
    let component = Component::attack(id, summary).source("Croce and Hein 2020 (arXiv:1907.02044), algorithm 1").minimal().free();
    own.into_iter().chain(more).fold(component, Component::param).build(move |ask| build(ask, id == "fab-t" || ask.task.targeted))
}

fn build(ask: &Ask, one: bool) -> Result<Program, Error> {
    let classes = ask.task.classes;
    if !matches!(ask.task.norm.as_str(), "linf" | "l2" | "l1") {
        return Err(Error::unsupported(format!("the threat model is {}; it serves linf, l2, l1", ask.task.norm)));
    }
    if classes < 2 {
        return Err(Error::unsupported("the model has one class, and no boundary"));
    }
    let targets = if one && !ask.task.targeted { (ask.int("targets") as usize).min(classes - 1) } else { 1 };
    let (rows, starts) = (if one { 1 } else { classes }, ask.int("restarts"));
    Ok(ask
        .program()
        .cotangent(|g| g.give("ct", towards(g, g.state("rivals", &[rows]))))
        .init(|g| {
            let rivals = match (ask.task.targeted, one) {
                (true, _) => g.target().unsqueeze(&[1]).cast(DType::F32),
                // the class of rank r + 2 at the image
                (_, true) => {
                    let ranks = runners_up(g, g.logits0(), targets);
                    ranks.gather(g.restart() / starts as f64, 1).unsqueeze(&[1]).cast(DType::F32)
                }
                _ => row(g, rows) + super::formulas::numbers(g, &(0..rows).map(|c| c as f64).collect::<Vec<_>>()),
            };
            g.give("state_rivals", rivals);
            // the image, in later restarts a random point at half the radius
            let round = g.restart() - g.restart() / starts as f64 * starts as f64;
            let size = round.greater(0.0).select(0.5, per_sample(g, 0.0)) * g.eps();
            g.give("x", boxed(g, g.x0() + sphere(g) * size));
        })
        .step(|g| approach(g, rows))
        // x ← x0 + β(x − x0) where the boundary is crossed
        .step(|g| g.give("x_next", adversarial(g).select(g.x0() + (g.x() - g.x0()) * g.arg("beta"), g.x())))
        .steps(2 * ask.int("steps"))
        .restarts(targets as i64 * starts))
}

/// x' = clip((1 − α)(x + η·d₁) + α(x0 + η·d₂))        d₁, d₂ from x and x0 to the linearised boundary within the box
fn approach(g: &Names, rows: usize) {
    let (f, w) = nearest(g, towards(g, g.state("rivals", &[rows])), rows);
    let (x, x0) = (g.x(), g.x0());
    let b = ((w * x).sum(&[1], true) - f).squeeze(&[1]);
    let ends = g.function("Hyperplane", &[g.builder().concat(&[x.unsqueeze(&[1]), x0.unsqueeze(&[1])], 1), w, b]);
    let [near, far] = [0, 1].map(|end| ends.slice(&[end], &[end + 1], &[1], &[1]).squeeze(&[1]));
    // α = min(‖d₁‖/(‖d₁‖ + ‖d₂‖), α_max)
    let (short, long) = (distance(g, near, x).max(1e-8), distance(g, far, x0).max(1e-8));
    let alpha = (short / (short + long)).min(g.arg("alpha"));
    let eta = g.arg("eta");
    g.give("x_next", boxed(g, (x + (near - x) * eta) * (-alpha + 1.0) + (x0 + (far - x0) * eta) * alpha));
}

/// A random point of the unit sphere of the norm.
fn sphere<'b>(g: &Names<'b>) -> Expr<'b> {
    match g.task().norm.as_str() {
        "l2" => unit(g.noise_normal()),
        "l1" => {
            let n = g.noise_normal();
            n / n.abs().sum(&[1], true)
        }
        _ => {
            let n = g.noise_uniform();
            n / n.abs().reduce("ReduceMax", &[1], true)
        }
    }
}
