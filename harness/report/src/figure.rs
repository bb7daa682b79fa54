//! Draws rates over a budget: one line per model, an interval bar on every point. It knows numbers and their names only.

use std::collections::BTreeMap;

use crate::palette::CURVES;
use crate::record::Record;
use crate::surface::round_step;
use crate::svg::{Anchor, Ink, Svg};
use crate::text::{eps_text, shown};

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
    /// The lines.
    pub curves: Vec<Curve>,
}

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 340.0;
/// Left, top, right and bottom of the plot.
const PLOT: (f64, f64, f64, f64) = (34.0, 54.0, 504.0, 290.0);

/// The figure as a picture: rates from 0 to 1, interval bars, and every line named at its end.
pub fn figure_svg(figure: &Figure) -> String {
    let names: Vec<&str> = figure.curves.iter().map(|curve| curve.name.as_str()).collect();
    let mut svg = Svg::new(WIDTH, HEIGHT, &format!("{}: {}", figure.title, names.join(", ")));
    let (left, top, right, bottom) = PLOT;
    let budgets: Vec<f64> = budgets(figure);
    let widest = budgets.last().copied().filter(|&eps| eps > 0.0).unwrap_or(1.0);
    let across = |eps: f64| left + (right - left) * eps / widest;
    let up = |value: f64| bottom - (bottom - top) * value.clamp(0.0, 1.0);

    svg.label((2.0, 18.0), Anchor::Start, 14.0, Ink::Bold, &figure.title, 70);
    svg.label((2.0, 35.0), Anchor::Start, 11.0, Ink::Quiet, &figure.y_label, 110);
    for k in 0..=5 {
        let value = f64::from(k) / 5.0;
        svg.rule((left, up(value)), (right, up(value)));
        svg.label((left - 8.0, up(value) + 3.5), Anchor::End, 10.5, Ink::Quiet, &format!("{value:.1}"), 8);
    }
    let mut last_label = f64::NEG_INFINITY;
    for eps in budgets_to_label(&budgets, widest) {
        let x = across(eps);
        svg.rule((x, bottom), (x, bottom + 4.0));
        if x - last_label > 46.0 {
            let short = eps_text(eps).split(" ≈ ").next().unwrap_or_default().to_owned();
            svg.label((x, bottom + 17.0), Anchor::Middle, 10.5, Ink::Quiet, &short, 14);
            last_label = x;
        }
    }
    svg.label(((left + right) / 2.0, bottom + 38.0), Anchor::Middle, 11.0, Ink::Plain, &figure.x_label, 80);

    let ends: Vec<f64> = figure
        .curves
        .iter()
        .map(|curve| curve.points.iter().rfind(|point| point.value.is_finite()).map_or(bottom, |point| up(point.value)))
        .collect();
    let label_places = spread(&ends, 15.0, (top, bottom));
    for (place, curve) in figure.curves.iter().enumerate() {
        let colour = CURVES[place % CURVES.len()].hex();
        // Curves are set apart by a pixel or two, so that equal bars stay visible.
        let shift = (place as f64 - (figure.curves.len() as f64 - 1.0) / 2.0) * 2.4;
        let shift = |eps: f64| across(eps) + if eps > 0.0 { shift.clamp(-8.0, 8.0) } else { 0.0 };
        let points: Vec<&Point> = curve.points.iter().filter(|point| point.value.is_finite() && point.eps.is_finite()).collect();
        let line: Vec<(f64, f64)> = points.iter().map(|point| (shift(point.eps), up(point.value))).collect();
        let dashes = ["", " stroke-dasharray=\"7 3\"", " stroke-dasharray=\"2 3\""][place / CURVES.len() % 3];
        svg.path(
            &line,
            false,
            &format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dashes}"),
        );
        for (point, &(x, y)) in points.iter().zip(&line) {
            if let Some((low, high)) = point.interval.filter(|(low, high)| low.is_finite() && high.is_finite()) {
                let (low, high) = (up(low), up(high));
                let bar = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\"");
                svg.path(&[(x, low), (x, high)], false, &bar);
                svg.path(&[(x - 3.0, low), (x + 3.0, low)], false, &bar);
                svg.path(&[(x - 3.0, high), (x + 3.0, high)], false, &bar);
            }
            svg.circle((x, y), 2.8, &format!("fill=\"{colour}\""));
        }
        let Some(&(x, y)) = line.last() else { continue };
        let at = label_places[place];
        svg.path(
            &[(x + 5.0, y), (right + 16.0, at), (right + 20.0, at)],
            false,
            &format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\".7\""),
        );
        svg.label((right + 24.0, at + 4.0), Anchor::Start, 11.5, Ink::Plain, &curve.name, 22);
    }
    svg.finish()
}

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
        x_label: "ε (pixel units, images in [0, 1])".to_owned(),
        y_label: "upper bound on robust accuracy, with 95 % intervals; ε = 0 is clean accuracy".to_owned(),
        curves: Vec::new(),
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

/// The measured budgets where they are few, round numbers where they are many.
fn budgets_to_label(budgets: &[f64], widest: f64) -> Vec<f64> {
    if budgets.len() <= 9 {
        return budgets.to_vec();
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
        let figure =
            Figure { title: "t".into(), curves: vec![Curve { name: "<m>".into(), points: vec![point] }], ..Figure::default() };
        let svg = figure_svg(&figure);
        let (_, top, right, bottom) = PLOT;
        let half = crate::svg::number((top + bottom) / 2.0);
        assert!(svg.contains(&format!("<circle cx=\"{}\" cy=\"{half}\" r=\"2.8\"", crate::svg::number(right))), "{svg}");
        let (low, high) = (bottom - 0.25 * (bottom - top), bottom - 0.75 * (bottom - top));
        assert!(svg.contains(&format!("M{right} {}L{right} {}", crate::svg::number(low), crate::svg::number(high))), "{svg}");
        assert!(svg.contains(">8/255<") && svg.contains(">&lt;m&gt;<"));
    }

    #[test]
    fn names_at_the_ends_do_not_collide() {
        let places = spread(&[100.0, 101.0, 99.0, 280.0, 286.0], 15.0, (46.0, 286.0));
        assert_eq!(places, [114.0, 129.0, 99.0, 271.0, 286.0]);
        assert!(spread(&[50.0; 12], 15.0, (46.0, 286.0)).windows(2).all(|pair| pair[1] - pair[0] >= 15.0));
    }
}
