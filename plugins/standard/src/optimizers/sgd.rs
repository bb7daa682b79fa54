//! Stochastic gradient descent with momentum, as in PyTorch: the decay is added to the gradient, and the momentum is not damped.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::decay;

pub(crate) fn component() -> Component {
    let [weight_decay, decay_1d] = decay::params("0.0005");
    Component::optimizer("sgd", "stochastic gradient descent with momentum and weight decay")
        .source("Sutskever et al. 2013, On the importance of initialization and momentum in deep learning, as PyTorch has it")
        .param(Param::float("momentum", "0.9", "how much of the last step is kept").range(0.0, 1.0))
        .param(Param::flag("nesterov", false, "look ahead along the momentum"))
        .param(weight_decay)
        .param(decay_1d)
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (momentum, nesterov) = (ask.float("momentum"), ask.flag("nesterov"));
    if nesterov && momentum == 0.0 {
        return Err(Error::invalid("nesterov=true looks ahead along the momentum, and momentum is 0; drop one of them"));
    }
    Ok(ask.program().update(|g| {
        // g = ∇L + λθ      v' = μv + g      θ' = θ − η·v', or with Nesterov θ − η·(g + μv')
        let gradient = match decay::of(g, ask) {
            Some(decay) => g.dparam() + g.param() * decay,
            None => g.dparam(),
        };
        let step = if momentum == 0.0 {
            gradient
        } else {
            let v = g.state_of_param("v") * g.arg("momentum") + gradient;
            g.give("state_v_next", v);
            if nesterov { gradient + v * g.arg("momentum") } else { v }
        };
        g.give("param_next", g.param() - step * g.lr());
    }))
}
