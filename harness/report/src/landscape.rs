//! Draws landscapes: a coloured, wire-framed surface in a box, seen from above, every model on the same scale. It does not
//! know how the heights were computed.

use plotters::chart::ChartContext;
use plotters::coord::cartesian::Cartesian3d;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::palette::{ALARM, Colour, INK, OUTLINE, PAPER, RULE, height_colour};
use crate::surface::{Surface, round_step, shared_range};
use crate::svg::{Anchor, Canvas, Ink, Painted, THIN, at, fill, label, picture, rule, stroke, tenths};
use crate::text::{eps_text, significant};

/// The direction of view, in radians: around the vertical axis, and above the floor. The page starts from the same place.
pub(crate) const EYE: (f64, f64) = (0.62, 0.47);
/// Height of the box; its floor is 2 by 2.
pub(crate) const BOX_HEIGHT: f64 = 1.35;

/// One landscape, with its axes and colour bar. Heights and colours are on the scale `z_range`, so that pictures drawn with the
/// same range compare. Cells with a corner that is not finite are left out, not clipped. Red on the floor marks where the
/// predicted class is not that of the clean sample; the ring is the clean sample. About 100 bytes per cell, 160 KB for a grid
/// of 41 by 41 points.
pub fn surface_svg(surface: &Surface, z_range: (f64, f64)) -> String {
    panel(std::slice::from_ref(surface), z_range, 1)
}

/// Several landscapes side by side, at most four in a row, with one scale ([`shared_range`]) and one colour bar.
pub fn surfaces_svg(surfaces: &[Surface]) -> String {
    let columns = match surfaces.len() {
        0..=4 => surfaces.len().max(1),
        5 | 6 | 9 => 3,
        _ => 4,
    };
    panel(surfaces, shared_range(surfaces), columns)
}

/// One landscape without heading and colour bar, for a page that has its own.
pub(crate) fn bare_svg(surface: &Surface, range: (f64, f64)) -> String {
    const HEADING: f64 = 40.0;
    let size = (CELL.0, CELL.1 - HEADING);
    picture(size, &description(std::slice::from_ref(surface), range), |canvas| {
        draw(canvas, surface, range, (0.0, -HEADING), false)
    })
}

/// The scale as a bar of colour that lies below landscapes.
pub(crate) fn colour_bar_svg(range: (f64, f64), name: &str) -> String {
    const LENGTH: f64 = 240.0;
    let description = format!("{name}, from {} to {}", significant(range.0, 3), significant(range.1, 3));
    picture((LENGTH + 40.0, 46.0), &description, |canvas| {
        label(canvas, (20.0, 11.0), Anchor::Start, 11.5, Ink::Plain, name, 40)?;
        for (share, colour) in colours(range) {
            let x = 20.0 + LENGTH * share;
            let corners = [at((x, 17.0)), at((x + LENGTH / BAR_STEPS as f64 + 0.6, 27.0))];
            canvas.draw(&Rectangle::new(corners, fill(colour)))?;
        }
        for tick in ticks(range) {
            let x = 20.0 + LENGTH * (tick - range.0) / (range.1 - range.0);
            rule(canvas, (x, 27.6), (x, 31.6))?;
            label(canvas, (x, 43.0), Anchor::Middle, 11.0, Ink::Quiet, &significant(tick, 3), 10)?;
        }
        Ok(())
    })
}

/// Size of one landscape.
const CELL: (f64, f64) = (334.0, 292.0);
/// Width of the colour bar with its ticks.
const BAR: f64 = 96.0;
/// Steps of colour in a colour bar.
const BAR_STEPS: usize = 60;
/// Height of the line below the landscapes.
const CAPTION: f64 = 34.0;

fn panel(surfaces: &[Surface], range: (f64, f64), columns: usize) -> String {
    let rows = surfaces.len().div_ceil(columns).max(1);
    let (width, height) = (CELL.0 * columns as f64 + BAR, CELL.1 * rows as f64);
    picture((width, height + CAPTION), &description(surfaces, range), |canvas| {
        for (place, surface) in surfaces.iter().enumerate() {
            let corner = ((place % columns) as f64 * CELL.0, (place / columns) as f64 * CELL.1);
            draw(canvas, surface, range, corner, true)?;
        }
        let name = surfaces.first().map_or("Δ log p (nats)", Surface::height_name);
        colour_bar(canvas, (CELL.0 * columns as f64 + 10.0, height / 2.0 - 84.0), 184.0, range, name)?;
        for (line, words) in caption(surfaces, columns).iter().enumerate() {
            let y = height + CAPTION - 22.0 + 14.0 * line as f64;
            label(canvas, (width / 2.0, y), Anchor::Middle, 11.5, Ink::Quiet, words, 200)?;
        }
        Ok(())
    })
}

/// What the picture shows, for those who cannot see it.
fn description(surfaces: &[Surface], range: (f64, f64)) -> String {
    let height = surfaces.first().map_or("Δ log p (nats)", Surface::height_name);
    let named: Vec<&str> = surfaces.iter().map(Surface::heading).collect();
    let (low, high) = (significant(range.0, 3), significant(range.1, 3));
    let around = if surfaces.first().is_none_or(Surface::in_pixels) { "one sample" } else { "the weights" };
    format!("{height} around {around}, over two directions, on the scale {low} to {high}: {}", named.join(", "))
}

/// What the axes are, in one line where there is room and in two where there is not.
fn caption(surfaces: &[Surface], columns: usize) -> Vec<String> {
    let Some(surface) = surfaces.first() else { return Vec::new() };
    let axes = axes_in_words(surface);
    let dashes = radii_in_words(surface).map(|radii| format!(" · dashes: {radii}")).unwrap_or_default();
    let marks = match surface.in_pixels() {
        true => format!("ring: the clean sample · red: the predicted class changes{dashes}"),
        false => "ring: the weights of the file".to_owned(),
    };
    if columns > 2 { vec![format!("{axes} · {marks}")] } else { vec![axes, marks] }
}

/// Both directions and their extent: `ε₁: random direction d, ε₂: …; ±8/255 = ±0.0314 in pixel units`.
pub(crate) fn axes_in_words(surface: &Surface) -> String {
    let named = |name: &str, other: &str| if name.is_empty() { other.to_owned() } else { name.to_owned() };
    let (first, second) = (named(&surface.x_axis.name, "first direction"), named(&surface.y_axis.name, "second direction"));
    let mut words = format!("ε₁: {first}, ε₂: {second}");
    if let (Some(&low), Some(&high)) = (surface.x_axis.values.first(), surface.x_axis.values.last()) {
        let symmetric = (low + high).abs() <= 1e-9 * high.abs();
        let extent = |spell: &dyn Fn(f64) -> String| {
            if symmetric { format!("±{}", spell(high)) } else { format!("{} to {}", spell(low), spell(high)) }
        };
        let plain = extent(&|value| significant(value, 3));
        if surface.in_pixels() {
            let levels = extent(&level);
            let same = levels == plain;
            words += &if same { format!("; {plain} in pixel units") } else { format!("; {levels} = {plain} in pixel units") };
        } else {
            words += &format!("; {plain}");
        }
    }
    words
}

/// The marked radii that are drawn: `the ball of linf:8/255`; `None` where none is.
pub(crate) fn radii_in_words(surface: &Surface) -> Option<String> {
    let reach = surface.x_axis.values.last().copied().unwrap_or(0.0).min(surface.y_axis.values.last().copied().unwrap_or(0.0));
    let drawn: Vec<f64> =
        surface.radii.iter().copied().filter(|&radius| radius > 0.0 && radius <= reach * (1.0 + 1e-9)).collect();
    let words: Vec<String> = drawn.iter().map(|&radius| level(radius)).collect();
    let balls = if words.len() == 1 { "the ball" } else { "the balls" };
    (!words.is_empty() && !surface.rings().is_empty()).then(|| format!("{balls} of linf:{}", words.join(", ")))
}

/// A budget spelled short: `8/255` where it is a whole number of grey levels.
pub(crate) fn level(value: f64) -> String {
    let spelled = eps_text(value);
    spelled.split(" ≈ ").next().unwrap_or_default().to_owned()
}

/// The box: along ε₁ in [-1, 1], up from floor to lid in [0, 1], along ε₂ in [-1, 1].
type Scene<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian3d<RangedCoordf64, RangedCoordf64, RangedCoordf64>>;

/// A place in the box: along ε₁, along ε₂, height.
fn place(x: f64, y: f64, height: f64) -> (f64, f64, f64) {
    (x, height.clamp(-100.0, 100.0), y)
}

fn draw(canvas: &Canvas, surface: &Surface, range: (f64, f64), corner: (f64, f64), headed: bool) -> Painted {
    let zoom = zoom(surface, range);
    let middle = corner.0 + CELL.0 / 2.0;
    if headed {
        label(canvas, (middle, corner.1 + 20.0), Anchor::Middle, 15.0, Ink::Bold, surface.heading(), 34)?;
        let subtitle = surface.around(&surface.label.to_string());
        label(canvas, (middle, corner.1 + 37.0), Anchor::Middle, 11.5, Ink::Quiet, &subtitle, 60)?;
    }
    let centre = (middle + 2.0, corner.1 + 156.0);
    // What leaves the stage is pressed to its edge, so the box has room on every side.
    let (wide, high) = (150.0, 112.0);
    let stage = canvas.clone().shrink(at((centre.0 - wide, centre.1 - high)), (tenths(2.0 * wide), tenths(2.0 * high)));
    let mut scene = ChartBuilder::on(&stage).build_cartesian_3d(-1.0..1.0, 0.0..1.0, -1.0..1.0)?;
    scene.set_3d_pixel_range((tenths(2.0 * zoom), tenths(BOX_HEIGHT * zoom), tenths(2.0 * zoom)));
    scene.with_projection(|mut eye| {
        // plotters counts the second angle from above downwards.
        (eye.yaw, eye.pitch, eye.scale) = (EYE.0, -EYE.1, 1.0);
        eye.into_matrix()
    });
    let see = |x: f64, y: f64, height: f64| {
        let (across, down) = scene.plotting_area().map_coordinate(&place(x, y, height));
        (f64::from(across) / 10.0, f64::from(down) / 10.0)
    };
    let share = |height: f64| if range.1 > range.0 { (height - range.0) / (range.1 - range.0) } else { 0.5 };
    let heights: Vec<(f64, f64)> = ticks(range).into_iter().map(|tick| (tick, share(tick))).collect();
    let high = see(-1.0, 1.0, 0.0).1 - see(-1.0, 1.0, 1.0).1;
    let with_words = ticks_with_words(range, high);
    for &(tick, share) in heights.iter().filter(|(tick, _)| with_words.contains(tick)) {
        let (x, y) = see(-1.0, 1.0, share);
        label(canvas, (x - 5.0, y + 4.0), Anchor::End, 11.0, Ink::Quiet, &significant(tick, 3), 10)?;
    }
    axes(canvas, surface, see)?;
    walls(&mut scene, &heights)?;
    floor(&mut scene, surface)?;
    hills(&mut scene, surface, range, share)?;
    rings(&mut scene, surface, share)?;
    clean_sample(&mut scene, surface, share)?;
    let left_out = surface.points_without_height();
    if headed && left_out > 0 {
        let note = format!("{left_out} points without a finite value are left out");
        label(canvas, (middle, corner.1 + CELL.1 - 12.0), Anchor::Middle, 11.0, Ink::Quiet, &note, 80)?;
    }
    Ok(())
}

/// Units per unit of the box, so that the words beside it fit in its cell. Their places are at most 1.43 from its middle.
fn zoom(surface: &Surface, range: (f64, f64)) -> f64 {
    const LARGEST: f64 = 82.0;
    // a digit of 11 units in the widest of the typefaces
    const DIGIT: f64 = 7.0;
    let ends =
        [&surface.x_axis, &surface.y_axis].into_iter().flat_map(|axis| axis.values.first().into_iter().chain(axis.values.last()));
    let words = ends.map(|&value| spelled(surface, value)).chain(ticks(range).into_iter().map(|tick| significant(tick, 3)));
    let widest = words.map(|word| word.chars().count()).max().unwrap_or(0) as f64 * DIGIT;
    ((CELL.0 / 2.0 - widest - 9.0) / 1.43).clamp(LARGEST / 2.0, LARGEST)
}

/// A place on an axis in few characters: `8/255` where grey levels are short, else two digits.
pub(crate) fn spelled(surface: &Surface, value: f64) -> String {
    let levels = level(value);
    if surface.in_pixels() && levels.trim_start_matches('−').len() <= 5 { levels } else { significant(value, 2) }
}

/// The ticks of the heights that have words: so many that they do not touch where the box is `high` units high.
fn ticks_with_words(range: (f64, f64), high: f64) -> Vec<f64> {
    const APART: f64 = 12.0;
    let all = ticks(range);
    let apart = all.get(1).zip(all.first()).map_or(high, |(second, first)| high * (second - first) / (range.1 - range.0));
    let step = (APART / apart).ceil().max(1.0) as i64;
    let unit = round_step(range.1 - range.0, 5);
    all.into_iter().filter(|tick| (tick / unit).round() as i64 % step == 0).collect()
}

/// The floor, and the two far walls with a line per tick of the height.
fn walls(scene: &mut Scene, heights: &[(f64, f64)]) -> Painted {
    let uprights = [(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0)].map(|(x, y)| vec![place(x, y, 0.0), place(x, y, 1.0)]);
    let edge = [(-1.0, -1.0), (-1.0, 1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)].map(|(x, y)| place(x, y, 0.0)).to_vec();
    let levels = heights.iter().map(|&(_, z)| vec![place(-1.0, 1.0, z), place(1.0, 1.0, z), place(1.0, -1.0, z)]);
    let lines = uprights.into_iter().chain([edge]).chain(levels);
    scene.draw_series(lines.map(|line| PathElement::new(line, stroke(RULE, 8))))?;
    Ok(())
}

/// Marks the cells whose class is not that of the clean sample, in runs along the rows.
fn floor(scene: &mut Scene, surface: &Surface) -> Painted {
    let (columns, rows) = (surface.x_axis.values.len(), surface.y_axis.values.len());
    let Some(clean) = centre(surface).and_then(|(i, j)| surface.class(i, j)) else { return Ok(()) };
    let moved = |i: usize, j: usize| surface.class(i, j).is_some_and(|class| class != clean);
    for j in 0..rows {
        let mut i = 0;
        while i < columns {
            let from = i;
            while i < columns && moved(i, j) {
                i += 1;
            }
            if i > from {
                let (left, right) = (edge(from, columns), edge(i, columns));
                let (near, far) = (edge(j, rows), edge(j + 1, rows));
                let corners = [(left, near), (right, near), (right, far), (left, far)].map(|(x, y)| place(x, y, 0.0));
                scene.draw_series([Polygon::new(corners, RGBColor::from(ALARM).mix(0.4))])?;
            }
            i += 1;
        }
    }
    Ok(())
}

/// The surface, from far to near, so that a tile and its edges hide what lies behind them.
fn hills(scene: &mut Scene, surface: &Surface, range: (f64, f64), share: impl Fn(f64) -> f64) -> Painted {
    let (columns, rows) = (surface.x_axis.values.len(), surface.y_axis.values.len());
    for j in (0..rows.saturating_sub(1)).rev() {
        for i in (0..columns.saturating_sub(1)).rev() {
            let corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)];
            let heights = corners.map(|(i, j)| surface.height(i, j));
            if heights.iter().any(|height| !height.is_finite()) {
                continue;
            }
            let see = |k: usize| place(position(corners[k].0, columns), position(corners[k].1, rows), share(heights[k]));
            let tile = [see(0), see(1), see(2), see(3)];
            let colour = height_colour(heights.iter().sum::<f64>() / 4.0, range);
            scene.draw_series([Polygon::new(tile, fill(colour))])?;
            scene
                .draw_series([PathElement::new([tile.as_slice(), &tile[..1]].concat(), stroke(colour.mixed(INK, WIRE), THIN))])?;
        }
    }
    Ok(())
}

/// The balls of the marked radii as dashed lines on the surface: every second part of a line that has finite heights.
fn rings(scene: &mut Scene, surface: &Surface, share: impl Fn(f64) -> f64) -> Painted {
    for ring in surface.rings() {
        for dash in ring.windows(2).step_by(2).filter(|dash| dash.iter().all(|point| point.2.is_finite())) {
            let ends = [dash[0], dash[1]].map(|(x, y, height)| place(x, y, share(height)));
            scene.draw_series([PathElement::new(ends, stroke(PAPER, 30)), PathElement::new(ends, stroke(OUTLINE, 13))])?;
        }
    }
    Ok(())
}

/// How much darker than its tile a tile's edge is.
const WIRE: f64 = 0.42;

/// A ring on the clean sample.
fn clean_sample(scene: &mut Scene, surface: &Surface, share: impl Fn(f64) -> f64) -> Painted {
    let Some((i, j)) = centre(surface) else { return Ok(()) };
    let height = surface.height(i, j);
    if height.is_finite() {
        let (x, y) = (position(i, surface.x_axis.values.len()), position(j, surface.y_axis.values.len()));
        let middle = place(x, y, share(height));
        scene.draw_series([Circle::new(middle, 41, fill(OUTLINE)), Circle::new(middle, 27, fill(PAPER))])?;
    }
    Ok(())
}

/// Ends and middle of both axes, and their names.
fn axes(canvas: &Canvas, surface: &Surface, see: impl Fn(f64, f64, f64) -> (f64, f64)) -> Painted {
    for (axis, along_x) in [(&surface.x_axis, true), (&surface.y_axis, false)] {
        let (Some(&first), Some(&last)) = (axis.values.first(), axis.values.last()) else { continue };
        let beside = |share: f64, out: f64| if along_x { see(share, -1.0 - out, 0.0) } else { see(-1.0 - out, share, 0.0) };
        let anchor = if along_x { Anchor::Start } else { Anchor::End };
        for (value, share) in [(first, -1.0), ((first + last) / 2.0, 0.0), (last, 1.0)] {
            rule(canvas, beside(share, 0.0), beside(share, 0.05))?;
            let spot = beside(share * 0.9, 0.1);
            label(canvas, (spot.0, spot.1 + 10.0), anchor, 11.0, Ink::Quiet, &spelled(surface, value), 14)?;
        }
        let spot = beside(0.45, 0.16);
        label(canvas, (spot.0, spot.1 + 10.0), anchor, 12.5, Ink::Plain, if along_x { "ε₁" } else { "ε₂" }, 4)?;
    }
    Ok(())
}

fn colour_bar(canvas: &Canvas, corner: (f64, f64), length: f64, range: (f64, f64), name: &str) -> Painted {
    label(canvas, (corner.0, corner.1 - 12.0), Anchor::Start, 11.5, Ink::Plain, name, 40)?;
    for (share, colour) in colours(range) {
        let y = corner.1 + length * (1.0 - share);
        let corners = [at((corner.0, y - length / BAR_STEPS as f64 - 0.6)), at((corner.0 + 14.0, y))];
        canvas.draw(&Rectangle::new(corners, fill(colour)))?;
    }
    for tick in ticks(range) {
        let y = corner.1 + length * (range.1 - tick) / (range.1 - range.0);
        rule(canvas, (corner.0 + 14.6, y), (corner.0 + 18.6, y))?;
        label(canvas, (corner.0 + 22.0, y + 4.0), Anchor::Start, 11.0, Ink::Quiet, &significant(tick, 3), 10)?;
    }
    Ok(())
}

/// The steps of a colour bar: where each begins, in [0, 1), and its colour.
fn colours(range: (f64, f64)) -> impl Iterator<Item = (f64, Colour)> {
    let share = |k: usize, part: f64| (k as f64 + part) / BAR_STEPS as f64;
    (0..BAR_STEPS).map(move |k| (share(k, 0.0), height_colour(range.0 + (range.1 - range.0) * share(k, 0.5), range)))
}

/// Round numbers within a range.
pub(crate) fn ticks(range: (f64, f64)) -> Vec<f64> {
    let step = round_step(range.1 - range.0, 5);
    let first = (range.0 / step - 1e-9).ceil() as i64;
    let last = (range.1 / step + 1e-9).floor() as i64;
    if last.saturating_sub(first) > 50 { Vec::new() } else { (first..=last).map(|k| k as f64 * step).collect() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::Axis;

    fn hill(depth: f64) -> Surface {
        let lines: Vec<f64> = (-5..=5).map(|k| f64::from(k) / 5.0 * 8.0 / 255.0).collect();
        let radius = |x: f64, y: f64| (x * x + y * y).sqrt() * 255.0 / 8.0;
        let z = lines.iter().flat_map(|&y| lines.iter().map(move |&x| -depth * radius(x, y))).collect();
        let axis = |name: &str| Axis { name: name.into(), values: lines.clone() };
        Surface {
            model: "m".into(),
            kind: "likelihood".into(),
            x_axis: axis("d"),
            y_axis: axis("e"),
            z,
            predicted: vec![3; 121],
            ..Surface::default()
        }
    }

    #[test]
    fn one_tile_per_cell_and_none_where_a_corner_is_not_finite() {
        let whole = surface_svg(&hill(1.0), (-2.0, 0.0));
        let mut broken = hill(1.0);
        broken.z[0] = f64::NAN;
        broken.z[60] = f64::INFINITY;
        let holes = surface_svg(&broken, (-2.0, 0.0));
        let count = |svg: &str| svg.lines().filter(|line| line.starts_with("<polygon fill=")).count();
        assert_eq!(count(&whole), 100);
        assert_eq!(count(&holes), 100 - 1 - 4);
        assert!(holes.contains("2 points without a finite value are left out"));
        assert!(!holes.contains("NaN") && !holes.contains("inf"));
    }

    /// Typefaces differ; the widest in use has digits of 0.64 of their size.
    #[test]
    fn words_beside_the_box_are_inside_of_the_picture() {
        for (end, lowest) in [(8.0 / 255.0, -2.0), (0.1, -20.0), (0.4, -0.000_12), (1.0 / 3.0, -123_456.0), (0.012_345, -2.0)] {
            let mut surface = hill(1.0);
            for axis in [&mut surface.x_axis, &mut surface.y_axis] {
                axis.values = (-5..=5).map(|k| f64::from(k) / 5.0 * end).collect();
            }
            let svg = bare_svg(&surface, (lowest, 0.0));
            let words: Vec<&str> = svg.lines().filter(|line| line.starts_with("<text")).collect();
            assert!(words.len() > 8, "{svg}");
            for line in words {
                let number = |name: &str| -> f64 {
                    line.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
                };
                let word = line.split('>').nth(1).unwrap().trim_end_matches("</text");
                let long = word.chars().count() as f64 * 0.64 * number("font-size");
                let x = number("x");
                let (left, right) = if line.contains("text-anchor=\"end\"") { (x - long, x) } else { (x, x + long) };
                assert!(left >= 0.0 && right <= 10.0 * CELL.0, "{word} of {end} lies at {left} to {right}");
            }
        }
    }

    #[test]
    fn the_same_height_has_the_same_colour_in_every_model() {
        let colours = |surface: &Surface| -> Vec<String> {
            let svg = surface_svg(surface, (-10.0, 0.0));
            let tiles = svg.lines().filter(|line| line.starts_with("<polygon fill="));
            tiles.map(|line| line.split("fill=\"").nth(1).unwrap()[..7].to_owned()).collect()
        };
        let green =
            |colours: &[String]| colours.iter().map(|colour| i32::from_str_radix(&colour[3..5], 16).unwrap()).collect::<Vec<_>>();
        let span = |levels: Vec<i32>| levels.iter().max().unwrap() - levels.iter().min().unwrap();
        let (steep, flat) = (colours(&hill(6.0)), colours(&hill(0.1)));
        assert_eq!(steep.len(), 100);
        assert!(span(green(&steep)) > 100 && span(green(&flat)) < 5);
        let shallow: Vec<f64> = hill(6.0).z.iter().map(|z| z / 60.0).collect();
        assert_eq!(colours(&Surface { z: shallow, ..hill(6.0) }), flat);
    }

    #[test]
    fn a_picture_is_well_formed_whatever_the_data() {
        let odd = [
            Surface::default(),
            Surface { z: vec![1.0], ..hill(1.0) },
            Surface { x_axis: Axis { name: "x".into(), values: vec![0.0] }, ..hill(1.0) },
            Surface { z: vec![f64::NAN; 121], ..hill(1.0) },
            Surface { model: "</text><script>alert(1)</script>\u{0}".into(), ..hill(1e300) },
        ];
        for surface in &odd {
            for range in [(-1.0, 1.0), (0.0, 0.0), shared_range(std::slice::from_ref(surface))] {
                let svg = surface_svg(surface, range);
                assert!(!svg.contains("<script") && !svg.contains("NaN") && !svg.contains('\0'));
                assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
            }
        }
        assert_eq!(surfaces_svg(&odd), surfaces_svg(&odd));
        assert!(surfaces_svg(&[]).ends_with("</svg>\n"));
    }

    #[test]
    fn extents_are_spelled_in_pixel_units_and_grey_levels() {
        assert_eq!(axes_in_words(&hill(1.0)), "ε₁: d, ε₂: e; ±8/255 = ±0.0314 in pixel units");
    }

    #[test]
    fn cells_of_another_class_are_marked_on_the_floor() {
        let mut surface = hill(1.0);
        let marks = |surface: &Surface| surface_svg(surface, (-2.0, 0.0)).matches("<polygon opacity=\"0.4\"").count();
        assert_eq!(marks(&surface), 0);
        surface.predicted[3..6].fill(7);
        surface.predicted[40] = 1;
        assert_eq!(marks(&surface), 2);
    }
}
