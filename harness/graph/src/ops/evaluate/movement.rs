//! Movements of constants: every result element is an element of an operand.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, SliceInfoElem, concatenate};

use super::{Call, Folded};
use crate::ops::{Site, site::front, slice::positions};
use crate::tensor::{DType, Element, Tensor};
use crate::with_array;

/// `Reshape`, `Flatten`, `Squeeze`, `Unsqueeze`.
pub(in crate::ops) fn reshape(call: &Call) -> Folded {
    Ok(call.operand(0).zip(call.shape()).and_then(|(x, shape)| x.reshape(shape)).map(|t| vec![t]))
}

/// `Transpose`.
pub(in crate::ops) fn transpose(call: &Call) -> Folded {
    let Some(x) = call.operand(0) else { return Ok(None) };
    let order: Vec<usize> = match call.attributes.ints("perm") {
        Some(perm) => Site::axes(perm, x.shape().len())?,
        None => (0..x.shape().len()).rev().collect(),
    };
    Ok(Some(vec![with_array!(x, a => Tensor::from(a.view().permuted_axes(order).as_standard_layout().into_owned()))]))
}

/// `Concat`.
pub(in crate::ops) fn concat(call: &Call) -> Folded {
    fn join<T: Element>(first: &ArrayD<T>, call: &Call, axis: usize) -> Option<Tensor> {
        let mut parts: Vec<ArrayViewD<T>> = vec![first.view()];
        for i in 1..call.inputs.len() {
            parts.push(T::view(call.operand(i)?)?.view());
        }
        concatenate(Axis(axis), &parts).ok().map(T::wrap)
    }
    let Some(first) = call.operand(0) else { return Ok(None) };
    let Some(axis) = call.axis("axis", 0, first.shape().len()) else { return Ok(None) };
    Ok(with_array!(first, a => join(a, call, axis)).map(|t| vec![t]))
}

/// `Split`.
pub(in crate::ops) fn split(call: &Call) -> Folded {
    let Some(x) = call.operand(0) else { return Ok(None) };
    let Some(axis) = call.axis("axis", 0, x.shape().len()) else { return Ok(None) };
    let mut start = 0;
    let mut parts = Vec::with_capacity(call.shapes.len());
    for shape in &call.shapes {
        let Some(shape) = shape else { return Ok(None) };
        let end = start + shape[axis];
        if end > x.shape()[axis] {
            return Err(format!("the parts are longer than {}", x.shape()[axis]));
        }
        let picks: Vec<usize> = (start..end).collect();
        start = end;
        parts.push(pick(x, axis, &picks));
    }
    Ok(Some(parts))
}

/// `Slice`.
pub(in crate::ops) fn slice(call: &Call) -> Folded {
    let (Some(x), Some(starts), Some(ends)) = (call.operand(0), call.ints(1), call.ints(2)) else { return Ok(None) };
    let axes = call.ints(3).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints(4).unwrap_or_else(|| vec![1; starts.len()]);
    let mut cut = x.clone();
    for (k, axis) in Site::axes(&axes, x.shape().len())?.into_iter().enumerate() {
        let (Some(&start), Some(&end), Some(&step)) = (starts.get(k), ends.get(k), steps.get(k)) else { return Ok(None) };
        let (first, count) = positions(x.shape()[axis], start, end, step);
        let picks: Vec<usize> = (0..count as i64).map(|i| (first as i64 + i * step) as usize).collect();
        if picks.len() != x.shape()[axis] || step != 1 {
            cut = pick(&cut, axis, &picks);
        }
    }
    Ok(Some(vec![cut]))
}

/// `Pad` with a constant.
pub(in crate::ops) fn pad(call: &Call) -> Folded {
    fn surround<T: Element + Default>(a: &ArrayD<T>, fill: Option<&Tensor>, before: &[i64], shape: &[usize]) -> Option<Tensor> {
        let value = match fill {
            Some(fill) => *T::view(fill)?.first()?,
            None => T::default(),
        };
        let mut whole = ArrayD::from_elem(IxDyn(shape), value);
        // the part of x that stays, in the coordinates of x and of the result
        let spans: Vec<(i64, i64)> =
            (0..shape.len()).map(|i| ((-before[i]).max(0), (shape[i] as i64 - before[i]).min(a.shape()[i] as i64))).collect();
        if spans.iter().all(|(from, to)| from < to) {
            let cut = |by: &dyn Fn(usize) -> i64| -> Vec<SliceInfoElem> {
                let elem = |i: usize| SliceInfoElem::Slice {
                    start: (spans[i].0 + by(i)) as isize,
                    end: Some((spans[i].1 + by(i)) as isize),
                    step: 1,
                };
                (0..shape.len()).map(elem).collect()
            };
            let source = a.slice(cut(&|_| 0).as_slice());
            whole.slice_mut(cut(&|i| before[i]).as_slice()).assign(&source);
        }
        Some(T::wrap(whole))
    }
    let (Some(x), Some(pads), Some(shape)) = (call.operand(0), call.ints(1), call.shape()) else { return Ok(None) };
    if call.attributes.string("mode", "constant") != "constant" {
        return Ok(None);
    }
    let rank = x.shape().len();
    let axes = match call.operand(3) {
        Some(axes) => Site::axes(&axes.to_ints().unwrap_or_default(), rank)?,
        None => (0..rank).collect(),
    };
    let mut before = vec![0i64; rank];
    axes.iter().zip(&pads).for_each(|(&axis, &amount)| before[axis] = amount);
    Ok(with_array!(x, a => surround(a, call.operand(2), &before, shape)).map(|t| vec![t]))
}

/// `Expand`.
pub(in crate::ops) fn expand(call: &Call) -> Folded {
    let (Some(x), Some(shape)) = (call.operand(0), call.shape()) else { return Ok(None) };
    Ok(with_array!(x, a => a.broadcast(IxDyn(shape)).map(|v| Tensor::from(v.into_owned()))).map(|t| vec![t]))
}

/// `Tile`.
pub(in crate::ops) fn tile(call: &Call) -> Folded {
    let (Some(x), Some(shape)) = (call.operand(0), call.shape()) else { return Ok(None) };
    let mut tiled = x.clone();
    for (axis, (&n, &wanted)) in x.shape().iter().zip(shape).enumerate() {
        if n != wanted {
            tiled = pick(&tiled, axis, &(0..wanted).map(|i| i % n.max(1)).collect::<Vec<_>>());
        }
    }
    Ok(Some(vec![tiled]))
}

/// `Gather`.
pub(in crate::ops) fn gather(call: &Call) -> Folded {
    let (Some(x), Some(indices), Some(shape)) = (call.operand(0), call.ints(1), call.shape()) else { return Ok(None) };
    let Some(axis) = call.axis("axis", 0, x.shape().len()) else { return Ok(None) };
    let n = x.shape()[axis];
    let place = |&i: &i64| front(i, n).map_err(|_| format!("the index {i} is outside the extent {n}"));
    let picks: Vec<usize> = indices.iter().map(place).collect::<Result<_, _>>()?;
    Ok(pick(x, axis, &picks).reshape(shape).map(|t| vec![t]))
}

/// `OneHot`.
pub(in crate::ops) fn one_hot(call: &Call) -> Folded {
    fn build<T: Element>(values: &ArrayD<T>, hot: &ArrayD<bool>) -> Option<Tensor> {
        let mut two = values.iter();
        let (off, on) = (two.next()?, two.next()?);
        Some(T::wrap(hot.map(|&h| if h { *on } else { *off })))
    }
    let (Some(x), Some(indices), Some(values), Some(shape)) = (call.operand(0), call.ints(0), call.operand(2), call.shape())
    else {
        return Ok(None);
    };
    let Some(axis) = call.axis("axis", -1, shape.len()) else { return Ok(None) };
    let depth = shape[axis];
    let mut order = x.shape().to_vec();
    order.push(depth);
    let mut hot = ArrayD::from_elem(IxDyn(&order), false);
    for (mut row, &i) in hot.lanes_mut(Axis(order.len() - 1)).into_iter().zip(&indices) {
        if let Ok(at) = front(i, depth) {
            row[at] = true;
        }
    }
    let mut places: Vec<usize> = (0..order.len() - 1).collect();
    places.insert(axis, order.len() - 1);
    let hot = hot.permuted_axes(places).as_standard_layout().into_owned();
    Ok(with_array!(values, v => build(v, &hot)).map(|t| vec![t]))
}

/// `Trilu`.
pub(in crate::ops) fn trilu(call: &Call) -> Folded {
    fn keep<T: Element + Default>(a: &ArrayD<T>, upper: bool, shift: i64) -> Tensor {
        let mut a = a.clone();
        let rank = a.ndim();
        for (at, v) in a.indexed_iter_mut() {
            let behind = at[rank - 1] as i64 - at[rank - 2] as i64;
            if if upper { behind < shift } else { behind > shift } {
                *v = T::default();
            }
        }
        T::wrap(a)
    }
    let Some(x) = call.operand(0) else { return Ok(None) };
    let shift = call.ints(1).and_then(|k| k.first().copied()).unwrap_or(0);
    let upper = call.attributes.int("upper", 1) != 0;
    Ok(Some(vec![with_array!(x, a => keep(a, upper, shift))]))
}

/// `Range` of integers.
pub(in crate::ops) fn range(call: &Call) -> Folded {
    let (Some(start), Some(step), Some(&[n]), Some(dtype)) = (call.ints(0), call.ints(2), call.shape(), call.dtypes[0]) else {
        return Ok(None);
    };
    let (Some(start), Some(step)) = (start.first(), step.first()) else { return Ok(None) };
    let values: Vec<i64> = (0..n as i64).map(|i| start.wrapping_add(i.wrapping_mul(*step))).collect();
    Ok(Some(vec![Tensor::ints(&values).cast(dtype)]))
}

/// `EyeLike`.
pub(in crate::ops) fn eye(call: &Call) -> Folded {
    let (Some(shape), Some(dtype)) = (call.shape(), call.dtypes[0]) else { return Ok(None) };
    let k = call.attributes.int("k", 0);
    let on = ArrayD::from_shape_fn(IxDyn(shape), |at| at[1] as i64 - at[0] as i64 == k);
    Ok(Some(vec![Tensor::Bool(on).cast(dtype)]))
}

/// `NonZero`: one column of coordinates per element, in row-major order.
pub(in crate::ops) fn non_zero(call: &Call) -> Folded {
    let Some(Tensor::Bool(x)) = call.operand(0).map(|x| x.cast(DType::Bool)) else { return Ok(None) };
    let at: Vec<IxDyn> = x.indexed_iter().filter(|(_, v)| **v).map(|(at, _)| at).collect();
    let rank = x.ndim().max(1);
    let table: Vec<i64> =
        (0..rank).flat_map(|axis| at.iter().map(move |p| if p_len(p) == 0 { 0 } else { p[axis] as i64 })).collect();
    Ok(Tensor::new(&[rank, at.len()], table).map(|t| vec![t]))
}

fn p_len(place: &IxDyn) -> usize {
    ndarray::Dimension::ndim(place)
}

/// These positions along an axis, in this order.
fn pick(x: &Tensor, axis: usize, picks: &[usize]) -> Tensor {
    with_array!(x, a => Tensor::from(a.select(Axis(axis), picks)))
}
