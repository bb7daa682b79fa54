//! Randomised smoothing: the class that the model predicts most often under normal noise, and the l2 radius in which that class
//! provably stays the most frequent one. It is a statement about the smoothed classifier and not about the model itself.

use flatscape_sdk::{Ask, Component, DType, Error, Law, Param, Program, Reduction};
use statrs::distribution::{Beta, ContinuousCDF, Normal};

use super::formulas::{argmax, one_hot};
use super::rates::give_rate;

pub(crate) fn component() -> Component {
    Component::metric("smoothing", "certified l2 radius of the classifier smoothed by normal noise, in pixel units")
        .source("Cohen, Rosenfeld and Kolter 2019, Certified adversarial robustness via randomized smoothing (arXiv:1902.02918), algorithm Certify")
        .param(Param::float("sigma", "0.25", "standard deviation of the noise, in pixel units").range(1e-6, 100.0))
        .param(Param::int("n", 1000, "draws that count; the paper takes 100,000").range(1.0, 10_000_000.0))
        .param(Param::int("n0", 100, "draws that choose the class").range(1.0, 1_000_000.0))
        .param(Param::float("alpha", "0.001", "probability that the radius is wrong").range(1e-12, 0.5))
        .build(build)
        .reduce(reduce)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (first, n, classes) = (ask.int("n0"), ask.int("n"), ask.task.classes);
    Ok(ask
        .program()
        // no clipping: the law of the noise is part of the proof
        .probe(|g| g.give("x", g.x0() + g.noise(Law::Normal, "", &[g.task().pixels()]) * g.arg("sigma")))
        .observe(move |g| {
            let vote = one_hot(g, argmax(g, g.logits()));
            let chooses = g.i().less(first as f64).cast(DType::F32).unsqueeze(&[1]);
            g.give("obs_chosen", vote * chooses);
            g.give("obs_counted", vote * (-chooses + 1.0));
        })
        .emit(move |g| {
            g.give("vec_chosen", g.observed_sum("chosen", &[classes]));
            g.give("vec_counted", g.observed_sum("counted", &[classes]));
        })
        .probes(first + n))
}

/// The largest radius σ·Φ⁻¹(p) for a lower bound p of the frequency: `None` is to abstain.
fn radius(count: f64, n: f64, alpha: f64, sigma: f64) -> Option<f64> {
    if count < 1.0 {
        return None;
    }
    let p = Beta::new(count, n - count + 1.0).ok()?.inverse_cdf(alpha);
    (p > 0.5).then(|| sigma * Normal::standard().inverse_cdf(p))
}

fn reduce(ask: &Ask, rows: &Reduction) -> Result<(), Error> {
    let (sigma, n, alpha) = (ask.float("sigma"), ask.int("n") as f64, ask.float("alpha"));
    let (chosen, counted) = (rows.vector("chosen")?, rows.vector("counted")?);
    let (mut radii, mut abstained) = (Vec::new(), 0usize);
    for (sample, &label) in rows.y().iter().enumerate() {
        let votes = chosen.row(sample);
        let class = (0..votes.len()).fold(0, |best, c| if votes[c] > votes[best] { c } else { best });
        let found = radius(counted.row(sample)[class], n, alpha, sigma);
        abstained += usize::from(found.is_none());
        // the radius of a wrong class protects nothing
        radii.push(found.filter(|_| class as i64 == label).unwrap_or(0.0));
    }
    let samples = rows.samples();
    rows.give_column("smoothing_radius", &radii)?;
    let count = |r: f64| radii.iter().filter(|&&v| v > 0.0 && v >= r).count();
    give_rate(rows, "smoothed_accuracy", count(0.0), samples)?;
    give_rate(rows, "smoothing_abstained", abstained, samples)?;
    if ask.task.norm == "l2" {
        give_rate(rows, "smoothing_certified_accuracy", count(ask.task.eps), samples)?;
    }
    let share = |r: f64| count(r) as f64 / samples as f64;
    let most = radii.iter().copied().fold(0.0, f64::max);
    let points: Vec<(f64, f64)> = (0..=100).map(|k| most * f64::from(k) / 100.0).map(|r| (r, share(r))).collect();
    rows.give_curve("smoothing_certified_accuracy", &points)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// k = n = 100,000: p = α^(1/n), radius 3.8114566σ; k = 99,000: 2.2899999σ; n = k = 1000: 2.4632626σ.
    #[test]
    fn radii_of_known_counts() {
        for (k, n, wanted) in [(1e5, 1e5, 3.811_456_6), (99e3, 1e5, 2.289_999_9), (1e3, 1e3, 2.463_262_6)] {
            let found = radius(k, n, 0.001, 1.0).expect("a radius");
            assert!((found - wanted).abs() < 2e-6, "{found} is not {wanted}");
        }
        assert_eq!(radius(500.0, 1000.0, 0.001, 1.0), None);
        assert_eq!(radius(0.0, 1000.0, 0.001, 1.0), None);
    }
}
