//! `image`: the input gradient of a first layer. Its few channels would fill a fraction of a block of the convolution kernels, so a
//! square of neighbouring pixels becomes the channels of one strided convolution, and `DepthToSpace` lays them out.
//!
//! Position i = b·q + φ (block b, a multiple of the stride s) is reached by tap t from ȳ at (b/s)·q + a with s·a + d·t − p = φ.

use flatscape_graph::{Graph, Tensor};
use ndarray::{ArrayD, IxDyn};

use super::flipped::BLOCK;
use super::transposed::{AxisOf, Plain, Transposed, first};

pub(super) fn apply(graph: &Graph, _: &str) -> Graph {
    graph.rewrite(|new, node, inputs| {
        let t = Transposed::read(new, node, inputs)?;
        let [rows, columns] = t.axes[..] else { return None };
        let narrow = t.group == 1 && t.channels_out() < BLOCK && t.channels_in() >= BLOCK;
        if !narrow || rows.stride != columns.stride {
            return None;
        }
        let block = block(t.channels_out() as i64, rows.stride)?;
        let (rows, columns) = (Reach::of(&rows, block), Reach::of(&columns, block));
        let kernel = match &*t.kernel {
            Tensor::F32(w) => Tensor::F32(stacked(w, block, &t.axes, [&rows, &columns])),
            Tensor::F64(w) => Tensor::F64(stacked(w, block, &t.axes, [&rows, &columns])),
            _ => return None,
        };
        let strides = vec![block / t.axes[0].stride; 2];
        let (begins, ends) = (vec![rows.begin, columns.begin], vec![rows.end, columns.end]);
        let phases = Plain { begins, ends, strides, dilations: vec![1; 2], group: 1 }.append(new, t.ct, kernel);
        let whole = new.node("DepthToSpace", &[phases], [("blocksize", block.into()), ("mode", "DCR".into())]);
        Some(vec![Some(first(new, whole, &[t.axes[0].output, t.axes[1].output]))])
    })
}

/// The side of the square: the largest multiple of the stride, up to 4, whose pixels fit one block of channels.
fn block(channels: i64, stride: i64) -> Option<i64> {
    (2..=4).rev().find(|&b| b % stride == 0 && b * b * channels <= BLOCK as i64)
}

/// Which elements of ȳ one square of results depends on, along one axis.
struct Reach {
    /// The first of them, relative to where the square stands.
    from: i64,
    count: i64,
    begin: i64,
    end: i64,
}

impl Reach {
    fn of(axis: &AxisOf, block: i64) -> Reach {
        let AxisOf { taps, stride, dilation, begin, input, output } = *axis;
        let from = (begin - dilation * (taps - 1)).div_euclid(stride)
            + i64::from((begin - dilation * (taps - 1)).rem_euclid(stride) != 0);
        let to = (block - 1 + begin).div_euclid(stride);
        let (count, step, squares) = (to - from + 1, block / stride, (output + block - 1) / block);
        Reach { from, count, begin: -from, end: (squares - 1) * step + count - input + from }
    }
}

/// [b·b·C, M, rows, columns]: the kernel of every pixel of the square.
fn stacked<T: Copy + Default>(w: &ArrayD<T>, block: i64, axes: &[AxisOf], reach: [&Reach; 2]) -> ArrayD<T> {
    let (m, c) = (w.shape()[0], w.shape()[1]);
    let shape = [(block * block) as usize * c, m, reach[0].count as usize, reach[1].count as usize];
    // the tap that leads from element j of the reach to this pixel of the square
    let tap = |axis: usize, phase: usize, j: usize| -> Option<usize> {
        let along = phase as i64 + axes[axis].begin - axes[axis].stride * (j as i64 + reach[axis].from);
        let t = along / axes[axis].dilation;
        (along >= 0 && along % axes[axis].dilation == 0 && t < axes[axis].taps).then_some(t as usize)
    };
    let side = block as usize;
    ArrayD::from_shape_fn(IxDyn(&shape), |at| {
        let (pixel, channel) = (at[0] / c, at[0] % c);
        match (tap(0, pixel / side, at[2]), tap(1, pixel % side, at[3])) {
            (Some(row), Some(column)) => w[[at[1], channel, row, column].as_ref()],
            _ => T::default(),
        }
    })
}
