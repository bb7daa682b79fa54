//! Adam for every sample on its own: moments are states of the attack. Source: Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1.

use flatscape_sdk::{Expr, Names};

use super::formulas::{row, scheduled};

const BETA: [f64; 2] = [0.9, 0.999];
const TINY: f64 = 1e-8;

/// Both moments are 0 at first.
pub(super) fn init(g: &Names, width: usize) {
    g.give("state_first_moment", row(g, width));
    g.give("state_second_moment", row(g, width));
}

/// m̂/(√v̂ + 1e-8), \[N,width\]. `counts` has the number of the update, from 1, for every step; where it is 1, Adam starts anew.
pub(super) fn direction<'b>(g: &Names<'b>, gradient: Expr<'b>, width: usize, counts: &[i64]) -> Expr<'b> {
    direction_where(g, gradient, width, counts, None)
}

/// The same, where moments change only at some steps.
pub(super) fn direction_where<'b>(
    g: &Names<'b>,
    gradient: Expr<'b>,
    width: usize,
    counts: &[i64],
    changes: Option<Expr<'b>>,
) -> Expr<'b> {
    let table = |of: &dyn Fn(i32) -> f64| counts.iter().map(|&t| of(i32::try_from(t).unwrap_or(i32::MAX))).collect::<Vec<f64>>();
    let anew = scheduled(g, &table(&|t| f64::from(t == 1))).greater(0.0);
    let moment = |name: &str, beta: f64, value: Expr<'b>| {
        let before = g.state(name, &[width]);
        let next = anew.select(0.0, before * beta) + value * (1.0 - beta);
        g.give(&format!("state_{name}_next"), changes.map_or(next, |changes| changes.select(next, before)));
        next * scheduled(g, &table(&|t| 1.0 / (1.0 - beta.powi(t))))
    };
    let first = moment("first_moment", BETA[0], gradient);
    let second = moment("second_moment", BETA[1], gradient * gradient);
    first / (second.sqrt() + TINY)
}
