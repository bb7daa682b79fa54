//! DeepFool: repeated steps to the nearest linearised boundary, each a little beyond it. Without a box the points are x0 + (1 + η)·Σr of
//! algorithm 2. Where the box clips a step, the next step starts from the clipped point: otherwise Σr would grow outside of the box.

use flatscape_sdk::{Ask, Component, DType, Error, Param, Program};

use super::boundaries::{dual, nearest, towards};
use super::formulas::{adversarial, boxed, runners_up};

/// What is added to |f|, so that the sum crosses the boundary.
const BEYOND: f64 = 1e-4;

pub(crate) fn component() -> Component {
    Component::attack("deepfool", "steps to the nearest linearised boundary")
        .source("Moosavi-Dezfooli, Fawzi, Frossard 2016 (arXiv:1511.04599), algorithm 2; for other norms its section 3.3")
        .param(Param::int("steps", 50, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("overshoot", "0.02", "how far beyond the boundary, as a share of the way").range(0.0, 1.0))
        .param(Param::int("candidates", 10, "how many classes are looked at, the label among them").range(2.0, 1000.0))
        .minimal()
        .free()
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let norm = ask.task.norm.as_str();
    if !matches!(norm, "linf" | "l2") {
        return Err(Error::unsupported(format!("the threat model is {norm}; it serves linf, l2")));
    }
    if ask.task.classes < 2 {
        return Err(Error::unsupported("the model has one class, and no boundary"));
    }
    let rows = if ask.task.targeted { 1 } else { (ask.int("candidates") as usize).min(ask.task.classes) - 1 };
    Ok(ask
        .program()
        .cotangent(|g| g.give("ct", towards(g, g.state("rivals", &[rows]))))
        .init(|g| {
            let rivals = if ask.task.targeted { g.target().unsqueeze(&[1]) } else { runners_up(g, g.logits0(), rows) };
            g.give("state_rivals", rivals.cast(DType::F32));
        })
        .step(|g| {
            // r = (|f| + 1e-4)/‖w‖₂²·w in l2, (|f| + 1e-4)/‖w‖₁·sign(w) in linf; nothing once it is there
            let (f, w) = nearest(g, towards(g, g.state("rivals", &[rows])), rows);
            let size = dual(norm, w).unsqueeze(&[1]).max(f64::from(f32::MIN_POSITIVE));
            let along = if norm == "l2" { w / size } else { w.sign() };
            let way = (f.abs() + BEYOND) / size;
            let next = boxed(g, g.x() + along * way * (g.arg("overshoot") + 1.0));
            g.give("x_next", adversarial(g).select(g.x(), next));
        })
        .steps(ask.int("steps")))
}
