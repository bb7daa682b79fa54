//! The rules of a reverse pass: the row of an operator, how the cotangents of two consumers become one, and how broadcasting is
//! undone. The standard book is the table of rules; tests use another one to see the effect of a mistake.

use flatscape_graph::Expr;

use crate::rule::{Rule, rule_for};

/// One cotangent from those of two consumers.
pub type Join = for<'b> fn(Expr<'b>, Expr<'b>) -> Expr<'b>;

/// A cotangent without the axes along which its operand was broadcast, or with extent 1 there (`true`).
pub type Collapse = for<'b> fn(Expr<'b>, &[i64], bool) -> Expr<'b>;

/// The rows and the steps of a reverse pass.
pub struct Rulebook {
    replaced: Vec<Rule>,
    pub(crate) join: Join,
    pub(crate) collapse: Collapse,
}

impl Rulebook {
    /// The table of rules; cotangents are added up, and broadcasting is undone by summing.
    pub const fn standard() -> Rulebook {
        Rulebook { replaced: Vec::new(), join: |a, b| a + b, collapse: |ct, axes, keep| ct.sum(axes, keep) }
    }

    /// The same with one row replaced.
    #[must_use]
    pub fn replacing(mut self, rule: Rule) -> Rulebook {
        self.replaced.push(rule);
        self
    }

    /// The same with another way to put the cotangents of two consumers together.
    #[must_use]
    pub fn joining(self, join: Join) -> Rulebook {
        Rulebook { join, ..self }
    }

    /// The same with another way to undo broadcasting.
    #[must_use]
    pub fn collapsing(self, collapse: Collapse) -> Rulebook {
        Rulebook { collapse, ..self }
    }

    /// The row of an operator. Only the standard domain has rules.
    pub(crate) fn rule(&self, domain: &str, op: &str) -> Option<&Rule> {
        let standard = matches!(domain, "" | "ai.onnx");
        self.replaced.iter().find(|r| standard && r.op == op).or_else(|| rule_for(domain, op))
    }
}
