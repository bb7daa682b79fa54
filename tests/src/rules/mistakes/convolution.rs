//! Mistakes of convolutions: pads, strides, dilations, groups, what a stride leaves over, the direction of the kernel.

use super::altered::{all_but_channels, edited, reversed, right, with, with_exchanged, with_pads_exchanged};
use super::{Mistake, wrong};
use flatscape_graph::{Attribute, Tensor};

pub const MISTAKES: &[Mistake] = &[
    wrong("Conv", 0, "begins and ends of the pads are exchanged", |n, ct| with_pads_exchanged(right(n, 0, ct), "ConvTranspose")),
    wrong("Conv", 0, "pads are forgotten", |n, ct| {
        // of the uncropped result, the part that begins where the right one would begin without pads
        let whole = with(right(n, 0, ct), "ConvTranspose", "pads", None);
        let extents: Vec<i64> = n.dims(0).unwrap_or_default()[2..].iter().map(|d| d.fixed().unwrap_or(1) as i64).collect();
        let axes: Vec<i64> = (2..2 + extents.len() as i64).collect();
        whole.slice(&vec![0; axes.len()], &extents, &axes, &vec![1; axes.len()])
    }),
    wrong("Conv", 0, "what the stride leaves over is forgotten", |n, ct| {
        with(right(n, 0, ct), "ConvTranspose", "output_padding", None)
    }),
    wrong("Conv", 0, "the dilation is forgotten", |n, ct| with(right(n, 0, ct), "ConvTranspose", "dilations", None)),
    wrong("Conv", 0, "the groups are forgotten", |n, ct| {
        with(right(n, 0, ct), "ConvTranspose", "group", Some(Attribute::Int(1)))
    }),
    wrong("Conv", 0, "the kernel is turned around", |n, ct| {
        edited(right(n, 0, ct), "ConvTranspose", &|b, node| {
            let kernel = b.expr(node.inputs[1].expect("a kernel"));
            let axes = 2..kernel.rank().unwrap_or(2) as i64;
            node.inputs[1] = Some(axes.fold(kernel, reversed).id);
        })
    }),
    wrong("Conv", 1, "begins and ends of the pads are exchanged", |n, ct| with_pads_exchanged(right(n, 1, ct), "Conv")),
    wrong("Conv", 1, "stride and dilation are not exchanged", |n, ct| {
        with_exchanged(right(n, 1, ct), "Conv", "strides", "dilations")
    }),
    wrong("Conv", 1, "the kernel's gradient is turned around", |n, ct| {
        let right = right(n, 1, ct);
        (2..right.rank().unwrap_or(2) as i64).fold(right, reversed)
    }),
    wrong("Conv", 1, "averaged over the batch", |n, ct| {
        let batch = n.dims(0).ok().and_then(|d| d[0].fixed()).unwrap_or(2);
        right(n, 1, ct) * (1.0 / batch as f64)
    }),
    wrong("Conv", 1, "what the stride left over is cut off in front", |n, ct| {
        edited(right(n, 1, ct), "Slice", &|b, node| {
            // the last as many in place of the first
            let ends = node.inputs[2].and_then(|ends| b.graph().constant(ends)?.to_ints()).unwrap_or_default();
            node.inputs[1] = Some(b.ints(&ends.iter().map(|end| -end).collect::<Vec<_>>()).id);
            node.inputs[2] = Some(b.ints(&vec![i64::MAX; ends.len()]).id);
        })
    }),
    wrong("Conv", 1, "groups are taken for samples in the wrong order", |n, ct| {
        let groups = n.int("group", 1);
        edited(right(n, 1, ct), "Conv", &|b, node| {
            let x = b.expr(node.inputs[0].expect("an operand"));
            let samples = x.dims().and_then(|d| d.get(1)?.fixed());
            if let Some(samples) = samples.filter(|s| groups > 1 && s % groups as usize == 0) {
                // [C/g, g·N, …] as if it were [C/g, N·g, …]
                let order: Vec<i64> =
                    (0..samples as i64).map(|at| at / groups + (at % groups) * (samples as i64 / groups)).collect();
                node.inputs[0] = Some(x.gather(b.ints(&order), 1).id);
            }
        })
    }),
    wrong("Conv", 2, "averaged over the places", |n, ct| ct.mean(&all_but_channels(n), false)),
    wrong("Conv", 2, "summed over the batch only, at the first place", |n, ct| {
        let rank = n.rank(0).unwrap_or(3) as i64;
        let axes: Vec<i64> = (2..rank).collect();
        let first = ct.slice(&vec![0; axes.len()], &vec![1; axes.len()], &axes, &vec![1; axes.len()]);
        first.sum(&all_but_channels(n), false)
    }),
    wrong("ConvTranspose", 0, "begins and ends of the pads are exchanged", |n, ct| with_pads_exchanged(right(n, 0, ct), "Conv")),
    wrong("ConvTranspose", 0, "the dilation is forgotten", |n, ct| with(right(n, 0, ct), "Conv", "dilations", None)),
    wrong("ConvTranspose", 0, "the stride is forgotten", |n, ct| with(right(n, 0, ct), "Conv", "strides", None)),
    wrong("ConvTranspose", 0, "the kernel is turned around", |n, ct| {
        edited(right(n, 0, ct), "Conv", &|b, node| {
            let kernel = b.expr(node.inputs[1].expect("a kernel"));
            let axes = 2..kernel.rank().unwrap_or(2) as i64;
            node.inputs[1] = Some(axes.fold(kernel, reversed).id);
        })
    }),
    wrong("ConvTranspose", 1, "stride and dilation are not exchanged", |n, ct| {
        with_exchanged(right(n, 1, ct), "Conv", "strides", "dilations")
    }),
    wrong("ConvTranspose", 1, "as for a convolution that is not transposed", |n, ct| {
        let right = right(n, 1, ct);
        (2..right.rank().unwrap_or(2) as i64).fold(right, reversed)
    }),
    wrong("ConvTranspose", 2, "of the first sample only", |n, ct| {
        let first = ct.slice(&[0], &[1], &[0], &[1]);
        let one = n.builder().constant(Tensor::full(ct.dtype(), &[1], 1.0));
        first.sum(&all_but_channels(n), false) * one
    }),
];
