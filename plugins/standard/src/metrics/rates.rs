//! Shares of samples with their exact intervals.

use flatscape_sdk::{Error, Reduction};
use statrs::distribution::{Beta, ContinuousCDF};

/// Gives the share k/n with its Clopper-Pearson 95 % interval.
pub(crate) fn give_rate(rows: &Reduction, name: &str, k: usize, n: usize) -> Result<(), Error> {
    rows.give_within(name, k as f64 / n as f64, interval(k, n), n)
}

/// The Clopper-Pearson 95 % interval of k of n.
fn interval(k: usize, n: usize) -> (f64, f64) {
    let quantile = |a: usize, b: usize, p: f64| Beta::new(a as f64, b as f64).map_or(f64::NAN, |law| law.inverse_cdf(p));
    if n == 0 {
        return (f64::NAN, f64::NAN);
    }
    let low = if k == 0 { 0.0 } else { quantile(k, n - k + 1, 0.025) };
    let high = if k == n { 1.0 } else { quantile(k + 1, n - k, 0.975) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_known_counts() {
        for (k, n, low, high) in
            [(0, 10, 0.0, 0.308_497_11), (5, 10, 0.187_086_03, 0.812_913_97), (457, 1000, 0.425_790_62, 0.488_463_22)]
        {
            let found = interval(k, n);
            assert!((found.0 - low).abs() < 1e-7 && (found.1 - high).abs() < 1e-7, "{k} of {n}: {found:?}");
        }
    }
}
