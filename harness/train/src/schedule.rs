//! Learning rates over a training: one row per schedule. Knows epochs and steps; no optimizer.

use flatscape_intake::number::number;
use flatscape_intake::refusal::{Refusal, escape, nearest};

/// A place in a training, for schedules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Epochs in all.
    pub epochs: u32,
    /// Step of the training, from 0.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
}

/// A row of the table.
pub struct Shape {
    /// What `--schedule` takes before the colon.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// How many numbers it takes behind the colon, and what they are.
    numbers: (std::ops::RangeInclusive<usize>, &'static str),
    /// The factor of the learning rate at a moment.
    factor: fn(&[f64], &Moment) -> f64,
}

/// Every schedule, in the order of the help.
pub const SCHEDULES: &[Shape] = &[
    Shape { name: "constant", summary: "the same learning rate throughout", numbers: (0..=0, "no numbers"), factor: |_, _| 1.0 },
    // lr · 0.1^(number of milestones ≤ epoch)
    Shape {
        name: "piecewise",
        summary: "a tenth from each of the stated epochs on: piecewise:100,150",
        numbers: (1..=16, "epochs"),
        factor: |milestones, at| 0.1f64.powi(milestones.iter().filter(|m| **m <= f64::from(at.epoch)).count() as i32),
    },
    // lr · ½(1 + cos(π · epoch/epochs))
    Shape {
        name: "cosine",
        summary: "half a cosine over the epochs, down to 0",
        numbers: (0..=0, "no numbers"),
        factor: |_, at| (1.0 + (std::f64::consts::PI * f64::from(at.epoch) / f64::from(at.epochs.max(1))).cos()) / 2.0,
    },
    // 0 → lr → 0 in the share of the middle of each step
    Shape {
        name: "triangular",
        summary: "from 0 up and down to 0 step by step, at its largest at a share of the training: triangular:0.5",
        numbers: (0..=1, "the share at which it is largest"),
        factor: triangular,
    },
    // Smith 2018 as PyTorch has it: lr/25 → lr → lr/250000 along half cosines
    Shape {
        name: "onecycle",
        summary: "lr/25 up to lr and down to lr/250000 along half cosines, step by step, at its largest at a share: onecycle:0.3",
        numbers: (0..=1, "the share at which it is largest"),
        factor: one_cycle,
    },
];

fn triangular(numbers: &[f64], at: &Moment) -> f64 {
    let peak = numbers.first().copied().unwrap_or(0.5);
    let share = (at.step as f64 + 0.5) / at.steps.max(1) as f64;
    if share <= peak { share / peak.max(f64::MIN_POSITIVE) } else { (1.0 - share) / (1.0 - peak) }
}

fn one_cycle(numbers: &[f64], at: &Moment) -> f64 {
    let peak = numbers.first().copied().unwrap_or(0.3);
    let last = (at.steps.max(2) - 1) as f64;
    let turn = peak * at.steps as f64 - 1.0;
    let along = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * ((std::f64::consts::PI * share).cos() + 1.0);
    let step = at.step as f64;
    if step <= turn { along(1.0 / 25.0, 1.0, step / turn) } else { along(1.0, 1.0 / 25e4, (step - turn) / (last - turn)) }
}

/// A schedule as it was written.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Schedule {
    name: String,
    numbers: Vec<f64>,
}

impl Schedule {
    /// The same learning rate throughout.
    pub fn constant() -> Schedule {
        Schedule { name: "constant".to_owned(), numbers: Vec::new() }
    }

    /// Reads `NAME[:number,…]`.
    ///
    /// # Errors
    /// A usage error.
    pub fn parse(text: &str) -> Result<Schedule, Refusal> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let refused = |what: String| Refusal::usage(91, format!("--schedule {}: {what}", escape(text)));
        let Some(row) = SCHEDULES.iter().find(|row| row.name == name) else {
            let names = || SCHEDULES.iter().map(|row| row.name);
            let near = nearest(name, names()).map_or(String::new(), |n| format!("; did you mean {n}?"));
            let help = format!("there are {}{near}", names().collect::<Vec<_>>().join(", "));
            return Err(refused("there is no such schedule".to_owned()).help(help));
        };
        let numbers: Result<Vec<f64>, String> = rest.split(',').filter(|t| !t.is_empty()).map(number).collect();
        let numbers = numbers.map_err(|why| refused(format!("an entry {why}")))?;
        if !row.numbers.0.contains(&numbers.len()) {
            return Err(refused(format!("{name} takes {}", row.numbers.1)).help(row.summary));
        }
        let share = row.numbers.1.contains("share");
        if numbers.iter().any(|v| !v.is_finite() || *v < 0.0 || share && *v >= 1.0) {
            return Err(refused(format!("{name} takes {} from 0 on{}", row.numbers.1, if share { " and below 1" } else { "" })));
        }
        Ok(Schedule { name: name.to_owned(), numbers })
    }

    /// The factor of the learning rate at a moment.
    pub fn factor(&self, at: &Moment) -> f64 {
        SCHEDULES.iter().find(|row| row.name == self.name).map_or(1.0, |row| (row.factor)(&self.numbers, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(text: &str, epoch: u32, step: u64) -> f64 {
        Schedule::parse(text).expect(text).factor(&Moment { epoch, epochs: 10, step, steps: 100 })
    }

    #[test]
    fn schedules_have_their_closed_forms() {
        assert_eq!([0, 4, 5, 9].map(|e| (factor("piecewise:5,8", e, 0) * 100.0).round()), [100.0, 100.0, 10.0, 1.0]);
        assert_eq!([factor("cosine", 0, 0), factor("cosine", 5, 0)].map(|f| (f * 1e9).round() / 1e9), [1.0, 0.5]);
        assert_eq!([factor("triangular", 0, 0), factor("triangular", 9, 99)].map(|f| (f * 1e9).round() / 1e9), [0.01, 0.01]);
        assert!((factor("triangular", 4, 49) - 0.99).abs() < 1e-12 && (factor("triangular", 5, 50) - 0.99).abs() < 1e-12);
        // torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=100) at steps 0, 29 and 99
        assert!((factor("onecycle", 0, 0) - 0.04).abs() < 1e-12);
        assert!((factor("onecycle", 2, 29) - 1.0).abs() < 1e-12);
        assert!((factor("onecycle", 9, 99) - 4e-6).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for (text, part) in [
            ("cosin", "did you mean cosine?"),
            ("piecewise", "takes epochs"),
            ("triangular:1", "below 1"),
            ("cosine:3", "no numbers"),
        ] {
            let refused = Schedule::parse(text).expect_err(text).to_string();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
