//! `correlations`: the gradient of a convolution by its kernel as one operator of our own, `Correlation`.
//!
//! The rule of autodiff writes it as a convolution of x by ȳ with batch and channels exchanged, whose kernel is as large as an image.
//! ONNX Runtime multiplies that out in memory, every pixel once for each tap.

use flatscape_graph::{Attributes, DType, Dim, Graph, Node, ValueId, ValueType};

use super::{CORRELATION, producer, pushed};

pub(super) fn apply(graph: &Graph, _: &str) -> Graph {
    let lowered = graph.rewrite(|new, node, inputs| {
        let found = Found::read(new, exchanged(new, node, inputs)?)?;
        let correlation = Node::new(CORRELATION, &[found.x, found.ct], found.attributes);
        Some(vec![Some(pushed(new, correlation, &ValueType::fixed(DType::F32, &found.extents)))])
    });
    lowered.without_dead()
}

/// The operands of the gradient by one kernel.
struct Found {
    /// x [N, C, H, W] and ȳ [N, M, P, Q].
    x: ValueId,
    ct: ValueId,
    /// M, C, and the extents of the kernel.
    extents: [usize; 4],
    attributes: Attributes,
}

impl Found {
    /// Reads a value [C, M, kernel] that is a convolution of x by ȳ, both with batch and channels exchanged, or the first taps of one.
    fn read(new: &Graph, result: ValueId) -> Option<Found> {
        let [c, m, height, width] = fixed(new, result)?[..] else { return None };
        let conv = producer(new, first_taps(new, result), "Conv")?;
        let a = &conv.attributes;
        let plain = conv.input(2).is_none() && matches!(a.string("auto_pad", "NOTSET"), "NOTSET" | "") && a.int("group", 1) == 1;
        let (x, ct) = (exchanged_value(new, conv.input(0)?)?, exchanged_value(new, conv.input(1)?)?);
        if !plain || [x, ct].iter().any(|&v| new.dtype(v) != Some(DType::F32) || new.rank(v) != Some(4)) {
            return None;
        }
        let list = |name: &str, default: &[i64]| a.ints(name).unwrap_or(default).to_vec();
        // what strides over ȳ is the distance of taps, and the other way round
        let (strides, dilations, pads) = (list("dilations", &[1, 1]), list("strides", &[1, 1]), list("pads", &[0; 4]));
        let steps: Vec<usize> = new.shape(ct)?.iter().skip(2).map(Dim::fixed).collect::<Option<_>>()?;
        // taps that reach further than ȳ would mostly multiply zeros
        let reach = |axis: usize| (([height, width][axis] as i64 - 1) * dilations[axis]) / strides[axis].max(1);
        let known = strides.len() == 2 && dilations.len() == 2 && pads.len() == 4 && pads.iter().all(|&p| p >= 0);
        if !known || (0..2).any(|axis| reach(axis) > steps[axis] as i64) {
            return None;
        }
        let attributes = Attributes::none()
            .with("kernel_shape", [height as i64, width as i64])
            .with("strides", strides)
            .with("dilations", dilations)
            .with("pads", pads);
        Some(Found { x, ct, extents: [m, c, height, width], attributes })
    }
}

/// What a `Transpose` of the first two of four axes is given.
fn exchanged(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<ValueId> {
    let exchanges = &*node.op == "Transpose" && node.domain.is_empty() && node.attributes.ints("perm") == Some(&[1, 0, 2, 3]);
    inputs.first().copied().flatten().filter(|&v| exchanges && new.rank(v) == Some(4))
}

/// The value of which this one is such a `Transpose`.
fn exchanged_value(new: &Graph, id: ValueId) -> Option<ValueId> {
    let node = producer(new, id, "Transpose")?;
    exchanged(new, node, &node.inputs)
}

/// The value of which this one is the first elements along spatial axes, or the value itself.
fn first_taps(new: &Graph, id: ValueId) -> ValueId {
    let sliced = || {
        let slice = producer(new, id, "Slice")?;
        let numbers = |place: usize| new.constant(slice.input(place)?)?.to_ints();
        let steps = if slice.input(4).is_some() { numbers(4)? } else { Vec::new() };
        let first = numbers(1)?.iter().all(|&start| start == 0) && numbers(3)?.iter().all(|&axis| axis >= 2);
        (first && steps.iter().all(|&step| step == 1)).then(|| slice.input(0))?
    };
    sliced().unwrap_or(id)
}

fn fixed(new: &Graph, id: ValueId) -> Option<Vec<usize>> {
    new.shape(id)?.iter().map(Dim::fixed).collect()
}
