//! Functions of single pixels, before the first layer with weights, that have the derivative zero at values which pixels take: a ReLU at
//! black pixels, a clip behind its bounds, a root at 0. Attacks do not move such pixels, although the model reads them. A smooth function
//! whose slope is 0 at a point, as a square, is none of them.

use std::collections::HashMap;

use flatscape_graph::{DType, Node, ValueId, ops};

use super::reading::{Reading, cause};
use super::{Cause, Hazard, threshold};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "clipped-pixels",
        unreliable: true,
        raised_if: "a function of single pixels before the first layer with weights has the derivative zero at a value that \
                    pixels take, by convention or on an interval: ReLU, |x| or a root at 0, a clip or a threshold inside of their \
                    range",
        explanation: "Pixels at such values, often all that are black or white, have a gradient of exactly zero. An attack that \
                      follows the gradient never moves them, although they count.",
        advice: "Let attacks look through it: --remedy straight-through takes the derivative of the identity. The verdict is \
                 that of the untouched model. Add an attack without gradients.",
    },
    remedies: &["straight-through"],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    cause(clipped(reading).into_iter().map(|clipped| clipped.node), "before the first layer with weights")
}

/// A node that loses a derivative.
pub(crate) struct Clipped<'a> {
    /// The node.
    pub node: &'a Node,
    /// The operand whose derivative it loses, of the shape of its result.
    pub operand: ValueId,
    /// Whether the result falls where the operand rises.
    pub falls: bool,
}

/// Nodes before the first layers with weights whose derivative is zero somewhere in the range of the pixels, in topological order.
pub(crate) fn clipped<'a>(reading: &Reading<'a>) -> Vec<Clipped<'a>> {
    let mut ranges = HashMap::from([(reading.input, reading.fed.unwrap_or_else(|| range_of_pixels(reading)))]);
    let mut found = Vec::new();
    for node in reading.front() {
        let Some(y) = node.output(0) else { continue };
        let site = Site { reading, node, ranges: &ranges };
        let range = site.range();
        let shape = |v| reading.graph.shape(v);
        let operand = site.lost().map(|x| site.before_squares(x)).filter(|&x| shape(x).is_some() && shape(x) == shape(y));
        found.extend(operand.map(|operand| Clipped { node, operand, falls: site.falls() }));
        if let Some(range) = range {
            ranges.insert(y, range);
        }
    }
    found
}

/// The smallest and the largest number in a value; infinite where they are not known.
type Range = (f64, f64);

const UNKNOWN: Range = (f64::NEG_INFINITY, f64::INFINITY);

/// 0 to 255 where the model takes integers or first scales or shifts its input as bytes need it; otherwise 0 to 1.
fn range_of_pixels(reading: &Reading) -> Range {
    let integers = reading.graph.dtype(reading.input).is_some_and(|t| !t.is_float());
    let of_bytes = |n: &Node| match &*n.op {
        "Div" | "Sub" => reading.number(n, 1).is_some_and(|c| c >= 10.0),
        "Mul" => reading.number(n, 1).is_some_and(|c| c > 0.0 && c <= 0.1),
        _ => false,
    };
    let first = reading.only_reader(reading.input);
    (0.0, if integers || first.is_some_and(of_bytes) { 255.0 } else { 1.0 })
}

/// A node of the front, with the ranges of what stands before it.
struct Site<'r, 'a> {
    reading: &'r Reading<'a>,
    node: &'a Node,
    ranges: &'r HashMap<ValueId, Range>,
}

impl Site<'_, '_> {
    /// The range of an operand: that of a constant is exact. `None` where it is made of more than one pixel.
    fn of(&self, operand: usize) -> Option<Range> {
        let value = self.node.input(operand)?;
        if let Some(tensor) = self.reading.graph.constant(value) {
            return Some(hull(tensor.to_f64().into_iter()));
        }
        let known = self.ranges.get(&value).copied();
        known.or_else(|| (!self.reading.carries(value)).then_some(UNKNOWN))
    }

    /// A bound of a clip.
    fn bound(&self, operand: usize, missing: f64) -> Range {
        if self.node.inputs.get(operand).copied().flatten().is_some() {
            self.of(operand).unwrap_or(UNKNOWN)
        } else {
            (missing, missing)
        }
    }

    /// The range of the first result, if that is a function of single pixels.
    fn range(&self) -> Option<Range> {
        if &*self.node.op == "Where" {
            return Some(hull([self.of(1)?, self.of(2)?].into_iter().flat_map(|(low, high)| [low, high])));
        }
        let x = self.of(0)?;
        let both = |f: fn(f64, f64) -> f64| self.of(1).map(|y| corners(x, y, f));
        Some(match &*self.node.op {
            "Identity" | "Cast" | "Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze" | "Slice" | "Gather"
            | "Split" | "Expand" | "Tile" | "Dropout" | "Surrogate" | "SpaceToDepth" | "DepthToSpace" => x,
            // a window of one pixel, and images that keep their size
            "AveragePool" | "MaxPool" | "Resize" if self.keeps_its_shape() && self.looks_at_one() => x,
            "AveragePool"
            | "MaxPool"
            | "Resize"
            | "Softmax"
            | "LogSoftmax"
            | "LRN"
            | "InstanceNormalization"
            | "LayerNormalization"
            | "GroupNormalization"
            | "CumSum" => return None,
            "Sum" => {
                let parts: Option<Vec<Range>> = (0..self.node.inputs.len()).map(|i| self.of(i)).collect();
                parts?.into_iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
            }
            "Concat" => {
                let parts: Option<Vec<Range>> = (0..self.node.inputs.len()).map(|i| self.of(i)).collect();
                hull(parts?.into_iter().flat_map(|(low, high)| [low, high]))
            }
            "Add" => both(|x, y| x + y)?,
            "Sub" => both(|x, y| x - y)?,
            "Mul" => both(|x, y| x * y)?,
            "Div" => both(|x, y| x / y)?,
            "Max" => both(f64::max)?,
            "Min" => both(f64::min)?,
            "Pad" => (x.0.min(0.0), x.1.max(0.0)),
            "Neg" => (-x.1, -x.0),
            "Round" => (x.0.round_ties_even(), x.1.round_ties_even()),
            "Floor" => (x.0.floor(), x.1.floor()),
            "Ceil" => (x.0.ceil(), x.1.ceil()),
            "Relu" => (x.0.max(0.0), x.1.max(0.0)),
            "Abs" => ((-x.1).max(x.0).max(0.0), x.0.abs().max(x.1.abs())),
            "Clip" => {
                let (low, high) = (self.bound(1, f64::NEG_INFINITY), self.bound(2, f64::INFINITY));
                (x.0.max(low.0).min(high.1), x.1.min(high.1).max(low.0))
            }
            "Sqrt" => (x.0.max(0.0).sqrt(), x.1.max(0.0).sqrt()),
            "Sigmoid" | "HardSigmoid" => (0.0, 1.0),
            "Tanh" | "Softsign" => (-1.0, 1.0),
            // what is one number of another, whichever
            "BatchNormalization" | "Conv" | "Gemm" | "MatMul" => UNKNOWN,
            _ if self.keeps_its_shape() && self.node.inputs.iter().flatten().filter(|v| self.varies(**v)).count() == 1 => UNKNOWN,
            _ => return None,
        })
    }

    fn keeps_its_shape(&self) -> bool {
        let shape = |v: Option<ValueId>| v.and_then(|v| self.reading.graph.shape(v));
        shape(self.node.input(0)).is_some() && shape(self.node.input(0)) == shape(self.node.output(0))
    }

    /// Whether a window has one entry; what has no window looks at one.
    fn looks_at_one(&self) -> bool {
        self.node.attributes.ints("kernel_shape").is_none_or(|extents| extents.iter().all(|&e| e == 1))
    }

    /// Whether a value depends on pixels and is not the same number for all of them.
    fn varies(&self, value: ValueId) -> bool {
        self.reading.carries(value) && !self.ranges.get(&value).is_some_and(|(low, high)| low == high)
    }

    /// The operand whose derivative is zero somewhere in its range, although the result depends on it there or close by.
    fn lost(&self) -> Option<ValueId> {
        let node = self.node;
        let float = |v: &ValueId| self.reading.carries(*v) && self.reading.graph.dtype(*v).is_some_and(DType::is_float);
        let x = node.input(0).filter(float);
        // a condition has no range
        let (low, high) = if matches!(&*node.op, "Where" | "Mul") { UNKNOWN } else { self.of(0)? };
        // where the derivative is zero at 0 only, that is a pixel's value if the range ends there
        let ends_at_0 = low == 0.0 || high == 0.0;
        match &*node.op {
            _ if &*node.domain == ops::FUNCTIONS => None,
            "Relu" => x.filter(|_| low <= 0.0),
            "LeakyRelu" => x.filter(|_| low < 0.0 && node.attributes.float("alpha", 0.01) == 0.0),
            "Abs" | "Sqrt" => x.filter(|_| ends_at_0),
            "ReduceL1" | "ReduceL2" => x.filter(|_| ends_at_0 && self.keeps_its_shape()),
            "HardSwish" => x.filter(|_| low <= -3.0),
            "Pow" => x.filter(|_| ends_at_0 && self.reading.number(node, 1).is_some_and(|power| power < 1.0)),
            "ThresholdedRelu" => x.filter(|_| low <= f64::from(node.attributes.float("alpha", 1.0))),
            "Shrink" => x.filter(|_| {
                let lambda = f64::from(node.attributes.float("lambd", 0.5));
                low <= lambda && high >= -lambda
            }),
            "HardSigmoid" => x.filter(|_| {
                let [alpha, beta] = [("alpha", 0.2), ("beta", 0.5)].map(|(name, d)| f64::from(node.attributes.float(name, d)));
                let (from, to) = corners((low, high), (alpha, alpha), |x, a| x * a);
                from + beta <= 0.0 || to + beta >= 1.0
            }),
            "Clip" => x.filter(|_| {
                // constants are rounded to float32
                let slack = 1e-5 * (high - low).min(f64::MAX);
                low + slack < self.bound(1, f64::NEG_INFINITY).1 || high - slack > self.bound(2, f64::INFINITY).0
            }),
            "Max" | "Min" => self.beside_a_constant(),
            "Mul" => [(0, 1), (1, 0)].into_iter().find_map(|(kept, switch)| self.switched(kept, switch)),
            "Where" => [(1, 2), (2, 1)].into_iter().find_map(|(kept, other)| {
                let constant = node.input(other).is_some_and(|v| !self.varies(v));
                self.switched(kept, 0).filter(|_| constant)
            }),
            _ => None,
        }
    }

    /// What is squared, if a root of that is taken: at 0 the derivative of the square is 0, too.
    fn before_squares(&self, mut value: ValueId) -> ValueId {
        if !matches!(&*self.node.op, "Sqrt" | "Pow") {
            return value;
        }
        while let Some(by) = self.reading.producer(value) {
            let squares = match &*by.op {
                "Mul" => by.input(0) == by.input(1),
                "Pow" => self.reading.number(by, 1).is_some_and(|power| power > 1.0),
                op => op == "Abs",
            };
            match by.input(0).filter(|v| squares && self.ranges.get(v).is_some_and(|(low, _)| *low >= 0.0)) {
                Some(squared) => value = squared,
                None => break,
            }
        }
        value
    }

    /// Whether the result falls where the operand rises.
    fn falls(&self) -> bool {
        let below_0 = self.of(0).is_some_and(|(low, high)| low < 0.0 && high <= 0.0);
        match &*self.node.op {
            "Abs" => below_0,
            "HardSigmoid" => self.node.attributes.float("alpha", 0.2) < 0.0,
            _ => false,
        }
    }

    /// The operand of a maximum or minimum that a constant replaces somewhere. Ties go to the first operand.
    fn beside_a_constant(&self) -> Option<ValueId> {
        let is_max = &*self.node.op == "Max";
        let carrying = |i: &usize| self.node.input(*i).is_some_and(|v| self.varies(v));
        let mut places = (0..self.node.inputs.len()).filter(carrying);
        let (place, others) = (places.next()?, places.next());
        let (low, high) = self.of(place).filter(|_| others.is_none())?;
        let replaced = (0..self.node.inputs.len()).filter(|&i| i != place).any(|i| {
            let Some((from, to)) = self.of(i) else { return false };
            if is_max { low < to || (low == to && i < place) } else { high > from || (high == from && i < place) }
        });
        self.node.input(place).filter(|_| replaced)
    }

    /// The operand `kept`, if the operand `switch` is the truth of a comparison of pixels with a constant.
    fn switched(&self, kept: usize, switch: usize) -> Option<ValueId> {
        let carries = |v: ValueId| self.reading.carries(v);
        let kept = self.node.input(kept).filter(|v| self.varies(*v) && self.ranges.contains_key(v))?;
        let mut by = self.reading.producer(self.node.input(switch).filter(|&v| carries(v))?)?;
        while matches!(&*by.op, "Cast" | "Not" | "And" | "Or") {
            by = self.reading.producer(by.input(0)?)?;
        }
        let with_constant = by.inputs.iter().flatten().any(|&v| !self.varies(v));
        (threshold::COMPARISONS.contains(&&*by.op) && with_constant).then_some(kept)
    }
}

fn hull(values: impl Iterator<Item = f64>) -> Range {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// The range of an operation that is monotone in each operand.
fn corners(x: Range, y: Range, f: impl Fn(f64, f64) -> f64) -> Range {
    let values = [f(x.0, y.0), f(x.0, y.1), f(x.1, y.0), f(x.1, y.1)];
    if values.iter().any(|v| v.is_nan()) { UNKNOWN } else { hull(values.into_iter()) }
}
