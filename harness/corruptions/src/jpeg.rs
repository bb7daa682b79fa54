//! JPEG without its coding, which loses nothing: colours are separated and halved (4:2:0), blocks of 8×8 are transformed, their
//! coefficients are rounded to multiples of the quantisation table, and everything is undone. In double precision; pixels are not
//! rounded to 8 bits. Sources: ITU-T T.81, annexes A.3.3 and K.1; JFIF 1.02 for the colours; libjpeg for quality and enlarging.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::image::{Edge, Image};

/// Table K.1, by rows.
#[rustfmt::skip]
const LUMINANCE: [u32; 64] = [
    16, 11, 10, 16,  24,  40,  51,  61,   12, 12, 14, 19,  26,  58,  60,  55,
    14, 13, 16, 24,  40,  57,  69,  56,   14, 17, 22, 29,  51,  87,  80,  62,
    18, 22, 37, 56,  68, 109, 103,  77,   24, 35, 55, 64,  81, 104, 113,  92,
    49, 64, 78, 87, 103, 121, 120, 101,   72, 92, 95, 98, 112, 100, 103,  99,
];

/// Table K.2, by rows.
#[rustfmt::skip]
const CHROMINANCE: [u32; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99,   18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,   47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,   99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,   99, 99, 99, 99, 99, 99, 99, 99,
];

/// Images of three channels are colours; each channel of others is a grey image.
pub(super) fn jpeg(x: &Image, quality: u32) -> Image {
    let size = x.height_and_width();
    let levels: Vec<Image> = x.planes().map(|plane| Image::plane(plane.iter().map(|v| v * 255.0).collect(), size)).collect();
    let grey = |plane: &Image| quantised(plane, &LUMINANCE, quality);
    let planes = match &levels[..] {
        [red, green, blue] => {
            let luma = weighted([red, green, blue], [0.299, 0.587, 0.114]);
            let chroma = |colour: &Image, scale: f64| {
                let difference = colour.zip(&luma.values, |c, y| (c - y) / scale + 128.0);
                doubled(&quantised(&halved(&difference), &CHROMINANCE, quality), size).map(|v| v - 128.0)
            };
            let (cb, cr, y) = (chroma(blue, 1.772), chroma(red, 1.402), grey(&luma));
            vec![
                weighted([&y, &cb, &cr], [1.0, 0.0, 1.402]),
                weighted([&y, &cb, &cr], [1.0, -0.344_136_286, -0.714_136_286]),
                weighted([&y, &cb, &cr], [1.0, 1.772, 0.0]),
            ]
        }
        others => others.iter().map(grey).collect(),
    };
    Image { values: planes.iter().flat_map(|plane| plane.values.iter().map(|v| v / 255.0)).collect(), shape: x.shape }
}

fn weighted([a, b, c]: [&Image; 3], [p, q, r]: [f64; 3]) -> Image {
    a.map(|v| p * v).zip(&b.values, |sum, v| sum + q * v).zip(&c.values, |sum, v| sum + r * v)
}

/// The means of 2×2 pixels.
fn halved(plane: &Image) -> Image {
    let [h, w] = plane.height_and_width().map(|extent| extent.div_ceil(2));
    let mean = |at: usize| {
        let (row, column) = (2 * (at / w) as i64, 2 * (at % w) as i64);
        [(0, 0), (0, 1), (1, 0), (1, 1)].iter().map(|(d, r)| plane.at(0, row + d, column + r, Edge::Nearest)).sum::<f64>() / 4.0
    };
    Image::plane((0..h * w).map(mean).collect(), [h, w])
}

/// Twice as large: three quarters of the nearest pixel and a quarter of the next, along rows and along columns.
fn doubled(plane: &Image, [h, w]: [usize; 2]) -> Image {
    let two = |at: usize| {
        let near = (at / 2) as i64;
        [(near, 0.75), (if at.is_multiple_of(2) { near - 1 } else { near + 1 }, 0.25)]
    };
    let value = |at: usize| {
        let (rows, columns) = (two(at / w), two(at % w));
        let parts = rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c)));
        parts.map(|(r, c)| r.1 * c.1 * plane.at(0, r.0, c.0, Edge::Nearest)).sum()
    };
    Image::plane((0..h * w).map(value).collect(), [h, w])
}

/// A plane in levels of 0 to 255 after its blocks were transformed, rounded and transformed back.
fn quantised(plane: &Image, table: &[u32; 64], quality: u32) -> Image {
    let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    let steps = table.map(|step| f64::from(((step * scale + 50) / 100).clamp(1, 255)));
    let [h, w] = plane.height_and_width();
    let mut out = plane.clone();
    for top in (0..h).step_by(8) {
        for left in (0..w).step_by(8) {
            let place = |k: usize| (top + k / 8, left + k % 8);
            // what lies beyond the image is its last row or column
            let level = |k: usize| plane.at(0, place(k).0 as i64, place(k).1 as i64, Edge::Nearest) - 128.0;
            let mut block = transformed(&std::array::from_fn(level), false);
            block.iter_mut().zip(&steps).for_each(|(v, step)| *v = (*v / step).round() * step);
            for (k, v) in transformed(&block, true).into_iter().enumerate() {
                let (row, column) = place(k);
                if row < h && column < w {
                    out.values[row * w + column] = (v + 128.0).clamp(0.0, 255.0);
                }
            }
        }
    }
    out
}

/// The orthonormal discrete cosine transform of a block, or its inverse, along rows and along columns.
fn transformed(block: &[f64; 64], inverse: bool) -> [f64; 64] {
    let wave = |frequency: usize, at: usize| {
        let scale = if frequency == 0 { FRAC_1_SQRT_2 } else { 1.0 };
        0.5 * scale * ((2 * at + 1) as f64 * frequency as f64 * PI / 16.0).cos()
    };
    let waves: [[f64; 8]; 8] = std::array::from_fn(|a| std::array::from_fn(|b| if inverse { wave(b, a) } else { wave(a, b) }));
    let rows: [f64; 64] = std::array::from_fn(|k| (0..8).map(|j| block[k / 8 * 8 + j] * waves[k % 8][j]).sum());
    std::array::from_fn(|k| (0..8).map(|i| rows[i * 8 + k % 8] * waves[k / 8][i]).sum())
}
