//! The robust accuracy under all attacks is not the claimed one. Above it the attacks are in doubt, below it the claim.

use flatscape_measure::statistics::clopper_pearson;

use super::claimed_clean::POINT;
use super::{Claimed, Doubt, Evidence, Flag};

pub(super) const WEAKER: Flag = Flag {
    doubt: Doubt {
        code: "weaker-than-claimed",
        unreliable: true,
        raised_if: "--claims names a robust accuracy below the 95 % interval of the measured one, at least one point away",
        explanation: "Whoever made the claim broke more samples than the attacks of this run. A robust accuracy is an upper bound, so \
                      the lower one is nearer to the truth, unless it was measured with another threat model, other images or \
                      another preprocessing.",
        advice: "Run stronger attacks (more steps, restarts, another loss), and compare threat model, images and preprocessing.",
    },
    judge: |evidence| apart(evidence).filter(|(difference, _)| *difference > 0.0).map(|(_, words)| words),
};

pub(super) const REFUTED: Flag = Flag {
    doubt: Doubt {
        code: "claim-refuted",
        unreliable: false,
        raised_if: "--claims names a robust accuracy above the 95 % interval of the measured one, at least one point away",
        explanation: "Verified adversarial examples leave fewer samples standing than was claimed. If threat model, images and \
                      preprocessing are those of the claim, the claim does not hold.",
        advice: "Compare threat model, images and preprocessing with the source of the claim; the examples are in witness/.",
    },
    judge: |evidence| apart(evidence).filter(|(difference, _)| *difference < 0.0).map(|(_, words)| words),
};

/// How far the measured robust accuracy lies above the claimed one, and both in words, if that is more than chance and a point.
fn apart(evidence: &Evidence) -> Option<(f64, String)> {
    let claimed = evidence.claim(Claimed::RobustAccuracy).filter(|_| !evidence.attacks.is_empty() && evidence.n > 0)?;
    let measured = evidence.standing as f64 / evidence.n as f64;
    let interval = clopper_pearson(evidence.standing, evidence.n);
    let outside = claimed < interval.low || claimed > interval.high;
    let words = || {
        let n = evidence.n;
        format!("measured {measured:.4} [{:.4}, {:.4}] (n = {n}), claimed {claimed}", interval.low, interval.high)
    };
    (outside && (measured - claimed).abs() >= POINT).then(|| (measured - claimed, words()))
}

#[cfg(test)]
mod tests {
    use super::super::AttackEvidence;
    use super::*;
    use crate::claim::Claim;

    #[test]
    fn above_the_claim_the_attacks_are_in_doubt_and_below_it_the_claim() {
        let found = |standing, value| {
            let claims = [Claim { metric: Claimed::RobustAccuracy, value }];
            let attacks = vec![AttackEvidence::default()];
            let evidence = Evidence { n: 100, standing, claims: &claims, attacks, ..Evidence::default() };
            ((WEAKER.judge)(&evidence).is_some(), (REFUTED.judge)(&evidence).is_some())
        };
        assert_eq!(found(54, 0.5), (false, false));
        assert_eq!(found(70, 0.5), (true, false));
        assert_eq!(found(30, 0.5), (false, true));
    }
}
