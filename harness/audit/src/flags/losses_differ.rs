//! Another loss finds what the attacks of the run do not look for.

use flatscape_intake::mcnemar::mcnemar;
use flatscape_measure::losses::Apart;

use super::{Doubt, Flag};

/// The level of the paired test.
const LEVEL: f64 = 0.01;

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "losses-differ",
        unreliable: true,
        raised_if: "the same short attack on up to 400 correct images breaks significantly more of them by the margin, or through \
                    what goes into a last operator that bounds the scores, than by the losses that the attacks of the run \
                    ascend (McNemar's exact test at 1 %); tried where the scores pull cross-entropy towards all other classes \
                    alike (median entropy of the softmax over them at least 0.8 of its largest value) or are bounded",
        explanation: "Scores that are squeezed into a small range make the softmax nearly uniform: the gradient of cross-entropy \
                      leads away from the label in general and not to the nearest other class. Scores that are bounded lose \
                      their slope at the bound. Robust accuracies measured so are too high.",
        advice: "Attack what finds more: the margin (pgd:loss=margin, or --remedy margin), or the scores before they are bounded \
                 (--remedy logits).",
    },
    judge: |evidence| {
        let losses = evidence.losses.filter(|_| !evidence.attacks.is_empty())?;
        let tried = losses.tried?;
        let margin = evidence.attacks.iter().any(|attack| attack.own_objective);
        let mut rivals: Vec<(&str, Apart)> = Vec::new();
        if let Some([over_cross_entropy, over_margin]) = tried.unbounded {
            rivals.push(("through the scores before they are bounded", if margin { over_margin } else { over_cross_entropy }));
        }
        if !margin {
            rivals.push(("by the margin", tried.margin));
        }
        let than = if margin { "the margin" } else { "cross-entropy" };
        let found = rivals.iter().find(|(_, apart)| apart.gained > apart.lost && mcnemar(apart.gained, apart.lost) < LEVEL);
        found.map(|(how, Apart { gained, lost })| {
            format!(
                "of {} correct images a short attack breaks {gained} {how} and not by {than}, and {lost} by {than} alone (p = {:.1e})",
                losses.samples,
                mcnemar(*gained, *lost)
            )
        })
    },
};
