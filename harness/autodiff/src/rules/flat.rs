//! Operators whose derivative is zero wherever it exists, and those that must not be differentiated.

use crate::rule::{Rule, flat, never};

pub(super) const RULES: &[Rule] = &[
    // steps
    flat("Ceil").kink("0 at the steps"),
    flat("Floor").kink("0 at the steps"),
    flat("Round").kink("0 at the steps"),
    flat("Sign").kink("0 at 0"),
    flat("Hardmax").kink("0 at ties"),
    // comparisons and logic
    flat("And"),
    flat("BitShift"),
    flat("BitwiseAnd"),
    flat("BitwiseNot"),
    flat("BitwiseOr"),
    flat("BitwiseXor"),
    flat("Equal"),
    flat("Greater"),
    flat("GreaterOrEqual"),
    flat("IsInf"),
    flat("IsNaN"),
    flat("Less"),
    flat("LessOrEqual"),
    flat("Not"),
    flat("Or"),
    flat("Xor"),
    // positions and extents
    flat("ArgMax"),
    flat("ArgMin"),
    flat("NonZero"),
    flat("Shape"),
    flat("Size"),
    // constants and draws
    flat("Bernoulli"),
    flat("Constant"),
    flat("ConstantOfShape"),
    flat("EyeLike"),
    flat("Multinomial"),
    flat("OneHot"),
    flat("RandomNormal"),
    flat("RandomNormalLike"),
    flat("RandomUniform"),
    flat("RandomUniformLike"),
    flat("Range"),
    // refused
    never("Compress", "its output length depends on its input"),
    never("NonMaxSuppression", "its output length depends on its input"),
    never("Unique", "its output length depends on its input"),
];
