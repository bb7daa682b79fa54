//! The instructions that a processor has: what `winograd` and `correlation` are written with, once for registers of any length.
//!
//! The methods of the forms with wide registers may be called only inside of a function that was compiled for these instructions and
//! runs where the processor has them: `forms` sees to that. Every access to memory is checked by a slice.

/// Registers of numbers.
pub(crate) trait Vectors {
    /// Some numbers.
    type Register: Copy;
    /// How many.
    const LANES: usize;
    /// How many there are.
    const REGISTERS: usize;

    /// The same number in every lane.
    fn splat(value: f32) -> Self::Register;
    /// The first elements.
    fn load(from: &[f32]) -> Self::Register;
    /// Writes the first elements.
    fn store(to: &mut [f32], value: Self::Register);
    /// a + b.
    fn plus(a: Self::Register, b: Self::Register) -> Self::Register;
    /// a − b.
    fn minus(a: Self::Register, b: Self::Register) -> Self::Register;
    /// a·b.
    fn times(a: Self::Register, b: Self::Register) -> Self::Register;
    /// a·b + c.
    fn fma(a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register;
    /// a, and 0 where it is below; what is not a number stays.
    fn rectified(a: Self::Register) -> Self::Register;
    /// a where the gate is above 0, elsewhere 0.
    fn gated(gate: Self::Register, a: Self::Register) -> Self::Register;
    /// Exchanges rows and columns of LANES × LANES elements.
    fn transpose(square: &mut [f32]);
}

/// Any processor.
pub(crate) struct Plain;

impl Vectors for Plain {
    type Register = [f32; 4];
    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn load(from: &[f32]) -> [f32; 4] {
        [from[0], from[1], from[2], from[3]]
    }

    #[inline(always)]
    fn store(to: &mut [f32], value: [f32; 4]) {
        to[..4].copy_from_slice(&value);
    }

    #[inline(always)]
    fn plus(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
    }

    #[inline(always)]
    fn minus(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
    }

    #[inline(always)]
    fn times(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]]
    }

    #[inline(always)]
    fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        Plain::plus(Plain::times(a, b), c)
    }

    #[inline(always)]
    fn rectified(a: [f32; 4]) -> [f32; 4] {
        a.map(|a| if a < 0.0 { 0.0 } else { a })
    }

    #[inline(always)]
    fn gated(gate: [f32; 4], a: [f32; 4]) -> [f32; 4] {
        let one = |l: usize| if gate[l] > 0.0 { a[l] } else { 0.0 };
        [one(0), one(1), one(2), one(3)]
    }

    fn transpose(square: &mut [f32]) {
        for i in 0..4 {
            (0..i).for_each(|j| square.swap(4 * i + j, 4 * j + i));
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vectors;

    /// Eight numbers.
    pub(crate) struct Avx2;

    impl Vectors for Avx2 {
        type Register = __m256;
        const LANES: usize = 8;
        const REGISTERS: usize = 16;

        // SAFETY, here and below: the head of this file says where these are called; slices are at least as long as a register.
        #[inline(always)]
        fn splat(value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        fn load(from: &[f32]) -> __m256 {
            unsafe { _mm256_loadu_ps(from[..8].as_ptr()) }
        }

        #[inline(always)]
        fn store(to: &mut [f32], value: __m256) {
            unsafe { _mm256_storeu_ps(to[..8].as_mut_ptr(), value) }
        }

        #[inline(always)]
        fn plus(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn minus(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        fn times(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn rectified(a: __m256) -> __m256 {
            unsafe { _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(a, _mm256_setzero_ps()), a) }
        }

        #[inline(always)]
        fn gated(gate: __m256, a: __m256) -> __m256 {
            unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(gate, _mm256_setzero_ps()), a) }
        }

        #[inline(always)]
        fn transpose(square: &mut [f32]) {
            unsafe { transpose_avx2(square) }
        }
    }

    /// Sixteen numbers.
    pub(crate) struct Avx512;

    impl Vectors for Avx512 {
        type Register = __m512;
        const LANES: usize = 16;
        const REGISTERS: usize = 32;

        #[inline(always)]
        fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        fn load(from: &[f32]) -> __m512 {
            unsafe { _mm512_loadu_ps(from[..16].as_ptr()) }
        }

        #[inline(always)]
        fn store(to: &mut [f32], value: __m512) {
            unsafe { _mm512_storeu_ps(to[..16].as_mut_ptr(), value) }
        }

        #[inline(always)]
        fn plus(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        fn minus(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        fn times(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }

        #[inline(always)]
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn rectified(a: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, _mm512_setzero_ps()), a) }
        }

        #[inline(always)]
        fn gated(gate: __m512, a: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate, _mm512_setzero_ps()), a) }
        }

        #[inline(always)]
        fn transpose(square: &mut [f32]) {
            unsafe { transpose_avx512(square) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn transpose_avx2(square: &mut [f32]) {
        let square = &mut square[..64];
        // SAFETY: eight rows of eight.
        let mut r: [__m256; 8] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(square[8 * i..8 * i + 8].as_ptr()) });
        for i in [0, 2, 4, 6] {
            (r[i], r[i + 1]) = (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1]));
        }
        for i in [0, 4] {
            let (a, b, c, d) = (r[i], r[i + 1], r[i + 2], r[i + 3]);
            r[i] = _mm256_shuffle_ps::<0b01_00_01_00>(a, c);
            r[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, c);
            r[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(b, d);
            r[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(b, d);
        }
        for i in 0..4 {
            let (low, high) = (_mm256_permute2f128_ps::<0x20>(r[i], r[i + 4]), _mm256_permute2f128_ps::<0x31>(r[i], r[i + 4]));
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(square[8 * i..8 * i + 8].as_mut_ptr(), low) };
            unsafe { _mm256_storeu_ps(square[8 * i + 32..8 * i + 40].as_mut_ptr(), high) };
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transpose_avx512(square: &mut [f32]) {
        let square = &mut square[..256];
        // SAFETY: sixteen rows of sixteen.
        let mut rows: [__m512; 16] = std::array::from_fn(|i| unsafe { _mm512_loadu_ps(square[16 * i..16 * i + 16].as_ptr()) });
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for h in [8usize, 4, 2, 1] {
            let half = _mm512_set1_epi32(h as i32);
            let upper = _mm512_test_epi32_mask(lanes, half);
            // numbers from 16 on are lanes of the second register
            let first = _mm512_mask_add_epi32(lanes, upper, lanes, _mm512_set1_epi32(16 - h as i32));
            let second = _mm512_mask_add_epi32(_mm512_add_epi32(lanes, half), upper, lanes, _mm512_set1_epi32(16));
            for i in 0..16 {
                if i & h == 0 {
                    let (a, b) = (rows[i], rows[i + h]);
                    rows[i] = _mm512_permutex2var_ps(a, first, b);
                    rows[i + h] = _mm512_permutex2var_ps(a, second, b);
                }
            }
        }
        for (i, row) in rows.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(square[16 * i..16 * i + 16].as_mut_ptr(), row) };
        }
    }
}
