//! What scattering does with the element that is there: it is replaced, added to, multiplied, or the larger or smaller one stays.

use flatscape_graph::{Attributes, Expr};

use crate::application::{Application, only_where};

pub(super) const KINK: &str = "places that are set twice share no cotangent; of ties the data comes first, then updates share evenly; \
                               the second order of products holds where no update is 0";

/// The cotangent of what is scattered into.
pub(super) fn data<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    match reduction(n).as_str() {
        "add" => ct,
        "none" => scatter(n, ct, n.zeros_like(n.x(2)), "none"),
        "mul" => ct * scatter(n, n.zeros_like(n.x(0)) + 1.0, n.x(2), "mul"),
        _ => only_where(n.x(0).equal(n.y(0)), ct),
    }
}

/// The cotangent of what is scattered.
pub(super) fn updates<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    let (x, u) = (n.x(0), n.x(2));
    match reduction(n).as_str() {
        "add" | "none" => gather(n, ct),
        "mul" => {
            // of a place with one factor 0 that factor alone has a cotangent; with two none has
            let zero = u.equal(u.scalar(0.0));
            let factors = zero.select(1.0, u);
            let others = gather(n, ct * scatter(n, x, factors, "mul")) / factors;
            let zeros = zero.cast(ct.dtype());
            let elsewhere = gather(n, scatter(n, n.zeros_like(x), zeros, "add")) - zeros;
            only_where(elsewhere.less(0.5), others)
        }
        _ => {
            let won = x.equal(n.y(0)).negate();
            let reached = u.equal(gather(n, n.y(0)));
            let shares = scatter(n, n.zeros_like(x), reached.cast(ct.dtype()), "add");
            only_where(reached, gather(n, only_where(won, ct) / shares.max(1.0)))
        }
    }
}

fn reduction(n: &Application<'_>) -> String {
    n.string("reduction", "none")
}

/// The node itself on other operands.
fn scatter<'b>(n: &Application<'b>, data: Expr<'b>, updates: Expr<'b>, reduction: &str) -> Expr<'b> {
    let attributes = n.node().attributes.clone().with("reduction", reduction);
    n.builder().op(&n.node().op, &[data, n.x(1), updates], attributes)
}

/// What stands at the places.
fn gather<'b>(n: &Application<'b>, v: Expr<'b>) -> Expr<'b> {
    match &*n.node().op {
        "ScatterND" => n.builder().op("GatherND", &[v, n.x(1)], Attributes::none()),
        _ => n.builder().op("GatherElements", &[v, n.x(1)], [("axis", n.int("axis", 0).into())]),
    }
}
