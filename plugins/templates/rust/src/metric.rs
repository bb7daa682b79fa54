//! my-metric: the mean of the loss over points drawn uniformly around the image, in the norm linf.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

fn component() -> Component {
    Component::metric("my-metric", "mean loss at points drawn around the image")
        .param(Param::int("points", 16, "how many points").range(1.0, 100_000.0))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    Ok(ask
        .program()
        // x' = x0 + ε·u, u uniform on (−1, 1) and drawn for every probe; no clipping to the box
        .probe(|g| g.give("x", g.x0() + g.noise_uniform() * g.eps()))
        .observe(|g| g.give("obs_loss", g.loss()))
        .emit(|g| g.give("col_my_metric", g.observed_mean("loss", &[])))
        .probes(ask.int("points")))
}

flatscape_sdk::export!("my-metric-plugin", "0.1.0", [component()]);
