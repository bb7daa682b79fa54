//! What a rule is: an operator, how a cotangent passes it, and how far the result is a derivative. Knows no operator by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use flatscape_graph::Expr;

use crate::application::Application;
use crate::rules::{MARKS, RULES};

/// The cotangent of one operand, given the cotangent of the first result.
pub type Formula = for<'s, 'b> fn(&'s Application<'b>, Expr<'b>) -> Expr<'b>;

/// The cotangent of the operand at a position, for operators with any number of operands.
pub type EachFormula = for<'s, 'b> fn(&'s Application<'b>, usize, Expr<'b>) -> Expr<'b>;

/// The results of an operator, written with operators that have rules.
pub type Written = for<'s, 'b> fn(&'s Application<'b>) -> Result<Vec<Expr<'b>>, String>;

/// How a cotangent passes an operator.
#[derive(Clone, Copy)]
pub enum Passage {
    /// One formula per operand, in the order of the operands.
    Vjp(&'static [Formula]),
    /// The same formula for every operand.
    Each(EachFormula),
    /// The operator is written with others, and the cotangent passes those.
    Written(Written),
    /// The operator is rewritten before differentiation; the clause says as what. One that is still there is refused.
    Before(&'static str),
    /// The derivative is zero wherever it exists: the cotangent stops here.
    Flat,
    /// Differentiating is a mistake; the reason is a clause («its output length depends on its input»).
    Never(&'static str),
}

/// How far what a rule gives is the derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It is the derivative, everywhere.
    Exact,
    /// It is the derivative but at kinks and ties, where a convention is taken.
    AlmostEverywhere,
    /// The derivative is zero or does not exist, and something useful is put in its place: a quantiser is passed straight through.
    Surrogate,
}

impl Class {
    /// In words: `exact`, `almost everywhere`, `surrogate`.
    pub fn words(self) -> &'static str {
        match self {
            Class::Exact => "exact",
            Class::AlmostEverywhere => "almost everywhere",
            Class::Surrogate => "surrogate",
        }
    }
}

/// What becomes of a cotangent that stands for an integer: the way from a quantiser to where its numbers are floats again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integers {
    /// Integer results have no cotangent.
    Stop,
    /// Integer results have one where an integer operand has one.
    Pass,
    /// Integer results have one where any operand has one.
    Start,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The operator of the standard domain.
    pub op: &'static str,
    /// How a cotangent passes it.
    pub kind: Passage,
    /// What is taken where the derivative does not exist, or what the rule leaves out; empty where it is exact everywhere.
    pub kink: &'static str,
    /// Whether operands beyond the stated formulas carry no derivative. Otherwise asking for one is refused.
    pub rest_flat: bool,
    /// Whether the formulas read the cotangents of all results. Otherwise only the first result may have one.
    pub all_results: bool,
    /// Whether results beyond the first carry no derivative.
    pub first_result: bool,
    /// Whether the rule is a surrogate, not a derivative.
    pub surrogate: bool,
    /// What becomes of cotangents of integers.
    pub integers: Integers,
}

impl Rule {
    const fn of(op: &'static str, kind: Passage) -> Rule {
        let (rest_flat, all_results, first_result, surrogate) = (false, matches!(kind, Passage::Written(_)), false, false);
        Rule { op, kind, kink: "", rest_flat, all_results, first_result, surrogate, integers: Integers::Stop }
    }

    /// How far what the rule gives is the derivative; `None` where there is none to speak of.
    pub fn class(&self) -> Option<Class> {
        match self.kind {
            Passage::Never(_) | Passage::Before(_) => None,
            _ if self.surrogate => Some(Class::Surrogate),
            _ if self.kink.is_empty() => Some(Class::Exact),
            _ => Some(Class::AlmostEverywhere),
        }
    }

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

    /// States that results beyond the first carry no derivative.
    pub(crate) const fn first_result(self) -> Rule {
        Rule { first_result: true, ..self }
    }

    /// States that the rule stands in for a derivative, and how.
    pub(crate) const fn surrogate(self, kink: &'static str) -> Rule {
        Rule { kink, surrogate: true, ..self }
    }

    /// States that the operator passes on the cotangents of integers.
    pub(crate) const fn passes_integers(self) -> Rule {
        Rule { integers: Integers::Pass, ..self }
    }

    /// States that integer results have cotangents.
    pub(crate) const fn starts_integers(self) -> Rule {
        Rule { integers: Integers::Start, ..self }
    }

    /// Whether the operand at this position carries a derivative as far as this rule says.
    pub(crate) fn passes(&self, operand: usize) -> bool {
        match self.kind {
            Passage::Flat => false,
            Passage::Vjp(formulas) => operand < formulas.len() || !self.rest_flat,
            Passage::Each(_) | Passage::Written(_) | Passage::Before(_) | Passage::Never(_) => true,
        }
    }
}

/// A rule with one formula per operand.
pub(crate) const fn vjp(op: &'static str, formulas: &'static [Formula]) -> Rule {
    Rule::of(op, Passage::Vjp(formulas))
}

/// A rule with the same formula for every operand.
pub(crate) const fn each(op: &'static str, formula: EachFormula) -> Rule {
    Rule::of(op, Passage::Each(formula))
}

/// An operator that is written with others.
pub(crate) const fn written(op: &'static str, formula: Written) -> Rule {
    Rule::of(op, Passage::Written(formula))
}

/// An operator that is rewritten before differentiation, and as what.
pub(crate) const fn before(op: &'static str, into: &'static str) -> Rule {
    Rule::of(op, Passage::Before(into))
}

/// An operator whose derivative is zero wherever it exists.
pub(crate) const fn flat(op: &'static str) -> Rule {
    Rule::of(op, Passage::Flat)
}

/// An operator that must not be differentiated, and why.
pub(crate) const fn never(op: &'static str, reason: &'static str) -> Rule {
    Rule::of(op, Passage::Never(reason))
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
