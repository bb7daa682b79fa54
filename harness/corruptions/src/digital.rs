//! Digital artefacts but JPEG: contrast, brightness, saturation, pixels, elastic warps.

use super::Draws;
use super::image::{Edge, Image};

/// c·(x − mean) + mean, the mean over each channel
pub(super) fn contrast(x: &Image, share: f64) -> Image {
    let about = |plane: &[f64]| {
        let mean = plane.iter().sum::<f64>() / plane.len() as f64;
        plane.iter().map(|v| (v - mean) * share + mean).collect::<Vec<f64>>()
    };
    Image { values: x.planes().flat_map(about).collect(), shape: x.shape }
}

/// V + c of hue, saturation and value: the channels keep their ratios, and their largest becomes V + c.
pub(super) fn brightness(x: &Image, more: f64) -> Image {
    x.map_pixels(|colours| {
        let value = colours.iter().copied().fold(0.0, f64::max);
        let brighter = (value + more).min(1.0);
        colours.iter_mut().for_each(|v| *v = if value > 0.0 { *v * brighter / value } else { brighter });
    })
}

/// a·S + b of hue, saturation and value. A channel is V·(1 − S·k), and hue is k: where S is 0 that is the hue 0, red. Grey images have
/// no saturation and stay as they are.
pub(super) fn saturate(x: &Image, (by, more): (f64, f64)) -> Image {
    if x.shape[0] == 1 {
        return x.clone();
    }
    x.map_pixels(|colours| {
        let value = colours.iter().copied().fold(0.0, f64::max);
        let range = value - colours.iter().copied().fold(f64::INFINITY, f64::min);
        let saturation = if value > 0.0 { range / value } else { 0.0 };
        let wanted = (saturation * by + more).clamp(0.0, 1.0);
        for (channel, v) in colours.iter_mut().enumerate() {
            let hue = if range > 0.0 { (value - *v) / range } else { f64::from(u8::from(channel > 0)) };
            *v = value * (1.0 - wanted * hue);
        }
    })
}

/// Made smaller and as large as before by the box filter of Pillow.
pub(super) fn pixelate(x: &Image, share: f64) -> Image {
    let [channels, h, w] = x.shape;
    let smaller = |extent: usize| ((extent as f64 * share) as usize).max(1);
    let through = |extent: usize| -> Vec<Vec<usize>> {
        let (down, up) = (boxes(extent, smaller(extent)), boxes(smaller(extent), extent));
        // enlarging takes one pixel each
        up.iter().map(|of| down[of[0]].clone()).collect()
    };
    let (rows, columns) = (through(h), through(w));
    let mut values = Vec::with_capacity(x.values.len());
    for channel in 0..channels {
        for row in &rows {
            for column in &columns {
                let pixels = row.iter().flat_map(|r| column.iter().map(move |c| (r, c)));
                let sum: f64 = pixels.map(|(r, c)| x.values[(channel * h + r) * w + c]).sum();
                values.push(sum / (row.len() * column.len()) as f64);
            }
        }
    }
    Image { values, shape: x.shape }
}

/// The pixels whose mean each pixel is where `from` pixels become `to`: those whose centres lie within half a new pixel.
fn boxes(from: usize, to: usize) -> Vec<Vec<usize>> {
    let scale = from as f64 / to as f64;
    let wide = scale.max(1.0);
    let one = |place: usize| {
        let centre = (place as f64 + 0.5) * scale;
        let first = (centre - wide / 2.0 + 0.5).max(0.0) as usize;
        let end = ((centre + wide / 2.0 + 0.5) as usize).min(from);
        let inside = |at: &usize| {
            let share = (*at as f64 - centre + 0.5) / wide;
            share > -0.5 && share <= 0.5
        };
        (first..end).filter(inside).collect()
    };
    (0..to).map(one).collect()
}

/// A random affine map of three points, then every pixel from a place nearby, by a smooth random field. Lengths are shares of the
/// shorter side.
pub(super) fn elastic(x: &Image, (strength, smooth, affine): (f64, f64, f64), draws: &Draws) -> Image {
    let [h, w] = x.height_and_width();
    let side = h.min(w) as f64;
    let pixels = || (0..h * w).map(|pixel| ((pixel / w) as f64, (pixel % w) as f64));
    let moved = match inverse(h, w, affine * side, draws) {
        Some(inverse) => x.taken_from(&pixels().map(inverse).collect::<Vec<_>>(), Edge::Reflected),
        None => x.clone(),
    };
    let field = |stream: &str| {
        let noise = Image::plane(draws.uniform(stream, h * w), [h, w]);
        noise.gaussian(smooth * side, 3.0, Edge::Mirrored).map(|v| v * strength * side).values
    };
    let (down, right) = (field("down"), field("right"));
    let places: Vec<(f64, f64)> = pixels().zip(down.iter().zip(&right)).map(|((r, c), (d, q))| (r + d, c + q)).collect();
    moved.taken_from(&places, Edge::Mirrored)
}

/// From places after the affine map to those before it: three corners of a square of two thirds of the side around the middle move
/// by at most `most` along rows and along columns. `None` for images so small that this square is a point.
fn inverse(h: usize, w: usize, most: f64, draws: &Draws) -> Option<impl Fn((f64, f64)) -> (f64, f64) + use<>> {
    let third = (h.min(w) / 3) as f64;
    if third == 0.0 {
        return None;
    }
    let (middle, centre) = ((h / 2) as f64, (w / 2) as f64);
    let before = [(middle + third, centre + third), (middle - third, centre + third), (middle - third, centre - third)];
    let moves = draws.uniform("affine", 6);
    let after = [0, 1, 2].map(|k| (before[k].0 + most * moves[2 * k], before[k].1 + most * moves[2 * k + 1]));
    // p = after₂ + u·(after₀ − after₂) + v·(after₁ − after₂), and the same u and v before
    let minus = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0, a.1 - b.1);
    let (a, b) = (minus(after[0], after[2]), minus(after[1], after[2]));
    let (c, d) = (minus(before[0], before[2]), minus(before[1], before[2]));
    let area = a.0 * b.1 - a.1 * b.0;
    Some(move |place| {
        let p = minus(place, after[2]);
        let (u, v) = ((p.0 * b.1 - p.1 * b.0) / area, (a.0 * p.1 - a.1 * p.0) / area);
        (before[2].0 + u * c.0 + v * d.0, before[2].1 + u * c.1 + v * d.1)
    })
}
