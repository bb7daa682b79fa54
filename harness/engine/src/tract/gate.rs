//! `Gate` for tract, whose `Where` and comparisons walk over their operands element by element through views of any rank.

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::tract_hir::internal::*;

use super::own::{Kernel, Own};
use crate::lower;

/// Adds the operator to those that tract reads.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert(lower::GATE, |_, _| Ok((expand(Own(Gate)), Vec::new())));
}

/// `y = Gate(x, v)`: v where x > 0, else 0. Both have the same extents and element type, float or double.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gate;

impl Kernel for Gate {
    const NAME: &'static str = lower::GATE;

    fn compute(&self, x: &Tensor, v: TValue) -> TractResult<Tensor> {
        match v.datum_type() {
            DatumType::F64 => gated::<f64>(x, v),
            _ => gated::<f32>(x, v),
        }
    }
}

fn gated<T: Datum + Copy + PartialOrd + Default>(x: &Tensor, v: TValue) -> TractResult<Tensor> {
    if x.shape() != v.shape() {
        bail!("Gate takes two operands of the same extents");
    }
    let mut y = v.into_tensor();
    let (zero, x) = (T::default(), x.try_as_plain_ram()?);
    for (y, &x) in y.try_as_plain_ram_mut()?.as_slice_mut::<T>()?.iter_mut().zip(x.as_slice::<T>()?) {
        *y = if x > zero { *y } else { zero };
    }
    Ok(y)
}
