//! One step does better than many.

use super::{AttackEvidence, Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "single-step-stronger",
        unreliable: true,
        raised_if: "an attack of one gradient step breaks more samples than the best one of many steps, by more than 0.5 % of \
                    the samples",
        explanation: "An iterative attack contains the single step; if it does worse, the gradient misleads it, and both \
                      numbers are too high (Carlini et al. 2019, «On evaluating adversarial robustness»).",
        advice: "Use more steps, a smaller step, restarts, and an attack without gradients.",
    },
    judge: |evidence| {
        let best = |many: bool| {
            let steps = |a: &&AttackEvidence| a.gradients > 0 && a.program_steps.is_some_and(|steps| (steps > 1) == many);
            evidence.attacks.iter().filter(steps).min_by_key(|a| a.robust)
        };
        let (single, iterated) = (best(false)?, best(true)?);
        let gap = iterated.robust as f64 - single.robust as f64;
        (gap > 0.005 * evidence.n as f64).then(|| {
            let (n, one, many) = (evidence.n, &single.label, &iterated.label);
            format!("{one} leaves {} of {n} samples standing, {many} {}", single.robust, iterated.robust)
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::Evidence;
    use super::*;

    #[test]
    fn an_iterative_attack_must_not_be_weaker() {
        let attack =
            |steps, robust| AttackEvidence { program_steps: Some(steps), gradients: 1, robust, ..AttackEvidence::default() };
        let evidence = |fgsm, pgd| Evidence {
            classes: 10,
            n: 100,
            correct: 90,
            attacks: vec![attack(1, fgsm), attack(40, pgd)],
            ..Evidence::default()
        };
        assert!((FLAG.judge)(&evidence(40, 60)).is_some());
        assert!((FLAG.judge)(&evidence(60, 40)).is_none());
    }
}
