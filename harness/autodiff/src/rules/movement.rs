//! Rules of data movement: where elements are copied from, their cotangents are added up.

use flatscape_graph::{Attributes, Dim, Expr};

use crate::rule::{Rule, each, vjp};
use crate::site::{Site, list};

use super::slicing;

pub(super) const RULES: &[Rule] = &[
    // the same elements in another shape: the cotangent takes the shape of x
    vjp("Reshape", &[|n, ct| ct.reshape_like(n.x(0))]),
    vjp("Flatten", &[|n, ct| ct.reshape_like(n.x(0))]),
    vjp("Squeeze", &[|n, ct| ct.reshape_like(n.x(0))]),
    vjp("Unsqueeze", &[|n, ct| ct.reshape_like(n.x(0))]),
    // y = x with permuted axes         x̄ = ȳ with the inverse permutation
    vjp("Transpose", &[transpose]),
    // y = x₁ | x₂ | …                  x̄ᵢ = the part of ȳ that came from xᵢ
    each("Concat", |n, i, ct| n.or_refuse(part(n, i, ct))),
    // y₁ | y₂ | … = x                  x̄ = ȳ₁ | ȳ₂ | …
    vjp(
        "Split",
        &[|n, _| {
            let parts: Vec<Expr<'_>> = (0..n.results()).map(|k| n.ct(k).unwrap_or_else(|| n.zeros_like(n.y(k)))).collect();
            n.builder().concat(&parts, n.int("axis", 0))
        }],
    )
    .all_results(),
    // y = some of x at regular steps   x̄ = ȳ at those steps, 0 elsewhere
    vjp("Slice", &[|n, ct| n.or_refuse(slicing::slice(n, ct))]),
    // y = x within a border            x̄ = ȳ without the border (a mirrored border is added to where it came from)
    vjp("Pad", &[|n, ct| n.or_refuse(slicing::pad(n, ct)), stop_pads, |n, ct| n.or_refuse(slicing::pad_value(n, ct))]),
    // y = x broadcast                  x̄ = ȳ, which the driver sums
    vjp("Expand", &[|_, ct| ct]),
    // y = x repeated r times           x̄ = Σ over the repetitions
    vjp("Tile", &[|n, ct| n.or_refuse(tile(n, ct))]),
    // y = x[i] along an axis           x̄[j] = Σ ȳ over the places where i = j
    vjp("Gather", &[|n, ct| n.or_refuse(gather(n, ct))]),
    // y[p] = x[p with i[p] for one coordinate]     x̄ = ȳ added there
    vjp(
        "GatherElements",
        &[|n, ct| {
            let attributes = [("axis", n.int("axis", 0).into()), ("reduction", "add".into())];
            n.builder().op("ScatterElements", &[n.zeros_like(n.x(0)), n.x(1), ct], attributes)
        }],
    ),
    // y[p] = x[i[p]]                   x̄ = ȳ added there
    vjp(
        "GatherND",
        &[|n, ct| match n.int("batch_dims", 0) {
            0 => n.builder().op("ScatterND", &[n.zeros_like(n.x(0)), n.x(1), ct], [("reduction", "add".into())]),
            _ => n.refuse("it has batch dimensions".to_owned()),
        }],
    ),
    // y = x with u put at i            x̄ = ȳ with 0 put at i (added: ȳ)            ū = ȳ[i]
    vjp(
        "ScatterElements",
        &[
            |n, ct| scatter_data(n, ct),
            stop_pads,
            |n, ct| n.builder().op("GatherElements", &[ct, n.x(1)], [("axis", n.int("axis", 0).into())]),
        ],
    )
    .kink("indices that are set twice share no cotangent"),
    vjp(
        "ScatterND",
        &[|n, ct| scatter_data(n, ct), stop_pads, |n, ct| n.builder().op("GatherND", &[ct, n.x(1)], Attributes::none())],
    )
    .kink("indices that are set twice share no cotangent"),
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
];

/// The place of an operand that holds positions and stands before one that has a formula.
fn stop_pads<'b>(n: &Site<'b>, _: Expr<'b>) -> Expr<'b> {
    n.refuse("its positions are differentiated".to_owned())
}

fn transpose<'b>(n: &Site<'b>, ct: Expr<'b>) -> Expr<'b> {
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
fn part<'b>(n: &Site<'b>, i: usize, ct: Expr<'b>) -> Result<Expr<'b>, String> {
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

fn tile<'b>(n: &Site<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let repeats = n.constant_ints(1)?.ok_or("its repeats are absent")?;
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
fn gather<'b>(n: &Site<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
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
fn from_front<'b>(n: &Site<'b>, extent: Option<usize>) -> Expr<'b> {
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

fn scatter_data<'b>(n: &Site<'b>, ct: Expr<'b>) -> Expr<'b> {
    match n.string("reduction", "none").as_str() {
        "add" => ct,
        "none" => n.builder().op(&n.node().op, &[ct, n.x(1), n.zeros_like(n.x(2))], n.node().attributes.clone()),
        other => n.refuse(format!("its reduction is {other:?}")),
    }
}

/// \[N, C, H·b, W·b\] → \[N, C, H, b, W, b\] → \[N, C, b, b, H, W\] → \[N, C·b·b, H, W\].
fn column_row_depth<'b>(n: &Site<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
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
