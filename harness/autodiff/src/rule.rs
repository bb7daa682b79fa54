//! What a rule is: an operator, how a cotangent passes it, and where that is a convention. Knows no operator by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use flatscape_graph::Expr;

use crate::rules::{MARKS, RULES};
use crate::site::Site;

/// The cotangent of one operand, given the cotangent of the first result.
pub type Formula = for<'s, 'b> fn(&'s Site<'b>, Expr<'b>) -> Expr<'b>;

/// The cotangent of the operand at a position, for operators with any number of operands.
pub type EachFormula = for<'s, 'b> fn(&'s Site<'b>, usize, Expr<'b>) -> Expr<'b>;

/// How a cotangent passes an operator.
#[derive(Clone, Copy)]
pub enum Kind {
    /// One formula per operand, in the order of the operands.
    Vjp(&'static [Formula]),
    /// The same formula for every operand.
    Each(EachFormula),
    /// The derivative is zero wherever it exists: the cotangent stops here.
    Flat,
    /// Differentiating is a mistake; the reason is a clause («its output length depends on its input»).
    Never(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The operator of the standard domain.
    pub op: &'static str,
    /// How a cotangent passes it.
    pub kind: Kind,
    /// What is taken where the derivative does not exist, or what the rule leaves out; empty where it is exact everywhere.
    pub kink: &'static str,
    /// Whether operands beyond the stated formulas carry no derivative. Otherwise asking for one is refused.
    pub rest_flat: bool,
    /// Whether the formulas read the cotangents of all results. Otherwise only the first result may have one.
    pub all_results: bool,
}

impl Rule {
    /// States the convention where the derivative does not exist.
    pub(crate) const fn kink(self, kink: &'static str) -> Rule {
        Rule { kink, ..self }
    }

    /// States that operands beyond the formulas carry no derivative.
    pub(crate) const fn rest_flat(self) -> Rule {
        Rule { rest_flat: true, ..self }
    }

    /// States that the formulas read the cotangents of all results.
    pub(crate) const fn all_results(self) -> Rule {
        Rule { all_results: true, ..self }
    }

    /// Whether the operand at this position carries a derivative as far as this rule says.
    pub(crate) fn passes(&self, operand: usize) -> bool {
        match self.kind {
            Kind::Flat => false,
            Kind::Vjp(formulas) => operand < formulas.len() || !self.rest_flat,
            Kind::Each(_) | Kind::Never(_) => true,
        }
    }
}

/// A rule with one formula per operand.
pub(crate) const fn vjp(op: &'static str, formulas: &'static [Formula]) -> Rule {
    Rule { op, kind: Kind::Vjp(formulas), kink: "", rest_flat: false, all_results: false }
}

/// A rule with the same formula for every operand.
pub(crate) const fn each(op: &'static str, formula: EachFormula) -> Rule {
    Rule { op, kind: Kind::Each(formula), kink: "", rest_flat: false, all_results: false }
}

/// An operator whose derivative is zero wherever it exists.
pub(crate) const fn flat(op: &'static str) -> Rule {
    Rule { op, kind: Kind::Flat, kink: "", rest_flat: false, all_results: false }
}

/// An operator that must not be differentiated, and why.
pub(crate) const fn never(op: &'static str, reason: &'static str) -> Rule {
    Rule { op, kind: Kind::Never(reason), kink: "", rest_flat: false, all_results: false }
}

/// The row of an operator of the standard domain, or of one of the functions of the domain `flatscape` that mark a graph.
pub fn rule_for(domain: &str, op: &str) -> Option<&'static Rule> {
    if domain == flatscape_graph::ops::FUNCTIONS {
        return MARKS.iter().find(|rule| rule.op == op);
    }
    static BY_NAME: LazyLock<HashMap<&'static str, &'static Rule>> =
        LazyLock::new(|| RULES.iter().map(|rule| (rule.op, rule)).collect());
    if matches!(domain, "" | "ai.onnx") { BY_NAME.get(op).copied() } else { None }
}
