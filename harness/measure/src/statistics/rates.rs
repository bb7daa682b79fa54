//! Intervals for one rate, and for the difference of two rates on different samples.

use statrs::function::beta::checked_beta_reg;

use super::{Interval, Level, Method};

/// The Clopper-Pearson 95 % interval of `successes` out of `n`. For `n = 0` it is [0, 1].
pub fn clopper_pearson(successes: u64, n: u64) -> Interval {
    let (k, n) = (successes.min(n) as f64, n as f64);
    let low = if k == 0.0 { 0.0 } else { beta_quantile(k, n - k + 1.0, 0.025) };
    let high = if k == n { 1.0 } else { beta_quantile(k + 1.0, n - k, 0.975) };
    Interval { low, high, method: Method::ClopperPearson }
}

/// The interval of p₁ − p₂ for `one = (k₁, n₁)` and `two = (k₂, n₂)` counted on different samples: Newcombe's hybrid score
/// (Statistics in Medicine 17 (1998), 873–890, method 10). With the Wilson intervals [lᵢ, uᵢ] of the two rates it is
///
/// ```text
/// [ d − √((p₁ − l₁)² + (u₂ − p₂)²),  d + √((u₁ − p₁)² + (p₂ − l₂)²) ]
/// ```
///
/// `None` where one of them has no sample.
pub fn newcombe(one: (u64, u64), two: (u64, u64), level: Level) -> Option<Interval> {
    if one.1 == 0 || two.1 == 0 {
        return None;
    }
    let rate = |(k, n): (u64, u64)| k.min(n) as f64 / n as f64;
    let (p1, p2) = (rate(one), rate(two));
    let ((l1, u1), (l2, u2)) = (wilson(one, level), wilson(two, level));
    let low = p1 - p2 - (p1 - l1).hypot(u2 - p2);
    let high = p1 - p2 + (u1 - p1).hypot(p2 - l2);
    Some(Interval { low: low.max(-1.0), high: high.min(1.0), method: Method::Newcombe })
}

/// The ends of Wilson's score interval (1927) of a rate with at least one sample.
fn wilson((k, n): (u64, u64), level: Level) -> (f64, f64) {
    let (z, n) = (level.z(), n as f64);
    let p = (k as f64).min(n) / n;
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let half = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
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

/// Half the width of the 95 % interval of a rate near one half, from so many samples; the widest one.
pub fn half_width(n: u64) -> f64 {
    Z * 0.5 / (n as f64).sqrt()
}

/// Samples after which a difference `d` between two models on the same images is found in four of five audits by a test at 5 %, if the
/// two disagree on the share `apart` of the images: ⌈(z.975 √p + z.8 √(p − d²))² / d²⌉, p the larger of `apart` and |d| (Connor 1987,
/// «Sample size for testing differences in proportions for the paired-sample design»). `None` without a difference.
pub fn samples_to_separate(d: f64, apart: f64) -> Option<u64> {
    const POWER: f64 = 0.841_621_233_572_914_3;
    let (d, p) = (d.abs(), apart.max(d.abs()));
    let root = Z * p.sqrt() + POWER * (p - d * d).max(0.0).sqrt();
    (d > 0.0).then(|| (root * root / (d * d)).ceil() as u64)
}

/// The quantile 0.975 of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, within: f64) {
        assert!((a - b).abs() < within, "{a} is not {b}");
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
            close(found.low, exact.0, 2e-8);
            close(found.high, exact.1, 2e-8);
            let found = wilson((k, n), Level::NINETY_FIVE);
            close(found.0, score.0, 2e-8);
            close(found.1, score.1, 2e-8);
        }
        assert_eq!((clopper_pearson(10, 10).high, clopper_pearson(0, 0).high), (1.0, 1.0));
    }

    /// Newcombe 1998, table II, method 10: the eight examples of the paper, to its four digits.
    #[test]
    fn differences_of_independent_rates_are_those_of_the_paper() {
        for (one, two, low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((6, 7), (2, 7), 0.0582, 0.8062),
            ((5, 56), (0, 29), -0.0381, 0.1926),
            ((0, 10), (0, 20), -0.1611, 0.2775),
            ((0, 10), (0, 10), -0.2775, 0.2775),
            ((10, 10), (0, 20), 0.6791, 1.0),
            ((10, 10), (0, 10), 0.6075, 1.0),
        ] {
            let found = newcombe(one, two, Level::NINETY_FIVE).expect("samples");
            close(found.low, low, 5.1e-5);
            close(found.high, high, 5.1e-5);
        }
        // statsmodels 0.15.0, confint_proportions_2indep(457, 1000, 300, 750, method="newcomb")
        let found = newcombe((457, 1000), (300, 750), Level::NINETY_FIVE).expect("samples");
        close(found.low, 0.010_109_77, 1e-8);
        close(found.high, 0.103_343_14, 1e-8);
        assert!(newcombe((0, 0), (1, 2), Level::NINETY_FIVE).is_none());
    }

    #[test]
    fn the_advice_has_the_published_numbers() {
        for (d, apart, n) in [(0.02, 0.04, 783), (0.01, 0.03, 2353), (0.005, 0.01, 3138)] {
            assert_eq!(samples_to_separate(d, apart), Some(n));
            assert_eq!(samples_to_separate(-d, apart), Some(n));
        }
        assert_eq!(samples_to_separate(0.0, 0.03), None);
        assert!((half_width(500) - 0.0438).abs() < 1e-4);
        assert!(half_width(1068) < 0.03 && half_width(1067) > 0.03);
    }
}
