//! Operators that tract computes in single precision, or not at all, where their numbers are double.

use flatscape_graph::{Attributes, Expr, Node};
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_hir::tract_core::ops::element_wise::ElementWiseMiniOp;

use super::missing::{Form, Site, powers};
use crate::lower;

/// Every operator with what is written for it.
pub(super) const FORMS: &[(&str, Form)] = &[
    ("Gemm", product),
    ("Sigmoid", |n| Some(vec![element(SIGMOID, n.x(0)?)])),
    ("Relu", |n| Some(vec![element(RELU, n.x(0)?)])),
    ("Erf", |n| Some(vec![element(ERF, n.x(0)?)])),
    ("Round", |n| Some(vec![element(ROUND, n.x(0)?)])),
    ("HardSwish", |n| {
        // x · clip(x/6 + 1/2, 0, 1)
        let x = n.x(0)?;
        Some(vec![x * (x / 6.0 + 0.5).max(0.0).min(1.0)])
    }),
    ("LeakyRelu", |n| {
        let x = n.x(0)?;
        Some(vec![x.less(0.0).select(x * f64::from(n.node.attributes.float("alpha", 0.01)), x)])
    }),
    ("Selu", |n| {
        // γ·x above 0, γα·(eˣ − 1) below
        let (x, factor) = (n.x(0)?, |name, usual| f64::from(n.node.attributes.float(name, usual)));
        let below = (x.min(0.0).exp() - 1.0) * factor("alpha", 1.673_263_2);
        Some(vec![x.less(0.0).select(below, x) * factor("gamma", 1.050_701)])
    }),
    ("LayerNormalization", layer_normalization),
    ("InstanceNormalization", instance_normalization),
    ("Mul", |n| {
        let x = n.x(0)?;
        (x.id == n.x(1)?.id).then(|| vec![square(x)])
    }),
    ("Pow", |n| {
        let exponents = n.builder.graph().constant(n.x(1)?.id)?.clone();
        let squares = !exponents.to_f64().is_empty() && exponents.to_f64().iter().all(|&e| e == 2.0);
        if squares { Some(vec![square(n.expanded(n.x(0)?, exponents.shape()))]) } else { powers(n) }
    }),
];

/// x², in a form that tract does not recognise: it computes the mean of its own squares in single precision.
pub(super) fn square(x: Expr<'_>) -> Expr<'_> {
    element(SQUARE, x)
}

/// α·A'·B' + β·C. tract multiplies a double C by a float β.
fn product<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let attributes = &n.node.attributes;
    let turned = |place, name| Some(if attributes.int(name, 0) == 0 { n.x(place)? } else { n.x(place)?.transpose(&[1, 0]) });
    let scaled = |x: Expr<'b>, name| match attributes.float(name, 1.0) {
        1.0 => x,
        factor => x * f64::from(factor),
    };
    let product = scaled(turned(0, "transA")?.matmul(turned(1, "transB")?), "alpha");
    Some(vec![n.x(2).map_or(product, |c| product + scaled(c, "beta"))])
}

/// y = γ·(x − μ)/√(σ² + ε) + β over the axes from one on; also μ and 1/√(σ² + ε).
fn layer_normalization<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let (x, rank) = (n.x(0)?, n.x(0)?.rank()? as i64);
    let first = n.node.attributes.int("axis", -1);
    let axes: Vec<i64> = (if first < 0 { first + rank } else { first }..rank).collect();
    let (y, mean, scale) = normalized(n, x, &axes);
    let y = y * n.x(1)?;
    Some(vec![n.x(2).map_or(y, |bias| y + bias), mean, scale])
}

/// y = γ·(x − μ)/√(σ² + ε) + β over the axes behind the channels.
fn instance_normalization<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let (x, rank) = (n.x(0)?, n.x(0)?.rank()? as i64);
    let axes: Vec<i64> = (2..rank).collect();
    let spread = |place| Some(n.x(place)?.unsqueeze(&(1..rank - 1).collect::<Vec<_>>()));
    Some(vec![normalized(n, x, &axes).0 * spread(1)? + spread(2)?])
}

/// (x − μ)/√(σ² + ε), μ and 1/√(σ² + ε).
fn normalized<'b>(n: &Site<'b>, x: Expr<'b>, axes: &[i64]) -> (Expr<'b>, Expr<'b>, Expr<'b>) {
    let mean = x.mean(axes, true);
    let centred = x - mean;
    let variance = square(centred).mean(axes, true);
    let scale = (variance + f64::from(n.node.attributes.float("epsilon", 1e-5))).sqrt().reciprocal();
    (centred * scale, mean, scale)
}

/// The same function of every element.
#[derive(Clone, Copy)]
struct Element {
    name: &'static str,
    of: fn(&mut [f64]),
}

/// In place, one element after the other.
fn each(numbers: &mut [f64], of: impl Fn(f64) -> f64) {
    for number in numbers {
        *number = of(*number);
    }
}

const SIGMOID: Element = Element { name: "Sigmoid64", of: |all| each(all, |x| 1.0 / (1.0 + (-x).exp())) };
const ERF: Element = Element { name: "Erf64", of: |all| each(all, libm::erf) };
const ROUND: Element = Element { name: "Round64", of: |all| each(all, f64::round_ties_even) };
const SQUARE: Element = Element { name: "Square64", of: |all| each(all, |x| x * x) };
const RELU: Element = Element { name: "Relu64", of: |all| each(all, |x| if x < 0.0 { 0.0 } else { x }) };

/// Adds the functions to the operators that tract reads.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    const ALL: [Element; 5] = [SIGMOID, ERF, ROUND, SQUARE, RELU];
    for element in ALL {
        operators.insert(element.name, |_, node| {
            let named = ALL.into_iter().find(|element| element.name == node.op_type);
            let element = named.ok_or_else(|| format_err!("{} is not an operator of the engine", node.op_type))?;
            Ok((expand(ElementWiseOp(Box::new(element))), Vec::new()))
        });
    }
}

/// A function of every element of x.
fn element(function: Element, x: Expr<'_>) -> Expr<'_> {
    let builder = x.builder();
    let mut graph = builder.graph_mut();
    let ty = graph.value(x.id).ty.clone();
    let made = lower::pushed(&mut graph, Node::new(function.name, &[x.id], Attributes::none()), &ty);
    builder.expr(made)
}

impl std::fmt::Debug for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        self.name == other.name
    }
}

impl Eq for Element {}

impl ElementWiseMiniOp for Element {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn eval_in_place(&self, t: &mut Tensor, _: Option<DatumType>) -> TractResult<()> {
        (self.of)(t.try_as_plain_ram_mut()?.as_slice_mut::<f64>()?);
        Ok(())
    }
}
