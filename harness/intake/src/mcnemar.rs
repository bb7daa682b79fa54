//! Whether one of two ways is right on more samples than the other, judged on the samples on which they disagree. Knows counts.

use statrs::function::beta::checked_beta_reg;

/// The two-sided p-value of McNemar's exact test: of `gained + lost` samples that flipped, how likely is a split at least as
/// uneven if both ways were equally likely; min(1, 2 P(X ≤ min(gained, lost))) for X binomial with ½. 1 without flips.
pub fn mcnemar(gained: u64, lost: u64) -> f64 {
    let (few, all) = (gained.min(lost) as f64, gained as f64 + lost as f64);
    if gained == lost {
        return 1.0;
    }
    // P(X ≤ k) = I_½(m − k, k + 1)
    checked_beta_reg(all - few, few + 1.0, 0.5).map_or(f64::NAN, |below| (2.0 * below).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, within: f64) {
        assert!((a - b).abs() <= within, "{a} is not {b}");
    }

    /// By hand: 2·(1/2)⁷ and 2·(1 + 9 + 1)/2¹⁰; the order of the two does not matter.
    #[test]
    fn the_exact_test_by_hand() {
        close(mcnemar(7, 0), 2.0 / 128.0, 1e-15);
        close(mcnemar(1, 9), 22.0 / 1024.0, 1e-15);
        assert_eq!(mcnemar(1, 9), mcnemar(9, 1));
    }

    /// statsmodels 0.15.0, `mcnemar([[0, b], [c, 0]], exact=True).pvalue`.
    #[test]
    fn the_exact_test_is_the_binomial_one() {
        for (b, c, p) in [(1, 7, 0.0703125), (10, 30, 0.00222143377322936), (0, 5, 0.0625), (121, 59, 4.43444926375516e-06)] {
            close(mcnemar(b, c), p, 1e-12);
        }
        assert_eq!((mcnemar(0, 0), mcnemar(4, 4)), (1.0, 1.0));
    }
}
