//! Slices and borders: the index arithmetic behind two rules of data movement.

use flatscape_graph::{Dim, Expr, Tensor};

use crate::site::Site;

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
/// and one pad adds what lies before and after.
pub(super) fn slice<'b>(n: &Site<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let rank = n.rank(0)?;
    let mut ct = ct;
    let mut border = vec![0; 2 * rank];
    for cut in cuts(n)? {
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

/// [.., count, ..] → [.., count·step, ..] with every element followed by step − 1 zeros.
fn with_zeros_between<'b>(n: &Site<'b>, ct: Expr<'b>, cut: &Cut) -> Result<Expr<'b>, String> {
    let mut dims = ct.dims().ok_or("the rank of a cotangent is unknown")?;
    let mut border = vec![0; 2 * (dims.len() + 1)];
    border[dims.len() + 1 + cut.axis + 1] = cut.step - 1;
    let apart = ct.unsqueeze(&[cut.axis as i64 + 1]).pad_zeros(&border);
    dims[cut.axis] = Dim::Fixed((cut.count * cut.step) as usize);
    n.reshape_to(apart, &dims)
}

fn cuts(n: &Site<'_>) -> Result<Vec<Cut>, String> {
    let dims = n.dims(0)?;
    let starts = n.constant_ints(1)?.ok_or("its starts are absent")?;
    let ends = n.constant_ints(2)?.ok_or("its ends are absent")?;
    let axes = n.constant_ints(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = n.constant_ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    let mut cuts = Vec::new();
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = n.axis(axis, dims.len())?;
        let Some(extent) = dims[axis].fixed().map(|extent| extent as i64) else {
            // exporters write the largest number of 32 bits where they mean everything
            if start == 0 && end >= i64::from(i32::MAX) && step == 1 {
                continue;
            }
            return Err(format!("the extent of its axis {axis} is unknown"));
        };
        let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
        let within = |v: i64| (if v < 0 { v.saturating_add(extent) } else { v }).clamp(low, high);
        // counted from the front, a start before the first element is the first element in either direction
        let (start, end) = (within(start), within(end));
        let start = if step < 0 { start.max(0) } else { start };
        let count = if step == 0 { 0 } else { ((end - start + step - step.signum()) / step).max(0) };
        if count == 0 {
            return Err("it takes no element".to_owned());
        }
        let first = if step > 0 { start } else { start + (count - 1) * step };
        cuts.push(Cut { axis, extent, first, step: step.abs(), count, reversed: step < 0 });
    }
    Ok(cuts)
}

/// The border that a `Pad` puts around its operand: begins of all axes, then ends.
fn border(n: &Site<'_>) -> Result<Vec<i64>, String> {
    let rank = n.rank(0)?;
    let stated = n.constant_ints(1)?.ok_or("its pads are absent")?;
    let Some(axes) = n.constant_ints(3)? else { return Ok(stated) };
    let mut border = vec![0; 2 * rank];
    for (at, &axis) in axes.iter().enumerate() {
        let axis = n.axis(axis, rank)?;
        let (begin, end) = stated.get(at).zip(stated.get(axes.len() + at)).ok_or("its pads do not match its axes")?;
        (border[axis], border[rank + axis]) = (*begin, *end);
    }
    Ok(border)
}

pub(super) fn pad<'b>(n: &Site<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let border = border(n)?;
    let mode = n.string("mode", "constant");
    if mode == "constant" {
        return Ok(without(ct, &border));
    }
    let rank = n.rank(0)?;
    let dims = n.dims(0)?;
    let mut ct = ct;
    for axis in (0..rank).filter(|&axis| border[axis] != 0 || border[rank + axis] != 0) {
        let extent = dims[axis].fixed().ok_or_else(|| format!("the extent of its axis {axis} is unknown"))? as i64;
        let sources: Vec<i64> = (-border[axis]..extent + border[rank + axis]).map(|at| source(at, extent, &mode)).collect();
        ct = add_to_sources(n, ct, axis, rank, &sources, extent)?;
    }
    Ok(ct)
}

/// The sum of the cotangents on the border.
pub(super) fn pad_value<'b>(n: &Site<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    if n.string("mode", "constant") != "constant" {
        return Err("the value of a border that is not constant is differentiated".to_owned());
    }
    let all: Vec<i64> = (0..n.rank(0)? as i64).collect();
    let value = ct.sum(&all, false) - without(ct, &border(n)?).sum(&all, false);
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
    n: &Site<'b>,
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
