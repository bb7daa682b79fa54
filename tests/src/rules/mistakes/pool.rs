//! Mistakes of pools: stale positions, ties, overlaps, what counts as inside a window.

use super::altered::{right, rolled, set, with, with_pads_exchanged, written_with};
use super::{Mistake, wrong, wrongly_written};
use flatscape_autodiff::Application;
use flatscape_graph::{Attributes, Expr, Tensor};

pub const MISTAKES: &[Mistake] = &[
    wrong("MaxPool", 0, "the positions of another pass, over −x", |n, ct| scattered(n, ct, -n.x(0))),
    wrong("MaxPool", 0, "the positions of a pass over the image one pixel on", |n, ct| scattered(n, ct, rolled(n.x(0)))),
    wrong("MaxPool", 0, "ties to the last element", |n, ct| {
        // what stands later is a little greater
        let ones = (n.zeros_like(n.x(0)) + 1.0).reshape(&[-1]);
        let zero = n.builder().constant(Tensor::scalar(0i64));
        let places = n.builder().op("CumSum", &[ones, zero], Attributes::none()).reshape_like(n.x(0));
        scattered(n, ct, n.x(0) + places * 1e-9)
    }),
    wrong("MaxPool", 0, "where windows overlap the last one wins", |n, ct| {
        with(right(n, 0, ct), "ScatterElements", "reduction", None)
    }),
    wrong("MaxPool", 0, "where windows overlap the greatest cotangent wins", |n, ct| {
        with(right(n, 0, ct), "ScatterElements", "reduction", Some("max".into()))
    }),
    wrong("AveragePool", 0, "count_include_pad is taken the wrong way round", |n, ct| {
        let share = share_inside(n);
        if n.int("count_include_pad", 0) == 0 { right(n, 0, ct * share) } else { right(n, 0, ct / share) }
    }),
    wrong("AveragePool", 0, "begins and ends of the pads are exchanged", |n, ct| {
        with_pads_exchanged(right(n, 0, ct), "ConvTranspose")
    }),
    wrong("AveragePool", 0, "not divided by the size of the window", |n, ct| {
        let size: i64 = n.ints("kernel_shape").unwrap_or_default().iter().product();
        right(n, 0, ct) * size as f64
    }),
    wrong("AveragePool", 0, "what the stride leaves over is forgotten", |n, ct| {
        with(right(n, 0, ct), "ConvTranspose", "output_padding", None)
    }),
    wrong("GlobalAveragePool", 0, "not divided by the number of pixels", |_, ct| ct),
    wrong("GlobalAveragePool", 0, "divided by all elements of an image", |n, ct| {
        let channels = n.dims(0).ok().and_then(|d| d[1].fixed()).unwrap_or(2);
        right(n, 0, ct) * (1.0 / channels as f64)
    }),
    wrong("GlobalMaxPool", 0, "ties do not share", |n, ct| ct * n.x(0).equal(n.y(0)).cast(ct.dtype())),
    wrong("GlobalMaxPool", 0, "every pixel takes the cotangent", |_, ct| ct),
    wrongly_written("LpPool", "p is 2", |n| written_with(n, |node| set(node, "p", None))),
    wrongly_written("LpPool", "without the root", |n| {
        let p = n.int("p", 2) as f64;
        Ok(written_with(n, |_| {})?.into_iter().map(|y| if p == 1.0 { y } else { y.pow(p) }).collect())
    }),
    wrongly_written("GlobalLpPool", "p is 1", |n| written_with(n, |node| set(node, "p", Some(1.into())))),
    wrongly_written("MaxUnpool", "the elements are one place off", |n| {
        let values = rolled(n.x(0)).id;
        written_with(n, |node| node.inputs[0] = Some(values))
    }),
];

/// The gradient of `MaxPool` with the positions that a pool over something else gives.
fn scattered<'b>(n: &Application<'b>, ct: Expr<'b>, over: Expr<'b>) -> Expr<'b> {
    let positions = n.builder().ops("MaxPool", &[over], 2, n.node().attributes.clone())[1];
    let operands = [n.zeros_like(n.x(0)).reshape(&[-1]), positions.reshape(&[-1]), ct.reshape(&[-1])];
    let scattered = n.builder().op("ScatterElements", &operands, [("axis", 0.into()), ("reduction", "add".into())]);
    scattered.reshape_like(n.x(0))
}

/// Of each window the share that lies inside the image and not in the padding.
fn share_inside<'b>(n: &Application<'b>) -> Expr<'b> {
    let ones = n.zeros_like(n.x(0)) + 1.0;
    n.builder().op("AveragePool", &[ones], n.node().attributes.clone().with("count_include_pad", 1))
}
