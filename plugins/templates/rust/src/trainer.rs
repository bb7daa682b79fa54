//! my-trainer: cross-entropy plus eps times the l1 norm of its gradient in the image, which is the loss after the worst small step
//! in linf, to first order (Simon-Gabriel et al. 2019, arXiv:1802.01421).

use flatscape_sdk::{Ask, Component, Error, Param, Program};

fn component() -> Component {
    Component::trainer("my-trainer", "cross-entropy plus the l1 norm of its gradient in the image")
        .source("Simon-Gabriel et al. 2019 (arXiv:1802.01421), proposition 3")
        .param(Param::float("strength", "1", "weight of the norm, in units of eps").range(0.0, 1e6))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    Ok(ask.program().cost(|g| {
        // CE(f(x), y) + λε·‖∇ₓ CE‖₁; the host takes the mean and differentiates it by the parameters
        let ce = g.function("CrossEntropy", &[g.logits(), g.y()]);
        let norm = g.grad().abs().sum(&[1], false);
        g.give("cost", ce + norm * g.eps() * g.arg("strength"));
        g.give("log_norm", norm);
    }))
}

flatscape_sdk::export!("my-trainer-plugin", "0.1.0", [component()]);
