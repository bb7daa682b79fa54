//! `Gate`: the gradient of a ReLU.

use super::{Operand, Own, Run, given};
use crate::lower;

/// `y = Gate(x, v)`: v where x > 0, else 0. Both have the same extents.
pub(crate) struct Gate;

impl Own for Gate {
    const NAME: &'static str = lower::GATE;
    const OPERANDS: usize = 2;
    const RESULTS: usize = 1;

    fn read(_: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<Gate, String> {
        Ok(Gate)
    }

    fn extents(&self, operands: &[Option<&[i64]>]) -> Option<Vec<Vec<i64>>> {
        Some(vec![given(operands, 0)?.to_vec()])
    }

    fn compute(&self, operands: &[Option<Operand>], results: &mut [&mut [f32]], _: &Run) -> Result<(), String> {
        let wrong = || "Gate takes two operands of the same extents".to_owned();
        let (&[Some((x, _)), Some((v, _))], [result]) = (operands, results) else { return Err(wrong()) };
        if x.len() != v.len() {
            return Err(wrong());
        }
        for ((y, &x), &v) in result.iter_mut().zip(x).zip(v) {
            *y = if x > 0.0 { v } else { 0.0 };
        }
        Ok(())
    }
}
