//! FGSM: one step of length ε along the steepest direction of the norm.

use flatscape_sdk::Component;

use crate::starts;

pub(crate) fn component() -> Component {
    Component::attack("fgsm", "fast gradient sign method: one steepest step of length eps")
        .source("Goodfellow, Shlens, Szegedy 2015 (arXiv:1412.6572), section 4")
        .build(|ask| {
            starts::named(&ask.task.norm)?;
            // x' = Π(x0 + ε·u(∇ℓ(x0)))        u = sign in linf, g/‖g‖ in l2; a positive factor of ∇ℓ does not matter
            Ok(ask.program().step(|g| g.give("x_next", g.x0() + g.function("Steepest", &[g.ascent()]) * g.eps())).steps(1))
        })
}
