//! Blur: every pixel becomes a mean of its surroundings.

use super::Draws;
use super::image::{Edge, Image};

/// Widths at which a Gaussian is cut off.
const TRUNCATE: f64 = 4.0;

pub(super) fn gaussian(x: &Image, sigma: f64) -> Image {
    x.gaussian(sigma, TRUNCATE, Edge::Nearest)
}

/// The mean over a disc of whole pixels, whose edge a Gaussian of three pixels softens.
pub(super) fn defocus(x: &Image, (radius, alias): (f64, f64)) -> Image {
    let reach = radius.floor() as i64;
    let disc: Vec<(i64, i64)> = (-reach..=reach)
        .flat_map(|row| (-reach..=reach).map(move |column| (row, column)))
        .filter(|(row, column)| ((row * row + column * column) as f64) <= radius * radius)
        .collect();
    let side = (-0.5 / (alias * alias)).exp();
    let soft = [-1, 0, 1].map(|k: i64| (k, if k == 0 { 1.0 } else { side } / (1.0 + 2.0 * side)));
    let mut weights = Vec::with_capacity(9 * disc.len());
    for (row, column) in &disc {
        for (down, a) in soft {
            weights.extend(soft.iter().map(|(right, b)| (row + down, column + right, a * b / disc.len() as f64)));
        }
    }
    x.correlated(&weights, Edge::Reflected)
}

/// Blurred, every pixel exchanged with one at most `reach` before it, several times, and blurred again.
pub(super) fn glass(x: &Image, (sigma, reach, times): (f64, usize, usize), draws: &Draws) -> Image {
    let mut image = gaussian(x, sigma);
    let [channels, h, w] = x.shape;
    let span = |extent: usize| (reach + 1..=extent.saturating_sub(reach)).rev();
    for time in 0..times {
        let steps = draws.unit(&format!("exchange {time}"), 2 * h * w);
        // −reach … reach − 1, as the exclusive end of numpy.random.randint has it
        let step = |place: usize| (steps[place] * 2.0 * reach as f64).floor() as usize;
        for row in span(h) {
            for column in span(w) {
                let place = 2 * (row * w + column);
                let (other_row, other_column) = (row + step(place) - reach, column + step(place + 1) - reach);
                for channel in 0..channels {
                    image.values.swap((channel * h + row) * w + column, (channel * h + other_row) * w + other_column);
                }
            }
        }
    }
    gaussian(&image, sigma)
}

/// A one-sided Gaussian along a direction of at most 45 degrees, in whole pixels, as ImageMagick computes it.
pub(super) fn motion(x: &Image, (radius, sigma): (i64, f64), draws: &Draws) -> Image {
    let angle = draws.uniform("angle", 1)[0] * std::f64::consts::FRAC_PI_4;
    let weight = |k: i64| (-0.5 * (k as f64 / sigma).powi(2)).exp();
    let total: f64 = (0..=2 * radius).map(weight).sum();
    let along = |k: i64, share: f64| (k as f64 * share - 0.5).ceil() as i64;
    let weights: Vec<_> = (0..=2 * radius).map(|k| (along(k, angle.sin()), along(k, angle.cos()), weight(k) / total)).collect();
    x.correlated(&weights, Edge::Nearest)
}

/// The mean of the image and of itself enlarged by 1, 1.01, 1.02, …
pub(super) fn zoom(x: &Image, count: usize) -> Image {
    let [h, w] = x.height_and_width();
    let mut sum = x.clone();
    for k in 0..count {
        // as numpy.arange(1, …, 0.01) rounds it: 26·1.25 pixels are 33, and not 32
        let factor = 1.0 + (1.01 - 1.0) * k as f64;
        let (rows, columns) = (enlarged(h, factor), enlarged(w, factor));
        let places: Vec<(f64, f64)> = rows.iter().flat_map(|&r| columns.iter().map(move |&c| (r, c))).collect();
        sum = sum.zip(&x.taken_from(&places, Edge::Nearest).values, |a, b| a + b);
    }
    sum.map(|v| v / (count as f64 + 1.0))
}

/// The places that the pixels of an extent come from when its middle ⌈n/factor⌉ pixels are enlarged, first on first and last on last,
/// and what is too much is cut off.
fn enlarged(n: usize, factor: f64) -> Vec<f64> {
    let kept = (n as f64 / factor).ceil();
    let size = (kept * factor).round_ties_even();
    let step = if size > 1.0 { (kept - 1.0) / (size - 1.0) } else { 0.0 };
    let (first, cut) = (((n as f64 - kept) / 2.0).floor(), ((size - n as f64) / 2.0).floor());
    (0..n).map(|i| first + (i as f64 + cut) * step).collect()
}
