//! Adam, and AdamW, whose decay does not pass through the moments, as in PyTorch.

use flatscape_sdk::{Ask, Component, DType, Error, Expr, Names, Param, Program, Tensor};

use super::decay;

pub(crate) fn adam() -> Component {
    declared("adam", "adaptive moments; the decay is part of the gradient", "0")
        .source("Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1, as PyTorch has it")
        .build(|ask| build(ask, false))
}

pub(crate) fn adamw() -> Component {
    declared("adamw", "adaptive moments with a decay of their own", "0.01")
        .source("Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2, as PyTorch has it")
        .build(|ask| build(ask, true))
}

fn declared(id: &str, summary: &str, decay: &str) -> Component {
    let [weight_decay, decay_1d] = decay::params(decay);
    Component::optimizer(id, summary)
        .param(Param::float("beta1", "0.9", "how much of the mean is kept").range(0.0, 0.999_999))
        .param(Param::float("beta2", "0.999", "how much of the mean square is kept").range(0.0, 0.999_999_9))
        .param(Param::float("epsilon", "1e-8", "what keeps the denominator from 0").range(1e-30, 1.0))
        .param(weight_decay)
        .param(decay_1d)
}

fn build(ask: &Ask, decoupled: bool) -> Result<Program, Error> {
    let (beta1, beta2, epsilon) = (ask.float("beta1"), ask.float("beta2"), ask.float("epsilon"));
    Ok(ask.program().update(|g| {
        // m' = β₁m + (1−β₁)g     v' = β₂v + (1−β₂)g²     θ' = θ − η/(1−β₁ᵗ)·m'/(√v'/√(1−β₂ᵗ) + ε)     t = k + 1
        let decay = decay::of(g, ask);
        let gradient = match decay.filter(|_| !decoupled) {
            Some(decay) => g.dparam() + g.param() * decay,
            None => g.dparam(),
        };
        let m = g.state_of_param("m") * beta1 + gradient * (1.0 - beta1);
        let v = g.state_of_param("v") * beta2 + gradient * gradient * (1.0 - beta2);
        g.give("state_m_next", m);
        g.give("state_v_next", v);
        let step = m / (v.sqrt() / bias(g, beta2).sqrt() + epsilon) * (g.lr() / bias(g, beta1));
        // AdamW: θ − ηλθ first
        let param = match decay.filter(|_| decoupled) {
            Some(decay) => g.param() - g.param() * (decay * g.lr()),
            None => g.param(),
        };
        g.give("param_next", param - step);
    }))
}

/// 1 − βᵗ with t = k + 1, in double precision: at t = 1 half of the digits of 1 − 0.999 would be lost in float32.
fn bias<'b>(g: &Names<'b>, beta: f64) -> Expr<'b> {
    if beta == 0.0 {
        return g.constant(Tensor::scalar(1f32));
    }
    let t = g.k().cast(DType::F64) + 1.0;
    (-(t * beta.ln()).exp() + 1.0).cast(DType::F32)
}
