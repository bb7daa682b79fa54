//! What attacks move under a threat model, random points of its unit ball, and where an l1 step may go. Uniform laws (formulas in
//! each row).

use flatscape_sdk::{Error, Expr, Law, Names};

/// A random point of the unit ball around 0, float \[N,D\].
pub(crate) type Start = for<'b> fn(&Names<'b>) -> Expr<'b>;

/// What an attack moves.
#[derive(Clone, Copy)]
pub(crate) enum Moved {
    /// The image, from this start.
    Image(Start),
    /// The parameter z that images are decoded from, see [`parameter`].
    Parameter,
}

const MOVED: &[(&str, Moved)] = &[
    ("linf", Moved::Image(linf)),
    ("l2", Moved::Image(l2)),
    ("l1", Moved::Image(l1)),
    ("l0", Moved::Image(l0)),
    ("flow", Moved::Parameter),
    ("rigid", Moved::Parameter),
];

/// What moves under a threat model.
pub(crate) fn named(norm: &str) -> Result<Moved, Error> {
    MOVED.iter().find(|(name, _)| *name == norm).map(|(_, moved)| *moved).ok_or_else(|| {
        let names: Vec<&str> = MOVED.iter().map(|(name, _)| *name).collect();
        Error::unsupported(format!("the threat model is {norm}; it serves {}", names.join(", ")))
    })
}

/// U(−1, 1)^P in the units of the parameter: |u(n)|·n, because the steepest direction u is sign(n) in these units
pub(crate) fn parameter<'b>(g: &Names<'b>) -> Expr<'b> {
    let n = g.noise(Law::Uniform, "", &[g.task().parameters]);
    g.function("Steepest", &[n]).abs() * n
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

/// 0.05/ε·U(−1, 1)^D: ε pixels at random, changed little. Pixels that start at the faces of the box are never exchanged for others
fn l0<'b>(g: &Names<'b>) -> Expr<'b> {
    g.noise_uniform() * 0.05 / g.eps().max(1.0)
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
