//! A straight path from the image to noise, which knows nothing of the model: what a metric does along it is the control for what it does
//! along the path of an attack (`at=path:noise-path` beside `at=path:pgd`).

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program};

use super::formulas::{boxed, unit};

/// Threat models with pixels and a radius in them.
const SERVED: &[&str] = &["linf", "l2", "l1"];

pub(crate) fn component() -> Component {
    Component::attack("noise-path", "a straight path from the image to noise: a control for metrics along the path of an attack")
        .source("the control of the code of Walter et al. 2024 (arXiv:2405.16918): an image of normal noise; and normal noise as long as the radius")
        .param(Param::int("steps", 10, "points of the path after the image").range(1.0, 100_000.0))
        .param(Param::choice(
            "to",
            &["image", "radius"],
            "an image of normal noise, mean 0.5, deviation 0.25; or as far from the image, in l2, as the ball reaches",
        ))
        .free()
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let norm = ask.task.norm.clone();
    if !SERVED.contains(&norm.as_str()) {
        return Err(Error::unsupported(format!("the threat model is {norm}; it serves {}", SERVED.join(", "))));
    }
    let (steps, image) = (ask.int("steps"), ask.text("to") == "image");
    let pixels = ask.task.pixels();
    Ok(ask
        .program()
        .init(move |g| {
            let drawn =
                if image { g.noise_normal() * 0.25 + 0.5 } else { g.x0() + unit(g.noise_normal()) * reach(g, &norm, pixels) };
            g.give("state_end", boxed(g, drawn));
        })
        // x' = x0 + (k + 1)/steps·(end − x0)
        .step(move |g| {
            let share = (g.k() + 1.0).cast(flatscape_sdk::DType::F32) / steps as f64;
            g.give("x_next", g.x0() + (g.state("end", &[pixels]) - g.x0()) * share);
        })
        .steps(steps))
}

/// The l2 length of the longest vector in the ball: ε√D for linf, ε for the others.
fn reach<'b>(g: &Names<'b>, norm: &str, pixels: usize) -> Expr<'b> {
    g.eps() * if norm == "linf" { (pixels as f64).sqrt() } else { 1.0 }
}
