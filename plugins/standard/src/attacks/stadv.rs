//! stAdv, bounded: Adam moves the flow along the margin and against its roughness, and the host keeps it within its bound.

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program};

use super::adam;

/// Under the root, so that it has a slope where neighbours move alike.
const SMOOTH: f64 = 1e-10;

pub(crate) fn component() -> Component {
    Component::attack("stadv", "a smooth flow of the pixels within a bound, by Adam")
        .source(
            "Xiao et al. 2018 (arXiv:1801.02612), equations 2 to 4, for the cost; bounded and optimised as in the code of Xu, Yap and \
             Prabhu 2019",
        )
        .param(Param::int("steps", 100, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("lr", "auto", "learning rate of Adam, pixels; auto is 0.001 of half the width").range(1e-9, 1e3))
        .param(Param::float("tau", "0.05", "weight of the roughness").range(0.0, 1e6))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    if ask.task.norm != "flow" {
        return Err(Error::unsupported(format!("the threat model is {}; it serves flow", ask.task.norm)));
    }
    let (steps, width) = (ask.int("steps"), ask.task.parameters);
    let lr = ask.maybe_float("lr").unwrap_or(0.0005 * ask.task.shape[2] as f64);
    let counts: Vec<i64> = (1..=steps).collect();
    Ok(ask
        .program()
        // ℓ = −(max(z_y − max_{i≠y} z_i, 0) + τ·Σ over neighbours of ‖F(p) − F(q)‖)
        .objective(|g| {
            let behind = match ask.task.targeted {
                true => g.function("Margin", &[g.logits(), g.target()]),
                false => -g.function("Margin", &[g.logits(), g.y()]),
            };
            g.give("loss", -(behind.relu() + roughness(g) * g.arg("tau")));
        })
        .init(|g| adam::init(g, width))
        .step(|g| g.give("z_next", g.z() + adam::direction(g, g.grad_z(), width, &counts) * lr))
        .steps(steps))
}

/// Every pair of neighbours counts twice, once from either side.
fn roughness<'b>(g: &Names<'b>) -> Expr<'b> {
    let [_, h, w] = g.task().shape.map(|extent| extent as i64);
    let flow = g.z().reshape(&[-1, 2, h, w]);
    let along = |axis: i64, extent: i64| {
        let difference = flow.slice(&[1], &[extent], &[axis], &[1]) - flow.slice(&[0], &[extent - 1], &[axis], &[1]);
        ((difference * difference).sum(&[1], false) + SMOOTH).sqrt().sum(&[1, 2], false) * 2.0
    };
    match (h > 1, w > 1) {
        (true, true) => along(2, h) + along(3, w),
        (true, false) => along(2, h),
        (false, true) => along(3, w),
        (false, false) => flow.sum(&[1, 2, 3], false) * 0.0,
    }
}
