//! Mistakes that only the second derivative shows: the formula gives the right cotangent and hides a value behind a step.

use super::altered::{by_rule_of, detached, edited, right};
use super::{Mistake, wrong};

pub const MISTAKES: &[Mistake] = &[
    wrong("Mul", 0, "the other factor is detached", |n, ct| ct * detached(n.x(1))),
    wrong("Div", 0, "the divisor is detached", |n, ct| ct / detached(n.x(1))),
    wrong("Exp", 0, "the result is detached", |n, ct| ct * detached(n.y(0))),
    wrong("Log", 0, "the operand is detached", |n, ct| ct / detached(n.x(0))),
    wrong("Sqrt", 0, "the result is detached", |n, ct| ct * 0.5 / detached(n.y(0))),
    wrong("Tanh", 0, "the result is detached", |n, ct| {
        let y = detached(n.y(0));
        ct * (y.scalar(1.0) - y * y)
    }),
    wrong("Sigmoid", 0, "the result is detached", |n, ct| {
        let y = detached(n.y(0));
        ct * (y * (y.scalar(1.0) - y))
    }),
    wrong("Softplus", 0, "the slope is detached", |n, ct| ct * detached(n.x(0).sigmoid())),
    wrong("Sin", 0, "the slope is detached", |n, ct| ct * detached(n.x(0).unary("Cos"))),
    wrong("Neg", 0, "the cotangent is detached", |_, ct| -detached(ct)),
    wrong("Transpose", 0, "the cotangent is detached", |n, ct| right(n, 0, detached(ct))),
    wrong("MatMul", 0, "the other factor is detached", |n, ct| {
        let b = detached(n.x(1));
        if n.rank(0) == Ok(2) && n.rank(1) == Ok(2) { ct.matmul(b.transpose_last()) } else { right(n, 0, ct) }
    }),
    wrong("Gemm", 0, "the result is detached", |n, ct| detached(right(n, 0, ct))),
    wrong("Conv", 0, "the gradient of x is detached from the kernel", |n, ct| {
        edited(right(n, 0, ct), "ConvTranspose", &|b, node| {
            node.inputs[1] = node.inputs[1].map(|kernel| detached(b.expr(kernel)).id);
        })
    }),
    wrong("Conv", 1, "the gradient of the kernel is detached", |n, ct| detached(right(n, 1, ct))),
    wrong("MaxPool", 0, "the cotangent is detached", |n, ct| right(n, 0, detached(ct))),
    wrong("AveragePool", 0, "the cotangent is detached", |n, ct| right(n, 0, detached(ct))),
    wrong("Softmax", 0, "the result is detached", |n, ct| {
        let y = detached(n.y(0));
        y * (ct - (ct * y).sum(&[n.int("axis", -1)], true))
    }),
    wrong("LogSoftmax", 0, "the probabilities are detached", |n, ct| {
        ct - detached(n.y(0).exp()) * ct.sum(&[n.int("axis", -1)], true)
    }),
    wrong("ReduceLogSumExp", 0, "the weights are detached", |n, ct| {
        let weights = detached(right(n, 0, n.zeros_like(ct) + 1.0));
        by_rule_of("ReduceSum", n, 0, ct) * weights
    }),
    wrong("ReduceSumSquare", 0, "x is detached", |n, ct| detached(n.x(0)) * by_rule_of("ReduceSum", n, 0, ct) * 2.0),
    wrong("LayerNormalization", 0, "the gradient is detached", |n, ct| detached(right(n, 0, ct))),
    wrong("BatchNormalization", 0, "the cotangent is detached", |n, ct| right(n, 0, detached(ct))),
    wrong("Pow", 0, "the slope is detached", |n, ct| ct * detached(right(n, 0, n.zeros_like(ct) + 1.0))),
    wrong("Gather", 0, "the cotangent is detached", |n, ct| right(n, 0, detached(ct))),
    wrong("Slice", 0, "the cotangent is detached", |n, ct| right(n, 0, detached(ct))),
    wrong("Pad", 0, "the cotangent is detached", |n, ct| right(n, 0, detached(ct))),
];
