//! What is derived from a model at a point: one row per quantity, with what it needs and how it is built.

use flatscape_bounds::{Dual, Region, slopes};
use flatscape_graph::{Attributes, Expr};
use flatscape_intake::drawn::DRAWS;
use flatscape_intake::functions;

use super::LinkError;
use super::scope::{Last, Scope};
use crate::threats;

/// The point at which a quantity is taken, and how that is written behind its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// At `x`: no suffix. In `init`, and in a metric's graphs other than `observe`, `x` is `x0`.
    Here,
    /// At `x0`: the suffix `0`.
    Origin,
    /// At `x_clean`, the clean point also where a metric is taken at adversarial points: the suffix `_clean`.
    Clean,
    /// At `x_adv`, the adversarial point of a trainer: the suffix `_adv`.
    Adversarial,
}

impl Anchor {
    /// What a quantity is made of.
    pub fn suffix(self) -> &'static str {
        match self {
            Anchor::Here => "",
            Anchor::Origin => "0",
            Anchor::Clean => "_clean",
            Anchor::Adversarial => "_adv",
        }
    }
}

/// Something that a quantity needs of the program or the model; `missing` is a clause where it is not there.
pub struct Need {
    /// Whether it is the model that lacks it.
    pub(super) of_model: bool,
    pub(super) missing: for<'s, 'b, 'a> fn(&'s Scope<'b, 'a>) -> Option<String>,
}

/// A row of the table.
pub struct Quantity {
    /// Its name without a suffix.
    pub name: &'static str,
    /// The points at which it exists.
    pub anchors: &'static [Anchor],
    /// What it needs besides the model.
    pub needs: &'static [Need],
    /// How it is built.
    pub(super) build: for<'s, 'b, 'a> fn(&'s mut Scope<'b, 'a>, Anchor) -> Result<Expr<'b>, LinkError>,
}

const ANYWHERE: &[Anchor] = &[Anchor::Here, Anchor::Origin, Anchor::Clean, Anchor::Adversarial];
const NEAR: &[Anchor] = &[Anchor::Here, Anchor::Origin];
const TRAINED: &[Anchor] = &[Anchor::Here, Anchor::Origin, Anchor::Adversarial];
const HERE: &[Anchor] = &[Anchor::Here];

const COTANGENT: Need = Need {
    of_model: false,
    missing: |scope| {
        scope.link.cotangent.is_none().then(|| "needs a graph of role `cotangent`, and the program has none".to_owned())
    },
};
const HEAD: Need = Need {
    of_model: true,
    missing: |scope| scope.head.as_ref().err().map(|why| format!("needs a linear last layer, and this model has none: {why}")),
};
const DECODING: Need = Need {
    of_model: false,
    missing: |scope| {
        scope.decodes().and_then(|parameter| parameter.points()).map(|_| {
            let threat = scope.link.threat.norm.name;
            format!(
                "needs the derivative of the decoding, and under the threat model {threat} images are decoded without a graph"
            )
        })
    },
};
const LIKELIHOOD: Need =
    Need { of_model: true, missing: |scope| scope.link.no_likelihood.map(|why| format!("does not exist for this model: {why}")) };

/// Every quantity, in the order of the documentation.
pub const QUANTITIES: &[Quantity] = &[
    Quantity { name: "logits", anchors: ANYWHERE, needs: &[], build: |scope, anchor| Ok(scope.logits(anchor)) },
    Quantity { name: "loss", anchors: ANYWHERE, needs: &[], build: value },
    Quantity { name: "grad", anchors: TRAINED, needs: &[], build: grad },
    Quantity { name: "grad_z", anchors: HERE, needs: &[DECODING], build: grad_z },
    Quantity { name: "ascent", anchors: NEAR, needs: &[], build: ascent },
    Quantity { name: "ascent_z", anchors: HERE, needs: &[DECODING], build: ascent_z },
    Quantity { name: "logp", anchors: ANYWHERE, needs: &[LIKELIHOOD], build: likelihood },
    Quantity { name: "grad_logp", anchors: TRAINED, needs: &[LIKELIHOOD], build: likelihood_gradient },
    Quantity { name: "vjp", anchors: TRAINED, needs: &[COTANGENT], build: products },
    Quantity { name: "slope_bound", anchors: HERE, needs: &[], build: slope_bound },
    Quantity { name: "hvp", anchors: HERE, needs: &[], build: curvature },
    Quantity { name: "features", anchors: ANYWHERE, needs: &[HEAD], build: features },
    Quantity { name: "head_weight", anchors: HERE, needs: &[HEAD], build: |scope, _| head(scope, true) },
    Quantity { name: "head_bias", anchors: HERE, needs: &[HEAD], build: |scope, _| head(scope, false) },
];

/// The row of a name, and the point that its suffix means.
pub(super) fn named(name: &str) -> Option<(&'static Quantity, Anchor)> {
    QUANTITIES.iter().find_map(|row| {
        let suffix = name.strip_prefix(row.name)?;
        row.anchors.iter().find(|anchor| anchor.suffix() == suffix).map(|anchor| (row, *anchor))
    })
}

fn row(name: &str) -> Option<&'static Quantity> {
    QUANTITIES.iter().find(|row| row.name == name)
}

/// The logits at a point, which other quantities are built from.
fn logits<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    match row("logits") {
        Some(row) => scope.take(row, anchor),
        None => Ok(scope.logits(anchor)),
    }
}

/// The scores of every draw at a point, [N,K,C], where the model gives those of several.
fn draws<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Option<Expr<'b>>, LinkError> {
    if scope.draws.is_none() {
        return Ok(None);
    }
    logits(scope, anchor)?;
    Ok(scope.remembered(DRAWS, anchor))
}

/// The loss per sample, [N]: over several draws the mean, or that of the last one where gradients alone are averaged.
fn value<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    if draws(scope, anchor)?.is_some() && scope.draws.is_some_and(|(_, losses)| losses) {
        return mean_loss(scope, anchor);
    }
    Ok(loss(scope, anchor)?.0)
}

fn mean_loss<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    let each = scope.of_each(anchor, |scope, anchor| Ok(loss(scope, anchor)?.0))?;
    let count = each.len() as f64;
    let sum = each.into_iter().reduce(|a, b| a + b);
    sum.map(|sum| sum / count).ok_or_else(|| LinkError::name("loss", "is the mean over no draw"))
}

/// A value and a cotangent of it, whose product with the derivative of the value is the gradient of the loss, or of its mean over
/// draws.
fn slope<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<(Expr<'b>, Expr<'b>), LinkError> {
    let ones =
        |scope: &Scope<'b, '_>, loss: Expr<'b>| scope.builder.op("Expand", &[loss.scalar(1.0), loss.shape()], Attributes::none());
    let Some(draws) = draws(scope, anchor)? else {
        return Ok(match loss(scope, anchor)? {
            (_, Some(cotangent)) => (logits(scope, anchor)?, cotangent),
            (loss, None) => (loss, ones(scope, loss)),
        });
    };
    let each = scope.of_each(anchor, |scope, anchor| Ok(loss(scope, anchor)?.1))?;
    match each.iter().copied().collect::<Option<Vec<_>>>() {
        Some(cotangents) => Ok((draws, stacked(scope, &cotangents) / each.len() as f64)),
        None => {
            let loss = mean_loss(scope, anchor)?;
            Ok((loss, ones(scope, loss)))
        }
    }
}

/// [N,…] for every draw as [N,K,…].
fn stacked<'b>(scope: &Scope<'b, '_>, each: &[Expr<'b>]) -> Expr<'b> {
    scope.builder.concat(&each.iter().map(|value| value.unsqueeze(&[1])).collect::<Vec<_>>(), 1)
}

/// The loss per sample, [N], and for cross-entropy its exact cotangent at the logits.
fn loss<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<(Expr<'b>, Option<Expr<'b>>), LinkError> {
    if let Some(graph) = scope.link.objective {
        let outputs = scope.include_at(graph, anchor)?;
        let loss = outputs.into_iter().find(|(name, _)| name == "loss").map(|(_, loss)| (loss, None));
        return loss.ok_or(LinkError::Output { role: "objective", name: "loss" });
    }
    let logits = logits(scope, anchor)?;
    let class = scope.class();
    let (loss, cotangent) = functions::cross_entropy(scope.builder, logits, class);
    Ok(if scope.link.targeted { (-loss, Some(-cotangent)) } else { (loss, Some(cotangent)) })
}

/// ∇ₓ loss: a supplied one where there is one and the program has no objective of its own
fn grad<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    match scope.link.given {
        Some(graph) if scope.link.objective.is_none() => {
            scope.backwards += 1;
            Ok(scope.supplied(graph, anchor))
        }
        _ => own_grad(scope, anchor),
    }
}

/// ∇ₓ loss, differentiated here.
fn own_grad<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    logits(scope, anchor)?;
    let x = scope.point_of(anchor);
    scope.backwards += 1;
    let (of, cotangent) = slope(scope, anchor)?;
    scope.pull(of, cotangent, x)
}

/// ∂loss/∂z: the gradient through the decoding, [N,P]; where nothing is decoded, the gradient itself. An objective that names z has
/// it as an operand, too, and is differentiated as a whole.
fn grad_z<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    let names_z = scope.link.objective.is_some_and(|objective| objective.input_named("z").is_some());
    if !names_z {
        return through_decoding(scope, anchor, "grad");
    }
    let (x, z) = (scope.point_of(anchor), scope.parameter(anchor)?);
    if x.id == z.id {
        return through_decoding(scope, anchor, "grad");
    }
    scope.backwards += 1;
    let (of, cotangent) = slope(scope, anchor)?;
    scope.pull(of, cotangent, z)
}

/// `ascent` through the decoding: `grad_z` up to a positive factor per sample
fn ascent_z<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    match row("grad_z").filter(|_| scope.link.objective.is_some()) {
        Some(row) => scope.take(row, anchor),
        None => through_decoding(scope, anchor, "ascent"),
    }
}

/// A gradient in x, pulled back to z where images are decoded from z.
fn through_decoding<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor, name: &str) -> Result<Expr<'b>, LinkError> {
    let row = row(name).ok_or_else(|| LinkError::name(name, "is not among the names of this host"))?;
    let gradient = scope.take(row, anchor)?;
    let (x, z) = (scope.point_of(anchor), scope.parameter(anchor)?);
    if x.id == z.id { Ok(gradient) } else { scope.pull(x, gradient, z) }
}

/// (q − e_y)ᵀJ, q the softmax over the classes other than y: ∇ₓ of cross-entropy divided by 1 − p_y, which is positive. Over several
/// draws the sum of these, each times its 1 − p_y over the largest. An objective of the program's own, and a supplied gradient,
/// have no such form: there it is the gradient.
fn ascent<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    if scope.link.objective.is_some() || scope.link.given.is_some() {
        return match row("grad") {
            Some(row) => scope.take(row, anchor),
            None => grad(scope, anchor),
        };
    }
    let logits = logits(scope, anchor)?;
    let (class, x) = (scope.class(), scope.point_of(anchor));
    scope.backwards += 1;
    let (of, cotangent) = match draws(scope, anchor)? {
        None => (logits, functions::ascent(scope.builder, logits, class)),
        Some(draws) => {
            let each = scope.of_each(anchor, |scope, anchor| {
                let logits = self::logits(scope, anchor)?;
                Ok((functions::ascent(scope.builder, logits, class), functions::log_rest(scope.builder, logits, class)))
            })?;
            let (ascents, rests): (Vec<_>, Vec<_>) = each.into_iter().unzip();
            let rests = stacked(scope, &rests);
            let weights = (rests - rests.reduce("ReduceMax", &[1], true)).exp().unsqueeze(&[2]);
            (draws, stacked(scope, &ascents) * weights)
        }
    };
    scope.pull(of, if scope.link.targeted { -cotangent } else { cotangent }, x)
}

/// LSE(f(x)) = log p(x) + ln Z, Z unknown: [N]. Source: Grathwohl et al. 2020 (arXiv:1912.03263), equation 4.
fn likelihood<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    Ok(functions::log_sum_exp(logits(scope, anchor)?))
}

/// ∇ₓ LSE(f(x)) = softmax(f(x))ᵀJ
fn likelihood_gradient<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    let logits = logits(scope, anchor)?;
    let x = scope.point_of(anchor);
    scope.backwards += 1;
    scope.pull(logits, logits.softmax(1), x)
}

/// ctᵀJ for the rows of the program's cotangent, [N,…] or [N,K,…].
fn products<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    let missing = || LinkError::Output { role: "cotangent", name: "ct" };
    let logits = logits(scope, anchor)?;
    let x = scope.point_of(anchor);
    let graph = scope.link.cotangent.ok_or_else(missing)?;
    let ct = scope.include_at(graph, anchor)?.into_iter().find(|(name, _)| name == "ct").ok_or_else(missing)?.1;
    let Some([_, k, _]) = ct.dims().and_then(|dims| <[_; 3]>::try_from(dims).ok()) else {
        scope.backwards += 1;
        return scope.pull(logits, ct, x);
    };
    let k = k.fixed().ok_or_else(|| LinkError::name("ct", "must have a fixed number of rows"))?;
    scope.backwards += k as u32;
    let mut parts = Vec::with_capacity(k);
    for row in 0..k as i64 {
        let one = ct.slice(&[row], &[row + 1], &[1], &[1]).squeeze(&[1]);
        parts.push(scope.pull(logits, one, x)?.unsqueeze(&[1]));
    }
    Ok(scope.builder.concat(&parts, 1))
}

/// H·d, H the Hessian of the loss in x, which is symmetric: the gradient differentiated again with d as cotangent. A supplied
/// gradient cannot be differentiated, so this one is our own.
fn curvature<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    let direction = scope.direction();
    let grad = own_grad(scope, anchor)?;
    let x = scope.point_of(anchor);
    scope.backwards += 1;
    scope.pull(grad, direction, x)
}

/// An upper bound on the dual norm of ∇(z_y − z_k) over the ball around x0, for every class k: [N,K].
fn slope_bound<'b>(scope: &mut Scope<'b, '_>, _: Anchor) -> Result<Expr<'b>, LinkError> {
    let threat = scope.link.threat;
    let norm = threat.norm.name;
    let refused = || LinkError::name("slope_bound", format!("has no meaning under the threat model {norm}, which is no ball"));
    let dual = Dual::of(norm).ok_or_else(refused)?;
    let (x, y) = (scope.point_of(Anchor::Origin), scope.class());
    let eps = scope.feed("eps", &flatscape_graph::ValueType::default()).expand_like(y);
    let region = Region { lo: threat.lo.into(), hi: threat.hi.into() };
    let classes = scope.link.model.outputs().first().and_then(|o| scope.link.model.shape(o.value)?.last()?.fixed());
    (scope.forwards, scope.backwards) = (scope.forwards + 2, scope.backwards + 2 * classes.unwrap_or(1) as u32);
    let found = slopes(scope.link.model, scope.builder, [x, eps, y], region, dual);
    found.map_err(|why| LinkError::Lacking { name: "slope_bound".into(), why: format!("does not exist for this model: {why}") })
}

/// The input of the last linear layer, [N,F]; a forward pass.
fn features<'b>(scope: &mut Scope<'b, '_>, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
    logits(scope, anchor)?;
    scope.remembered("features", anchor).ok_or_else(|| LinkError::name("features", "the model does not give"))
}

/// Weights [classes,F] or biases [classes] of the last linear layer.
fn head<'b>(scope: &mut Scope<'b, '_>, weight: bool) -> Result<Expr<'b>, LinkError> {
    let name = if weight { "head_weight" } else { "head_bias" };
    if let Last::Constant(head) = scope.head.as_ref().map_err(|why| LinkError::name(name, why.as_str()))? {
        let tensor = if weight { head.weight.clone() } else { head.bias.clone() };
        return Ok(scope.builder.constant(tensor));
    }
    logits(scope, Anchor::Here)?;
    scope.last.get(name).copied().ok_or_else(|| LinkError::name(name, "the model does not give"))
}

/// The largest absolute entry per sample, NaN where an entry is NaN or infinite: engines differ in what ReduceMax makes of NaN, and
/// the sum keeps it. Scaled down, finite entries have a finite sum.
pub(super) fn peak<'b>(gradient: Expr<'b>) -> Expr<'b> {
    let (size, axes) = (gradient.abs(), threats::sample_axes(gradient));
    let largest = size.reduce("ReduceMax", &axes, false);
    let finite = (size * 1e-30).sum(&axes, false).at_most(f64::from(f32::MAX));
    finite.select(largest, largest.scalar(f64::NAN))
}
