//! Bounds on the gradients of margins, carried back through a model as intervals: through affine operators as they are, through others
//! by an interval for their slope, which follows from the interval of what they are applied to.

use std::collections::HashMap;

use flatscape_autodiff::vjp;
use flatscape_graph::{Attribute, Attributes, Builder, DType, Expr, Node, ValueId};

use crate::backward::Classes;
use crate::forward::{AtZero, Interval, Step, Tape};
use crate::rules::Rule;
use crate::{Dual, NoBounds};

/// Operators without weights that add what they are given, here or on the way back.
const SUMMING: &[&str] =
    &["Add", "AveragePool", "Expand", "Gather", "GlobalAveragePool", "Pad", "ReduceMean", "ReduceSum", "Sub", "Sum", "Tile"];

/// An upper bound on the dual norm of the gradient of z_y − z_t over the ball, float[N,K].
pub(crate) fn slopes<'b>(
    tape: &Tape<'_, 'b>,
    output: ValueId,
    y: Expr<'b>,
    classes: usize,
    dual: Dual,
) -> Result<Expr<'b>, NoBounds> {
    let mut walk = Walk { tape, classes: Classes::new(y, classes), forms: HashMap::new() };
    let center = walk.classes.forms(tape.builder);
    walk.forms.insert(output, Interval { center, radius: center * 0.0 });
    for step in tape.steps.iter().rev() {
        walk.step(step)?;
    }
    let input = *tape.model.inputs().first().ok_or(NoBounds::Interface)?;
    let size = tape.extents(input)?.iter().product::<usize>();
    let Some(gradient) = walk.forms.get(&input) else { return Ok(walk.classes.rows.reshape(&[-1, classes as i64])) };
    let largest = (gradient.center.abs() + gradient.radius).reshape(&[-1, classes as i64, size as i64]);
    let wider = 1.0 + tape.rounding(size);
    Ok(match dual {
        Dual::L1 => largest.sum(&[2], false) * wider,
        Dual::L2 => {
            // divided by the largest, so that squares of small numbers do not vanish
            let top = largest.reduce("ReduceMax", &[2], true).max(f64::from(f32::MIN_POSITIVE));
            let parts = largest / top;
            (parts * parts).sum(&[2], false).sqrt() * top.squeeze(&[2]) * wider
        }
        Dual::Linf => largest.reduce("ReduceMax", &[2], false),
    })
}

struct Walk<'t, 'g, 'b> {
    tape: &'t Tape<'g, 'b>,
    classes: Classes<'b>,
    /// The gradients by values that have not been passed yet, [N·K,…].
    forms: HashMap<ValueId, Interval<'b>>,
}

impl<'g, 'b> Walk<'_, 'g, 'b> {
    fn step(&mut self, step: &Step<'g>) -> Result<(), NoBounds> {
        let taken = |id: &Option<ValueId>| id.and_then(|id| self.forms.remove(&id));
        let found: Vec<Option<Interval<'b>>> = step.node.outputs.iter().map(taken).collect();
        match (step.rule.is_affine(), &found[..]) {
            (_, found) if found.iter().all(Option::is_none) => Ok(()),
            (true, found) => self.affine(step, found),
            (false, &[Some(form)]) if step.node.op.as_ref() == "MaxPool" => self.pool(step.node, form),
            (false, &[Some(form)]) => self.curved(step.node, form),
            _ => Err(NoBounds::Slope(step.node.describe())),
        }
    }

    fn add(&mut self, value: ValueId, form: Interval<'b>) {
        let sum = match self.forms.get(&value) {
            None => form,
            Some(known) => {
                let (center, once) = (known.center + form.center, self.tape.rounding(0));
                Interval { center, radius: (known.radius + form.radius) * (1.0 + once) + center.abs() * once }
            }
        };
        self.forms.insert(value, sum);
    }

    /// Adds what lies between two ends that were rounded by γ on the way.
    fn join(&mut self, value: ValueId, low: Expr<'b>, high: Expr<'b>, gamma: f64) {
        let (center, radius) = ((low + high) * 0.5, (high - low) * 0.5);
        self.add(value, Interval { center, radius: radius + (center.abs() + radius) * gamma });
    }

    /// Wᵀ(center ± radius) = Wᵀcenter ± |W|ᵀradius, widened by the rounding of both.
    fn affine(&mut self, step: &Step<'g>, found: &[Option<Interval<'b>>]) -> Result<(), NoBounds> {
        let (node, tape) = (step.node, self.tape);
        let (weights, gamma) = match step.rule {
            Rule::Weighted { weights } => (Some(weights), tape.rounding_of(node, weights)?),
            _ if SUMMING.contains(&&*node.op) => (None, tape.rounding(self.most(node)?)),
            _ => (None, 0.0),
        };
        let plain = tape.at_zero(node, None, self.classes.rows)?;
        let bare = tape.at_zero(node, weights, self.classes.rows)?;
        for (place, form) in found.iter().enumerate() {
            let Some(form) = *form else { continue };
            let wide = form.radius * (1.0 + gamma) + form.center.abs() * (2.0 * gamma);
            let centers = pulled(tape.builder, &plain, place, form.center)?;
            let radii = pulled(tape.builder, &bare, place, if gamma == 0.0 { form.radius } else { wide })?;
            for ((value, center), (_, radius)) in centers.into_iter().zip(radii) {
                // a difference turns the sign of what belongs to its second operand
                self.add(value, Interval { center, radius: radius.abs() });
            }
        }
        Ok(())
    }

    /// How many numbers the result or an operand has, whichever has more.
    fn most(&self, node: &Node) -> Result<usize, NoBounds> {
        let ids = node.outputs.iter().chain(&node.inputs).flatten().filter(|id| self.tape.interval(**id).is_some());
        let sizes: Vec<usize> = ids.map(|&id| Ok(self.tape.extents(id)?.iter().product())).collect::<Result<_, NoBounds>>()?;
        Ok(sizes.into_iter().max().unwrap_or(1))
    }

    /// Through a function of single numbers whose slope lies in [a, b].
    fn curved(&mut self, node: &Node, form: Interval<'b>) -> Result<(), NoBounds> {
        let refused = || NoBounds::Slope(node.describe());
        let value = node.input(0).ok_or_else(refused)?;
        let (low, high) = self.tape.interval(value).ok_or_else(refused)?.ends();
        let [a, b] = slope(self.tape, node, low, high).ok_or_else(refused)?.map(|end| end.unsqueeze(&[1]));
        let extents = self.tape.extents(value)?;
        let (least, most) = form.ends();
        let (least, most) = (self.classes.apart(least, &extents), self.classes.apart(most, &extents));
        let low = Classes::together((least * a).min(least * b), &extents);
        let high = Classes::together((most * a).max(most * b), &extents);
        self.join(value, low, high, 4.0 * self.tape.rounding(0));
        Ok(())
    }

    /// A window hands its form to one of its numbers: each that may be the largest gets between nothing and all of it.
    fn pool(&mut self, node: &Node, form: Interval<'b>) -> Result<(), NoBounds> {
        let refused = || NoBounds::Slope(node.describe());
        let (value, output) = node.input(0).zip(node.output(0)).ok_or_else(refused)?;
        let extents = self.tape.extents(value)?;
        let window = Window::of(node, &extents, &self.tape.extents(output)?).ok_or_else(refused)?;
        let (low, high) = form.ends();
        let mut ends = [low.min(0.0), high.max(0.0)];
        for end in &mut ends {
            *end = window.spread(self.classes.rows, *end)?;
        }
        if window.apart {
            // what stays below the lower bound of the largest of its only window gets nothing
            let (least, most) = self.tape.interval(value).ok_or_else(refused)?.ends();
            let reached = self.tape.interval(output).ok_or_else(refused)?.ends().0;
            let reached = window.spread(reached.sum(&[1, 2, 3], false) * 0.0, reached)?;
            let slack = (reached.abs() + least.abs()) * (8.0 * self.tape.rounding(0));
            let may = most.at_least(reached - slack).cast(DType::F32).unsqueeze(&[1]);
            for end in &mut ends {
                *end = Classes::together(self.classes.apart(*end, &extents) * may, &extents);
            }
        }
        self.join(value, ends[0], ends[1], 4.0 * self.tape.rounding(window.size));
        Ok(())
    }
}

/// A form of one result of a linear operator as one of each operand.
fn pulled<'b>(builder: &'b Builder, at: &AtZero<'b>, place: usize, form: Expr<'b>) -> Result<Vec<(ValueId, Expr<'b>)>, NoBounds> {
    let ids: Vec<ValueId> = at.zeros.iter().map(|(_, zero)| zero.id).collect();
    let found = vjp(builder, at.results[place].id, form.id, &ids)?;
    let moved = at.zeros.iter().zip(found).filter_map(|((value, _), moved)| moved.map(|moved| (*value, builder.expr(moved))));
    Ok(moved.collect())
}

/// Between which two numbers the slope of an operator lies where its operand lies in [low, high].
fn slope<'b>(tape: &Tape<'_, 'b>, node: &Node, low: Expr<'b>, high: Expr<'b>) -> Option<[Expr<'b>; 2]> {
    let (zero, one) = (low * 0.0, low * 0.0 + 1.0);
    // a bend at 0: `below` under it, 1 above it
    let bent = |below: f64| {
        let (below, on, off) = (one * below, low.at_least(0.0), high.at_most(0.0));
        let either = [below.min(one), below.max(one)];
        either.map(|end| on.select(one, off.select(below, end)))
    };
    // the largest slope at 0, falling to both sides
    let bell = |at: &dyn Fn(Expr<'b>) -> Expr<'b>, top: f64, slack: f64| {
        let (left, right) = (at(low), at(high));
        let across = low.less(0.0).and(high.greater(0.0));
        let most = across.select(one * top, left.max(right));
        [(left.min(right) - slack).max(0.0), most + slack]
    };
    let few = 8.0 * tape.rounding(0);
    match &*node.op {
        "Relu" => Some(bent(0.0)),
        "LeakyRelu" => Some(bent(f64::from(node.attributes.float("alpha", 0.01)))),
        // σ(1 − σ), and 1 − tanh²
        "Sigmoid" => Some(bell(&|v| v.sigmoid() * (-v).sigmoid(), 0.25, few)),
        "Tanh" => Some(bell(&|v| (one - v.tanh()) * (one + v.tanh()), 1.0, few)),
        "Clip" => {
            let end = |place: usize| node.input(place).and_then(|id| tape.fixed.get(&id).copied());
            let mut ends = [one, one];
            if let Some(least) = end(1) {
                ends[0] = low.at_least(least).select(ends[0], zero);
                ends[1] = high.at_most(least).select(zero, ends[1]);
            }
            if let Some(most) = end(2) {
                ends[0] = high.at_most(most).select(ends[0], zero);
                ends[1] = low.at_least(most).select(zero, ends[1]);
            }
            Some(ends)
        }
        _ => None,
    }
}

/// The windows of a pool, as a convolution that sums them.
struct Window {
    attributes: Attributes,
    /// [C,1,h,w]
    kernel: [usize; 4],
    image: [usize; 3],
    /// Numbers in a window.
    size: usize,
    /// Whether no number lies in two windows.
    apart: bool,
}

impl Window {
    fn of(node: &Node, image: &[usize], pooled: &[usize]) -> Option<Window> {
        let (&[c, h, w], &[_, down, right]) = (image, pooled) else { return None };
        let list = |name: &str, default: i64, n: usize| match node.attributes.ints(name) {
            Some(list) if list.len() == n => Some(list.to_vec()),
            Some(_) => None,
            None => Some(vec![default; n]),
        };
        let (kernel, strides) = (node.attributes.ints("kernel_shape")?, list("strides", 1, 2)?);
        let (dilations, mut pads) = (list("dilations", 1, 2)?, list("pads", 0, 4)?);
        // a window that was rounded up reaches beyond the padding
        for (axis, (extent, count)) in [(h, down), (w, right)].into_iter().enumerate() {
            let reach = (count as i64 - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1;
            pads[axis + 2] = (reach - extent as i64 - pads[axis]).max(0);
        }
        let apart = strides.iter().zip(kernel).all(|(stride, size)| stride >= size) && dilations == [1, 1];
        let attributes = Attributes::none()
            .with("group", c as i64)
            .with("strides", Attribute::Ints(strides))
            .with("dilations", Attribute::Ints(dilations))
            .with("pads", Attribute::Ints(pads));
        let [height, width] = <[i64; 2]>::try_from(kernel).ok()?.map(|n| n as usize);
        Some(Window { attributes, kernel: [c, 1, height, width], image: [c, h, w], size: height * width, apart })
    }

    /// Every number of the image gets the sum of what its windows hold; `rows` are zeros, one per row.
    fn spread<'b>(&self, rows: Expr<'b>, held: Expr<'b>) -> Result<Expr<'b>, NoBounds> {
        let builder = held.builder();
        let [c, h, w] = self.image;
        let zero = rows.reshape(&[-1, 1, 1, 1]) + crate::filled(builder, &[1, c, h, w], 0.0);
        let sums = builder.op("Conv", &[zero, crate::filled(builder, &self.kernel, 1.0)], self.attributes.clone());
        let found = vjp(builder, sums.id, held.id, &[zero.id])?;
        found[0].map(|id| builder.expr(id)).ok_or(NoBounds::Interface)
    }
}
