//! Φ-flatness: the approximate mass score summed over a grid around the image, averaged over n pairs of orthogonal sign
//! directions, which all images and all models share. Closer to 0 is flatter.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use crate::{ams, directions, grid};

pub(crate) fn component() -> Component {
    Component::metric("phi", "flatness of the likelihood landscape: the mass score summed over a grid around the image")
        .source("Lin et al. 2020, Likelihood Landscapes, equations 7 and 8")
        .param(Param::int("directions", 5, "pairs of directions").range(1.0, 1000.0))
        .param(grid::points(21))
        .param(grid::extent())
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (n, size) = (ask.int("directions"), grid::size(ask)?);
    let pairs = usize::try_from(n).map_err(|_| Error::invalid(format!("directions={n} is not possible")))?;
    let cells = (size * size) as i64;
    Ok(ask
        .program()
        .probe(|g| {
            // x' = x0 + ε1·d_j + ε2·d⊥_j = x0 + d_j∘(ε1 + ε2·flip_j)
            let pair = g.i() / cells as f64;
            let (e1, e2) = grid::offsets(g, ask, g.i() - pair * cells as f64, size);
            let d = directions::random(g, pairs).gather(pair, 0);
            let flip = directions::half_flip(g, pairs).gather(pair, 0);
            g.give("x", g.x0() + d * (flip * e2 + e1));
        })
        .observe(|g| g.give("obs_score", ams::score(g.grad_logp())))
        .emit(|g| {
            g.give("col_phi_sum", g.observed_sum("score", &[]) / n as f64);
            g.give("col_phi_mean", g.observed_mean("score", &[]));
        })
        .probes(n * cells))
}
