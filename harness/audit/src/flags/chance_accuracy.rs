//! The clean accuracy is that of guessing.

use super::{Doubt, Flag};

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "chance-accuracy",
        unreliable: true,
        raised_if: "the clean accuracy on at least 20 samples is at most 1.5 divided by the number of classes, close to that of guessing",
        explanation: "A model that predicts at random on clean images usually gets wrong input: another scale, mean and std, \
                      channel order, layout or label order. Everything measured on it describes the mistake, not the model.",
        advice: "Check --scale, --mean, --std, --layout and --label-offset against the place where the model was trained.",
    },
    judge: |evidence| {
        let accuracy = evidence.correct as f64 / evidence.n.max(1) as f64;
        let chance = accuracy <= 1.5 / evidence.classes.max(1) as f64;
        let nothing = || "; no usual correction of scale, mean, deviation, channels, layout or labels helps".to_owned();
        let suggested = evidence.suggestions.first().map_or_else(nothing, |s| format!("; {s}"));
        (evidence.n >= 20 && chance)
            .then(|| format!("clean accuracy {:.1} % on {} classes{suggested}", 100.0 * accuracy, evidence.classes))
    },
};

#[cfg(test)]
mod tests {
    use super::super::Evidence;
    use super::*;

    #[test]
    fn guessing_is_told_from_knowing() {
        let evidence = |correct| Evidence { classes: 10, n: 100, correct, ..Evidence::default() };
        assert!((FLAG.judge)(&evidence(9)).is_some());
        assert!((FLAG.judge)(&evidence(40)).is_none());
    }
}
