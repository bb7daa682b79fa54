//! Functions of the domain `flatscape` that say how a cotangent passes and compute nothing. They are taken out of a graph again
//! before it runs, see [`crate::without_marks`].

use crate::rule::{Rule, flat, vjp};

pub(crate) const RULES: &[Rule] = &[
    // y = the second operand               s̄ = ȳ for the first operand s; nothing for the second
    vjp("Surrogate", &[|_, ct| ct]).rest_flat().surrogate("the derivative is that of the first operand everywhere"),
    // y = x                                the cotangent stops
    flat("Detach"),
];
