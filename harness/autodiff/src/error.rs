//! What differentiation says when it cannot: the operator, the node, the model if the caller names it, and what still works.

use std::fmt;
use std::sync::Arc;

use flatscape_graph::Node;

/// A graph that cannot be differentiated, with the node that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DiffError {
    /// The operator.
    pub op: Arc<str>,
    /// Its domain; empty for standard ONNX.
    pub domain: Arc<str>,
    /// The node's name in the file, or empty.
    pub node: Arc<str>,
    /// What is in the way.
    pub why: Why,
    /// The model's file name, once the caller has stated it.
    pub model: Option<Arc<str>>,
}

/// What is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The table has no row for the operator.
    NoRule,
    /// The table says that differentiating the operator is a mistake; the clause says why.
    Never(&'static str),
    /// The operator is rewritten before differentiation and is still there; the clause says as what.
    Before(&'static str),
    /// There is a rule, and it does not cover this use of the operator; the clause says which.
    Refused(String),
    /// The rule built something that does not check: a defect of the rule.
    Defect(String),
}

impl DiffError {
    pub(crate) fn at(node: &Node, why: Why) -> DiffError {
        DiffError { op: node.op.clone(), domain: node.domain.clone(), node: node.name.clone(), why, model: None }
    }

    /// The same error, naming the model.
    #[must_use]
    pub fn in_model(self, model: &str) -> DiffError {
        DiffError { model: Some(model.into()), ..self }
    }
}

impl fmt::Display for DiffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut subject = format!("`{}`", self.op);
        match (&*self.node, &*self.domain) {
            ("", "") => {}
            ("", domain) => subject += &format!(" (domain `{domain}`)"),
            (node, "") => subject += &format!(" (node `{node}`)"),
            (node, domain) => subject += &format!(" (node `{node}`, domain `{domain}`)"),
        }
        if let Some(model) = &self.model {
            subject += &format!(" in {model}");
        }
        match &self.why {
            Why::NoRule => write!(f, "no gradient rule for {subject}"),
            Why::Never(reason) => write!(f, "no gradient through {subject}: {reason}"),
            Why::Before(into) => {
                write!(f, "no gradient through {subject}, which normalising was to write as {into} and could not")
            }
            Why::Refused(reason) => write!(f, "the gradient rule for {subject} does not cover this use: {reason}"),
            Why::Defect(what) => return write!(f, "the gradient rule for {subject} is defective: {what}; please report this"),
        }?;
        f.write_str("; attacks that need no gradient still run")
    }
}
