//! `flipped`: the input gradient of a stride-1 convolution as a plain convolution with constant kernels, in and out swapped and
//! reversed. Source: formulas (a) of the convolution rules; Dumoulin and Visin 2016, 4.1.

use flatscape_graph::Graph;

use super::transposed::{Plain, Transposed};

/// Below this many channels on either side the blocked kernels of ONNX Runtime would compute mostly padding.
pub(super) const BLOCK: usize = 16;

pub(super) fn apply(graph: &Graph, _: &str) -> Graph {
    graph.rewrite(|new, node, inputs| {
        let t = Transposed::read(new, node, inputs)?;
        let wide = t.channels_in() >= BLOCK && t.channels_out() >= BLOCK;
        if !wide || t.axes.iter().any(|a| a.stride != 1) {
            return None;
        }
        let taps: Vec<Vec<i64>> = t.axes.iter().map(|a| (0..a.taps).collect()).collect();
        let begins: Vec<i64> = t.axes.iter().map(|a| a.dilation * (a.taps - 1) - a.begin).collect();
        let ends: Vec<i64> =
            t.axes.iter().zip(&begins).map(|(a, begin)| a.output - a.input + a.dilation * (a.taps - 1) - begin).collect();
        let dilations = t.axes.iter().map(|a| a.dilation).collect();
        let kernel = t.flipped(&taps)?;
        let plain = Plain { begins, ends, strides: vec![1; t.axes.len()], dilations, group: t.group };
        Some(vec![Some(plain.append(new, t.ct, kernel))])
    })
}
