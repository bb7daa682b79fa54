//! The local Lipschitz constant of the margin, from below: the largest dual norm of its gradient over points of ball and box.

use flatscape_sdk::{Component, Param};

use super::formulas::{dual_norm, one_hot, rival, unserved};
use crate::attacks::ball;

pub(crate) fn component() -> Component {
    Component::metric(
        "lipschitz",
        "largest slope of the margin over random points of the ball: a lower bound of its Lipschitz constant",
    )
    .source("Weng et al. 2018 (arXiv:1801.10578), equation 3 and theorem 3.2; Hein and Andriushchenko 2017 (arXiv:1705.08475)")
    .param(Param::int("points", 256, "random points of the ball; the point itself is one more").range(1.0, 1e6))
    .build(|ask| {
        let (start, norm) = (ball(&ask.task.norm)?, ask.task.norm.clone());
        if !["linf", "l2", "l1"].contains(&norm.as_str()) {
            return Err(unserved(&norm));
        }
        Ok(ask
            .program()
            .cotangent(|g| {
                // the margin's own rival at the point: ∇(z_y − z_j)
                let rival = rival(g, g.logits());
                g.give("ct", one_hot(g, g.y()) - one_hot(g, rival));
            })
            .probe(|g| {
                let moves = g.i().greater(0.0).cast(flatscape_sdk::DType::F32).unsqueeze(&[1]);
                let x = g.x0() + start(g) * g.eps() * moves;
                g.give("x", x.max(g.lo()).min(g.hi()));
            })
            .observe(|g| {
                if let Ok(slope) = dual_norm(g, g.vjp()) {
                    g.give("obs_slope", slope);
                }
            })
            .emit(|g| {
                let slope = g.observed_max("slope", &[]);
                let margin = -g.function("Margin", &[g.logits(), g.y()]).cast(flatscape_sdk::DType::F64);
                g.give("col_lipschitz_sample", slope);
                // the radius that the margin would last if no slope were larger: not a bound
                g.give("col_margin_over_slope", margin / slope);
            })
            .probes(ask.int("points") + 1))
    })
}
