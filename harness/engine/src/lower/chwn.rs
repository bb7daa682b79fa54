//! `chwn`: convolutions of few channels, and their adjoints, as one operator of our own, `Chwn`, that computes as many images at a time
//! as a register has lanes: with the bias, the addition, the ReLU or the gate that follows, the maxima over squares of 2×2 behind it,
//! and the gradient of such maxima before it.
//!
//! Blocked kernels compute 16 results whether there are as many or not, and `ConvTranspose` writes every product to memory. Where
//! there are 16 results or more, blocked kernels are as fast; where there are more than 16 channels, bringing them into the layout
//! takes longer than the products.
//!
//! Measured on one AVX-512 core (Zen 4) with ONNX Runtime 1.31, 32 images, in µs: 1 → 6, 5×5, 28×28 with ReLU and MaxPool 166 against
//! 302; its adjoint with the gradient of the pool 197 against 243; the adjoint of 6 → 16, 5×5, 248 against 331; 8 → 4, 4×4, 239
//! against 624. Not used: 1 → 32, 3×3, 662 against 634; its adjoint 813 against 635; 8 images of 3 → 64, 525 against 311.

use std::collections::HashMap;

use flatscape_graph::{Attributes, DType, Dim, Graph, Node, ValueId};
use flatscape_kernels::lanes;

use super::beside::joined;
use super::flipped::BLOCK;
use super::transposed::Transposed;
use super::{CHWN, DOMAIN, POOL_GRADIENT, producer, pushed, typed, uses};

pub(super) fn apply(graph: &Graph, engine: &str, rows: usize) -> Graph {
    // fewer images would leave most lanes empty
    if rows < LEAST || lanes() < LEAST {
        return graph.clone();
    }
    let most = if engine == "tract" { MOST_BESIDE_TRACT } else { MOST };
    let read = uses(graph);
    let lowered = graph.rewrite(|new, node, inputs| {
        let made = convolution(graph, new, node, inputs, most)
            .or_else(|| adjoint(new, node, inputs, most))
            .or_else(|| joined(CHWN, new, node, inputs, &read))?;
        let ty = &graph.value(node.output(0)?).ty;
        Some(vec![Some(pushed(new, made, ty))])
    });
    with_maxima(&lowered).without_dead()
}

/// Rows from which on it is used.
const LEAST: usize = 8;

/// Channels and results up to which it is used: ONNX Runtime has blocked kernels for more.
const MOST: [usize; 2] = [BLOCK, BLOCK - 1];
/// The same where the other form is that of tract, which lays every pixel out once per tap. Measured (two cores with AVX-512, 64 rows)
/// against at most 15 results: a gradient step of netkit_fashion_cnn 5.5 against 7.8 ms, of a LeNet 1.0 against 2.3.
const MOST_BESIDE_TRACT: [usize; 2] = [2 * BLOCK, 2 * BLOCK];

/// Numbers of an image from which on it is not used: every thread holds 16 images in the layout.
const LARGEST: usize = 1 << 18;

fn fixed(dims: Option<&[Dim]>) -> Option<Vec<usize>> {
    dims?.iter().map(Dim::fixed).collect()
}

/// A `Conv` that is better computed for many images at a time.
fn convolution(graph: &Graph, new: &Graph, node: &Node, inputs: &[Option<ValueId>], most: [usize; 2]) -> Option<Node> {
    if &*node.op != "Conv" || !node.domain.is_empty() {
        return None;
    }
    let (x, taps) = (inputs.first().copied()??, inputs.get(1).copied()??);
    let bias = inputs.get(2).copied().flatten();
    let a = &node.attributes;
    let list = |name: &str, default: &[i64]| a.ints(name).unwrap_or(default).to_vec();
    let [m, c, kh, kw] = fixed(new.shape(taps))?[..] else { return None };
    let [height, width] = fixed(graph.shape(node.output(0)?)?.get(2..))?[..] else { return None };
    let (strides, dilations, pads) = (list("strides", &[1, 1]), list("dilations", &[1, 1]), list("pads", &[0; 4]));
    let plain = matches!(a.string("auto_pad", "NOTSET"), "NOTSET" | "") && a.int("group", 1) == 1;
    let floats = [Some(x), Some(taps), bias].iter().flatten().all(|&v| new.dtype(v) == Some(DType::F32));
    if !plain || !floats || pads.len() != 4 || strides.len() != 2 || dilations.len() != 2 {
        return None;
    }
    let layer = Layer {
        channels: c,
        results: m,
        kernel: [kh, kw],
        strides,
        dilations,
        begin: pads[..2].to_vec(),
        extents: [height, width],
    };
    layer.node(new, (x, taps, bias), false, most)
}

/// A `ConvTranspose` that is.
fn adjoint(new: &Graph, node: &Node, inputs: &[Option<ValueId>], most: [usize; 2]) -> Option<Node> {
    let t = Transposed::read(new, node, inputs)?;
    let taps = inputs.get(1).copied()??;
    let [first, second] = &t.axes[..] else { return None };
    let floats = [t.ct, taps].iter().all(|&v| new.dtype(v) == Some(DType::F32));
    let both = |of: fn(&super::transposed::AxisOf) -> i64| vec![of(first), of(second)];
    let layer = Layer {
        channels: t.channels_in(),
        results: t.channels_out(),
        kernel: [first.taps as usize, second.taps as usize],
        strides: both(|a| a.stride),
        dilations: both(|a| a.dilation),
        begin: both(|a| a.begin),
        extents: [first.output as usize, second.output as usize],
    };
    if t.group != 1 || !floats { None } else { layer.node(new, (t.ct, taps, None), true, most) }
}

/// What is known of a layer before it runs.
struct Layer {
    channels: usize,
    results: usize,
    kernel: [usize; 2],
    strides: Vec<i64>,
    dilations: Vec<i64>,
    begin: Vec<i64>,
    /// Of the result.
    extents: [usize; 2],
}

impl Layer {
    fn node(
        self,
        new: &Graph,
        (x, taps, bias): (ValueId, ValueId, Option<ValueId>),
        adjoint: bool,
        most: [usize; 2],
    ) -> Option<Node> {
        let sane = self.strides.iter().all(|s| (1..=2).contains(s)) && self.begin.iter().all(|&p| p >= 0);
        let few = self.channels <= most[0] && self.results <= most[1];
        let numbers = fixed(new.shape(x)?.get(1..))?.iter().product::<usize>();
        if !sane || !few || self.extents.contains(&0) || numbers > LARGEST {
            return None;
        }
        let squares = squares(new, x);
        let attributes = Attributes::none()
            .with("kernel_shape", self.kernel.map(|n| n as i64))
            .with("strides", self.strides)
            .with("dilations", self.dilations)
            .with("pads", self.begin)
            .with("extents", self.extents.map(|n| n as i64))
            .with("adjoint", [i64::from(adjoint)])
            .with("positive", [squares.map_or(0, |s| s.2)])
            .with("relu", [0]);
        let (x, ct) = squares.map_or((x, None), |(x, ct, _)| (x, Some(ct)));
        let node = Node::new(CHWN, &[], attributes);
        Some(Node { domain: DOMAIN.into(), inputs: vec![Some(x), Some(taps), bias, None, None, ct], ..node })
    }
}

/// What a maximum over squares of 2×2 was taken of, where this is its gradient; the cotangent, and whether only maxima above 0 pass.
fn squares(new: &Graph, id: ValueId) -> Option<(ValueId, ValueId, i64)> {
    let made = producer(new, id, POOL_GRADIENT)?;
    let (x, ct) = (made.input(0)?, made.input(1)?);
    let extents = |id: ValueId| fixed(new.shape(id)?.get(2..));
    let (whole, halves) = (extents(x)?, extents(ct)?);
    let fits = halves.iter().zip(&whole).all(|(half, whole)| *half == whole / 2 && *half > 0);
    (by_two(made) && fits).then(|| (x, ct, i64::from(made.attributes.ints("positive") == Some(&[1]))))
}

/// Whether a pool has windows of 2×2 without a gap, and no padding.
fn by_two(pool: &Node) -> bool {
    let are =
        |name: &str, wanted: i64, absent: bool| pool.attributes.ints(name).map_or(absent, |v| v.iter().all(|&n| n == wanted));
    are("kernel_shape", 2, false) && are("strides", 2, false) && are("dilations", 1, true) && are("pads", 0, true)
}

/// The maxima over squares of 2×2 of a result, computed with it.
fn with_maxima(graph: &Graph) -> Graph {
    let read = uses(graph);
    // by the result, the pool
    let pools: HashMap<ValueId, &Node> =
        graph.nodes().iter().filter_map(|n| Some((n.input(0)?, n)).filter(|_| pooled(graph, n))).collect();
    // by the result of the pool, its value in the new graph
    let mut maxima: HashMap<ValueId, ValueId> = HashMap::new();
    graph.rewrite(|new, node, inputs| {
        if let Some(&made) = node.output(0).and_then(|id| maxima.get(&id)) {
            return Some(vec![Some(made)]);
        }
        let result = node.output(0)?;
        let pool = pools.get(&result).filter(|_| &*node.op == CHWN)?.output(0)?;
        let alone = read.get(&result) == Some(&1);
        let attributes = node.attributes.clone().with("give", [if alone { 2 } else { 1 }]);
        let made = new.push(Node { attributes, inputs: inputs.to_vec(), ..node.clone() }, if alone { 1 } else { 2 });
        let (whole, most) = (made[0], made[made.len() - 1]);
        typed(new, CHWN, most, &graph.value(pool).ty);
        maxima.insert(pool, most);
        if !alone {
            typed(new, CHWN, whole, &graph.value(result).ty);
        }
        Some(vec![Some(whole)])
    })
}

/// Whether a node is a pool that the operator before it can compute itself.
fn pooled(graph: &Graph, node: &Node) -> bool {
    let halved = || {
        let (x, y) = (fixed(graph.shape(node.input(0)?)?.get(2..))?, fixed(graph.shape(node.output(0)?)?.get(2..))?);
        Some(x.iter().zip(&y).all(|(x, y)| x / 2 == *y && *y > 0))
    };
    let behind = || node.input(0).and_then(|id| producer(graph, id, CHWN));
    let plain = |made: &Node| made.input(super::beside::SUM).is_none() && made.input(super::beside::GATED).is_none();
    let one = node.outputs.iter().flatten().count() == 1;
    &*node.op == "MaxPool"
        && node.domain.is_empty()
        && one
        && by_two(node)
        && halved() == Some(true)
        && behind().is_some_and(plain)
}
