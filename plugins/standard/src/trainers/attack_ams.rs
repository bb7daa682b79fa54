//! Flattens the likelihood where an attack goes: the squared mass score at the attacked point, or the squared slope of log p at the
//! image along the attack's direction. The cross-entropy is that of the image, so nothing is trained on adversarial examples.
//!
//! The weight. A net of L layers with ReLU is homogeneous of degree L in its weights θ (but for biases), so R = ½‖∇log p‖² has the
//! degree 2L and ⟨θ, ∇_θ R⟩ = 2L·R. One step of SGD with momentum m moves θ along itself by lr/(1 − m)·μ·2L·R/‖θ‖² of its length,
//! and where that is not small, training throws the weights away. `digits-standard` has L = 5, R ≈ 200 and ‖θ‖² = 194: with lr = 0.01
//! and m = 0.9 that is ten lengths for μ = 1, and a tenth of the length for μ = 0.01.

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program};

use super::formulas::{cross_entropy, square, weight};

pub(crate) fn component() -> Component {
    Component::trainer("attack-ams", "cross-entropy plus mu/2 times the squared gradient of log p where an attack leads")
        .source("Lin et al. 2020, Likelihood Landscapes, the question that closes section 5; equations 5 and 6 at x_adv")
        .param(weight("mu", "0.01", "weight of the regulariser; it multiplies half the square, in pixel units"))
        .param(Param::choice("along", &["point", "direction"], "the whole gradient at x_adv, or the slope at x towards x_adv"))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let along_direction = ask.text("along") == "direction";
    Ok(ask.program().attack("fgsm").cost(|g| {
        let ce = cross_entropy(g, g.logits());
        // ‖∇log p(x')‖², or ⟨∇log p(x), d⟩² with d = (x' − x)/‖x' − x‖, 0 where the attack stays
        let ams = if along_direction { slope(g) } else { square(g.grad_logp_adv()) };
        g.give("cost", ce + ams * g.arg("mu") * 0.5);
        g.give("log_ce", ce);
        g.give("log_ams", ams);
    }))
}

fn slope<'b>(g: &Names<'b>) -> Expr<'b> {
    let moved = g.x_adv() - g.x0();
    let along = (g.grad_logp() * moved).sum(&[1], false);
    along * along / square(moved).max(1e-30)
}
