//! Noise, drawn for every value.

use super::Draws;
use super::image::Image;

/// x + σ·n        n ~ N(0, 1)
pub(super) fn gaussian(x: &Image, sigma: f64, draws: &Draws) -> Image {
    x.zip(&draws.normal("", x.values.len()), |v, n| v + sigma * n)
}

/// Poisson(c·x)/c
pub(super) fn shot(x: &Image, photons: f64, draws: &Draws) -> Image {
    x.zip(&draws.unit("", x.values.len()), |v, u| poisson(photons * v, u) / photons)
}

/// Every value is replaced with this probability, by 0 or by 1.
pub(super) fn impulse(x: &Image, amount: f64, draws: &Draws) -> Image {
    let count = x.values.len();
    let (hit, side) = (draws.unit("hit", count), draws.uniform("side", count));
    x.zip(&hit, |v, u| if u < amount { f64::NAN } else { v }).zip(&side, |v, s| match v.is_nan() {
        true => f64::from(u8::from(s > 0.0)),
        false => v,
    })
}

/// x·(1 + σ·n)
pub(super) fn speckle(x: &Image, sigma: f64, draws: &Draws) -> Image {
    x.zip(&draws.normal("", x.values.len()), |v, n| v * (1.0 + sigma * n))
}

/// The smallest k with P(Poisson(λ) ≤ k) ≥ u. λ is at most 500, for which exp(−λ) is a number.
fn poisson(lambda: f64, u: f64) -> f64 {
    let mut term = (-lambda).exp();
    let (mut sum, mut k) = (term, 0.0);
    // u is at most 1 − 2⁻²⁴, and what is left beyond this many terms is smaller
    while sum < u && k < lambda + 20.0 * lambda.sqrt() + 20.0 {
        k += 1.0;
        term *= lambda / k;
        sum += term;
    }
    k
}
