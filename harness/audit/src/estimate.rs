//! How long the attacks of a run will take at most: what an audit by a profile says before it starts.

use std::time::Duration;

use flatscape_engine::Engine;
use flatscape_measure::canary::CANARIES;
use flatscape_measure::pace;

use crate::job::{Job, Work};
use crate::ledger::spell;
use crate::manifest::Manifest;
use crate::plan::Intaken;

/// The sentence about these jobs; `None` where no attack among them is a program, or where a step cannot be measured: the jobs then
/// say why.
pub fn sentence<'j>(engine: &dyn Engine, intaken: &Intaken, jobs: impl Iterator<Item = &'j Job> + Clone) -> Option<String> {
    let first = intaken.manifest.first_threat().ok()?;
    let (mut all, mut seconds) = (0, 0.0);
    for (request, model) in &intaken.models {
        let own = jobs.clone().filter(|job| job.model == *request);
        let steps: u64 = own.map(|job| steps(&intaken.manifest, job)).sum();
        if steps > 0 {
            let step = pace::per_step(engine, model, &intaken.dataset, &first, intaken.manifest.settings).ok()?;
            all += steps;
            seconds += step.as_secs_f64() * steps as f64;
        }
    }
    (all > 0).then(|| {
        format!(
            "the attacks take about {} at most: {all} steps of one image, {:.3} ms each; an image that is broken takes no further step",
            spell(Duration::from_secs(seconds as u64)),
            1e3 * seconds / all as f64,
        )
    })
}

/// The steps of an attack on all images of a job.
fn steps(manifest: &Manifest, job: &Job) -> u64 {
    let (request, images) = match &job.work {
        Work::Attack(request) => (request, job.end - job.start),
        Work::Canary(request) => (request, manifest.data.n.min(CANARIES)),
        _ => return 0,
    };
    let attack = manifest.attacks.iter().find(|attack| attack.request == *request);
    let steps = |steps: u32, restarts: Option<u32>| u64::from(steps) * u64::from(restarts.unwrap_or(1));
    attack.and_then(|a| Some(steps(a.program_steps?, a.program_restarts))).map_or(0, |steps| steps * images as u64)
}
