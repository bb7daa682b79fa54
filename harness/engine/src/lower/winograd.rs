//! `winograd`: convolutions of 3×3 taps and stride 1, and gradients that are such convolutions, as one operator of our own, `Winograd`,
//! with the bias, the addition, the ReLU or the gate that follows.
//!
//! Gradients by such kernels, `Correlation`s, are told to use squares too.
//!
//! Its sums are not those of the direct form. So it is made only where the caller states how many rows a batch has, and the squares
//! that a layer is computed in follow from that, from its extents and from the vectors of the processor.

use std::ops::RangeInclusive;

use flatscape_graph::{Attributes, DType, Dim, Graph, Node, ValueId};
use flatscape_kernels::{SQUARES, Square, lanes};

use super::beside::joined;
use super::flipped::BLOCK;
use super::transposed::{AxisOf, Transposed};
use super::{CORRELATION, DOMAIN, WINOGRAD, pushed, uses};

pub(super) fn apply(graph: &Graph, _: &str, rows: usize) -> Graph {
    let uses = uses(graph);
    let lowered = graph.rewrite(|new, node, inputs| {
        let made = convolution(new, node, inputs, rows)
            .or_else(|| adjoint(new, node, inputs, rows))
            .or_else(|| correlation(new, node, inputs, rows))
            .or_else(|| joined(WINOGRAD, new, node, inputs, &uses))?;
        let ty = &graph.value(node.output(0)?).ty;
        Some(vec![Some(pushed(new, made, ty))])
    });
    lowered.without_dead()
}

/// A `Conv` that is better computed in squares.
fn convolution(new: &Graph, node: &Node, inputs: &[Option<ValueId>], rows: usize) -> Option<Node> {
    if &*node.op != "Conv" || !node.domain.is_empty() {
        return None;
    }
    let (x, taps) = (inputs.first().copied()??, inputs.get(1).copied()??);
    let a = &node.attributes;
    let are = |name: &str, wanted: i64| a.ints(name).is_none_or(|v| v.iter().all(|&n| n == wanted));
    let plain = matches!(a.string("auto_pad", "NOTSET"), "NOTSET" | "") && a.int("group", 1) == 1;
    let pads = a.ints("pads").map_or_else(|| vec![0; 4], <[i64]>::to_vec);
    let floats =
        [Some(x), Some(taps), inputs.get(2).copied().flatten()].iter().flatten().all(|&v| new.dtype(v) == Some(DType::F32));
    if !plain || !floats || !are("strides", 1) || !are("dilations", 1) || pads.iter().any(|p| !(0..=2).contains(p)) {
        return None;
    }
    let fixed = |dims: &[Dim]| dims.iter().map(Dim::fixed).collect::<Option<Vec<usize>>>();
    let [results, channels, 3, 3] = fixed(new.shape(taps)?)?[..] else { return None };
    let [height, width] = fixed(new.shape(x)?.get(2..)?)?[..] else { return None };
    let [top, left, bottom, right] = pads[..] else { return None };
    let steps = [(height as i64 + top + bottom) as usize, (width as i64 + left + right) as usize];
    let steps = [steps[0].checked_sub(2).filter(|&n| n > 0)?, steps[1].checked_sub(2).filter(|&n| n > 0)?];
    let layer = Layer { rows, channels, results, steps, constant: new.constant(taps).is_some() };
    layer.node([Some(x), Some(taps), inputs.get(2).copied().flatten()], pads, false)
}

/// A `ConvTranspose` that is. It reads the taps of the convolution: nothing flips them in memory.
fn adjoint(new: &Graph, node: &Node, inputs: &[Option<ValueId>], rows: usize) -> Option<Node> {
    let t = Transposed::read(new, node, inputs)?;
    let taps = inputs.get(1).copied()??;
    let [first, second] = t.axes[..] else { return None };
    let plain = |a: AxisOf| (a.taps, a.stride, a.dilation) == (3, 1, 1);
    let pads = [first, second].map(|a| [2 - a.begin, a.output - a.input + a.begin]);
    let pads = vec![pads[0][0], pads[1][0], pads[0][1], pads[1][1]];
    let floats = [t.ct, taps].iter().all(|&v| new.dtype(v) == Some(DType::F32));
    if t.group != 1 || !floats || !plain(first) || !plain(second) || pads.iter().any(|p| !(0..=2).contains(p)) {
        return None;
    }
    let steps = [first.output as usize, second.output as usize];
    let constant = new.constant(taps).is_some();
    let layer = Layer { rows, channels: t.channels_in(), results: t.channels_out(), steps, constant };
    layer.node([Some(t.ct), Some(taps), None], pads, true)
}

/// A `Correlation` that is better computed in squares.
fn correlation(new: &Graph, node: &Node, inputs: &[Option<ValueId>], rows: usize) -> Option<Node> {
    let are =
        |name: &str, range: RangeInclusive<i64>| node.attributes.ints(name).is_some_and(|v| v.iter().all(|n| range.contains(n)));
    let plain = are("kernel_shape", 3..=3) && are("strides", 1..=1) && are("dilations", 1..=1) && are("pads", 0..=2);
    if &*node.op != CORRELATION || &*node.domain != DOMAIN || node.attributes.ints("square").is_some() || !plain {
        return None;
    }
    let extents = |place: usize| {
        let dims = new.shape(inputs.get(place).copied()??)?.get(1..)?;
        dims.iter().map(Dim::fixed).collect::<Option<Vec<usize>>>()
    };
    let (x, ct) = (extents(0)?, extents(1)?);
    let (&[channels, ..], &[results, height, width]) = (&x[..], &ct[..]) else { return None };
    let square = Layer { rows, channels, results, steps: [height, width], constant: false }.square_of_gradient(lanes())?;
    let attributes = node.attributes.clone().with("square", [square.step() as i64]);
    Some(Node { attributes, inputs: inputs.to_vec(), outputs: Vec::new(), ..node.clone() })
}

/// What is known of a layer before it runs.
struct Layer {
    /// Rows of a batch.
    rows: usize,
    channels: usize,
    results: usize,
    /// Extents of the result.
    steps: [usize; 2],
    /// Whether taps are brought to the points once.
    constant: bool,
}

/// Products that a core adds in a cycle at best: two registers of AVX2, or one of AVX-512 where it counts twice as much.
const PEAK: f64 = 16.0;
/// The share of it that ONNX Runtime reaches, and that products at the points reach.
const SHARES: [f64; 2] = [0.7, 0.85];
/// The same of the gradient by taps, and cycles that bring a number of x or ȳ to a point.
const GRADIENT_SHARES: [f64; 2] = [0.45, 0.6];
const TRANSFORM: f64 = 3.5;
/// Bytes that come from memory, and that are written there, in a cycle.
const BYTES: [f64; 2] = [6.0, 3.0];
/// Bytes of taps that stay in the caches of a core.
const CACHED: f64 = 1e6;
/// Taps of a layer that take at most this many bytes at the points are kept there.
const KEPT: f64 = 1e7;
/// Taps are kept at the points in any case if a run has at most this many squares: to bring them there for every job would take longer
/// than the products. At the points of squares of 2×2 taps take less than twice their memory, and are always kept.
const FEW: usize = 4;
/// Cycles that bring a tap to one of the points.
const SPREAD: f64 = 0.2;

impl Layer {
    /// The layer in the squares in which it is computed fastest; `operands` are x, the taps, and the bias.
    fn node(&self, operands: [Option<ValueId>; 3], pads: Vec<i64>, adjoint: bool) -> Option<Node> {
        let square = self.square(lanes())?;
        let attributes = Attributes::none().with("square", [square.step() as i64]).with("pads", pads).with("relu", [0]);
        let attributes = attributes.with("adjoint", [i64::from(adjoint)]).with("kept", [i64::from(self.keeps(square))]);
        let node = Node::new(WINOGRAD, &[], attributes);
        Some(Node { domain: DOMAIN.into(), inputs: operands.into_iter().chain([None, None]).collect(), ..node })
    }

    /// The squares in which it is computed fastest; `None` where the direct form is faster, or where there are no vectors.
    fn square(&self, lanes: usize) -> Option<Square> {
        if lanes < 8 || self.channels < BLOCK || self.results < BLOCK {
            return None;
        }
        let best = if self.cost(Square::Four) <= self.cost(Square::Two) { Square::Four } else { Square::Two };
        (self.cost(best) < self.direct()).then_some(best)
    }

    /// The same of the gradient by its taps.
    fn square_of_gradient(&self, lanes: usize) -> Option<Square> {
        if lanes < 8 || self.channels < BLOCK || self.results < BLOCK {
            return None;
        }
        let cost = |square: Square| {
            let points = (self.squares(square) * square.points()) as f64;
            let (channels, results) = (self.channels as f64, self.results as f64);
            points * channels * results / (PEAK * GRADIENT_SHARES[1]) + TRANSFORM * points * (channels + results)
        };
        let best = if cost(Square::Four) <= cost(Square::Two) { Square::Four } else { Square::Two };
        (cost(best) < self.direct() * SHARES[0] / GRADIENT_SHARES[0]).then_some(best)
    }

    /// Squares of a batch.
    fn squares(&self, square: Square) -> usize {
        let [rows, columns] = self.steps.map(|n| n.div_ceil(square.step()));
        self.rows * rows * columns
    }

    /// Whether taps are kept at the points.
    fn keeps(&self, square: Square) -> bool {
        square == Square::Two || self.bytes(square) <= KEPT || self.squares(square) <= FEW
    }

    /// Of all taps at the points.
    fn bytes(&self, square: Square) -> f64 {
        (4 * square.points() * self.channels * self.results) as f64
    }

    /// Cycles of the direct form.
    fn direct(&self) -> f64 {
        let products = self.rows * self.steps[0] * self.steps[1] * 9 * self.channels * self.results;
        products as f64 / (PEAK * SHARES[0])
    }

    /// Cycles of the form with these squares: products, transforms of pixels and results, and taps from memory or to the points.
    fn cost(&self, square: Square) -> f64 {
        let points = (self.squares(square) * square.points()) as f64;
        let (channels, results) = (self.channels as f64, self.results as f64);
        let products = points * channels * results / (PEAK * SHARES[1]) + points * (channels + results) / 2.0;
        let (kept, raw) = (self.bytes(square), 36.0 * channels * results);
        if !self.keeps(square) {
            let jobs = self.squares(square).div_ceil(SQUARES) as f64;
            return products + jobs * (raw / BYTES[0] + SPREAD * kept / 4.0) + if self.constant { 0.0 } else { raw / BYTES[1] };
        }
        let read = if kept > CACHED { kept / BYTES[0] } else { 0.0 };
        let written = if self.constant { 0.0 } else { kept / BYTES[1] };
        products + read + written
    }
}
