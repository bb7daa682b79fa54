//! Mistakes of reductions, softmax and its kin: axes, counts, ties, normalisation.

use super::altered::{by_rule_of, right, set, written_with};
use super::{Mistake, wrong, wrongly_written};
use flatscape_autodiff::Application;
use flatscape_graph::Expr;

pub const MISTAKES: &[Mistake] = &[
    wrong("ReduceSum", 0, "the reduced axes come back in front", |_, ct| ct),
    wrong("ReduceMean", 0, "not divided by the count", keep),
    wrong("ReduceMean", 0, "divided by all elements", |n, ct| keep(n, ct) / n.x(0).unary("Size").cast(ct.dtype())),
    wrong("ReduceSumSquare", 0, "without the factor 2", |n, ct| n.x(0) * keep(n, ct)),
    wrong("ReduceL1", 0, "without the sign", keep),
    wrong("ReduceL2", 0, "not divided by the norm", |n, ct| n.x(0) * keep(n, ct)),
    wrong("ReduceL2", 0, "divided by the squared norm", |n, ct| {
        let norm = keep(n, n.y(0)).max(1e-12);
        n.x(0) * keep(n, ct) / (norm * norm)
    }),
    wrong("ReduceLogSum", 0, "divided by the logarithm", |n, ct| keep(n, ct) / keep(n, n.y(0))),
    wrong("ReduceLogSumExp", 0, "without normalising", |n, ct| keep(n, ct) * n.x(0).exp()),
    wrong("ReduceLogSumExp", 0, "as a mean", |n, ct| keep(n, ct) / n.elements_per(n.x(0), n.y(0))),
    wrong("ReduceProd", 0, "y / x", |n, ct| keep(n, ct) * keep(n, n.y(0)) / n.x(0)),
    wrong("ReduceMax", 0, "ties do not share", |n, ct| keep(n, ct) * reached(n)),
    wrong("ReduceMax", 0, "the mask is forgotten", keep),
    wrong("ReduceMin", 0, "ties do not share", |n, ct| keep(n, ct) * reached(n)),
    wrong("ReduceMin", 0, "with a sign", |n, ct| -right(n, 0, ct)),
    wrong("Softmax", 0, "the axis is always the last", |n, ct| n.y(0) * (ct - (ct * n.y(0)).sum(&[-1], true))),
    wrong("Softmax", 0, "only the diagonal of the Jacobian", |n, ct| n.y(0) * (ct - ct * n.y(0))),
    wrong("Softmax", 0, "the sum lacks the probabilities", |n, ct| n.y(0) * (ct - ct.sum(&[n.int("axis", -1)], true))),
    wrong("LogSoftmax", 0, "the axis is always the last", |n, ct| ct - n.y(0).exp() * ct.sum(&[-1], true)),
    wrong("LogSoftmax", 0, "as for softmax", |n, ct| {
        let y = n.y(0);
        y * (ct - (ct * y).sum(&[n.int("axis", -1)], true))
    }),
    wrong("LogSoftmax", 0, "the cotangents are not summed", |n, ct| ct - n.y(0).exp() * ct),
    wrong("SoftmaxCrossEntropyLoss", 0, "with a sign", |n, ct| -right(n, 0, ct)),
    wrong("SoftmaxCrossEntropyLoss", 0, "divided by the logits' number", |n, ct| {
        right(n, 0, ct) / n.x(0).unary("Size").cast(ct.dtype())
    }),
    wrongly_written("NegativeLogLikelihoodLoss", "the weights are forgotten", |n| {
        written_with(n, |node| node.inputs.truncate(2))
    }),
    wrongly_written("NegativeLogLikelihoodLoss", "summed always", |n| {
        written_with(n, |node| set(node, "reduction", Some("sum".into())))
    }),
    wrongly_written("NegativeLogLikelihoodLoss", "labels that should be ignored count", |n| {
        written_with(n, |node| set(node, "ignore_index", None))
    }),
];

/// A reduced value with its axes back, as `ReduceSum` gives them.
fn keep<'b>(n: &Application<'b>, reduced: Expr<'b>) -> Expr<'b> {
    by_rule_of("ReduceSum", n, 0, reduced)
}

fn reached<'b>(n: &Application<'b>) -> Expr<'b> {
    n.x(0).equal(keep(n, n.y(0))).cast(n.x(0).dtype())
}
