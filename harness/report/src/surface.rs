//! A landscape as data: two axes, a grid of heights, and its CSV. How it is drawn is `landscape.rs`; how it was computed is
//! not known here.

use serde::{Deserialize, Serialize};

use crate::cell::{Cell, csv_bytes};

/// One axis of a landscape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What one moves along, such as `random direction d` or `FGSM direction`.
    pub name: String,
    /// Position of each grid line, ascending; pixel units (images in 0 to 1) for landscapes over inputs.
    #[serde(with = "crate::float::many")]
    pub values: Vec<f64>,
}

/// A landscape of one model around one sample. The grids are row-major with one row per value of `y_axis`: the cell of
/// `x_axis.values[i]` and `y_axis.values[j]` is at `j * x_axis.values.len() + i`. A grid that is too short counts as not
/// finite where it ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Surface {
    /// Identifies the surface within its run; also the stem of its files.
    pub id: String,
    /// Name of the model.
    pub model: String,
    /// One line above the picture; the model's name where empty.
    pub title: String,
    /// `likelihood` (the height is Δ log p), `loss-input` or `loss-weights` (the height is the loss).
    pub kind: String,
    /// Place of the sample in the data set's canonical order.
    pub sample_id: u64,
    /// Label of the sample.
    pub label: i64,
    /// Images over which the loss around the weights is the mean, for `loss-weights`.
    #[serde(default)]
    pub images: Option<u64>,
    /// First direction.
    pub x_axis: Axis,
    /// Second direction.
    pub y_axis: Axis,
    /// Δ log p = LSE(f(x')) − LSE(f(x)) per cell, in nats (Lin et al. 2020, Eq. 3 with the logarithm that Eq. 2 implies).
    #[serde(with = "crate::float::many")]
    pub z: Vec<f64>,
    /// Cross-entropy of the label per cell, in nats.
    #[serde(with = "crate::float::many")]
    pub loss: Vec<f64>,
    /// Predicted class per cell.
    pub predicted: Vec<i64>,
    /// Radii of `linf` threat models, in pixel units, that are marked. Both directions have the entries ±1, so that the ball of a radius is
    /// the square |ε₁| + |ε₂| ≤ radius of this plane.
    #[serde(default)]
    pub radii: Vec<f64>,
    /// Range of heights that the maker of the surface proposes for the scale; computed where absent.
    pub range: Option<(f64, f64)>,
}

impl Surface {
    /// Height of a cell, `i` along the first and `j` along the second direction; NaN if there is none.
    pub fn height(&self, i: usize, j: usize) -> f64 {
        let heights = if self.is_likelihood() { &self.z } else { &self.loss };
        heights.get(j * self.x_axis.values.len() + i).copied().unwrap_or(f64::NAN)
    }

    /// Predicted class of a cell; `None` if there is none.
    pub fn class(&self, i: usize, j: usize) -> Option<i64> {
        self.predicted.get(j * self.x_axis.values.len() + i).copied()
    }

    /// Whether the height is Δ log p.
    pub(crate) fn is_likelihood(&self) -> bool {
        !self.kind.starts_with("loss")
    }

    /// What the height is, with its unit.
    pub fn height_name(&self) -> &'static str {
        match (self.is_likelihood(), self.in_pixels()) {
            (true, _) => "Δ log p (nats)",
            (false, true) => "cross-entropy (nats)",
            (false, false) => "mean cross-entropy (nats)",
        }
    }

    /// What the middle is: a sample, with its label in these words, or the weights of the file.
    pub fn around(&self, label: &str) -> String {
        match (self.in_pixels(), self.images) {
            (true, _) => format!("sample {}, label {label}", self.sample_id),
            (false, Some(images)) => format!("the weights of the file, over {images} images"),
            (false, None) => "the weights of the file".to_owned(),
        }
    }

    /// Whether the axes are in pixel units.
    pub fn in_pixels(&self) -> bool {
        self.kind != "loss-weights"
    }

    /// The surface with at most `lines` grid lines per axis, the clean sample's among them.
    pub(crate) fn thinned(&self, lines: usize) -> Surface {
        let kept = |values: &[f64]| -> Vec<usize> {
            let step = values.len().saturating_sub(1).div_ceil(lines.saturating_sub(1).max(1)).max(1);
            let middle = values.iter().position(|value| value.abs() < 1e-12).unwrap_or(0);
            (middle % step..values.len()).step_by(step).collect()
        };
        let (columns, rows) = (kept(&self.x_axis.values), kept(&self.y_axis.values));
        let width = self.x_axis.values.len();
        let places = || rows.iter().flat_map(|j| columns.iter().map(move |i| j * width + i));
        let numbers = |grid: &[f64]| places().map(|place| grid.get(place).copied().unwrap_or(f64::NAN)).collect();
        let pick = |axis: &Axis, kept: &[usize]| Axis {
            name: axis.name.clone(),
            values: kept.iter().map(|&k| axis.values[k]).collect(),
        };
        Surface {
            x_axis: pick(&self.x_axis, &columns),
            y_axis: pick(&self.y_axis, &rows),
            z: numbers(&self.z),
            loss: numbers(&self.loss),
            predicted: places().map_while(|place| self.predicted.get(place).copied()).collect(),
            id: self.id.clone(),
            model: self.model.clone(),
            title: self.title.clone(),
            kind: self.kind.clone(),
            radii: self.radii.clone(),
            ..*self
        }
    }

    /// The ball of every marked radius that the grid reaches: a closed line of places along the axes in [-1, 1] with their heights, which
    /// are NaN beside a point without one.
    pub(crate) fn rings(&self) -> Vec<Vec<(f64, f64, f64)>> {
        const SIDE: usize = 24;
        let (Some(reach_x), Some(reach_y)) = (reach(&self.x_axis.values), reach(&self.y_axis.values)) else { return Vec::new() };
        let drawn = self.radii.iter().filter(|&&radius| radius > 0.0 && radius <= reach_x.min(reach_y) * (1.0 + 1e-9));
        let corners = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0), (1.0, 0.0)];
        let ring = |radius: &f64| {
            let point = |k: usize| {
                let (from, to) = (corners[k / SIDE], corners[(k / SIDE + 1).min(4)]);
                let part = (k % SIDE) as f64 / SIDE as f64;
                let along = |a: f64, b: f64, reach: f64| (a + (b - a) * part) * radius / reach;
                let (x, y) = (along(from.0, to.0, reach_x), along(from.1, to.1, reach_y));
                (x, y, self.between(x, y))
            };
            (0..=4 * SIDE).map(point).collect()
        };
        drawn.map(ring).collect()
    }

    /// The height between four grid points, bilinear; `x` and `y` in [-1, 1]. NaN beside a point without a height.
    fn between(&self, x: f64, y: f64) -> f64 {
        let place = |share: f64, count: usize| {
            let at = ((share.clamp(-1.0, 1.0) + 1.0) / 2.0) * (count.max(2) - 1) as f64;
            let below = (at.floor() as usize).min(count.max(2) - 2);
            (below, at - below as f64)
        };
        let ((i, u), (j, v)) = (place(x, self.x_axis.values.len()), place(y, self.y_axis.values.len()));
        let part = |i: usize, j: usize, weight: f64| if weight == 0.0 { 0.0 } else { weight * self.height(i, j) };
        part(i, j, (1.0 - u) * (1.0 - v))
            + part(i + 1, j, u * (1.0 - v))
            + part(i, j + 1, (1.0 - u) * v)
            + part(i + 1, j + 1, u * v)
    }

    /// How many grid points have no finite height.
    pub fn points_without_height(&self) -> usize {
        let (columns, rows) = (self.x_axis.values.len(), self.y_axis.values.len());
        (0..rows).map(|j| (0..columns).filter(|&i| !self.height(i, j).is_finite()).count()).sum()
    }

    /// The title, or the model's name.
    pub fn heading(&self) -> &str {
        if self.title.is_empty() { &self.model } else { &self.title }
    }
}

/// Half the width of an axis that is symmetric around 0; `None` for any other.
fn reach(values: &[f64]) -> Option<f64> {
    let (first, last) = (*values.first()?, *values.last()?);
    (last > 0.0 && (first + last).abs() <= 1e-9 * last).then_some(last)
}

/// A surface as CSV: `x, y, delta_log_p, loss, predicted`, one line per cell, row by row.
pub fn surface_csv(surface: &Surface) -> Vec<u8> {
    let header = ["x", "y", "delta_log_p", "loss", "predicted"].into_iter().map(|name| Cell::Text(name.into()));
    let columns = surface.x_axis.values.len();
    let cells = surface
        .y_axis
        .values
        .iter()
        .enumerate()
        .flat_map(|(j, &y)| surface.x_axis.values.iter().enumerate().map(move |(i, &x)| (j * columns + i, x, y)));
    let number = |values: &[f64], place: usize| values.get(place).map_or(Cell::Missing, |&value| Cell::Number(value));
    let lines = cells.map(|(place, x, y)| {
        vec![
            Cell::Number(x),
            Cell::Number(y),
            number(&surface.z, place),
            number(&surface.loss, place),
            surface.predicted.get(place).map_or(Cell::Missing, |&class| Cell::Integer(class.into())),
        ]
    });
    csv_bytes(header, lines)
}

/// A surface of losses as CSV: `x, y, loss, accuracy`, one line per cell, row by row. Cells that are not finite are empty.
pub fn loss_csv(surface: &Surface, accuracy: &[f64]) -> Vec<u8> {
    let header = ["x", "y", "loss", "accuracy"].into_iter().map(|name| Cell::Text(name.into()));
    let columns = surface.x_axis.values.len().max(1);
    let number = |value: Option<&f64>| value.filter(|v| v.is_finite()).map_or(Cell::Missing, |&v| Cell::Number(v));
    let lines = surface.loss.iter().enumerate().map(|(place, loss)| {
        vec![
            number(surface.x_axis.values.get(place % columns)),
            number(surface.y_axis.values.get(place / columns)),
            number(Some(loss)),
            number(accuracy.get(place)),
        ]
    });
    csv_bytes(header, lines)
}

/// A curve as CSV: `x, y`, one line per point. Ordinates that are not finite are empty.
pub fn points_csv(x: &[f64], y: &[f64]) -> Vec<u8> {
    let header = ["x", "y"].into_iter().map(|name| Cell::Text(name.into()));
    let number = |&value: &f64| if value.is_finite() { Cell::Number(value) } else { Cell::Missing };
    csv_bytes(header, x.iter().zip(y).map(|(x, y)| vec![number(x), number(y)]))
}

/// One range of heights for all `surfaces`: it holds every finite height, every proposed range and 0, and is widened to round
/// numbers. `(-1, 1)` where nothing is finite.
pub fn shared_range(surfaces: &[Surface]) -> (f64, f64) {
    range_of(surfaces.iter())
}

/// [`shared_range`] of a selection.
pub(crate) fn range_of<'a>(surfaces: impl Iterator<Item = &'a Surface>) -> (f64, f64) {
    let mut low = 0.0_f64;
    let mut high = 0.0_f64;
    for surface in surfaces {
        let (rows, columns) = (surface.y_axis.values.len(), surface.x_axis.values.len());
        let heights = (0..rows).flat_map(|j| (0..columns).map(move |i| surface.height(i, j)));
        let proposed = surface.range.into_iter().flat_map(|(low, high)| [low, high]);
        for height in heights.chain(proposed).filter(|height| height.is_finite()) {
            low = low.min(height);
            high = high.max(height);
        }
    }
    if low == high {
        return (-1.0, 1.0);
    }
    let step = round_step(high - low, 5);
    ((low / step).floor() * step, (high / step).ceil() * step)
}

/// A step of 1, 2 or 5 times a power of ten that divides `span` into about `parts`.
pub(crate) fn round_step(span: f64, parts: usize) -> f64 {
    let rough = span / parts as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powi(rough.log10().floor() as i32);
    let digit = rough / power;
    power
        * if digit < 1.5 {
            1.0
        } else if digit < 3.5 {
            2.0
        } else if digit < 7.5 {
            5.0
        } else {
            10.0
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Surface {
        Surface {
            kind: "likelihood".into(),
            x_axis: Axis { name: "d".into(), values: vec![-0.5, 0.5] },
            y_axis: Axis { name: "e".into(), values: vec![-1.0, 1.0] },
            z: vec![-3.0, f64::NEG_INFINITY, f64::NAN, 0.25],
            loss: vec![1.0, 2.0, 3.0],
            predicted: vec![0, 1, 2, 3],
            ..Surface::default()
        }
    }

    #[test]
    fn csv_has_one_line_per_cell_and_empty_cells_where_a_grid_ends() {
        let text = String::from_utf8(surface_csv(&tiny())).unwrap();
        assert_eq!(text, "x,y,delta_log_p,loss,predicted\n-0.5,-1,-3,1,0\n0.5,-1,-inf,2,1\n-0.5,1,NaN,3,2\n0.5,1,0.25,,3\n");
    }

    #[test]
    fn json_keeps_what_is_not_finite() {
        let json = serde_json::to_string(&tiny()).unwrap();
        assert!(json.contains("[-3.0,\"-inf\",\"NaN\",0.25]"), "{json}");
        let back: Surface = serde_json::from_str(&json).unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", tiny()));
    }

    #[test]
    fn the_shared_range_holds_all_finite_heights_and_zero() {
        assert_eq!(shared_range(&[tiny()]), (-3.0, 0.5));
        assert_eq!(shared_range(&[]), (-1.0, 1.0));
        assert_eq!(shared_range(&[Surface { range: Some((-12.0, -1.0)), ..tiny() }]), (-12.0, 2.0));
    }

    #[test]
    fn thinning_keeps_the_clean_sample_and_the_places() {
        for (count, lines, left) in [(41, 41, 41), (41, 25, 21), (41, 21, 21), (101, 41, 33), (7, 3, 3)] {
            let values: Vec<f64> = (0..count).map(|k| f64::from(k - count / 2)).collect();
            let z = values.iter().flat_map(|y| values.iter().map(move |x| 1000.0 * y + x)).collect();
            let axis = Axis { name: String::new(), values };
            let surface = Surface { x_axis: axis.clone(), y_axis: axis, z, ..Surface::default() }.thinned(lines);
            assert_eq!(surface.x_axis.values.len(), left, "{count} {lines}");
            assert!(surface.x_axis.values.contains(&0.0));
            for (j, y) in surface.y_axis.values.iter().enumerate() {
                for (i, x) in surface.x_axis.values.iter().enumerate() {
                    assert_eq!(surface.height(i, j), 1000.0 * y + x);
                }
            }
        }
    }

    #[test]
    fn a_ring_is_the_ball_of_its_radius_at_the_height_of_the_surface() {
        let axis = Axis { name: String::new(), values: vec![-0.2, -0.1, 0.0, 0.1, 0.2] };
        // a plane, so that bilinear heights are exact
        let z = axis.values.iter().flat_map(|y| axis.values.iter().map(move |x| 3.0 * x - 2.0 * y)).collect();
        let surface = Surface { x_axis: axis.clone(), y_axis: axis, z, radii: vec![0.1, 0.2, 0.3, -1.0], ..Surface::default() };
        let rings = surface.rings();
        assert_eq!(rings.len(), 2, "a radius beyond the grid is not drawn");
        for (ring, radius) in rings.iter().zip([0.1, 0.2]) {
            for &(x, y, height) in ring {
                let (x, y) = (0.2 * x, 0.2 * y);
                assert!((x.abs() + y.abs() - radius).abs() < 1e-12 && (height - (3.0 * x - 2.0 * y)).abs() < 1e-12);
            }
        }
        let hole = Surface { z: [vec![f64::NAN; 13], vec![0.0; 12]].concat(), ..surface };
        assert!(hole.rings()[1].iter().any(|point| point.2.is_nan()) && hole.rings()[1].iter().any(|point| point.2 == 0.0));
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([1.0, 3.0, 10.0, 18.0].map(|span| round_step(span, 5)), [0.2, 0.5, 2.0, 5.0]);
    }
}
