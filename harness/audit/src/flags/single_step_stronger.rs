//! One step does better than many.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "single-step-stronger",
        unreliable: true,
        raised_if: "fgsm breaks more samples than pgd at the same radius, by more than 0.5 % of the samples",
        explanation: "An iterative attack contains the single step; if it does worse, the gradient misleads it, and both numbers are too high \
                      (Carlini et al. 2019, «On evaluating adversarial robustness»).",
        advice: "Use more steps, a smaller step, restarts, and an attack without gradients.",
    },
    judge: |evidence| {
        let best = |id: &str| evidence.attacks.iter().filter(|a| a.id == id).map(|a| a.robust).min();
        let (single, iterated) = (best("fgsm")?, best("pgd")?);
        let gap = iterated as f64 - single as f64;
        (gap > 0.005 * evidence.n as f64)
            .then(|| format!("fgsm leaves {single} of {} samples standing, pgd {iterated}", evidence.n))
    },
};

#[cfg(test)]
mod tests {
    use super::super::{AttackEvidence, Evidence};
    use super::*;

    #[test]
    fn an_iterative_attack_must_not_be_weaker() {
        let attack = |id: &str, robust| AttackEvidence { id: id.into(), robust, ..AttackEvidence::default() };
        let evidence = |fgsm, pgd| Evidence {
            classes: 10,
            n: 100,
            correct: 90,
            attacks: vec![attack("fgsm", fgsm), attack("pgd", pgd)],
            ..Evidence::default()
        };
        assert!((FLAG.judge)(&evidence(40, 60)).is_some());
        assert!((FLAG.judge)(&evidence(60, 40)).is_none());
    }
}
