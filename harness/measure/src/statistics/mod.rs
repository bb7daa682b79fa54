//! Numbers with their uncertainty: intervals for rates, for means and for differences of two of them. Knows counts and columns of
//! numbers, nothing of attacks.

mod means;
mod paired;
mod rates;

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

pub use flatscape_intake::mcnemar::mcnemar;
pub use means::{Mean, paired_t, welch};
pub use paired::tango;
pub use rates::{clopper_pearson, half_width, newcombe, samples_to_separate};

/// How an interval was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A rate, exact for a binomial count (Clopper and Pearson 1934): covers at least the level.
    ClopperPearson,
    /// A difference of two rates on the same samples (Tango 1998).
    Tango,
    /// A difference of two rates on different samples (Newcombe 1998).
    Newcombe,
    /// Student's t around a mean.
    StudentT,
    /// Student's t around the mean of the differences on the same samples.
    PairedT,
    /// A difference of two means on different samples (Welch 1947).
    Welch,
}

/// The names of the methods, as tables and pages write them.
const NAMES: &[(Method, &str)] = &[
    (Method::ClopperPearson, "Clopper-Pearson"),
    (Method::Tango, "Tango's paired score"),
    (Method::Newcombe, "Newcombe's hybrid score"),
    (Method::StudentT, "Student's t"),
    (Method::PairedT, "paired t"),
    (Method::Welch, "Welch's t"),
];

impl Method {
    /// Its name, as tables and pages write it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(method, _)| *method == self).map_or("", |(_, name)| name)
    }
}

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How it was computed.
    pub method: Method,
}

impl Interval {
    /// Whether it lies above zero, below zero, or holds it; `None` where it holds zero.
    pub fn sign(&self) -> Option<std::cmp::Ordering> {
        if self.low > 0.0 {
            Some(std::cmp::Ordering::Greater)
        } else if self.high < 0.0 {
            Some(std::cmp::Ordering::Less)
        } else {
            None
        }
    }
}

/// How often an interval may miss, both sides together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level(f64);

impl Level {
    /// 95 % intervals.
    pub const NINETY_FIVE: Level = Level(0.05);

    /// The level at which `count` intervals hold together with 95 % (Bonferroni: each may miss with 5 % / `count`).
    pub fn shared_by(count: usize) -> Level {
        Level(0.05 / count.max(1) as f64)
    }

    /// The two-sided quantile of the standard normal law.
    fn z(self) -> f64 {
        Normal::standard().inverse_cdf(1.0 - self.0 / 2.0)
    }

    /// The two-sided quantile of Student's law; `None` without degrees of freedom.
    fn t(self, freedom: f64) -> Option<f64> {
        Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(1.0 - self.0 / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_name() {
        let all = [Method::ClopperPearson, Method::Tango, Method::Newcombe, Method::StudentT, Method::PairedT, Method::Welch];
        assert!(all.iter().all(|method| !method.name().is_empty()));
    }

    /// scipy.stats.norm.ppf(1 - 0.05 / 2), norm.ppf(1 - 0.05 / 28 / 2), t.ppf(0.975, 7.5).
    #[test]
    fn quantiles_are_the_known_ones() {
        assert!((Level::NINETY_FIVE.z() - 1.959_963_984_540_054).abs() < 1e-9);
        assert!((Level::shared_by(28).z() - 3.123_734_630_323_845).abs() < 1e-8);
        assert!((Level::NINETY_FIVE.t(7.5).unwrap() - 2.333_039_626_865).abs() < 1e-7);
        assert!(Level::NINETY_FIVE.t(0.0).is_none());
    }
}
