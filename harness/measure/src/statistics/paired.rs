//! Two rates on the same samples: everything is in the samples on which they disagree.

use super::{Interval, Level, Method};

/// The interval of (gained − lost) / n, the difference of two rates on the same `n` samples, of which `gained` are right only in
/// the first and `lost` only in the second: Tango's score interval (Statistics in Medicine 17 (1998), 891–908). It holds every δ
/// with |Z(δ)| ≤ z, where
///
/// ```text
/// Z(δ) = (gained − lost − nδ) / √(n(2q + δ(1 − δ))),   q the root of A q² + B q + C = 0,
/// A = 2n,   B = −gained − lost + (2n − gained + lost) δ,   C = −lost · δ(1 − δ),   q = (√(B² − 4AC) − B) / 2A.
/// ```
///
/// `None` without samples.
pub fn tango(gained: u64, lost: u64, n: u64, level: Level) -> Option<Interval> {
    if n == 0 || gained.saturating_add(lost) > n {
        return None;
    }
    let (b, c, n) = (gained as f64, lost as f64, n as f64);
    let score = |delta: f64| {
        let linear = -b - c + (2.0 * n - b + c) * delta;
        let constant = -c * delta * (1.0 - delta);
        let q = ((linear * linear - 8.0 * n * constant).max(0.0).sqrt() - linear) / (4.0 * n);
        let variance = n * (2.0 * q + delta * (1.0 - delta));
        let distance = b - c - n * delta;
        if distance == 0.0 { 0.0 } else { distance / variance.max(0.0).sqrt() }
    };
    let (z, difference) = (level.z(), (b - c) / n);
    // Z falls from the difference outwards to both sides in absolute value: the ends are where it is ±z.
    let end = |limit: f64| {
        let (mut inside, mut outside) = (difference, limit);
        for _ in 0..200 {
            let middle = (inside + outside) / 2.0;
            if score(middle).abs() <= z { inside = middle } else { outside = middle }
        }
        inside
    };
    Some(Interval { low: end(-1.0), high: end(1.0), method: Method::Tango })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, within: f64) {
        assert!((a - b).abs() <= within, "{a} is not {b}");
    }

    /// Fagerland, Lydersen and Laake (Statistics in Medicine 33 (2014), 2850–2875): airway hyper-responsiveness before and after
    /// stem cell transplantation, [−0.517, −0.026]. R, PropCIs 0.3: `scoreci.mp(25, 28, 618, 0.90)`, [−0.0148, 0.0247].
    #[test]
    fn paired_differences_are_the_published_ones() {
        let found = tango(1, 7, 21, Level::NINETY_FIVE).expect("samples");
        close(found.low, -0.517, 5e-4);
        close(found.high, -0.026, 5e-4);
        let found = tango(28, 25, 618, Level(0.10)).expect("samples");
        close(found.low, -0.0148, 5e-5);
        close(found.high, 0.0247, 5e-5);
    }

    /// Without flips Z(δ)² = nδ / (1 − δ), so that the interval is ± z² / (n + z²).
    #[test]
    fn no_flip_has_its_closed_form() {
        for n in [1, 10, 500, 10_000] {
            let found = tango(0, 0, n, Level::NINETY_FIVE).expect("samples");
            let z2 = 1.959_963_984_540_054_f64.powi(2);
            close(found.high, z2 / (n as f64 + z2), 1e-12);
            close(found.low, -found.high, 1e-15);
        }
    }

    #[test]
    fn exchanging_the_two_changes_the_sign() {
        for (b, c, n) in [(1, 7, 21), (0, 5, 40), (30, 0, 30), (12, 12, 300), (1, 0, 1)] {
            let (one, two) = (tango(b, c, n, Level::NINETY_FIVE).unwrap(), tango(c, b, n, Level::NINETY_FIVE).unwrap());
            close(one.low, -two.high, 1e-12);
            close(one.high, -two.low, 1e-12);
            let difference = (b as f64 - c as f64) / n as f64;
            assert!(one.low <= difference && difference <= one.high && one.low >= -1.0 && one.high <= 1.0);
        }
        assert!(tango(0, 0, 0, Level::NINETY_FIVE).is_none() && tango(3, 3, 5, Level::NINETY_FIVE).is_none());
    }
}
