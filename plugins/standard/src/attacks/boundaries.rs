//! The decision boundary between the label and other classes, linearised at `x`: {v: w·v = w·x − f} with f = z_j − z_y, w = ∇f, and
//! which of several is nearest. The program has `cotangent` e_j − e_y, float \[N,K,classes\].

use flatscape_sdk::{Expr, Names};

use super::formulas::{length, one_hot};

/// Rows e_j − e_y for the classes j, int64 \[N,K\]; for the label itself the row is 0.
pub(super) fn towards<'b>(g: &Names<'b>, classes: Expr<'b>) -> Expr<'b> {
    one_hot(g, classes) - one_hot(g, g.y()).unsqueeze(&[1])
}

/// f \[N,1\] and w \[N,D\] of the nearest one in the norm of the threat model, where `ct` are the rows, K of them.
pub(super) fn nearest<'b>(g: &Names<'b>, ct: Expr<'b>, rows: usize) -> (Expr<'b>, Expr<'b>) {
    let f = (ct * g.logits().unsqueeze(&[1])).sum(&[2], false);
    let w = g.vjp_rows(rows);
    if rows == 1 {
        return (f, w.squeeze(&[1]));
    }
    // |f|/‖w‖ in the dual norm; what has no gradient is nowhere
    let size = dual(&g.task().norm, w);
    let away = size.greater(0.0).select(f.abs() / size.max(f64::from(f32::MIN_POSITIVE)), (f * 0.0) + f64::from(f32::MAX));
    let b = g.builder();
    let first = b.op("ArgMax", &[-away], [("axis", 1.into()), ("keepdims", 1.into())]);
    let every: Vec<i64> = (0..rows as i64).collect();
    let chosen = first.equal(b.ints(&every));
    let zero = f.scalar(0.0);
    (chosen.select(f, zero).sum(&[1], true), chosen.unsqueeze(&[2]).select(w, zero).sum(&[1], false))
}

/// ‖w‖ in the norm that is dual to that of the threat model: \[…,D\] → \[…\]
pub(super) fn dual<'b>(norm: &str, w: Expr<'b>) -> Expr<'b> {
    match norm {
        "linf" => w.abs().sum(&[-1], false),
        "l1" => w.abs().reduce("ReduceMax", &[-1], false),
        _ => length(w).squeeze(&[-1]),
    }
}
