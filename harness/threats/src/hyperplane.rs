//! The nearest point of a hyperplane within the box, {v: w·v = b} ∩ [lo, hi]^D, in three norms.
//!
//! All three move every coordinate towards the plane, by at most the room that the box leaves, and differ in how much:
//! min(λ, room) in linf, min(λ|w|, room) in l2, and in l1 all of the room, largest |w| first. Where the plane does not meet the
//! box, the answer is the corner of the box nearest to it. Source: Croce and Hein, «Minimally distorted adversarial examples with
//! a fast adaptive boundary attack» (2020), section 3.1.

use flatscape_graph::Expr;

use super::sample_axes;

/// Tangents of a concave, piecewise linear function: they reach its level from below after finitely many, in practice few.
const TANGENTS: usize = 24;

/// Halvings of the interval in which the smallest |w| that moves lies.
const HALVINGS: usize = 32;

/// What is the same in every norm: the way to the plane, scaled so that max |w| is 1.
struct Way<'b> {
    axes: Vec<i64>,
    /// |w|
    slope: Expr<'b>,
    /// |b − w·x|, [N,1,…]
    gap: Expr<'b>,
    /// −1, 0 or 1: where the coordinate moves.
    sign: Expr<'b>,
    /// How far it may move.
    room: Expr<'b>,
}

fn way<'b>(x: Expr<'b>, w: Expr<'b>, b: Expr<'b>, (lo, hi): (Expr<'b>, Expr<'b>)) -> Way<'b> {
    let axes = sample_axes(x);
    let largest = w.abs().reduce("ReduceMax", &axes, true).max(f64::from(f32::MIN_POSITIVE));
    let w = w / largest;
    let gap = b / largest - (w * x).sum(&axes, true);
    let sign = gap.sign() * w.sign();
    let room = sign.greater(0.0).select(hi - x, x - lo).relu() * sign.abs();
    Way { axes, slope: w.abs(), gap: gap.abs(), sign, room }
}

/// min(λ, room)
pub(super) fn linf<'b>(x: Expr<'b>, w: Expr<'b>, b: Expr<'b>, bounds: (Expr<'b>, Expr<'b>)) -> Expr<'b> {
    let way = way(x, w, b, bounds);
    let level = way.level(|level| level, way.slope);
    moved(x, &way, level.min(way.room), bounds)
}

/// min(λ|w|, room)
pub(super) fn l2<'b>(x: Expr<'b>, w: Expr<'b>, b: Expr<'b>, bounds: (Expr<'b>, Expr<'b>)) -> Expr<'b> {
    let way = way(x, w, b, bounds);
    let level = way.level(|level| level * way.slope, way.slope * way.slope);
    moved(x, &way, (level * way.slope).min(way.room), bounds)
}

/// All of the room where |w| > θ, none where it is smaller, and equal shares of it where it lies in between.
pub(super) fn l1<'b>(x: Expr<'b>, w: Expr<'b>, b: Expr<'b>, bounds: (Expr<'b>, Expr<'b>)) -> Expr<'b> {
    let way = way(x, w, b, bounds);
    let none = way.room * 0.0;
    let gain = way.slope * way.room;
    let beyond = |least: Expr<'b>| way.slope.greater(least).select(gain, none).sum(&way.axes, true);
    // θ from above, where too little moves, and from below, where enough does
    let mut high = way.slope.reduce("ReduceMax", &way.axes, true);
    let mut low = high * 0.0 - 1.0;
    for _ in 0..HALVINGS {
        let middle = (low + high) * 0.5;
        let enough = beyond(middle).at_least(way.gap);
        (low, high) = (enough.select(middle, low), enough.select(high, middle));
    }
    let whole = way.slope.greater(high);
    let shared = way.slope.greater(low).and(whole.negate());
    let (spent, shares) = (beyond(high), shared.select(gain, none).sum(&way.axes, true));
    let part = ((way.gap - spent).relu() / shares.max(f64::from(f32::MIN_POSITIVE))).min(1.0);
    moved(x, &way, whole.select(way.room, shared.select(way.room * part, none)), bounds)
}

impl<'b> Way<'b> {
    /// The λ at which Σ|w|·min(step(λ), room) reaches the gap, by tangents from λ = 0; `slopes` are its derivatives where a
    /// coordinate still moves.
    fn level(&self, step: impl Fn(Expr<'b>) -> Expr<'b>, slopes: Expr<'b>) -> Expr<'b> {
        let none = self.room * 0.0;
        let mut level = self.gap * 0.0;
        for _ in 0..TANGENTS {
            let now = step(level);
            let reached = (self.slope * now.min(self.room)).sum(&self.axes, true);
            let slope = now.less(self.room).select(slopes, none).sum(&self.axes, true);
            let onward = (self.gap - reached).relu() / slope.max(f64::from(f32::MIN_POSITIVE));
            level = level + slope.greater(0.0).select(onward, self.gap * 0.0);
        }
        level
    }
}

fn moved<'b>(x: Expr<'b>, way: &Way<'b>, step: Expr<'b>, (lo, hi): (Expr<'b>, Expr<'b>)) -> Expr<'b> {
    (x + way.sign * step).max(lo).min(hi)
}
