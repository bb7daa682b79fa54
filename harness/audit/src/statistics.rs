//! Numbers with their uncertainty: intervals for rates and means. Knows counts and columns of numbers, nothing of attacks.

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::beta::checked_beta_reg;

/// Two-sided 97.5 % point of the standard normal law.
const Z: f64 = 1.959_963_984_540_054;

/// How an interval was computed; all are of 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Exact for a binomial count (Clopper and Pearson 1934): covers at least 95 %.
    ClopperPearson,
    /// Wilson's score interval (1927): covers 95 % on average.
    Wilson,
    /// Student's t around a mean.
    StudentT,
}

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How it was computed.
    pub method: Method,
}

/// The Clopper-Pearson interval of `successes` out of `n`. For `n = 0` it is [0, 1].
pub fn clopper_pearson(successes: u64, n: u64) -> Interval {
    let (k, n) = (successes.min(n) as f64, n as f64);
    let low = if k == 0.0 { 0.0 } else { beta_quantile(k, n - k + 1.0, 0.025) };
    let high = if k == n { 1.0 } else { beta_quantile(k + 1.0, n - k, 0.975) };
    Interval { low, high, method: Method::ClopperPearson }
}

/// Wilson's interval of `successes` out of `n`. For `n = 0` it is [0, 1].
pub fn wilson(successes: u64, n: u64) -> Interval {
    if n == 0 {
        return Interval { low: 0.0, high: 1.0, method: Method::Wilson };
    }
    let n = n as f64;
    let p = (successes as f64).min(n) / n;
    let scale = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0), method: Method::Wilson }
}

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

    /// Student's t interval with n − 1 degrees of freedom; `None` for fewer than two numbers or where they are not finite.
    pub fn interval(&self) -> Option<Interval> {
        let law = StudentsT::new(0.0, 1.0, self.n.checked_sub(1)? as f64).ok()?;
        if !self.value.is_finite() || !self.standard_error.is_finite() {
            return None;
        }
        let half = law.inverse_cdf(0.975) * self.standard_error;
        Some(Interval { low: self.value - half, high: self.value + half, method: Method::StudentT })
    }
}

/// x with I_x(a, b) = p, by bisection of the regularised incomplete beta function.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if checked_beta_reg(a, b, middle).is_ok_and(|v| v < p) { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 2e-8, "{a} is not {b}");
    }

    /// scipy.stats.binomtest(k, n).proportion_ci(method="exact" | "wilson").
    #[test]
    fn intervals_of_rates_are_the_known_ones() {
        for (k, n, exact, score) in [
            (0, 10, (0.0, 0.30849711), (0.0, 0.27753280)),
            (5, 10, (0.18708603, 0.81291397), (0.23659309, 0.76340691)),
            (457, 1000, (0.42579062, 0.48846322), (0.42634830, 0.48798080)),
            (9145, 10000, (0.90884796, 0.91990924), (0.90885904, 0.91982263)),
        ] {
            let found = clopper_pearson(k, n);
            close(found.low, exact.0);
            close(found.high, exact.1);
            let found = wilson(k, n);
            close(found.low, score.0);
            close(found.high, score.1);
        }
        assert_eq!((clopper_pearson(10, 10).high, clopper_pearson(0, 0).high), (1.0, 1.0));
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
}
