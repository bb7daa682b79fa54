//! `Formula`: several operations on single elements in one pass.

use flatscape_kernels::Formula as Arithmetic;

use super::{Operand, Own, Run, given};
use crate::lower::{self, OPERANDS};

/// `y = Formula(a, …)`: up to [`OPERANDS`] operands, with the attributes `operands`, `like`, `steps` and `total` of the arithmetic.
pub(crate) struct Formula(Arithmetic);

impl Own for Formula {
    const NAME: &'static str = lower::FORMULA;
    const OPERANDS: usize = OPERANDS;
    const RESULTS: usize = 1;

    fn read(attribute: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<Formula, String> {
        Arithmetic::read(attribute).map(Formula)
    }

    fn extents(&self, operands: &[Option<&[i64]>]) -> Option<Vec<Vec<i64>>> {
        Some(vec![self.0.extents(given(operands, self.0.like())?)?])
    }

    fn compute(&self, operands: &[Option<Operand>], results: &mut [&mut [f32]], run: &Run) -> Result<(), String> {
        let extents = |&(_, extents): &Operand| extents.iter().map(|&n| n as usize).collect();
        let extents: Vec<Vec<usize>> = operands.iter().flatten().map(extents).collect();
        let operands: Vec<_> = operands.iter().flatten().zip(&extents).map(|(&(e, _), extents)| (e, &extents[..])).collect();
        let wrong = || "Formula takes operands that are repeated to the extents of one of them".to_owned();
        self.0.compute(&operands, results[0], run.each).ok_or_else(wrong)?
    }
}
