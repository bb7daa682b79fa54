//! The clean accuracy is not the claimed one.

use flatscape_measure::statistics::clopper_pearson;

use super::{Claimed, Doubt, Flag};

/// Differences below this are not worth a doubt, however many images there are.
pub(super) const POINT: f64 = 0.01;

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "claimed-clean-accuracy",
        unreliable: true,
        raised_if: "--claims names a clean accuracy that lies outside of the 95 % interval of the measured one, at least one point away",
        explanation: "Either the model is fed otherwise than where the claim was measured, or the images are others, or the claim \
                      is wrong. Until that is known, the numbers under attack may be about another model than the claim.",
        advice: "Compare scale, mean, deviation, channels, image size, label order and test set with the source of the claim.",
    },
    judge: |evidence| {
        let claimed = evidence.claim(Claimed::CleanAccuracy).filter(|_| evidence.threat.is_none() && evidence.n > 0)?;
        let measured = evidence.correct as f64 / evidence.n as f64;
        let interval = clopper_pearson(evidence.correct, evidence.n);
        let outside = claimed < interval.low || claimed > interval.high;
        (outside && (measured - claimed).abs() >= POINT).then(|| {
            let suggested = evidence.suggestions.first().map_or(String::new(), |suggestion| format!("; {suggestion}"));
            format!(
                "measured {measured:.4} [{:.4}, {:.4}] (n = {}), claimed {claimed}{suggested}",
                interval.low, interval.high, evidence.n
            )
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::Evidence;
    use super::*;
    use crate::claim::Claim;

    #[test]
    fn a_claim_inside_the_interval_or_near_it_raises_nothing() {
        let found = |correct, n, value| {
            let claims = [Claim { metric: Claimed::CleanAccuracy, value }];
            (FLAG.judge)(&Evidence { n, correct, claims: &claims, ..Evidence::default() }).is_some()
        };
        assert!(!found(88, 100, 0.93) && found(88, 100, 0.96) && found(88, 100, 0.5));
        // half a point is rounding somewhere, also where 100,000 images tell it from nothing
        assert!(!found(88_000, 100_000, 0.885) && found(88_000, 100_000, 0.891));
        assert!((FLAG.judge)(&Evidence { n: 100, correct: 10, ..Evidence::default() }).is_none());
    }
}
