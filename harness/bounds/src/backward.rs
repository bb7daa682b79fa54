//! Bounds on linear forms of the logits, carried back through a model: through affine operators as they are, through ReLU by two
//! lines around it, and ended by intervals elsewhere.

use std::collections::HashMap;

use flatscape_autodiff::vjp;
use flatscape_graph::{Builder, DType, Expr, Node, Tensor, ValueId};

use crate::NoBounds;
use crate::forward::{AtZero, Interval, Step, Tape};
use crate::rules::Rule;

/// More than any margin.
const BEYOND: f64 = 1e30;

/// The classes of every sample: one row per sample and class.
pub(crate) struct Classes<'b> {
    count: i64,
    /// 1 at the label, float[N,K].
    label: Expr<'b>,
    /// Zeros, float[N·K].
    pub rows: Expr<'b>,
}

impl<'b> Classes<'b> {
    pub fn new(y: Expr<'b>, classes: usize) -> Classes<'b> {
        let builder = y.builder();
        let numbers = builder.ints(&(0..classes as i64).collect::<Vec<_>>());
        let label = y.unsqueeze(&[1]).equal(numbers).cast(DType::F32);
        Classes { count: classes as i64, label, rows: (label * 0.0).reshape(&[-1]) }
    }

    /// e_y − e_t for every class t, float[N·K,K].
    pub fn forms(&self, builder: &'b Builder) -> Expr<'b> {
        let identity = builder.constant(Tensor::identity(self.count as usize).cast(DType::F32)).unsqueeze(&[0]);
        (self.label.unsqueeze(&[1]) - identity).reshape(&[-1, self.count])
    }

    /// A form per row as one per sample and class: float[N,K,…].
    pub fn apart(&self, forms: Expr<'b>, extents: &[usize]) -> Expr<'b> {
        let shape: Vec<i64> = [-1, self.count].into_iter().chain(extents.iter().map(|&n| n as i64)).collect();
        forms.reshape(&shape)
    }

    /// The reverse of [`Classes::apart`].
    pub fn together(forms: Expr<'b>, extents: &[usize]) -> Expr<'b> {
        let shape: Vec<i64> = std::iter::once(-1).chain(extents.iter().map(|&n| n as i64)).collect();
        forms.reshape(&shape)
    }
}

/// A lower bound on min over t ≠ y of z_y − z_t, float[N]. With `relax` ReLU is passed by lines; otherwise the first operator from the
/// end that is not affine ends the walk.
pub(crate) fn margin<'b>(tape: &Tape<'_, 'b>, output: ValueId, classes: &Classes<'b>, relax: bool) -> Result<Expr<'b>, NoBounds> {
    let mut walk = Walk { tape, classes, relax, forms: HashMap::new(), total: classes.rows };
    walk.forms.insert(output, classes.forms(tape.builder));
    for step in tape.steps.iter().rev() {
        walk.step(step)?;
    }
    // what has arrived at the image
    let left: Vec<(ValueId, Expr<'b>)> = walk.forms.drain().collect();
    for (value, form) in left {
        let interval = tape.interval(value).ok_or(NoBounds::Interface)?;
        walk.end(form, value, interval)?;
    }
    let bounds = walk.total.reshape(&[-1, classes.count]) + classes.label * BEYOND;
    Ok(bounds.reduce("ReduceMin", &[1], false))
}

struct Walk<'t, 'g, 'b> {
    tape: &'t Tape<'g, 'b>,
    classes: &'t Classes<'b>,
    relax: bool,
    /// The linear forms of values that have not been passed yet, float[N·K,…].
    forms: HashMap<ValueId, Expr<'b>>,
    /// What has been bounded already, float[N·K].
    total: Expr<'b>,
}

impl<'b> Walk<'_, '_, 'b> {
    fn step(&mut self, step: &Step) -> Result<(), NoBounds> {
        let outputs: Vec<ValueId> = step.node.outputs.iter().flatten().copied().collect();
        let found: Vec<Option<Expr<'b>>> = outputs.iter().map(|id| self.forms.remove(id)).collect();
        if found.iter().all(Option::is_none) {
            return Ok(());
        }
        if step.rule.is_affine() {
            return self.affine(step.node, &found);
        }
        let (Some(form), &[output]) = (found[0], &outputs[..]) else { return Err(NoBounds::Operator(step.node.describe())) };
        match slope(step).filter(|_| self.relax) {
            Some(slope) => self.relu(step.node, form, slope),
            None => {
                let interval = self.tape.interval(output).ok_or_else(|| NoBounds::Operator(step.node.describe()))?;
                self.end(form, output, interval)
            }
        }
    }

    fn add(&mut self, value: ValueId, form: Expr<'b>) {
        let sum = self.forms.get(&value).map_or(form, |known| *known + form);
        self.forms.insert(value, sum);
    }

    /// A form of f(v) = Wv + b is one of v and a number: the form of f at 0 gives the number, its transpose the rest.
    fn affine(&mut self, node: &Node, found: &[Option<Expr<'b>>]) -> Result<(), NoBounds> {
        let AtZero { zeros, results } = self.tape.at_zero(node, None, self.classes.rows)?;
        let ids: Vec<ValueId> = zeros.iter().map(|(_, zero)| zero.id).collect();
        for (result, form) in results.into_iter().zip(found) {
            let Some(form) = *form else { continue };
            let axes: Vec<i64> = (1..form.rank().unwrap_or(1) as i64).collect();
            self.total = self.total + (form * result).sum(&axes, false);
            let moved = vjp(self.tape.builder, result.id, form.id, &ids)?;
            for ((value, _), moved) in zeros.iter().zip(moved) {
                if let Some(moved) = moved {
                    self.add(*value, self.tape.builder.expr(moved));
                }
            }
        }
        Ok(())
    }

    /// Between l and u a ReLU with slope α below 0 lies above one line through 0 and below the chord.
    fn relu(&mut self, node: &Node, form: Expr<'b>, slope: f64) -> Result<(), NoBounds> {
        let missing = || NoBounds::Operator(node.describe());
        let value = node.input(0).ok_or_else(missing)?;
        let extents = self.tape.extents(value)?;
        let (low, high) = self.tape.interval(value).ok_or_else(missing)?.ends();
        let [on, off] = [low.at_least(0.0), high.at_most(0.0)];
        let one = low * 0.0 + 1.0;
        let below = one * slope;
        let chord = (high - low * slope) / (high - low).max(f64::from(f32::MIN_POSITIVE));
        // the line below that leaves less between it and the ReLU
        let line = high.greater(-low).select(one, below);
        let upper = on.select(one, off.select(below, chord));
        let lower = on.select(one, off.select(below, line));
        let above = on.or(off).select(one * 0.0, high - chord * high);
        let form = self.classes.apart(form, &extents);
        let (gained, lost) = (form.max(0.0), form.min(0.0));
        let [upper, lower, above] = [upper, lower, above].map(|e| e.unsqueeze(&[1]));
        let axes: Vec<i64> = (2..extents.len() as i64 + 2).collect();
        self.total = self.total + (lost * above).sum(&axes, false).reshape(&[-1]);
        self.add(value, Classes::together(gained * lower + lost * upper, &extents));
        Ok(())
    }

    /// The least value of a form over an interval, A·center − |A|·radius, or over the ball, A·x − ε‖A‖, whichever is larger.
    fn end(&mut self, form: Expr<'b>, value: ValueId, interval: Interval<'b>) -> Result<(), NoBounds> {
        let extents = self.tape.extents(value)?;
        let form = self.classes.apart(form, &extents);
        let (center, radius) = (interval.center.unsqueeze(&[1]), interval.radius.unsqueeze(&[1]));
        let axes: Vec<i64> = (2..extents.len() as i64 + 2).collect();
        let mut least = (form * center - form.abs() * radius).sum(&axes, false);
        if let Some(ball) = self.tape.balls.get(&value) {
            let at_point = (form * ball.point.unsqueeze(&[1])).sum(&axes, false);
            least = least.max(at_point - ball.growth(form, self.tape.dual, &axes));
        }
        self.total = self.total + least.reshape(&[-1]);
        Ok(())
    }
}

/// The slope below 0 of an operator that is a ReLU.
fn slope(step: &Step) -> Option<f64> {
    match &*step.node.op {
        "Relu" => Some(0.0),
        "LeakyRelu" => {
            let alpha = f64::from(step.node.attributes.float("alpha", 0.01));
            (step.rule == Rule::Increasing && alpha <= 1.0).then_some(alpha)
        }
        _ => None,
    }
}
