//! Curves that a metric gives for a whole data set, as data: a density, an accuracy by radius. What they mean is not known here.

use plotters::prelude::*;

use crate::cell::{Cell, csv_bytes};
use crate::landscape::ticks;
use crate::palette::{CURVES, RULE};
use crate::svg::{Anchor, Canvas, Ink, Painted, fill, label, line, picture, stroke, text_style};
use crate::text::{shown, significant};
use crate::ticks::Ticks;

/// A curve of one metric on one model under one threat model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataCurve {
    /// Name of the model.
    pub model: String,
    /// Threat model as written.
    pub threat: String,
    /// Id of the metric.
    pub component: String,
    /// Its arguments as written.
    pub args: String,
    /// Name of the curve.
    pub name: String,
    /// The points (x, y).
    pub points: Vec<(f64, f64)>,
}

/// `curves.csv`: `model, threat, component, args, curve, x, y`, one line per point. The rules of [`crate::results_csv`] hold.
pub fn curve_csv(curves: &[DataCurve]) -> Vec<u8> {
    let header = ["model", "threat", "component", "args", "curve", "x", "y"].map(|name| Cell::Text(name.into()));
    let lines = curves.iter().flat_map(|curve| {
        let words = [&curve.model, &curve.threat, &curve.component, &curve.args, &curve.name];
        curve.points.iter().map(move |&(x, y)| {
            let text = words.map(|word| Cell::Text(word.as_str().into()));
            text.into_iter().chain([x, y].map(Cell::Number)).collect::<Vec<_>>()
        })
    });
    csv_bytes(header.into_iter(), lines)
}

const SIZE: (f64, f64) = (560.0, 300.0);

/// Points of a line at most; where a curve has more, the lowest and the highest of every stretch are drawn.
const POINTS: usize = 800;

/// Curves that share a picture: of the same name, metric, arguments and threat model, in order of first appearance.
pub(crate) fn curve_groups(curves: &[DataCurve]) -> Vec<Vec<&DataCurve>> {
    let key = |c: &DataCurve| [&c.name, &c.component, &c.args, &c.threat].map(String::clone);
    let mut groups: Vec<Vec<&DataCurve>> = Vec::new();
    for curve in curves {
        match groups.iter_mut().find(|group| key(group[0]) == key(curve)) {
            Some(group) => group.push(curve),
            None => groups.push(vec![curve]),
        }
    }
    groups
}

/// Curves of one kind over one axis, a line per model. Points that are not finite are gaps. About 2 KB, and 0.02 for every point.
pub fn curves_svg(curves: &[&DataCurve]) -> String {
    let names: Vec<String> = curves.iter().map(|curve| shown(&curve.model)).collect();
    let mut what = curves.first().map_or_else(String::new, |curve| shown(&curve.name));
    let logarithms: Vec<DataCurve>;
    let mut curves = curves.to_vec();
    if what.ends_with(DENSITY) && curves.iter().flat_map(|c| &c.points).all(|(_, y)| *y >= 0.0 || y.is_nan()) {
        what.push_str(", log10");
        logarithms = curves.iter().map(|curve| in_decades(curve)).collect();
        curves = logarithms.iter().collect();
    }
    let curves = curves.as_slice();
    picture(SIZE, &format!("{what}: {}", names.join(", ")), |canvas| paint(canvas, curves, &what))
}

/// How densities of eigenvalues are called: they fall by decades, and are drawn by their logarithms.
const DENSITY: &str = "_density";

/// Decades below the largest value that are drawn.
const DECADES: f64 = 6.0;

fn in_decades(curve: &DataCurve) -> DataCurve {
    let top = curve.points.iter().map(|p| p.1).filter(|y| y.is_finite()).fold(f64::MIN_POSITIVE, f64::max).log10();
    let points = curve.points.iter().map(|&(x, y)| (x, if y.is_nan() { y } else { y.log10().max(top - DECADES) })).collect();
    DataCurve { points, ..curve.clone() }
}

/// The points of a part of a curve that are drawn.
fn drawn(part: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if part.len() <= POINTS {
        return part.to_vec();
    }
    let stretch = part.len().div_ceil(POINTS / 2);
    let ends = part.chunks(stretch).flat_map(|points| {
        let at = |better: fn(f64, f64) -> bool| {
            (1..points.len()).fold(0, |best, i| if better(points[i].1, points[best].1) { i } else { best })
        };
        let (low, high) = (at(|a, b| a < b), at(|a, b| a > b));
        let mut both = vec![low.min(high), low.max(high)];
        both.dedup();
        both.into_iter().map(|i| points[i]).collect::<Vec<_>>()
    });
    ends.collect()
}

fn paint(canvas: &Canvas, curves: &[&DataCurve], title: &str) -> Painted {
    let all = || curves.iter().flat_map(|curve| &curve.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let (x, y) = (covered(all().map(|p| p.0)), covered(all().map(|p| p.1)));
    label(canvas, (2.0, 18.0), Anchor::Start, 14.0, Ink::Bold, title, 64)?;
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(300 + 160 * curves.len().div_ceil(2) as i32)
        .margin_right(140)
        .margin_bottom(60)
        .x_label_area_size(340)
        .y_label_area_size(560)
        .build_cartesian_2d(Ticks::new(x.0..x.1, ticks(x)), Ticks::new(y.0..y.1, ticks(y)))?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().axis_style(stroke(RULE, 10)).bold_line_style(stroke(RULE, 10)).set_all_tick_mark_size(40);
    mesh.label_style(text_style(11.0, Ink::Quiet)).axis_desc_style(text_style(11.0, Ink::Plain));
    mesh.x_label_formatter(&|&x| significant(x, 4)).y_label_formatter(&|&y| significant(y, 3)).draw()?;
    for (place, curve) in curves.iter().enumerate() {
        let colour = CURVES[place % CURVES.len()];
        for part in curve.points.split(|(x, y)| !x.is_finite() || !y.is_finite()).filter(|part| !part.is_empty()) {
            chart.draw_series(LineSeries::new(drawn(part), stroke(colour, 18)))?;
        }
        let corner = (58.0 + 250.0 * (place % 2) as f64, 36.0 + 16.0 * (place / 2) as f64);
        line(canvas, &[(corner.0, corner.1 - 4.0), (corner.0 + 14.0, corner.1 - 4.0)], fill(colour).stroke_width(40))?;
        label(canvas, (corner.0 + 20.0, corner.1), Anchor::Start, 11.5, Ink::Plain, &curve.model, 34)?;
    }
    Ok(())
}

/// What an axis covers: every number and a little room.
fn covered(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match (low.is_finite(), low < high) {
        (false, _) => (0.0, 1.0),
        (true, false) => (low - 0.5, low + 0.5),
        (true, true) => (low - 0.02 * (high - low), high + 0.02 * (high - low)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_a_line_per_point() {
        let curve = DataCurve {
            model: "a,b".into(),
            component: "logp".into(),
            name: "logp_clean".into(),
            points: vec![(0.5, 2.0), (1.5, f64::NAN)],
            ..DataCurve::default()
        };
        let text = String::from_utf8(curve_csv(&[curve])).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["model,threat,component,args,curve,x,y", "\"a,b\",,logp,,logp_clean,0.5,2"], "{text}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_picture_has_gaps_where_points_are_not_finite() {
        let curve = |model: &str, points: &[(f64, f64)]| DataCurve {
            model: model.into(),
            name: "loss".into(),
            points: points.to_vec(),
            ..DataCurve::default()
        };
        let whole = curves_svg(&[&curve("<b>a</b>", &[(0.0, 1.0), (0.5, 2.0), (1.0, 1.0)])]);
        assert!(whole.contains("<svg") && !whole.contains("<b>a") && whole.matches("<polyline").count() >= 1, "{whole}");
        let torn = curves_svg(&[&curve("a", &[(0.0, 1.0), (0.2, 2.0), (0.5, f64::NAN), (0.8, 2.0), (1.0, 1.0)])]);
        assert!(torn.matches("<polyline").count() > whole.matches("<polyline").count());
        assert!(curves_svg(&[]).contains("<svg") && curves_svg(&[&curve("a", &[(f64::NAN, 1.0)])]).contains("<svg"));
    }

    #[test]
    fn a_peak_among_many_points_stays() {
        let many: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), if i == 4321 { 7.0 } else { 0.0 })).collect();
        let found = drawn(&many);
        assert!(found.len() <= POINTS && found.contains(&(4321.0, 7.0)), "{}", found.len());
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "points stay in order");
        assert_eq!(drawn(&many[..POINTS]), many[..POINTS]);
    }

    #[test]
    fn densities_of_eigenvalues_are_drawn_by_decades() {
        let curve = DataCurve {
            name: "hessian_density".into(),
            points: vec![(0.0, 100.0), (1.0, 0.1), (2.0, 0.0), (3.0, f64::NAN)],
            ..DataCurve::default()
        };
        let found: Vec<f64> = in_decades(&curve).points.iter().take(3).map(|p| p.1).collect();
        assert_eq!(found, [2.0, -1.0, -4.0], "what is 0 lies at the bottom");
        assert!(in_decades(&curve).points[3].1.is_nan(), "a gap stays one");
        assert!(curves_svg(&[&curve]).contains("hessian_density, log10"));
        assert!(!curves_svg(&[&DataCurve { name: "loss".into(), ..curve }]).contains("log10"));
    }
}
