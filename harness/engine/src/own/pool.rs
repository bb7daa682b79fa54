//! `PoolGradient`: where the cotangent of a maximum goes.

use flatscape_kernels::Windows;

use super::{Operand, Own, Run, four, given};
use crate::lower;

/// `x̄ = PoolGradient(x, ȳ)`: ȳ of every window added at its first largest element of x, all [N, C, H, W]; with the attributes of
/// `MaxPool` and `positive`: whether only maxima above 0 pass.
pub(crate) struct PoolGradient(Windows);

impl Own for PoolGradient {
    const NAME: &'static str = lower::POOL_GRADIENT;
    const OPERANDS: usize = 2;
    const RESULTS: usize = 1;

    fn read(attribute: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<PoolGradient, String> {
        let positive = attribute("positive").as_deref() == Some(&[1]);
        Windows::read(attribute, positive).map(PoolGradient)
    }

    fn extents(&self, operands: &[Option<&[i64]>]) -> Option<Vec<Vec<i64>>> {
        Some(vec![given(operands, 0)?.to_vec()])
    }

    fn compute(&self, operands: &[Option<Operand>], results: &mut [&mut [f32]], _: &Run) -> Result<(), String> {
        let wrong = || "PoolGradient takes operands of four axes with as many planes".to_owned();
        let (x, [n, c, h, w]) = four(operands, 0).ok_or_else(wrong)?;
        let (ct, [samples, channels, rows, columns]) = four(operands, 1).ok_or_else(wrong)?;
        if [n, c] != [samples, channels] {
            return Err(wrong());
        }
        self.0.gradient(x, ct, results[0], [h, w], [rows, columns]);
        Ok(())
    }
}
