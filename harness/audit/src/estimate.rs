//! How long the attacks of a run will take at most: what an audit by a profile says before it starts.

use std::time::Duration;

use flatscape_engine::Engine;
use flatscape_measure::pace;

use crate::ledger::spell;
use crate::manifest::Manifest;
use crate::plan::Intaken;

/// The sentence; `None` where a step cannot be measured, which the jobs will then say, or where no attack is a program.
pub fn sentence(engine: &dyn Engine, intaken: &Intaken) -> Option<String> {
    let manifest = &intaken.manifest;
    let steps = steps(manifest);
    let first = manifest.first_threat().ok()?;
    let mut step = Duration::ZERO;
    for (_, model) in &intaken.models {
        step += pace::per_step(engine, model, &intaken.dataset, &first, manifest.settings).ok()?;
    }
    let whole = step.checked_mul(u32::try_from(steps * manifest.data.n as u64).ok()?)?;
    let of = if intaken.models.len() > 1 { "on all models together" } else { "on this model" };
    (steps > 0).then(|| {
        format!(
            "the attacks take about {} at most: {} images, {steps} steps, and a step takes {:.3} ms per image {of}; an image that is \
             broken takes no further step",
            spell(whole),
            manifest.data.n,
            1e3 * step.as_secs_f64(),
        )
    })
}

/// The steps of all attacks under all threat models that they serve.
fn steps(manifest: &Manifest) -> u64 {
    let of = |attack: &crate::manifest::Component| {
        let runs = if attack.minimal { attack.serves.len().min(1) } else { attack.serves.len() };
        u64::from(attack.program_steps.unwrap_or(0)) * u64::from(attack.program_restarts.unwrap_or(1)) * runs as u64
    };
    manifest.attacks.iter().map(of).sum()
}
