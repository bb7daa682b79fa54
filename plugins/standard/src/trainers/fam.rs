//! Relative flatness of the last layer as a regulariser. With z = Wφ + b the Hessian of cross-entropy in W has the blocks
//! p_s(1[s=t] − p_t)·φφᵀ, so its traces are known without a second derivative.

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program, Tensor};

use super::formulas::{cross_entropy, square, weight};

pub(crate) fn component() -> Component {
    Component::trainer("fam", "cross-entropy plus lambda times the relative flatness of the last layer, in closed form")
        .source("Adilova et al. 2023 (arXiv:2307.02337); Petzka et al. 2021 (arXiv:2001.00939), definition 3; lambda is ours")
        .param(weight("lambda", "0.001", "weight of the regulariser"))
        .param(Param::choice(
            "flatness",
            &["petzka", "trace", "norm-trace"],
            "Σ⟨w_s,w_t⟩·Tr H_st, ‖W‖²·Tr H, or ‖W‖·Tr H as in the code of FAM",
        ))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let flatness = ask.text("flatness");
    Ok(ask.program().cost(|g| {
        let ce = cross_entropy(g, g.logits());
        let w = g.head_weight();
        let kappa = match flatness {
            // ½‖φ‖²·Σ_{s,t} p_s·p_t·‖w_s − w_t‖² = Σ_{s,t} ⟨w_s,w_t⟩·Tr H_st
            "petzka" => pairs(g, distances(g, w)) * 0.5,
            "trace" => pairs(g, others(g)) * (w * w).sum(&[0, 1], false),
            _ => pairs(g, others(g)) * (w * w).sum(&[0, 1], false).sqrt(),
        };
        g.give("cost", ce + kappa * g.arg("lambda"));
        g.give("log_ce", ce);
        g.give("log_flatness", kappa);
    }))
}

/// ‖φ‖²·Σ_{s,t} p_s·p_t·M_st for M of the classes, nonnegative with a diagonal of 0: nothing cancels when the model is sure.
fn pairs<'b>(g: &Names<'b>, matrix: Expr<'b>) -> Expr<'b> {
    let p = g.logits().softmax(1);
    square(g.features()) * (p * p.matmul(matrix)).sum(&[1], false)
}

/// 1 beside the diagonal, float \[classes,classes\]; with M = this, the sum is Tr H.
fn others<'b>(g: &Names<'b>) -> Expr<'b> {
    -g.constant(Tensor::identity(g.task().classes)) + 1.0
}

/// ‖w_s − w_t‖² = ‖w_s‖² + ‖w_t‖² − 2⟨w_s,w_t⟩, \[classes,classes\].
fn distances<'b>(g: &Names<'b>, w: Expr<'b>) -> Expr<'b> {
    let norms = (w * w).sum(&[1], true);
    let apart = norms + norms.transpose(&[1, 0]) - w.matmul(w.transpose(&[1, 0])) * 2.0;
    apart.max(0.0) * others(g)
}
