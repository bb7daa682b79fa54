//! FGSM: one step of length ε along the steepest direction of the norm.

use flatscape_sdk::{Component, Names};

use super::starts::{self, Moved};

pub(crate) fn component() -> Component {
    Component::attack("fgsm", "fast gradient sign method: one steepest step of length eps")
        .source("Goodfellow, Shlens, Szegedy 2015 (arXiv:1412.6572), section 4")
        .build(|ask| {
            let moved = starts::named(&ask.task.norm)?;
            // x' = Π(x0 + ε·u(∇ℓ(x0)))        u = sign in linf, g/‖g‖ in l2; a positive factor of ∇ℓ does not matter. Where images are
            // decoded from a parameter z, x0 is z = 0
            let step = |g: &Names| match moved {
                Moved::Image(_) => g.give("x_next", g.x0() + g.function("Steepest", &[g.ascent()]) * g.eps()),
                Moved::Parameter => g.give("z_next", g.function("Steepest", &[g.ascent_z()]) * g.eps()),
            };
            Ok(ask.program().step(step).steps(1))
        })
}
