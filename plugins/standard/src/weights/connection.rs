//! A curve of low loss between two files of one architecture: a Bézier curve or a chain with one bend that is trained. Source: Garipov et
//! al. 2018 (arXiv:1802.10026), sections 3 and 4, and the released code.

use flatscape_sdk::{Ask, Component, Error, Law, Normalisation, Param, Weights};

use super::interpolation::named;
use super::{barrier, narrow, norm, sounded, spaced, wide};

/// Points at which the finished curve is evaluated.
const POINTS: usize = 61;
const MOMENTUM: f64 = 0.9;

pub(crate) fn component() -> Component {
    Component::metric("mode-connection", "a trained curve of low loss from the model to another file of its architecture")
        .source("Garipov et al. 2018, Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs, sections 3 and 4")
        .param(Param::text("to", "none", "the other file"))
        .param(Param::choice("path", &["bezier", "chain"], "quadratic Bézier curve, or two straight pieces"))
        .param(Param::int("iterations", 200, "steps of training, each with the gradient over all samples").range(0.0, 100_000.0))
        .param(Param::float("lr", "0.015", "learning rate: constant for half of the steps, then falling to a hundredth"))
        .param(Param::float("decay", "5e-4", "weight of ‖θ(t)‖²/2"))
        // no graphs: this checks the argument before anything runs
        .build(|ask| named(ask, "mode-connection").map(|_| ask.program()))
        .weights(measure)
}

/// The coefficients of the first end, the bend and the second end at t.
fn coefficients(path: &str, t: f64) -> [f64; 3] {
    match path {
        "bezier" => [(1.0 - t).powi(2), 2.0 * t * (1.0 - t), t * t],
        _ if t < 0.5 => [1.0 - 2.0 * t, 2.0 * t, 0.0],
        _ => [0.0, 2.0 - 2.0 * t, 2.0 * t - 1.0],
    }
}

/// The factor of the learning rate: 1 until half, then linear to 0.01 at 90 %.
fn schedule(done: f64) -> f64 {
    match done {
        d if d <= 0.5 => 1.0,
        d if d <= 0.9 => 1.0 - (d - 0.5) / 0.4 * 0.99,
        _ => 0.01,
    }
}

struct Curve<'a> {
    path: &'a str,
    ends: [Vec<f64>; 2],
    bend: Vec<f64>,
}

impl Curve<'_> {
    fn at(&self, t: f64) -> Vec<f64> {
        let [a, m, b] = coefficients(self.path, t);
        let [first, last] = &self.ends;
        first.iter().zip(&self.bend).zip(last).map(|((x, y), z)| a * x + m * y + b * z).collect()
    }
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let file = named(ask, "mode-connection")?;
    let ends = [wide(weights.theta()), wide(&weights.other(file)?)];
    if ends[0] == ends[1] {
        return Err(Error::unsupported(format!("{file} has the same weights as the model: there is nothing to connect")));
    }
    let bend = ends[0].iter().zip(&ends[1]).map(|(a, b)| (a + b) / 2.0).collect();
    let mut curve = Curve { path: ask.text("path"), ends, bend };
    let normalised = weights.normalisation() == Normalisation::Present;
    trained(ask, weights, &mut curve, normalised)?;
    let t = spaced(0.0, 1.0, POINTS);
    let (mut loss, mut accuracy, mut lengths, mut before) = (Vec::new(), Vec::new(), Vec::new(), None::<Vec<f64>>);
    for &t in &t {
        let point = curve.at(t);
        let at = narrow(&point);
        // the statistics of the ends belong to no point between them
        if normalised {
            weights.refresh(Some(&at))?;
        }
        let (l, a) = sounded(weights, &at)?;
        loss.push(l);
        accuracy.push(a);
        if let Some(before) = before {
            lengths.push(norm(&point.iter().zip(&before).map(|(a, b)| a - b).collect::<Vec<_>>()));
        }
        before = Some(point);
    }
    weights.curve("connection_loss", &t, &loss)?;
    weights.curve("connection_accuracy", &t, &accuracy)?;
    let finite: Vec<f64> = loss.iter().copied().filter(|l| l.is_finite()).collect();
    weights.value("connection_holes", (t.len() - finite.len()) as f64, None, t.len())?;
    if finite.len() < t.len() {
        return Ok(());
    }
    let n = weights.samples();
    weights.value("connection_loss_min", finite.iter().copied().fold(f64::INFINITY, f64::min), None, n)?;
    weights.value("connection_loss_max", finite.iter().copied().fold(f64::NEG_INFINITY, f64::max), None, n)?;
    weights.value("connection_loss_mean", finite.iter().sum::<f64>() / t.len() as f64, None, n)?;
    weights.value("connection_loss_by_length", by_length(&finite, &lengths), None, n)?;
    if let Some(barrier) = barrier(&t, &loss) {
        weights.value("connection_barrier", barrier, None, n)?;
    }
    Ok(())
}

/// The mean along the curve by its length: the trapezoidal rule over the pieces.
fn by_length(loss: &[f64], lengths: &[f64]) -> f64 {
    let total: f64 = lengths.iter().sum();
    let pieces = lengths.iter().zip(loss.windows(2)).map(|(length, pair)| length * (pair[0] + pair[1]) / 2.0);
    if total > 0.0 { pieces.sum::<f64>() / total } else { loss.first().copied().unwrap_or(f64::NAN) }
}

/// Trains the bend by E_t ∇L(θ(t)), t uniform: descent with momentum.
fn trained(ask: &Ask, weights: &Weights, curve: &mut Curve, normalised: bool) -> Result<(), Error> {
    let steps = usize::try_from(ask.int("iterations")).map_err(|_| Error::invalid("iterations must not be negative"))?;
    let mut velocity = vec![0.0; curve.bend.len()];
    let mut drawn: Vec<f32> = Vec::new();
    for step in 0..steps {
        let place = step % weights.parameters().max(1);
        if place == 0 {
            drawn = weights.noise(Law::Uniform, 0, u32::try_from(step).unwrap_or(u32::MAX))?;
        }
        let t = (f64::from(drawn[place]) + 1.0) / 2.0;
        let point = curve.at(t);
        let at = narrow(&point);
        if normalised {
            weights.refresh(Some(&at))?;
        }
        let gradient = weights.gradient(&at)?.1;
        let share = coefficients(curve.path, t)[1];
        let lr = ask.float("lr") * schedule(step as f64 / steps as f64);
        for (((bend, velocity), g), w) in curve.bend.iter_mut().zip(&mut velocity).zip(&gradient).zip(&point) {
            *velocity = MOMENTUM * *velocity + share * (f64::from(*g) + ask.float("decay") * w);
            *bend -= lr * *velocity;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_begin_and_end_at_the_files() {
        for path in ["bezier", "chain"] {
            let curve = Curve { path, ends: [vec![1.0, 2.0], vec![-3.0, 5.0]], bend: vec![9.0, 9.0] };
            assert_eq!(curve.at(0.0), [1.0, 2.0]);
            assert_eq!(curve.at(1.0), [-3.0, 5.0]);
            assert!((coefficients(path, 0.3).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        for (found, wanted) in coefficients("bezier", 0.3).iter().zip([0.49, 0.42, 0.09]) {
            assert!((found - wanted).abs() < 1e-12);
        }
        assert_eq!(Curve { path: "chain", ends: [vec![1.0], vec![3.0]], bend: vec![7.0] }.at(0.5), [7.0]);
    }

    #[test]
    fn the_mean_by_length_of_a_constant_is_that_constant() {
        assert_eq!(by_length(&[2.0; 4], &[1.0, 5.0, 0.5]), 2.0);
        assert_eq!(by_length(&[0.0, 1.0], &[3.0]), 0.5);
        assert_eq!([schedule(0.2), schedule(0.9), schedule(1.0)].map(|s| (s * 1e6).round() / 1e6), [1.0, 0.01, 0.01]);
    }
}
