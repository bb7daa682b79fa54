//! Input-gradient regularisation: cross-entropy plus the squared norm of its own gradient in the image.

use flatscape_sdk::Component;

use super::formulas::{cross_entropy, square, weight};

pub(crate) fn component() -> Component {
    Component::trainer("input-gradient", "cross-entropy plus lambda times its squared gradient in the image")
        .source(
            "Ross and Doshi-Velez 2018 (arXiv:1711.09404), equation 4; Drucker and Le Cun 1992; the default of lambda is ours",
        )
        .param(weight("lambda", "0.1", "weight of the squared gradient, in pixel units"))
        .build(|ask| {
            Ok(ask.program().cost(|g| {
                // CE + λ·‖∇ₓ CE‖²
                let (ce, gradient) = (cross_entropy(g, g.logits()), square(g.grad()));
                g.give("cost", ce + gradient * g.arg("lambda"));
                g.give("log_ce", ce);
                g.give("log_gradient", gradient);
            }))
        })
}
