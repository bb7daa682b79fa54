//! Slices and borders: the index arithmetic behind two rules of data movement.

use flatscape_graph::{Attribute, Attributes, DType, Dim, Expr, Tensor};

use crate::application::Application;

/// What a slice takes of one axis: `count` elements from `first` on, each `step` after the last one, `reversed` or not.
struct Cut {
    axis: usize,
    extent: i64,
    first: i64,
    step: i64,
    count: i64,
    reversed: bool,
}

/// The cotangent at the steps of the slice, and zeros elsewhere: reversed axes are turned, steps are filled up with zeros,
/// and one pad adds what lies before and after. What is not known in numbers is computed.
pub(super) fn slice<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let rank = n.rank(0)?;
    let Some(cuts) = cuts(n)? else { return computed_slice(n, ct) };
    let mut ct = ct;
    let mut border = vec![0; 2 * rank];
    for cut in cuts {
        let at = cut.axis as i64;
        if cut.reversed && cut.count > 1 {
            ct = ct.slice(&[-1], &[-cut.count - 1], &[at], &[-1]);
        }
        if cut.step > 1 {
            ct = with_zeros_between(n, ct, &cut)?;
        }
        border[cut.axis] = cut.first;
        border[rank + cut.axis] = cut.extent - cut.first - cut.count * cut.step;
    }
    Ok(bordered(ct, &border))
}

/// The numbers of the elements of an axis, sliced like the axis, say where its elements came from.
fn computed_slice<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let (rank, b) = (n.rank(0)?, n.builder());
    let count = n.dims(1)?.first().and_then(Dim::fixed).ok_or("the number of its starts is unknown")?;
    let axes = n.constant_ints(3)?.unwrap_or_else(|| (0..count as i64).collect());
    let mut ct = ct;
    for (at, &axis) in axes.iter().enumerate() {
        let axis = n.axis(axis, rank)?;
        let one = |i: usize| n.optional(i).map(|v| v.slice(&[at as i64], &[at as i64 + 1], &[0], &[1]));
        let mut operands = vec![Some(numbers(n, n.x(0), axis)), one(1), one(2), Some(b.ints(&[0]))];
        operands.extend(one(4).map(Some));
        let operands: Vec<Expr<'b>> = operands.into_iter().flatten().map(|v| v.cast(DType::I64)).collect();
        let positions = b.op("Slice", &operands, Attributes::none());
        ct = put_at(n, ct, axis, rank, positions, extent(n, n.x(0), axis))?;
    }
    Ok(ct)
}

/// 0, 1, 2, … along an axis of a value.
pub(super) fn numbers<'b>(n: &Application<'b>, of: Expr<'b>, axis: usize) -> Expr<'b> {
    let b = n.builder();
    match of.dims().and_then(|d| d.get(axis)?.fixed()) {
        Some(extent) => b.ints(&(0..extent as i64).collect::<Vec<_>>()),
        None => {
            let (zero, one) = (b.constant(Tensor::scalar(0i64)), b.constant(Tensor::scalar(1i64)));
            b.op("Range", &[zero, extent(n, of, axis).reshape(&[]), one], Attributes::none())
        }
    }
}

/// The extent of an axis of a value, as a list of one.
pub(super) fn extent<'b>(n: &Application<'b>, of: Expr<'b>, axis: usize) -> Expr<'b> {
    match of.dims().and_then(|d| d.get(axis)?.fixed()) {
        Some(extent) => n.builder().ints(&[extent as i64]),
        None => of.unary("Shape").gather(n.builder().ints(&[axis as i64]), 0),
    }
}

/// What lies along an axis, added to zeros at these positions of an axis of this extent.
pub(super) fn put_at<'b>(
    n: &Application<'b>,
    v: Expr<'b>,
    axis: usize,
    rank: usize,
    positions: Expr<'b>,
    extent: Expr<'b>,
) -> Result<Expr<'b>, String> {
    let b = n.builder();
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    perm.swap(0, axis);
    let front = v.transpose(&perm);
    let shape = match rank {
        1 => extent,
        _ => b.concat(&[extent, front.shape().slice(&[1], &[i64::MAX], &[0], &[1])], 0),
    };
    let zero = Tensor::full(v.dtype(), &[1], 0.0);
    let zeros = b.op("ConstantOfShape", &[shape], [("value", Attribute::Tensor(zero.into()))]);
    let put = b.op("ScatterND", &[zeros, positions.unsqueeze(&[-1]), front], [("reduction", "add".into())]);
    Ok(put.transpose(&perm))
}

/// [.., count, ..] → [.., count·step, ..] with every element followed by step − 1 zeros.
fn with_zeros_between<'b>(n: &Application<'b>, ct: Expr<'b>, cut: &Cut) -> Result<Expr<'b>, String> {
    let mut dims = ct.dims().ok_or("the rank of a cotangent is unknown")?;
    let mut border = vec![0; 2 * (dims.len() + 1)];
    border[dims.len() + 1 + cut.axis + 1] = cut.step - 1;
    let apart = ct.unsqueeze(&[cut.axis as i64 + 1]).pad_zeros(&border);
    dims[cut.axis] = Dim::Fixed((cut.count * cut.step) as usize);
    n.reshape_to(apart, &dims)
}

/// The cuts, if all their numbers are known.
fn cuts(n: &Application<'_>) -> Result<Option<Vec<Cut>>, String> {
    let dims = n.dims(0)?;
    let (Some(starts), Some(ends)) = (n.known_ints(1), n.known_ints(2)) else { return Ok(None) };
    let axes = n.constant_ints(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = if n.optional(4).is_some() { n.known_ints(4) } else { Some(vec![1; starts.len()]) };
    let Some(steps) = steps else { return Ok(None) };
    let mut cuts = Vec::new();
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = n.axis(axis, dims.len())?;
        let Some(extent) = dims[axis].fixed().map(|extent| extent as i64) else {
            // exporters write the largest number of 32 bits where they mean everything
            if start == 0 && end >= i64::from(i32::MAX) && step == 1 {
                continue;
            }
            return Ok(None);
        };
        let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
        let within = |v: i64| (if v < 0 { v.saturating_add(extent) } else { v }).clamp(low, high);
        // counted from the front, a start before the first element is the first element in either direction
        let (start, end) = (within(start), within(end));
        let start = if step < 0 { start.max(0) } else { start };
        let count = if step == 0 { 0 } else { ((end - start + step - step.signum()) / step).max(0) };
        if count == 0 {
            return Ok(None);
        }
        let first = if step > 0 { start } else { start + (count - 1) * step };
        cuts.push(Cut { axis, extent, first, step: step.abs(), count, reversed: step < 0 });
    }
    Ok(Some(cuts))
}

/// The border that a `Pad` puts around its operand: begins of all axes, then ends; `None` while it is computed.
fn border(n: &Application<'_>) -> Result<Option<Vec<i64>>, String> {
    let rank = n.rank(0)?;
    let Some(stated) = n.known_ints(1) else { return Ok(None) };
    let Some(axes) = n.constant_ints(3)? else { return Ok(Some(stated)) };
    let mut border = vec![0; 2 * rank];
    for (at, &axis) in axes.iter().enumerate() {
        let axis = n.axis(axis, rank)?;
        let (begin, end) = stated.get(at).zip(stated.get(axes.len() + at)).ok_or("its pads do not match its axes")?;
        (border[axis], border[rank + axis]) = (*begin, *end);
    }
    Ok(Some(border))
}

pub(super) fn pad<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let mode = n.string("mode", "constant");
    let rank = n.rank(0)?;
    let Some(border) = border(n)? else { return computed_pad(n, ct, &mode) };
    if mode == "constant" {
        return Ok(without(ct, &border));
    }
    let dims = n.dims(0)?;
    let mut ct = ct;
    for axis in (0..rank).filter(|&axis| border[axis] != 0 || border[rank + axis] != 0) {
        ct = match dims[axis].fixed() {
            Some(extent) => {
                let extent = extent as i64;
                let positions = -border[axis]..extent + border[rank + axis];
                let sources: Vec<i64> = positions.map(|at| source(at, extent, &mode)).collect();
                add_to_sources(n, ct, axis, rank, &sources, extent)?
            }
            None => {
                let pads = n.builder().ints(&[border[axis], border[rank + axis]]);
                put_at(n, ct, axis, rank, padded_numbers(n, axis, pads, &mode), extent(n, n.x(0), axis))?
            }
        };
    }
    Ok(ct)
}

/// The border as a computed value: cut off, or in the other modes added to where it came from.
fn computed_pad<'b>(n: &Application<'b>, ct: Expr<'b>, mode: &str) -> Result<Expr<'b>, String> {
    let (rank, b) = (n.rank(0)?, n.builder());
    let axes = n.constant_ints(3)?.unwrap_or_else(|| (0..rank as i64).collect());
    let mut ct = ct;
    if mode == "constant" {
        let operands = [Some(ct), Some(-n.x(1)), None, n.optional(3)];
        return Ok(b.op_with_gaps("Pad", if operands[3].is_some() { &operands } else { &operands[..2] }, Attributes::none()));
    }
    for (at, &axis) in axes.iter().enumerate() {
        let axis = n.axis(axis, rank)?;
        let pads = n.x(1).gather(b.ints(&[at as i64, (axes.len() + at) as i64]), 0);
        ct = put_at(n, ct, axis, rank, padded_numbers(n, axis, pads, mode), extent(n, n.x(0), axis))?;
    }
    Ok(ct)
}

/// The numbers of the elements of an axis, padded like the axis, say where its elements came from.
fn padded_numbers<'b>(n: &Application<'b>, axis: usize, pads: Expr<'b>, mode: &str) -> Expr<'b> {
    n.builder().op("Pad", &[numbers(n, n.x(0), axis), pads], [("mode", mode.into())])
}

/// The sum of the cotangents on the border.
pub(super) fn pad_value<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    if n.string("mode", "constant") != "constant" {
        return Err("the value of a border that is not constant is differentiated".to_owned());
    }
    let all: Vec<i64> = (0..n.rank(0)? as i64).collect();
    let value = ct.sum(&all, false) - pad(n, ct)?.sum(&all, false);
    Ok(value.reshape_like(n.x(2)))
}

fn without<'b>(ct: Expr<'b>, border: &[i64]) -> Expr<'b> {
    bordered(ct, &border.iter().map(|&p| -p).collect::<Vec<_>>())
}

/// A border of zeros: begins of all axes, then ends. Negative amounts cut off, with a slice, since not every runtime lets a
/// pad cut.
pub(super) fn bordered<'b>(v: Expr<'b>, border: &[i64]) -> Expr<'b> {
    let rank = border.len() / 2;
    let cut: Vec<usize> = (0..rank).filter(|&axis| border[axis] < 0 || border[rank + axis] < 0).collect();
    let starts: Vec<i64> = cut.iter().map(|&axis| (-border[axis]).max(0)).collect();
    let ends: Vec<i64> = cut.iter().map(|&axis| if border[rank + axis] < 0 { border[rank + axis] } else { i64::MAX }).collect();
    let axes: Vec<i64> = cut.iter().map(|&axis| axis as i64).collect();
    let rest = if cut.is_empty() { v } else { v.slice(&starts, &ends, &axes, &vec![1; cut.len()]) };
    rest.pad_zeros(&border.iter().map(|&p| p.max(0)).collect::<Vec<_>>())
}

/// The element of an axis that a position, possibly outside, is a copy of.
fn source(at: i64, extent: i64, mode: &str) -> i64 {
    match mode {
        "edge" => at.clamp(0, extent - 1),
        "wrap" => at.rem_euclid(extent.max(1)),
        _ if extent < 2 => 0,
        _ => {
            let period = 2 * (extent - 1);
            let within = at.rem_euclid(period);
            within.min(period - within)
        }
    }
}

/// Along one axis the product with the 0-1 matrix [positions, extent] of who is a copy of whom.
fn add_to_sources<'b>(
    n: &Application<'b>,
    ct: Expr<'b>,
    axis: usize,
    rank: usize,
    sources: &[i64],
    extent: i64,
) -> Result<Expr<'b>, String> {
    let copies = sources.iter().flat_map(|&s| (0..extent).map(move |j| if s == j { 1.0 } else { 0.0 })).collect();
    let matrix = Tensor::new::<f64>(&[sources.len(), extent as usize], copies).ok_or("its border could not be counted")?;
    let matrix = n.builder().constant(matrix.cast(ct.dtype()));
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    perm.swap(axis, rank - 1);
    if rank == 1 {
        return Ok(ct.matmul(matrix));
    }
    Ok(ct.transpose(&perm).matmul(matrix).transpose(&perm))
}
