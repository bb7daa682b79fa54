//! A `ConvTranspose`, read into numbers: what every lowering of convolution gradients starts from. Its kernel is a constant, or, in
//! training, a value that the graph computes or is given.
//!
//! `x̄[c, i] = Σ ȳ[m, o] · W[m, c, t]` over all o, t with `s·o + d·t − p = i`, per spatial axis.

use std::sync::Arc;

use flatscape_graph::{Attributes, DType, Dim, Element, Graph, Node, Tensor, ValueId};
use ndarray::{ArrayD, Axis, IxDyn};

/// One `ConvTranspose(ȳ, W)` without bias, all spatial extents known.
#[derive(Clone)]
pub(super) struct Transposed {
    /// ȳ, in the graph that is being written.
    pub ct: ValueId,
    /// W [M, C/g, k…], in the same graph.
    kernel: ValueId,
    /// Its elements, where it is a constant.
    elements: Option<Arc<Tensor>>,
    /// Its extents.
    extents: Vec<usize>,
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
        let (ct, kernel) = (inputs.first().copied()??, inputs.get(1).copied()??);
        let shape: Vec<usize> = new.shape(kernel)?.iter().map(Dim::fixed).collect::<Option<_>>()?;
        let a = &node.attributes;
        if a.get("output_shape").is_some()
            || !matches!(a.string("auto_pad", "NOTSET"), "NOTSET" | "")
            || !matches!(new.dtype(kernel), Some(DType::F32 | DType::F64))
        {
            return None;
        }
        let extents: Vec<i64> = new.shape(ct)?.iter().skip(2).map(|d| d.fixed().map(|n| n as i64)).collect::<Option<_>>()?;
        let rank = extents.len();
        if shape.len() != rank + 2 || rank == 0 {
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
                let (taps, stride, dilation) = (shape[i + 2] as i64, strides[i], dilations[i]);
                let output = stride * (extents[i] - 1) + dilation * (taps - 1) + 1 + extra[i] - pads[i] - pads[i + rank];
                AxisOf { taps, stride, dilation, begin: pads[i], input: extents[i], output }
            })
            .collect();
        let sane = axes.iter().all(|x| x.stride > 0 && x.dilation > 0 && x.taps > 0 && x.input > 0 && x.output > 0);
        let group = usize::try_from(a.int("group", 1)).ok().filter(|&g| g > 0 && shape[0].is_multiple_of(g))?;
        let elements = new.constant(kernel).cloned();
        sane.then_some(Transposed { ct, kernel, elements, extents: shape, group, axes })
    }

    /// Channels of ȳ.
    pub fn channels_in(&self) -> usize {
        self.extents[0]
    }

    /// Channels of the result.
    pub fn channels_out(&self) -> usize {
        self.extents[1] * self.group
    }

    /// The kernel of the plain convolution that does the same with these taps of each axis (some, in the order given, equally far
    /// apart), for stride 1: in and out swapped per group, and reversed: [C, M/g, taps…].
    pub fn flipped(&self, graph: &mut Graph, taps: &[Vec<i64>]) -> Option<ValueId> {
        let flipped = match self.elements.as_deref() {
            Some(Tensor::F32(w)) => flip(w, self.group, taps)?,
            Some(Tensor::F64(w)) => flip(w, self.group, taps)?,
            Some(_) => return None,
            None => return Some(self.flipped_while_running(graph, taps)),
        };
        Some(graph.add_constant("kernel", flipped))
    }

    fn flipped_while_running(&self, graph: &mut Graph, taps: &[Vec<i64>]) -> ValueId {
        let spatial: Vec<i64> = taps.iter().map(|taps| taps.len() as i64).collect();
        let kept = if self.extents[2..].iter().all(|&k| k == 1) { self.kernel } else { self.reversed(graph, taps) };
        if self.group == 1 {
            let perm: Vec<i64> = [1, 0].into_iter().chain(2..spatial.len() as i64 + 2).collect();
            return graph.node("Transpose", &[kept], [("perm", perm.into())]);
        }
        let (g, m, c) = (self.group as i64, self.extents[0] as i64, self.extents[1] as i64);
        let perm: Vec<i64> = [0, 2, 1].into_iter().chain(3..spatial.len() as i64 + 3).collect();
        let split = reshaped(graph, kept, &[&[g, m / g, c], &spatial[..]].concat());
        let swapped = graph.node("Transpose", &[split], [("perm", perm.into())]);
        reshaped(graph, swapped, &[&[g * c, m / g], &spatial[..]].concat())
    }

    /// These taps of the kernel, from the last to the first.
    fn reversed(&self, graph: &mut Graph, taps: &[Vec<i64>]) -> ValueId {
        let starts: Vec<i64> = taps.iter().map(|taps| taps[taps.len() - 1]).collect();
        // the stop is the place before the first tap, counted from the end: there is none before place 0
        let stops: Vec<i64> = taps.iter().zip(&self.extents[2..]).map(|(taps, &k)| taps[0] - 1 - k as i64).collect();
        let axes: Vec<i64> = (2..self.extents.len() as i64).collect();
        let steps: Vec<i64> = taps.iter().map(|taps| if let [a, b, ..] = taps[..] { a - b } else { -1 }).collect();
        let [starts, stops, axes, steps] = [starts, stops, axes, steps].map(|v| graph.add_constant("taps", Tensor::ints(&v)));
        graph.node("Slice", &[self.kernel, starts, stops, axes, steps], Attributes::none())
    }
}

fn reshaped(graph: &mut Graph, value: ValueId, extents: &[i64]) -> ValueId {
    let target = graph.add_constant("extents", Tensor::ints(extents));
    graph.node("Reshape", &[value, target], Attributes::none())
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
    pub fn append(&self, graph: &mut Graph, x: ValueId, kernel: ValueId) -> ValueId {
        let (begins, ends) = (&self.begins, &self.ends);
        let cropped: Vec<usize> = (0..begins.len()).filter(|&i| begins[i] < 0 || ends[i] < 0).collect();
        let x = if cropped.is_empty() { x } else { crop(graph, x, &cropped, begins, ends) };
        let pads: Vec<i64> = begins.iter().chain(ends).map(|&p| p.max(0)).collect();
        let attributes = Attributes::none()
            .with("pads", pads)
            .with("strides", self.strides.clone())
            .with("dilations", self.dilations.clone())
            .with("group", self.group as i64);
        graph.node("Conv", &[x, kernel], attributes)
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
