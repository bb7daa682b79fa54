//! Elementwise rules. A dead branch is selected away and not multiplied by 0, so that what is infinite there does not become NaN.
//! A formula may give the extents of the result: the driver sums where the operand was broadcast.

use std::f64::consts::FRAC_2_SQRT_PI;

use flatscape_graph::{DType, Expr};

use crate::application::{Application, TINY, one_minus, only_where};
use crate::rule::{Rule, each, vjp};

pub(super) const RULES: &[Rule] = &[
    // y = a + b          ā = ȳ             b̄ = ȳ
    vjp("Add", &[|_, ct| ct, |_, ct| ct]).passes_integers(),
    // y = a − b          ā = ȳ             b̄ = −ȳ
    vjp("Sub", &[|_, ct| ct, |_, ct| -ct]).passes_integers(),
    // y = a · b          ā = ȳ · b         b̄ = a · ȳ
    vjp("Mul", &[|n, ct| ct * n.x(1), |n, ct| n.x(0) * ct]),
    // y = a / b          ā = ȳ / b         b̄ = −ȳ · y / b
    vjp("Div", &[|n, ct| ct / n.x(1), |n, ct| -(ct * n.y(0) / n.x(1))]),
    // y = a ^ b          ā = ȳ · b · a^(b−1)           b̄ = ȳ · y · ln a for a > 0, else 0
    vjp(
        "Pow",
        &[power_base, |n, ct| {
            let a = n.x(0);
            let safe = a.greater(0.0).select(a, a.scalar(1.0));
            (only_where(a.greater(0.0), ct) * n.y(0) * safe.log()).cast(n.x(1).dtype())
        }],
    )
    .kink("0 at the base 0 under an exponent below 1; the exponent's is 0 where the base is not positive"),
    // y = a − b · trunc(a/b)               ā = ȳ             b̄ = −ȳ · (a − y)/b
    vjp("Mod", &[|_, ct| ct, |n, ct| -(ct * ((n.x(0) - n.y(0)) / n.x(1)))]).kink("1 at the jumps"),
    // y = Σᵢ xᵢ          x̄ᵢ = ȳ
    each("Sum", |_, _, ct| ct),
    // y = (1/k) Σᵢ xᵢ    x̄ᵢ = ȳ / k
    each("Mean", |n, _, ct| ct * (1.0 / n.operands() as f64)),
    // y = maxᵢ xᵢ        x̄ᵢ = ȳ · [xᵢ = y and no earlier operand does]
    each("Max", |n, i, ct| only_where(first_to_reach(n, i, |earlier, y| earlier.less(y)), ct)).kink("ties to the first operand"),
    // y = minᵢ xᵢ        x̄ᵢ = ȳ · [xᵢ = y and no earlier operand does]
    each("Min", |n, i, ct| only_where(first_to_reach(n, i, |earlier, y| earlier.greater(y)), ct))
        .kink("ties to the first operand"),
    // y = c ? a : b      ā = c ? ȳ : 0     b̄ = c ? 0 : ȳ
    vjp("Where", &[stop, |n, ct| n.x(0).select(ct, ct.scalar(0.0)), |n, ct| n.x(0).select(0.0, ct)]),
    // y = clip(x, l, h)  x̄ = ȳ · [l ≤ x ≤ h]          l̄ = ȳ · [x < l]     h̄ = ȳ · [x > h]
    vjp(
        "Clip",
        &[
            |n, ct| {
                let x = n.x(0);
                let inside = [n.optional(1).map(|low| x.at_least(low)), n.optional(2).map(|high| x.at_most(high))];
                let inside = inside.into_iter().flatten().reduce(Expr::and);
                inside.map_or(ct, |inside| only_where(inside, ct))
            },
            |n, ct| only_where(n.x(0).less(n.x(1)), ct),
            |n, ct| only_where(n.x(0).greater(n.x(2)), ct),
        ],
    )
    .kink("1 on the closed interval"),
    // y = x              x̄ = ȳ
    vjp("Identity", &[|_, ct| ct]).passes_integers(),
    // y = x as another float type          x̄ = ȳ as the type of x
    vjp("Cast", &[|n, ct| ct.cast(n.carried(0))]).passes_integers(),
    vjp("CastLike", &[|n, ct| ct.cast(n.carried(0))]).rest_flat().passes_integers(),
    // y = −x             x̄ = −ȳ
    vjp("Neg", &[|_, ct| -ct]),
    // y = |x|            x̄ = ȳ · sign x
    vjp("Abs", &[|n, ct| signed(n.x(0), ct)]).kink("0 at 0"),
    // y = eˣ             x̄ = ȳ · y
    vjp("Exp", &[|n, ct| ct * n.y(0)]),
    // y = ln x           x̄ = ȳ / x
    vjp("Log", &[|n, ct| ct / n.x(0)]),
    // y = √x             x̄ = ȳ / 2y                       0 at 0
    vjp("Sqrt", &[|n, ct| half_over(n.y(0), ct)]).kink("0 at 0"),
    // y = 1/x            x̄ = −ȳ · y²
    vjp("Reciprocal", &[|n, ct| -(ct * n.y(0) * n.y(0))]),
    // y = relu(x)        x̄ = ȳ · [y > 0]
    vjp("Relu", &[|n, ct| only_where(n.y(0).greater(0.0), ct)]).kink("0 at 0"),
    // y = x < 0 ? αx : x                   x̄ = ȳ · (x < 0 ? α : 1)
    vjp(
        "LeakyRelu",
        &[|n, ct| match n.float("alpha", 0.01) {
            0.0 => only_where(n.x(0).at_least(0.0), ct),
            alpha => ct * n.x(0).less(0.0).select(alpha, ct.scalar(1.0)),
        }],
    )
    .kink("1 at 0"),
    // y = x < 0 ? sx : x                   x̄ = ȳ · (x < 0 ? s : 1)            s̄ = ȳ · (x < 0 ? x : 0)
    vjp(
        "PRelu",
        &[
            |n, ct| {
                let slope = n.x(0).less(0.0).select(n.x(1), ct.scalar(1.0));
                only_where(slope.equal(slope.scalar(0.0)).negate(), ct) * slope
            },
            |n, ct| only_where(n.x(0).less(0.0), ct) * n.x(0),
        ],
    )
    .kink("1 at 0"),
    // y = x < 0 ? α(eˣ − 1) : x            x̄ = ȳ · (x < 0 ? y + α : 1)
    vjp("Elu", &[|n, ct| ct * n.x(0).less(0.0).select(n.y(0) + n.float("alpha", 1.0), ct.scalar(1.0))]).kink("1 at 0"),
    // y = x < 0 ? α(e^(x/α) − 1) : x       x̄ = ȳ · e^(min(x, 0)/α), the same as 1 + y/α, which is 0 where engines round y to −α
    vjp("Celu", &[|n, ct| ct * (n.x(0).min(0.0) * (1.0 / n.float("alpha", 1.0))).exp()]),
    // y = γ(x ≤ 0 ? α(eˣ − 1) : x)         x̄ = ȳ · (x ≤ 0 ? y + αγ : γ)
    vjp(
        "Selu",
        &[|n, ct| {
            let alpha = n.float("alpha", 1.673_263_192_176_818_8);
            let gamma = n.float("gamma", 1.050_701_022_148_132_3);
            ct * n.x(0).at_most(0.0).select(n.y(0) + alpha * gamma, ct.scalar(gamma))
        }],
    )
    .kink("αγ at 0"),
    // y = x > α ? x : 0                    x̄ = ȳ · [x > α]
    vjp("ThresholdedRelu", &[|n, ct| only_where(n.x(0).greater(n.float("alpha", 1.0)), ct)]).kink("0 at α"),
    // y = x < −λ ? x + b : x > λ ? x − b : 0                x̄ = ȳ · [|x| > λ]
    vjp("Shrink", &[|n, ct| only_where(n.x(0).abs().greater(n.float("lambd", 0.5)), ct)]).kink("0 at ±λ"),
    // y = σ(x)           x̄ = ȳ · e / (1 + e)², e = e^(−|x|)
    // The same as y · (1 − y), but engines round y to 0 or 1 where its slope is small and not 0, and attacks stop there.
    vjp(
        "Sigmoid",
        &[|n, ct| {
            let e = (-n.x(0).abs()).exp();
            let d = e + 1.0;
            ct * (e / (d * d))
        }],
    ),
    // y = clip(αx + β, 0, 1)               x̄ = ȳ · α · [0 < y < 1]
    vjp("HardSigmoid", &[|n, ct| only_where(between_0_and_1(n.y(0)), ct) * n.float("alpha", 0.2)]).kink("0 at both kinks"),
    // y = x · clip(x/6 + ½, 0, 1)          x̄ = ȳ · (|x| < 3 ? x/3 + ½ : [x > 0])
    vjp(
        "HardSwish",
        &[|n, ct| {
            let x = n.x(0);
            only_where(x.abs().less(3.0), ct) * (x * (1.0 / 3.0) + 0.5) + only_where(x.at_least(3.0), ct)
        }],
    )
    .kink("0 at −3, 1 at 3"),
    // y = tanh x         x̄ = ȳ · (1 − y²)
    vjp("Tanh", &[|n, ct| ct * one_minus(n.y(0) * n.y(0))]),
    // y = ln(1 + eˣ)     x̄ = ȳ · σ(x)
    vjp("Softplus", &[|n, ct| ct * n.x(0).sigmoid()]),
    // y = x / (1 + |x|)  x̄ = ȳ / (1 + |x|)²
    vjp(
        "Softsign",
        &[|n, ct| {
            let d = n.x(0).abs() + 1.0;
            ct / (d * d)
        }],
    ),
    // y = x · tanh(s), s = ln(1 + eˣ)      x̄ = ȳ · (t + x · σ(x) · (1 − t²)), t = tanh s
    vjp(
        "Mish",
        &[|n, ct| {
            let x = n.x(0);
            let t = x.unary("Softplus").tanh();
            ct * (t + x * x.sigmoid() * one_minus(t * t))
        }],
    ),
    // y = erf x          x̄ = ȳ · 2/√π · e^(−x²)
    vjp("Erf", &[|n, ct| ct * (-(n.x(0) * n.x(0))).exp() * FRAC_2_SQRT_PI]),
    // circular and hyperbolic functions
    vjp("Sin", &[|n, ct| ct * n.x(0).unary("Cos")]),
    vjp("Cos", &[|n, ct| -(ct * n.x(0).unary("Sin"))]),
    vjp("Tan", &[|n, ct| ct * (n.y(0) * n.y(0) + 1.0)]),
    vjp("Asin", &[|n, ct| ct / one_minus(n.x(0) * n.x(0)).sqrt()]).kink("infinite at ±1"),
    vjp("Acos", &[|n, ct| -(ct / one_minus(n.x(0) * n.x(0)).sqrt())]).kink("infinite at ±1"),
    vjp("Atan", &[|n, ct| ct / (n.x(0) * n.x(0) + 1.0)]),
    vjp("Sinh", &[|n, ct| ct * n.x(0).unary("Cosh")]),
    vjp("Cosh", &[|n, ct| ct * n.x(0).unary("Sinh")]),
    vjp("Asinh", &[|n, ct| ct / (n.x(0) * n.x(0) + 1.0).sqrt()]),
    vjp("Acosh", &[|n, ct| ct / (n.x(0) * n.x(0) - 1.0).sqrt()]).kink("infinite at 1"),
    vjp("Atanh", &[|n, ct| ct / one_minus(n.x(0) * n.x(0))]).kink("infinite at ±1"),
    // inference: y = x   x̄ = ȳ             training: y = x · mask / (1 − ratio), x̄ = ȳ · mask / (1 − ratio)
    vjp("Dropout", &[dropout]).rest_flat(),
];

/// The place of an operand that carries no derivative and stands before one that does.
fn stop<'b>(n: &Application<'b>, _: Expr<'b>) -> Expr<'b> {
    n.refuse("its condition is differentiated".to_owned())
}

/// ȳ / 2y, and 0 where the root y is 0.
fn half_over<'b>(y: Expr<'b>, ct: Expr<'b>) -> Expr<'b> {
    only_where(y.equal(y.scalar(0.0)).negate(), ct) * 0.5 / y.max(TINY)
}

/// ȳ · sign x, and 0 where x is 0.
pub(super) fn signed<'b>(x: Expr<'b>, ct: Expr<'b>) -> Expr<'b> {
    only_where(x.equal(x.scalar(0.0)).negate(), ct) * x.sign()
}

/// b · a^(b−1) · ȳ, and 0 where that would divide by 0: at a = 0 with b < 1. Constant exponents avoid needless powers.
fn power_base<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    let a = n.x(0);
    match n.constant_number(1) {
        Some(0.0) => n.zeros_like(a),
        Some(0.5) => half_over(n.y(0), ct),
        Some(1.0) => ct,
        Some(2.0) => ct * a * 2.0,
        Some(3.0) => ct * a * a * 3.0,
        Some(b) if b < 1.0 => {
            let zero = a.equal(a.scalar(0.0));
            only_where(zero.negate(), ct) * zero.select(1.0, a).pow(b - 1.0) * b
        }
        Some(b) => ct * a.pow(b - 1.0) * b,
        None => {
            let b = n.x(1).cast(a.dtype());
            let steep = a.equal(a.scalar(0.0)).and(b.less(1.0));
            only_where(steep.negate(), ct) * b * steep.select(1.0, a).pow(b - 1.0)
        }
    }
}

/// \[operand i equals the result and no earlier operand does\]; `misses` says that an earlier one does not.
fn first_to_reach<'b>(n: &Application<'b>, i: usize, misses: fn(Expr<'b>, Expr<'b>) -> Expr<'b>) -> Expr<'b> {
    let y = n.y(0);
    let reached = n.x(i).equal(y);
    (0..i).fold(reached, |first, j| first.and(misses(n.x(j), y)))
}

/// \[0 < v < 1\]
fn between_0_and_1(v: Expr<'_>) -> Expr<'_> {
    v.greater(0.0).and(v.less(1.0))
}

fn dropout<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    let training = match n.constant_ints(2) {
        Ok(training) => training.is_some_and(|t| t.iter().any(|&v| v != 0)),
        Err(why) => return n.refuse(why),
    };
    if !training {
        return ct;
    }
    let ratio = if n.optional(1).is_some() { n.constant_number(1) } else { Some(0.5) };
    match ratio {
        Some(ratio) if ratio < 1.0 => only_where(n.y(1).cast(DType::Bool), ct) * (1.0 / (1.0 - ratio)),
        Some(_) => n.zeros_like(ct),
        None => n.refuse("its ratio is computed and would have to be a constant".to_owned()),
    }
}
