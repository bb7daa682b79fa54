//! CLEVER: the margin of the label against every other class, divided by an estimate of its local Lipschitz constant from the
//! maxima of batches of gradients in a ball. An estimate of the distance of the nearest adversarial example, and not a bound.

use flatscape_sdk::{Ask, Component, DType, Error, Expr, Names, Param, Program, Reduction, Tensor};

use super::formulas::{indicator, one_hot, rival, unserved};
use super::weibull;
use crate::attacks::ball;

/// Classes up to which every one may be a rival: each is a row of the Jacobian at every point.
const CLASSES: usize = 32;

pub(crate) fn component() -> Component {
    Component::metric("clever", "margin over the extreme value of its slope in a ball: an estimate of the distance, not a bound")
        .source("Weng et al. 2018, Evaluating the robustness of neural networks: an extreme value theory approach (arXiv:1801.10578), algorithms 1 and 2")
        .param(Param::int("batches", 50, "batches of points; the paper takes 500").range(2.0, 10_000.0))
        .param(Param::int("points", 100, "points of a batch; the paper takes 1024").range(1.0, 100_000.0))
        .param(Param::float("radius", "auto", "radius of the ball, in the norm of the threat model; auto is twice eps").range(0.0, 1e6))
        .param(Param::choice("rivals", &["all", "runner-up"], "every other class, or the most likely one at the image"))
        .build(build)
        .reduce(reduce)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (start, norm) = (ball(&ask.task.norm)?, ask.task.norm.clone());
    if !["linf", "l2", "l1"].contains(&norm.as_str()) {
        return Err(unserved(&norm));
    }
    let (batches, points) = (ask.int("batches"), ask.int("points"));
    let (all, classes) = (ask.text("rivals") == "all", ask.task.classes);
    if all && classes > CLASSES {
        let what = format!("there are {classes} classes, and every class is a rival up to {CLASSES}; try rivals=runner-up");
        return Err(Error::unsupported(what));
    }
    let rows = if all { classes } else { 1 };
    let given = ask.maybe_float("radius").is_some();
    Ok(ask
        .program()
        .init(move |g| g.give("state_rival", rival(g, g.logits()).cast(DType::F32)))
        .cotangent(move |g| {
            // ∇(z_y − z_j): a row per rival j, 0 for the label itself
            let label = one_hot(g, g.y());
            g.give("ct", if all { label.unsqueeze(&[1]) - rivals(g) } else { label - one_hot(g, chosen(g)) });
        })
        .probe(move |g| {
            let radius = if given { g.arg("radius") } else { g.eps() * 2.0 };
            g.give("x", (g.x0() + start(g) * radius).max(g.lo()).min(g.hi()));
        })
        .observe(move |g| {
            let slopes = if all { g.vjp_rows(rows) } else { g.vjp().unsqueeze(&[1]) };
            // the maximum of each batch, which needs no memory for the points: slopes are not negative
            let batch = indicator(g, g.i() / points as f64, batches as usize).greater(0.5).unsqueeze(&[2]);
            let slopes = dual(&norm, slopes).unsqueeze(&[1]);
            g.give("obs_slopes", batch.select(slopes, slopes.scalar(0.0)).reshape(&[0, batches * rows as i64]));
        })
        .emit(move |g| {
            let maxima = g.observed_max("slopes", &[batches as usize * rows]).reshape(&[0, batches, rows as i64]);
            g.give("vec_maxima", maxima.transpose(&[0, 2, 1]).reshape(&[0, batches * rows as i64]));
            let logits = g.logits().cast(DType::F64);
            let own = (logits * one_hot(g, g.y()).cast(DType::F64)).sum(&[1], true);
            let rival = (logits * one_hot(g, chosen(g)).cast(DType::F64)).sum(&[1], true);
            g.give("vec_margins", own - if all { logits } else { rival });
            let radius = if given { g.arg("radius") } else { g.eps() * 2.0 };
            g.give("vec_radius", own * 0.0 + radius.cast(DType::F64));
        })
        .probes(batches * points))
}

/// The most likely other class at the image, int64 \[N\].
fn chosen<'b>(g: &Names<'b>) -> Expr<'b> {
    g.state("rival", &[]).cast(DType::I64)
}

/// Every class as a row, \[1,classes,classes\].
fn rivals<'b>(g: &Names<'b>) -> Expr<'b> {
    g.constant(Tensor::identity(g.task().classes)).unsqueeze(&[0])
}

/// The dual norm of rows \[N,K,D\] → \[N,K\].
fn dual<'b>(norm: &str, rows: Expr<'b>) -> Expr<'b> {
    match norm {
        "linf" => rows.abs().sum(&[2], false),
        "l2" => (rows * rows).sum(&[2], false).sqrt(),
        _ => rows.abs().reduce("ReduceMax", &[2], false),
    }
}

/// min over the rivals j of (z_y − z_j)/a_j, a_j the end of the law of the maxima; at most the radius, at least 0.
fn reduce(ask: &Ask, rows: &Reduction) -> Result<(), Error> {
    let batches = usize::try_from(ask.int("batches")).map_err(|_| Error::invalid("batches must be positive"))?;
    let (maxima, margins, radius) = (rows.vector("maxima")?, rows.vector("margins")?, rows.vector("radius")?);
    let (mut scores, mut slopes, mut poor, mut fits) = (Vec::new(), Vec::new(), 0.0, 0usize);
    for (sample, &label) in rows.y().iter().enumerate() {
        let mut best = (f64::INFINITY, f64::NAN);
        for (rival, &margin) in margins.row(sample).iter().enumerate() {
            if margins.width > 1 && rival as i64 == label {
                continue;
            }
            let own = &maxima.row(sample)[rival * batches..(rival + 1) * batches];
            let Some(fit) = weibull::location(own).filter(|_| !margin.is_nan()) else {
                best = (f64::NAN, f64::NAN);
                break;
            };
            (poor, fits) = (poor + f64::from(u8::from(fit.p < 0.05)), fits + 1);
            let score = if fit.location > 0.0 { margin / fit.location } else { f64::INFINITY };
            if score < best.0 {
                best = (score, fit.location);
            }
        }
        scores.push(best.0.min(radius.row(sample)[0]).max(if best.0.is_nan() { f64::NAN } else { 0.0 }));
        slopes.push(best.1);
    }
    // a NaN score stays one: min and max would drop it
    let scores: Vec<f64> = scores.iter().zip(&slopes).map(|(s, a)| if a.is_nan() { f64::NAN } else { *s }).collect();
    rows.give_column("clever", &scores)?;
    rows.give_column("clever_slope", &slopes)?;
    rows.give("clever_poor_fits", poor / fits as f64, rows.samples())
}
