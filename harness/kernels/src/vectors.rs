//! The instructions that a processor has: what kernels are written with, once for registers of any length.
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
    /// The first elements, `count` of them, and zeros.
    fn load_some(from: &[f32], count: usize) -> Self::Register;
    /// Writes the first elements, `count` of them.
    fn store_some(to: &mut [f32], value: Self::Register, count: usize);
    /// Asks for the element at this place, which is soon read or written, if there is one.
    fn soon(of: &[f32], place: usize);
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
    /// The larger one, lane by lane.
    fn largest(a: Self::Register, b: Self::Register) -> Self::Register;
    /// v, and 0 where the gate is at most 0; where it is not a number, v passes.
    fn passed(gate: Self::Register, v: Self::Register) -> Self::Register;
    /// v where a ≥ b, elsewhere 0; and v where that is 0, elsewhere 0.
    fn divided(a: Self::Register, b: Self::Register, v: Self::Register) -> [Self::Register; 2];
    /// Exchanges rows and columns of LANES × LANES elements.
    fn transpose(square: &mut [f32]);
}

/// The first `count` elements, and zeros. A whole register is read without a mask.
#[inline(always)]
pub(crate) fn some<V: Vectors>(from: &[f32], count: usize) -> V::Register {
    if count == V::LANES { V::load(from) } else { V::load_some(from, count) }
}

/// Writes the first `count` elements. A whole register is written without a mask.
#[inline(always)]
pub(crate) fn put<V: Vectors>(to: &mut [f32], value: V::Register, count: usize) {
    if count == V::LANES { V::store(to, value) } else { V::store_some(to, value, count) }
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
    fn load_some(from: &[f32], count: usize) -> [f32; 4] {
        std::array::from_fn(|l| if l < count { from[l] } else { 0.0 })
    }

    #[inline(always)]
    fn store_some(to: &mut [f32], value: [f32; 4], count: usize) {
        to[..count].copy_from_slice(&value[..count]);
    }

    #[inline(always)]
    fn soon(_: &[f32], _: usize) {}

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

    #[inline(always)]
    fn largest(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| if a[l] > b[l] { a[l] } else { b[l] })
    }

    #[inline(always)]
    fn passed(gate: [f32; 4], v: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| if gate[l] <= 0.0 { 0.0 } else { v[l] })
    }

    #[inline(always)]
    fn divided(a: [f32; 4], b: [f32; 4], v: [f32; 4]) -> [[f32; 4]; 2] {
        let first = |l: usize| a[l] >= b[l];
        [std::array::from_fn(|l| if first(l) { v[l] } else { 0.0 }), std::array::from_fn(|l| if first(l) { 0.0 } else { v[l] })]
    }

    fn transpose(square: &mut [f32]) {
        for i in 0..4 {
            (0..i).for_each(|j| square.swap(4 * i + j, 4 * j + i));
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Short, lanes_of_eight};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vectors;

    /// Eight numbers.
    pub(crate) struct Avx2;
    /// Eight numbers, where there are the registers of AVX-512.
    pub(crate) struct Short;

    /// The lanes before `count`.
    #[inline(always)]
    fn lanes_of_sixteen(count: usize) -> __mmask16 {
        if count < 16 { (1 << count) - 1 } else { u16::MAX }
    }

    /// The lanes before `count`.
    #[inline(always)]
    pub(crate) fn lanes_of_eight(count: usize) -> __m256i {
        // SAFETY: the head of this file says where this is called.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    #[inline(always)]
    fn asked_for(of: &[f32], place: usize) {
        if let Some(element) = of.get(place) {
            // SAFETY: it reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) }
        }
    }

    macro_rules! eight {
        ($name:ident, $registers:literal) => {
            impl Vectors for $name {
                type Register = __m256;
                const LANES: usize = 8;
                const REGISTERS: usize = $registers;

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
                fn load_some(from: &[f32], count: usize) -> __m256 {
                    let from = &from[..count];
                    // SAFETY: lanes behind `count`, which is the length, are not read.
                    unsafe { _mm256_maskload_ps(from.as_ptr(), lanes_of_eight(count)) }
                }

                #[inline(always)]
                fn store_some(to: &mut [f32], value: __m256, count: usize) {
                    let to = &mut to[..count];
                    // SAFETY: lanes behind `count`, which is the length, are not written.
                    unsafe { _mm256_maskstore_ps(to.as_mut_ptr(), lanes_of_eight(count), value) }
                }

                #[inline(always)]
                fn soon(of: &[f32], place: usize) {
                    asked_for(of, place);
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
                fn largest(a: __m256, b: __m256) -> __m256 {
                    unsafe { _mm256_max_ps(a, b) }
                }

                #[inline(always)]
                fn passed(gate: __m256, v: __m256) -> __m256 {
                    unsafe { _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(gate, _mm256_setzero_ps()), v) }
                }

                #[inline(always)]
                fn divided(a: __m256, b: __m256, v: __m256) -> [__m256; 2] {
                    let first = unsafe { _mm256_cmp_ps::<_CMP_GE_OQ>(a, b) };
                    unsafe { [_mm256_and_ps(first, v), _mm256_andnot_ps(first, v)] }
                }

                #[inline(always)]
                fn transpose(square: &mut [f32]) {
                    unsafe { transpose_avx2(square) }
                }
            }
        };
    }

    eight!(Avx2, 16);
    eight!(Short, 32);

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
        fn load_some(from: &[f32], count: usize) -> __m512 {
            let from = &from[..count];
            // SAFETY: lanes behind `count`, which is the length, are not read.
            unsafe { _mm512_maskz_loadu_ps(lanes_of_sixteen(count), from.as_ptr()) }
        }

        #[inline(always)]
        fn store_some(to: &mut [f32], value: __m512, count: usize) {
            let to = &mut to[..count];
            // SAFETY: lanes behind `count`, which is the length, are not written.
            unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), lanes_of_sixteen(count), value) }
        }

        #[inline(always)]
        fn soon(of: &[f32], place: usize) {
            asked_for(of, place);
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
        fn largest(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }

        #[inline(always)]
        fn passed(gate: __m512, v: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(gate, _mm512_setzero_ps()), v) }
        }

        #[inline(always)]
        fn divided(a: __m512, b: __m512, v: __m512) -> [__m512; 2] {
            let first = unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b) };
            unsafe { [_mm512_maskz_mov_ps(first, v), _mm512_maskz_mov_ps(!first, v)] }
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
        let mut r: [__m512; 16] = std::array::from_fn(|i| unsafe { _mm512_loadu_ps(square[16 * i..16 * i + 16].as_ptr()) });
        for i in (0..16).step_by(2) {
            (r[i], r[i + 1]) = (_mm512_unpacklo_ps(r[i], r[i + 1]), _mm512_unpackhi_ps(r[i], r[i + 1]));
        }
        // r[4a + b] holds column 4q + b of rows 4a to 4a + 3 in its part q
        for i in (0..16).step_by(4) {
            let (a, b, c, d) = (r[i], r[i + 1], r[i + 2], r[i + 3]);
            r[i] = _mm512_shuffle_ps::<0b01_00_01_00>(a, c);
            r[i + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(a, c);
            r[i + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(b, d);
            r[i + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(b, d);
        }
        let mut rows = r;
        for b in 0..4 {
            let (low, next) = (_mm512_shuffle_f32x4::<0x88>(r[b], r[b + 4]), _mm512_shuffle_f32x4::<0xDD>(r[b], r[b + 4]));
            let (high, last) =
                (_mm512_shuffle_f32x4::<0x88>(r[b + 8], r[b + 12]), _mm512_shuffle_f32x4::<0xDD>(r[b + 8], r[b + 12]));
            rows[b] = _mm512_shuffle_f32x4::<0x88>(low, high);
            rows[b + 8] = _mm512_shuffle_f32x4::<0xDD>(low, high);
            rows[b + 4] = _mm512_shuffle_f32x4::<0x88>(next, last);
            rows[b + 12] = _mm512_shuffle_f32x4::<0xDD>(next, last);
        }
        for (i, row) in rows.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(square[16 * i..16 * i + 16].as_mut_ptr(), row) };
        }
    }
}
