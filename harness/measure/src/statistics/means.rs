//! Intervals for a mean, and for the difference of two means on the same and on different samples.

use super::{Interval, Level, Method};

/// A mean with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Standard error of the mean (from the sample variance with n − 1); NaN for fewer than two numbers.
    pub standard_error: f64,
    /// How many numbers.
    pub n: usize,
}

impl Mean {
    /// The mean of numbers, in double precision and in their order. `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Mean> {
        if values.is_empty() {
            return None;
        }
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|v| (v - value).powi(2)).sum::<f64>();
        Some(Mean { value, standard_error: (squares / (n - 1.0) / n).sqrt(), n: values.len() })
    }

    /// Student's t 95 % interval with n − 1 degrees of freedom; `None` for fewer than two numbers or where they are not finite.
    pub fn interval(&self) -> Option<Interval> {
        self.around(self.n.checked_sub(1)? as f64, Level::NINETY_FIVE, Method::StudentT)
    }

    fn around(&self, freedom: f64, level: Level, method: Method) -> Option<Interval> {
        if !self.value.is_finite() || !self.standard_error.is_finite() {
            return None;
        }
        let half = level.t(freedom)? * self.standard_error;
        Some(Interval { low: self.value - half, high: self.value + half, method })
    }
}

/// The interval of the mean of `one − two`, two columns of the same samples in the same order: Student's t of the differences
/// with n − 1 degrees of freedom. `None` for fewer than two samples, columns of different lengths, or values that are not finite.
pub fn paired_t(one: &[f64], two: &[f64], level: Level) -> Option<Interval> {
    if one.len() != two.len() {
        return None;
    }
    let differences: Vec<f64> = one.iter().zip(two).map(|(a, b)| a - b).collect();
    let mean = Mean::of(&differences)?;
    mean.around(mean.n.checked_sub(1)? as f64, level, Method::PairedT)
}

/// The interval of mean(one) − mean(two), two columns of different samples (Welch, Biometrika 34 (1947), 28–35), with the
/// degrees of freedom of Welch and Satterthwaite. `None` for fewer than two samples on a side or values that are not finite.
pub fn welch(one: &[f64], two: &[f64], level: Level) -> Option<Interval> {
    let (one, two) = (Mean::of(one)?, Mean::of(two)?);
    let (v1, v2) = (one.standard_error.powi(2), two.standard_error.powi(2));
    let freedom = (v1 + v2).powi(2) / (v1.powi(2) / (one.n as f64 - 1.0) + v2.powi(2) / (two.n as f64 - 1.0));
    let difference = Mean { value: one.value - two.value, standard_error: (v1 + v2).sqrt(), n: one.n + two.n };
    // two constant columns have no variance and no degrees of freedom: the difference is what it is
    let freedom = if v1 + v2 == 0.0 { (difference.n - 2) as f64 } else { freedom };
    difference.around(freedom, level, Method::Welch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 2e-8, "{a} is not {b}");
    }

    /// scipy.stats.t.interval(0.95, 4, loc=3, scale=sqrt(0.5)).
    #[test]
    fn a_mean_has_its_standard_error_and_interval() {
        let mean = Mean::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).expect("five numbers");
        close(mean.value, 3.0);
        close(mean.standard_error, 0.5f64.sqrt());
        let interval = mean.interval().expect("five numbers");
        close(interval.high, 3.0 + 2.776_445_105_197_793 * 0.5f64.sqrt());
        assert!(Mean::of(&[1.0]).expect("one").interval().is_none());
        assert!(Mean::of(&[]).is_none());
    }

    const ONE: [f64; 7] = [-3.1, -2.5, -4.75, -1.0, -2.2, -3.3, -0.4];
    const TWO: [f64; 7] = [-2.9, -2.75, -6.0, -1.5, -1.9, -4.1, -1.2];

    /// scipy.stats.ttest_rel(ONE, TWO).confidence_interval(), ttest_ind(ONE, TWO[:5], equal_var=False).confidence_interval().
    #[test]
    fn differences_of_means_are_those_of_scipy() {
        let paired = paired_t(&ONE, &TWO, Level::NINETY_FIVE).expect("seven pairs");
        close(paired.low, -0.079_243_041_9);
        close(paired.high, 0.964_957_327_7);
        let apart = welch(&ONE, &TWO[..5], Level::NINETY_FIVE).expect("seven and five");
        close(apart.low, -1.698_543_877_9);
        close(apart.high, 2.789_972_449_3);
    }

    #[test]
    fn what_has_no_interval_has_none() {
        assert!(paired_t(&ONE, &TWO[..5], Level::NINETY_FIVE).is_none());
        assert!(paired_t(&[1.0], &[2.0], Level::NINETY_FIVE).is_none());
        assert!(paired_t(&[1.0, f64::NAN], &[2.0, 3.0], Level::NINETY_FIVE).is_none());
        assert!(welch(&[1.0], &TWO, Level::NINETY_FIVE).is_none());
        let same = paired_t(&ONE, &ONE, Level::NINETY_FIVE).expect("seven pairs");
        assert_eq!((same.low, same.high), (0.0, 0.0));
        let constant = welch(&[1.0, 1.0], &[3.0, 3.0, 3.0], Level::NINETY_FIVE).expect("constants");
        assert_eq!((constant.low, constant.high), (-2.0, -2.0));
    }
}
