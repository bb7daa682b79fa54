//! Draws rates over a budget: one line per model, an interval bar on every point. It knows numbers and their names only.

use std::collections::BTreeMap;

use plotters::prelude::*;

use crate::landscape::level;
use crate::palette::{CURVES, RULE};
use crate::record::Record;
use crate::surface::round_step;
use crate::svg::{Anchor, Canvas, Ink, Painted, fill, label, line, picture, stroke, tenths, text_style};
use crate::text::{shown, shown_to, significant};
use crate::ticks::Ticks;

/// One point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Budget, pixel units.
    pub eps: f64,
    /// The rate, in [0, 1].
    pub value: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
    /// Number of samples behind it.
    pub n: u64,
}

/// One line of a figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Whose line it is.
    pub name: String,
    /// Its points, by ascending budget.
    pub points: Vec<Point>,
}

/// Several curves over the same budget.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// One line above the picture.
    pub title: String,
    /// What the horizontal axis is.
    pub x_label: String,
    /// What the vertical axis is; its range is [0, 1].
    pub y_label: String,
    /// Whether budgets bound every pixel value, so that they are spelled in grey levels: `8/255`.
    pub grey_levels: bool,
    /// The lines.
    pub curves: Vec<Curve>,
}

const SIZE: (f64, f64) = (680.0, 340.0);
/// Left, top, right and bottom of the plot.
const PLOT: (f64, f64, f64, f64) = (34.0, 54.0, 504.0, 290.0);

/// The figure as a picture: rates from 0 to 1, interval bars, and every line named at its end. About 3 KB, and 0.4
/// for every point.
pub fn figure_svg(figure: &Figure) -> String {
    let names: Vec<&str> = figure.curves.iter().map(|curve| curve.name.as_str()).collect();
    picture(SIZE, &format!("{}: {}", figure.title, names.join(", ")), |canvas| paint(canvas, figure))
}

fn paint(canvas: &Canvas, figure: &Figure) -> Painted {
    let (left, top, right, bottom) = PLOT;
    let budgets = budgets(figure);
    let widest = budgets.last().copied().filter(|&eps| eps > 0.0).unwrap_or(1.0);
    label(canvas, (2.0, 18.0), Anchor::Start, 14.0, Ink::Bold, &figure.title, 70)?;
    label(canvas, (2.0, 35.0), Anchor::Start, 11.0, Ink::Quiet, &figure.y_label, 110)?;

    let fifths: Vec<f64> = (0..=5).map(|k| f64::from(k) / 5.0).collect();
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(tenths(top))
        .margin_right(tenths(SIZE.0 - right - MARGIN))
        .margin_bottom(tenths(SIZE.1 - bottom - FEET))
        .x_label_area_size(tenths(FEET))
        .y_label_area_size(tenths(left))
        .build_cartesian_2d(
            Ticks::new(0.0..widest * (1.0 + MARGIN / (right - left)), budgets_to_label(&budgets, widest)),
            Ticks::new(0.0..1.0, fifths),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .axis_style(stroke(RULE, 10))
        .bold_line_style(stroke(RULE, 10))
        .set_all_tick_mark_size(40)
        .label_style(text_style(11.0, Ink::Quiet))
        .x_label_formatter(&|&eps| if figure.grey_levels { level(eps) } else { significant(eps, 3) })
        .y_label_formatter(&|rate| format!("{rate:.1}"))
        .axis_desc_style(text_style(11.0, Ink::Plain))
        .x_desc(shown_to(&figure.x_label, 80))
        .draw()?;

    let up = |value: f64| bottom - (bottom - top) * value.clamp(0.0, 1.0);
    let drawn = |point: &&Point| point.value.is_finite() && point.eps.is_finite();
    let ends: Vec<f64> =
        figure.curves.iter().map(|curve| curve.points.iter().rfind(drawn).map_or(bottom, |point| up(point.value))).collect();
    let label_places = spread(&ends, 15.0, (top, bottom));
    for (place, curve) in figure.curves.iter().enumerate() {
        let colour = CURVES[place % CURVES.len()];
        // Curves are set apart by a pixel or two, so that equal bars stay visible.
        let apart = ((place as f64 - (figure.curves.len() as f64 - 1.0) / 2.0) * 2.4).clamp(-8.0, 8.0);
        let across = |eps: f64| if eps > 0.0 { eps + apart * widest / (right - left) } else { 0.0 };
        let points: Vec<&Point> = curve.points.iter().filter(drawn).collect();
        let line_through = points.iter().map(|point| (across(point.eps), point.value.clamp(0.0, 1.0)));
        let style = stroke(colour, 18);
        match place / CURVES.len() % 3 {
            0 => chart.draw_series(LineSeries::new(line_through, style))?,
            1 => chart.draw_series(DashedLineSeries::new(line_through, 70, 30, style))?,
            _ => chart.draw_series(DashedLineSeries::new(line_through, 20, 30, style))?,
        };
        for point in &points {
            let (x, y) = (across(point.eps), point.value.clamp(0.0, 1.0));
            let (low, high) = point.interval.filter(|(low, high)| low.is_finite() && high.is_finite()).unwrap_or((y, y));
            let bar = fill(colour).stroke_width(12);
            chart.draw_series([ErrorBar::new_vertical(x, low.clamp(0.0, 1.0), y, high.clamp(0.0, 1.0), bar, DOT)])?;
        }
        let Some(last) = points.last() else { continue };
        let from = left + (right - left) * across(last.eps) / widest;
        let height = label_places[place];
        line(canvas, &[(from + 5.0, up(last.value)), (right + 16.0, height), (right + 20.0, height)], stroke(colour, 7))?;
        label(canvas, (right + 24.0, height + 4.0), Anchor::Start, 11.5, Ink::Plain, &curve.name, 22)?;
    }
    Ok(())
}

/// Room right of the widest budget, for curves that are set apart.
const MARGIN: f64 = 8.0;
/// Room below the plot for the labels of its axis.
const FEET: f64 = 44.0;
/// Diameter of a point and width of its interval's bars, in tenths.
const DOT: u32 = 56;

/// Robust accuracy over the budget, from the rows: one figure per data set, split and norm, one curve per model, from its
/// `union` rows (or, without one, the lowest attack at each budget), starting at clean accuracy where that was measured.
pub fn robust_accuracy_figures(records: &[Record]) -> Vec<Figure> {
    let mut figures: Vec<((&str, &str, &str), Figure)> = Vec::new();
    let mut places: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut curves: BTreeMap<(usize, &str, &str), usize> = BTreeMap::new();
    let mut unions: BTreeMap<(usize, usize, u64), bool> = BTreeMap::new();
    for record in records.iter().filter(|record| record.metric == "robust_accuracy") {
        let (Some(eps), Some(value)) = (record.eps, record.value) else { continue };
        if !(eps.is_finite() && eps > 0.0 && value.is_finite()) {
            continue;
        }
        let norm = record.threat.split(':').next().unwrap_or_default();
        let key = (record.dataset.as_str(), record.split.as_str(), norm);
        let place = *places.entry(key).or_insert_with(|| {
            figures.push((key, empty_figure(key)));
            figures.len() - 1
        });
        let figure = &mut figures[place].1;
        let curve = *curves.entry((place, &record.model, &record.model_sha256)).or_insert_with(|| {
            figure.curves.push(Curve { name: record.model.clone(), points: Vec::new() });
            figure.curves.len() - 1
        });
        let point = Point { eps, value, interval: record.ci_low.zip(record.ci_high), n: record.n };
        let points = &mut figure.curves[curve].points;
        let is_union = record.component == "union";
        let had_union = unions.entry((place, curve, eps.to_bits())).or_insert(false);
        match points.iter_mut().find(|known| known.eps == eps) {
            None => points.push(point),
            Some(known) if (is_union && !*had_union) || (is_union == *had_union && value < known.value) => *known = point,
            Some(_) => {}
        }
        *had_union |= is_union;
    }
    let mut of_model: BTreeMap<(&str, &str), Vec<(usize, usize)>> = BTreeMap::new();
    for (&(place, model, sha256), &curve) in &curves {
        of_model.entry((model, sha256)).or_default().push((place, curve));
    }
    for record in records.iter().filter(|record| record.metric == "clean_accuracy") {
        let Some(value) = record.value.filter(|value| value.is_finite()) else { continue };
        for &(place, curve) in of_model.get(&(record.model.as_str(), record.model_sha256.as_str())).into_iter().flatten() {
            let ((dataset, split, _), figure) = &mut figures[place];
            let points = &mut figure.curves[curve].points;
            if record.dataset == *dataset && record.split == *split && points.iter().all(|point| point.eps > 0.0) {
                points.push(Point { eps: 0.0, value, interval: record.ci_low.zip(record.ci_high), n: record.n });
            }
        }
    }
    let mut figures: Vec<Figure> = figures.into_iter().map(|(_, figure)| figure).collect();
    for curve in figures.iter_mut().flat_map(|figure| &mut figure.curves) {
        curve.points.sort_by(|a, b| a.eps.total_cmp(&b.eps));
    }
    figures
}

fn empty_figure((dataset, split, norm): (&str, &str, &str)) -> Figure {
    Figure {
        title: format!("Robust accuracy on {} ({}), {}", shown(dataset), shown(split), shown(norm)),
        x_label: unit(norm).to_owned(),
        grey_levels: norm == "linf",
        y_label: "upper bound on robust accuracy, with 95 % intervals; ε = 0 is clean accuracy".to_owned(),
        curves: Vec::new(),
    }
}

/// What the budget of a threat model is, with its unit.
fn unit(norm: &str) -> &'static str {
    match norm {
        "linf" => "ε (pixel units, images in [0, 1])",
        "l2" | "l1" => "ε (norm of the whole perturbation, images in [0, 1])",
        "l0" => "changed pixels",
        "corruption" => "severity",
        _ => "radius, in the unit of the threat model",
    }
}

/// Every budget of the figure, ascending.
fn budgets(figure: &Figure) -> Vec<f64> {
    let mut budgets: Vec<f64> = figure
        .curves
        .iter()
        .flat_map(|curve| curve.points.iter().map(|point| point.eps))
        .filter(|eps| eps.is_finite() && *eps >= 0.0)
        .collect();
    budgets.push(0.0);
    budgets.sort_by(f64::total_cmp);
    budgets.dedup();
    budgets
}

/// The measured budgets where they are few, round numbers where they are many; none so close that labels would touch.
fn budgets_to_label(budgets: &[f64], widest: f64) -> Vec<f64> {
    if budgets.len() <= 9 {
        let mut labelled: Vec<f64> = Vec::new();
        for &eps in budgets {
            if labelled.last().is_none_or(|last| (eps - last) / widest > 0.1) {
                labelled.push(eps);
            }
        }
        return labelled;
    }
    let step = round_step(widest, 5);
    (0..).map(|k| f64::from(k) * step).take_while(|&eps| eps <= widest).collect()
}

/// Places near `wanted`, at least `gap` apart, within `range` where that is possible; the order of heights is kept.
fn spread(wanted: &[f64], gap: f64, range: (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]).then(a.cmp(&b)));
    let mut places = wanted.to_vec();
    let mut lowest = range.0;
    for &index in &order {
        places[index] = wanted[index].max(lowest);
        lowest = places[index] + gap;
    }
    let mut highest = range.1;
    for &index in order.iter().rev() {
        places[index] = places[index].min(highest);
        highest = places[index] - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, component: &str, eps: f64, value: f64) -> Record {
        let (metric, threat) =
            if eps > 0.0 { ("robust_accuracy", format!("linf:{eps}")) } else { ("clean_accuracy", String::new()) };
        Record {
            model: model.into(),
            dataset: "digits".into(),
            split: "test".into(),
            component: component.into(),
            threat,
            eps: Some(eps),
            metric: metric.into(),
            value: Some(value),
            n: 100,
            ..Record::default()
        }
    }

    #[test]
    fn a_curve_is_the_union_where_there_is_one_and_the_lowest_attack_elsewhere() {
        let records = [
            row("a", "fgsm", 0.2, 0.5),
            row("a", "union", 0.2, 0.41),
            row("a", "pgd", 0.2, 0.4),
            row("a", "pgd", 0.1, 0.6),
            row("a", "fgsm", 0.1, 0.7),
            row("b", "pgd", 0.1, 0.3),
            row("a", "", 0.0, 0.9),
            Record { threat: "l2:0.1".into(), ..row("a", "pgd", 0.1, 0.8) },
        ];
        let figures = robust_accuracy_figures(&records);
        let points = |figure: usize, curve: usize| {
            figures[figure].curves[curve].points.iter().map(|point| (point.eps, point.value)).collect::<Vec<_>>()
        };
        assert_eq!(
            figures.iter().map(|figure| figure.title.as_str()).collect::<Vec<_>>(),
            ["Robust accuracy on digits (test), linf", "Robust accuracy on digits (test), l2"]
        );
        assert_eq!(points(0, 0), [(0.0, 0.9), (0.1, 0.6), (0.2, 0.41)]);
        assert_eq!(points(0, 1), [(0.1, 0.3)]);
        assert_eq!(points(1, 0), [(0.0, 0.9), (0.1, 0.8)]);
    }

    #[test]
    fn a_point_is_drawn_at_its_height_with_its_interval() {
        let point = Point { eps: 8.0 / 255.0, value: 0.5, interval: Some((0.25, 0.75)), n: 10 };
        let figure = Figure {
            title: "t".into(),
            grey_levels: true,
            curves: vec![Curve { name: "<m>".into(), points: vec![point] }],
            ..Figure::default()
        };
        let svg = figure_svg(&figure);
        let (_, top, right, bottom) = PLOT;
        let height = |rate: f64| bottom - rate * (bottom - top);
        let numbers_of = |element: &str, attributes: &[&str]| -> Vec<f64> {
            let line =
                svg.lines().rfind(|line| line.starts_with(element) && line.contains(&CURVES[0].hex().to_uppercase())).unwrap();
            let after = |name: &&str| line.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap();
            attributes.iter().map(after).map(|text| text.parse::<f64>().unwrap() / 10.0).collect()
        };
        let near = |found: Vec<f64>, wanted: &[f64]| {
            assert!(found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() <= 0.2), "{found:?} {wanted:?}");
        };
        near(numbers_of("<circle", &["cx", "cy", "r"]), &[right, height(0.5), 2.8]);
        near(numbers_of("<line", &["x1", "y1", "x2", "y2"]), &[right, height(0.25), right, height(0.75)]);
        assert!(svg.contains(">8/255<") && svg.contains(">&lt;m&gt;<"));
    }

    #[test]
    fn budgets_of_other_norms_are_numbers_and_not_grey_levels() {
        let figure = |threat: &str| {
            let records = [Record { threat: threat.into(), ..row("a", "pgd", 1.0, 0.8) }];
            figure_svg(&robust_accuracy_figures(&records)[0])
        };
        assert!(figure("l2:1").contains(">1<") && !figure("l2:1").contains("/255") && figure("linf:1").contains(">255/255<"));
    }

    #[test]
    fn names_at_the_ends_do_not_collide() {
        let places = spread(&[100.0, 101.0, 99.0, 280.0, 286.0], 15.0, (46.0, 286.0));
        assert_eq!(places, [114.0, 129.0, 99.0, 271.0, 286.0]);
        assert!(spread(&[50.0; 12], 15.0, (46.0, 286.0)).windows(2).all(|pair| pair[1] - pair[0] >= 15.0));
    }
}
