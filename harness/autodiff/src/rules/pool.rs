//! Rules of pools.

use flatscape_graph::{Attribute, Expr, Tensor};

use crate::application::{Application, only_where};
use crate::rule::{Rule, vjp, written};
use crate::window::{Window, fixed};

pub(super) const RULES: &[Rule] = &[
    // y[o] = max over the window, found at i[o]        x̄[j] = Σ ȳ[o] over the o with i[o] = j
    vjp("MaxPool", &[max_pool]).kink("ties to the first element in scan order").passes_integers(),
    // y[o] = (1/|o|) Σ over the window                 x̄[j] = Σ ȳ[o] / |o| over the windows o that cover j
    vjp("AveragePool", &[|n, ct| n.or_refuse(average_pool(n, ct))]),
    // y = (1/n) Σ x over the spatial axes              x̄ = ȳ / n
    vjp("GlobalAveragePool", &[|n, ct| ct / n.elements_per(n.x(0), n.y(0))]),
    // y = max x over the spatial axes                  x̄ = ȳ · m / Σ m, m = [x = y]
    vjp(
        "GlobalMaxPool",
        &[|n, ct| {
            let reached = n.x(0).equal(n.y(0));
            n.or_refuse(n.rank(0).map(|rank| {
                let spatial: Vec<i64> = (2..rank as i64).collect();
                only_where(reached, ct / reached.cast(ct.dtype()).sum(&spatial, true))
            }))
        }],
    )
    .kink("ties share evenly"),
    // y[o] = (Σ |x|^p over the window)^(1/p), 0 where the sum is
    written("LpPool", |n| {
        let (window, _) = pool_window(n)?;
        Ok(vec![root(n, gathered(n, &window, powers(n))?)])
    }),
    // y = (Σ |x|^p over the spatial axes)^(1/p), 0 where the sum is
    written("GlobalLpPool", |n| {
        let spatial: Vec<i64> = (2..n.rank(0)? as i64).collect();
        Ok(vec![root(n, powers(n).sum(&spatial, true))])
    }),
    // y[i[j]] = x[j], 0 elsewhere
    written("MaxUnpool", unpool).rest_flat(),
];

/// The indices that the node itself can give count through the whole of x, so windows may overlap and the batch may be any.
/// Column-major ones are of no use here: the node is asked again.
fn max_pool<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    let (x, b) = (n.x(0), n.builder());
    let indices = if n.int("storage_order", 0) == 0 {
        n.y(1)
    } else {
        let mut attributes = n.node().attributes.clone();
        attributes.0.remove("storage_order");
        b.ops("MaxPool", &[x], 2, attributes)[1]
    };
    let zeros = n.zeros_like(x).reshape(&[-1]);
    let operands = [zeros, indices.reshape(&[-1]), ct.reshape(&[-1])];
    let scattered = b.op("ScatterElements", &operands, [("axis", 0.into()), ("reduction", "add".into())]);
    scattered.reshape_like(x)
}

/// |x|^p.
fn powers<'b>(n: &Application<'b>) -> Expr<'b> {
    let x = n.x(0);
    match n.int("p", 2) {
        1 => x.abs(),
        2 => x * x,
        p => x.abs().pow(p as f64),
    }
}

/// v^(1/p), with the derivative 0 at 0.
fn root<'b>(n: &Application<'b>, v: Expr<'b>) -> Expr<'b> {
    let p = n.int("p", 2);
    if p == 1 {
        return v;
    }
    let empty = v.equal(v.scalar(0.0));
    let root = empty.select(1.0, v).pow(1.0 / p as f64);
    empty.select(0.0, root)
}

/// The sum over each window: a convolution with kernels of ones, a group for each channel.
fn gathered<'b>(n: &Application<'b>, window: &Window, v: Expr<'b>) -> Result<Expr<'b>, String> {
    let channels = n.dims(0)?[1].fixed().ok_or("the number of channels is unknown")?;
    let shape = [&[channels, 1], &sizes(&window.kernel)[..]].concat();
    let ones = n.builder().constant(Tensor::full(v.dtype(), &shape, 1.0));
    Ok(n.builder().op("Conv", &[v, ones], window.attributes(channels as i64)))
}

/// The indices count through the whole result.
fn unpool<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let (x, b) = (n.x(0), n.builder());
    let mut shape = n.y(0).dims().ok_or("the rank of its result is unknown")?;
    shape[0] = n.dims(0)?[0].clone();
    let fixed: Option<Vec<i64>> = shape[1..].iter().map(|d| d.fixed().map(|n| n as i64)).collect();
    let image = b.ints(&fixed.ok_or("the extents of its result are unknown")?);
    let first = match shape[0].fixed() {
        Some(samples) => b.ints(&[samples as i64]),
        None => x.unary("Shape").slice(&[0], &[1], &[0], &[1]),
    };
    let zero = Tensor::full(x.dtype(), &[1], 0.0);
    let zeros = b.op("ConstantOfShape", &[b.concat(&[first, image], 0)], [("value", Attribute::Tensor(zero.into()))]);
    let operands = [zeros.reshape(&[-1]), n.x(1).reshape(&[-1]), x.reshape(&[-1])];
    let flat = b.op("ScatterElements", &operands, [("axis", 0.into())]);
    Ok(vec![n.reshape_to(flat, &shape)?])
}

fn average_pool<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let (window, steps) = pool_window(n)?;
    let dims = n.dims(0)?;
    let stated = Window::of_node(n, &sizes(&window.kernel), &dims)?;
    let padded = n.int("count_include_pad", 0) != 0;
    let taps = |axis: usize| Ok(stated.taps(axis, fixed(&dims, axis)?, steps[axis], padded));
    let taps = (0..window.kernel.len()).map(taps).collect::<Result<Vec<_>, String>>()?;
    spread(n, &window, ct / n.builder().constant(counts(&taps, ct)?))
}

/// The window of a pool, its padding as far as its last step reaches, and the number of steps along each axis.
fn pool_window(n: &Application<'_>) -> Result<(Window, Vec<i64>), String> {
    let dims = n.dims(0)?;
    let kernel: Vec<usize> = n.ints("kernel_shape").unwrap_or_default().iter().map(|&k| k as usize).collect();
    if kernel.len() + 2 != dims.len() {
        return Err("`kernel_shape` does not have a number for each spatial axis".to_owned());
    }
    let mut window = Window::of_node(n, &kernel, &dims)?;
    let outputs = n.y(0).dims().ok_or("the rank of its result is unknown")?;
    let steps = (0..kernel.len()).map(|axis| fixed(&outputs, axis)).collect::<Result<Vec<_>, String>>()?;
    for (axis, steps) in steps.iter().enumerate() {
        // with ceil_mode the last window may reach beyond the stated padding
        let overhang = (steps - 1) * window.strides[axis] + window.reach(axis) - fixed(&dims, axis)? - window.begins[axis];
        window.ends[axis] = window.ends[axis].max(overhang);
    }
    Ok((window, steps))
}

fn sizes(kernel: &[i64]) -> Vec<usize> {
    kernel.iter().map(|&k| k as usize).collect()
}

/// Each element to every tap of its window: the input gradient of a convolution with kernels of ones, a group for each channel.
fn spread<'b>(n: &Application<'b>, window: &Window, v: Expr<'b>) -> Result<Expr<'b>, String> {
    let dims = n.dims(0)?;
    let channels = dims[1].fixed().ok_or("the number of channels is unknown")?;
    let shape = [&[channels, 1], &sizes(&window.kernel)[..]].concat();
    let ones = n.builder().constant(Tensor::full(v.dtype(), &shape, 1.0));
    let attributes = window.attributes(channels as i64).with("output_padding", window.leftover(&dims)?);
    Ok(n.builder().op("ConvTranspose", &[v, ones], attributes))
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
