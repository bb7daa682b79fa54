//! How the scores of one sample are read: which class is predicted, and by how much. One rule for clean and for attacked points.

/// Strictly misclassified: another class has a higher logit than the label's. A tie, or a NaN logit, is not.
pub fn is_broken(logits: &[f64], label: usize) -> bool {
    margin(logits, label) < 0.0
}

/// `z_y − max_{i≠y} z_i`; NaN if any logit is NaN.
pub fn margin(logits: &[f64], label: usize) -> f64 {
    if logits.iter().any(|z| z.is_nan()) {
        return f64::NAN;
    }
    let rival = logits.iter().enumerate().filter(|&(i, _)| i != label).map(|(_, &z)| z).fold(f64::NEG_INFINITY, f64::max);
    logits.get(label).map_or(f64::NAN, |own| own - rival)
}

/// The index of the largest logit, ties to the lowest; `None` if one is NaN.
pub fn argmax(logits: &[f64]) -> Option<usize> {
    if logits.iter().any(|z| z.is_nan()) {
        return None;
    }
    let mut best: Option<(usize, f64)> = None;
    for (i, &z) in logits.iter().enumerate() {
        if best.is_none_or(|(_, b)| z > b) {
            best = Some((i, z));
        }
    }
    best.map(|(i, _)| i)
}
