//! my-attack: momentum steps along the sign of the gradient (Dong et al. 2018, arXiv:1710.06081).

use flatscape_sdk::{Ask, Component, Error, Param, Program};

fn component() -> Component {
    Component::attack("my-attack", "momentum steps along the steepest direction")
        .source("Dong et al. 2018 (arXiv:1710.06081)")
        .param(Param::int("steps", 10, "how many steps").range(1.0, 100_000.0))
        .param(Param::float("decay", "1", "how much momentum is kept").range(0.0, 10.0))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let steps = ask.int("steps");
    let pixels = [ask.task.pixels()];
    Ok(ask
        .program()
        .init(|g| {
            g.give("x", g.x0());
            g.give("state_m", g.x0() * 0.0);
        })
        .step(|g| {
            // m' = μ·m + ∇ℓ/‖∇ℓ‖₁        x' = Π(x + ε/steps · u(m'))
            let direction = g.ascent() / g.ascent().abs().sum(&[1], true).max(1e-30);
            let m = g.state("m", &pixels) * g.arg("decay") + direction;
            g.give("state_m_next", m);
            g.give("x_next", g.x() + g.function("Steepest", &[m]) * (g.eps() / steps as f64));
        })
        .steps(steps))
}

flatscape_sdk::export!("my-attack-plugin", "0.1.0", [component()]);
