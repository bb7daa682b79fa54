//! Right formulas, to be altered: most mistakes are a right result with one thing wrong.

use flatscape_autodiff::{Application, Passage, rule_for};
use flatscape_graph::{Attribute, Builder, Expr, Node};

/// What the table's formula gives for an operand.
pub fn right<'b>(n: &Application<'b>, operand: usize, ct: Expr<'b>) -> Expr<'b> {
    by_rule_of(&n.node().op, n, operand, ct)
}

/// What the table's formula for another operator would give here.
pub fn by_rule_of<'b>(op: &str, n: &Application<'b>, operand: usize, ct: Expr<'b>) -> Expr<'b> {
    match rule_for("", op).map(|rule| rule.kind) {
        Some(Passage::Vjp(formulas)) => formulas[operand](n, ct),
        Some(Passage::Each(formula)) => formula(n, operand, ct),
        _ => panic!("{op} has no formula"),
    }
}

/// What the table writes for an operator, on the same place with another node in it.
pub fn written_with<'b>(n: &Application<'b>, change: impl FnOnce(&mut Node)) -> Result<Vec<Expr<'b>>, String> {
    match rule_for("", &n.node().op).map(|rule| rule.kind) {
        Some(Passage::Written(form)) => form(&n.altered(change)),
        _ => panic!("{} is not written with others", n.node().op),
    }
}

/// Sets an attribute, or takes it away.
pub fn set(node: &mut Node, name: &str, value: Option<Attribute>) {
    match value {
        Some(value) => drop(node.attributes.0.insert(name.to_owned(), value)),
        None => drop(node.attributes.0.remove(name)),
    }
}

/// The same computation with the nearest node of this operator upstream (through first operands) changed; the same value if there
/// is none.
pub fn edited<'b>(e: Expr<'b>, op: &str, change: &dyn Fn(&'b Builder, &mut Node)) -> Expr<'b> {
    let builder = e.builder();
    let Some((id, position)) = builder.graph().value(e.id).producer else { return e };
    let mut node = builder.graph().node_at(id).clone();
    if &*node.op == op {
        change(builder, &mut node);
    } else if let Some(first) = node.input(0) {
        let upstream = edited(builder.expr(first), op, change);
        if upstream.id == first {
            return e;
        }
        node.inputs[0] = Some(upstream.id);
    } else {
        return e;
    }
    let results = node.outputs.len();
    let results = builder.graph_mut().push(node, results);
    builder.expr(results[position])
}

/// With another attribute, or without it.
pub fn with<'b>(e: Expr<'b>, op: &str, name: &str, value: Option<Attribute>) -> Expr<'b> {
    edited(e, op, &|_, node| set(node, name, value.clone()))
}

/// With begins and ends of the pads exchanged.
pub fn with_pads_exchanged<'b>(e: Expr<'b>, op: &str) -> Expr<'b> {
    edited(e, op, &|_, node| {
        if let Some(Attribute::Ints(pads)) = node.attributes.0.get_mut("pads") {
            let half = pads.len() / 2;
            pads.rotate_left(half);
        }
    })
}

/// With two attributes exchanged.
pub fn with_exchanged<'b>(e: Expr<'b>, op: &str, one: &str, other: &str) -> Expr<'b> {
    edited(e, op, &|_, node| {
        let attributes = &mut node.attributes.0;
        if let (Some(a), Some(b)) = (attributes.remove(one), attributes.remove(other)) {
            attributes.insert(one.to_owned(), b);
            attributes.insert(other.to_owned(), a);
        }
    })
}

/// The same numbers behind a step: no derivative passes.
pub fn detached(e: Expr<'_>) -> Expr<'_> {
    const GRAIN: f64 = (1u64 << 40) as f64;
    (e * GRAIN + 0.5).floor() * (1.0 / GRAIN)
}

/// One element further along the last axis; the last one comes first.
pub fn rolled(e: Expr<'_>) -> Expr<'_> {
    match e.rank() {
        None | Some(0) => e,
        Some(rank) => {
            let axis = rank as i64 - 1;
            let (last, rest) = (e.slice(&[-1], &[i64::MAX], &[axis], &[1]), e.slice(&[0], &[-1], &[axis], &[1]));
            e.builder().concat(&[last, rest], axis)
        }
    }
}

/// Turned around along an axis.
pub fn reversed(e: Expr<'_>, axis: i64) -> Expr<'_> {
    e.slice(&[-1], &[i64::MIN + 1], &[axis], &[-1])
}

/// An operand [C] with extents that broadcast against [N,C,spatial…].
pub fn channel<'b>(n: &Application<'b>, operand: usize) -> Expr<'b> {
    let rank = n.rank(0).expect("a known rank") as i64;
    n.x(operand).unsqueeze(&(1..rank - 1).collect::<Vec<_>>())
}

/// Every axis but the channels.
pub fn all_but_channels(n: &Application<'_>) -> Vec<i64> {
    (0..n.rank(0).expect("a known rank") as i64).filter(|&axis| axis != 1).collect()
}
