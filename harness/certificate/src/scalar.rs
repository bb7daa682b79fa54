//! What is differentiated, computed on the host in double precision from the values that lead to it: the closed form against
//! which a gradient is held.

use flatscape_intake::scores::log_sum_exp;

/// A scalar of one block of values: of the logits of one sample, or of those of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Cross-entropy of every row of `classes` logits against its label, summed.
    CrossEntropy {
        /// Number of classes.
        classes: usize,
        /// One label per row.
        labels: Vec<i64>,
    },
    /// How far the label of every row of logits is behind its strongest rival, summed.
    Margin {
        /// Number of classes.
        classes: usize,
        /// One label per row.
        labels: Vec<i64>,
    },
    /// ln Σ exp of every row of `.0` logits, summed over the rows.
    LogSumExp(usize),
    /// Class `.0` of every row of `.1` logits, summed.
    Logit(usize, usize),
    /// The product with these weights, one per value of the whole batch.
    Weighted(Vec<f64>),
}

impl Scalar {
    /// The scalar of one block of values; `block` says which one.
    pub fn of(&self, values: &[f64], block: usize) -> f64 {
        match self {
            Scalar::CrossEntropy { classes, labels } => {
                let rows = values.len() / classes.max(&1);
                let row = |(i, z): (usize, &[f64])| cross_entropy(z, labels.get(block * rows + i).map_or(0, |&y| y as usize));
                values.chunks(*classes.max(&1)).enumerate().map(row).sum()
            }
            Scalar::Margin { classes, labels } => {
                let rows = values.len() / classes.max(&1);
                let row = |(i, z): (usize, &[f64])| behind(z, labels.get(block * rows + i).map_or(0, |&y| y as usize));
                values.chunks(*classes.max(&1)).enumerate().map(row).sum()
            }
            Scalar::LogSumExp(classes) => values.chunks(*classes.max(&1)).map(log_sum_exp).sum(),
            Scalar::Logit(class, classes) => values.chunks(*classes.max(&1)).filter_map(|z| z.get(*class)).sum(),
            Scalar::Weighted(weights) => {
                let own = weights.iter().skip(block * values.len());
                own.zip(values).map(|(w, z)| w * z).sum()
            }
        }
    }
}

/// −ln p_y, exact also where p_y is almost 1: ln(1 + Σ_{j≠y} exp(z_j − z_y)).
fn cross_entropy(z: &[f64], y: usize) -> f64 {
    let Some(&own) = z.get(y) else { return f64::NAN };
    let others: f64 = z.iter().enumerate().filter(|&(j, _)| j != y).map(|(_, &v)| (v - own).exp()).sum();
    if others.is_finite() { others.ln_1p() } else { log_sum_exp(z) - own }
}

/// max_{j≠y} z_j − z_y.
fn behind(z: &[f64], y: usize) -> f64 {
    let Some(&own) = z.get(y) else { return f64::NAN };
    z.iter().enumerate().filter(|&(j, _)| j != y).map(|(_, &v)| v).fold(f64::NEG_INFINITY, f64::max) - own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_keeps_its_digits_where_it_is_almost_zero_and_where_it_is_large() {
        let loss = |z: &[f64], y| Scalar::CrossEntropy { classes: z.len(), labels: vec![y] }.of(z, 0);
        assert!((loss(&[60.0, 0.0], 0) / (-60.0f64).exp() - 1.0).abs() < 1e-12);
        assert!((loss(&[0.0, 1e4], 0) - 1e4).abs() < 1e-9);
        assert!((loss(&[1.0, 1.0, 1.0], 2) - 3f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn blocks_know_their_labels_and_weights() {
        let scalar = Scalar::CrossEntropy { classes: 2, labels: vec![0, 1] };
        let z = [3.0, 0.0];
        assert!(scalar.of(&z, 0) < 0.1 && scalar.of(&z, 1) > 3.0);
        let both = scalar.of(&[3.0, 0.0, 3.0, 0.0], 0);
        assert!((both - scalar.of(&z, 0) - scalar.of(&z, 1)).abs() < 1e-12, "a batch is the sum of its rows");
        assert_eq!(Scalar::Weighted(vec![1.0, 2.0, 3.0, 4.0]).of(&[1.0, 1.0], 1), 7.0);
        assert_eq!(Scalar::Logit(1, 2).of(&[1.0, 5.0], 0), 5.0);
    }
}
