//! Whether a model has a likelihood. A classifier is read as the density log p(x) = LSE(f(x)) − ln Z (Grathwohl et al. 2020,
//! arXiv:1912.03263, equation 4). Where the scores are normalised, LSE(f(x)) is the same for every x: what varies is rounding. Scores
//! are judged by what they are, not by the operators that made them.

use flatscape_graph::Tensor;
use flatscape_intake::random::{Law, Place, fill};
use flatscape_intake::scores::log_sum_exp;

use super::Conditions;
use crate::attack::AttackError;
use crate::stage::StageError;
use crate::verify::Verifier;

/// Names that need a likelihood.
pub(crate) const NAMES: &[&str] = &["logp", "logp0", "logp_clean", "grad_logp", "grad_logp0"];

/// Those of them that are gradients.
pub(crate) const GRADIENTS: &[&str] = &["grad_logp", "grad_logp0"];

/// Images at which scores are looked at, and as many points drawn uniformly from the box.
const IMAGES: usize = 8;

/// The spread of LSE(f(x)) over the points, as a share of that of the scores, up to which it is constant.
const CONSTANT: f64 = 1e-3;

/// How far the sum of probabilities may be from 1.
const ONE: f64 = 1e-3;

/// Why the model has no log p(x), as a clause.
///
/// # Errors
/// The engine failed.
pub(crate) fn missing(conditions: &Conditions, verifier: &Verifier) -> Result<Option<String>, AttackError> {
    let images = IMAGES.min(conditions.dataset.len());
    let mut points: Vec<f32> = conditions.dataset.batch(0..images).x.to_vec().ok_or_else(pixels)?;
    let mut drawn = vec![0f32; IMAGES * conditions.model.shape.iter().product::<usize>()];
    fill(Law::Uniform, Place::new(0, "likelihood", "points"), &mut drawn);
    let (lo, hi) = (conditions.threat.lo, conditions.threat.hi);
    points.extend(drawn.iter().map(|v| lo + (hi - lo) * (v + 1.0) / 2.0));
    let [c, h, w] = conditions.model.shape;
    let points = Tensor::new(&[images + IMAGES, c, h, w], points).ok_or_else(pixels)?;
    Ok(normalised(&verifier.logits(&points)?))
}

fn pixels() -> AttackError {
    StageError::Result { name: "x".into() }.into()
}

/// How the scores of points are normalised, as a clause, if they are.
fn normalised(scores: &[Vec<f64>]) -> Option<String> {
    let sums: Vec<f64> = scores.iter().map(|z| z.iter().sum()).collect();
    let positive = scores.iter().flatten().all(|&z| (-ONE..=1.0 + ONE).contains(&z));
    if positive && sums.iter().all(|sum| (sum - 1.0).abs() <= ONE) {
        return Some("its scores are probabilities, which sum to 1 at every point".to_owned());
    }
    let logarithms: Vec<f64> = scores.iter().map(|z| log_sum_exp(z)).collect();
    let (all, found) = (spread(scores.iter().flatten().copied()), spread(logarithms.iter().copied()));
    let constant = logarithms.first()?;
    (found <= CONSTANT * all)
        .then(|| format!("ln Σexp of its scores is {constant:.3} at every point, as after a softmax, so log p(x) is constant"))
}

/// Largest minus smallest; NaN if one is.
fn spread(values: impl Iterator<Item = f64>) -> f64 {
    let (low, high, sound) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY, true), |(low, high, sound), v| (low.min(v), high.max(v), sound && !v.is_nan()));
    if sound { high - low } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits() -> Vec<Vec<f64>> {
        (0..12).map(|i| (0..4).map(|k| f64::from((i * 7 + k * 5) % 11) * 0.9 - 3.0).collect()).collect()
    }

    fn softmax(z: &[f64]) -> Vec<f64> {
        let sum = log_sum_exp(z);
        z.iter().map(|v| (v - sum).exp()).collect()
    }

    #[test]
    fn normalised_scores_are_found_in_every_form() {
        assert_eq!(normalised(&logits()), None);
        let log = |p: Vec<f64>| p.into_iter().map(|v| (v + 1e-7).ln()).collect::<Vec<f64>>();
        let mixture = |z: &Vec<f64>| {
            let other: Vec<f64> = z.iter().rev().map(|v| v * 0.3).collect();
            softmax(z).iter().zip(softmax(&other)).map(|(a, b)| (a + b) / 2.0).collect::<Vec<f64>>()
        };
        let forms: [(&str, Vec<Vec<f64>>); 5] = [
            ("probabilities", logits().iter().map(|z| softmax(z)).collect()),
            ("probabilities", logits().iter().map(mixture).collect()),
            ("probabilities", logits().iter().map(|z| softmax(&softmax(z))).collect()),
            ("0.000", logits().iter().map(|z| log(softmax(z))).collect()),
            ("0.000", logits().iter().map(|z| log(mixture(z))).collect()),
        ];
        for (says, scores) in forms {
            let why = normalised(&scores).unwrap_or_else(|| panic!("{scores:?} are not found to be normalised"));
            assert!(why.contains(says), "{why}");
        }
    }

    /// Small scores, cosines, and scores of which the largest is 0 have a likelihood that varies.
    #[test]
    fn other_scores_keep_their_likelihood() {
        let small: Vec<Vec<f64>> = logits().iter().map(|z| z.iter().map(|v| v * 1e-3).collect()).collect();
        let bounded: Vec<Vec<f64>> = logits().iter().map(|z| z.iter().map(|v| v.tanh()).collect()).collect();
        let behind = |z: &Vec<f64>| {
            let most = z.iter().copied().fold(f64::MIN, f64::max);
            z.iter().map(|v| v - most).collect::<Vec<f64>>()
        };
        let shifted: Vec<Vec<f64>> = logits().iter().map(behind).collect();
        for scores in [small, bounded, shifted] {
            assert_eq!(normalised(&scores), None, "{scores:?}");
        }
        assert_eq!(normalised(&[vec![f64::NAN, 1.0], vec![0.0, 1.0]]), None, "scores with NaN are not called constant");
    }
}
