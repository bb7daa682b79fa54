//! When an audit tries harder by itself: attacks that a profile keeps for models whose gradient looks masked (Athalye et al. 2018; Tramèr
//! et al. 2020, «On adaptive attacks»).

use flatscape_intake::model::Model;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::columns::{
    BACKWARDS, BROKEN_GRADIENTS, Column, DISTANCE, GRADIENTS, ID, LAST_LOSSES, OLDER_LOSSES, OUTCOME, UNMOVED_STEPS,
    ZERO_GRADIENTS,
};
use flatscape_measure::findings::{Findings, FindingsError};
use flatscape_measure::losses::rose;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::Outcome;

use crate::job::Job;

/// The text column of a result that says that the attack was not needed.
pub(crate) const SKIPPED: &str = "skipped";

/// Whether a result says that its attack was not needed: it has no samples.
pub(crate) fn was_skipped(findings: &Findings) -> bool {
    findings.tensor(SKIPPED).is_some()
}

/// Hazards that mask gradients.
pub(crate) const MASKING: &[&str] = &[
    "rounding",
    "sign",
    "integer-cast",
    "argmax",
    "threshold",
    "winner-take-all",
    "clipped-pixels",
    "tree-ensemble",
    "inner-optimisation",
    "no-gradient",
    "quantiser",
    "random-operator",
    "dropout-in-training",
];

/// The share of samples from which on an observation counts.
const SHARE: f64 = 0.01;

/// The largest number of newly broken samples, out of `n`, that is attributed to chance: max(1, 0.2 %).
pub(crate) fn accident(n: u64) -> u64 {
    1.max((0.002 * n as f64) as u64)
}

/// Why the gradients of a model look masked, from its graph and from what attacks under one threat model saw; `None` where they do
/// not.
///
/// # Errors
/// A result lacks a column, or a threat model cannot be read.
pub(crate) fn reason(model: &Model, earlier: &[(Job, Findings)]) -> Result<Option<String>, Refusal> {
    if let Some(hazard) = model.hazards.iter().find(|hazard| MASKING.contains(&hazard.code)) {
        return Ok(Some(format!("the model has the hazard {}", hazard.code)));
    }
    observed(earlier).map_err(|error| Refusal::state(106, error.to_string()))
}

/// What attacks saw: gradients that are zero or not finite, steps that move nothing, points that only attacks without gradients break.
fn observed(earlier: &[(Job, Findings)]) -> Result<Option<String>, FindingsError> {
    let (mut steps, mut useless, mut samples, mut stuck) = (0, 0, 0, 0);
    let (mut by_gradients, mut without) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let mut seen = std::collections::BTreeSet::new();
    for (job, findings) in earlier.iter().filter(|(_, findings)| findings.tensor(ID.name).is_some()) {
        let tolerated = ThreatModel::parse(&job.threat, true).map(|threat| threat.tolerated());
        let (gradients, unmoved) = (findings.read(&GRADIENTS)?, findings.read(&UNMOVED_STEPS)?);
        let bad = findings.read(&ZERO_GRADIENTS)?.into_iter().zip(findings.read(&BROKEN_GRADIENTS)?);
        let losses = |column: &Column<f32>| findings.tensor(column.name).map_or(Ok(Vec::new()), |_| findings.read(column));
        let (older, last) = (losses(&OLDER_LOSSES)?, losses(&LAST_LOSSES)?);
        let climbed = older.chunks(3).zip(last.chunks(10)).map(|(older, last)| rose(older, last)).chain(std::iter::repeat(false));
        let rows = gradients.iter().zip(bad).zip(unmoved.iter().zip(climbed));
        for ((&count, (zero, broken)), (&unmoved, climbed)) in rows.filter(|((count, _), _)| **count > 0) {
            (steps, useless) = (steps + count, useless + zero + broken);
            // at a corner of the ball steps move nothing, too, but the loss has risen on the way
            (samples, stuck) = (samples + 1, stuck + i64::from(2 * unmoved >= count && !climbed));
        }
        let follows = findings.read(&BACKWARDS)?.iter().any(|&passes| passes > 0);
        let rows = findings.read(&ID)?.into_iter().zip(findings.read(&OUTCOME)?).zip(findings.read(&DISTANCE)?);
        for ((id, outcome), distance) in rows {
            seen.insert(id);
            if outcome == Outcome::Broken as u8 && tolerated.as_ref().is_ok_and(|&radius| distance <= radius) {
                if follows {
                    by_gradients.insert(id)
                } else {
                    without.insert(id)
                };
            }
        }
    }
    let share = |part: i64, of: i64| of > 0 && part as f64 > SHARE * of as f64;
    let alone = without.difference(&by_gradients).count() as u64;
    Ok(if share(useless, steps) {
        Some(format!("{useless} of {steps} gradients are zero or not finite"))
    } else if share(stuck, samples) {
        Some(format!("half of the steps moved nothing, and the loss did not rise, on {stuck} of {samples} samples"))
    } else if !by_gradients.is_empty() && alone > accident(seen.len() as u64) {
        Some(format!("{alone} samples are broken by attacks without gradients alone"))
    } else {
        None
    })
}
