//! The result of a job as a file: findings that name their job, and the check that findings fit the job they are taken for.

use flatscape_measure::canary::Canary;
use flatscape_measure::columns::{WITNESS_X, WITNESS_Z};
use flatscape_measure::findings::Findings;
use flatscape_measure::limits::Limits;
use flatscape_measure::losses::Losses;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::Outcome;

use crate::bounds;
use crate::escalation::SKIPPED;
use crate::job::{Job, Work};
use flatscape_certificate::Certificate;

/// The column that holds the SHA-256 of the job's file, as text.
const JOB: &str = "job";

/// The text column of a metric over the weights that says which constants it leaves alone.
pub(crate) const UNRECOGNISED: &str = "unrecognised";

/// Findings that name their job by the SHA-256 of its file.
pub fn seal(mut findings: Findings, hash: &str) -> Findings {
    findings.column(JOB, hash.bytes().collect());
    findings
}

/// A text column: certificates and suggestions are stored as JSON.
pub fn put_text(findings: &mut Findings, name: &str, text: &[u8]) {
    findings.column(name, text.to_vec());
}

/// The text of a column.
///
/// # Errors
/// A clause: the column is missing or is not UTF-8.
pub fn text(findings: &Findings, name: &str) -> Result<String, String> {
    let bytes = findings.get::<u8>(name).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|_| format!("has a column `{name}` that is not text"))
}

/// Findings that fit a job: they name it, and their rows are its samples.
///
/// # Errors
/// A clause that says what does not fit.
pub fn check(job: &Job, hash: &str, mut findings: Findings) -> Result<Findings, String> {
    if text(&findings, JOB)? != hash {
        return Err("names another job".to_owned());
    }
    findings.0.remove(JOB);
    match job.work {
        Work::Certificate => json::<Certificate>(&findings, "certificate")?,
        Work::Limits => json::<Limits>(&findings, "limits")?,
        Work::Suggestions => json::<Vec<String>>(&findings, "suggestions")?,
        Work::Canary(_) => Canary::read(&findings).map(|_| ()).map_err(|e| e.to_string())?,
        Work::Bounds => bounds::check(&findings)?,
        Work::Losses => Losses::read(&findings).map(|_| ()).map_err(|e| e.to_string())?,
        _ => {}
    }
    let skipped = job.work.component().is_some_and(|request| request.when_masked) && findings.tensor(SKIPPED).is_some();
    if matches!(job.work, Work::Clean | Work::Attack(_) | Work::Metric(_)) && !skipped {
        rows(job, &findings)?;
    }
    if matches!(job.work, Work::Attack(_)) && !skipped {
        outcomes(job, &findings)?;
    }
    Ok(findings)
}

/// A text column that holds JSON of this type.
fn json<T: serde::de::DeserializeOwned>(findings: &Findings, name: &str) -> Result<(), String> {
    match serde_json::from_str::<T>(&text(findings, name)?) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("has a column `{name}` that cannot be read: {error}")),
    }
}

fn rows(job: &Job, findings: &Findings) -> Result<(), String> {
    let ids = findings.get::<i64>("id").map_err(|e| e.to_string())?;
    let ordered = ids.is_sorted_by(|a, b| a < b);
    let within = ids.iter().all(|&id| (job.start as i64..job.end as i64).contains(&id));
    if !ordered || !within {
        return Err(format!("has rows that are not the samples {} to {}", job.start, job.end));
    }
    // a metric is absent where the attack that should have moved the image handed over no point
    let complete = job.after.is_empty() && !matches!(job.work, Work::Metric(_));
    if complete && ids.len() != job.end - job.start {
        return Err(format!("has {} rows where its job has {} samples", ids.len(), job.end - job.start));
    }
    let odd = findings.0.iter().filter(|(name, _)| !name.starts_with("witness_"));
    match odd.into_iter().find(|(_, tensor)| tensor.shape().first() != Some(&ids.len())) {
        Some((name, _)) => Err(format!("has a column `{name}` that does not have one value per sample")),
        None => Ok(()),
    }
}

/// Every sample that counts as broken has its witness, and nothing else has one.
fn outcomes(job: &Job, findings: &Findings) -> Result<(), String> {
    let get = |e: flatscape_measure::findings::FindingsError| e.to_string();
    let ids = findings.get::<i64>("id").map_err(get)?;
    let codes = findings.get::<u8>("outcome").map_err(get)?;
    let known =
        [Outcome::Misclassified, Outcome::Broken, Outcome::Held, Outcome::NanInBall, Outcome::NotAttacked].map(|o| o as u8);
    if codes.iter().any(|code| !known.contains(code)) {
        return Err("has an outcome that this version does not know".to_owned());
    }
    let shown = [Outcome::Broken as u8, Outcome::NanInBall as u8];
    let broken: Vec<i64> = ids.iter().zip(&codes).filter(|(_, code)| shown.contains(code)).map(|(&id, _)| id).collect();
    let witnesses = findings.get::<i64>("witness_id").map_err(get)?;
    let rows = |name: &str| findings.tensor(name).map(|x| x.shape().first().copied().unwrap_or(0));
    let decoded = ThreatModel::parse(&job.threat, true).map_err(|refusal| refusal.what)?.norm.parameter.is_some();
    let parameters = rows(WITNESS_Z.name) == decoded.then_some(broken.len());
    if witnesses != broken || rows(WITNESS_X.name) != Some(broken.len()) || !parameters {
        return Err("has outcomes that do not agree with its adversarial examples".to_owned());
    }
    Ok(())
}
