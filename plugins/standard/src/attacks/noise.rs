//! Random points of the ball, of which the host keeps the worst: a lower bar. What a gradient attack does not find and noise does,
//! is a sign of masked gradients.

use flatscape_sdk::{Component, Error, Expr, Law, Names, Param};

use super::formulas::{numbers, unit};
use super::objectives;
use super::starts::{self, Moved};

pub(crate) fn component() -> Component {
    Component::attack("noise", "random points of the ball, the worst of many")
        .source("a baseline: Carlini et al. 2019 (arXiv:1902.06705), section 4; laws in plugins/standard/src/attacks/noise.rs")
        .param(Param::int("draws", 100, "how many points").range(1.0, 1_000_000.0))
        .param(Param::choice(
            "law",
            &["edge", "uniform"],
            "corners of the ball or points of its sphere, or points anywhere in it",
        ))
        .build(|ask| {
            let (edge, moved) = (ask.text("law") == "edge", starts::named(&ask.task.norm)?);
            let step = |g: &Names| match moved {
                Moved::Image(inside) => g.give("x_next", if edge { outer(g, inside) } else { g.x0() + inside(g) * g.eps() }),
                Moved::Parameter => g.give("z_next", starts::parameter(g) * g.eps()),
            };
            Ok::<_, Error>(objectives::margin(ask.program(), ask).step(step).steps(ask.int("draws")))
        })
}

/// linf: a corner of the ball. l2: a point of the sphere. l1: uniform in the ball. l0: random pixels to random faces of the box
fn outer<'b>(g: &Names<'b>, inside: starts::Start) -> Expr<'b> {
    match g.task().norm.as_str() {
        "linf" => g.x0() + g.noise_rademacher() * g.eps(),
        "l2" => g.x0() + unit(g.noise_normal()) * g.eps(),
        "l0" => {
            // each pixel with probability ε/HW; the host keeps ε of them
            let [channels, h, w] = g.task().shape;
            let pixel = (g.noise(Law::Uniform, "pixel", &[h * w]) + 1.0) * (0.5 * (h * w) as f64);
            let chosen = (pixel.unsqueeze(&[1]) + numbers(g, &vec![0.0; channels]).reshape(&[channels as i64, 1])).less(g.eps());
            let face = g.noise_rademacher().greater(0.0).select(g.hi(), g.lo());
            chosen.reshape(&[0, -1]).select(face, g.x0())
        }
        _ => g.x0() + inside(g) * g.eps(),
    }
}
