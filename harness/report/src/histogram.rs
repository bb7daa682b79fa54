//! Draws samples of one quantity over common bins, and says how far they are apart. It does not know what the quantity is.

use plotters::prelude::*;

use crate::landscape::ticks;
use crate::palette::{CURVES, RULE};
use crate::svg::{Anchor, Canvas, Ink, Painted, fill, label, line, picture, stroke, text_style};
use crate::text::{fixed, shown_to, significant};
use crate::ticks::Ticks;

/// Samples of one quantity, to be drawn over each other (Lin et al. 2020, Fig. 3). Values that are not finite are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// One line above the picture.
    pub title: String,
    /// What the quantity is, with its unit.
    pub x_label: String,
    /// Name and values of each sample; the first is the one that the others are compared with.
    pub samples: Vec<(String, Vec<f64>)>,
    /// Width of the axis, where several pictures share it; the range of the samples lies in its middle. `None` takes that range.
    pub span: Option<f64>,
}

/// Bins over the range of all samples together, or over the shared width.
const BINS: usize = 100;

impl Histogram {
    /// How far sample `place` is from the first, none where one of them has no finite value: the overlap `Σ_b min(h₁, h₂)·w` of
    /// the densities h over the picture's bins of width w, which is 1 for equal and 0 for disjoint samples, and the two-sample
    /// Kolmogorov-Smirnov statistic `sup |F₁ − F₂|`.
    pub fn distance(&self, place: usize) -> Option<(f64, f64)> {
        let (first, other) = (finite(&self.samples.first()?.1), finite(&self.samples.get(place)?.1));
        if first.is_empty() || other.is_empty() {
            return None;
        }
        let (low, width) = self.bins();
        let (a, b) = (densities(&first, low, width), densities(&other, low, width));
        let overlap = a.iter().zip(&b).map(|(a, b)| a.min(*b) * width).sum::<f64>().clamp(0.0, 1.0);
        let below = |sample: &[f64], x: f64| sample.partition_point(|&value| value <= x) as f64 / sample.len() as f64;
        let steps = first.iter().chain(&other).map(|&x| (below(&first, x) - below(&other, x)).abs());
        Some((overlap, steps.fold(0.0, f64::max)))
    }

    /// How wide the range of the finite values is; 0 where there are none.
    pub fn width(&self) -> f64 {
        let (low, high) = self.range();
        if low < high { high - low } else { 0.0 }
    }

    fn range(&self) -> (f64, f64) {
        (self.samples.iter().flat_map(|(_, values)| finite(values)))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    }

    /// Where the first bin begins, and the width of all.
    fn bins(&self) -> (f64, f64) {
        let (low, high) = self.range();
        if let Some(span) = self.span.filter(|span| span.is_finite() && *span >= self.width() && low <= high)
            && span > 1e-9 * low.abs().max(high.abs())
        {
            return ((low + high - span) / 2.0, span / BINS as f64);
        }
        let span = high - low;
        let wide = span.is_finite() && span > 1e-9 * low.abs().max(high.abs());
        if wide { (low, span / BINS as f64) } else { (if low.is_finite() { low - 0.5 } else { 0.0 }, 1.0 / BINS as f64) }
    }
}

/// Mean, standard deviation and skewness `m₃/m₂^{3/2}` of the finite values, with central moments over n; NaN where undefined.
pub fn moments(values: &[f64]) -> (f64, f64, f64) {
    let values = finite(values);
    let mean_of = |term: &dyn Fn(f64) -> f64| values.iter().map(|&value| term(value)).sum::<f64>() / values.len() as f64;
    let mean = mean_of(&|value| value);
    let (m2, m3) = (mean_of(&|value| (value - mean).powi(2)), mean_of(&|value| (value - mean).powi(3)));
    (mean, m2.sqrt(), m3 / m2.powf(1.5))
}

/// The samples as densities over common bins, with their moments and their distance from the first. About 2 KB, and 6 for every sample.
pub fn histogram_svg(histogram: &Histogram) -> String {
    let names: Vec<&str> = histogram.samples.iter().map(|(name, _)| name.as_str()).collect();
    picture((710.0, 340.0), &format!("{}: {}", histogram.title, names.join(", ")), |canvas| paint(canvas, histogram))
}

fn paint(canvas: &Canvas, histogram: &Histogram) -> Painted {
    label(canvas, (2.0, 18.0), Anchor::Start, 14.0, Ink::Bold, &histogram.title, 70)?;
    label(canvas, (2.0, 35.0), Anchor::Start, 11.0, Ink::Quiet, "density over 100 bins of equal width", 110)?;
    let (low, width) = histogram.bins();
    let high = low + width * BINS as f64;
    let all: Vec<Vec<f64>> = histogram.samples.iter().map(|(_, values)| densities(&finite(values), low, width)).collect();
    let top = 1.05 * all.iter().flatten().copied().fold(0.05 / (high - low), f64::max);
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(540)
        .margin_right(2060)
        .margin_bottom(60)
        .x_label_area_size(440)
        .y_label_area_size(460)
        .build_cartesian_2d(Ticks::new(low..high, ticks((low, high))), Ticks::new(0.0..top, ticks((0.0, top))))?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().axis_style(stroke(RULE, 10)).bold_line_style(stroke(RULE, 10)).set_all_tick_mark_size(40);
    mesh.label_style(text_style(11.0, Ink::Quiet)).axis_desc_style(text_style(11.0, Ink::Plain));
    mesh.x_label_formatter(&|&x| significant(x, 4)).y_label_formatter(&|&y| significant(y, 3));
    mesh.x_desc(shown_to(&histogram.x_label, 80)).draw()?;
    for (place, (densities, (name, values))) in all.iter().zip(&histogram.samples).enumerate() {
        let colour = CURVES[place % CURVES.len()];
        let edge = |b: usize| low + width * b as f64;
        let steps = (0..BINS).flat_map(|b| [(edge(b), densities[b]), (edge(b + 1), densities[b])]);
        let outline = [(low, 0.0)].into_iter().chain(steps).chain([(high, 0.0)]);
        chart.draw_series(AreaSeries::new(outline, 0.0, RGBColor::from(colour).mix(0.22)).border_style(stroke(colour, 12)))?;
        let y = 66.0 + 58.0 * place as f64;
        line(canvas, &[(520.0, y - 4.0), (532.0, y - 4.0)], fill(colour).stroke_width(40))?;
        label(canvas, (538.0, y), Anchor::Start, 11.5, Ink::Plain, name, 20)?;
        let (mean, deviation, skewness) = moments(values);
        let mut words = vec![
            format!("mean {} · sd {}", significant(mean, 4), significant(deviation, 3)),
            format!("skewness {} · n={}", fixed(skewness, 2), finite(values).len()),
        ];
        if let Some((overlap, statistic)) = histogram.distance(place).filter(|_| place > 0) {
            words.push(format!("overlap {} · KS {}", fixed(overlap, 3), fixed(statistic, 3)));
        }
        for (row, words) in words.iter().enumerate() {
            label(canvas, (538.0, y + 14.0 * (row + 1) as f64), Anchor::Start, 11.0, Ink::Quiet, words, 40)?;
        }
    }
    Ok(())
}

/// The finite values, ascending; beyond 1e100 they count as not finite, because their cubes are.
fn finite(values: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.abs() < 1e100).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Share of the sample per bin and width; zero everywhere for an empty sample.
fn densities(sample: &[f64], low: f64, width: f64) -> Vec<f64> {
    let mut densities = vec![0.0; BINS];
    for value in sample {
        densities[(((value - low) / width) as usize).min(BINS - 1)] += 1.0 / (sample.len() as f64 * width);
    }
    densities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[&[f64]]) -> Histogram {
        let samples = samples.iter().enumerate().map(|(k, values)| (format!("<{k}>"), values.to_vec())).collect();
        Histogram { title: "t".into(), x_label: "log p".into(), samples, span: None }
    }

    #[test]
    fn distances_of_equal_disjoint_and_half_equal_samples() {
        let ramp: Vec<f64> = (0..1000).map(|k| f64::from(k) / 7.0).collect();
        let far: Vec<f64> = ramp.iter().map(|x| x + 500.0).collect();
        let half: Vec<f64> = ramp[..500].iter().chain(&far[500..]).copied().collect();
        let histogram = of(&[&ramp, &ramp, &far, &half, &[f64::NAN]]);
        for (place, overlap, statistic) in [(1, 1.0, 0.0), (2, 0.0, 1.0), (3, 0.5, 0.5)] {
            let found = histogram.distance(place).unwrap();
            assert!((found.0 - overlap).abs() < 0.02 && (found.1 - statistic).abs() < 1e-12, "{place}: {found:?}");
        }
        assert!((histogram.distance(1).unwrap().0 - 1.0).abs() < 1e-12 && histogram.distance(4).is_none());
        assert_eq!(of(&[&[2.0; 5], &[2.0; 9]]).distance(1).unwrap().1, 0.0);
    }

    #[test]
    fn moments_of_a_coin_and_of_a_symmetric_sample() {
        // p = 1/4 at 1: mean p, variance p(1 − p), skewness (1 − 2p)/√(p(1 − p)).
        let (mean, deviation, skewness) = moments(&[0.0, 0.0, 1.0, 0.0, f64::INFINITY]);
        let variance: f64 = 3.0 / 16.0;
        assert_eq!((mean, deviation), (0.25, variance.sqrt()));
        assert!((skewness - 0.5 / variance.sqrt()).abs() < 1e-12);
        assert_eq!(moments(&[-3.0, -1.0, 1.0, 3.0]).2, 0.0);
    }

    #[test]
    fn pictures_of_one_width_have_bins_of_one_width_and_their_range_in_the_middle() {
        let wide = of(&[&[0.0, 10.0]]);
        let shared = Histogram { span: Some(wide.width()), ..of(&[&[3.0, 4.0]]) };
        assert_eq!((wide.bins(), shared.bins()), ((0.0, 0.1), (-1.5, 0.1)));
        let narrow = Histogram { span: Some(0.5), ..of(&[&[3.0, 4.0]]) };
        assert_eq!(narrow.bins(), (3.0, 0.01), "a width that does not hold the range is not used");
    }

    #[test]
    fn a_picture_is_drawn_whatever_the_values() {
        for samples in [&[][..], &[&[][..]], &[&[1.0, 1.0], &[1.0]], &[&[1e300, -1e99], &[f64::NAN, 0.0]], &[&[1e16, 1e16 + 2.0]]]
        {
            let svg = histogram_svg(&of(samples));
            assert!(svg.ends_with("</svg>\n") && !svg.contains("not whole") && !svg.contains("<0>"));
        }
        let svg = histogram_svg(&of(&[&[0.0, 1.0, 4.0], &[0.0, 1.0, 4.0]]));
        assert!(
            svg.contains(">overlap 1.000 · KS 0.000<") && svg.contains(">&lt;1&gt;<") && svg.contains(">mean 1.667 · sd 1.7<")
        );
        assert_eq!(svg, histogram_svg(&of(&[&[0.0, 1.0, 4.0], &[0.0, 1.0, 4.0]])));
    }
}
