//! Products of matrices, a few rows by one or two registers of columns at a time.

use crate::vectors::Vectors;

/// Rows of V, which begin every `pitch` elements, times U [depth, S registers]; rows of Y begin every `step` elements.
pub(super) struct Product<'p> {
    pub v: &'p [f32],
    pub pitch: usize,
    pub u: &'p [f32],
    pub y: &'p mut [f32],
    pub step: usize,
}

impl Product<'_> {
    /// All rows. Every sum runs over the depth from first to last, whatever rows are computed together.
    #[inline(always)]
    pub fn compute<V: Vectors, const S: usize>(&mut self, rows: usize) {
        let mut row = 0;
        while row < rows {
            row += match rows - row {
                12.. if V::REGISTERS >= 32 => self.rows::<V, S, 12>(row),
                8.. if V::REGISTERS >= 32 => self.rows::<V, S, 8>(row),
                6.. => self.rows::<V, S, 6>(row),
                4.. => self.rows::<V, S, 4>(row),
                2.. => self.rows::<V, S, 2>(row),
                _ => self.rows::<V, S, 1>(row),
            };
        }
    }

    /// R rows; gives their number.
    #[inline(always)]
    fn rows<V: Vectors, const S: usize, const R: usize>(&mut self, row: usize) -> usize {
        let lines = self.u.chunks_exact(S * V::LANES);
        let mut v: [&[f32]; R] = [&[]; R];
        for (r, line) in v.iter_mut().enumerate() {
            *line = &self.v[(row + r) * self.pitch..][..lines.len()];
        }
        let mut sums = [[V::splat(0.0); S]; R];
        for (c, line) in lines.enumerate() {
            let mut u = [V::splat(0.0); S];
            for s in 0..S {
                u[s] = V::load(&line[s * V::LANES..]);
            }
            for r in 0..R {
                let factor = V::splat(v[r][c]);
                for s in 0..S {
                    sums[r][s] = V::fma(u[s], factor, sums[r][s]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let to = &mut self.y[(row + r) * self.step..][..S * V::LANES];
            for (s, &sum) in sums.iter().enumerate() {
                V::store(&mut to[s * V::LANES..], sum);
            }
        }
        R
    }
}
