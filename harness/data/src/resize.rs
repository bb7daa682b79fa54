//! Images in another size, to the bit as Pillow 13 makes them: `Image.resize` of 8-bit images, with its filters, its coefficients
//! of 22 bits and its two passes, of which the horizontal one is mostly the first. Knows pixels of one image; of data sets and models nothing.

use serde::{Deserialize, Serialize};

use crate::refusal::{Refusal, nearest as nearest_word};
use flatscape_graph::shown;

/// A filter of Pillow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Filter {
    Nearest,
    Lanczos,
    Bilinear,
    Bicubic,
    Box,
    Hamming,
}

/// A filter: its name, itself, how far it reaches, and its weight at a distance. The position is Pillow's number for it.
type Row = (&'static str, Filter, f64, fn(f64) -> f64);

/// The filters by the numbers that Pillow and configuration files give them.
const FILTERS: [Row; 6] = [
    ("nearest", Filter::Nearest, 0.0, |_| 0.0),
    ("lanczos", Filter::Lanczos, 3.0, |x| if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }),
    ("bilinear", Filter::Bilinear, 1.0, |x| if x.abs() < 1.0 { 1.0 - x.abs() } else { 0.0 }),
    ("bicubic", Filter::Bicubic, 2.0, bicubic),
    ("box", Filter::Box, 0.5, |x| if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }),
    ("hamming", Filter::Hamming, 1.0, hamming),
];

impl Filter {
    /// As users write it.
    pub fn name(self) -> &'static str {
        FILTERS.iter().find(|(_, f, ..)| *f == self).map_or("bilinear", |(name, ..)| name)
    }

    /// The filter of that name, in any case.
    pub fn named(name: &str) -> Option<Filter> {
        FILTERS.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name)).map(|(_, f, ..)| *f)
    }

    /// The filter with Pillow's number, as `resample` holds it.
    pub fn numbered(code: u64) -> Option<Filter> {
        FILTERS.get(usize::try_from(code).ok()?).map(|(_, f, ..)| *f)
    }
}

/// The size after resizing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// Height and width, whatever they were.
    Exactly(usize, usize),
    /// The shorter edge; the longer one keeps the proportion, rounded down.
    ShortestEdge(usize),
}

/// How images are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// To which size.
    pub size: Size,
    /// With which filter.
    pub filter: Filter,
}

/// The middle of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crop {
    /// Height of what stays.
    pub height: usize,
    /// Width of what stays.
    pub width: usize,
    /// Where an odd rest cannot be halved: rounded to the even neighbour, as torchvision does; otherwise down.
    pub to_even: bool,
}

impl Resize {
    /// Reads `224x224`, `224x224:bicubic`, `256:bilinear` (the shorter edge). Bilinear where no filter is named.
    ///
    /// # Errors
    /// A usage error that names the filters.
    pub fn parse(text: &str) -> Result<Resize, Refusal> {
        let (size, filter) = text.split_once(':').unwrap_or((text, "bilinear"));
        let filter = Filter::named(filter).ok_or_else(|| {
            let names = || FILTERS.iter().map(|(name, ..)| *name);
            let meant = nearest_word(filter, names()).map_or(String::new(), |n| format!("; did you mean {n}?"));
            let known = names().collect::<Vec<_>>().join(", ");
            Refusal::usage(91, format!("--resize {}: no filter is called {}", shown(text), shown(filter)))
                .help(format!("there are {known}{meant}"))
        })?;
        let wrong = || {
            Refusal::usage(89, format!("--resize {} is not a size", shown(text)))
                .help("write HEIGHTxWIDTH or the length of the shorter edge, then :FILTER, e.g. 224x224:bicubic")
        };
        let size = match edges(size).ok_or_else(wrong)? {
            (height, Some(width)) => Size::Exactly(height, width),
            (edge, None) => Size::ShortestEdge(edge),
        };
        Ok(Resize { size, filter })
    }

    /// As `--resize` takes it.
    pub fn text(&self) -> String {
        match self.size {
            Size::Exactly(h, w) => format!("{h}x{w}:{}", self.filter.name()),
            Size::ShortestEdge(edge) => format!("{edge}:{}", self.filter.name()),
        }
    }
}

impl Crop {
    /// Reads `224x224` or `224`.
    ///
    /// # Errors
    /// A usage error.
    pub fn parse(text: &str) -> Result<Crop, Refusal> {
        let wrong =
            || Refusal::usage(89, format!("--crop {} is not a size", shown(text))).help("write HEIGHTxWIDTH, e.g. 224x224");
        let (height, width) = edges(text).ok_or_else(wrong)?;
        Ok(Crop { height, width: width.unwrap_or(height), to_even: true })
    }

    /// As `--crop` takes it.
    pub fn text(&self) -> String {
        format!("{}x{}", self.height, self.width)
    }

    /// The first row or column of what stays.
    fn start(&self, extent: usize, kept: usize) -> usize {
        let rest = extent - kept;
        let half = rest / 2;
        half + usize::from(self.to_even && rest % 2 == 1 && half % 2 == 1)
    }
}

/// `224x192` or `224`; no edge is 0 or longer than 65535.
fn edges(text: &str) -> Option<(usize, Option<usize>)> {
    let edge = |t: &str| t.parse::<usize>().ok().filter(|n| (1..=65535).contains(n));
    match text.split_once('x') {
        Some((h, w)) => Some((edge(h)?, Some(edge(w)?))),
        None => Some((edge(text)?, None)),
    }
}

/// An image: channels, height, width, and 8-bit pixels, channel by channel, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// C·H·W numbers.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// The size that resizing and cropping leave.
    pub fn fitted([h, w]: [usize; 2], resize: Option<Resize>, crop: Option<Crop>) -> [usize; 2] {
        let resized = match resize.map(|r| r.size) {
            None => [h, w],
            Some(Size::Exactly(h, w)) => [h, w],
            // int(edge · long / short)
            Some(Size::ShortestEdge(edge)) if h <= w => [edge, (edge * w) / h.max(1)],
            Some(Size::ShortestEdge(edge)) => [(edge * h) / w.max(1), edge],
        };
        crop.map_or(resized, |c| [c.height, c.width])
    }

    /// Resized, then cropped.
    ///
    /// # Errors
    /// A clause if less is left than the crop wants.
    pub fn prepared(&self, resize: Option<Resize>, crop: Option<Crop>) -> Result<Picture, String> {
        let [_, h, w] = self.shape;
        let [height, width] = Picture::fitted([h, w], resize, None);
        let resized = resize.map(|r| self.resized(height, width, r.filter));
        let resized = resized.as_ref().unwrap_or(self);
        match crop {
            Some(crop) => resized.cropped(crop),
            None => Ok(resized.clone()),
        }
    }

    /// The middle.
    fn cropped(&self, crop: Crop) -> Result<Picture, String> {
        let [c, h, w] = self.shape;
        if crop.height > h || crop.width > w {
            return Err(format!("is {h}x{w}, smaller than the crop of {}", crop.text()));
        }
        let (top, left) = (crop.start(h, crop.height), crop.start(w, crop.width));
        let mut pixels = Vec::with_capacity(c * crop.height * crop.width);
        for channel in 0..c {
            for row in top..top + crop.height {
                let start = (channel * h + row) * w + left;
                pixels.extend_from_slice(&self.pixels[start..start + crop.width]);
            }
        }
        Ok(Picture { shape: [c, crop.height, crop.width], pixels })
    }

    /// `Image.resize((width, height), filter)`.
    pub fn resized(&self, height: usize, width: usize, filter: Filter) -> Picture {
        let [c, h, w] = self.shape;
        if (h, w) == (height, width) {
            return self.clone();
        }
        let plane = |pixels: &[u8]| -> Vec<u8> {
            if filter == Filter::Nearest {
                let (rows, columns) = (places(h, height), places(w, width));
                return rows.iter().flat_map(|&r| columns.iter().map(move |&k| pixels[r * w + k])).collect();
            }
            let across = |pixels: &[u8], rows: usize| pass(pixels, rows, w, &taps(w, width, filter), false);
            let down = |pixels: &[u8], columns: usize| pass(pixels, h, columns, &taps(h, height, filter), true);
            match (w == width, h == height) {
                (true, _) => down(pixels, w),
                (_, true) => across(pixels, h),
                _ if rows_first([h, w], [height, width]) => across(&down(pixels, w), height),
                _ => down(&across(pixels, h), width),
            }
        };
        let pixels = self.pixels.chunks_exact((h * w).max(1)).flat_map(plane).collect();
        Picture { shape: [c, height, width], pixels }
    }
}

/// Whether the vertical pass comes first, which decides how often a pixel is rounded: Pillow 13 does so where more than twice as many
/// rows as columns go away (found by trying sizes; older versions never do, and differ by a grey level here and there).
fn rows_first([h, w]: [usize; 2], [height, width]: [usize; 2]) -> bool {
    let gone = |from: usize, to: usize| from as i64 - to as i64;
    height < h && gone(h, height) > 2 * gone(w, width)
}

/// Bits behind the point of a coefficient.
const BITS: u32 = 22;

/// What one output pixel is made of: the first input pixel and the coefficients from there on.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The coefficients of every output pixel along one axis.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Taps> {
    let (reach, weight) =
        FILTERS.iter().find(|(_, f, ..)| *f == filter).map_or((1.0, bicubic as fn(f64) -> f64), |row| (row.2, row.3));
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = reach * stretch;
    let one = |place: usize| {
        let center = (place as f64 + 0.5) * scale;
        // truncated, then kept inside
        let first = ((center - support + 0.5) as i64).max(0) as usize;
        let end = ((center + support + 0.5) as i64).clamp(0, from as i64) as usize;
        let exact: Vec<f64> = (first..end.max(first)).map(|x| weight((x as f64 - center + 0.5) * (1.0 / stretch))).collect();
        let sum: f64 = exact.iter().sum();
        let fixed = |&w: &f64| {
            let w = if sum == 0.0 { w } else { w / sum } * f64::from(1 << BITS);
            (if w < 0.0 { w - 0.5 } else { w + 0.5 }) as i32
        };
        Taps { first, weights: exact.iter().map(fixed).collect() }
    };
    (0..to).map(one).collect()
}

/// One pass over a plane of `h`×`w` pixels, along the rows or (`vertical`) along the columns.
fn pass(pixels: &[u8], h: usize, w: usize, taps: &[Taps], vertical: bool) -> Vec<u8> {
    let sum = |taps: &Taps, at: &dyn Fn(usize) -> u8| {
        let start = 1i32 << (BITS - 1);
        let total = taps.weights.iter().enumerate().fold(start, |t, (i, &k)| t.wrapping_add(i32::from(at(taps.first + i)) * k));
        (total >> BITS).clamp(0, 255) as u8
    };
    if vertical {
        taps.iter().flat_map(|t| (0..w).map(move |x| sum(t, &|y| pixels[y * w + x]))).collect()
    } else {
        (0..h).flat_map(|y| taps.iter().map(move |t| sum(t, &|x| pixels[y * w + x]))).collect()
    }
}

/// The input pixel of every output pixel for the nearest one: positions are added up as Pillow adds them.
fn places(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut at = step * 0.5;
    let mut places = Vec::with_capacity(to);
    for _ in 0..to {
        places.push((at as usize).min(from - 1));
        at += step;
    }
    places
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { libm::sin(x * std::f64::consts::PI) / (x * std::f64::consts::PI) }
}

/// Cubic convolution with a = −1/2.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn hamming(x: f64) -> f64 {
    let x = x.abs();
    if x == 0.0 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let x = x * std::f64::consts::PI;
    libm::sin(x) / x * (0.54 + 0.46 * libm::cos(x))
}

#[cfg(test)]
mod tests;
