//! Φ-flatness: the approximate mass score summed over a grid around the image, averaged over n pairs of orthogonal sign
//! directions, which all images and all models share. Closer to 0 is flatter. Beside it the same of the scores divided by the
//! temperature of the model, which does not know the scale of the scores: a model whose scores are multiplied has another Φ
//! and the same predictions.

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program, Reduction, Rows};

use super::formulas::{grad_units, in_units, indicator, square};
use super::{directions, grid};

pub(crate) fn component() -> Component {
    Component::metric("phi", "flatness of the likelihood landscape: the mass score summed over a grid around the image")
        .source("Lin et al. 2020, Likelihood Landscapes, equations 7 and 8; the control: Guo et al. 2017 (arXiv:1706.04599), section 4.2")
        .param(Param::int("directions", 5, "pairs of directions").range(1.0, 1000.0))
        .param(grid::points(21))
        .param(grid::extent())
        .param(Param::flag("control", true, "give the same of the scores divided by the temperature of the model, too"))
        .param(grad_units())
        .param(grid::clip())
        .build(build)
        .reduce(reduce)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (n, size) = (ask.int("directions"), grid::size(ask)?);
    let pairs = usize::try_from(n).map_err(|_| Error::invalid(format!("directions={n} is not possible")))?;
    let (cells, control) = ((size * size) as i64, ask.flag("control"));
    let program = ask.program();
    let program = match control {
        // s_T(x) = −‖Jᵀ softmax(f(x)/T)‖/T
        true => program.cotangent(|g| g.give("ct", (g.logits() / g.temperature()).softmax(1) / g.temperature())),
        false => program,
    };
    Ok(program
        .probe(|g| g.give("x", grid::placed(g, ask, point(g, ask, size, pairs)).0))
        .observe(|g| {
            if ask.flag("clip")
                && let Some(share) = grid::placed(g, ask, point(g, ask, size, pairs)).1
            {
                g.give("obs_clipped", share);
            }
            let of_cell = score(in_units(g, ask, g.grad_logp()));
            g.give("obs_score", of_cell);
            if n > 1 {
                // the sum of each pair of directions, which needs no memory for the points of a grid
                g.give("obs_pair", indicator(g, g.i() / cells as f64, pairs) * of_cell.unsqueeze(&[1]));
            }
            if control {
                g.give("obs_scaled", score(in_units(g, ask, g.vjp())));
            }
        })
        .emit(|g| {
            g.give("col_phi_sum", g.observed_sum("score", &[]) / n as f64);
            g.give("col_phi_mean", g.observed_mean("score", &[]));
            if ask.flag("clip") {
                g.give("col_phi_clipped", g.observed_mean("clipped", &[]));
            }
            if n > 1 {
                g.give("vec_pairs", g.observed_sum("pair", &[pairs]));
            }
            if control {
                let scaled = g.observed_mean("scaled", &[]);
                g.give("vec_scaled", scaled.unsqueeze(&[1]));
                g.give("vec_temperature", (scaled * 0.0 + g.temperature().cast(scaled.dtype())).unsqueeze(&[1]));
            }
        })
        .probes(n * cells))
}

/// x0 + ε1·d_j + ε2·d⊥_j = x0 + d_j∘(ε1 + ε2·flip_j), the point of probe `i`.
fn point<'b>(g: &Names<'b>, ask: &Ask, size: usize, pairs: usize) -> Expr<'b> {
    let cells = (size * size) as f64;
    let pair = g.i() / cells;
    let (e1, e2) = grid::offsets(g, ask, g.i() - pair * cells, size);
    let d = directions::random(g, pairs).gather(pair, 0);
    let flip = directions::half_flip(g, pairs).gather(pair, 0);
    g.x0() + d * (flip * e2 + e1)
}

/// The mass score −‖v‖₂ of one cell, \[N,D\] → \[N\]. `ams` takes two more passes over v, for squares beyond float32; here they cost 4 %.
fn score(v: Expr<'_>) -> Expr<'_> {
    -square(v).sqrt()
}

/// The standard error of Φ over the pairs of directions, which the interval over images does not have in it, and the Φ of the scores
/// divided by the temperature.
fn reduce(ask: &Ask, rows: &Reduction) -> Result<(), Error> {
    if ask.int("directions") > 1 {
        error_of_directions(rows, &rows.vector("pairs")?)?;
    }
    if ask.flag("control") {
        scaled(ask, rows)?;
    }
    Ok(())
}

fn error_of_directions(rows: &Reduction, pairs: &Rows) -> Result<(), Error> {
    let samples = rows.samples();
    let mean = |pair: usize| (0..samples).map(|i| pairs.row(i)[pair]).sum::<f64>() / samples as f64;
    let means: Vec<f64> = (0..pairs.width).map(mean).collect();
    let n = means.len() as f64;
    let middle = means.iter().sum::<f64>() / n;
    let squares = means.iter().map(|v| (v - middle).powi(2)).sum::<f64>();
    rows.give("phi_sum_error_of_directions", (squares / (n - 1.0) / n).sqrt(), samples)
}

fn scaled(ask: &Ask, rows: &Reduction) -> Result<(), Error> {
    let samples = rows.samples();
    let temperature = rows.vector("temperature")?;
    let value = if samples > 0 { temperature.row(0)[0] } else { f64::NAN };
    rows.give("temperature", value, samples)?;
    if value.is_nan() {
        ask.warn("phi: no temperature is best for this model, as without a single error, so its scaled Φ is undefined");
        return Ok(());
    }
    let (scaled, cells) = (rows.vector("scaled")?, (grid::size(ask)? as f64).powi(2));
    let means: Vec<f64> = (0..samples).map(|i| scaled.row(i)[0]).collect();
    rows.give_column("scaled_phi_mean", &means)?;
    rows.give_column("scaled_phi_sum", &means.iter().map(|v| v * cells).collect::<Vec<f64>>())
}
