//! Random points of unit balls, one row per norm, and where an l1 step may go. Uniform laws (formulas in each row).

use flatscape_sdk::{Error, Expr, Law, Names};

/// A random point of the unit ball around 0, float \[N,D\].
pub(crate) type Start = for<'b> fn(&Names<'b>) -> Expr<'b>;

const STARTS: &[(&str, Start)] = &[("linf", linf), ("l2", l2), ("l1", l1), ("l0", l0)];

/// The start for a threat model; those whose images are decoded from a parameter have none.
pub(crate) fn named(norm: &str) -> Result<Start, Error> {
    STARTS.iter().find(|(name, _)| *name == norm).map(|(_, start)| *start).ok_or_else(|| {
        let names: Vec<&str> = STARTS.iter().map(|(name, _)| *name).collect();
        Error::unsupported(format!("the threat model is {norm}; it serves {}", names.join(", ")))
    })
}

/// U(−1, 1)^D
fn linf<'b>(g: &Names<'b>) -> Expr<'b> {
    g.noise_uniform()
}

/// U^{1/D}·n/‖n‖        n ~ N(0, I), U ~ U(0, 1)
fn l2<'b>(g: &Names<'b>) -> Expr<'b> {
    let n = g.noise_normal();
    let radius = unit(g, "radius", 1).pow(1.0 / g.task().pixels() as f64);
    n / ((n * n).sum(&[1], true).sqrt() + 1e-12) * radius
}

/// s∘E_{1..D} / Σ_{1..D+1} E        E exponential, s random signs
fn l1<'b>(g: &Names<'b>) -> Expr<'b> {
    let e = -(unit(g, "exponential", g.task().pixels()).max(1e-30).log());
    let rest = -(unit(g, "rest", 1).max(1e-30).log());
    g.noise_rademacher() * e / (e.sum(&[1], true) + rest)
}

/// U(−1, 1)^D: ε times that changes every pixel, mostly up to the box, and the host keeps ε of them
fn l0<'b>(g: &Names<'b>) -> Expr<'b> {
    g.noise_uniform()
}

/// U(0, 1), \[N, width\]
fn unit<'b>(g: &Names<'b>, stream: &str, width: usize) -> Expr<'b> {
    (g.noise(Law::Uniform, stream, &[width]) + 1.0) * 0.5
}

/// The ascent direction, 0 where the point sits on a face of the box and the gradient leads out of it: an l1 step goes to few
/// coordinates and must not waste itself on those that cannot move.
pub(crate) fn free_to_move<'b>(g: &Names<'b>) -> Expr<'b> {
    let (x, grad) = (g.x(), g.ascent());
    let above = x.at_least(g.hi()).and(grad.greater(0.0));
    let below = x.at_most(g.lo()).and(grad.less(0.0));
    above.or(below).select(0.0, grad)
}
