//! `Chwn`: a convolution of few channels, or its adjoint, with what stands before and behind it.

use std::sync::OnceLock;

use flatscape_kernels::{Beside, Chwn as Arithmetic, Packed, Results, Source};

use super::{Operand, Own, Run, beside, four, given};
use crate::lower;

/// `y, maxima = Chwn(x, W, bias, sum, gate, ȳ)`: [N, C, H, W] and [M, C, kh, kw] ↦ [N, M, H', W'] and [N, M, H'/2, W'/2], with the
/// attributes of `Conv`, the `extents` H' and W', `adjoint` where W [C, M, kh, kw] is that of the convolution of which this is the
/// adjoint in x, and `relu`. `give` says which results there are: 0 the first, 1 both, 2 the second. With ȳ what is convolved is the
/// gradient of the maximum over squares of 2×2 of x (`positive`: only maxima above 0 pass). The last four operands are optional.
pub(crate) struct Chwn {
    arithmetic: Arithmetic,
    adjoint: bool,
    give: i64,
    /// Of the first result.
    extents: [usize; 2],
    /// Constant taps in the order in which they are read.
    taps: OnceLock<Packed>,
}

const WRONG: &str = "Chwn takes images [N, C, H, W] that fit its taps, and operands as large as its result";

impl Own for Chwn {
    const NAME: &'static str = lower::CHWN;
    const OPERANDS: usize = 6;
    const RESULTS: usize = 2;

    fn read(attribute: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<Chwn, String> {
        let extents = match attribute("extents").as_deref() {
            Some(&[height, width]) if height > 0 && width > 0 => [height as usize, width as usize],
            _ => return Err("Chwn has missing or impossible extents".to_owned()),
        };
        let give = attribute("give").and_then(|g| g.first().copied()).unwrap_or(0);
        let adjoint = attribute("adjoint").as_deref() == Some(&[1]);
        Ok(Chwn { arithmetic: Arithmetic::read(attribute)?, adjoint, give, extents, taps: OnceLock::new() })
    }

    fn extents(&self, operands: &[Option<&[i64]>]) -> Option<Vec<Vec<i64>>> {
        let (&[n, ..], &[first, second, _, _]) = (given(operands, 0)?, given(operands, 1)?) else { return None };
        let m = if self.adjoint { second } else { first };
        let [height, width] = self.extents.map(|n| n as i64);
        let (whole, maxima) = (vec![n, m, height, width], vec![n, m, height / 2, width / 2]);
        Some(match self.give {
            1 => vec![whole, maxima],
            2 => vec![maxima],
            _ => vec![whole],
        })
    }

    fn compute(&self, operands: &[Option<Operand>], results: &mut [&mut [f32]], run: &Run) -> Result<(), String> {
        let (taps, extents) = four(operands, 1).ok_or("Chwn takes taps of four axes")?;
        let pack = || self.arithmetic.pack(taps, [extents[0], extents[1]], self.extents);
        match run.constant.is_some() {
            true => self.convolve(operands, self.taps.get_or_init(pack), results, run),
            false => self.convolve(operands, &pack(), results, run),
        }
    }
}

impl Chwn {
    fn convolve(&self, operands: &[Option<Operand>], taps: &Packed, results: &mut [&mut [f32]], run: &Run) -> Result<(), String> {
        let (x, shape) = four(operands, 0).filter(|(_, shape)| shape[1] == taps.channels()).ok_or(WRONG)?;
        let length = shape[0] * taps.results() * self.extents[0] * self.extents[1];
        let squares = shape[0] * shape[1] * (shape[2] / 2) * (shape[3] / 2);
        let bias = beside(operands, 2, taps.results(), WRONG)?;
        let [sum, gate] = [beside(operands, 3, length, WRONG)?, beside(operands, 4, length, WRONG)?];
        let source = match beside(operands, 5, squares, WRONG)? {
            Some(ct) => Source::Squares((x, shape), ct),
            None => Source::Images((x, shape)),
        };
        let mut results = results.iter_mut().map(|result| &mut **result);
        let whole = if self.give == 2 { None } else { results.next() };
        let maxima = if self.give == 0 { None } else { results.next() };
        let results = Results { whole, maxima, extents: self.extents };
        self.arithmetic.compute(source, taps, Beside { bias, sum, gate }, results, run.each)
    }
}
