//! `flipped`: the input gradient of a stride-1 convolution as a plain convolution with kernels, in and out swapped and reversed: of
//! constants at once, of computed ones (in training) while the graph runs. Source: formulas (a) of the convolution rules; Dumoulin and Visin 2016, 4.1.
//!
//! Measured on one AVX-512 core with ONNX Runtime 1.31, batch 8: 3×3, 64 channels, 32×32: 3.5 ms against 5.0 ms for ConvTranspose;
//! 256 channels, 8×8: 3.9 against 4.4; 512 channels, 4×4: no difference. Where a side has fewer than 16 channels, ConvTranspose wins:
//! a first layer, 64 to 3 channels, 3×3 costs 1.2 times as much as a flipped convolution and 1.07 times as much as one that computes
//! 2×2 pixels as channels; 7×7 costs 2.6 and 1.4 times as much.

use flatscape_graph::Graph;

use super::transposed::{Plain, Transposed};

pub(super) fn apply(graph: &Graph, engine: &str) -> Graph {
    graph.rewrite(|new, node, inputs| {
        let t = Transposed::read(new, node, inputs)?;
        if !worthwhile(&t, engine) || t.axes.iter().any(|a| a.stride != 1) {
            return None;
        }
        let taps: Vec<Vec<i64>> = t.axes.iter().map(|a| (0..a.taps).collect()).collect();
        let begins: Vec<i64> = t.axes.iter().map(|a| a.dilation * (a.taps - 1) - a.begin).collect();
        let ends: Vec<i64> =
            t.axes.iter().zip(&begins).map(|(a, begin)| a.output - a.input + a.dilation * (a.taps - 1) - begin).collect();
        let dilations = t.axes.iter().map(|a| a.dilation).collect();
        let kernel = t.flipped(new, &taps)?;
        let plain = Plain { begins, ends, strides: vec![1; t.axes.len()], dilations, group: t.group };
        Some(vec![Some(plain.append(new, t.ct, kernel))])
    })
}

/// Below this many channels on either side the blocked kernels of ONNX Runtime on the CPU would compute mostly padding.
pub(super) const BLOCK: usize = 16;

/// Stands for tract in double precision, whose `Conv64` computes convolutions over two axes in one group.
pub(super) const DOUBLE: &str = "conv64";

/// Whether plain convolutions are the better form. On CUDA they always are: its ConvTranspose refuses asymmetric pads.
pub(super) fn worthwhile(t: &Transposed, engine: &str) -> bool {
    match engine {
        "cuda" => true,
        DOUBLE => t.axes.len() == 2 && t.group == 1,
        _ => t.channels_in() >= BLOCK && t.channels_out() >= BLOCK,
    }
}
