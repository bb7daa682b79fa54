//! Convolutions of float64 numbers with stride 1, one image at a time. The sums of a few channels of the result, for neighbouring
//! pixels, stay in registers until all taps are added. The gradient certificate uses it.

/// The taps of a layer.
pub struct Direct {
    results: usize,
    /// Taps of a result.
    depth: usize,
    /// Rows and columns of taps.
    taps: [usize; 2],
    dilations: [usize; 2],
    /// [results / TOGETHER, channels, rows, columns, TOGETHER], filled up with zeros.
    packed: Vec<f64>,
}

/// The taps of this many results are stored together. A tile computes all of these results, or half of them.
const TOGETHER: usize = 8;
/// A tile has at most this many pixels of a row.
const PIXELS: usize = 16;

/// Numbers beside each other in a register.
trait Lanes {
    type Register: Copy;
    const LANES: usize;

    fn splat(value: f64) -> Self::Register;
    /// The first elements.
    fn load(from: &[f64]) -> Self::Register;
    /// Writes the first elements.
    fn store(to: &mut [f64], value: Self::Register);
    /// a·b + c.
    fn fma(a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register;
}

/// Any processor.
struct Plain;

impl Lanes for Plain {
    type Register = [f64; 2];
    const LANES: usize = 2;

    #[inline(always)]
    fn splat(value: f64) -> [f64; 2] {
        [value; 2]
    }

    #[inline(always)]
    fn load(from: &[f64]) -> [f64; 2] {
        [from[0], from[1]]
    }

    #[inline(always)]
    fn store(to: &mut [f64], value: [f64; 2]) {
        to[..2].copy_from_slice(&value);
    }

    #[inline(always)]
    fn fma(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> [f64; 2] {
        [a[0] * b[0] + c[0], a[1] * b[1] + c[1]]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    macro_rules! lanes {
        ($name:ident, $register:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident) => {
            pub(super) struct $name;

            impl Lanes for $name {
                type Register = $register;
                const LANES: usize = $lanes;

                // SAFETY, here and below: called from functions that are compiled for these instructions, and nowhere else; slices are
                // at least as long as a register.
                #[inline(always)]
                fn splat(value: f64) -> $register {
                    unsafe { $splat(value) }
                }

                #[inline(always)]
                fn load(from: &[f64]) -> $register {
                    unsafe { $load(from[..$lanes].as_ptr()) }
                }

                #[inline(always)]
                fn store(to: &mut [f64], value: $register) {
                    unsafe { $store(to[..$lanes].as_mut_ptr(), value) }
                }

                #[inline(always)]
                fn fma(a: $register, b: $register, c: $register) -> $register {
                    unsafe { $fma(a, b, c) }
                }
            }
        };
    }

    lanes!(Avx2, __m256d, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd);
    lanes!(Avx512, __m512d, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd);
}

/// An image with zeros around it.
pub struct Padded {
    /// [channels, rows, width], and more zeros.
    elements: Vec<f64>,
    rows: usize,
    width: usize,
}

impl Padded {
    /// Zeros for images [channels, h, w], with `begin` zeros before and `end` zeros behind every column and every row.
    pub fn new(channels: usize, [h, w]: [usize; 2], begin: [usize; 2], end: [usize; 2]) -> Padded {
        let (rows, width) = (h + begin[0] + end[0], w + begin[1] + end[1]);
        // the last pixels are computed together with some behind them
        Padded { elements: vec![0.0; channels * rows * width + PIXELS], rows, width }
    }

    /// Replaces the image by another one [channels, h, w].
    pub fn fill(&mut self, image: &[f64], [h, w]: [usize; 2], begin: [usize; 2]) {
        let lines = image.chunks_exact((h * w).max(1)).enumerate();
        for (channel, pixels) in lines {
            for (row, line) in pixels.chunks_exact(w.max(1)).enumerate() {
                let at = (channel * self.rows + begin[0] + row) * self.width + begin[1];
                self.elements[at..at + w].copy_from_slice(line);
            }
        }
    }
}

impl Direct {
    /// Of taps [results, channels, rows, columns], row-major.
    pub fn new(taps: &[f64], [results, channels, r, s]: [usize; 4], dilations: [usize; 2]) -> Direct {
        let (groups, depth) = (results.div_ceil(TOGETHER), channels * r * s);
        let mut packed = vec![0.0; groups * depth * TOGETHER];
        for (result, taps) in taps.chunks_exact(depth.max(1)).enumerate() {
            let group = &mut packed[result / TOGETHER * depth * TOGETHER..];
            taps.iter().enumerate().for_each(|(at, &tap)| group[at * TOGETHER + result % TOGETHER] = tap);
        }
        Direct { results, depth, taps: [r, s], dilations, packed }
    }

    /// Whether rows of this many pixels are long enough: a register has up to eight pixels.
    pub fn suits(columns: usize) -> bool {
        columns >= 8
    }

    /// y [results, rows, columns] of an image. `bias` has a number for every result.
    pub fn compute(&self, image: &Padded, bias: Option<&[f64]>, y: &mut [f64], [rows, columns]: [usize; 2]) {
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has what the function was compiled for.
                return unsafe { self.with_avx512(image, bias, y, [rows, columns]) };
            }
            if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
                // SAFETY: as above.
                return unsafe { self.with_avx2(image, bias, y, [rows, columns]) };
            }
        }
        self.lines::<Plain, 4, 2>(image, bias, y, [rows, columns]);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn with_avx512(&self, image: &Padded, bias: Option<&[f64]>, y: &mut [f64], extents: [usize; 2]) {
        self.lines::<x86::Avx512, 8, 2>(image, bias, y, extents);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn with_avx2(&self, image: &Padded, bias: Option<&[f64]>, y: &mut [f64], extents: [usize; 2]) {
        self.lines::<x86::Avx2, 4, 3>(image, bias, y, extents);
    }

    /// Computes all results in tiles of RESULTS results and at most REGISTERS registers of pixels.
    #[inline(always)]
    fn lines<L: Lanes, const RESULTS: usize, const REGISTERS: usize>(
        &self,
        image: &Padded,
        bias: Option<&[f64]>,
        y: &mut [f64],
        [rows, columns]: [usize; 2],
    ) {
        for first in (0..self.results).step_by(RESULTS) {
            for row in 0..rows {
                let mut column = 0;
                while column < columns {
                    let place = [first, row, column];
                    column += match REGISTERS.min((columns - column).div_ceil(L::LANES)) {
                        1 => self.tile::<L, RESULTS, 1>(image, bias, y, [rows, columns], place),
                        2 => self.tile::<L, RESULTS, 2>(image, bias, y, [rows, columns], place),
                        _ => self.tile::<L, RESULTS, 3>(image, bias, y, [rows, columns], place),
                    };
                }
            }
        }
    }

    /// Computes one tile, which begins at this result, row and column, and returns its number of pixels.
    #[inline(always)]
    fn tile<L: Lanes, const RESULTS: usize, const REGISTERS: usize>(
        &self,
        image: &Padded,
        bias: Option<&[f64]>,
        y: &mut [f64],
        [rows, columns]: [usize; 2],
        [first, row, column]: [usize; 3],
    ) -> usize {
        let mut sums = [[L::splat(0.0); REGISTERS]; RESULTS];
        if let Some(bias) = bias {
            for (sums, &bias) in sums.iter_mut().zip(&bias[first..]) {
                *sums = [L::splat(bias); REGISTERS];
            }
        }
        self.add::<L, RESULTS, REGISTERS>(image, first, [row, column], &mut sums);
        let (results, pixels) = (RESULTS.min(self.results - first), (REGISTERS * L::LANES).min(columns - column));
        let mut line = [0.0; PIXELS];
        for (result, sums) in sums.iter().take(results).enumerate() {
            let lines = line.chunks_exact_mut(L::LANES).zip(sums);
            lines.for_each(|(to, &sum)| L::store(to, sum));
            let at = ((first + result) * rows + row) * columns + column;
            y[at..at + pixels].copy_from_slice(&line[..pixels]);
        }
        pixels
    }

    /// Adds the products of all taps to the sums of the tile that begins at this result, row and column.
    #[inline(always)]
    fn add<L: Lanes, const RESULTS: usize, const REGISTERS: usize>(
        &self,
        image: &Padded,
        first: usize,
        [row, column]: [usize; 2],
        sums: &mut [[L::Register; REGISTERS]; RESULTS],
    ) {
        let packed = &self.packed[first / TOGETHER * self.depth * TOGETHER..][first % TOGETHER..];
        let mut own = *sums;
        let (mut at, [r, s]) = (0, self.taps);
        for channel in 0..self.depth / (r * s).max(1) {
            for i in 0..r {
                let line = (channel * image.rows + row + i * self.dilations[0]) * image.width + column;
                for j in 0..s {
                    let pixels = &image.elements[line + j * self.dilations[1]..][..REGISTERS * L::LANES];
                    let taps = &packed[at..at + RESULTS];
                    let mut registers = [L::splat(0.0); REGISTERS];
                    for (place, register) in registers.iter_mut().enumerate() {
                        *register = L::load(&pixels[place * L::LANES..]);
                    }
                    for (own, &tap) in own.iter_mut().zip(taps) {
                        let tap = L::splat(tap);
                        for (own, &pixels) in own.iter_mut().zip(&registers) {
                            *own = L::fma(tap, pixels, *own);
                        }
                    }
                    at += TOGETHER;
                }
            }
        }
        *sums = own;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_computes_the_formula_whatever_the_vectors() {
        for ([results, channels, r, s], [h, w], dilations, begin) in [
            ([1, 1, 1, 1], [1, 8], [1, 1], [0, 0]),
            ([5, 3, 3, 3], [9, 11], [1, 1], [1, 1]),
            ([17, 2, 2, 5], [7, 33], [2, 3], [1, 4]),
            ([8, 4, 3, 1], [6, 16], [1, 1], [0, 0]),
        ] {
            let number = |at: usize| ((at * 2_654_435_761) % 1000) as f64 / 500.0 - 1.0;
            let image: Vec<f64> = (0..channels * h * w).map(number).collect();
            let taps: Vec<f64> = (7..7 + results * channels * r * s).map(number).collect();
            let bias: Vec<f64> = (3..3 + results).map(number).collect();
            let extents = [h + 2 * begin[0] - dilations[0] * (r - 1), w + 2 * begin[1] - dilations[1] * (s - 1)];
            let [rows, columns] = extents;
            let mut padded = Padded::new(channels, [h, w], begin, begin);
            padded.fill(&image, [h, w], begin);
            let direct = Direct::new(&taps, [results, channels, r, s], dilations);
            let mut found = vec![[f64::NAN; 4]; results * rows * columns];
            let mut y = vec![f64::NAN; results * rows * columns];
            let mut keep = |form: usize, y: &[f64]| found.iter_mut().zip(y).for_each(|(found, &y)| found[form] = y);
            direct.compute(&padded, Some(&bias), &mut y, extents);
            keep(0, &y);
            direct.lines::<Plain, 4, 2>(&padded, Some(&bias), &mut y, extents);
            keep(1, &y);
            direct.lines::<Plain, 8, 3>(&padded, Some(&bias), &mut y, extents);
            keep(2, &y);
            direct.compute(&padded, None, &mut y, extents);
            keep(3, &y);
            for (at, found) in found.iter().enumerate() {
                let (result, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
                let mut sum = 0.0;
                for (channel, a, b) in (0..channels * r * s).map(|at| (at / (r * s), at / s % r, at % s)) {
                    let (i, j) = (row + a * dilations[0], column + b * dilations[1]);
                    let (Some(i), Some(j)) = (i.checked_sub(begin[0]), j.checked_sub(begin[1])) else { continue };
                    if i < h && j < w {
                        sum += image[(channel * h + i) * w + j] * taps[((result * channels + channel) * r + a) * s + b];
                    }
                }
                for (form, found) in found.iter().enumerate() {
                    let expected = if form == 3 { sum } else { sum + bias[result] };
                    assert!((found - expected).abs() < 1e-12, "form {form} at {at}: {found} for {expected}");
                }
            }
        }
    }
}
