//! Common corruptions: noise, blur, weather and digital artefacts, in five severities each, in double precision and without rounding
//! to 8 bits. What is drawn is keyed by seed, sample, type, severity and draw. Knows images and random numbers; has never heard of
//! threat models.
//!
//! Source: Hendrycks and Dietterich 2019 (arXiv:1903.12261), with the constants of their version for CIFAR-10. Lengths are in
//! pixels, but those of `elastic`, which are shares of the shorter side. Images of one channel are grey.

mod blur;
mod digital;
mod image;
mod jpeg;
mod noise;
mod weather;

use flatscape_intake::random::{Law, Place, fill};
use image::Image;

/// The number of severities.
pub const SEVERITIES: usize = 5;

/// A type of corruption.
pub struct Type {
    /// Its name, with hyphens.
    pub name: &'static str,
    /// Whether it is one of the fifteen types whose mean the literature reports. Of these, `snow` and `frost` are missing here.
    pub standard: bool,
    /// Whether it draws random numbers.
    pub random: bool,
    /// The image [C,H,W] at a severity from 0, before it is clipped to [0,1].
    corrupt: fn(&Image, usize, &Draws) -> Image,
}

/// The types, in the order of their numbers. Every array has one entry per severity.
#[rustfmt::skip]
pub const TYPES: &[Type] = &[
    Type { name: "gaussian-noise", standard: true,  random: true,  corrupt: |x, s, d| noise::gaussian(x, [0.04, 0.06, 0.08, 0.09, 0.10][s], d) },
    Type { name: "shot-noise",     standard: true,  random: true,  corrupt: |x, s, d| noise::shot(x, [500.0, 250.0, 100.0, 75.0, 50.0][s], d) },
    Type { name: "impulse-noise",  standard: true,  random: true,  corrupt: |x, s, d| noise::impulse(x, [0.01, 0.02, 0.03, 0.05, 0.07][s], d) },
    Type { name: "speckle-noise",  standard: false, random: true,  corrupt: |x, s, d| noise::speckle(x, [0.06, 0.1, 0.12, 0.16, 0.2][s], d) },
    Type { name: "gaussian-blur",  standard: false, random: false, corrupt: |x, s, _| blur::gaussian(x, [0.4, 0.6, 0.7, 0.8, 1.0][s]) },
    Type { name: "defocus-blur",   standard: true,  random: false, corrupt: |x, s, _| blur::defocus(x, [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)][s]) },
    Type { name: "glass-blur",     standard: true,  random: true,  corrupt: |x, s, d| blur::glass(x, [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)][s], d) },
    Type { name: "motion-blur",    standard: true,  random: true,  corrupt: |x, s, d| blur::motion(x, [(6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)][s], d) },
    // the counts of numpy.arange(1, 1.06, 0.01), …, which has the end only where rounding lets it
    Type { name: "zoom-blur",      standard: true,  random: false, corrupt: |x, s, _| blur::zoom(x, [7, 12, 16, 21, 26][s]) },
    Type { name: "contrast",       standard: true,  random: false, corrupt: |x, s, _| digital::contrast(x, [0.75, 0.5, 0.4, 0.3, 0.15][s]) },
    Type { name: "brightness",     standard: true,  random: false, corrupt: |x, s, _| digital::brightness(x, [0.05, 0.1, 0.15, 0.2, 0.3][s]) },
    Type { name: "saturate",       standard: false, random: false, corrupt: |x, s, _| digital::saturate(x, [(0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)][s]) },
    Type { name: "pixelate",       standard: true,  random: false, corrupt: |x, s, _| digital::pixelate(x, [0.95, 0.9, 0.85, 0.75, 0.65][s]) },
    Type { name: "jpeg",           standard: true,  random: false, corrupt: |x, s, _| jpeg::jpeg(x, [80, 65, 58, 50, 40][s]) },
    Type { name: "fog",            standard: true,  random: true,  corrupt: |x, s, d| weather::fog(x, [(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)][s], d) },
    Type { name: "elastic",        standard: true,  random: true,  corrupt: |x, s, d| digital::elastic(x, [(0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)][s], d) },
];

/// What keys the numbers that are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Seed of the audit.
    pub seed: u64,
    /// Id of the sample.
    pub sample: u64,
}

impl Type {
    /// The image [C,H,W] of float32 in [0,1], corrupted at a severity from 1 to [`SEVERITIES`]; in [0,1]. `draw` numbers the draws of
    /// random types.
    pub fn apply(&self, image: &[f32], shape: [usize; 3], severity: usize, draw: u32, key: Key) -> Vec<f64> {
        let draws = Draws { name: self.name, key, severity: severity as u32, draw };
        let level = severity.clamp(1, SEVERITIES) - 1;
        (self.corrupt)(&Image::new(image, shape), level, &draws).map(|v| v.clamp(0.0, 1.0)).values
    }
}

/// The random numbers of one decoding.
struct Draws {
    name: &'static str,
    key: Key,
    severity: u32,
    draw: u32,
}

impl Draws {
    /// N(0, 1)
    fn normal(&self, stream: &str, count: usize) -> Vec<f64> {
        self.drawn(Law::Normal, stream, count)
    }

    /// U(−1, 1)
    fn uniform(&self, stream: &str, count: usize) -> Vec<f64> {
        self.drawn(Law::Uniform, stream, count)
    }

    /// U(0, 1)
    fn unit(&self, stream: &str, count: usize) -> Vec<f64> {
        self.uniform(stream, count).into_iter().map(|u| (u + 1.0) / 2.0).collect()
    }

    fn drawn(&self, law: Law, stream: &str, count: usize) -> Vec<f64> {
        let place = Place::new(self.key.seed, "corruption", &format!("{} {stream}", self.name));
        let mut numbers = vec![0f32; count];
        fill(law, place.sample(self.key.sample).at(self.severity, self.draw), &mut numbers);
        numbers.into_iter().map(f64::from).collect()
    }
}
