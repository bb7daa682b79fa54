//! Rules of operators that sample an image at other places.

use flatscape_graph::{DType, Dim, Expr};

use crate::application::{Application, only_where};
use crate::rule::{Rule, written};

use super::resize::resize;

pub(super) const RULES: &[Rule] = &[
    // y = A_h · x · A_wᵀ with constant matrices
    written("Resize", resize).rest_flat(),
    // y = Σ over the pixels around a place, weighted by nearness
    written("GridSample", grid_sample).kink("where a place crosses a pixel or the border, one side's"),
    // y = |x| of a matrix, by minors up to 3 × 3
    written("Det", determinant),
];

/// x [N,C,H,W] at the places [N,H',W',2] in −1..1.
fn grid_sample<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let (x, grid, b) = (n.x(0), n.x(1), n.builder());
    let dims = n.dims(0)?;
    let &[Some(channels), Some(height), Some(width)] = &dims.iter().skip(1).map(Dim::fixed).collect::<Vec<_>>()[..] else {
        return Err("it samples what is not an image of known extents".to_owned());
    };
    let sampler = Sampler { padding: n.string("padding_mode", "zeros"), aligned: n.int("align_corners", 0) != 0 };
    let coordinate = |k: i64, extent: usize| {
        let at = grid.gather(b.ints(&[k]), -1).squeeze(&[-1]);
        sampler.place(at, extent as f64)
    };
    let (across, down) = (coordinate(0, width), coordinate(1, height));
    let mode = n.string("mode", "bilinear");
    let (columns, rows) = (sampler.taps(across, width as f64, &mode)?, sampler.taps(down, height as f64, &mode)?);
    let pixels = x.reshape(&[0, channels as i64, (height * width) as i64]);
    let mut sum: Option<Expr<'b>> = None;
    for row in &rows {
        for column in &columns {
            // one flat position per place, the same in every channel
            let flat = (row.at * width as f64 + column.at).cast(DType::I64).unsqueeze(&[1]);
            let flat = flat.reshape(&[0, 1, -1]);
            let shape = b.ints(&[1, channels as i64, 1]);
            let flat = b.op("Expand", &[flat, shape], flatscape_graph::Attributes::none());
            let values = b.op("GatherElements", &[pixels, flat], [("axis", 2.into())]);
            let weight = match (row.weight, column.weight) {
                (Some(a), Some(b)) => Some(a * b),
                (a, b) => a.or(b),
            };
            let part = match weight {
                Some(weight) => values * weight.unsqueeze(&[1]).reshape(&[0, 1, -1]),
                None => values,
            };
            let inside = row.inside.into_iter().chain(column.inside).reduce(Expr::and);
            let part = inside.map_or(part, |inside| only_where(inside.unsqueeze(&[1]).reshape(&[0, 1, -1]), part));
            sum = Some(sum.map_or(part, |s| s + part));
        }
    }
    let sum = sum.ok_or("it takes no pixel")?;
    let places = n.dims(1)?;
    let target = [dims[0].clone(), Dim::Fixed(channels), places[1].clone(), places[2].clone()];
    Ok(vec![n.reshape_to(sum, &target)?])
}

struct Sampler {
    padding: String,
    aligned: bool,
}

/// One pixel of one axis: its number as a float, always inside, and how much of it is taken.
struct Tap<'b> {
    at: Expr<'b>,
    weight: Option<Expr<'b>>,
    /// Whether the pixel exists, where places outside the image count as 0.
    inside: Option<Expr<'b>>,
}

impl Sampler {
    /// −1..1 in pixels, folded back into the image where the padding says so.
    fn place<'b>(&self, at: Expr<'b>, extent: f64) -> Expr<'b> {
        if self.aligned { (at + 1.0) * ((extent - 1.0) / 2.0) } else { ((at + 1.0) * extent - 1.0) * 0.5 }
    }

    fn within<'b>(&self, at: Expr<'b>, extent: f64) -> Expr<'b> {
        match self.padding.as_str() {
            "border" => clamped(at, extent),
            "reflection" => clamped(self.reflected(at, extent), extent),
            _ => at,
        }
    }

    /// Mirrored at the centres of the outermost pixels if aligned, else at their edges.
    fn reflected<'b>(&self, at: Expr<'b>, extent: f64) -> Expr<'b> {
        let (low, span) = if self.aligned { (0.0, extent - 1.0) } else { (-0.5, extent) };
        if span <= 0.0 {
            return at * 0.0;
        }
        let from_low = (at - low).abs();
        let turns = (from_low * (1.0 / span)).floor();
        let rest = from_low - turns * span;
        let odd = (turns - (turns * 0.5).floor() * 2.0).greater(0.5);
        odd.select(-rest + (span + low), rest + low)
    }

    /// The pixels around a place.
    fn taps<'b>(&self, place: Expr<'b>, extent: f64, mode: &str) -> Result<Vec<Tap<'b>>, String> {
        let tap = |at: Expr<'b>, weight: Option<Expr<'b>>| match self.padding.as_str() {
            "zeros" => {
                let inside = at.at_least(0.0).and(at.at_most(extent - 1.0));
                Tap { at: clamped(at, extent), weight, inside: Some(inside) }
            }
            _ => Tap { at: self.within(at, extent), weight, inside: None },
        };
        match mode {
            "nearest" => Ok(vec![tap(self.within(place, extent).unary("Round"), None)]),
            "bilinear" | "linear" => {
                let place = self.within(place, extent);
                let before = place.floor();
                let part = place - before;
                Ok(vec![tap(before, Some(part.scalar(1.0) - part)), tap(before + 1.0, Some(part))])
            }
            "bicubic" | "cubic" => {
                let before = place.floor();
                let part = place - before;
                let weights = [(-1.0, part + 1.0), (0.0, part), (1.0, part.scalar(1.0) - part), (2.0, part.scalar(2.0) - part)];
                Ok(weights.into_iter().map(|(step, far)| tap(before + step, Some(cubic(far, step)))).collect())
            }
            other => Err(format!("its mode is {other:?}")),
        }
    }
}

fn clamped(at: Expr<'_>, extent: f64) -> Expr<'_> {
    at.max(0.0).min(extent - 1.0)
}

/// The weight at a distance, for a tap one step outside (−1, 2) or next to the place (0, 1); the coefficient is −0.75.
fn cubic(d: Expr<'_>, step: f64) -> Expr<'_> {
    const A: f64 = -0.75;
    if step == 0.0 || step == 1.0 {
        (d * (A + 2.0) - (A + 3.0)) * d * d + 1.0
    } else {
        ((d * A - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A
    }
}

fn determinant<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let (x, dims) = (n.x(0), n.dims(0)?);
    let size = dims.last().and_then(Dim::fixed).ok_or("the extent of its matrix is unknown")?;
    let element = |i: usize, j: usize| {
        let at = |k: usize| n.builder().ints(&[k as i64]);
        x.gather(at(i), -2).gather(at(j), -1).squeeze(&[-2, -1])
    };
    let minor =
        |i: [usize; 2], j: [usize; 2]| element(i[0], j[0]) * element(i[1], j[1]) - element(i[0], j[1]) * element(i[1], j[0]);
    Ok(vec![match size {
        1 => element(0, 0),
        2 => minor([0, 1], [0, 1]),
        3 => {
            element(0, 0) * minor([1, 2], [1, 2]) - element(0, 1) * minor([1, 2], [0, 2]) + element(0, 2) * minor([1, 2], [0, 1])
        }
        _ => return Err(format!("its matrix is {size} × {size}, and the formula ends at 3 × 3")),
    }])
}
