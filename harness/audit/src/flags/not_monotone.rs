//! A larger ball is harder to attack than a smaller one inside of it.

use super::{Doubt, Flag};
use crate::escalation::accident;

/// An attack at two radii.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radii {
    /// How tables call the attack.
    pub label: String,
    /// The smaller ball as written, and the samples that stand in it.
    pub smaller: (String, u64),
    /// The larger one.
    pub larger: (String, u64),
}

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "not-monotone",
        unreliable: true,
        raised_if: "an attack leaves more samples standing in a ball than in a smaller one inside of it, by more than max(1, 0.2 %) \
                    of the samples",
        explanation: "Every adversarial example of the smaller ball lies in the larger one. An attack that finds fewer there gets lost, \
                      usually because its steps grow with the radius or the gradient is masked; the numbers at the larger radius \
                      are too high.",
        advice: "Attack with more steps, restarts, or a minimum-norm attack (fmn, fab-t), whose one run answers for every radius.",
    },
    judge: |evidence| {
        let excess = |radii: &&Radii| radii.larger.1.saturating_sub(radii.smaller.1);
        let worst = evidence.radii.iter().max_by_key(excess)?;
        (excess(&worst) > accident(evidence.n)).then(|| {
            let Radii { label, smaller: (small, few), larger: (large, many) } = worst;
            format!("{label} leaves {few} of {} samples standing under {small} and {many} under {large}", evidence.n)
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::Evidence;
    use super::*;

    #[test]
    fn a_larger_ball_must_not_leave_more() {
        let judged = |few, many| {
            let radii = vec![Radii { label: "pgd".into(), smaller: ("linf:0.1".into(), few), larger: ("linf:0.3".into(), many) }];
            (FLAG.judge)(&Evidence { n: 100, radii, ..Evidence::default() })
        };
        assert!(judged(40, 50).is_some_and(|why| why.contains("linf:0.3")));
        assert!(judged(40, 41).is_none());
        assert!(judged(50, 40).is_none());
    }
}
