//! Rules of softmax, its logarithm, and the loss that is made of it.

use flatscape_graph::{DType, Dim, Expr};

use crate::rule::{Rule, vjp};
use crate::site::{Site, one_minus};

pub(super) const RULES: &[Rule] = &[
    // y = softmax(x)     x̄ = y · (ȳ − Σ ȳ·y)
    vjp(
        "Softmax",
        &[|n, ct| {
            let y = n.y(0);
            y * (ct - (ct * y).sum(&[n.int("axis", -1)], true))
        }],
    ),
    // y = ln softmax(x)  x̄ = ȳ − e^y · Σ ȳ
    vjp("LogSoftmax", &[|n, ct| ct - n.y(0).exp() * ct.sum(&[n.int("axis", -1)], true)]),
    // y = −ln softmax(x)[l]                x̄ⱼ = ȳ · pⱼ for j ≠ l,  x̄ₗ = −ȳ · Σ pⱼ over j ≠ l     (never pₗ − 1, which cancels)
    vjp("SoftmaxCrossEntropyLoss", &[|n, ct| n.or_refuse(cross_entropy(n, ct))]),
];

fn cross_entropy<'b>(n: &Site<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
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
