//! Rules of data movement: where elements are copied from, their cotangents are added up.

use flatscape_graph::{Attributes, Dim, Expr, Tensor};

use crate::application::{Application, list, one_minus};
use crate::rule::{Rule, each, vjp, written};

use super::{scattering, slicing};

pub(super) const RULES: &[Rule] = &[
    // the same elements in another shape: the cotangent takes the shape of x
    vjp("Reshape", &[|n, ct| ct.reshape_like(n.x(0))]).passes_integers(),
    vjp("Flatten", &[|n, ct| ct.reshape_like(n.x(0))]).passes_integers(),
    vjp("Squeeze", &[|n, ct| ct.reshape_like(n.x(0))]).passes_integers(),
    vjp("Unsqueeze", &[|n, ct| ct.reshape_like(n.x(0))]).passes_integers(),
    // y = x with permuted axes         x̄ = ȳ with the inverse permutation
    vjp("Transpose", &[transpose]).passes_integers(),
    // y = x₁ | x₂ | …                  x̄ᵢ = the part of ȳ that came from xᵢ
    each("Concat", |n, i, ct| n.or_refuse(part(n, i, ct))).passes_integers(),
    // y₁ | y₂ | … = x                  x̄ = ȳ₁ | ȳ₂ | …
    vjp(
        "Split",
        &[|n, _| {
            let parts: Vec<Expr<'_>> = (0..n.results()).map(|k| n.ct(k).unwrap_or_else(|| n.zeros_like(n.y(k)))).collect();
            n.builder().concat(&parts, n.int("axis", 0))
        }],
    )
    .all_results()
    .passes_integers(),
    // y = some of x at regular steps   x̄ = ȳ at those steps, 0 elsewhere
    vjp("Slice", &[|n, ct| n.or_refuse(slicing::slice(n, ct))]).rest_flat().passes_integers(),
    // y = x within a border            x̄ = ȳ without the border (a mirrored border is added to where it came from)
    vjp("Pad", &[|n, ct| n.or_refuse(slicing::pad(n, ct)), stop_pads, |n, ct| n.or_refuse(slicing::pad_value(n, ct))])
        .passes_integers(),
    // y = x broadcast                  x̄ = ȳ, which the driver sums
    vjp("Expand", &[|_, ct| ct]).passes_integers(),
    // y = x repeated r times           x̄ = Σ over the repetitions
    vjp("Tile", &[|n, ct| n.or_refuse(tile(n, ct))]).passes_integers(),
    // y = x[i] along an axis           x̄[j] = Σ ȳ over the places where i = j
    vjp("Gather", &[|n, ct| n.or_refuse(gather(n, ct))]).passes_integers(),
    // y[p] = x[p with i[p] for one coordinate]     x̄ = ȳ added there
    vjp(
        "GatherElements",
        &[|n, ct| {
            let attributes = [("axis", n.int("axis", 0).into()), ("reduction", "add".into())];
            n.builder().op("ScatterElements", &[n.zeros_like(n.x(0)), n.x(1), ct], attributes)
        }],
    ),
    // y[p] = x[i[p]]                   x̄ = ȳ added there
    vjp("GatherND", &[|n, ct| n.or_refuse(gather_nd(n, ct))]),
    // y = x with u put at i            x̄ = ȳ with 0 put at i            ū = ȳ[i]
    // added                            x̄ = ȳ                            ū = ȳ[i]
    // multiplied                       x̄ = ȳ · Π u                      ū = (ȳ · y)[i] / u, the product of the others
    // the larger or smaller            x̄ = ȳ · [x = y]                  ū = ȳ[i] · m / Σ m, m = [u = y[i] ≠ x[i]]
    vjp("ScatterElements", &[scattering::data, stop_pads, scattering::updates]).kink(scattering::KINK),
    vjp("ScatterND", &[scattering::data, stop_pads, scattering::updates]).kink(scattering::KINK),
    // y[k] = Σ x[j], j ≤ k             x̄[j] = Σ ȳ[k], k ≥ j
    vjp(
        "CumSum",
        &[|n, ct| {
            let attributes = [("exclusive", n.int("exclusive", 0).into()), ("reverse", (1 - n.int("reverse", 0)).into())];
            n.builder().op("CumSum", &[ct, n.x(1)], attributes)
        }],
    ),
    // y, i = the k largest             x̄ = ȳ put at i
    vjp(
        "TopK",
        &[|n, ct| n.builder().op("ScatterElements", &[n.zeros_like(n.x(0)), n.y(1), ct], [("axis", n.int("axis", -1).into())])],
    )
    .kink("ties to the first element"),
    // y = one triangle of x            x̄ = the same triangle of ȳ
    vjp(
        "Trilu",
        &[|n, ct| {
            let operands = [Some(ct), n.optional(1)];
            n.builder().op_with_gaps("Trilu", &operands[..n.operands().min(2)], [("upper", n.int("upper", 1).into())])
        }],
    ),
    // blocks of channels to space and back
    vjp(
        "DepthToSpace",
        &[|n, ct| match n.string("mode", "DCR").as_str() {
            "CRD" => n.or_refuse(column_row_depth(n, ct)),
            _ => n.builder().op("SpaceToDepth", &[ct], [("blocksize", n.int("blocksize", 1).into())]),
        }],
    ),
    vjp("SpaceToDepth", &[|n, ct| n.builder().op("DepthToSpace", &[ct], [("blocksize", n.int("blocksize", 1).into())])]),
    // y = the first elements of each sequence reversed                  x̄ = ȳ with the same ones reversed
    vjp("ReverseSequence", &[|n, ct| n.builder().op("ReverseSequence", &[ct, n.x(1)], n.node().attributes.clone())]),
    // y = i = j ? on : off             the two values: Σ ȳ where it is off, Σ ȳ where it is on
    vjp("OneHot", &[stop_pads, stop_pads, one_hot]),
    // y = x where c along an axis      x̄ = ȳ put there
    vjp("Compress", &[|n, ct| n.or_refuse(compress(n, ct))]),
    // y = Σ over the patches that cover a pixel: a transposed convolution with kernels of one 1
    written("Col2Im", patches),
];

/// The place of an operand that holds positions and stands before one that has a formula.
fn stop_pads<'b>(n: &Application<'b>, _: Expr<'b>) -> Expr<'b> {
    n.refuse("its positions are differentiated".to_owned())
}

fn transpose<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    n.or_refuse(n.rank(0).map(|rank| {
        let perm = n.ints("perm").unwrap_or_else(|| (0..rank as i64).rev().collect());
        ct.transpose(&inverse(&perm))
    }))
}

fn inverse(perm: &[i64]) -> Vec<i64> {
    let mut inverse = vec![0; perm.len()];
    for (to, &from) in perm.iter().enumerate() {
        if let Some(slot) = usize::try_from(from).ok().and_then(|from| inverse.get_mut(from)) {
            *slot = to as i64;
        }
    }
    inverse
}

/// The split of the cotangent that undoes the concatenation; where an extent is unknown it is read off the operand.
fn part<'b>(n: &Application<'b>, i: usize, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    if n.operands() == 1 {
        return Ok(ct);
    }
    let axis = n.axis(n.int("axis", 0), n.rank(i)?)?;
    let b = n.builder();
    let fixed: Option<Vec<i64>> =
        (0..n.operands()).map(|j| n.x(j).dims()?.get(axis)?.fixed().map(|extent| extent as i64)).collect();
    let sizes = match fixed {
        Some(extents) => b.ints(&extents),
        None => {
            let extent = |j: usize| n.x(j).shape().gather(b.ints(&[axis as i64]), 0);
            b.concat(&(0..n.operands()).map(extent).collect::<Vec<_>>(), 0)
        }
    };
    Ok(b.ops("Split", &[ct, sizes], n.operands(), [("axis", (axis as i64).into())])[i])
}

fn tile<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let Some(repeats) = n.known_ints(1) else {
        // [r₁, d₁, r₂, d₂, …], summed over the r
        let b = n.builder();
        let pairs = b.concat(&[n.x(1).unsqueeze(&[1]), n.x(0).unary("Shape").unsqueeze(&[1])], 1);
        let split = b.op("Reshape", &[ct, pairs.reshape(&[-1])], Attributes::none());
        return Ok(split.sum(&(0..n.rank(0)? as i64).map(|axis| 2 * axis).collect::<Vec<_>>(), false));
    };
    let mut split = Vec::new();
    let mut summed = Vec::new();
    for (dim, &repeat) in n.dims(0)?.into_iter().zip(&repeats) {
        if repeat != 1 {
            summed.push(split.len() as i64);
            split.push(Dim::Fixed(repeat as usize));
        }
        split.push(dim);
    }
    if summed.is_empty() { Ok(ct) } else { Ok(n.reshape_to(ct, &split)?.sum(&summed, false)) }
}

/// One constant position is a pad. Otherwise the axis goes to the front and the cotangents are added there.
fn gather<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let (x, b) = (n.x(0), n.builder());
    let (rank, places) = (n.rank(0)?, n.rank(1)?);
    let axis = n.axis(n.int("axis", 0), rank)?;
    let extent = n.dims(0)?[axis].fixed();
    if let (Some(extent), Some(&[at])) = (extent, n.constant(1).and_then(|i| i.to_ints()).as_deref()) {
        let mut border = vec![0; 2 * rank];
        let at = if at < 0 { at + extent as i64 } else { at };
        (border[axis], border[rank + axis]) = (at, extent as i64 - 1 - at);
        let ones: Vec<i64> = (axis as i64..(axis + places) as i64).collect();
        let one = match places {
            0 => ct.unsqueeze(&[axis as i64]),
            _ => ct.squeeze(&ones[1..]),
        };
        return Ok(slicing::bordered(one, &border));
    }
    let indices = from_front(n, extent);
    // ȳ [before, places, after] becomes [places, before, after], x [before, n, after] becomes [n, before, after]
    let (rank, axis, places) = (rank as i64, axis as i64, places as i64);
    let ct_perm: Vec<i64> = (axis..axis + places).chain(0..axis).chain(axis + places..rank - 1 + places).collect();
    let x_perm: Vec<i64> = [axis].into_iter().chain(0..axis).chain(axis + 1..rank).collect();
    let operands = [n.zeros_like(x.transpose(&x_perm)), indices.unsqueeze(&[-1]), ct.transpose(&ct_perm)];
    Ok(b.op("ScatterND", &operands, [("reduction", "add".into())]).transpose(&inverse(&x_perm)))
}

/// Positions counted from the front.
fn from_front<'b>(n: &Application<'b>, extent: Option<usize>) -> Expr<'b> {
    let indices = n.x(1);
    let wide = indices.cast(flatscape_graph::DType::I64);
    if n.constant(1).and_then(|i| i.to_ints()).is_some_and(|i| i.iter().all(|&v| v >= 0)) {
        return wide;
    }
    let axis = n.int("axis", 0);
    let extent = match extent {
        Some(extent) => n.builder().ints(&[extent as i64]),
        None => n.x(0).shape().gather(n.builder().ints(&[axis]), 0),
    };
    wide.less(n.builder().constant(flatscape_graph::Tensor::scalar(0i64))).select(wide + extent, wide)
}

/// With batch dimensions, the coordinates of the batch come in front of each position.
fn gather_nd<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let (b, mut indices) = (n.builder(), n.x(1));
    let batch = usize::try_from(n.int("batch_dims", 0)).map_err(|_| "batch_dims is negative")?;
    if batch > 0 {
        let rank = n.rank(1)?;
        let places = indices.shape().gather(b.ints(&(0..rank as i64 - 1).collect::<Vec<_>>()), 0);
        let shape = b.concat(&[places, b.ints(&[1])], 0);
        let mut parts: Vec<Expr<'b>> = Vec::new();
        for axis in 0..batch {
            let mut along = vec![1; rank];
            along[axis] = -1;
            let numbers = slicing::numbers(n, n.x(1), axis).reshape(&along);
            parts.push(b.op("Expand", &[numbers, shape], Attributes::none()));
        }
        parts.push(indices);
        indices = b.concat(&parts, -1);
    }
    Ok(b.op("ScatterND", &[n.zeros_like(n.x(0)), indices, ct], [("reduction", "add".into())]))
}

fn one_hot<'b>(n: &Application<'b>, ct: Expr<'b>) -> Expr<'b> {
    let values = Tensor::new::<f64>(&[2], vec![0.0, 1.0]).map(|t| n.builder().constant(t.cast(ct.dtype())));
    let Some(values) = values else { return n.refuse("its values could not be made".to_owned()) };
    let on = n.builder().op("OneHot", &[n.x(0), n.x(1), values], n.node().attributes.clone());
    n.or_refuse(n.y(0).rank().ok_or_else(|| "the rank of its result is unknown".to_owned()).map(|rank| {
        let all: Vec<i64> = (0..rank as i64).collect();
        let part = |where_: Expr<'b>| (ct * where_).sum(&all, false).reshape(&[1]);
        n.builder().concat(&[part(one_minus(on)), part(on)], 0)
    }))
}

fn compress<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let positions = n.x(1).unary("NonZero").reshape(&[-1]);
    if n.node().attributes.get("axis").is_none() {
        let flat = slicing::put_at(n, ct, 0, 1, positions, n.x(0).unary("Size").reshape(&[1]))?;
        return Ok(flat.reshape_like(n.x(0)));
    }
    let rank = n.rank(0)?;
    let axis = n.axis(n.int("axis", 0), rank)?;
    slicing::put_at(n, ct, axis, rank, positions, slicing::extent(n, n.x(0), axis))
}

/// x [N, C·k, L] as [N, C·k, steps…] and kernels that put tap t of channel c where t is.
fn patches<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let image = n.constant_ints(1)?.ok_or("its image shape is absent")?;
    let block = n.constant_ints(2)?.ok_or("its block shape is absent")?;
    let (axes, taps) = (block.len(), block.iter().product::<i64>());
    let list = |name: &str, default: i64, length: usize| n.ints(name).unwrap_or_else(|| vec![default; length]);
    let (dilations, strides, pads) = (list("dilations", 1, axes), list("strides", 1, axes), list("pads", 0, 2 * axes));
    let channels = n.dims(0)?[1].fixed().ok_or("the number of channels is unknown")? as i64;
    let (mut shape, mut leftover) = (vec![0, channels], Vec::new());
    for axis in 0..axes {
        let room = image[axis] + pads[axis] + pads[axes + axis] - dilations[axis] * (block[axis] - 1) - 1;
        shape.push(room / strides[axis] + 1);
        leftover.push(room % strides[axis]);
    }
    let one = (0..channels * taps).map(|at| if at / taps % taps == at % taps { 1.0 } else { 0.0 }).collect();
    let extents: Vec<usize> = [channels, 1].iter().chain(&block).map(|&d| d as usize).collect();
    let kernels = Tensor::new::<f64>(&extents, one).ok_or("its taps could not be counted")?;
    let operands = [n.x(0).reshape(&shape), n.builder().constant(kernels.cast(n.x(0).dtype()))];
    let attributes = Attributes::none()
        .with("strides", strides)
        .with("dilations", dilations)
        .with("pads", pads)
        .with("output_padding", leftover)
        .with("group", channels / taps.max(1));
    Ok(vec![n.builder().op("ConvTranspose", &operands, attributes)])
}

/// \[N, C, H·b, W·b\] → \[N, C, H, b, W, b\] → \[N, C, b, b, H, W\] → \[N, C·b·b, H, W\].
fn column_row_depth<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let block = n.int("blocksize", 1);
    let dims = n.dims(0)?;
    let known: Option<Vec<usize>> = dims[1..].iter().map(Dim::fixed).collect();
    let Some(&[channels, height, width]) = known.as_deref() else {
        return Err(format!("the extents {} of its operand are not known", list(&dims)));
    };
    let (b, c) = (block as usize, channels / (block * block) as usize);
    let split = [dims[0].clone(), Dim::Fixed(c), Dim::Fixed(height), Dim::Fixed(b), Dim::Fixed(width), Dim::Fixed(b)];
    let blocks = n.reshape_to(ct, &split)?.transpose(&[0, 1, 3, 5, 2, 4]);
    n.reshape_to(blocks, &dims)
}
