//! Rules of softmax, its logarithm, and the loss that is made of it.

use flatscape_graph::{Attribute, DType, Dim, Expr, Tensor};

use crate::application::{Application, one_minus};
use crate::rule::{Rule, vjp, written};

pub(super) const RULES: &[Rule] = &[
    // y = softmax(x)     x̄ = y · (d − Σ d·y), d = ȳ − Σ ȳ·y
    // Σ d·y is 0 but for rounding. Where one y is almost 1, its d is a difference of nearly equal numbers; the second time takes that
    // error out, to any order.
    vjp(
        "Softmax",
        &[|n, ct| {
            let (y, axis) = (n.y(0), [n.int("axis", -1)]);
            let d = ct - (ct * y).sum(&axis, true);
            y * (d - (d * y).sum(&axis, true))
        }],
    ),
    // y = ln softmax(x)  x̄ = ȳ − e^y · Σ ȳ
    vjp("LogSoftmax", &[|n, ct| ct - n.y(0).exp() * ct.sum(&[n.int("axis", -1)], true)]),
    // y = −ln softmax(x)[l]                x̄ⱼ = ȳ · pⱼ for j ≠ l,  x̄ₗ = −ȳ · Σ pⱼ over j ≠ l     (never pₗ − 1, which cancels)
    vjp("SoftmaxCrossEntropyLoss", &[|n, ct| n.or_refuse(cross_entropy(n, ct))]),
    // y = −w[l] · x[l], summed, averaged by the weights, or as it is
    written("NegativeLogLikelihoodLoss", negative_log_likelihood),
];

fn cross_entropy<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    if n.optional(2).is_some() || n.node().attributes.get("ignore_index").is_some() {
        return Err("it weighs or ignores classes".to_owned());
    }
    let (x, b) = (n.x(0), n.builder());
    let dims = n.dims(0)?;
    let classes = dims.get(1).and_then(Dim::fixed).ok_or("the number of classes is unknown")?;
    let mut along = vec![1; dims.len() - 1];
    along[0] = classes as i64;
    let numbers = b.ints(&(0..classes as i64).collect::<Vec<_>>()).reshape(&along);
    let label = n.x(1).cast(DType::I64).unsqueeze(&[1]).equal(numbers).cast(x.dtype());
    let others = x.softmax(1) * one_minus(label);
    let gradient = others - label * others.sum(&[1], true);
    Ok(match n.string("reduction", "mean").as_str() {
        "none" => ct.unsqueeze(&[1]) * gradient,
        "sum" => ct * gradient,
        _ => ct * (classes as f64) / n.elements_per(x, n.y(0)) * gradient,
    })
}

/// x [N,C,…], l [N,…], w [C]. A label that is ignored weighs nothing.
fn negative_log_likelihood<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let (x, label) = (n.x(0), n.x(1).cast(DType::I64));
    let dims = n.dims(0)?;
    let classes = dims.get(1).and_then(Dim::fixed).ok_or("the number of classes is unknown")?;
    let mut along = vec![1; dims.len() - 1];
    along[0] = classes as i64;
    let numbers = n.builder().ints(&(0..classes as i64).collect::<Vec<_>>()).reshape(&along);
    let mut weights = label.unsqueeze(&[1]).equal(numbers).cast(x.dtype());
    if let Some(Attribute::Int(ignored)) = n.node().attributes.get("ignore_index") {
        let kept = label.equal(n.builder().constant(Tensor::scalar(*ignored))).negate();
        weights = weights * kept.unsqueeze(&[1]).cast(x.dtype());
    }
    if let Some(w) = n.optional(2) {
        weights = weights * w.reshape(&along);
    }
    let losses = -(x * weights).sum(&[1], false);
    let all: Vec<i64> = (0..dims.len() as i64).collect();
    Ok(vec![match n.string("reduction", "mean").as_str() {
        "none" => losses,
        "sum" => losses.sum(&all[1..].iter().map(|a| a - 1).collect::<Vec<_>>(), false),
        _ => -(x * weights).sum(&all, false) / weights.sum(&all, false),
    }])
}
