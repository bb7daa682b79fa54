//! Draws landscapes: a shaded wire-framed surface in a box, seen from above, every model on the same scale. It does not know
//! how the heights were computed.

use crate::palette::{ALARM, INK, RULE, height_colour};
use crate::surface::{Surface, round_step};
use crate::svg::{Anchor, Ink, Svg};
use crate::text::{eps_text, significant};

/// Where the eye stands, in radians: around the vertical axis, and above the floor. The page starts from the same place.
pub(crate) const EYE: (f64, f64) = (0.62, 0.47);
/// Height of the box; its floor is 2 by 2.
pub(crate) const BOX_HEIGHT: f64 = 1.35;

/// One landscape, with its axes and colour bar. Heights and colours are on the scale `z_range`, so that pictures drawn with the
/// same range compare. Cells with a corner that is not finite are left out, not clipped. Red on the floor marks where the
/// predicted class is not that of the clean sample; the ring is the clean sample.
pub fn surface_svg(surface: &Surface, z_range: (f64, f64)) -> String {
    panel(std::slice::from_ref(surface), z_range, 1)
}

/// Several landscapes in rows of at most three (four where there are four), with one scale ([`crate::shared_range`]) and one
/// colour bar.
pub fn surfaces_svg(surfaces: &[Surface]) -> String {
    let columns = if surfaces.len() == 4 { 4 } else { surfaces.len().clamp(1, 3) };
    panel(surfaces, crate::surface::shared_range(surfaces), columns)
}

/// Size of one landscape in a panel.
const CELL: (f64, f64) = (340.0, 330.0);
/// Width of the colour bar with its ticks.
const BAR: f64 = 86.0;

fn panel(surfaces: &[Surface], range: (f64, f64), columns: usize) -> String {
    let rows = surfaces.len().div_ceil(columns).max(1);
    let (width, height) = (CELL.0 * columns as f64 + BAR, CELL.1 * rows as f64);
    let named: Vec<&str> = surfaces.iter().map(Surface::heading).collect();
    let height_name = surfaces.first().map_or("Δ log p (nats)", Surface::height_name);
    let description = format!("{height_name} around one sample, over two directions, on the scale {} to {}: {}", significant(range.0, 3), significant(range.1, 3), named.join(", "));
    let mut svg = Svg::new(width, height, &description);
    for (place, surface) in surfaces.iter().enumerate() {
        let corner = ((place % columns) as f64 * CELL.0, (place / columns) as f64 * CELL.1);
        draw(&mut svg, surface, range, corner);
    }
    colour_bar(&mut svg, (CELL.0 * columns as f64 + 4.0, height / 2.0 - 90.0), 180.0, range, height_name);
    svg.finish()
}

/// A point of the box, seen from [`EYE`]: x, y in [-1, 1] along the axes, z in [0, 1] from floor to lid.
struct View {
    centre: (f64, f64),
    zoom: f64,
}

impl View {
    fn see(&self, x: f64, y: f64, z: f64) -> (f64, f64) {
        let (around, above) = EYE;
        let right = x * around.cos() - y * around.sin();
        let away = x * around.sin() + y * around.cos();
        let up = (z - 0.5) * BOX_HEIGHT * above.cos() + away * above.sin();
        (self.centre.0 + self.zoom * right, self.centre.1 - self.zoom * up)
    }
}

fn draw(svg: &mut Svg, surface: &Surface, range: (f64, f64), corner: (f64, f64)) {
    let view = View { centre: (corner.0 + CELL.0 / 2.0 + 14.0, corner.1 + 172.0), zoom: 100.0 };
    let middle = corner.0 + CELL.0 / 2.0;
    svg.label((middle, corner.1 + 24.0), Anchor::Middle, 14.0, Ink::Bold, surface.heading(), 40);
    let subtitle = format!("sample {}, label {}", surface.sample_id, surface.label);
    svg.label((middle, corner.1 + 41.0), Anchor::Middle, 11.0, Ink::Quiet, &subtitle, 60);

    let share = |height: f64| if range.1 > range.0 { (height - range.0) / (range.1 - range.0) } else { 0.5 };
    walls(svg, &view, range, share);
    floor(svg, surface, &view);
    let left_out = hills(svg, surface, &view, range, share);
    clean_sample(svg, surface, &view, share);
    axes(svg, surface, &view);
    if left_out > 0 {
        let note = format!("{left_out} cells without a finite value are left out");
        svg.label((middle, corner.1 + CELL.1 - 4.0), Anchor::Middle, 10.0, Ink::Quiet, &note, 80);
    }
}

/// The two far walls with a line per tick of the height, and the ticks' numbers on the left.
fn walls(svg: &mut Svg, view: &View, range: (f64, f64), share: impl Fn(f64) -> f64) {
    svg.open(&format!("class=\"rule\" fill=\"none\" stroke=\"{}\" stroke-width=\".7\"", RULE.hex()));
    for corner in [(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0)] {
        svg.path(&[view.see(corner.0, corner.1, 0.0), view.see(corner.0, corner.1, 1.0)], false, "");
    }
    svg.path(&[view.see(-1.0, -1.0, 0.0), view.see(-1.0, 1.0, 0.0), view.see(1.0, 1.0, 0.0), view.see(1.0, -1.0, 0.0)], true, "");
    let ticks = ticks(range);
    for &tick in &ticks {
        let z = share(tick);
        svg.path(&[view.see(-1.0, 1.0, z), view.see(1.0, 1.0, z), view.see(1.0, -1.0, z)], false, "");
    }
    svg.close();
    for tick in ticks {
        let (x, y) = view.see(-1.0, 1.0, share(tick));
        svg.label((x - 6.0, y + 3.5), Anchor::End, 10.0, Ink::Quiet, &significant(tick, 3), 10);
    }
}

/// Marks the cells whose class is not that of the clean sample, in runs along the rows.
fn floor(svg: &mut Svg, surface: &Surface, view: &View) {
    let (xs, ys) = (&surface.x_axis.values, &surface.y_axis.values);
    let Some(clean) = centre(surface).and_then(|(i, j)| surface.class(i, j)) else { return };
    let moved = |i: usize, j: usize| surface.class(i, j).is_some_and(|class| class != clean);
    svg.open(&format!("fill=\"{}\" fill-opacity=\".4\"", ALARM.hex()));
    for j in 0..ys.len() {
        let mut i = 0;
        while i < xs.len() {
            let from = i;
            while i < xs.len() && moved(i, j) {
                i += 1;
            }
            if i > from {
                let (left, right) = (edge(from, xs.len()), edge(i, xs.len()));
                let (near, far) = (edge(j, ys.len()), edge(j + 1, ys.len()));
                svg.path(&[view.see(left, near, 0.0), view.see(right, near, 0.0), view.see(right, far, 0.0), view.see(left, far, 0.0)], true, "");
            }
            i += 1;
        }
    }
    svg.close();
}

/// The surface, from far to near; returns how many grid points have no finite height.
fn hills(svg: &mut Svg, surface: &Surface, view: &View, range: (f64, f64), share: impl Fn(f64) -> f64) -> usize {
    let (columns, rows) = (surface.x_axis.values.len(), surface.y_axis.values.len());
    svg.open(&format!("class=\"wire\" stroke=\"{}\" stroke-width=\".5\" stroke-opacity=\".45\" stroke-linejoin=\"round\"", INK.hex()));
    for j in (0..rows.saturating_sub(1)).rev() {
        for i in (0..columns.saturating_sub(1)).rev() {
            let corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)];
            let heights = corners.map(|(i, j)| surface.height(i, j));
            if heights.iter().any(|height| !height.is_finite()) {
                continue;
            }
            let points: [(f64, f64); 4] = std::array::from_fn(|k| view.see(position(corners[k].0, columns), position(corners[k].1, rows), share(heights[k])));
            let colour = height_colour(heights.iter().sum::<f64>() / 4.0, range);
            svg.path(&points, true, &format!("fill=\"{}\"", colour.hex()));
        }
    }
    svg.close();
    (0..rows).flat_map(|j| (0..columns).map(move |i| (i, j))).filter(|&(i, j)| !surface.height(i, j).is_finite()).count()
}

/// A ring on the clean sample and a line down to the floor.
fn clean_sample(svg: &mut Svg, surface: &Surface, view: &View, share: impl Fn(f64) -> f64) {
    let Some((i, j)) = centre(surface) else { return };
    let height = surface.height(i, j);
    if !height.is_finite() {
        return;
    }
    let (x, y) = (position(i, surface.x_axis.values.len()), position(j, surface.y_axis.values.len()));
    let top = view.see(x, y, share(height));
    svg.circle(top, 3.6, &format!("fill=\"#fff\" stroke=\"{}\" stroke-width=\"1.4\"", INK.hex()));
}

/// Ends and middle of both axes, and what they are.
fn axes(svg: &mut Svg, surface: &Surface, view: &View) {
    let spelled = |value: f64| if surface.in_pixels() { eps_text(value) } else { significant(value, 3) };
    for (axis, along_x) in [(&surface.x_axis, true), (&surface.y_axis, false)] {
        let (Some(&first), Some(&last)) = (axis.values.first(), axis.values.last()) else { continue };
        let at = |share: f64, out: f64| if along_x { view.see(share, -1.0 - out, 0.0) } else { view.see(-1.0 - out, share, 0.0) };
        let anchor = if along_x { Anchor::Start } else { Anchor::End };
        for (value, share) in [(first, -1.0), ((first + last) / 2.0, 0.0), (last, 1.0)] {
            let (from, to) = (at(share, 0.0), at(share, 0.05));
            svg.rule(from, to);
            let spot = at(share * 0.93, 0.1);
            let short = spelled(value).split(" ≈ ").next().unwrap_or_default().to_owned();
            svg.label((spot.0, spot.1 + 8.0), anchor, 10.0, Ink::Quiet, &short, 14);
        }
        let spot = at(-0.1, 0.42);
        let name = if along_x { "ε₁" } else { "ε₂" };
        svg.label((spot.0, spot.1 + 8.0), anchor, 11.0, Ink::Plain, name, 4);
    }
}

/// The scale as a bar of colour, with its ticks.
fn colour_bar(svg: &mut Svg, corner: (f64, f64), length: f64, range: (f64, f64), name: &str) {
    const STEPS: usize = 60;
    svg.label((corner.0, corner.1 - 12.0), Anchor::Start, 11.0, Ink::Plain, name, 40);
    let step = length / STEPS as f64;
    for k in 0..STEPS {
        let value = range.1 - (range.1 - range.0) * (k as f64 + 0.5) / STEPS as f64;
        let fill = format!("fill=\"{}\"", height_colour(value, range).hex());
        svg.rect((corner.0, corner.1 + k as f64 * step), (14.0, step + 0.3), &fill);
    }
    for tick in ticks(range) {
        let y = corner.1 + length * (range.1 - tick) / (range.1 - range.0);
        svg.rule((corner.0 + 14.0, y), (corner.0 + 18.0, y));
        svg.label((corner.0 + 22.0, y + 3.5), Anchor::Start, 10.0, Ink::Quiet, &significant(tick, 3), 10);
    }
}

/// Round numbers within a range.
pub(crate) fn ticks(range: (f64, f64)) -> Vec<f64> {
    let step = round_step(range.1 - range.0, 5);
    let first = (range.0 / step - 1e-9).ceil() as i64;
    let last = (range.1 / step + 1e-9).floor() as i64;
    if last - first > 50 { Vec::new() } else { (first..=last).map(|k| k as f64 * step).collect() }
}

/// The grid point that is the clean sample: where both axes are zero.
pub(crate) fn centre(surface: &Surface) -> Option<(usize, usize)> {
    let zero = |values: &[f64]| {
        let span = values.last()? - values.first()?;
        values.iter().position(|value| value.abs() <= 1e-6 * span)
    };
    Some((zero(&surface.x_axis.values)?, zero(&surface.y_axis.values)?))
}

/// A grid point's place in [-1, 1].
fn position(index: usize, count: usize) -> f64 {
    if count > 1 { 2.0 * index as f64 / (count - 1) as f64 - 1.0 } else { 0.0 }
}

/// The edge before a grid point, half-way to its neighbour.
fn edge(index: usize, count: usize) -> f64 {
    if count > 1 { ((2.0 * index as f64 - 1.0) / (count - 1) as f64 - 1.0).clamp(-1.0, 1.0) } else { 0.0 }
}
