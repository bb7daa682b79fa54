//! Rules of convolutions. `Y[n,m,o] = Σ X[n,c,s·o + d·t − p] · W[m,c,t] + b` is bilinear in X and W, and the three products
//! are convolutions again: one rule's output is another rule's input.

use flatscape_graph::{Dim, Expr};

use crate::application::Application;
use crate::rule::{Rule, vjp};
use crate::window::Window;

pub(super) const RULES: &[Rule] = &[
    // Y = Conv(X, W) + b               X̄ = ConvTranspose(Ȳ, W)         W̄ = correlate(X, Ȳ)     b̄ = Σ Ȳ but over channels
    vjp(
        "Conv",
        &[
            |n, ct| n.or_refuse(conv_input(n, ct)),
            |n, ct| n.or_refuse(conv_window(n).and_then(|w| correlate(n, &w, n.x(0), ct, n.x(1)))),
            |n, ct| n.or_refuse(per_channel(n, ct)),
        ],
    ),
    // Y = ConvTranspose(X, W) + b      X̄ = Conv(Ȳ, W)                  W̄ = correlate(Ȳ, X)     b̄ = Σ Ȳ but over channels
    vjp(
        "ConvTranspose",
        &[
            |n, ct| n.or_refuse(transposed_input(n, ct)),
            |n, ct| n.or_refuse(transposed_window(n).and_then(|w| correlate(n, &w, ct, n.x(0), n.x(1)))),
            |n, ct| n.or_refuse(per_channel(n, ct)),
        ],
    ),
];

/// The kernel is used as it is: its layout as a weight of `Conv` is the layout that `ConvTranspose` reads.
fn conv_input<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let window = conv_window(n)?;
    let leftover = window.leftover(&n.dims(0)?)?;
    let attributes = window.attributes(n.int("group", 1)).with("output_padding", leftover);
    Ok(n.builder().op("ConvTranspose", &[ct, n.x(1)], attributes))
}

/// An output padding of a stride or more makes the convolution longer than X: the surplus goes.
fn transposed_input<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let window = transposed_window(n)?;
    let x = n.builder().op("Conv", &[ct, n.x(1)], window.attributes(n.int("group", 1)));
    let surplus = n.ints("output_padding").is_some_and(|r| r.iter().zip(&window.strides).any(|(r, s)| r >= s));
    if surplus { crop(x, &n.dims(0)?) } else { Ok(x) }
}

fn conv_window(n: &Application<'_>) -> Result<Window, String> {
    Window::of_node(n, &kernel(n)?, &n.dims(0)?)
}

fn transposed_window(n: &Application<'_>) -> Result<Window, String> {
    Window::of_transposed(n, &kernel(n)?, &n.dims(0)?)
}

/// The spatial extents of the kernel.
fn kernel(n: &Application<'_>) -> Result<Vec<usize>, String> {
    let dims = n.dims(1)?;
    dims.iter().skip(2).map(Dim::fixed).collect::<Option<_>>().ok_or_else(|| "an extent of the kernel is unknown".to_owned())
}

fn per_channel<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let axes: Vec<i64> = (0..n.rank(0)? as i64).filter(|&axis| axis != 1).collect();
    Ok(ct.sum(&axes, false))
}

/// `W̄[m,c,t] = Σ X[n,c,s·o + d·t − p] · Ȳ[n,m,o]`, with `w` [M, C/g, k…] the weight: the convolution of X by Ȳ with batch and
/// channel exchanged, and stride and dilation exchanged. It yields [C/g, M, k…] and, if the stride left something over, more.
fn correlate<'b>(n: &Application<'b>, window: &Window, x: Expr<'b>, ct: Expr<'b>, w: Expr<'b>) -> Result<Expr<'b>, String> {
    let group = n.int("group", 1).max(1);
    let exchanged = Window { strides: window.dilations.clone(), dilations: window.strides.clone(), ..window.clone() };
    let operands = [groups_beside_samples(n, x, group)?, swap_first_two(ct)?];
    let product = n.builder().op("Conv", &operands, exchanged.attributes(group));
    let kernel = w.dims().ok_or("the rank of the kernel is unknown")?;
    swap_first_two(crop(product, &kernel)?)
}

/// [N, C, spatial…] as [C/g, g·N, spatial…]. One of N and C may be unknown.
fn groups_beside_samples<'b>(n: &Application<'b>, v: Expr<'b>, group: i64) -> Result<Expr<'b>, String> {
    if group == 1 {
        return swap_first_two(v);
    }
    let dims = v.dims().ok_or("the rank of an operand is unknown")?;
    let (samples, channels) = (dims[0].fixed(), dims[1].fixed());
    let g = group as usize;
    let or_unknown = |extent: Option<usize>| extent.map_or(Dim::Unknown, Dim::Fixed);
    let (each, beside) = (or_unknown(channels.map(|c| c / g)), or_unknown(samples.map(|s| s * g)));
    let spatial = &dims[2..];
    let split = n.reshape_to(v, &[&[dims[0].clone(), Dim::Fixed(g), each.clone()], spatial].concat())?;
    let perm: Vec<i64> = [2, 1, 0].into_iter().chain(3..dims.len() as i64 + 1).collect();
    n.reshape_to(split.transpose(&perm), &[&[each, beside], spatial].concat())
}

fn swap_first_two(v: Expr<'_>) -> Result<Expr<'_>, String> {
    let rank = v.rank().ok_or("the rank of an operand is unknown")? as i64;
    let perm: Vec<i64> = [1, 0].into_iter().chain(2..rank).collect();
    Ok(v.transpose(&perm))
}

/// The first elements of each spatial axis, as many as `wanted` says.
fn crop<'b>(v: Expr<'b>, wanted: &[Dim]) -> Result<Expr<'b>, String> {
    let have = v.dims().unwrap_or_else(|| vec![Dim::Unknown; wanted.len()]);
    let mut axes = Vec::new();
    let mut ends = Vec::new();
    for (axis, want) in wanted.iter().enumerate().skip(2) {
        if have.get(axis).is_some_and(|h| h.same(want)) {
            continue;
        }
        axes.push(axis as i64);
        ends.push(want.fixed().ok_or("a spatial extent is unknown")? as i64);
    }
    let (zeros, ones) = (vec![0; axes.len()], vec![1; axes.len()]);
    Ok(if axes.is_empty() { v } else { v.slice(&zeros, &ends, &axes, &ones) })
}
