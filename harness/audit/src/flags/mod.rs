//! Doubts from the evidence of a run. One file and one row per doubt. A doubt that is found in the graph before anything runs is a
//! row of [`HAZARDS`], which brings its doubt with it; [`doubts`] lists both.

mod batch_dependent;
mod black_box_stronger;
mod borderline;
pub(crate) mod canary_inconclusive;
pub(crate) mod canary_missed;
pub(crate) mod certified_broken;
mod chance_accuracy;
mod claimed_clean;
mod claimed_robust;
mod engines_disagree;
mod escalated;
mod float32_copy;
pub mod gradient_certificate;
pub mod gradients_disagree;
mod half_precision;
mod half_rounding;
mod limits;
mod loss_underflow;
mod losses_differ;
mod losses_of_steps;
mod nan_in_ball;
mod not_monotone;
mod not_repeatable;
mod order_dependent;
mod other_preprocessing;
mod rejected_proposals;
mod remedied;
mod short_of_reach;
mod single_step_stronger;
mod surrogate_gradient;
mod transfer_stronger;
mod unrecognised_weights;
mod zero_gradients;

pub use engines_disagree::DOUBT as ENGINES_DISAGREE;
pub(crate) use loss_underflow::LEAD;
pub use losses_of_steps::Losses as LossesOfSteps;
pub use not_monotone::Radii;

use flatscape_intake::doubt::Doubt;
use flatscape_intake::hazards::{Found, HAZARDS, QUESTIONS};
use flatscape_measure::limits::Limits;
use flatscape_measure::threats::ThreatModel;

use flatscape_certificate::Certificate;

use crate::claim::{Claim, Claimed};
use crate::escalation::MASKING;

/// A doubt from the evidence of a run, and how it is judged.
#[derive(Clone, Copy)]
pub struct Flag {
    /// The doubt.
    pub doubt: Doubt,
    /// The evidence in words, if the doubt is justified.
    pub judge: fn(&Evidence) -> Option<String>,
}

/// Doubts from the evidence of a run, in the order of the report.
pub const FLAGS: &[Flag] = &[
    remedied::FLAG,
    not_repeatable::FLAG,
    order_dependent::FLAG,
    batch_dependent::FLAG,
    chance_accuracy::FLAG,
    claimed_clean::FLAG,
    claimed_robust::WEAKER,
    claimed_robust::REFUTED,
    half_precision::FLAG,
    half_rounding::FLAG,
    float32_copy::FLAG,
    other_preprocessing::FLAG,
    gradient_certificate::FLAG,
    gradients_disagree::FLAG,
    nan_in_ball::FLAG,
    loss_underflow::FLAG,
    losses_differ::FLAG,
    certified_broken::FLAG,
    escalated::FLAG,
    canary_missed::FLAG,
    canary_inconclusive::FLAG,
    zero_gradients::FLAG,
    single_step_stronger::FLAG,
    black_box_stronger::FLAG,
    transfer_stronger::FLAG,
    not_monotone::FLAG,
    limits::UNBOUNDED,
    limits::MORE_STEPS,
    limits::MORE_STARTS,
    limits::UNSTABLE,
    losses_of_steps::RISING,
    losses_of_steps::FALLING,
    surrogate_gradient::FLAG,
    unrecognised_weights::FLAG,
    rejected_proposals::FLAG,
    short_of_reach::FLAG,
    borderline::FLAG,
];

/// All doubts, in the order of the report: those of a run, then the hazards, then that of a comparison.
pub fn doubts() -> impl Iterator<Item = Doubt> {
    FLAGS.iter().map(|f| f.doubt).chain(HAZARDS.iter().map(|h| h.doubt)).chain([engines_disagree::DOUBT])
}

/// The page `DOUBTS.md`: every doubt, what raises it, what it means and what to do.
pub fn page() -> String {
    const ABOUT: &str = "Generated from the tables of the program; a test compares them. A doubt is a reason not to take a number \
                         at its word. Its code stands in the column `flags` of `results.csv`, on the page and in every \
                         machine-readable report. A grave doubt says that the number beside it should not be trusted: the first \
                         line of an audit says UNRELIABLE, and its exit code is 9. The others are notes. A doubt about a hazard \
                         stops being grave once the remedy that answers it was requested (`--remedy`).";
    let mut page = format!("# Doubts\n\n{}", paragraph(ABOUT));
    for (title, grave) in [("Grave", true), ("Notes", false)] {
        page.push_str(&format!("\n## {title}\n"));
        for doubt in doubts().filter(|doubt| doubt.unreliable == grave) {
            let raised = paragraph(&format!("**Raised if** {}.", doubt.raised_if));
            let advice = paragraph(&format!("**What to do:** {}", doubt.advice));
            page.push_str(&format!("\n### `{}`\n\n{raised}\n{}\n{advice}", doubt.code, paragraph(doubt.explanation)));
        }
    }
    page
}

/// A text in lines of at most 100 characters.
fn paragraph(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 100 {
            lines.push_str(&line);
            lines.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line + "\n"
}

/// The doubt of that code.
pub fn doubt(code: &str) -> Option<Doubt> {
    doubts().find(|d| d.code == code)
}

/// What is known about one model under one threat model.
#[derive(Clone, Debug, Default)]
pub struct Evidence<'a> {
    /// The threat model, where there is one.
    pub threat: Option<&'a ThreatModel>,
    /// Number of classes.
    pub classes: usize,
    /// How far logits of images alone and together differ, where that is more than rounding.
    pub batch_difference: Option<f64>,
    /// What was read off the graph.
    pub hazards: &'a [Found],
    /// What requested remedies did to the model or to the gradient, as sentences.
    pub remedies: &'a [String],
    /// What `--surrogate` requested, as written.
    pub surrogates: &'a [String],
    /// What metrics over the weights leave alone, as a sentence.
    pub unrecognised: Option<String>,
    /// How far the logits of the same images differ between two runs, where they do.
    pub repeat_difference: Option<f64>,
    /// How far logits differ where the images of a batch come in another order, where that is more than rounding.
    pub order_difference: Option<f64>,
    /// Preprocessing that would give a much better clean accuracy, as sentences; the best one first.
    pub suggestions: &'a [String],
    /// Samples whose clean prediction leads by so much that cross-entropy is zero in float32.
    pub underflowing: u64,
    /// What short attacks by other losses find, where those were tried.
    pub losses: Vec<OtherLosses>,
    /// The gradient certificate, once it is there.
    pub certificate: Option<&'a Certificate>,
    /// What a file in half precision says in each precision.
    pub precisions: Option<Precisions>,
    /// Why a float32 copy judges and not the file, where it is so.
    pub copy: Option<&'a str>,
    /// Samples.
    pub n: u64,
    /// Samples whose clean prediction is right.
    pub correct: u64,
    /// The attacks that have finished.
    pub attacks: Vec<AttackEvidence>,
    /// What became of planted adversarial examples, where there were to be any.
    pub canaries: Option<Canaries>,
    /// Samples that are right and that none of them broke.
    pub standing: u64,
    /// Claimed accuracies.
    pub claims: &'a [Claim],
    /// Samples that are verified and broken, by id.
    pub certified_broken: Vec<i64>,
    /// What attacks without gradients found, where there were any.
    pub without_gradients: Option<WithoutGradients>,
    /// Samples that only attacks on other models broke, where there were such attacks.
    pub transferred: Option<u64>,
    /// Attacks at this radius and the next smaller one.
    pub radii: Vec<Radii>,
    /// Where the audit escalated: the samples that stood before and after it.
    pub escalated: Option<(u64, u64)>,
    /// What trials at the limits of the attacks found, where there were any.
    pub limits: Option<Limits>,
    /// Whether the last two attacks of the escalation broke nothing new, one of them without gradients.
    pub settled: bool,
}

/// What attacks without gradients found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithoutGradients {
    /// Samples that only they broke.
    pub alone: u64,
    /// Whether one of them asked the model at least a thousand times about a sample.
    pub thorough: bool,
}

/// Doubts about masked gradients, which an escalation settles.
const OF_MASKING: &[&str] = &[
    "zero-gradients",
    "unbounded-fails",
    "gradient-certificate",
    "single-step-stronger",
    "black-box-stronger",
    "surrogate-gradient",
    "loss-underflow",
    "loss-falls",
];

impl Evidence<'_> {
    /// The cause of a hazard that the model has, in words.
    fn hazard(&self, code: &str) -> Option<String> {
        let found = self.hazards.iter().find(|h| h.code == code)?;
        // what asks a question about the input is answered by a good clean accuracy
        if QUESTIONS.contains(&code) && self.n > 0 && 2 * self.correct >= self.n && self.suggestions.is_empty() {
            return None;
        }
        let answered = if found.answered { "; answered by the requested remedy" } else { "" };
        Some(format!("{}{answered}", found.cause))
    }

    /// The justified doubts with their evidence, in the order of the report.
    pub fn justified(&self) -> Vec<(Doubt, String)> {
        let flags = FLAGS.iter().map(|flag| (flag.doubt, (flag.judge)(self)));
        let hazards = HAZARDS.iter().map(|hazard| (hazard.doubt, self.hazard(hazard.doubt.code)));
        flags.chain(hazards).filter_map(|(doubt, evidence)| Some((doubt, evidence?))).collect()
    }

    /// The claim about this metric.
    fn claim(&self, metric: Claimed) -> Option<f64> {
        self.claims.iter().find(|claim| claim.metric == metric).map(|claim| claim.value)
    }

    /// Whether a doubt, once justified, says that the numbers should not be trusted.
    pub fn is_grave(&self, doubt: &Doubt) -> bool {
        let masking = OF_MASKING.contains(&doubt.code) || MASKING.contains(&doubt.code);
        doubt.unreliable && !(self.settled && masking) && !self.hazards.iter().any(|h| h.code == doubt.code && h.answered)
    }
}

/// What became of planted adversarial examples, all attacks under a threat model together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canaries {
    /// Those that random points do not find.
    pub planted: u64,
    /// Of these, found by an attack.
    pub found: u64,
    /// Those that random points find.
    pub easy: u64,
    /// Images near which none could be planted.
    pub failed: u64,
    /// Why there are none at all, as a clause.
    pub impossible: Option<String>,
}

/// A short attack by another loss against all attacks under a threat model, on the same correct images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherLosses {
    /// The images.
    pub samples: u64,
    /// Which loss, in words.
    pub how: &'static str,
    /// Images that it breaks and the attacks do not, and the reverse.
    pub over_attacks: (u64, u64),
    /// Images that it breaks and the same attack by cross-entropy does not, and the reverse.
    pub over_cross_entropy: (u64, u64),
}

/// A file in half precision: what it says in each precision.
#[derive(Clone, Debug, Default)]
pub struct Precisions {
    /// Images.
    pub n: u64,
    /// Whether the file itself judges; otherwise a float32 copy.
    pub by_file: bool,
    /// Images that are classified correctly, by the judge.
    pub correct: u64,
    /// The attacks: how tables call each, samples left standing by the judge, and by each of the others.
    pub robust: Vec<(String, u64, Vec<u64>)>,
    /// The other precisions.
    pub others: Vec<OtherPrecision>,
}

/// Another precision than that of the judge.
#[derive(Clone, Debug, Default)]
pub struct OtherPrecision {
    /// A clause that says which.
    pub name: &'static str,
    /// Images that are classified correctly.
    pub correct: u64,
    /// Images that get another class than from the judge.
    pub images: u64,
    /// Samples that an attack breaks by one of the two alone; of the attack with the most.
    pub samples: u64,
}

impl Precisions {
    /// The largest number of images or of attacked samples on which another precision says something else than the judge.
    fn apart(&self) -> u64 {
        self.others.iter().map(|other| other.images.max(other.samples)).max().unwrap_or(0)
    }

    /// Whether these are more than rounding near a boundary explains: more than 1 %, and at least three.
    fn are_others(&self) -> bool {
        100 * self.apart() > self.n && self.apart() >= 3
    }

    /// The evidence in words, with all numbers.
    fn words(&self) -> String {
        let rate = |count: u64| format!("{:.4}", count as f64 / self.n.max(1) as f64);
        let judge = if self.by_file { "by the file on this engine" } else { "in float32" };
        let list = |what: String, own: u64, others: &mut dyn Iterator<Item = u64>| {
            let others: Vec<String> =
                self.others.iter().zip(others).map(|(o, count)| format!("{} {}", rate(count), o.name)).collect();
            format!("{what} {} {judge}, {}", rate(own), others.join(", "))
        };
        let mut words = vec![list("clean accuracy".to_owned(), self.correct, &mut self.others.iter().map(|o| o.correct))];
        for (label, own, others) in &self.robust {
            words.push(list(format!("robust accuracy under {label}"), *own, &mut others.iter().copied()));
        }
        format!("{} (n = {})", words.join("; "), self.n)
    }
}

/// What one attack left behind.
#[derive(Clone, Debug, Default)]
pub struct AttackEvidence {
    /// How tables call it.
    pub label: String,
    /// Samples left standing.
    pub robust: u64,
    /// Samples with a point in ball and box where a logit of the model is NaN.
    pub nan_in_ball: u64,
    /// Adversarial examples.
    pub broken: u64,
    /// Of these, with a margin within what engines differ by.
    pub borderline: u64,
    /// Proposals that were not admissible.
    pub rejected: u64,
    /// Gradients that were counted.
    pub gradients: u64,
    /// Of these, zero everywhere.
    pub zero_gradients: u64,
    /// Of these, with a NaN or infinite entry.
    pub broken_gradients: u64,
    /// Whether it steps on the gradient of cross-entropy itself: it brings no objective and reads `grad`.
    pub reads_grad: bool,
    /// Number of steps of its program; absent where it keeps its control flow to itself.
    pub program_steps: Option<u32>,
    /// Length of a step in pixel units, where the attack has such a parameter.
    pub step_length: Option<f64>,
    /// How its losses went, where it takes several steps along gradients and does not look for the nearest example.
    pub losses: Option<LossesOfSteps>,
}
