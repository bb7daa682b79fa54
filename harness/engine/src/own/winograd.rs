//! `Winograd`: a convolution of 3×3 taps, with what follows it.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use flatscape_kernels::{Beside, Kernel, Winograd as Arithmetic};

use super::{Hash, Known, Operand, Own, Run, beside, four, given, one_by_one};
use crate::lower;

/// `y = Winograd(x, W, bias, sum, gate)`: [N, C, H, W] and [M, C, 3, 3] ↦ [N, M, H', W'], with the attributes `pads`, `square` (2 or 4),
/// `relu`, `adjoint` where W is that of the convolution [C, M, 3, 3] of which this is the adjoint in x, and `kept` where taps are kept
/// at the points. The last three operands are optional: bias [M] and sum are added, then come the ReLU and the gate, which lets pass
/// what stands where it is positive.
pub(crate) struct Winograd {
    arithmetic: Arithmetic,
    /// The kernel of constant taps.
    taps: OnceLock<Arc<Kernel>>,
}

/// The hash of taps, their extents, and what else a kernel depends on.
type Key = (Hash, [usize; 2], (Option<usize>, bool));

/// Kernels of constant taps. A kernel takes as much memory as its taps, or up to four times as much at the points.
static TAPS: Known<Key, Kernel> = Known::new();

const WRONG: &str = "Winograd takes images [N, C, H, W] that fit its taps, and operands as large as its result";

impl Own for Winograd {
    const NAME: &'static str = lower::WINOGRAD;
    const OPERANDS: usize = 5;
    const RESULTS: usize = 1;

    fn read(attribute: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<Winograd, String> {
        Ok(Winograd { arithmetic: Arithmetic::read(attribute)?, taps: OnceLock::new() })
    }

    fn extents(&self, operands: &[Option<&[i64]>]) -> Option<Vec<Vec<i64>>> {
        let (&[n, _, h, w], &[first, second, 3, 3]) = (given(operands, 0)?, given(operands, 1)?) else { return None };
        let [m, _] = self.arithmetic.channels([first, second]);
        let steps = match [h, w].map(usize::try_from) {
            [Ok(h), Ok(w)] => self.arithmetic.extents([h, w])?.map(|n| n as i64),
            _ => [-1, -1],
        };
        Some(vec![vec![n, m, steps[0], steps[1]]])
    }

    fn compute(&self, operands: &[Option<Operand>], results: &mut [&mut [f32]], run: &Run) -> Result<(), String> {
        let (Some((taps, [first, second, 3, 3])), [result]) = (four(operands, 1), results) else {
            return Err("Winograd takes taps [M, C, 3, 3]".to_owned());
        };
        if let Some(hash) = run.constant {
            // one by one, since threads that would help may be those that wait for the taps
            let made = self.taps.get_or_init(|| {
                TAPS.get((hash, [first, second], self.arithmetic.form_of_taps()), || {
                    let Ok(made) = self.arithmetic.kernel::<Infallible>(taps, [first, second], Vec::new(), &one_by_one);
                    Arc::new(made)
                })
            });
            return self.convolve(operands, made, result, run);
        }
        let made = self.arithmetic.kernel(taps, [first, second], run.spare.take(), run.each)?;
        let done = self.convolve(operands, &made, result, run);
        run.spare.put(made.into_memory());
        done
    }
}

impl Winograd {
    fn convolve(&self, operands: &[Option<Operand>], taps: &Kernel, result: &mut [f32], run: &Run) -> Result<(), String> {
        let x = four(operands, 0).filter(|(_, extents)| extents[1] == taps.channels()).ok_or(WRONG)?;
        let bias = beside(operands, 2, taps.results(), WRONG)?;
        let [sum, gate] = [beside(operands, 3, result.len(), WRONG)?, beside(operands, 4, result.len(), WRONG)?];
        self.arithmetic.compute(x, taps, Beside { bias, sum, gate }, result, (run.threads, run.each))
    }
}
