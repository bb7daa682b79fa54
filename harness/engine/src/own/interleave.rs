//! `Interleave`: four images become one of twice the extents.

use super::{Operand, Own, Run, four, given};
use crate::lower;

/// `y = Interleave(a, b, c, d)`: [N, C, h, w] four times ↦ [N, C, H, W], `y[2i, 2j] = a[i, j]`, `y[2i, 2j+1] = b[i, j]`,
/// `y[2i+1, 2j] = c[i, j]`, `y[2i+1, 2j+1] = d[i, j]`. The attribute `extent` is H, W, each 2h or 2h − 1.
pub(crate) struct Interleave {
    height: usize,
    width: usize,
}

impl Own for Interleave {
    const NAME: &'static str = lower::INTERLEAVE;
    const OPERANDS: usize = 4;
    const RESULTS: usize = 1;

    fn read(attribute: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<Interleave, String> {
        match attribute("extent").as_deref() {
            Some(&[height, width]) if height > 0 && width > 0 => {
                Ok(Interleave { height: height as usize, width: width as usize })
            }
            _ => Err("Interleave has a missing or impossible extent".to_owned()),
        }
    }

    fn extents(&self, operands: &[Option<&[i64]>]) -> Option<Vec<Vec<i64>>> {
        let &[n, c, ..] = given(operands, 0)? else { return None };
        Some(vec![vec![n, c, self.height as i64, self.width as i64]])
    }

    fn compute(&self, operands: &[Option<Operand>], results: &mut [&mut [f32]], _: &Run) -> Result<(), String> {
        let wrong = || "Interleave takes four operands of the same extents, half as large as its result".to_owned();
        let (a, [_, _, rows, columns]) = four(operands, 0).ok_or_else(wrong)?;
        let other = |place: usize| given(operands, place).map(|(v, _)| v).filter(|v| v.len() == a.len()).ok_or_else(wrong);
        let (b, c, d) = (other(1)?, other(2)?, other(3)?);
        if [self.height.div_ceil(2), self.width.div_ceil(2)] != [rows, columns] {
            return Err(wrong());
        }
        let plane = (rows * columns).max(1);
        let planes = a.chunks_exact(plane).zip(b.chunks_exact(plane)).zip(c.chunks_exact(plane)).zip(d.chunks_exact(plane));
        for ((((a, b), c), d), result) in planes.zip(results[0].chunks_exact_mut(self.height * self.width)) {
            for (row, line) in result.chunks_exact_mut(self.width).enumerate() {
                let (even, odd) = if row % 2 == 0 { (a, b) } else { (c, d) };
                let at = row / 2 * columns..(row / 2 + 1) * columns;
                zip(&even[at.clone()], &odd[at], line);
            }
        }
        Ok(())
    }
}

fn zip(even: &[f32], odd: &[f32], line: &mut [f32]) {
    let pairs = line.chunks_exact_mut(2);
    for ((pair, &e), &o) in pairs.zip(even).zip(odd) {
        pair[0] = e;
        pair[1] = o;
    }
    if let (1, Some(last), Some(&e)) = (line.len() % 2, line.last_mut(), even.last()) {
        *last = e;
    }
}
