//! Random numbers by position, not in sequence: Philox4x64-10 keyed by seed, stream, sample, component, restart and step. So a
//! draw does not depend on batch size, order, threads or machine. Knows nothing of what is drawn for.
//!
//! Source: Salmon, Moraes, Dror, Shaw, «Parallel random numbers: as easy as 1, 2, 3» (SC 2011).

use flatscape_graph::hash::digest;

/// What numbers look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// Uniform on (−1, 1): the odd multiples of 2⁻²³, so symmetric and never 0 or ±1.
    Uniform,
    /// Normal with mean 0 and variance 1.
    Normal,
    /// −1 or 1, each with probability ½.
    Rademacher,
}

/// The laws by the names that plugins use (`noise_<law>_<stream>`).
pub const LAWS: &[(&str, Law)] = &[("uniform", Law::Uniform), ("normal", Law::Normal), ("rademacher", Law::Rademacher)];

/// Where in the space of all random numbers a draw lies. Two different places give independent numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    seed: u64,
    stream: u64,
    component: u64,
    sample: u64,
    restart: u32,
    step: u32,
}

impl Place {
    /// The numbers of one stream of one component, shared by all samples, at restart 0 and step 0.
    pub fn new(seed: u64, component: &str, stream: &str) -> Place {
        Place { seed, stream: name_hash(stream), component: name_hash(component), sample: u64::MAX, restart: 0, step: 0 }
    }

    /// The numbers that belong to one sample (its id in the data set; `u64::MAX` is not a sample).
    #[must_use]
    pub fn sample(self, sample: u64) -> Place {
        Place { sample, ..self }
    }

    /// The numbers of a restart and a step (or of a probe, in place of the step).
    #[must_use]
    pub fn at(self, restart: u32, step: u32) -> Place {
        Place { restart, step, ..self }
    }

    fn block(self, index: u64) -> [u64; 4] {
        let when = u64::from(self.restart) << 32 | u64::from(self.step);
        philox4x64([index, self.sample, when, self.component], [self.seed, self.stream])
    }
}

/// Fills `out` with the numbers at a place. A longer `out` begins with the numbers of a shorter one.
pub fn fill(law: Law, place: Place, out: &mut [f32]) {
    let per_block = match law {
        Law::Uniform | Law::Normal => 4,
        Law::Rademacher => 256,
    };
    for (index, chunk) in out.chunks_mut(per_block).enumerate() {
        let words = place.block(index as u64);
        match law {
            Law::Uniform => chunk.iter_mut().zip(words).for_each(|(v, word)| *v = uniform(word)),
            Law::Normal => {
                let pairs = [normal_pair(words[0], words[1]), normal_pair(words[2], words[3])];
                chunk.iter_mut().zip(pairs.into_iter().flatten()).for_each(|(v, normal)| *v = normal);
            }
            Law::Rademacher => {
                for (i, v) in chunk.iter_mut().enumerate() {
                    *v = if words[i / 64] >> (i % 64) & 1 == 1 { 1.0 } else { -1.0 };
                }
            }
        }
    }
}

/// Philox4x64 with 10 rounds: a bijection of the counter for every key.
pub fn philox4x64(mut counter: [u64; 4], mut key: [u64; 2]) -> [u64; 4] {
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(0x9E37_79B9_7F4A_7C15);
            key[1] = key[1].wrapping_add(0xBB67_AE85_84CA_A73B);
        }
        let (high0, low0) = wide_product(0xD2E7_470E_E14C_6C93, counter[0]);
        let (high1, low1) = wide_product(0xCA5A_8263_9512_1157, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
    }
    counter
}

/// A number for a name: the first eight bytes of its SHA-256, little-endian.
pub fn name_hash(name: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest(name.as_bytes())[..8]);
    u64::from_le_bytes(first)
}

fn wide_product(a: u64, b: u64) -> (u64, u64) {
    let product = u128::from(a) * u128::from(b);
    ((product >> 64) as u64, product as u64)
}

fn uniform(word: u64) -> f32 {
    let odd = 2 * (word >> 41) as i64 + 1 - (1 << 23);
    odd as f32 / (1 << 23) as f32
}

/// Box and Muller in double precision; `libm` gives the same bits on every machine.
fn normal_pair(a: u64, b: u64) -> [f32; 2] {
    let unit = 1.0 / (1u64 << 53) as f64;
    let radius = libm::sqrt(-2.0 * libm::log(((a >> 11) + 1) as f64 * unit));
    let angle = std::f64::consts::TAU * ((b >> 11) as f64 * unit);
    [(radius * libm::cos(angle)) as f32, (radius * libm::sin(angle)) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden values: `numpy.random.Philox(key=…, counter=…).random_raw(8)`; NumPy adds one to the counter before each block.
    #[test]
    fn philox_is_that_of_numpy() {
        let cases = [
            ([0, 0], [1, 0, 0, 0], [0x02f4ba6408e4d89b, 0x3dd62b0b9ca8c5b2, 0x1c8667a55d902e79, 0x907d7a052fd5b4dc]),
            ([0, 0], [2, 0, 0, 0], [0x809bf322883987c3, 0x471128b9e807f7dd, 0xf250ba0dbec065b7, 0xfc6ed66767a457bc]),
            (
                [0x0123456789abcdef, 0xfedcba9876543210],
                [2, 2, 3, 4],
                [0x88e941281d6fe907, 0x5823687dd5272472, 0x246fd1b93a04f59d, 0x5f18e9daf3d87de6],
            ),
            (
                [u64::MAX, u64::MAX],
                [0, 0, 0, 0],
                [0x44b7493d1acfc229, 0x6636af8e997921dd, 0x3f73e132b5b3780e, 0x605644dde03b01b1],
            ),
        ];
        for (key, counter, expected) in cases {
            assert_eq!(philox4x64(counter, key), expected, "key {key:x?} counter {counter:?}");
        }
    }

    #[test]
    fn every_part_of_the_place_matters_and_length_does_not() {
        let place = Place::new(7, "pgd", "start");
        let draw = |place: Place, n: usize| {
            let mut out = vec![0.0; n];
            fill(Law::Uniform, place, &mut out);
            out
        };
        let base = draw(place, 9);
        assert_eq!(base[..5], draw(place, 5)[..]);
        for other in [
            Place::new(8, "pgd", "start"),
            Place::new(7, "fgsm", "start"),
            Place::new(7, "pgd", "other"),
            place.sample(0),
            place.sample(1),
            place.at(1, 0),
            place.at(0, 1),
        ] {
            assert_ne!(base, draw(other, 9), "{other:?}");
        }
    }

    #[test]
    fn the_laws_have_their_moments_and_bounds() {
        let n = 200_000;
        let mut out = vec![0.0f32; n];
        for (law, variance, fourth) in [(Law::Uniform, 1.0 / 3.0, 0.2), (Law::Normal, 1.0, 3.0), (Law::Rademacher, 1.0, 1.0)] {
            fill(law, Place::new(1, "test", "moments").sample(3), &mut out);
            let moment = |p: i32| out.iter().map(|&v| f64::from(v).powi(p)).sum::<f64>() / n as f64;
            assert!(moment(1).abs() < 0.01, "{law:?} mean {}", moment(1));
            assert!((moment(2) - variance).abs() < 0.02, "{law:?} variance {}", moment(2));
            assert!((moment(4) - fourth).abs() < 0.1, "{law:?} fourth moment {}", moment(4));
            let largest = out.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            match law {
                Law::Uniform => assert!(largest < 1.0 && largest > 0.999),
                Law::Normal => assert!(largest > 4.0 && largest < 7.0),
                Law::Rademacher => assert!(out.iter().all(|v| v.abs() == 1.0)),
            }
        }
    }

    #[test]
    fn the_extremes_of_the_uniform_law_are_exact() {
        assert_eq!(uniform(0), -1.0 + 1.0 / 8_388_608.0);
        assert_eq!(uniform(u64::MAX), 1.0 - 1.0 / 8_388_608.0);
    }
}
