//! The loss still rises at the last step, or lies below that of the first: read off the losses that attacks had before their steps.
//! Source: indicator 4 of Pintor et al. 2022 (arXiv:2106.09947), and Carlini et al. 2019 (arXiv:1902.06705).

use super::{AttackEvidence, Doubt, Evidence, Flag};

/// Samples from which on something can be said.
const ENOUGH: u64 = 20;
/// The share of the range of the losses by which the best one may rise within the last steps.
const RISE: f64 = 0.05;

pub(super) const RISING: Flag = Flag {
    doubt: Doubt {
        code: "loss-still-rising",
        unreliable: false,
        raised_if: "for every attack along gradients of several steps, on more than 5 % of the samples that it leaves standing, and of \
                    at least 20, the highest loss so far rises within the last ten steps (of fewer than 20 steps: within the last \
                    half) by more than 5 % of the range of the losses; attacks that look for the nearest example do not count",
        explanation: "The attacks were stopped on their way: with more steps, or longer ones, the loss would be higher and more \
                      samples might be broken. The robust accuracy that they give is too high.",
        advice: "Attack with more steps or longer ones (pgd:steps=200), or with the profile standard.",
    },
    judge: |evidence| {
        let (attack, losses) = least(evidence, |losses| (losses.rising, losses.standing))?;
        let share = losses.rising as f64 / losses.standing as f64;
        let (rising, standing) = (losses.rising, losses.standing);
        (share > 0.05)
            .then(|| format!("{rising} of {standing} samples that {} leaves standing, the fewest of all attacks", attack.label))
    },
};

pub(super) const FALLING: Flag = Flag {
    doubt: Doubt {
        code: "loss-falls",
        unreliable: true,
        raised_if: "for every attack along gradients of several steps, on more than 10 % of the samples that it attacks, and of at least \
                    20, every loss of the last ten steps is below that before the first step; attacks that look for the nearest \
                    example do not count",
        explanation: "An attack ascends its loss. Where the loss is lower at the end than at the start, the gradient does not lead \
                      upwards: it is not that of the model, or it is masked, and what is left standing says nothing.",
        advice: "Do not trust this number; see the gradient certificate and the hazards, and attack without gradients (square).",
    },
    judge: |evidence| {
        let (attack, losses) = least(evidence, |losses| (losses.falling, losses.attacked))?;
        let (falling, attacked) = (losses.falling, losses.attacked);
        (10 * falling > attacked)
            .then(|| format!("{falling} of {attacked} samples under {}, the fewest of all attacks", attack.label))
    },
};

/// The attack with the smallest share, of those that have enough samples.
fn least<'e>(evidence: &'e Evidence, share: fn(&Losses) -> (u64, u64)) -> Option<(&'e AttackEvidence, Losses)> {
    let judged = evidence.attacks.iter().filter_map(|attack| Some((attack, attack.losses?)));
    let of = |losses: &Losses| share(losses).0 as f64 / share(losses).1 as f64;
    judged.filter(|(_, losses)| share(losses).1 >= ENOUGH).min_by(|(_, a), (_, b)| of(a).total_cmp(&of(b)))
}

/// How the losses of an attack went, over its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Samples with a loss.
    pub attacked: u64,
    /// Of these, at the end below the start.
    pub falling: u64,
    /// Of these, left standing.
    pub standing: u64,
    /// Of those left standing, still rising.
    pub rising: u64,
}

impl Losses {
    /// Counts a sample: its older losses (first, lowest, highest), its last ones, oldest first, and whether it is left standing.
    pub(crate) fn count(&mut self, older: &[f32], last: &[f32], stands: bool, steps: u32) {
        let known: Vec<f64> = last.iter().filter(|loss| loss.is_finite()).map(|&loss| f64::from(loss)).collect();
        let [first, lowest, highest] = [0, 1, 2].map(|place| older.get(place).copied().map_or(f64::NAN, f64::from));
        if known.is_empty() || !first.is_finite() {
            return;
        }
        self.attacked += 1;
        self.falling += u64::from(known.iter().all(|&loss| loss < first));
        self.standing += u64::from(stands);
        self.rising += u64::from(stands && rise(lowest, highest, &known, steps) > RISE);
    }
}

/// By which share of the range of all losses the highest one so far rises within the last steps; 0 where all are equal.
fn rise(lowest: f64, highest: f64, last: &[f64], steps: u32) -> f64 {
    let window = if steps < 20 { (steps as usize / 2).clamp(1, last.len()) } else { last.len() };
    let (before, within) = last.split_at(last.len() - window);
    // NaN where no loss is older: it loses against every number
    let start = before.iter().chain(&within[..1]).fold(highest, |best, &loss| best.max(loss));
    let end = within.iter().fold(start, |best, &loss| best.max(loss));
    let range = end - last.iter().fold(lowest, |least, &loss| least.min(loss));
    if range > 0.0 { (end - start) / range } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rise of a sequence of losses, remembered as attacks remember them.
    fn of(losses: &[f64]) -> f64 {
        let (older, last) = losses.split_at(losses.len().saturating_sub(10));
        let highest = older.iter().copied().fold(f64::NAN, f64::max);
        let lowest = losses.iter().copied().fold(f64::NAN, f64::min);
        rise(lowest, highest, last, losses.len() as u32 - 1)
    }

    /// formulas.md, C18: 0.9^k falls by these shares of its range within its last ten values; a line by 9 of 50 steps.
    #[test]
    fn an_incomplete_optimisation_has_its_closed_form() {
        for (steps, share) in [(20, 0.2188), (30, 0.0700), (50, 0.0082)] {
            let losses: Vec<f64> = (0..=steps).map(|k| -0.9f64.powi(k)).collect();
            assert!((of(&losses) - share).abs() < 5e-5, "{steps} steps: {}", of(&losses));
        }
        let line: Vec<f64> = (0..=50).map(f64::from).collect();
        assert!((of(&line) - 0.18).abs() < 1e-12, "{}", of(&line));
        assert_eq!(of(&[3.0; 51]), 0.0);
        // a loss that falls and comes back to where it was has not risen
        let there_and_back: Vec<f64> = (0..=40).map(|k| if k < 25 { f64::from(k) } else { f64::from(k - 16) }).collect();
        assert_eq!(of(&there_and_back), 0.0);
        // of ten steps the last five count: the first five may rise
        let short: Vec<f64> = (0..=10).map(|k| f64::from(k.min(6))).collect();
        assert_eq!((of(&short), of(&(0..=10).map(f64::from).collect::<Vec<_>>())), (0.0, 0.4));
    }

    #[test]
    fn the_best_attack_of_a_run_is_judged() {
        let attack = |losses| AttackEvidence { losses: Some(losses), label: "pgd".into(), ..AttackEvidence::default() };
        let judged = |flag: &Flag, losses: &[Losses]| {
            (flag.judge)(&Evidence { attacks: losses.iter().copied().map(attack).collect(), n: 100, ..Evidence::default() })
        };
        let bad = Losses { attacked: 90, falling: 10, standing: 40, rising: 3 };
        let good = Losses { falling: 9, rising: 2, ..bad };
        assert!(judged(&RISING, &[bad]).is_some_and(|why| why.starts_with("3 of 40")) && judged(&RISING, &[bad, good]).is_none());
        assert!(
            judged(&FALLING, &[bad]).is_some_and(|why| why.starts_with("10 of 90")) && judged(&FALLING, &[bad, good]).is_none()
        );
        let few = Losses { attacked: 19, falling: 19, standing: 19, rising: 19 };
        assert!(judged(&RISING, &[few]).is_none() && judged(&FALLING, &[few]).is_none(), "too few to tell");
    }
}
