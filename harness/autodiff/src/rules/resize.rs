//! `Resize` is linear: along each axis a constant matrix, whose rows hold the weights of the old elements in a new one. Knows the
//! coordinates and filters of the operator; sizes must be known.

use flatscape_graph::{Attributes, Dim, Expr, Tensor};

use crate::application::Application;

/// x with the matrix of each resized axis applied. Enlarging by whole numbers of equal elements needs no matrix.
pub(super) fn resize<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let axes = resized(n)?;
    if axes.iter().all(|axis| axis.repeats().is_some()) {
        return repeated(n, &axes).map(|y| vec![y]);
    }
    let rank = n.rank(0)?;
    let mut y = n.x(0);
    for axis in &axes {
        y = along(y, axis.matrix(), axis.axis, rank)?;
    }
    Ok(vec![y])
}

/// One axis: its old and new extent and how a new position becomes an old one.
struct Axis {
    axis: usize,
    old: usize,
    new: usize,
    scale: f64,
    coordinates: String,
    filter: Filter,
    exclude_outside: bool,
    antialias: bool,
}

enum Filter {
    Nearest(String),
    Linear,
    Cubic(f64),
}

/// The axes whose elements are not simply kept.
fn resized(n: &Application<'_>) -> Result<Vec<Axis>, String> {
    let (old, new) = (n.dims(0)?, n.y(0).dims().ok_or("the rank of its result is unknown")?);
    let named = match n.ints("axes") {
        Some(axes) => axes.iter().map(|&a| n.axis(a, old.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..old.len()).collect(),
    };
    let numbers = |i: usize| n.constant(i).map(|t| t.to_f64()).filter(|v| !v.is_empty());
    let scales = numbers(2);
    let no_sizes = n.optional(3).is_none() || n.known_ints(3).is_some_and(|sizes| sizes.is_empty());
    if scales.is_none() && no_sizes {
        return Err("its scales are computed".to_owned());
    }
    let coordinates = n.string("coordinate_transformation_mode", "half_pixel");
    if coordinates == "tf_crop_and_resize" {
        return Err("it resizes a crop".to_owned());
    }
    let antialias = n.int("antialias", 0) != 0;
    let mut axes = Vec::new();
    for (at, &axis) in named.iter().enumerate() {
        let scale = scales.as_ref().and_then(|s| s.get(at).copied());
        if scale.is_none_or(|s| s == 1.0) && old[axis].same(&new[axis]) {
            continue;
        }
        let known = |dims: &[Dim]| dims[axis].fixed().ok_or_else(|| format!("the extent of its axis {axis} is unknown"));
        let (old, new) = (known(&old)?, known(&new)?);
        if antialias && old == new {
            continue;
        }
        axes.push(Axis {
            axis,
            old,
            new,
            scale: match scale {
                Some(scale) => scale,
                None => kept_scale(n, &named)?.unwrap_or(new as f64 / old as f64),
            },
            coordinates: coordinates.clone(),
            filter: match n.string("mode", "nearest").as_str() {
                "nearest" => Filter::Nearest(n.string("nearest_mode", "round_prefer_floor")),
                "linear" => Filter::Linear,
                "cubic" => Filter::Cubic(n.float("cubic_coeff_a", -0.75)),
                other => return Err(format!("its mode is {other:?}")),
            },
            exclude_outside: n.int("exclude_outside", 0) != 0,
            antialias,
        });
    }
    Ok(axes)
}

/// The one scale of all named axes where the sizes are only bounds.
fn kept_scale(n: &Application<'_>, named: &[usize]) -> Result<Option<f64>, String> {
    let policy = n.string("keep_aspect_ratio_policy", "stretch");
    if policy == "stretch" {
        return Ok(None);
    }
    let (sizes, dims) = (n.known_ints(3).ok_or("its sizes are computed")?, n.dims(0)?);
    let ratio = |(&axis, &size): (&usize, &i64)| Some(size as f64 / dims[axis].fixed()? as f64);
    let ratios: Vec<f64> = named.iter().zip(&sizes).map(ratio).collect::<Option<_>>().ok_or("an extent is unknown")?;
    Ok(ratios.into_iter().reduce(if policy == "not_larger" { f64::min } else { f64::max }))
}

impl Axis {
    /// The old position of a new element.
    fn position(&self, o: usize) -> f64 {
        let (at, old, new) = (o as f64, self.old as f64, self.new as f64);
        match self.coordinates.as_str() {
            _ if self.scale == 1.0 => at,
            "asymmetric" => at / self.scale,
            "align_corners" | "pytorch_half_pixel" if self.new == 1 => 0.0,
            "align_corners" => at * (old - 1.0) / (new - 1.0),
            "half_pixel_symmetric" => {
                let adjusted = new / (self.scale * old);
                old / 2.0 * (1.0 - adjusted) + (at + 0.5) / self.scale - 0.5
            }
            _ => (at + 0.5) / self.scale - 0.5,
        }
    }

    /// The old element that a new one equals, for the nearest.
    fn nearest(&self, o: usize, rounding: &str) -> usize {
        // engines compute in single precision, which decides where a position is on the edge
        let single = self.position(o) as f32;
        let at = match rounding {
            "floor" => single.floor(),
            "ceil" => single.ceil(),
            "round_prefer_ceil" => (single + 0.5).floor(),
            _ => (single - 0.5).ceil(),
        };
        (at.max(0.0) as usize).min(self.old - 1)
    }

    /// How often each old element is repeated, if the axis only repeats elements.
    fn repeats(&self) -> Option<usize> {
        let Filter::Nearest(rounding) = &self.filter else { return None };
        let times = self.new.checked_div(self.old).filter(|times| times * self.old == self.new && *times > 0)?;
        (0..self.new).all(|o| self.nearest(o, rounding) == o / times).then_some(times)
    }

    /// [new, old]
    fn matrix(&self) -> Vec<f64> {
        (0..self.new).flat_map(|o| self.row(o)).collect()
    }

    fn row(&self, o: usize) -> Vec<f64> {
        let mut row = vec![0.0; self.old];
        let (filter, reach): (&dyn Fn(f64) -> f64, f64) = match &self.filter {
            Filter::Nearest(rounding) => {
                row[self.nearest(o, rounding)] = 1.0;
                return row;
            }
            Filter::Linear => (&|d: f64| (1.0 - d).max(0.0), 1.0),
            Filter::Cubic(a) => (&move |d: f64| cubic(d, *a), 2.0),
        };
        // shrinking with antialias makes the filter wider
        let narrow = if self.antialias { self.scale.min(1.0) } else { 1.0 };
        let at = self.position(o);
        let last = self.old as i64 - 1;
        for tap in (at - reach / narrow).floor() as i64..=(at + reach / narrow).ceil() as i64 {
            let weight = filter(((tap as f64 - at) * narrow).abs());
            if !self.exclude_outside || (0..=last).contains(&tap) {
                row[tap.clamp(0, last) as usize] += weight;
            }
        }
        let total: f64 = row.iter().sum();
        row.iter().map(|weight| weight / total).collect()
    }
}

fn cubic(d: f64, a: f64) -> f64 {
    match d {
        d if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
        d if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
        _ => 0.0,
    }
}

/// The product with a matrix [new, old] along one axis.
fn along<'b>(x: Expr<'b>, matrix: Vec<f64>, axis: usize, rank: usize) -> Result<Expr<'b>, String> {
    let old = x.dims().and_then(|d| d[axis].fixed()).ok_or("an extent is unknown")?;
    let shape = [matrix.len() / old.max(1), old];
    let matrix = Tensor::new::<f64>(&shape, matrix).ok_or("its matrix could not be made")?;
    let matrix = x.builder().constant(matrix.cast(x.dtype()));
    if axis + 2 == rank {
        return Ok(matrix.matmul(x));
    }
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    perm.swap(axis, rank - 1);
    Ok(x.transpose(&perm).matmul(matrix.transpose(&[1, 0])).transpose(&perm))
}

/// Each element as often as its axes say: [.., d, ..] as [.., d, r, ..] with the same element along r.
fn repeated<'b>(n: &Application<'b>, axes: &[Axis]) -> Result<Expr<'b>, String> {
    let rank = n.rank(0)?;
    let (mut places, mut target) = (Vec::new(), Vec::new());
    for axis in 0..rank {
        target.push(1);
        if let Some(times) = axes.iter().find(|a| a.axis == axis).and_then(Axis::repeats) {
            places.push(target.len() as i64);
            target.push(times as i64);
        }
    }
    let target = n.builder().ints(&target);
    let wide = n.builder().op("Expand", &[n.x(0).unsqueeze(&places), target], Attributes::none());
    n.reshape_to(wide, &n.y(0).dims().ok_or("the rank of its result is unknown")?)
}
