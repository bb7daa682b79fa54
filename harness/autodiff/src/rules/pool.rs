//! Rules of pools.

use flatscape_graph::{Expr, Tensor};

use crate::rule::{Rule, vjp};
use crate::site::Site;
use crate::window::{Window, fixed};

pub(super) const RULES: &[Rule] = &[
    // y[o] = max over the window, found at i[o]        x̄[j] = Σ ȳ[o] over the o with i[o] = j
    vjp("MaxPool", &[max_pool]).kink("ties to the first element in scan order"),
    // y[o] = (1/|o|) Σ over the window                 x̄[j] = Σ ȳ[o] / |o| over the windows o that cover j
    vjp("AveragePool", &[|n, ct| n.or_refuse(average_pool(n, ct))]),
    // y = (1/n) Σ x over the spatial axes              x̄ = ȳ / n
    vjp("GlobalAveragePool", &[|n, ct| ct / n.elements_per(n.x(0), n.y(0))]),
    // y = max x over the spatial axes                  x̄ = ȳ · m / Σ m, m = [x = y]
    vjp(
        "GlobalMaxPool",
        &[|n, ct| {
            let reached = n.x(0).equal(n.y(0)).cast(ct.dtype());
            n.or_refuse(n.rank(0).map(|rank| {
                let spatial: Vec<i64> = (2..rank as i64).collect();
                reached * (ct / reached.sum(&spatial, true))
            }))
        }],
    )
    .kink("ties share evenly"),
];

/// The indices that the node itself can give count through the whole of x, so windows may overlap and the batch may be any.
fn max_pool<'b>(n: &Site<'b>, ct: Expr<'b>) -> Expr<'b> {
    if n.int("storage_order", 0) != 0 {
        return n.refuse("its indices are column-major (storage_order 1)".to_owned());
    }
    let x = n.x(0);
    let zeros = n.zeros_like(x).reshape(&[-1]);
    let operands = [zeros, n.y(1).reshape(&[-1]), ct.reshape(&[-1])];
    let scattered = n.builder().op("ScatterElements", &operands, [("axis", 0.into()), ("reduction", "add".into())]);
    scattered.reshape_like(x)
}

/// The input gradient of a convolution with kernels of ones, a group for each channel.
fn average_pool<'b>(n: &Site<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let dims = n.dims(0)?;
    let kernel: Vec<usize> = n.ints("kernel_shape").unwrap_or_default().iter().map(|&k| k as usize).collect();
    if kernel.len() + 2 != dims.len() {
        return Err("`kernel_shape` does not have a number for each spatial axis".to_owned());
    }
    let mut window = Window::of_node(n, &kernel, &dims)?;
    let outputs = n.y(0).dims().ok_or("the rank of its result is unknown")?;
    let padded = n.int("count_include_pad", 0) != 0;
    let mut taps = Vec::new();
    for axis in 0..kernel.len() {
        let (extent, steps) = (fixed(&dims, axis)?, fixed(&outputs, axis)?);
        taps.push(window.taps(axis, extent, steps, padded));
        // with ceil_mode the last window may reach beyond the stated padding
        let overhang = (steps - 1) * window.strides[axis] + window.reach(axis) - extent - window.begins[axis];
        window.ends[axis] = window.ends[axis].max(overhang);
    }
    let shares = ct / n.builder().constant(counts(&taps, ct)?);
    let channels = dims[1].fixed().ok_or("the number of channels is unknown")?;
    let ones = n.builder().constant(Tensor::full(ct.dtype(), &[&[channels, 1], &kernel[..]].concat(), 1.0));
    let attributes = window.attributes(channels as i64).with("output_padding", window.leftover(&dims)?);
    Ok(n.builder().op("ConvTranspose", &[shares, ones], attributes))
}

/// How many elements each window averages, of extents [out…] so that it broadcasts over batch and channel.
fn counts(taps: &[Vec<i64>], like: Expr<'_>) -> Result<Tensor, String> {
    let mut product = vec![1.0];
    for axis in taps {
        product = product.iter().flat_map(|p| axis.iter().map(move |&t| p * t as f64)).collect();
    }
    let shape: Vec<usize> = taps.iter().map(Vec::len).collect();
    let first = product.first().copied().unwrap_or(1.0);
    if product.iter().all(|&p| p == first) {
        return Ok(Tensor::full(like.dtype(), &[], first));
    }
    Tensor::new(&shape, product).map(|t| t.cast(like.dtype())).ok_or_else(|| "its windows could not be counted".to_owned())
}
