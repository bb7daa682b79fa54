//! The adversarial examples of a run as files: for every attack an `.npz` with the points, their clean originals and labels,
//! so that anybody can check them again without any attack code.

use flatscape_intake::data::Dataset;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::columns::{WITNESS_DISTANCE, WITNESS_ID, WITNESS_PREDICTION, WITNESS_X, WITNESS_Z};
use flatscape_measure::findings::{Findings, FindingsError};

use crate::escalation::was_skipped;
use crate::job::{Job, Work};
use crate::manifest::Manifest;
use crate::stored::Stored;

/// The columns of an attack's findings that its witnesses take over, and what they are called in the file.
const TAKEN: [(&str, &str); 4] = [
    (WITNESS_X.name, "x_adv"),
    (WITNESS_Z.name, "z"),
    (WITNESS_PREDICTION.name, "prediction"),
    (WITNESS_DISTANCE.name, "distance"),
];

/// The witness files of a run: name and bytes, one per attack that broke something.
///
/// # Errors
/// `R103` to `R106`: results are missing or do not fit their jobs.
pub fn files(stored: &Stored, dataset: &Dataset) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
    let mut files = Vec::new();
    for group in groups(stored) {
        let joined = joined(stored, &group)?;
        if let Some(bytes) = file(&stored.manifest, group[0], joined, dataset).map_err(|e| Refusal::output(102, e.to_string()))? {
            files.push((name(group[0]), bytes));
        }
    }
    Ok(files)
}

/// The jobs of every attack on every model under every threat model.
pub fn groups(stored: &Stored) -> Vec<Vec<&Job>> {
    let attacks: Vec<&Job> = stored.jobs.iter().filter(|job| matches!(job.work, Work::Attack(_))).collect();
    attacks.chunk_by(|a, b| a.part() == b.part() && a.model == b.model).map(<[&Job]>::to_vec).collect()
}

/// What the jobs of one attack found: a row per example, without the clean images.
///
/// # Errors
/// `R103` to `R106`: results are missing or do not fit their jobs.
pub fn joined(stored: &Stored, group: &[&Job]) -> Result<Findings, Refusal> {
    let mut found = Vec::new();
    for job in group {
        if let Some(findings) = stored.sound(job)?.filter(|findings| !was_skipped(findings)) {
            found.push(witnesses(&findings).map_err(|e| Refusal::state(106, e.to_string()))?);
        }
    }
    Findings::concat(found).map_err(|e| Refusal::state(106, e.to_string()))
}

/// The file of an attack's witnesses: the name of its jobs without the range.
pub fn name(job: &Job) -> String {
    let stem = job.name.rsplit_once('.').map_or(job.name.as_str(), |(stem, _)| stem);
    format!("witness/{stem}.npz")
}

/// The rows of an attack's findings that have a point.
fn witnesses(findings: &Findings) -> Result<Findings, FindingsError> {
    let mut kept = Findings::default();
    kept.column("id", findings.read(&WITNESS_ID)?);
    for (from, to) in TAKEN {
        if let Some(column) = findings.tensor(from) {
            kept.0.insert(to.to_owned(), column.clone());
        }
    }
    Ok(kept)
}

fn file(manifest: &Manifest, job: &Job, mut joined: Findings, dataset: &Dataset) -> Result<Option<Vec<u8>>, FindingsError> {
    if joined.tensor("id").is_none_or(|ids| ids.shape() == [0]) {
        return Ok(None);
    }
    let ids: Vec<u64> = joined.get::<i64>("id")?.into_iter().map(|id| id as u64).collect();
    let clean = dataset.gather(&ids);
    joined.column("label", clean.y);
    joined.0.insert("x0".into(), clean.x);
    if let Some(threat) = manifest.threats.iter().find(|t| t.written == job.threat) {
        joined.column("eps", vec![threat.eps]);
    }
    joined.column("threat", job.threat.bytes().collect());
    joined.column("model_sha256", job.model_sha256.bytes().collect());
    joined.encode().map(Some)
}
