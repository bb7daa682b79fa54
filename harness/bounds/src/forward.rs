//! Intervals through a model, value by value.

use std::collections::HashMap;

use flatscape_graph::{Attributes, Builder, Expr, Graph, Node, Tensor, ValueId};

use crate::rules::{ONE_TO_ONE, Rule, rule};
use crate::{Dual, NoBounds, Region};

/// What is known of a value over the ball: center ± radius, of one shape.
#[derive(Clone, Copy)]
pub(crate) struct Interval<'b> {
    pub center: Expr<'b>,
    pub radius: Expr<'b>,
}

impl<'b> Interval<'b> {
    pub fn ends(self) -> (Expr<'b>, Expr<'b>) {
        (self.center - self.radius, self.center + self.radius)
    }

    fn between(low: Expr<'b>, high: Expr<'b>) -> Interval<'b> {
        Interval { center: (low + high) * 0.5, radius: (high - low) * 0.5 }
    }
}

/// What is known of such a value over a ball in l2 or l1.
#[derive(Clone, Copy)]
pub(crate) struct Ball<'b> {
    /// The value at the image itself.
    pub point: Expr<'b>,
    /// The radius times the factor of each entry.
    pub radius: Expr<'b>,
}

impl<'b> Ball<'b> {
    /// The most that a linear form of the entries grows over the ball, over these axes.
    pub fn growth(self, form: Expr<'b>, dual: Dual, axes: &[i64]) -> Expr<'b> {
        let scaled = (form * self.radius.unsqueeze(&[1])).abs();
        match dual {
            Dual::L1 => scaled.sum(axes, false),
            Dual::L2 => (scaled * scaled).sum(axes, false).sqrt(),
            Dual::Linf => scaled.reduce("ReduceMax", axes, false),
        }
    }
}

/// An affine node at zeros.
pub(crate) struct AtZero<'b> {
    /// The zeros that stand for the operands that depend on the image.
    pub zeros: Vec<(ValueId, Expr<'b>)>,
    /// What the node gives.
    pub results: Vec<Expr<'b>>,
}

/// A node that depends on the image, and how it treats intervals.
pub(crate) struct Step<'g> {
    pub node: &'g Node,
    pub rule: Rule,
}

/// A model with the intervals of its values.
pub(crate) struct Tape<'g, 'b> {
    pub model: &'g Graph,
    pub builder: &'b Builder,
    /// Values that do not depend on the image.
    pub fixed: HashMap<ValueId, Expr<'b>>,
    pub intervals: HashMap<ValueId, Interval<'b>>,
    /// Values whose entries are pixels times numbers plus numbers, every pixel once at most, where the ball is smaller than the cube.
    pub balls: HashMap<ValueId, Ball<'b>>,
    /// The norm in which rows of coefficients bound the growth over the ball.
    pub dual: Dual,
    /// The nodes that depend on the image, in order.
    pub steps: Vec<Step<'g>>,
    /// The unit roundoff of the run: half the distance of 1 to the next number.
    unit: f64,
}

/// Carries the interval around `x` through a model.
pub(crate) fn propagate<'g, 'b>(
    model: &'g Graph,
    builder: &'b Builder,
    x: Expr<'b>,
    eps: Expr<'b>,
    region: Region,
    (dual, unit): (Dual, f64),
) -> Result<Tape<'g, 'b>, NoBounds> {
    let input = *model.inputs().first().ok_or(NoBounds::Interface)?;
    let eps = eps.unsqueeze(&[1, 2, 3]);
    let first = Interval::between((x - eps).max(region.lo), (x + eps).min(region.hi));
    let intervals = HashMap::from([(input, first)]);
    // the ball in the maximum norm is the cube
    let balls = HashMap::from([(input, Ball { point: x, radius: x * 0.0 + eps })]).into_iter().filter(|_| dual != Dual::L1);
    let balls = balls.collect();
    let mut tape = Tape { model, builder, fixed: HashMap::new(), intervals, balls, dual, steps: Vec::new(), unit };
    for (id, value) in model.values() {
        if let Some(tensor) = &value.constant {
            tape.fixed.insert(id, builder.constant(tensor.as_ref().clone()));
        }
    }
    for node in model.nodes() {
        tape.node(node)?;
    }
    Ok(tape)
}

/// At most how many products a sum of this linear operator has, forwards and backwards. Of weights [O, I, …] or [I, O, …] a sum runs
/// over all entries with one index of one of the first two axes.
fn terms(weights: &Tensor) -> usize {
    match weights.shape() {
        [a, b, ..] => weights.len() / (*a).min(*b).max(1),
        _ => weights.len(),
    }
}

impl<'g, 'b> Tape<'g, 'b> {
    pub fn interval(&self, id: ValueId) -> Option<Interval<'b>> {
        self.intervals.get(&id).copied()
    }

    /// A bound on the rounding error of a sum of `terms` products, relative to the sum of their absolute values: γ_n = n u / (1 − n u)
    /// (Higham 2002, «Accuracy and Stability of Numerical Algorithms», section 3.1).
    pub fn rounding(&self, terms: usize) -> f64 {
        let n = (terms + 2) as f64 * self.unit;
        if n < 0.5 { n / (1.0 - n) } else { f64::INFINITY }
    }

    /// That of a linear operator, forwards and backwards: the place of its weights is known.
    pub fn rounding_of(&self, node: &Node, weights: usize) -> Result<f64, NoBounds> {
        let weights = node.input(weights).and_then(|id| self.model.constant(id));
        weights.map(|w| self.rounding(terms(w))).ok_or_else(|| NoBounds::Operator(node.describe()))
    }

    /// Copies a node with these operands.
    pub fn copy(&self, node: &Node, operands: &[Option<Expr<'b>>]) -> Vec<Expr<'b>> {
        if node.outputs.len() == 1 {
            return vec![self.builder.op_with_gaps(&node.op, operands, node.attributes.clone())];
        }
        let given: Vec<Expr<'b>> = operands.iter().flatten().copied().collect();
        self.builder.ops(&node.op, &given, node.outputs.len(), node.attributes.clone())
    }

    fn node(&mut self, node: &'g Node) -> Result<(), NoBounds> {
        let varies: Vec<bool> = node.inputs.iter().map(|id| id.is_some_and(|id| self.intervals.contains_key(&id))).collect();
        // extents of a value are the same for every image
        if !varies.contains(&true) || matches!(&*node.op, "Shape" | "Size") {
            let operand = |id: &Option<ValueId>| id.and_then(|id| self.fixed.get(&id).copied().or(self.center(id)));
            let operands: Vec<_> = node.inputs.iter().map(operand).collect();
            for (id, value) in node.outputs.iter().zip(self.copy(node, &operands)) {
                id.map(|id| self.fixed.insert(id, value));
            }
            return Ok(());
        }
        let rule = rule(self.model, node, &varies).ok_or_else(|| NoBounds::Operator(node.describe()))?;
        let found = match rule {
            Rule::Weighted { weights } => vec![self.weighted(node, weights)?],
            Rule::Positive => self.positive(node)?,
            Rule::Pads => vec![self.padded(node)?],
            Rule::Sum => vec![self.sum(node)?],
            Rule::Increasing => vec![self.increasing(node)?],
        };
        let found = self.in_the_ball(node, rule, found)?;
        for (id, interval) in node.outputs.iter().zip(found) {
            id.map(|id| self.intervals.insert(id, interval));
        }
        self.steps.push(Step { node, rule });
        Ok(())
    }

    /// The intervals of the results, cut to what the ball in l2 or l1 allows; keeps balls of the results.
    fn in_the_ball(&mut self, node: &Node, rule: Rule, found: Vec<Interval<'b>>) -> Result<Vec<Interval<'b>>, NoBounds> {
        let place = node.inputs.iter().position(|id| id.is_some_and(|id| self.balls.contains_key(&id)));
        let Some((place, id)) = place.and_then(|place| Some((place, node.input(place)?))) else { return Ok(found) };
        let (ball, varies) = (self.balls[&id], node.inputs.iter().flatten().filter(|id| self.intervals.contains_key(id)).count());
        let through = |part: Expr<'b>, fixed: &dyn Fn(usize, Expr<'b>) -> Option<Expr<'b>>| self.operands(node, |_| part, fixed);
        let points = || self.copy(node, &through(ball.point, &|_, value| Some(value)));
        let unstretched =
            || node.output(0).is_some_and(|y| self.model.shape(y).is_some() && self.model.shape(y) == self.model.shape(id));
        let radii = match rule {
            _ if varies != 1 => return Ok(found),
            Rule::Positive if ONE_TO_ONE.contains(&&*node.op) => self.copy(node, &through(ball.radius, &|_, value| Some(value))),
            // the other modes repeat pixels
            Rule::Pads if node.attributes.string("mode", "constant") == "constant" => {
                self.copy(node, &through(ball.radius, &|place, value| (place != 2).then_some(value)))
            }
            Rule::Sum if unstretched() => vec![ball.radius],
            Rule::Weighted { .. } if matches!(&*node.op, "Mul" | "Div") && unstretched() => {
                self.copy(node, &through(ball.radius, &|_, value| Some(value.abs())))
            }
            Rule::Weighted { weights } if !matches!(&*node.op, "Mul" | "Div") && place != weights => {
                let [point] = points()[..] else { return Err(NoBounds::Operator(node.describe())) };
                let reach = self.reach(node, weights, ball)?;
                let (low, high) = found[0].ends();
                return Ok(vec![Interval::between(low.max(point - reach), high.min(point + reach))]);
            }
            _ => return Ok(found),
        };
        let balls: Vec<_> = points().into_iter().zip(radii).map(|(point, radius)| Ball { point, radius }).collect();
        self.balls.extend(node.outputs.iter().zip(balls).filter_map(|(id, ball)| Some(((*id)?, ball))));
        Ok(found)
    }

    /// ε‖row‖ of every result of a linear operator, widened by its rounding. For balls in l1 the largest weight of the operator bounds every
    /// row.
    fn reach(&self, node: &Node, weights: usize, ball: Ball<'b>) -> Result<Expr<'b>, NoBounds> {
        let gamma = self.rounding_of(node, weights)?;
        let applied = |part: Expr<'b>, weight: &dyn Fn(Expr<'b>) -> Expr<'b>| {
            let operands = self.operands(node, |_| part, |place, value| (place < 2).then(|| weight(value)));
            self.builder.op_with_gaps(&node.op, &operands, positive(node))
        };
        let rounding = applied(ball.point.abs() * (2.0 * gamma), &|w| w.abs());
        let alpha = if &*node.op == "Gemm" { f64::from(node.attributes.float("alpha", 1.0)).abs() } else { 1.0 };
        let grown = match self.dual {
            // the operator multiplies by alpha once, and its square is wanted
            Dual::L2 => (applied(ball.radius * ball.radius, &|w| w * w) * alpha).sqrt(),
            _ => {
                let constant = node.input(weights).and_then(|id| self.model.constant(id));
                let largest = constant.map_or(f64::INFINITY, |w| w.to_f64().iter().fold(0.0, |m: f64, v| m.max(v.abs())));
                let axes: Vec<i64> = (1..ball.radius.rank().unwrap_or(1) as i64).collect();
                let widest = ball.radius.reduce("ReduceMax", &axes, false) * (largest * alpha);
                let ones: Vec<i64> = (1..rounding.rank().unwrap_or(1) as i64).collect();
                rounding * 0.0 + widest.unsqueeze(&ones)
            }
        };
        Ok(grown * (1.0 + gamma) + rounding)
    }

    fn center(&self, id: ValueId) -> Option<Expr<'b>> {
        self.interval(id).map(|interval| interval.center)
    }

    /// The operands of a node, those that depend on the image through `part`, the others through `fixed`.
    fn operands(
        &self,
        node: &Node,
        part: impl Fn(Interval<'b>) -> Expr<'b>,
        fixed: impl Fn(usize, Expr<'b>) -> Option<Expr<'b>>,
    ) -> Vec<Option<Expr<'b>>> {
        let operand = |(place, id): (usize, &Option<ValueId>)| {
            let id = (*id)?;
            match self.interval(id) {
                Some(interval) => Some(part(interval)),
                None => self.fixed.get(&id).and_then(|value| fixed(place, *value)),
            }
        };
        let mut operands: Vec<_> = node.inputs.iter().enumerate().map(operand).collect();
        operands.truncate(operands.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        operands
    }

    /// The center of the result.
    fn centers(&self, node: &Node) -> Vec<Expr<'b>> {
        self.copy(node, &self.operands(node, |interval| interval.center, |_, value| Some(value)))
    }

    /// center' = W·center + b, radius' = |W|·radius, widened by the rounding of both.
    fn weighted(&self, node: &Node, weights: usize) -> Result<Interval<'b>, NoBounds> {
        let missing = || NoBounds::Operator(node.describe());
        let [center] = self.centers(node)[..] else { return Err(missing()) };
        let gamma = self.rounding_of(node, weights)?;
        let widened = |i: Interval<'b>| i.radius * (1.0 + gamma) + i.center.abs() * (2.0 * gamma);
        // what is added belongs to the center
        let operands = self.operands(node, widened, |place, value| (place < 2).then(|| value.abs()));
        let radius = self.builder.op_with_gaps(&node.op, &operands, positive(node)) + center.abs() * gamma;
        Ok(Interval { center, radius })
    }

    fn positive(&self, node: &Node) -> Result<Vec<Interval<'b>>, NoBounds> {
        let centers = self.centers(node);
        // extents, places and the like stay; what is joined has no radius
        let rest = |_, value: Expr<'b>| Some(if value.dtype().is_float() { value * 0.0 } else { value });
        let radii = self.copy(node, &self.operands(node, |interval| interval.radius, rest));
        let sums = matches!(&*node.op, "AveragePool" | "GlobalAveragePool" | "ReduceMean" | "ReduceSum");
        let terms = node.input(0).and_then(|id| self.model.shape(id)).and_then(crate::inner);
        let gamma = match (sums, terms) {
            (false, _) => 0.0,
            (true, Some(extents)) => self.rounding(extents.iter().product()),
            (true, None) => return Err(NoBounds::Extents(node.describe())),
        };
        if gamma == 0.0 {
            return Ok(centers.into_iter().zip(radii).map(|(center, radius)| Interval { center, radius }).collect());
        }
        let sizes = self.copy(node, &self.operands(node, |i| i.center.abs() + i.radius, |_, value| Some(value)));
        let joined = centers.into_iter().zip(radii).zip(sizes);
        Ok(joined.map(|((center, radius), size)| Interval { center, radius: radius + size * gamma }).collect())
    }

    fn padded(&self, node: &Node) -> Result<Interval<'b>, NoBounds> {
        let [center] = self.centers(node)[..] else { return Err(NoBounds::Operator(node.describe())) };
        // the third operand is the value that is padded with
        let rest = |place, value: Expr<'b>| (place != 2).then_some(value);
        let radius = self.copy(node, &self.operands(node, |interval| interval.radius, rest))[0];
        Ok(Interval { center, radius })
    }

    fn sum(&self, node: &Node) -> Result<Interval<'b>, NoBounds> {
        let [center] = self.centers(node)[..] else { return Err(NoBounds::Operator(node.describe())) };
        let radii = node.inputs.iter().flatten().filter_map(|id| self.interval(*id)).map(|interval| interval.radius);
        let radius = radii.reduce(|a, b| a + b).ok_or_else(|| NoBounds::Operator(node.describe()))?;
        let gamma = self.rounding(node.inputs.len());
        // in the shape of the result, where a constant stretches the operand
        let radius = radius * (1.0 + gamma) + center.abs() * gamma;
        Ok(Interval { center, radius })
    }

    fn increasing(&self, node: &Node) -> Result<Interval<'b>, NoBounds> {
        let end = |high: bool| {
            let part = |interval: Interval<'b>| {
                let (low, up) = interval.ends();
                if high { up } else { low }
            };
            // two of them by operators that every engine has in double precision
            match (&*node.op, node.input(0).and_then(|id| self.interval(id)).map(part)) {
                ("LeakyRelu", Some(x)) => {
                    vec![x.max(0.0) + x.min(0.0) * f64::from(node.attributes.float("alpha", 0.01))]
                }
                ("Sigmoid", Some(x)) => vec![((-x).exp() + 1.0).unary("Reciprocal")],
                _ => self.copy(node, &self.operands(node, part, |_, value| Some(value))),
            }
        };
        match (&end(false)[..], &end(true)[..]) {
            (&[low], &[high]) => Ok(Interval::between(low, high)),
            _ => Err(NoBounds::Operator(node.describe())),
        }
    }

    /// Evaluates a node with zeros in place of every operand that depends on the image; one row of zeros per entry of `rows`. With
    /// `weights` the coefficients at this place are taken by their absolute values.
    pub fn at_zero(&self, node: &Node, weights: Option<usize>, rows: Expr<'b>) -> Result<AtZero<'b>, NoBounds> {
        let mut zeros: Vec<(ValueId, Expr<'b>)> = Vec::new();
        let mut operands = Vec::with_capacity(node.inputs.len());
        for (place, id) in node.inputs.iter().enumerate() {
            let Some(id) = *id else {
                operands.push(None);
                continue;
            };
            if self.interval(id).is_none() {
                let fixed = self.fixed.get(&id).copied();
                operands.push(if weights == Some(place) { fixed.map(Expr::abs) } else { fixed });
                continue;
            }
            let extents = self.extents(id)?;
            let zero = crate::filled(self.builder, &std::iter::once(1).chain(extents.iter().copied()).collect::<Vec<_>>(), 0.0);
            let ones: Vec<i64> = extents.iter().map(|_| 1).collect();
            let column: Vec<i64> = std::iter::once(-1).chain(ones).collect();
            // one zero per row: the rows' own zeros are broadcast over the extents
            let zero = rows.reshape(&column) + zero;
            zeros.push((id, zero));
            operands.push(Some(zero));
        }
        let bare = Node { attributes: if weights.is_some() { positive(node) } else { node.attributes.clone() }, ..node.clone() };
        Ok(AtZero { results: self.copy(&bare, &operands), zeros })
    }

    /// Extents of a value behind the batch.
    pub fn extents(&self, id: ValueId) -> Result<Vec<usize>, NoBounds> {
        let name = || NoBounds::Extents(flatscape_graph::shown(&self.model.value(id).name).to_string());
        self.model.shape(id).and_then(crate::inner).ok_or_else(name)
    }
}

/// The attributes of a linear operator whose weights are not negative.
fn positive(node: &Node) -> Attributes {
    match node.op.as_ref() {
        "Gemm" => node.attributes.clone().with("alpha", node.attributes.float("alpha", 1.0).abs()),
        _ => node.attributes.clone(),
    }
}
