//! The likelihood landscape around an image: Δlog p, loss and predicted class on a grid spanned by two orthogonal sign
//! directions, random ones or the FGSM direction and a random one. No clipping: the map stays affine.

use flatscape_sdk::{Ask, Component, DType, Error, Param, Program};

use super::{directions, grid};

pub(crate) fn component() -> Component {
    Component::metric("likelihood-landscape", "log p, loss and predicted class on a grid around the image")
        .source("Lin et al. 2020, Likelihood Landscapes, equations 3 and 4, figures 1 and 5")
        .param(Param::choice("directions", &["random", "fgsm"], "two random directions, or the FGSM direction and a random one"))
        .param(grid::points(41))
        .param(grid::extent())
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let size = grid::size(ask)?;
    let cells = size * size;
    let fgsm = ask.text("directions") == "fgsm";
    let pixels = [ask.task.pixels()];
    let program = ask.program().init(|g| {
        let d = if fgsm {
            // sign(∇CE); where the gradient is 0, a random sign
            let moves = g.grad().abs().greater(0.0);
            g.give("state_zeros", moves.negate().cast(DType::F32).sum(&[1], false));
            moves.select(g.grad().sign(), directions::random(g, 1))
        } else {
            directions::random(g, 1).expand_like(g.x0())
        };
        g.give("state_first", d);
        g.give("state_second", d * directions::half_flip(g, 1));
    });
    Ok(program
        .probe(|g| {
            // x' = x0 + ε1·d + ε2·d⊥
            let (e1, e2) = grid::offsets(g, ask, g.i(), size);
            g.give("x", g.x0() + g.state("first", &pixels) * e1 + g.state("second", &pixels) * e2);
        })
        .observe(|g| {
            g.give("obs_logp", g.logp());
            g.give("obs_loss", g.loss());
            let class = g.builder().op("ArgMax", &[g.logits()], [("axis", 1.into()), ("keepdims", 0.into())]);
            g.give("obs_predicted", class.cast(DType::F32));
        })
        .emit(|g| {
            let square = [0, size as i64, size as i64];
            let middle = (cells / 2) as i64;
            // Δlog p(x'; x) = LSE(f(x')) − LSE(f(x)), exactly 0 in the middle
            let logp = g.observed("logp", cells, &[]).cast(DType::F64);
            let delta = logp - logp.slice(&[middle], &[middle + 1], &[1], &[1]);
            g.give("surface_delta_logp", delta.reshape(&square));
            g.give("surface_loss", g.observed("loss", cells, &[]).reshape(&square));
            g.give("surface_predicted", g.observed("predicted", cells, &[]).reshape(&square));
            if fgsm {
                g.give("col_zero_gradients", g.state("zeros", &[]));
            }
        })
        .probes(cells as i64))
}
