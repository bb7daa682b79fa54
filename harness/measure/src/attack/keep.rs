//! What an attack keeps of its iterates, as a part of the linked graph: the best point so far, its score, whether it is an
//! adversarial example, and what the doubts want to know of losses and gradients. All of it stays in the engine between steps.

use flatscape_graph::{Builder, DType, Dim, Expr, Tensor, ValueType, simplify};

use crate::link::{LinkError, Linked};
use crate::threats::{ThreatModel, sample_axes};

/// Which iterate an attack proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Any adversarial example in box and ball, else a point whose scores are undefined, else the one of the highest loss.
    /// Samples with an adversarial example leave the batch.
    FirstSuccess,
    /// The adversarial example in the box that is nearest to the image, wherever the ball ends; else as for `FirstSuccess`.
    /// No sample leaves the batch.
    Nearest,
    /// The last iterate of every sample, adversarial or not.
    Last,
    /// Nothing: the judge looks at every iterate of every sample. No sample leaves the batch.
    Every,
}

impl Keep {
    /// Whether the best point so far stays in the engine.
    pub(super) fn is_in_graph(self) -> bool {
        matches!(self, Keep::FirstSuccess | Keep::Nearest)
    }
}

/// The best point so far, float \[N,C,H,W\]; under a parametrised threat model its parameter, float \[N,P\].
pub(crate) const BEST: &str = "best";
/// Its score, float \[N\]: what is higher is worth more; see [`score`].
pub(crate) const BEST_SCORE: &str = "best_score";
/// Whether it is an adversarial example, bool \[N\].
pub(crate) const BROKEN: &str = "broken";
/// For the nearest goal: whether a nearer adversarial example was found since the judge last looked, bool \[N\].
pub(crate) const FOUND: &str = "found";
/// What is known of the losses before the steps, float \[N,13\]: the first one, the lowest one, the highest of those that are older than
/// the last ten, and the last ten, oldest first. NaN where there is none yet.
pub(crate) const LOSSES: &str = "kept_losses";
/// Per sample the steps whose gradient was zero, that moved nothing, whose gradient was finite, float \[N,3,1,1\].
pub(crate) const COUNTS: &str = "kept_counts";

/// The last losses that are remembered.
pub(crate) const REMEMBERED: usize = 10;
/// What is known of the losses before them: the first, the lowest, the highest.
pub(crate) const OLDER: usize = 3;

/// Entries of a gradient up to this count as zero: the smallest normal number of float32. A step along signs, or scaled by the
/// largest entry, is informed by anything above it.
pub(crate) const ZERO: f64 = f32::MIN_POSITIVE as f64;

/// Scores from here on are those of adversarial examples.
pub(crate) const SUCCESS: f64 = 1e33;
/// The score of an adversarial example at distance 0. At distance d it is this / (1 + d).
const NEAREST: f64 = 1e38;
/// The score of a point in box and ball whose scores are undefined.
pub(crate) const UNDEFINED: f64 = 1e30;
/// The score of a point outside of the ball where only the box matters.
const ELSEWHERE: f64 = -1e30;
/// The score of an inadmissible point; it is proposed only if there is no other, and the judge counts the fault.
const FORBIDDEN: f64 = -1e33;
/// No point has been scored.
pub(crate) const NOTHING: f32 = f32::MIN;

/// What is known of an attack when its graphs are completed.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'a> {
    pub keep: Keep,
    pub threat: &'a ThreatModel,
    /// Whether success is to be taken for the `target`.
    pub targeted: bool,
    /// Whether points may lie outside of box and ball.
    pub free: bool,
}

/// Completes a linked graph that gives `x`, and `logits` and `loss` at it: these, and `grad_peak`, become inputs of what is kept,
/// and only that is given.
///
/// # Errors
/// The graph does not give them, or what comes out is not well formed.
pub(crate) fn kept(linked: Linked, keeping: Keeping) -> Result<Linked, LinkError> {
    let Linked { graph, forwards, backwards, batch } = linked;
    let outputs = graph.outputs().to_vec();
    let asked = |name: &str| matches!(name, "logits" | "loss" | "grad_peak" | "x");
    let builder = Builder::new(graph);
    builder.graph_mut().set_outputs(outputs.iter().filter(|o| !asked(&o.name)).cloned().collect());
    let given = |name: &str| outputs.iter().find(|o| &*o.name == name).map(|o| builder.expr(o.value));
    let missing = |name: &str| LinkError::Name { name: name.to_owned(), why: "the graph does not give".to_owned() };
    let [logits, loss] = ["logits", "loss"].map(|name| given(name).ok_or_else(|| missing(name)));
    let (logits, loss) = (logits?, loss?);
    let x = given("x").ok_or_else(|| missing("x"))?;
    let parameter = keeping.threat.norm.parameter.and_then(|_| builder.graph().input_named("z"));
    let moved = parameter.map_or(x, |z| builder.expr(z));
    let keeper = Keeper { builder: &builder, keeping, x, moved };
    keeper.best(logits, loss);
    if let Some(next) = given(if parameter.is_some() { "z_next" } else { "x_next" }) {
        keeper.trace(loss, given("grad_peak"), next);
    }
    let built = builder.into_graph();
    built.check()?;
    let graph = simplify(&built);
    graph.check()?;
    Ok(Linked { graph, forwards, backwards, batch })
}

struct Keeper<'b, 'a> {
    builder: &'b Builder,
    keeping: Keeping<'a>,
    x: Expr<'b>,
    /// What the attack moves: x, or the parameter z that x is decoded from.
    moved: Expr<'b>,
}

impl<'b> Keeper<'b, '_> {
    /// An input of the host, or the one that is there already. `inner` are the extents behind the batch.
    fn input(&self, name: &str, dtype: DType, inner: &[usize]) -> Expr<'b> {
        if let Some(id) = self.builder.graph().input_named(name) {
            return self.builder.expr(id);
        }
        let batch = self.x.dims().and_then(|dims| dims.into_iter().next()).unwrap_or_else(|| Dim::symbol("N"));
        let dims = std::iter::once(batch).chain(inner.iter().map(|&n| Dim::Fixed(n))).collect();
        self.builder.input(name, ValueType::new(dtype, dims))
    }

    /// An input of the host in the shape of another value.
    fn like(&self, name: &str, other: Expr<'b>) -> Expr<'b> {
        let inner: Vec<usize> = other.dims().unwrap_or_default().iter().skip(1).filter_map(Dim::fixed).collect();
        self.input(name, DType::F32, &inner)
    }

    /// best ← x where score(x) > score(best)
    fn best(&self, logits: Expr<'b>, loss: Expr<'b>) {
        let score = self.score(logits, loss);
        let (best, best_score) = (self.like(BEST, self.moved), self.input(BEST_SCORE, DType::F32, &[]));
        let better = score.greater(best_score);
        let kept = better.select(score, best_score);
        self.builder.output(&next(BEST_SCORE), kept);
        self.builder.output(&next(BROKEN), kept.at_least(SUCCESS));
        if self.keeping.keep == Keep::Nearest {
            let nearer = better.and(score.at_least(SUCCESS));
            self.builder.output(&next(FOUND), nearer.or(self.input(FOUND, DType::Bool, &[])));
        }
        let column: Vec<i64> = (0..self.moved.rank().unwrap_or(1) as i64).map(|axis| if axis == 0 { -1 } else { 1 }).collect();
        self.builder.output(&next(BEST), better.reshape(&column).select(self.moved, best));
    }

    /// The distance from the image, [N].
    fn distance(&self) -> Expr<'b> {
        let threat = self.keeping.threat;
        let extents: Vec<usize> = self.x.dims().unwrap_or_default().iter().skip(1).filter_map(Dim::fixed).collect();
        let ranges = threat.norm.parameter.and_then(|parameter| parameter.ranges());
        match (ranges, <[usize; 3]>::try_from(extents)) {
            (Some(ranges), Ok(shape)) => ranges.distance_graph(self.moved, &threat.scale, shape),
            _ => (threat.norm.distance_graph)(self.x, self.like("x0", self.x)),
        }
    }

    /// The score of a point: adversarial before undefined before a high loss before inadmissible. An undefined
    /// loss, and a point that is not finite, are worth nothing: every comparison with NaN is false.
    fn score(&self, logits: Expr<'b>, loss: Expr<'b>) -> Expr<'b> {
        let threat = self.keeping.threat;
        let highest = logits.scalar(f64::from(f32::MAX));
        let top = self.builder.op("ArgMax", &[logits], [("axis", 1.into()), ("keepdims", 0.into())]);
        let class = self.input(if self.keeping.targeted { "target" } else { "y" }, DType::I64, &[]);
        let hit = top.equal(class);
        // NaN wherever x is: the sum of finite pixels is no more than rounding beside UNDEFINED
        let undefined = self.x.sum(&[1, 2, 3], false) + UNDEFINED;
        // NaN and +∞ are in the sum, −∞ beside finite scores is an answer
        let defined = logits.sum(&[1], false).at_most(highest);
        let kept = defined.select(loss, undefined);
        let distance = (self.keeping.free || self.keeping.keep == Keep::Nearest).then(|| self.distance());
        // the judge computes in float64: what this lets pass, it lets pass, too
        let inside = distance.map(|d| d.at_most(self.radius() * (1.0 + 5e-6) + 5e-8));
        let nearest = self.keeping.keep == Keep::Nearest;
        let success = match distance.filter(|_| nearest) {
            Some(d) => (d + 1.0).reciprocal() * NEAREST,
            None => loss.scalar(NEAREST),
        };
        // what ArgMax makes of NaN is not a success
        let success = defined.select(success, undefined);
        let success = match inside.filter(|_| !nearest) {
            Some(inside) => inside.select(success, loss.scalar(FORBIDDEN)),
            None => success,
        };
        let outside = loss.scalar(if nearest { ELSEWHERE } else { FORBIDDEN });
        let kept = inside.map_or(kept, |inside| inside.select(kept, outside));
        let score = if self.keeping.targeted { hit.select(success, kept) } else { hit.select(kept, success) };
        if !self.keeping.free {
            return score;
        }
        // what is not finite is in no box: its sum is not finite, whatever an engine takes for the largest of NaN and a number
        let [most, least, sum] = ["ReduceMax", "ReduceMin", "ReduceSum"].map(|op| self.x.reduce(op, &[1, 2, 3], false));
        let within =
            most.at_most(f64::from(threat.hi)).and(least.at_least(f64::from(threat.lo))).and(sum.at_most(f64::from(f32::MAX)));
        within.select(score, loss.scalar(FORBIDDEN))
    }

    /// ε, which the host feeds.
    fn radius(&self) -> Expr<'b> {
        let fed = self.builder.graph().input_named("eps");
        match fed {
            Some(eps) => self.builder.expr(eps),
            None => self.builder.input("eps", ValueType::new(DType::F32, Vec::new())),
        }
    }

    /// The loss joins the last ones; gradients and steps are counted.
    fn trace(&self, loss: Expr<'b>, peak: Option<Expr<'b>>, following: Expr<'b>) {
        let losses = self.input(LOSSES, DType::F32, &[OLDER + REMEMBERED]);
        let at = |place: i64| losses.slice(&[place], &[place + 1], &[1], &[1]);
        let loss = loss.unsqueeze(&[1]);
        // every comparison with NaN is false, so that a number takes the place of what is not known yet, and NaN never does
        let known = |value: Expr<'b>| value.equal(value);
        let (first, lowest, highest, oldest) = (at(0), at(1), at(2), at(OLDER as i64));
        let first = known(first).select(first, loss);
        let lowest = lowest.at_most(loss).select(lowest, known(loss).select(loss, lowest));
        let highest = highest.at_least(oldest).select(highest, known(oldest).select(oldest, highest));
        let later = losses.slice(&[OLDER as i64 + 1], &[(OLDER + REMEMBERED) as i64], &[1], &[1]);
        self.builder.output(&next(LOSSES), self.builder.concat(&[first, lowest, highest, later, loss], 1));
        let counts = self.input(COUNTS, DType::F32, &[3, 1, 1]);
        let moved = (following - self.moved).abs();
        let moved = moved.reduce("ReduceMax", &sample_axes(moved), false).reshape(&[-1, 1, 1, 1]);
        let peak = peak.map_or(moved.abs() + 1.0, |peak| peak.reshape(&[-1, 1, 1, 1]));
        let limits = [ZERO as f32, 0.0, f32::MAX];
        let Some(limits) = Tensor::new(&[1, 3, 1, 1], limits.to_vec()) else { return };
        let reached = self.builder.concat(&[peak, moved, peak], 1).at_most(self.builder.constant(limits));
        self.builder.output(&next(COUNTS), counts + reached.cast(DType::F32));
    }
}

/// The name of what a step gives for the next one.
pub(crate) fn next(name: &str) -> String {
    format!("{name}_next")
}
