//! Rules of matrix products. They are linear in each operand, so every rule emits products again.

use flatscape_graph::{Attributes, Dim, Expr, Tensor};

use crate::application::Application;
use crate::rule::{Rule, each, vjp};

pub(super) const RULES: &[Rule] = &[
    // Y = A·B            Ā = Ȳ·Bᵀ          B̄ = Aᵀ·Ȳ         (last two axes; batch axes broadcast)
    vjp("MatMul", &[|n, ct| n.or_refuse(matmul_left(n, ct)), |n, ct| n.or_refuse(matmul_right(n, ct))]),
    // Y = α·A'·B' + β·C, A' = A or Aᵀ, B' = B or Bᵀ
    //                    Ā' = α·Ȳ·B'ᵀ      B̄' = α·A'ᵀ·Ȳ     C̄ = β·Ȳ
    vjp("Gemm", &[gemm_left, gemm_right, |n, ct| scaled(ct, n.float("beta", 1.0))]),
    // Y = Σ over the indices that Y lacks  X̄ᵢ = the same sum with Y and Xᵢ exchanged
    each("Einsum", |n, i, ct| n.or_refuse(einsum(n, i, ct))),
];

fn matmul_left<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let (_, b, ct) = as_matrices(n, ct)?;
    let a = ct.matmul(b.transpose_last());
    Ok(if n.rank(0)? == 1 { a.squeeze(&[-2]) } else { a })
}

fn matmul_right<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let (a, _, ct) = as_matrices(n, ct)?;
    let b = a.transpose_last().matmul(ct);
    Ok(if n.rank(1)? == 1 { b.squeeze(&[-1]) } else { b })
}

/// The operands and the cotangent with a vector on the left as a row and one on the right as a column.
fn as_matrices<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<(Expr<'b>, Expr<'b>, Expr<'b>), String> {
    let (row, column) = (n.rank(0)? == 1, n.rank(1)? == 1);
    let a = if row { n.x(0).unsqueeze(&[0]) } else { n.x(0) };
    let b = if column { n.x(1).unsqueeze(&[1]) } else { n.x(1) };
    let ct = if column { ct.unsqueeze(&[-1]) } else { ct };
    let ct = if row { ct.unsqueeze(&[-2]) } else { ct };
    Ok((a, b, ct))
}

fn gemm_left<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    let (a, b) = (n.int("transA", 0), n.int("transB", 0));
    if a == 0 { product(n, ct, 0, n.x(1), 1 - b) } else { product(n, n.x(1), b, ct, 1) }
}

fn gemm_right<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    let (a, b) = (n.int("transA", 0), n.int("transB", 0));
    if b == 0 { product(n, n.x(0), 1 - a, ct, 0) } else { product(n, ct, 1, n.x(0), a) }
}

/// α · left' · right' with the α of the node, ' being a transposition where the flag is 1.
fn product<'b>(n: &Application<'b>, left: Expr<'b>, left_transposed: i64, right: Expr<'b>, right_transposed: i64) -> Expr<'b> {
    let mut attributes = Attributes::from([("transA", left_transposed.into()), ("transB", right_transposed.into())]);
    if let Some(alpha) = n.node().attributes.get("alpha") {
        attributes.0.insert("alpha".to_owned(), alpha.clone());
    }
    n.builder().op("Gemm", &[left, right], attributes)
}

fn scaled(v: Expr<'_>, factor: f64) -> Expr<'_> {
    if factor == 1.0 { v } else { v * factor }
}

/// `ij,jk->ik` gives operand 0 `ik,jk->ij`. An index that only this operand has was summed: its axis comes back with extent 1. An
/// index that it repeats took a diagonal: `ii->i` gives `i,ia->ia` with the identity matrix beside the cotangent. An ellipsis
/// stays one, so that the engine broadcasts it as before. An index of one element here and more elsewhere is summed as well.
fn einsum<'b>(n: &Application<'b>, i: usize, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let (terms, result) = einsum_terms(&n.string("equation", ""))?;
    let own = terms.get(i).ok_or("the equation has fewer terms than there are operands")?;
    let (mut sources, mut operands) = (vec![result.clone()], vec![ct]);
    for (j, term) in terms.iter().enumerate().filter(|&(j, _)| j != i) {
        sources.push(term.clone());
        operands.push(n.x(j));
    }
    let dims = n.dims(i)?;
    let mut free = ('a'..='z').chain('A'..='Z').filter(|c| !terms.iter().any(|t| t.contains(*c)));
    // what the operand gets: its own term, repetitions under names of their own
    let mut wanted = String::new();
    for (at, c) in own.char_indices() {
        if c == '.' || !wanted.contains(c) {
            wanted.push(c);
            continue;
        }
        let fresh = free.next().ok_or("the equation leaves no letter free")?;
        let extent = dims[axis_of(own, at, dims.len())].fixed().ok_or("the extent of a diagonal is unknown")?;
        let ones = (0..extent * extent).map(|k| k % (extent + 1) == 0).collect();
        let identity = Tensor::new::<bool>(&[extent, extent], ones).ok_or("its diagonal could not be counted")?;
        sources.push([c, fresh].iter().collect());
        operands.push(n.builder().constant(identity.cast(ct.dtype())));
        wanted.push(fresh);
    }
    // a broadcast that this operand had no part in is summed by the driver, in front
    if result.contains('.') && !own.contains('.') {
        wanted.insert_str(0, "...");
    }
    // extents of a letter: in this operand, and whether another one has more than one element there
    let extent = |of: usize, at: usize| n.dims(of).map(|dims| dims[axis_of(&terms[of], at, dims.len())].clone());
    let long = |c: char| {
        let others = terms.iter().enumerate().filter(|&(j, _)| j != i);
        others.filter_map(|(j, term)| Some((j, term.find(c)?))).any(|(j, at)| extent(j, at) != Ok(Dim::Fixed(1)))
    };
    let broadcast = |c: char| own.find(c).is_some_and(|at| extent(i, at) == Ok(Dim::Fixed(1))) && long(c);
    let lost = |c: char| c != '.' && (broadcast(c) || !sources.iter().any(|s| s.contains(c)));
    let axes = wanted
        .char_indices()
        .filter(|&(_, c)| lost(c))
        .map(|(at, _)| axis_of(&wanted, at, dims.len()) as i64)
        .collect::<Vec<_>>();
    let kept: String = wanted.chars().filter(|&c| !lost(c)).collect();
    let equation = format!("{}->{kept}", sources.join(","));
    let product = n.builder().op("Einsum", &operands, [("equation", equation.as_str().into())]);
    if wanted.starts_with("...") && !own.contains('.') && !axes.is_empty() {
        return Err(format!("the equation {equation:?} broadcasts beside an index that is summed"));
    }
    let whole = product.unsqueeze(&axes);
    // the other operands had one element where this one has many, and the index was summed
    let repeated =
        |c: char| !result.contains(c) && !broadcast(c) && terms.iter().filter(|term| term.contains(c)).count() > 1 && !long(c);
    let repeats = own.char_indices().any(|(at, c)| c != '.' && extent(i, at) != Ok(Dim::Fixed(1)) && repeated(c));
    Ok(if repeats { whole.expand_like(n.x(i)) } else { whole })
}

/// The axis that the letter at a place of a term names, in an operand of a rank: an ellipsis takes what the letters leave.
fn axis_of(term: &str, at: usize, rank: usize) -> usize {
    let letters = term.chars().filter(|c| *c != '.').count();
    let before = term[..at].chars().filter(|c| *c != '.').count();
    before + if term[..at].contains('.') { rank.saturating_sub(letters) } else { 0 }
}

fn einsum_terms(equation: &str) -> Result<(Vec<String>, String), String> {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right.to_owned())),
        None => (equation.as_str(), None),
    };
    let terms: Vec<String> = left.split(',').map(str::to_owned).collect();
    let times = |c: char| left.chars().filter(|&d| d == c).count();
    let implicit = || {
        let mut once: Vec<char> = left.chars().filter(|&c| !matches!(c, ',' | '.') && times(c) == 1).collect();
        once.sort_unstable();
        let ellipsis = if left.contains('.') { "..." } else { "" };
        format!("{ellipsis}{}", once.into_iter().collect::<String>())
    };
    let result = right.unwrap_or_else(implicit);
    if left.contains('.') && !result.contains('.') {
        return Err(format!("the equation {equation:?} sums over its ellipsis"));
    }
    Ok((terms, result))
}
