//! Mistakes of matrix products: transpositions, factors, vectors.

use super::altered::{edited, right, with};
use super::{Mistake, wrong, wrong_each};
use flatscape_graph::{Attribute, Expr};

pub const MISTAKES: &[Mistake] = &[
    wrong("MatMul", 0, "B is not transposed", |n, ct| match (n.rank(0), n.rank(1)) {
        (Ok(2..), Ok(2..)) => ct.matmul(n.x(1)),
        _ => right(n, 0, ct),
    }),
    wrong("MatMul", 1, "the gradient is transposed", |n, ct| match n.rank(1) {
        Ok(2..) => right(n, 1, ct).transpose_last(),
        _ => right(n, 1, ct),
    }),
    wrong("MatMul", 1, "averaged over the rows", |n, ct| {
        let rows = n.y(0).dims().and_then(|d| d.get(d.len().saturating_sub(2))?.fixed()).unwrap_or(1);
        right(n, 1, ct) * (1.0 / rows as f64)
    }),
    wrong("Gemm", 0, "alpha is forgotten", |n, ct| with(right(n, 0, ct), "Gemm", "alpha", None)),
    wrong("Gemm", 1, "alpha is forgotten", |n, ct| with(right(n, 1, ct), "Gemm", "alpha", None)),
    wrong("Gemm", 2, "beta is forgotten", |_, ct| ct),
    wrong("Gemm", 2, "alpha for beta", |n, ct| ct * n.float("alpha", 1.0)),
    wrong("Gemm", 0, "transA is ignored", |n, ct| match n.int("transA", 0) {
        0 => right(n, 0, ct),
        _ => right(n, 0, ct).transpose_last(),
    }),
    wrong("Gemm", 0, "transB is ignored", |n, ct| flipped(right(n, 0, ct), "transB")),
    wrong("Gemm", 1, "transB is ignored", |n, ct| match n.int("transB", 0) {
        0 => right(n, 1, ct),
        _ => right(n, 1, ct).transpose_last(),
    }),
    wrong("Gemm", 1, "transA is taken the wrong way round", |n, ct| flipped(right(n, 1, ct), "transA")),
    wrong_each("Einsum", "the other operands are left out", |n, i, ct| {
        edited(right(n, i, ct), "Einsum", &|b, node| {
            for at in 1..node.inputs.len() {
                let other = node.inputs[at].map(|v| b.expr(v));
                node.inputs[at] = other.map(|e| (e * 0.0 + 1.0).id);
            }
        })
    }),
    wrong_each("Einsum", "twice", |n, i, ct| right(n, i, ct) * 2.0),
];

/// With a transposition more or less.
fn flipped<'b>(product: Expr<'b>, name: &str) -> Expr<'b> {
    edited(product, "Gemm", &|_, node| {
        let flag = node.attributes.int(name, 0);
        node.attributes.0.insert(name.to_owned(), Attribute::Int(1 - flag));
    })
}
