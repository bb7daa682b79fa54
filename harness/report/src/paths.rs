//! Draws a quantity along the path of an attack: against the step, and against the steps since the class changed (the «uncanny
//! valley» of Walter et al. 2025). It does not know what the quantity is or how it was measured.

use plotters::prelude::*;

use crate::cell::{Cell, csv_bytes};
use crate::landscape::ticks;
use crate::palette::{CURVES, INK, RULE};
use crate::svg::{Anchor, Canvas, Ink, Painted, fill, label, line, picture, stroke, text_style};
use crate::text::{shown, shown_to, significant};
use crate::ticks::Ticks;

/// One quantity of one model along the path of one attack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathCurve {
    /// Name of the model.
    pub model: String,
    /// Threat model as written.
    pub threat: String,
    /// The attack whose path it is.
    pub attack: String,
    /// The metric that measured it, such as `relative-flatness`.
    pub metric: String,
    /// What it measured, such as `rel_petzka`.
    pub quantity: String,
    /// Whether [`PathPoint::step`] counts from the step at which the class of the sample changed, and not from the start.
    pub aligned: bool,
    /// The points, by ascending step.
    pub points: Vec<PathPoint>,
}

/// A quantity at one step, over the samples that have a value there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PathPoint {
    /// The step; where curves are aligned, the step minus that at which the class changed.
    pub step: i64,
    /// Samples that have a value at this step.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// The lower quartile over the samples.
    pub low: f64,
    /// The upper quartile over the samples.
    pub high: f64,
}

/// `paths.csv`: `model, threat, attack, metric, quantity, aligned, step, n, mean, quartile_low, quartile_high`, one line per point.
/// The rules of [`crate::results_csv`] hold.
pub fn path_csv(curves: &[PathCurve]) -> Vec<u8> {
    const HEADER: [&str; 11] =
        ["model", "threat", "attack", "metric", "quantity", "aligned", "step", "n", "mean", "quartile_low", "quartile_high"];
    let lines = curves.iter().flat_map(|curve| {
        curve.points.iter().map(move |point| {
            let words = [&curve.model, &curve.threat, &curve.attack, &curve.metric, &curve.quantity];
            let aligned = if curve.aligned { "yes" } else { "no" };
            let mut cells: Vec<Cell> = words.map(|word| Cell::Text(word.as_str().into())).into();
            cells.extend([Cell::Text(aligned.into()), Cell::Integer(point.step.into()), Cell::Integer(point.n.into())]);
            cells.extend([point.mean, point.low, point.high].map(Cell::Number));
            cells
        })
    });
    csv_bytes(HEADER.into_iter().map(|name| Cell::Text(name.into())), lines)
}

/// Curves that share a picture: the same quantity, metric, attack, threat model and kind of steps, in order of first appearance.
pub(crate) fn path_groups(curves: &[PathCurve]) -> Vec<Vec<&PathCurve>> {
    let key = |c: &PathCurve| [&c.quantity, &c.metric, &c.attack, &c.threat].map(String::clone);
    let alike = |a: &PathCurve, b: &PathCurve| a.aligned == b.aligned && key(a) == key(b);
    let mut groups: Vec<Vec<&PathCurve>> = Vec::new();
    for curve in curves {
        match groups.iter_mut().find(|group| alike(group[0], curve)) {
            Some(group) => group.push(curve),
            None => groups.push(vec![curve]),
        }
    }
    groups
}

const SIZE: (f64, f64) = (560.0, 320.0);

/// The curves of one picture: the mean as a line, the quartiles as a band. Where they are aligned, a line marks the step at which the
/// class changed. Points without a finite mean are left out. About 3 KB, and 0.1 for every point.
pub fn paths_svg(curves: &[&PathCurve]) -> String {
    let first = curves.first().copied().cloned().unwrap_or_default();
    let names: Vec<String> = curves.iter().map(|curve| shown(&curve.model)).collect();
    let title = format!("{} along {}, {}", shown(&first.quantity), shown(&first.attack), shown(&first.threat));
    picture(SIZE, &format!("{title}: {}", names.join(", ")), |canvas| paint(canvas, curves, &title, first.aligned))
}

fn paint(canvas: &Canvas, curves: &[&PathCurve], title: &str, aligned: bool) -> Painted {
    let drawn: Vec<Vec<PathPoint>> =
        curves.iter().map(|c| c.points.iter().copied().filter(|p| p.mean.is_finite()).collect()).collect();
    let (x, y) = ranges(&drawn);
    let steps = if aligned { "steps since the class changed" } else { "step of the attack" };
    label(canvas, (2.0, 18.0), Anchor::Start, 14.0, Ink::Bold, title, 64)?;
    label(
        canvas,
        (2.0, 35.0),
        Anchor::Start,
        11.0,
        Ink::Quiet,
        "line: mean over the samples; band: from quartile to quartile",
        90,
    )?;
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(460 + 160 * legend_rows(curves.len()))
        .margin_right(140)
        .margin_bottom(60)
        .x_label_area_size(440)
        .y_label_area_size(560)
        .build_cartesian_2d(Ticks::new(x.0..x.1, whole(ticks(x))), Ticks::new(y.0..y.1, ticks(y)))?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().axis_style(stroke(RULE, 10)).bold_line_style(stroke(RULE, 10)).set_all_tick_mark_size(40);
    mesh.label_style(text_style(11.0, Ink::Quiet)).axis_desc_style(text_style(11.0, Ink::Plain));
    mesh.x_label_formatter(&|&x| significant(x, 4)).y_label_formatter(&|&y| significant(y, 3));
    mesh.x_desc(shown_to(steps, 80)).draw()?;
    if aligned {
        chart.draw_series(DashedLineSeries::new([(0.0, y.0), (0.0, y.1)], 40, 30, stroke(INK, 10)))?;
    }
    for (place, (points, curve)) in drawn.iter().zip(curves).enumerate() {
        let colour = CURVES[place % CURVES.len()];
        let inside = |value: f64| value.clamp(y.0, y.1);
        let low = points.iter().map(|p| (p.step as f64, inside(p.low)));
        let high = points.iter().rev().map(|p| (p.step as f64, inside(p.high)));
        let banded = points.iter().all(|p| p.low.is_finite() && p.high.is_finite());
        if banded && points.len() > 1 {
            chart.draw_series([Polygon::new(low.chain(high).collect::<Vec<_>>(), RGBColor::from(colour).mix(0.16))])?;
        }
        let through = points.iter().map(|p| (p.step as f64, p.mean));
        match place / CURVES.len() % 2 {
            0 => chart.draw_series(LineSeries::new(through.clone(), stroke(colour, 18)))?,
            _ => chart.draw_series(DashedLineSeries::new(through.clone(), 70, 30, stroke(colour, 18)))?,
        };
        chart.draw_series(through.map(|at| Circle::new(at, 22, fill(colour))))?;
        let corner = (58.0 + 250.0 * (place % 2) as f64, 52.0 + 16.0 * (place / 2) as f64);
        line(canvas, &[(corner.0, corner.1 - 4.0), (corner.0 + 14.0, corner.1 - 4.0)], fill(colour).stroke_width(40))?;
        label(canvas, (corner.0 + 20.0, corner.1), Anchor::Start, 11.5, Ink::Plain, &curve.model, 34)?;
    }
    Ok(())
}

/// Rows of the legend above the plot: two names each.
fn legend_rows(curves: usize) -> i32 {
    curves.div_ceil(2) as i32
}

/// What both axes cover: every drawn point with its quartiles, the flip at 0 where it lies between them.
fn ranges(drawn: &[Vec<PathPoint>]) -> ((f64, f64), (f64, f64)) {
    let over = |values: &mut dyn Iterator<Item = f64>| {
        let ends = values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if ends.0 < ends.1 {
            ends
        } else if ends.0.is_finite() {
            (ends.0 - 0.5, ends.0 + 0.5)
        } else {
            (0.0, 1.0)
        }
    };
    let all = || drawn.iter().flatten();
    let (low, high) = over(&mut all().flat_map(|p| [p.mean, p.low, p.high]));
    let room = 0.04 * (high - low);
    (over(&mut all().map(|p| p.step as f64)), (low - room, high + room))
}

/// The ticks that are whole numbers.
fn whole(ticks: Vec<f64>) -> Vec<f64> {
    ticks.into_iter().filter(|tick| (tick - tick.round()).abs() < 1e-9).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(model: &str, aligned: bool, means: &[f64]) -> PathCurve {
        let from = if aligned { -2 } else { 0 };
        let point =
            |(k, &mean): (usize, &f64)| PathPoint { step: from + k as i64, n: 9, mean, low: mean - 1.0, high: mean + 2.0 };
        PathCurve {
            model: model.into(),
            threat: "linf:0.1".into(),
            attack: "pgd".into(),
            metric: "relative-flatness".into(),
            quantity: "rel_petzka".into(),
            aligned,
            points: means.iter().enumerate().map(point).collect(),
        }
    }

    #[test]
    fn a_point_is_a_line_of_the_table_and_text_is_guarded() {
        let text = String::from_utf8(path_csv(&[curve("=a", false, &[1.5, f64::NAN]), curve("b", true, &[3.0])])).unwrap();
        assert_eq!(
            text,
            "model,threat,attack,metric,quantity,aligned,step,n,mean,quartile_low,quartile_high\n\
             '=a,linf:0.1,pgd,relative-flatness,rel_petzka,no,0,9,1.5,0.5,3.5\n\
             '=a,linf:0.1,pgd,relative-flatness,rel_petzka,no,1,9,NaN,NaN,NaN\n\
             b,linf:0.1,pgd,relative-flatness,rel_petzka,yes,-2,9,3,2,5\n"
        );
    }

    #[test]
    fn curves_of_one_quantity_share_a_picture_and_aligned_ones_have_their_own() {
        let curves = [curve("a", false, &[1.0]), curve("a", true, &[1.0]), curve("<b>", false, &[2.0])];
        let groups = path_groups(&curves);
        assert_eq!(groups.iter().map(|g| (g[0].aligned, g.len())).collect::<Vec<_>>(), [(false, 2), (true, 1)]);
        let svg = paths_svg(&groups[0]);
        assert!(svg.contains(">&lt;b&gt;<") && !svg.contains("<b>") && svg.contains("step of the attack"));
    }

    #[test]
    fn the_flip_is_marked_where_curves_are_aligned_and_a_picture_is_drawn_whatever_the_values() {
        let dashes = |svg: &str| svg.matches(&format!("\"mark\" stroke=\"{}\"", INK.hex().to_uppercase())).count();
        assert_eq!(dashes(&paths_svg(&[&curve("a", false, &[1.0, 2.0, 5.0, 1.0])])), 0);
        assert!(dashes(&paths_svg(&[&curve("a", true, &[1.0, 2.0, 5.0, 1.0])])) > 3);
        for means in [&[][..], &[f64::NAN], &[1.0], &[1e300, -1e300], &[f64::INFINITY, 0.0, 0.0]] {
            let svg = paths_svg(&[&curve("a", true, means)]);
            assert!(svg.ends_with("</svg>\n") && !svg.contains("not whole"), "{means:?}");
        }
    }
}
