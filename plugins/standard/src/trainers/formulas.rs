//! Formulas that several costs share. Logits are \[N,classes\], what is returned is \[N\].

use flatscape_sdk::{Ask, BnAttack, Expr, Names, Param, Tensor};

/// −ln softmax(z)_y, with the label smoothing of the training.
pub(crate) fn cross_entropy<'b>(g: &Names<'b>, logits: Expr<'b>) -> Expr<'b> {
    g.function("CrossEntropy", &[logits, g.y()])
}

/// ‖v‖² of each sample: \[N,D\] or \[N,K,D\]
pub(crate) fn square(v: Expr<'_>) -> Expr<'_> {
    let axes: Vec<i64> = (1..v.rank().unwrap_or(2) as i64).collect();
    (v * v).sum(&axes, false)
}

/// KL(p ‖ q) = Σ p·(ln p − ln q), p and q the softmax of two rows of logits.
pub(crate) fn kl<'b>(p: Expr<'b>, q: Expr<'b>) -> Expr<'b> {
    (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum(&[1], false)
}

/// Whether the class is the label, bool \[N,classes\].
pub(crate) fn at_label<'b>(g: &Names<'b>) -> Expr<'b> {
    let every: Vec<i64> = (0..g.task().classes as i64).collect();
    g.y().unsqueeze(&[1]).equal(g.constant(Tensor::ints(&every)).unsqueeze(&[0]))
}

/// The weight of a regulariser.
pub(crate) fn weight(name: &str, default: &str, help: &str) -> Param {
    Param::float(name, default, help).range(0.0, 1e9)
}

/// Which statistics batch normalisation uses under attack; the first is the default.
pub(crate) fn bn_attack(choices: &[&str; 2]) -> Param {
    Param::choice("bn-attack", choices, "statistics of batch normalisation under attack: running (eval) or of the batch (train)")
}

/// What that argument says.
pub(crate) fn statistics(ask: &Ask) -> BnAttack {
    if ask.text("bn-attack") == "train" { BnAttack::Train } else { BnAttack::Eval }
}
