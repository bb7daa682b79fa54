//! Draws a sweep over the models of a family: accuracies above, the flatness below, model by model (Lin et al. 2020, Fig. 4). It knows
//! numbers and names.

use plotters::element::Circle;

use crate::landscape::ticks;
use crate::palette::{CURVES, Colour};
use crate::svg::{Anchor, Canvas, Ink, Painted, at, fill, label, line, picture, rule, stroke};
use crate::text::significant;

/// Φ and accuracy over the models of a family (Lin et al. 2020, Fig. 4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sweep {
    /// Family and threat model, in words.
    pub title: String,
    /// What is drawn below the accuracies, such as `phi_mean`.
    pub quantity: String,
    /// The models in the order in which the runs were named.
    pub models: Vec<SweepPoint>,
}

/// One model of a [`Sweep`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SweepPoint {
    /// Its name.
    pub name: String,
    /// Clean accuracy.
    pub clean: Option<f64>,
    /// Accuracy under attack.
    pub robust: f64,
    /// Its interval.
    pub robust_interval: Option<(f64, f64)>,
    /// The quantity.
    pub value: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
}

/// Left and right of the plots, and width per model.
const LEFT: f64 = 62.0;
const STEP: f64 = 92.0;
/// Top and bottom of the accuracies, and of the flatness.
const ABOVE: (f64, f64) = (58.0, 190.0);
const BELOW: (f64, f64) = (222.0, 340.0);
/// Most models that are drawn.
const MODELS: usize = 40;

/// The sweep as a picture: accuracy under attack with its interval and clean accuracy above, the quantity with its interval below. About
/// 1 KB per model; at most 40 are drawn.
pub fn sweep_svg(sweep: &Sweep) -> String {
    let models = &sweep.models[..sweep.models.len().min(MODELS)];
    let width = LEFT + STEP * models.len().max(3) as f64 + 20.0;
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    picture((width, 384.0), &format!("{}: {}", sweep.title, names.join(", ")), |canvas| paint(canvas, sweep, models, width))
}

fn paint(canvas: &Canvas, sweep: &Sweep, models: &[SweepPoint], width: f64) -> Painted {
    label(canvas, (2.0, 18.0), Anchor::Start, 14.0, Ink::Bold, &sweep.title, 70)?;
    label(
        canvas,
        (2.0, 35.0),
        Anchor::Start,
        11.0,
        Ink::Quiet,
        "accuracy: filled under attack, ring clean; bars: 95 % intervals",
        90,
    )?;
    label(canvas, (2.0, BELOW.0 - 10.0), Anchor::Start, 11.0, Ink::Plain, &sweep.quantity, 60)?;
    let ends = models.iter().flat_map(|m| [Some(m.value), m.interval.map(|i| i.0), m.interval.map(|i| i.1)]).flatten();
    let (low, high) = ends.filter(|v| v.is_finite()).fold((0.0_f64, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    let range = if low < high { (low, high) } else { (-1.0, 1.0) };
    for (top, bottom, range) in [(ABOVE.0, ABOVE.1, (0.0, 1.0)), (BELOW.0, BELOW.1, range)] {
        for tick in ticks(range) {
            let y = bottom - (bottom - top) * (tick - range.0) / (range.1 - range.0);
            rule(canvas, (LEFT, y), (width - 16.0, y))?;
            label(canvas, (LEFT - 6.0, y + 4.0), Anchor::End, 11.0, Ink::Quiet, &significant(tick, 3), 12)?;
        }
    }
    let x = |place: usize| LEFT + STEP * (place as f64 + 0.5);
    let above = |value: f64| ABOVE.1 - (ABOVE.1 - ABOVE.0) * value.clamp(0.0, 1.0);
    let below = |value: f64| BELOW.1 - (BELOW.1 - BELOW.0) * (value - range.0) / (range.1 - range.0);
    let robust: Vec<_> = models.iter().map(|m| (m.robust, m.robust_interval)).collect();
    series(canvas, &robust, CURVES[0], x, above)?;
    let values: Vec<_> = models.iter().map(|m| (m.value, m.interval)).collect();
    series(canvas, &values, CURVES[1], x, below)?;
    for (place, model) in models.iter().enumerate() {
        if let Some(clean) = model.clean.filter(|clean| clean.is_finite()) {
            canvas.draw(&Circle::new(at((x(place), above(clean))), 38, stroke(CURVES[0], 13)))?;
        }
        // names stand on two lines by turns, so that neighbours do not touch
        let y = BELOW.1 + 16.0 + 15.0 * (place % 2) as f64;
        label(canvas, (x(place), y), Anchor::Middle, 11.0, Ink::Plain, &model.name, 26)?;
    }
    Ok(())
}

/// A value and its interval.
type Bar = (f64, Option<(f64, f64)>);

fn series(canvas: &Canvas, bars: &[Bar], colour: Colour, x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> Painted {
    let drawn: Vec<(usize, Bar)> = bars.iter().copied().enumerate().filter(|(_, bar)| bar.0.is_finite()).collect();
    let through: Vec<(f64, f64)> = drawn.iter().map(|(place, bar)| (x(*place), y(bar.0))).collect();
    if through.len() > 1 {
        line(canvas, &through, stroke(colour, 12))?;
    }
    for (place, (value, interval)) in drawn {
        if let Some((low, high)) = interval.filter(|(low, high)| low.is_finite() && high.is_finite()) {
            line(canvas, &[(x(place), y(low)), (x(place), y(high))], stroke(colour, 14))?;
        }
        canvas.draw(&Circle::new(at((x(place), y(value))), 34, fill(colour)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_drawn_whatever_the_values_and_a_name_is_text() {
        let point = |value: f64| SweepPoint { name: "<m>".into(), clean: Some(0.9), robust: 0.5, value, ..SweepPoint::default() };
        for values in [&[][..], &[f64::NAN], &[-3.0, -1.0, -0.5], &[1e300, f64::INFINITY]] {
            let models = values.iter().map(|&value| point(value)).collect();
            let sweep = Sweep { title: "</title>".into(), quantity: "phi_mean".into(), models };
            let svg = sweep_svg(&sweep);
            assert!(svg.ends_with("</svg>\n") && !svg.contains("not whole") && !svg.contains("<m>"), "{values:?}");
            assert_eq!(svg, sweep_svg(&sweep));
        }
        let svg = sweep_svg(&Sweep { models: vec![point(-1.0); 4], ..Sweep::default() });
        assert_eq!(svg.matches("<circle").count(), 12, "three marks per model");
    }
}
