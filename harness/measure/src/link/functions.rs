//! The functions of the domain `flatscape` that a program may call, written out: one row per function.

use std::ops::RangeInclusive;

use flatscape_graph::{Attributes, Expr, Node, ops};
use flatscape_intake::functions;

use super::LinkError;
use super::scope::Scope;

/// A row of the table.
pub struct Function {
    /// Its name in the domain `flatscape`.
    pub name: &'static str,
    /// How few and how many operands it takes.
    pub operands: RangeInclusive<usize>,
    expand: for<'s, 'b, 'a> fn(&'s mut Scope<'b, 'a>, &[Expr<'b>]) -> Result<Expr<'b>, LinkError>,
}

/// Every function, in the order of the documentation.
pub const FUNCTIONS: &[Function] = &[
    Function { name: "Steepest", operands: 1..=1, expand: |s, x| s.steepest(x[0]) },
    Function { name: "Project", operands: 1..=2, expand: |s, x| s.project(x[0], x.get(1).copied()) },
    Function { name: "Distance", operands: 2..=2, expand: distance },
    Function { name: "Hyperplane", operands: 3..=3, expand: hyperplane },
    Function { name: "Detach", operands: 1..=1, expand: |s, x| Ok(mark(s, "Detach", x[0])) },
    Function { name: "CrossEntropy", operands: 2..=2, expand: cross_entropy },
    Function { name: "Margin", operands: 2..=2, expand: |s, x| Ok(functions::margin(s.builder, x[0], x[1])) },
    Function { name: "Dlr", operands: 2..=2, expand: |s, x| Ok(functions::dlr(s.builder, x[0], x[1])) },
    Function { name: "DlrTargeted", operands: 3..=3, expand: |s, x| Ok(functions::dlr_targeted(s.builder, x[0], x[1], x[2])) },
];

/// Writes a function out.
pub(super) fn expand<'b>(scope: &mut Scope<'b, '_>, name: &str, operands: &[Expr<'b>]) -> Result<Expr<'b>, LinkError> {
    let refused = |why: String| LinkError::Function { name: name.to_owned(), why };
    let row = FUNCTIONS.iter().find(|row| row.name == name).ok_or_else(|| {
        let known: Vec<&str> = FUNCTIONS.iter().map(|row| row.name).collect();
        refused(format!("this host does not have; there are {}", known.join(", ")))
    })?;
    if !row.operands.contains(&operands.len()) {
        let (least, most) = (row.operands.start(), row.operands.end());
        let takes = if least == most { least.to_string() } else { format!("{least} or {most}") };
        return Err(refused(format!("takes {takes} operands and is given {}", operands.len())));
    }
    (row.expand)(scope, operands)
}

/// Cross-entropy per sample, [N]: LSE(z) − z_y, or with label smoothing s the mean over the label with weight 1 − s and over all
/// classes with weight s. Source: Szegedy et al. 2016 (arXiv:1512.00567), section 7.
fn cross_entropy<'b>(scope: &mut Scope<'b, '_>, operands: &[Expr<'b>]) -> Result<Expr<'b>, LinkError> {
    let (logits, smoothing) = (operands[0], scope.link.smoothing);
    let loss = functions::cross_entropy(scope.builder, logits, operands[1]).0;
    if smoothing == 0.0 {
        return Ok(loss);
    }
    let spread = functions::log_sum_exp(logits) - logits.mean(&[1], false);
    Ok(loss * (1.0 - smoothing) + spread * smoothing)
}

/// A mark that the reverse pass respects and that is taken out before anything runs.
fn mark<'b>(scope: &Scope<'b, '_>, name: &str, value: Expr<'b>) -> Expr<'b> {
    let node = Node { domain: ops::FUNCTIONS.into(), ..Node::new(name, &[value.id], Attributes::none()) };
    let results = scope.builder.graph_mut().push(node, 1);
    scope.builder.expr(results[0])
}

/// [N]. Under a parametrised threat model images have no distance without their parameter.
fn distance<'b>(scope: &mut Scope<'b, '_>, operands: &[Expr<'b>]) -> Result<Expr<'b>, LinkError> {
    let row = scope.link.threat.norm;
    if row.parameter.is_some() {
        let why = format!("measures images, and under the threat model {} only their parameter has a distance", row.name);
        return Err(LinkError::Function { name: "Distance".into(), why });
    }
    Ok((row.distance_graph)(scope.shaped(operands[0]), scope.shaped(operands[1])))
}

/// The point nearest to x on {v: w·v = b} within the box, in the norm of the threat model; b is [N]. For x [N,K,D] each of K points.
fn hyperplane<'b>(scope: &mut Scope<'b, '_>, operands: &[Expr<'b>]) -> Result<Expr<'b>, LinkError> {
    let threat = scope.link.threat;
    let Some(nearest) = threat.norm.hyperplane else {
        let why = format!("has no meaning under the threat model {}", threat.norm.name);
        return Err(LinkError::Function { name: "Hyperplane".into(), why });
    };
    let single = |x: Expr<'b>| x.reshape(&[0, 1, -1]);
    let x = if operands[0].rank() == Some(3) { operands[0] } else { single(operands[0]) };
    let (lo, hi) = (x.scalar(threat.lo.into()), x.scalar(threat.hi.into()));
    Ok(nearest(x, single(operands[1]), operands[2].unsqueeze(&[1, 2]), (lo, hi)).reshape_like(operands[0]))
}
