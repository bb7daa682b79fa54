//! Attacks without gradients break what attacks with gradients do not.

use super::{Doubt, Flag};
use crate::escalation::accident;

/// Steps from which on an attack with gradients should have found what one without them finds.
const MANY: u32 = 10;

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "black-box-stronger",
        unreliable: true,
        raised_if: "attacks that use no gradient break more than max(1, 0.2 %) of the samples that no attack with a gradient breaks, \
                    one of which takes at least ten steps",
        explanation: "An attack that knows the gradient knows more. If it finds less, its gradient is masked or its steps are unsuited, \
                      and stronger attacks would find still more (Carlini et al. 2019, «On evaluating adversarial robustness»).",
        advice: "Attack with another loss (pgd:loss=margin), more steps and restarts; look for operators that mask the gradient \
                 (flatscape inspect), and let attacks look through them (via=straight-through, via=logits).",
    },
    judge: |evidence| {
        let steps = evidence.attacks.iter().filter(|a| a.gradients > 0).filter_map(|a| a.program_steps).max()?;
        let alone = evidence.without_gradients.as_ref()?.alone;
        (steps >= MANY && alone > accident(evidence.n))
            .then(|| format!("{alone} of {} samples are broken by attacks without gradients alone", evidence.n))
    },
};

#[cfg(test)]
mod tests {
    use super::super::{AttackEvidence, Evidence, WithoutGradients};
    use super::*;

    #[test]
    fn two_of_a_thousand_are_an_accident() {
        let judged = |alone, steps| {
            let attacks = vec![AttackEvidence { program_steps: Some(steps), gradients: 1, ..AttackEvidence::default() }];
            let without_gradients = Some(WithoutGradients { alone, thorough: true });
            (FLAG.judge)(&Evidence { n: 1000, attacks, without_gradients, ..Evidence::default() })
        };
        assert!(judged(3, 40).is_some_and(|why| why.starts_with("3 of 1000")));
        assert!(judged(2, 40).is_none());
        assert!(judged(300, 1).is_none(), "a single step proves nothing");
    }
}
