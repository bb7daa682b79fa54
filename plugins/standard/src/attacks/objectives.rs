//! What the attacks ascend, by name. Without an objective of its own a program gets the host's cross-entropy, of the label or,
//! in targeted tasks, against the target, with the cotangent that does not vanish on confident models.

use flatscape_sdk::{Ask, Param, Program};

pub(crate) fn param() -> Param {
    Param::choice("loss", &["ce", "margin"], "what is ascended: cross-entropy, or the margin max_{i≠y} z_i − z_y")
}

/// The program with the objective that the argument `loss` names.
pub(crate) fn chosen(program: Program, ask: &Ask) -> Program {
    if ask.text("loss") == "margin" { margin(program, ask) } else { program }
}

/// ℓ = max_{i≠y} z_i − z_y, or z_t − max_{i≠t} z_i
pub(crate) fn margin(program: Program, ask: &Ask) -> Program {
    match ask.task.targeted {
        true => program.objective(|g| g.give("loss", -g.function("Margin", &[g.logits(), g.target()]))),
        false => program.objective(|g| g.give("loss", g.function("Margin", &[g.logits(), g.y()]))),
    }
}
