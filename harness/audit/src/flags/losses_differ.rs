//! Another loss finds what the attacks of the run do not.

use flatscape_intake::mcnemar::mcnemar;

use super::{Doubt, Flag, OtherLosses};

/// The level of the paired test.
const LEVEL: f64 = 0.01;

/// The share of the images by which the other loss must be ahead of the attacks.
const LEAD: f64 = 0.05;

pub(super) const FLAG: Flag = Flag {
    doubt: Doubt {
        code: "losses-differ",
        unreliable: true,
        raised_if: "a short attack on up to 400 correct images, by the margin or through what goes into a last operator that bounds \
                    the scores, breaks significantly more of them than the same attack by cross-entropy, and than all attacks of \
                    the run together (McNemar's exact test at 1 %), which it leads by at least 5 % of the images; it is tried \
                    where the scores pull cross-entropy towards all other classes alike (median entropy of the softmax over \
                    them at least 0.8 of its largest value), or where an operator bounds them",
        explanation: "Scores that are squeezed into a small range make the softmax nearly uniform: the gradient of cross-entropy \
                      leads away from the label in general and not to the nearest other class. Scores that are bounded lose \
                      their slope at the bound. Robust accuracies measured so are too high.",
        advice: "Attack with what finds more: the margin (pgd:loss=margin, or --remedy margin), or the scores before they are \
                 bounded (--remedy logits).",
    },
    judge: |evidence| {
        let found = evidence.losses.iter().find(|other| is_ahead(other))?;
        let (OtherLosses { samples, how, .. }, (gained, lost)) = (found, found.over_attacks);
        let p = mcnemar(gained, lost);
        Some(format!(
            "of {samples} correct images a short attack {how} breaks {gained} that the attacks of the run do not, and they {lost} that \
             it does not (p = {p:.1e})"
        ))
    },
};

fn is_ahead(other: &OtherLosses) -> bool {
    let better = |(gained, lost): (u64, u64)| gained > lost && mcnemar(gained, lost) < LEVEL;
    let (gained, lost) = other.over_attacks;
    let far = gained.saturating_sub(lost) as f64 >= LEAD * other.samples as f64;
    far && better(other.over_attacks) && better(other.over_cross_entropy)
}
