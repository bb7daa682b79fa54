//! The temperature of a model: the T that minimises the mean cross-entropy of its scores divided by T (Guo et al. 2017,
//! arXiv:1706.04599, section 4.2). Scores that are multiplied by s have s·T, so what is computed from scores divided by T does
//! not know their scale.

use flatscape_intake::scores::{is_undefined, log_sum_exp};

use super::Conditions;
use crate::attack::AttackError;
use crate::verify::Verifier;

/// Images from which it is taken: the first of the run, the same for every range of samples.
const IMAGES: usize = 1000;
/// ln(1/T) is looked for between minus this and this.
const WIDEST: f64 = 10.0;

/// The temperature, from the first images of the data set; NaN where it is undetermined.
///
/// # Errors
/// The engine failed.
pub(crate) fn of(conditions: &Conditions, verifier: &Verifier) -> Result<f64, AttackError> {
    let batch = conditions.dataset.batch(0..IMAGES.min(conditions.dataset.len()));
    Ok(fitted(&verifier.logits(&batch.x)?, &batch.y).unwrap_or(f64::NAN))
}

/// `None` where no T is best: every image, or too many, are classified correctly or wrongly, whatever T.
fn fitted(scores: &[Vec<f64>], labels: &[i64]) -> Option<f64> {
    let pairs: Vec<(&[f64], usize)> = scores
        .iter()
        .zip(labels)
        .filter(|(z, label)| !is_undefined(z) && (**label as usize) < z.len())
        .map(|(z, &label)| (&z[..], label as usize))
        .collect();
    // the derivative of the mean cross-entropy by 1/T, which does not fall: mean of Σ softmax(z/T)·z − z_y
    let slope = |inverse: f64| -> f64 {
        let of = |&(z, label): &(&[f64], usize)| {
            let scaled: Vec<f64> = z.iter().map(|v| v * inverse).collect();
            let sum = log_sum_exp(&scaled);
            let mean: f64 = z.iter().zip(&scaled).filter(|(v, _)| v.is_finite()).map(|(v, s)| (s - sum).exp() * v).sum();
            mean - z[label]
        };
        pairs.iter().map(of).sum::<f64>()
    };
    let (mut low, mut high) = (-WIDEST, WIDEST);
    if !(slope(low.exp()) < 0.0 && slope(high.exp()) > 0.0) {
        return None;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if slope(middle.exp()) < 0.0 { low = middle } else { high = middle }
    }
    Some((-f64::midpoint(low, high)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 samples whose largest score is `gap` above C − 1 equal others; `right` of them are labelled so.
    fn constant_gap(gap: f64, right: usize, classes: usize) -> (Vec<Vec<f64>>, Vec<i64>) {
        let scores = vec![std::iter::once(gap).chain(vec![0.0; classes - 1]).collect(); 1000];
        (scores, (0..1000).map(|i| i64::from(i >= right)).collect())
    }

    /// T = g / ln(a(C − 1)/(1 − a)), and 100 times that for scores times 100; a shift of all scores changes nothing.
    #[test]
    fn the_temperature_of_constant_gaps() {
        for (classes, wanted) in [(10, 0.910_239_23), (2, 1.820_478_45)] {
            let (scores, labels) = constant_gap(4.0, 900, classes);
            let found = fitted(&scores, &labels).expect("a temperature");
            assert!((found - wanted).abs() < 1e-8, "{found} is not {wanted}");
            let turned =
                |by: fn(f64) -> f64| -> Vec<Vec<f64>> { scores.iter().map(|z| z.iter().map(|v| by(*v)).collect()).collect() };
            let larger = fitted(&turned(|v| 100.0 * v), &labels).expect("a temperature");
            assert!((larger / found - 100.0).abs() < 1e-9, "{larger}");
            let shifted = fitted(&turned(|v| v + 3.0), &labels).expect("a temperature");
            assert!((shifted / found - 1.0).abs() < 1e-9, "{shifted}");
        }
    }

    #[test]
    fn without_errors_there_is_none() {
        let (scores, labels) = constant_gap(4.0, 1000, 10);
        assert_eq!(fitted(&scores, &labels), None);
        let (scores, labels) = constant_gap(4.0, 50, 10);
        assert_eq!(fitted(&scores, &labels), None, "worse than chance: the flattest scores are the best");
        assert_eq!(fitted(&[vec![f64::NAN, 1.0]], &[1]), None);
    }
}
