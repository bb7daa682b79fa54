//! Attacks followed a gradient that is not the model's, and samples still stand.

use flatscape_intake::remedies::STRAIGHT_THROUGH;

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "surrogate-gradient",
        unreliable: true,
        raised_if: "a hazard was answered by a straight-through gradient, or --surrogate was requested, every attack leaves samples standing, and no attack \
                    without gradients asked the model at least a thousand times about a sample",
        explanation: "The gradient that was followed is not that of the model. A broken sample is broken, because the \
                      untouched model judges it; a sample that is left standing may only reflect a misleading gradient \
                      (Athalye, Carlini and Wagner 2018, «Obfuscated gradients give a false sense of security»).",
        advice: "Attack without gradients, too (square), before this number is called robustness.",
    },
    judge: |evidence| {
        // the advice was followed
        if evidence.without_gradients.is_some_and(|found| found.thorough) {
            return None;
        }
        let hazard = evidence.hazards.iter().find(|h| h.unreliable && h.answered && h.remedies.contains(&STRAIGHT_THROUGH));
        let requested = || evidence.surrogates.first().map(|surrogate| format!("--surrogate {surrogate}"));
        let why = hazard.map(|hazard| hazard.code.to_owned()).or_else(requested)?;
        let standing = evidence.attacks.iter().map(|a| a.robust).min().filter(|&n| n > 0)?;
        Some(format!("{why}; {standing} of {} samples stand", evidence.n))
    },
};

#[cfg(test)]
mod tests {
    use super::super::{AttackEvidence, Evidence};
    use super::*;
    use flatscape_intake::hazards::Found;

    #[test]
    fn what_a_surrogate_leaves_standing_is_doubted() {
        let judged = |answered, robust| {
            let hazards = [Found {
                code: "rounding",
                unreliable: true,
                cause: String::new(),
                nodes: Vec::new(),
                consequence: "",
                remedy: "",
                remedies: &["straight-through"],
                answered,
            }];
            let attacks = [40, robust].map(|robust| AttackEvidence { robust, ..AttackEvidence::default() }).to_vec();
            (FLAG.judge)(&Evidence { hazards: &hazards, attacks, n: 100, ..Evidence::default() })
        };
        assert!(judged(true, 30).is_some_and(|why| why.contains("30 of 100")));
        assert!(judged(true, 0).is_none());
        assert!(judged(false, 30).is_none(), "then the hazard itself is grave");
        let attacks = vec![AttackEvidence { robust: 30, ..AttackEvidence::default() }];
        let evidence = Evidence { surrogates: &["a..b=identity".to_owned()], attacks, n: 100, ..Evidence::default() };
        assert!((FLAG.judge)(&evidence).is_some_and(|why| why.starts_with("--surrogate a..b=identity; 30")));
    }
}
