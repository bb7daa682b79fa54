//! What the attacks ascend, by name. Without an objective of its own a program gets the host's cross-entropy, of the label or,
//! in targeted tasks, against the target, with the cotangent that does not vanish on confident models.

use flatscape_sdk::{Ask, Param, Program};

pub(crate) fn param() -> Param {
    Param::choice("loss", &["ce", "margin"], "what is ascended: cross-entropy, or the margin max_{i≠y} z_i − z_y")
}

/// `loss` with cross-entropy of rescaled logits, and `kappa`, which it reads.
pub(crate) fn params_with_rescaled() -> [Param; 2] {
    let what = "what is ascended: cross-entropy, the margin max_{i≠y} z_i − z_y, or cross-entropy of logits that are divided by \
                |margin at the image|/kappa";
    let kappa = "for loss=rescaled: the lead of the label at the image after the division; 1, 4 and 16 are usual";
    [Param::choice("loss", &["ce", "margin", "rescaled"], what), Param::float("kappa", "4", kappa).range(1e-3, 1e3)]
}

/// The program with the objective that the argument `loss` names.
pub(crate) fn chosen(program: Program, ask: &Ask) -> Program {
    match ask.text("loss") {
        "margin" => margin(program, ask),
        "rescaled" => rescaled(program, ask),
        _ => program,
    }
}

/// The smallest lead by which logits are divided.
const TINY: f64 = 1e-6;

/// ℓ = CE(z/τ, y), or −CE(z/τ, t)        τ = max(|m(x₀)|, 1e-6)/κ, m the margin of the class, constant in x
///
/// However large the logits are, the label leads by about κ, so that cross-entropy and its cotangent keep their digits.
fn rescaled(program: Program, ask: &Ask) -> Program {
    let targeted = ask.task.targeted;
    program.objective(|g| {
        let class = if targeted { g.target() } else { g.y() };
        let lead = g.function("Margin", &[g.logits0(), class]).abs().max(TINY);
        let tau = g.function("Detach", &[lead / g.arg("kappa")]).unsqueeze(&[1]);
        let loss = g.function("CrossEntropy", &[g.logits() / tau, class]);
        g.give("loss", if targeted { -loss } else { loss });
    })
}

/// ℓ = max_{i≠y} z_i − z_y, or z_t − max_{i≠t} z_i
pub(crate) fn margin(program: Program, ask: &Ask) -> Program {
    match ask.task.targeted {
        true => program.objective(|g| g.give("loss", -g.function("Margin", &[g.logits(), g.target()]))),
        false => program.objective(|g| g.give("loss", g.function("Margin", &[g.logits(), g.y()]))),
    }
}
