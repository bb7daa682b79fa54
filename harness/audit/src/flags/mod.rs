//! Doubts, as data: what raises each one, what it means and what to do. One file and one row per doubt. A doubt never changes
//! a number; it says whether to believe it.

mod batch_dependent;
mod chance_accuracy;
mod nan_in_ball;
mod rejected_proposals;
mod short_of_reach;
mod single_step_stronger;
mod zero_gradients;

use crate::threats::ThreatModel;

/// A doubt about a result.
pub struct Flag {
    /// What stands in the column `flags`.
    pub code: &'static str,
    /// Whether the number should not be trusted at all: the program then ends with exit code 9.
    pub unreliable: bool,
    /// What raises it.
    pub raised_if: &'static str,
    /// What it means.
    pub explanation: &'static str,
    /// What to do about it.
    pub advice: &'static str,
    /// The evidence in words, if the doubt is justified.
    pub judge: fn(&Evidence) -> Option<String>,
}

/// All doubts, in the order of the report.
pub const FLAGS: &[Flag] = &[
    batch_dependent::FLAG,
    chance_accuracy::FLAG,
    nan_in_ball::FLAG,
    zero_gradients::FLAG,
    single_step_stronger::FLAG,
    rejected_proposals::FLAG,
    short_of_reach::FLAG,
];

/// The doubt of that code.
pub fn flag(code: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|f| f.code == code)
}

/// What is known about one model under one threat model.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The threat model, where there is one.
    pub threat: Option<&'a ThreatModel>,
    /// Number of classes.
    pub classes: usize,
    /// How far logits of images alone and together differ, where that is more than rounding.
    pub batch_difference: Option<f64>,
    /// Samples.
    pub n: u64,
    /// Samples whose clean prediction is right.
    pub correct: u64,
    /// The attacks that have finished.
    pub attacks: Vec<AttackEvidence>,
}

/// What one attack left behind.
#[derive(Clone, Debug, Default)]
pub struct AttackEvidence {
    /// Id of the component.
    pub id: String,
    /// Its arguments as written.
    pub arguments: String,
    /// Samples left standing.
    pub robust: u64,
    /// Samples with a point in ball and box where the model gives no number.
    pub nan_in_ball: u64,
    /// Proposals that were not admissible.
    pub rejected: u64,
    /// Gradients looked at.
    pub gradients: u64,
    /// Of these, zero everywhere.
    pub zero_gradients: u64,
    /// Of these, with an entry that is no number.
    pub broken_gradients: u64,
    /// Step length and number of steps, where the attack has such parameters.
    pub steps: Option<(f64, u32)>,
}
