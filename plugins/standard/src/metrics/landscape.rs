//! The landscape around an image: Δlog p, loss and predicted class on a grid spanned by two directions. Random ones are orthogonal
//! sign vectors; that of an attack leads from the image to the point that the attack found, scaled so that its largest entry is 1.
//! Without `clip` the map stays affine.

use flatscape_sdk::{Ask, Component, DType, Error, Expr, Names, Param, Program};

use super::formulas::{argmax, square};
use super::{directions, grid};

pub(crate) fn component() -> Component {
    Component::metric("likelihood-landscape", "log p, loss and predicted class on a grid around the image")
        .source("Lin et al. 2020, Likelihood Landscapes, equations 3 and 4, figures 1 and 5; the loss: Xu, Yap and Prabhu 2019 (arXiv:1907.09061), figure 2")
        .param(Param::choice(
            "directions",
            &["random", "fgsm", "attack", "attacks"],
            "two random ones; FGSM's and a random one; that of at=adv: and a random one; those of at=adv: and and=adv:",
        ))
        .param(Param::choice("height", &["likelihood", "loss"], "log p and the loss, or the loss alone, which every model has"))
        .param(grid::points(41))
        .param(grid::extent())
        .param(grid::clip())
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let size = grid::size(ask)?;
    let cells = size * size;
    let (fgsm, likelihood) = (ask.text("directions") == "fgsm", ask.text("height") == "likelihood");
    let moved = ask.text("directions").starts_with("attack");
    let program = ask.program().init(|g| spanned(g, ask.text("directions")));
    Ok(program
        .probe(move |g| g.give("x", grid::placed(g, ask, point(g, ask, size)).0))
        .observe(move |g| {
            if ask.flag("clip")
                && let Some(share) = grid::placed(g, ask, point(g, ask, size)).1
            {
                g.give("obs_clipped", share);
            }
            if likelihood {
                g.give("obs_logp", g.logp());
            }
            g.give("obs_loss", g.loss());
            g.give("obs_predicted", argmax(g, g.logits()).cast(DType::F32));
        })
        .emit(move |g| {
            let square = [0, size as i64, size as i64];
            let middle = (cells / 2) as i64;
            if likelihood {
                // Δlog p(x'; x) = LSE(f(x')) − LSE(f(x)), exactly 0 in the middle
                let logp = g.observed("logp", cells, &[]).cast(DType::F64);
                let delta = logp - logp.slice(&[middle], &[middle + 1], &[1], &[1]);
                g.give("surface_delta_logp", delta.reshape(&square));
            }
            g.give("surface_loss", g.observed("loss", cells, &[]).reshape(&square));
            g.give("surface_predicted", g.observed("predicted", cells, &[]).reshape(&square));
            if ask.flag("clip") {
                g.give("col_clipped", g.observed_mean("clipped", &[]));
            }
            if fgsm {
                g.give("col_zero_gradients", g.state("zeros", &[]));
            }
            if moved {
                g.give("col_first_length", g.state("first_length", &[]));
                g.give("col_second_length", g.state("second_length", &[]));
                g.give("col_cosine", g.state("cosine", &[]));
            }
        })
        .probes(cells as i64))
}

/// x + ε1·d1 + ε2·d2, the point of probe `i`; along attacks from the clean image.
fn point<'b>(g: &Names<'b>, ask: &Ask, size: usize) -> Expr<'b> {
    let (pixels, (e1, e2)) = ([ask.task.pixels()], grid::offsets(g, ask, g.i(), size));
    let image = if ask.text("directions").starts_with("attack") { g.x_clean() } else { g.x0() };
    image + g.state("first", &pixels) * e1 + g.state("second", &pixels) * e2
}

/// The two directions, and what is to be known of them.
fn spanned<'b>(g: &Names<'b>, kind: &str) {
    match kind {
        "attack" | "attacks" => {
            let (first, second) = (g.x0() - g.x_clean(), g.x_second() - g.x_clean());
            let second = match kind {
                "attacks" => second,
                // a random sign vector less its part along the first: r − (r·d/d·d)·d
                _ => {
                    let r = directions::random(g, 1).expand_like(g.x0());
                    let along = (r * first).sum(&[1], true) / (first * first).sum(&[1], true);
                    r - along * first
                }
            };
            let largest = |d: Expr<'b>| d.abs().reduce("ReduceMax", &[1], true);
            // in pixel units, before they are scaled: what is 0 spans nothing
            g.give("state_first_length", largest(first).squeeze(&[1]));
            g.give("state_second_length", largest(second).squeeze(&[1]));
            g.give("state_cosine", (first * second).sum(&[1], false) / (square(first) * square(second)).sqrt());
            g.give("state_first", first / largest(first));
            g.give("state_second", second / largest(second));
        }
        _ => {
            let d = if kind == "fgsm" {
                // sign(∇CE); where the gradient is 0, a random sign
                let moves = g.grad().abs().greater(0.0);
                g.give("state_zeros", moves.negate().cast(DType::F32).sum(&[1], false));
                moves.select(g.grad().sign(), directions::random(g, 1))
            } else {
                directions::random(g, 1).expand_like(g.x0())
            };
            g.give("state_first", d);
            g.give("state_second", d * directions::half_flip(g, 1));
        }
    }
}
