//! Sums, products and extremes of constants. Floats are accumulated in double and rounded once.

use ndarray::{ArrayD, Axis, Ix2};

use super::elementwise::{Number, widened};
use super::{Call, Folded};
use crate::ops::Site;
use crate::tensor::Tensor;

/// `ReduceSum`, `ReduceMean`, `ReduceProd`, `ReduceMax`, `ReduceMin`.
pub(in crate::ops) fn reduce(call: &Call) -> Folded {
    let (Some(x), Some(shape)) = (call.operand(0), call.shape()) else { return Ok(None) };
    let axes = if call.inputs.get(1).copied().flatten().is_some() { call.ints(1) } else { Some(Vec::new()) };
    let Some(axes) = axes else { return Ok(None) };
    if axes.is_empty() && call.attributes.int("noop_with_empty_axes", 0) != 0 {
        return Ok(Some(vec![x.clone()]));
    }
    let rank = x.shape().len();
    let axes = if axes.is_empty() { (0..rank).collect() } else { Site::axes(&axes, rank)? };
    let reduced = match widened(x) {
        Tensor::F64(a) => {
            let count: usize = axes.iter().map(|&i| a.shape()[i]).product();
            over(&call.op, a, axes, (f64::NEG_INFINITY, f64::INFINITY)).map(|a| match &*call.op {
                "ReduceMean" => Tensor::F64(a / count as f64),
                _ => Tensor::F64(a),
            })
        }
        Tensor::I64(a) if &*call.op != "ReduceMean" => over(&call.op, a, axes, (i64::MIN, i64::MAX)).map(Tensor::I64),
        _ => None,
    };
    Ok(reduced.and_then(|t| t.cast(x.dtype()).reshape(shape)).map(|t| vec![t]))
}

fn over<T: Number>(op: &str, mut a: ArrayD<T>, mut axes: Vec<usize>, (least, most): (T, T)) -> Option<ArrayD<T>> {
    axes.sort_unstable();
    for axis in axes.into_iter().rev().map(Axis) {
        if a.len_of(axis) == 0 && matches!(op, "ReduceMax" | "ReduceMin" | "ReduceMean") {
            return None;
        }
        // a pointer to the operation, so that the loop over an axis is compiled once per element type
        let (start, join): (T, fn(T, T) -> T) = match op {
            "ReduceSum" | "ReduceMean" => (T::zero(), T::plus),
            "ReduceProd" => (T::one(), T::times),
            "ReduceMax" => (least, T::larger),
            "ReduceMin" => (most, T::smaller),
            _ => return None,
        };
        a = a.fold_axis(axis, start, |&x, &y| join(x, y));
    }
    Some(a)
}

/// `CumSum` of integers.
pub(in crate::ops) fn cum_sum(call: &Call) -> Folded {
    let (Some(x), Some([axis])) = (call.operand(0), call.ints(1).as_deref().and_then(|a| <[i64; 1]>::try_from(a).ok())) else {
        return Ok(None);
    };
    let Tensor::I64(mut a) = widened(x) else { return Ok(None) };
    let (reverse, exclusive) = (call.attributes.int("reverse", 0) != 0, call.attributes.int("exclusive", 0) != 0);
    let axis = Axis(crate::ops::site::front(axis, a.ndim())?);
    for mut lane in a.lanes_mut(axis) {
        let mut sum = 0i64;
        let n = lane.len();
        for k in 0..n {
            let at = if reverse { n - 1 - k } else { k };
            let here = lane[at];
            lane[at] = if exclusive { sum } else { sum.wrapping_add(here) };
            sum = sum.wrapping_add(here);
        }
    }
    Ok(Some(vec![Tensor::I64(a).cast(x.dtype())]))
}

/// The most multiplications of a product that is evaluated.
const WORK: usize = 1 << 26;

/// `MatMul` of two matrices.
pub(in crate::ops) fn matmul(call: &Call) -> Folded {
    let (Some(a), Some(b)) = (call.operand(0), call.operand(1)) else { return Ok(None) };
    let (Tensor::F64(wide_a), Tensor::F64(wide_b)) = (widened(a), widened(b)) else { return Ok(None) };
    let (Ok(wide_a), Ok(wide_b)) = (wide_a.into_dimensionality::<Ix2>(), wide_b.into_dimensionality::<Ix2>()) else {
        return Ok(None);
    };
    // a product of two moderate matrices can be a lot of work; engines do that faster
    if wide_a.len().saturating_mul(wide_b.ncols()) > WORK {
        return Ok(None);
    }
    Ok(Some(vec![Tensor::F64(wide_a.dot(&wide_b).into_dyn()).cast(a.dtype())]))
}
