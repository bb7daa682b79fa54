//! Rules of reductions. `keep` gives a reduced value its axes back with extent 1; the driver broadcasts from there.

use flatscape_graph::{Dim, Expr, Tensor};

use crate::application::{Application, TINY, lowest, only_where};
use crate::rule::{Rule, vjp};

use super::elementwise::signed;

pub(super) const RULES: &[Rule] = &[
    // y = Σ x            x̄ = ȳ
    vjp("ReduceSum", &[keep]),
    // y = (1/n) Σ x      x̄ = ȳ / n
    vjp("ReduceMean", &[|n, ct| keep(n, ct) / n.elements_per(n.x(0), n.y(0))]),
    // y = Σ x²           x̄ = 2 x ȳ
    vjp("ReduceSumSquare", &[|n, ct| n.x(0) * keep(n, ct) * 2.0]),
    // y = Σ |x|          x̄ = ȳ · sign x
    vjp("ReduceL1", &[|n, ct| signed(n.x(0), keep(n, ct))]).kink("0 at 0"),
    // y = √Σ x²          x̄ = x · ȳ / y                    0 at 0
    vjp(
        "ReduceL2",
        &[|n, ct| {
            let y = keep(n, n.y(0));
            n.x(0) * (only_where(y.equal(y.scalar(0.0)).negate(), keep(n, ct)) / y.max(TINY))
        }],
    )
    .kink("0 at 0"),
    // y = ln Σ x         x̄ = ȳ / e^y
    vjp("ReduceLogSum", &[|n, ct| keep(n, ct) / keep(n, n.y(0)).exp()]),
    // y = ln Σ eˣ        x̄ = ȳ · w / Σ w, w = e^(x − y)         0 where y = −∞
    vjp(
        "ReduceLogSumExp",
        &[|n, ct| {
            // Σ w is 1 up to the rounding of y, which is large where y is: dividing by it takes that error out
            let y = keep(n, n.y(0));
            let w = (n.x(0) - y.max(lowest(y.dtype()))).exp();
            keep(n, ct) * (w / total(n, w).max(0.5))
        }],
    ),
    // y = Π x            x̄ = ȳ · Π of the others
    vjp("ReduceProd", &[product]),
    // y = max x          x̄ = ȳ · m / Σ m, m = [x = y]
    vjp("ReduceMax", &[extremum]).kink("ties share evenly"),
    // y = min x          x̄ = ȳ · m / Σ m, m = [x = y]
    vjp("ReduceMin", &[extremum]).kink("ties share evenly"),
];

/// The reduced axes, counted from the front.
fn axes(n: &Application<'_>) -> Result<Vec<i64>, String> {
    let rank = n.rank(0)?;
    let stated = n.constant_ints(1)?.or_else(|| n.ints("axes")).unwrap_or_default();
    if stated.is_empty() {
        let none = n.int("noop_with_empty_axes", 0) != 0;
        return Ok(if none { Vec::new() } else { (0..rank as i64).collect() });
    }
    stated.iter().map(|&a| n.axis(a, rank).map(|a| a as i64)).collect()
}

/// A reduced value with its axes back, of extent 1.
fn keep<'b>(n: &Application<'b>, reduced: Expr<'b>) -> Expr<'b> {
    if n.int("keepdims", 1) != 0 {
        return reduced;
    }
    n.or_refuse(axes(n).map(|axes| {
        let mut axes = axes;
        axes.sort_unstable();
        reduced.unsqueeze(&axes)
    }))
}

/// The sum over the reduced axes, kept with extent 1.
fn total<'b>(n: &Application<'b>, full: Expr<'b>) -> Expr<'b> {
    n.or_refuse(axes(n).map(|axes| full.sum(&axes, true)))
}

fn extremum<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    let reached = n.x(0).equal(keep(n, n.y(0)));
    only_where(reached, keep(n, ct) / total(n, reached.cast(ct.dtype())))
}

/// The product of the others, for each element: row i of an n × n table holds the elements with element i replaced by 1. Exact
/// where elements are 0, to any order, which `y / x` is not.
fn product<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    n.or_refuse(products_of_others(n).map(|others| keep(n, ct) * others))
}

fn products_of_others<'b>(n: &Application<'b>) -> Result<Expr<'b>, String> {
    let (axes, dims) = (axes(n)?, n.dims(0)?);
    let reduced = |axis: &usize| axes.contains(&(*axis as i64));
    let order: Vec<usize> = (0..dims.len()).filter(|a| !reduced(a)).chain((0..dims.len()).filter(reduced)).collect();
    let moved: Vec<Dim> = order.iter().map(|&a| dims[a].clone()).collect();
    let (kept, lost) = moved.split_at(dims.len() - axes.len());
    let count: usize = lost.iter().map(Dim::fixed).product::<Option<_>>().ok_or("the extent of a reduced axis is unknown")?;
    let perm: Vec<i64> = order.iter().map(|&a| a as i64).collect();
    let lines = n.reshape_to(n.x(0).transpose(&perm), &[kept, &[Dim::Fixed(count)]].concat())?;
    let diagonal = (0..count * count).map(|at| at % (count + 1) == 0).collect();
    let diagonal = Tensor::new::<bool>(&[count, count], diagonal).ok_or("its elements could not be counted")?;
    let table = n.builder().constant(diagonal).select(1.0, lines.unsqueeze(&[-2]));
    let products = n.reshape_to(table.reduce("ReduceProd", &[-1], false), &moved)?;
    let mut back = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(to, &from)| back[from as usize] = to as i64);
    Ok(products.transpose(&back))
}
