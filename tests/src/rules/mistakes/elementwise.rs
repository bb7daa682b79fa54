//! Mistakes of elementwise rules: signs, factors, chain and product rule, kinks and ties.

use super::altered::right;
use super::{Mistake, wrong, wrong_each};

pub const MISTAKES: &[Mistake] = &[
    wrong("Sub", 1, "the second operand keeps its sign", |_, ct| ct),
    wrong("Mul", 0, "multiplied by itself", |n, ct| ct * n.x(0)),
    wrong("Mul", 1, "multiplied by the result", |n, ct| ct * n.y(0)),
    wrong("Div", 0, "multiplied by the divisor", |n, ct| ct * n.x(1)),
    wrong("Div", 1, "the divisor has no sign", |n, ct| ct * n.y(0) / n.x(1)),
    wrong("Div", 1, "divided by b where b² should be", |n, ct| -(ct * n.x(0) / n.x(1))),
    wrong("Pow", 0, "the exponent is not reduced", |n, ct| ct * n.x(1).cast(ct.dtype()) * n.y(0)),
    wrong("Pow", 0, "the exponent is missing as a factor", |n, ct| ct * n.y(0) / n.x(0)),
    wrong("Pow", 1, "without the logarithm of the base", |n, ct| (ct * n.y(0)).cast(n.x(1).dtype())),
    wrong("Mod", 0, "zero", |n, ct| n.zeros_like(ct)),
    wrong_each("Sum", "every operand but the first has a sign", |_, i, ct| if i == 0 { ct } else { -ct }),
    wrong_each("Mean", "not divided by the number of operands", |_, _, ct| ct),
    wrong_each("Max", "operands that tie all take the cotangent", |n, i, ct| ct * n.x(i).equal(n.y(0)).cast(ct.dtype())),
    wrong_each("Max", "ties to the last operand", |n, i, ct| {
        let reached = (i + 1..n.operands()).fold(n.x(i).equal(n.y(0)), |last, j| last.and(n.x(j).less(n.y(0))));
        ct * reached.cast(ct.dtype())
    }),
    wrong_each("Max", "every operand takes the cotangent", |_, _, ct| ct),
    wrong_each("Min", "operands that tie all take the cotangent", |n, i, ct| ct * n.x(i).equal(n.y(0)).cast(ct.dtype())),
    wrong_each("Min", "the greatest takes the cotangent", |n, i, ct| {
        let greatest = (0..n.operands()).map(|j| n.x(j)).reduce(|a, b| a.max(b)).expect("an operand");
        ct * n.x(i).equal(greatest).cast(ct.dtype())
    }),
    wrong("Where", 1, "the branches are exchanged", |n, ct| n.x(0).select(0.0, ct)),
    wrong("Where", 2, "the branch takes every cotangent", |_, ct| ct),
    wrong("Clip", 0, "open at the bounds", |n, ct| {
        let low = n.optional(1).map(|low| n.x(0).greater(low).cast(ct.dtype()));
        let high = n.optional(2).map(|high| n.x(0).less(high).cast(ct.dtype()));
        [low, high].into_iter().flatten().fold(ct, |ct, inside| ct * inside)
    }),
    wrong("Clip", 0, "the upper bound is forgotten", |n, ct| {
        n.optional(1).map_or(ct, |low| ct * n.x(0).at_least(low).cast(ct.dtype()))
    }),
    wrong("Clip", 1, "the lower bound takes what lies above", |n, ct| ct * n.x(0).at_least(n.x(1)).cast(ct.dtype())),
    wrong("Cast", 0, "the cast is dropped", |_, ct| ct),
    wrong("CastLike", 0, "the cast is dropped", |_, ct| ct),
    wrong("Identity", 0, "zero", |n, ct| n.zeros_like(ct)),
    wrong("Neg", 0, "without the sign", |_, ct| ct),
    wrong("Abs", 0, "without the sign", |_, ct| ct),
    wrong("Abs", 0, "1 at 0", |n, ct| ct * n.x(0).less(0.0).select(-1.0, ct.scalar(1.0))),
    wrong("Exp", 0, "multiplied by the operand", |n, ct| ct * n.x(0)),
    wrong("Log", 0, "divided by the result", |n, ct| ct / n.y(0)),
    wrong("Sqrt", 0, "without the factor ½", |n, ct| ct / n.y(0)),
    wrong("Reciprocal", 0, "without the sign", |n, ct| ct * n.y(0) * n.y(0)),
    wrong("Reciprocal", 0, "the square is forgotten", |n, ct| -(ct * n.y(0))),
    wrong("Relu", 0, "the mask is that of the cotangent", |_, ct| ct * ct.is_positive()),
    wrong("Relu", 0, "1 at 0", |n, ct| ct * n.x(0).at_least(0.0).cast(ct.dtype())),
    wrong("Relu", 0, "the mask is forgotten", |_, ct| ct),
    // what is infinite in a dead branch becomes NaN
    wrong("Relu", 0, "multiplied by a mask", |n, ct| ct * n.y(0).sign()),
    wrong("Clip", 0, "multiplied by a mask", |n, ct| {
        let low = n.optional(1).map(|low| n.x(0).at_least(low).cast(ct.dtype()));
        let high = n.optional(2).map(|high| n.x(0).at_most(high).cast(ct.dtype()));
        [low, high].into_iter().flatten().fold(ct, |ct, inside| ct * inside)
    }),
    wrong_each("Max", "multiplied by a mask", |n, i, ct| {
        let first = (0..i).fold(n.x(i).equal(n.y(0)), |first, j| first.and(n.x(j).less(n.y(0))));
        ct * first.cast(ct.dtype())
    }),
    wrong_each("Min", "multiplied by a mask", |n, i, ct| {
        let first = (0..i).fold(n.x(i).equal(n.y(0)), |first, j| first.and(n.x(j).greater(n.y(0))));
        ct * first.cast(ct.dtype())
    }),
    wrong("LeakyRelu", 0, "multiplied by a mask", |n, ct| ct * n.x(0).less(0.0).select(n.float("alpha", 0.01), ct.scalar(1.0))),
    wrong("PRelu", 0, "multiplied by a mask", |n, ct| ct * n.x(0).less(0.0).select(n.x(1), ct.scalar(1.0))),
    wrong("ThresholdedRelu", 0, "multiplied by a mask", |n, ct| ct * n.x(0).greater(n.float("alpha", 1.0)).cast(ct.dtype())),
    wrong("Shrink", 0, "multiplied by a mask", |n, ct| ct * n.x(0).abs().greater(n.float("lambd", 0.5)).cast(ct.dtype())),
    wrong("HardSigmoid", 0, "multiplied by a mask", |n, ct| {
        ct * n.y(0).greater(0.0).and(n.y(0).less(1.0)).cast(ct.dtype()) * n.float("alpha", 0.2)
    }),
    wrong("HardSwish", 0, "multiplied by a mask", |n, ct| {
        let x = n.x(0);
        ct * x.abs().less(3.0).select(x * (1.0 / 3.0) + 0.5, x.is_positive())
    }),
    wrong("LeakyRelu", 0, "the slope is the default one", |n, ct| ct * n.x(0).less(0.0).select(0.01, ct.scalar(1.0))),
    wrong("LeakyRelu", 0, "the slope at 0", |n, ct| ct * n.x(0).at_most(0.0).select(n.float("alpha", 0.01), ct.scalar(1.0))),
    wrong("PRelu", 0, "the sides are exchanged", |n, ct| ct * n.x(0).at_least(0.0).select(n.x(1), ct.scalar(1.0))),
    wrong("PRelu", 1, "the slope learns from both sides", |n, ct| ct * n.x(0)),
    wrong("Elu", 0, "α is 1", |n, ct| ct * n.x(0).less(0.0).select(n.y(0) + 1.0, ct.scalar(1.0))),
    wrong("Elu", 0, "without adding α to y", |n, ct| ct * n.x(0).less(0.0).select(n.y(0), ct.scalar(1.0))),
    wrong("Selu", 0, "γ is forgotten above 0", |n, ct| right(n, 0, ct) * n.x(0).greater(0.0).select(0.9518, ct.scalar(1.0))),
    wrong("ThresholdedRelu", 0, "the threshold is 0", |n, ct| ct * n.x(0).is_positive()),
    wrong("Sigmoid", 0, "y · (1 + y)", |n, ct| ct * n.y(0) * (n.y(0) + 1.0)),
    wrong("Sigmoid", 0, "of the cotangent", |_, ct| ct * ct.sigmoid()),
    wrong("HardSigmoid", 0, "α is 1", |n, ct| ct * n.y(0).greater(0.0).and(n.y(0).less(1.0)).cast(ct.dtype())),
    wrong("HardSigmoid", 0, "closed at the bounds", |n, ct| {
        ct * n.float("alpha", 0.2) * n.y(0).at_least(0.0).and(n.y(0).at_most(1.0)).cast(ct.dtype())
    }),
    wrong("HardSwish", 0, "the product rule is forgotten", |n, ct| {
        let x = n.x(0);
        ct * x.abs().less(3.0).select(x * (1.0 / 6.0) + 0.5, x.is_positive())
    }),
    wrong("Tanh", 0, "the square is forgotten", |n, ct| ct * (n.y(0).scalar(1.0) - n.y(0))),
    wrong("Softplus", 0, "tanh for sigmoid", |n, ct| ct * n.x(0).tanh()),
    wrong("Softsign", 0, "the square is forgotten", |n, ct| ct / (n.x(0).abs() + 1.0)),
    wrong("Softsign", 0, "without the absolute value", |n, ct| {
        let d = n.x(0) + 1.0;
        ct / (d * d)
    }),
    wrong("Mish", 0, "the product rule is forgotten", |n, ct| ct * n.x(0).unary("Softplus").tanh()),
    wrong("Erf", 0, "without 2/√π", |n, ct| ct * (-(n.x(0) * n.x(0))).exp()),
    wrong("Erf", 0, "e^(−x) for e^(−x²)", |n, ct| ct * (-n.x(0)).exp() * std::f64::consts::FRAC_2_SQRT_PI),
    wrong("Sin", 0, "with a sign", |n, ct| -(ct * n.x(0).unary("Cos"))),
    wrong("Cos", 0, "without the sign", |n, ct| ct * n.x(0).unary("Sin")),
    wrong("Cosh", 0, "with the sign of the circular function", |n, ct| -(ct * n.x(0).unary("Sinh"))),
    wrong("Tan", 0, "1 − y²", |n, ct| ct * (ct.scalar(1.0) - n.y(0) * n.y(0))),
    wrong("Asin", 0, "1 + x²", |n, ct| ct / (n.x(0) * n.x(0) + 1.0).sqrt()),
    wrong("Acos", 0, "without the sign", |n, ct| ct / (ct.scalar(1.0) - n.x(0) * n.x(0)).sqrt()),
    wrong("Atan", 0, "with a root", |n, ct| ct / (n.x(0) * n.x(0) + 1.0).sqrt()),
    wrong("Acosh", 0, "x² + 1", |n, ct| ct / (n.x(0) * n.x(0) + 1.0).sqrt()),
    wrong("Atanh", 0, "1 + x²", |n, ct| ct / (n.x(0) * n.x(0) + 1.0)),
    wrong("Mod", 1, "without the sign", |n, ct| -right(n, 1, ct)),
    wrong("Celu", 0, "α is 1", |n, ct| ct * n.x(0).min(0.0).exp()),
    wrong("Shrink", 0, "the threshold is forgotten", |_, ct| ct),
    wrong("Shrink", 0, "only positive numbers pass", |n, ct| ct * n.x(0).greater(n.float("lambd", 0.5)).cast(ct.dtype())),
];
