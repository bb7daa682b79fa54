//! `Correlation`: the gradient of a convolution by its kernel.

use flatscape_kernels::Correlation as Arithmetic;

use super::{Operand, Own, Run, four, given};
use crate::lower;

/// `W̄ = Correlation(x, ȳ)`: [N, C, H, W] and [N, M, P, Q] ↦ [M, C, kernel], with the attributes of the convolution: `kernel_shape`,
/// `strides`, `dilations`, `pads`, and `square` (2 or 4) where it is computed in squares.
pub(crate) struct Correlation(Arithmetic);

impl Own for Correlation {
    const NAME: &'static str = lower::CORRELATION;
    const OPERANDS: usize = 2;
    const RESULTS: usize = 1;

    fn read(attribute: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<Correlation, String> {
        Arithmetic::read(attribute).map(Correlation)
    }

    fn extents(&self, operands: &[Option<&[i64]>]) -> Option<Vec<Vec<i64>>> {
        let (&[_, c, ..], &[_, m, ..]) = (given(operands, 0)?, given(operands, 1)?) else { return None };
        let [height, width] = self.0.kernel().map(|k| k as i64);
        Some(vec![vec![m, c, height, width]])
    }

    fn compute(&self, operands: &[Option<Operand>], results: &mut [&mut [f32]], run: &Run) -> Result<(), String> {
        let wrong = || "Correlation takes two operands of four axes with as many samples".to_owned();
        let (x, ct) = (four(operands, 0).ok_or_else(wrong)?, four(operands, 1).ok_or_else(wrong)?);
        if x.1[0] != ct.1[0] {
            return Err(wrong());
        }
        self.0.compute(x, ct, results[0], run.each)
    }
}
