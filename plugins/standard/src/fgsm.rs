//! FGSM: one step of length ε along the steepest direction of the norm.

use flatscape_sdk::Component;

pub(crate) fn component() -> Component {
    Component::attack("fgsm", "fast gradient sign method: one steepest step of length eps")
        .source("Goodfellow, Shlens, Szegedy 2015 (arXiv:1412.6572), section 4")
        .build(|ask| {
            // x' = Π(x0 + ε·u(∇ℓ(x0)))        u = sign in linf, g/‖g‖ in l2
            Ok(ask.program().step(|g| g.give("x_next", g.x0() + g.function("Steepest", &[g.grad()]) * g.eps())).steps(1))
        })
}
