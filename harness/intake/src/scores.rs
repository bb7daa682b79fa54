//! How the scores of one sample are read: which class is predicted, and by how much. One rule for clean and for attacked points,
//! that of a deployment: the first of the largest scores.
//!
//! A score of −∞ is an answer: that class cannot be. Undefined is an answer with a NaN in it, or with +∞ twice.

/// Whether no class is predicted: a score is NaN, or two or more are +∞.
pub fn is_undefined(scores: &[f64]) -> bool {
    scores.iter().any(|z| z.is_nan()) || scores.iter().filter(|&&z| z == f64::INFINITY).count() > 1
}

/// The index of the largest score, the first of equal ones; `None` where the scores are undefined or there are none.
pub fn argmax(scores: &[f64]) -> Option<usize> {
    if is_undefined(scores) {
        return None;
    }
    let mut best: Option<(usize, f64)> = None;
    for (i, &z) in scores.iter().enumerate() {
        if best.is_none_or(|(_, b)| z > b) {
            best = Some((i, z));
        }
    }
    best.map(|(i, _)| i)
}

/// Whether another class than the label is predicted. Undefined scores predict nothing.
pub fn is_broken(scores: &[f64], label: usize) -> bool {
    argmax(scores).is_some_and(|class| class != label)
}

/// `z_y − max_{i≠y} z_i`: negative where another class is predicted, and 0 where the label shares the largest score, whichever of
/// the two comes first. NaN where the scores are undefined or the label is out of range.
pub fn margin(scores: &[f64], label: usize) -> f64 {
    let Some(&own) = scores.get(label).filter(|_| !is_undefined(scores)) else { return f64::NAN };
    let rival = scores.iter().enumerate().filter(|&(i, _)| i != label).map(|(_, &z)| z).fold(f64::NEG_INFINITY, f64::max);
    // −∞ − −∞ is a tie and not NaN
    if own == rival { 0.0 } else { own - rival }
}

/// Whether the label's score is the largest and another class has the same: the prediction then rests on the order of classes.
pub fn is_tied(scores: &[f64], label: usize) -> bool {
    margin(scores, label) == 0.0
}

/// ln Σ exp z.
pub fn log_sum_exp(z: &[f64]) -> f64 {
    let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + z.iter().map(|v| (v - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: f64 = f64::NEG_INFINITY;
    const HIGH: f64 = f64::INFINITY;

    /// Scores, the label, the predicted class, the margin, whether the label is tied.
    type Case = (&'static [f64], usize, Option<usize>, f64, bool);

    #[test]
    fn the_first_of_the_largest_is_predicted() {
        let cases: &[Case] = &[
            (&[1.0, 3.0, 2.0], 1, Some(1), 1.0, false),
            (&[1.0, 3.0, 2.0], 2, Some(1), -1.0, false),
            (&[3.0, 3.0, 2.0], 0, Some(0), 0.0, true),
            (&[3.0, 3.0, 2.0], 1, Some(0), 0.0, true),
            (&[3.0, 3.0, 2.0], 2, Some(0), -1.0, false),
            // a class that cannot be
            (&[LOW, 1.0, 0.0], 1, Some(1), 1.0, false),
            (&[LOW, 1.0, LOW], 0, Some(1), LOW, false),
            (&[LOW, LOW, 0.0], 2, Some(2), HIGH, false),
            (&[LOW, LOW, LOW], 0, Some(0), 0.0, true),
            (&[LOW, LOW, LOW], 1, Some(0), 0.0, true),
            // a class that must be
            (&[HIGH, 1.0, 0.0], 0, Some(0), HIGH, false),
            (&[HIGH, 1.0, 0.0], 1, Some(0), LOW, false),
            // nothing is predicted
            (&[HIGH, HIGH, 0.0], 0, None, f64::NAN, false),
            (&[f64::NAN, 1.0, 0.0], 1, None, f64::NAN, false),
            (&[], 0, None, f64::NAN, false),
        ];
        for &(scores, label, class, expected, tied) in cases {
            assert_eq!(argmax(scores), class, "{scores:?}");
            assert_eq!(is_broken(scores, label), class.is_some_and(|c| c != label), "{scores:?}");
            let found = margin(scores, label);
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{scores:?}: {found} is not {expected}");
            assert_eq!(is_tied(scores, label), tied, "{scores:?}");
        }
    }

    /// The sign of the margin and the prediction say the same wherever there is no tie.
    #[test]
    fn the_margin_agrees_with_the_prediction() {
        for scores in [[0.5, 0.25, 1.0], [LOW, 0.0, HIGH], [1.0, 1.0, 0.0]] {
            for label in 0..3 {
                let margin = margin(&scores, label);
                assert!(margin == 0.0 || (margin < 0.0) == is_broken(&scores, label), "{scores:?} at {label}");
            }
        }
    }
}
