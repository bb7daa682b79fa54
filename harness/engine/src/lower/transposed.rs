//! A `ConvTranspose` with a constant kernel, read into numbers: what every lowering of convolution gradients starts from.
//!
//! `x̄[c, i] = Σ ȳ[m, o] · W[m, c, t]` over all o, t with `s·o + d·t − p = i`, per spatial axis.

use std::sync::Arc;

use flatscape_graph::{Attributes, Dim, Element, Graph, Node, Tensor, ValueId};
use ndarray::{ArrayD, Axis, IxDyn};

/// One `ConvTranspose(ȳ, W)` without bias, all spatial extents known.
#[derive(Clone)]
pub(super) struct Transposed {
    /// ȳ, in the graph that is being written.
    pub ct: ValueId,
    /// W [M, C/g, k…].
    pub kernel: Arc<Tensor>,
    pub group: usize,
    /// One for each spatial axis.
    pub axes: Vec<AxisOf>,
}

/// One spatial axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AxisOf {
    /// Taps of the kernel.
    pub taps: i64,
    pub stride: i64,
    pub dilation: i64,
    /// What is cropped at the beginning.
    pub begin: i64,
    /// Extent of ȳ.
    pub input: i64,
    /// Extent of the result.
    pub output: i64,
}

impl Transposed {
    /// Reads a node whose operands in the new graph are `inputs`; `None` for anything that is not of this kind.
    pub fn read(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<Transposed> {
        if &*node.op != "ConvTranspose" || !node.domain.is_empty() || inputs.get(2).copied().flatten().is_some() {
            return None;
        }
        let (ct, weight) = (inputs.first().copied()??, inputs.get(1).copied()??);
        let kernel = new.constant(weight)?.clone();
        let a = &node.attributes;
        if a.get("output_shape").is_some()
            || !matches!(a.string("auto_pad", "NOTSET"), "NOTSET" | "")
            || !kernel.dtype().is_float()
        {
            return None;
        }
        let extents: Vec<i64> = new.shape(ct)?.iter().skip(2).map(|d| d.fixed().map(|n| n as i64)).collect::<Option<_>>()?;
        let rank = extents.len();
        if kernel.shape().len() != rank + 2 || rank == 0 {
            return None;
        }
        let list = |name: &str, default: i64, length: usize| {
            let stated = a.ints(name).map_or_else(|| vec![default; length], <[i64]>::to_vec);
            (stated.len() == length).then_some(stated)
        };
        let (strides, dilations) = (list("strides", 1, rank)?, list("dilations", 1, rank)?);
        let (pads, extra) = (list("pads", 0, 2 * rank)?, list("output_padding", 0, rank)?);
        let axes: Vec<AxisOf> = (0..rank)
            .map(|i| {
                let (taps, stride, dilation) = (kernel.shape()[i + 2] as i64, strides[i], dilations[i]);
                let output = stride * (extents[i] - 1) + dilation * (taps - 1) + 1 + extra[i] - pads[i] - pads[i + rank];
                AxisOf { taps, stride, dilation, begin: pads[i], input: extents[i], output }
            })
            .collect();
        let sane = axes.iter().all(|x| x.stride > 0 && x.dilation > 0 && x.taps > 0 && x.input > 0 && x.output > 0);
        let group = usize::try_from(a.int("group", 1)).ok().filter(|&g| g > 0 && kernel.shape()[0] % g == 0)?;
        sane.then_some(Transposed { ct, kernel, group, axes })
    }

    /// Channels of ȳ.
    pub fn channels_in(&self) -> usize {
        self.kernel.shape()[0]
    }

    /// Channels of the result.
    pub fn channels_out(&self) -> usize {
        self.kernel.shape()[1] * self.group
    }

    /// The kernel of the plain convolution that does the same with these taps of each axis (in the order given), for stride 1:
    /// in and out swapped per group, and reversed: [C, M/g, taps…].
    pub fn flipped(&self, taps: &[Vec<i64>]) -> Option<Tensor> {
        match &*self.kernel {
            Tensor::F32(w) => flip(w, self.group, taps),
            Tensor::F64(w) => flip(w, self.group, taps),
            _ => None,
        }
    }
}

fn flip<T: Element>(w: &ArrayD<T>, group: usize, taps: &[Vec<i64>]) -> Option<Tensor> {
    let mut kept = w.clone();
    for (axis, taps) in taps.iter().enumerate() {
        let reversed: Vec<usize> = taps.iter().rev().map(|&t| t as usize).collect();
        kept = kept.select(Axis(axis + 2), &reversed);
    }
    let (m, c) = (kept.shape()[0], kept.shape()[1]);
    let spatial: Vec<usize> = kept.shape()[2..].to_vec();
    let split: Vec<usize> = [group, m / group, c].into_iter().chain(spatial.iter().copied()).collect();
    let order: Vec<usize> = [0, 2, 1].into_iter().chain(3..split.len()).collect();
    let joined: Vec<usize> = [group * c, m / group].into_iter().chain(spatial).collect();
    let grouped = kept.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&split)).ok()?;
    let swapped = grouped.permuted_axes(IxDyn(&order)).as_standard_layout().into_owned();
    swapped.into_shape_with_order(IxDyn(&joined)).ok().map(T::wrap)
}

/// A plain convolution, one number for each spatial axis. Pads may be negative: those crop, with a `Slice` before it.
pub(super) struct Plain {
    pub begins: Vec<i64>,
    pub ends: Vec<i64>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    pub group: usize,
}

impl Plain {
    pub fn append(&self, graph: &mut Graph, x: ValueId, kernel: Tensor) -> ValueId {
        let (begins, ends) = (&self.begins, &self.ends);
        let cropped: Vec<usize> = (0..begins.len()).filter(|&i| begins[i] < 0 || ends[i] < 0).collect();
        let x = if cropped.is_empty() { x } else { crop(graph, x, &cropped, begins, ends) };
        let pads: Vec<i64> = begins.iter().chain(ends).map(|&p| p.max(0)).collect();
        let w = graph.add_constant("kernel", kernel);
        let attributes = Attributes::none()
            .with("pads", pads)
            .with("strides", self.strides.clone())
            .with("dilations", self.dilations.clone())
            .with("group", self.group as i64);
        graph.node("Conv", &[x, w], attributes)
    }
}

fn crop(graph: &mut Graph, x: ValueId, axes: &[usize], begins: &[i64], ends: &[i64]) -> ValueId {
    let starts: Vec<i64> = axes.iter().map(|&i| (-begins[i]).max(0)).collect();
    let stops: Vec<i64> = axes.iter().map(|&i| if ends[i] < 0 { ends[i] } else { i64::MAX }).collect();
    let numbers: Vec<i64> = axes.iter().map(|&i| i as i64 + 2).collect();
    slice(graph, x, &starts, &stops, &numbers)
}

/// Appends a `Slice` with steps of 1.
pub(super) fn slice(graph: &mut Graph, x: ValueId, starts: &[i64], stops: &[i64], axes: &[i64]) -> ValueId {
    let [starts, stops, axes] = [starts, stops, axes].map(|v| graph.add_constant("slice", Tensor::ints(v)));
    graph.node("Slice", &[x, starts, stops, axes], Attributes::none())
}

/// The first elements of each spatial axis, where there are more than wanted.
pub(super) fn first(graph: &mut Graph, x: ValueId, wanted: &[i64]) -> ValueId {
    let have: Vec<Option<usize>> = graph.shape(x).map(|s| s.iter().skip(2).map(Dim::fixed).collect()).unwrap_or_default();
    let surplus: Vec<usize> = (0..wanted.len()).filter(|&i| have.get(i).copied().flatten() != Some(wanted[i] as usize)).collect();
    if surplus.is_empty() {
        return x;
    }
    let axes: Vec<i64> = surplus.iter().map(|&i| i as i64 + 2).collect();
    let stops: Vec<i64> = surplus.iter().map(|&i| wanted[i]).collect();
    slice(graph, x, &vec![0; axes.len()], &stops, &axes)
}
