//! The local Lipschitz constant of the margin over ball and box: from below the largest dual norm of its gradient over random points, and
//! over the points of an ascent on that norm; from above, on request, by intervals for every slope of the network.

use flatscape_sdk::{Ask, Component, DType, Error, Expr, Names, Param, Program, Reduction};

use super::formulas::{dual_norm, one_hot, rival, unserved};
use crate::attacks::ball;

/// What the single precision of the model may change of a score, relative to the largest.
const TOLERANCE: f64 = 1e-4;

pub(crate) fn component() -> Component {
    Component::metric(
        "lipschitz",
        "largest slope of the margin in the ball: bounds of its Lipschitz constant from below, and from above",
    )
    .source(
        "Weng et al. 2018 (arXiv:1801.10578), equation 3 and theorem 3.2; Hein and Andriushchenko 2017 (arXiv:1705.08475); \
             from above: intervals of slopes as in Weng et al. 2018 (arXiv:1804.09699), section 3.4",
    )
    .param(Param::int("points", 256, "random points of the ball; the point itself is one more").range(1.0, 1e6))
    .param(
        Param::int(
            "ascent",
            10,
            "steps of ascent on the slope, which need a curved network: undefined where the slope is constant; not along paths",
        )
        .range(0.0, 10_000.0),
    )
    .param(Param::flag("interval", false, "give the upper bound by intervals, too, and the radius that it certifies"))
    .build(build)
    .reduce(|ask, rows| if ask.int("ascent") > 0 { climbed(ask, rows) } else { Ok(()) })
}

/// The largest slope on the way of the ascent, where there was one: the gradient of a network without curvature does not say where its
/// slope is larger.
fn climbed(ask: &Ask, rows: &Reduction) -> Result<(), Error> {
    let found = rows.vector("ascent")?;
    let every = || (0..rows.samples()).map(|sample| found.row(sample));
    if every().all(|row| row[1] == 0.0) {
        ask.warn(
            "lipschitz: the slope is constant around every image, as in a piecewise linear network: its ascent is undefined",
        );
        return rows.give("lipschitz_ascent_mean", f64::NAN, rows.samples());
    }
    rows.give_column("lipschitz_ascent", &every().map(|row| row[0]).collect::<Vec<_>>())
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (start, norm) = (ball(&ask.task.norm)?, ask.task.norm.clone());
    if !["linf", "l2", "l1"].contains(&norm.as_str()) {
        return Err(unserved(&norm));
    }
    let (ascent, interval) = (ask.int("ascent"), ask.flag("interval"));
    let program = ask
        .program()
        .cotangent(|g| {
            // the margin's own rival at the point: ∇(z_y − z_j)
            let rival = rival(g, g.logits());
            g.give("ct", one_hot(g, g.y()) - one_hot(g, rival));
        })
        .probe(move |g| {
            let moves = g.i().greater(0.0).cast(DType::F32).unsqueeze(&[1]);
            let x = g.x0() + start(g) * g.eps() * moves;
            g.give("x", x.max(g.lo()).min(g.hi()));
        })
        .observe(|g| {
            if let Ok(slope) = dual_norm(g, g.vjp()) {
                g.give("obs_slope", slope);
            }
        });
    let program = if ascent > 0 { climbing(program, ascent) } else { program };
    Ok(program
        .emit(move |g| {
            let slope = g.observed_max("slope", &[]);
            let margin = -g.function("Margin", &[g.logits(), g.y()]).cast(DType::F64);
            g.give("col_lipschitz_sample", slope);
            // the radius that the margin would last if no slope were larger: not a bound
            g.give("col_margin_over_slope", margin / slope);
            if ascent > 0 {
                let columns = ["best", "moved"].map(|name| g.state(name, &[]).unsqueeze(&[1]));
                g.give("vec_ascent", g.builder().concat(&columns, 1));
            }
            if interval {
                above(g);
            }
        })
        .probes(ask.int("points") + 1))
}

/// Steepest steps on ‖∇m‖: with v = ∇m its gradient is H·u, u the derivative of ‖v‖ by v. Graphs take turns: one finds u, the next moves
/// along H·u; the last one only looks.
fn climbing(program: Program, ascent: i64) -> Program {
    program
        .objective(|g| g.give("loss", g.function("Margin", &[g.logits(), g.y()])))
        .init(|g| {
            let none = (g.x0() * 0.0).sum(&[1], false);
            g.give("state_best", none);
            g.give("state_moved", none);
            g.give("direction", g.x0() * 0.0);
        })
        .step(|g| {
            let v = g.grad();
            if let (Ok(slope), Some(u)) = (dual_norm(g, v), steepest(g, v)) {
                g.give("state_best_next", g.state("best", &[]).max(slope));
                g.give("direction", u);
            }
        })
        .step(move |g| {
            let along = g.hvp();
            g.give("state_moved_next", g.state("moved", &[]) + along.abs().sum(&[1], false));
            let length = g.eps() * (2.5 / ascent as f64);
            let x = g.x() + g.function("Steepest", &[along]) * length;
            g.give("x_next", g.function("Project", &[x]));
        })
        .steps(2 * ascent + 1)
}

/// The derivative of the dual norm of v by v: its signs for l1, v/‖v‖ for l2, the sign of its largest entry for linf.
fn steepest<'b>(g: &Names<'b>, v: Expr<'b>) -> Option<Expr<'b>> {
    match g.task().norm.as_str() {
        "linf" => Some(v.sign()),
        "l2" => Some(v / (v * v).sum(&[1], true).sqrt().max(f64::from(f32::MIN_POSITIVE))),
        "l1" => {
            let largest = v.abs().at_least(v.abs().reduce("ReduceMax", &[1], true)).cast(v.dtype());
            Some(v.sign() * largest / largest.sum(&[1], true).max(1.0))
        }
        _ => None,
    }
}

/// The largest slope of z_y − z_k over the rivals k, and min over them of (z_y − z_k)/slope: no image within that distance of the point and
/// within the ball has another class, in real arithmetic.
fn above(g: &Names<'_>) {
    let slopes = g.slope_bound().cast(DType::F64);
    let label = one_hot(g, g.y()).greater(0.5);
    let logits = g.logits().cast(DType::F64);
    let own = (logits * label.cast(DType::F64)).sum(&[1], true);
    let spare = own - logits - logits.abs().reduce("ReduceMax", &[1], true).max(1.0) * TOLERANCE;
    let radius = label.select(spare.scalar(f64::INFINITY), spare / slopes).reduce("ReduceMin", &[1], false);
    g.give("col_lipschitz_interval", slopes.reduce("ReduceMax", &[1], false));
    g.give("col_lipschitz_radius", radius.max(0.0).min(g.eps().cast(DType::F64)));
}
