//! Bilinear sampling of images at computed places, for threat models that move pixels: as a graph, differentiable in the places,
//! and in double precision for the judge. Source: Xiao et al. 2018 (arXiv:1801.02612), equation 1.

use flatscape_graph::{DType, Expr, Tensor};

/// What lies outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// The nearest pixel of the border: places are clamped.
    Border,
    /// Black.
    Zero,
}

/// Values of an image [N,C,H,W] at rows and columns [N,H·W] in pixels; like the image. The derivative in the places is that of the
/// bilinear formula, right-sided at whole pixels, and 0 where a place is clamped.
pub(super) fn sample<'b>(image: Expr<'b>, rows: Expr<'b>, columns: Expr<'b>, shape: [usize; 3], outside: Outside) -> Expr<'b> {
    let [c, h, w] = shape;
    let flat = image.reshape(&[-1, c as i64, (h * w) as i64]);
    let (row, below) = corners(rows, h, outside);
    let (column, right) = corners(columns, w, outside);
    // the four neighbours, each with its weight
    let mut sum: Option<Expr<'b>> = None;
    for (r, vertical) in [(row, below.scalar(1.0) - below), (row + 1.0, below)] {
        for (q, horizontal) in [(column, right.scalar(1.0) - right), (column + 1.0, right)] {
            let inside = |at: Expr<'b>, extent: usize| at.at_least(0.0).and(at.at_most(extent as f64 - 1.0));
            let known = inside(r, h).and(inside(q, w)).cast(image.dtype());
            let clamped = |at: Expr<'b>, extent: usize| at.max(0.0).min(extent as f64 - 1.0);
            let place = (clamped(r, h) * w as f64 + clamped(q, w)).cast(DType::I64).unsqueeze(&[1]);
            let place = place + channels(place, c);
            let value = image.builder().op("GatherElements", &[flat, place], [("axis", 2.into())]);
            let weight = if outside == Outside::Zero { vertical * horizontal * known } else { vertical * horizontal };
            let weight = weight.unsqueeze(&[1]);
            let part = value * weight;
            sum = Some(sum.map_or(part, |sum| sum + part));
        }
    }
    sum.unwrap_or(flat).reshape_like(image)
}

/// Zeros int64[1,C,1], which make one row of places one per channel.
fn channels(place: Expr<'_>, c: usize) -> Expr<'_> {
    place.builder().constant(Tensor::full(DType::I64, &[1, c, 1], 0.0))
}

/// The whole pixel before a place, and the share of the way to the next one.
fn corners(at: Expr<'_>, extent: usize, outside: Outside) -> (Expr<'_>, Expr<'_>) {
    let last = extent as f64 - 1.0;
    let (at, first) = match outside {
        Outside::Border => {
            let at = at.max(0.0).min(last);
            (at, at.floor().min((last - 1.0).max(0.0)))
        }
        // far outside everything is black; nearer places keep whole numbers small
        Outside::Zero => {
            let at = at.max(-2.0).min(last + 2.0);
            (at, at.floor())
        }
    };
    (first, at - first)
}

/// Rows and columns of every pixel, float[1,H·W] each.
pub(super) fn grid<'b>(like: Expr<'b>, [_, h, w]: [usize; 3]) -> (Expr<'b>, Expr<'b>) {
    let table = |of: &dyn Fn(usize) -> usize| {
        let values: Vec<f32> = (0..h * w).map(|pixel| of(pixel) as f32).collect();
        like.builder().constant(Tensor::new(&[1, h * w], values).unwrap_or_else(|| Tensor::scalar(0f32)))
    };
    (table(&|pixel| pixel / w.max(1)), table(&|pixel| pixel % w.max(1)))
}

/// One column of the parameter, [N,1].
pub(super) fn entry(z: Expr<'_>, place: i64) -> Expr<'_> {
    z.slice(&[place], &[place + 1], &[1], &[1])
}

/// A row of numbers [1,P].
pub(super) fn row<'b>(like: Expr<'b>, values: &[f64]) -> Expr<'b> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    like.builder().constant(Tensor::new(&[1, values.len()], values).unwrap_or_else(|| Tensor::scalar(0f32)))
}

/// The same of one image [C,H,W] on the host, at the places that `at` gives for a row and a column.
pub(super) fn sampled(x0: &[f32], [c, h, w]: [usize; 3], outside: Outside, at: impl Fn(usize, usize) -> (f64, f64)) -> Vec<f64> {
    let corner = |place: f64, extent: usize| {
        let last = extent as f64 - 1.0;
        let place = if outside == Outside::Border { place.clamp(0.0, last) } else { place.clamp(-2.0, last + 2.0) };
        let first = if outside == Outside::Border { place.floor().min((last - 1.0).max(0.0)) } else { place.floor() };
        (first, place - first)
    };
    let mut out = vec![0.0; c * h * w];
    for pixel in 0..h * w {
        let (row, column) = at(pixel / w, pixel % w);
        let ((r, below), (q, right)) = (corner(row, h), corner(column, w));
        for (r, vertical) in [(r, 1.0 - below), (r + 1.0, below)] {
            for (q, horizontal) in [(q, 1.0 - right), (q + 1.0, right)] {
                let inside = (0.0..h as f64).contains(&r) && (0.0..w as f64).contains(&q);
                if !inside {
                    continue;
                }
                for channel in 0..c {
                    let value = f64::from(x0[(channel * h + r as usize) * w + q as usize]);
                    out[channel * h * w + pixel] += value * vertical * horizontal;
                }
            }
        }
    }
    out
}
