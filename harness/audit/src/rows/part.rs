//! The results of one component on one model under one threat model, joined over its jobs.

use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::{Findings, FindingsError};
use flatscape_measure::threats::ThreatModel;
use flatscape_report::SampleKey;

use crate::job::{Job, Work};
use crate::manifest::{Component, ModelFacts};
use crate::result::text;
use crate::stored::Stored;
use flatscape_certificate::Certificate;

/// One component on one model: what its jobs found.
#[derive(Debug)]
pub struct Part<'a> {
    /// Position of the model.
    pub model: usize,
    /// What was applied.
    pub work: &'a Work,
    /// The attack or metric of the manifest.
    pub component: Option<&'a Component>,
    /// The threat model under which it ran.
    pub threat: ThreatModel,
    /// Its jobs, in the order of their ranges.
    pub jobs: Vec<&'a Job>,
    /// The results of the finished jobs, joined, without points; empty if there is none.
    pub findings: Findings,
    /// Why jobs have no result, or only a part of one.
    pub faults: Vec<Refusal>,
    /// Jobs that have neither a result nor a fault.
    pub open: usize,
}

/// Columns that hold points or files: rows do not need them.
const HEAVY: &[&str] = &["witness_", "surface_", "onnx_", "vec_"];

/// The parts of a model, in the order of the plan.
///
/// # Errors
/// `R103` to `R106`: files are missing, or do not fit their jobs.
pub fn parts(stored: &Stored, model: usize) -> Result<Vec<Part<'_>>, Refusal> {
    let request = &stored.manifest.models[model].request;
    let mut groups: Vec<Vec<&Job>> = Vec::new();
    for job in stored.jobs.iter().filter(|job| job.model == *request) {
        match groups.last_mut() {
            Some(group) if group[0].part() == job.part() => group.push(job),
            _ => groups.push(vec![job]),
        }
    }
    groups.into_iter().map(|group| Part::read(stored, model, group)).collect()
}

impl<'a> Part<'a> {
    /// Reads the results of jobs of one part.
    ///
    /// # Errors
    /// `R103` to `R106`: files are missing, or do not fit their jobs.
    pub fn read(stored: &'a Stored, model: usize, jobs: Vec<&'a Job>) -> Result<Part<'a>, Refusal> {
        let work = &jobs[0].work;
        let manifest = &stored.manifest;
        let component = match work {
            Work::Attack(request) | Work::Canary(request) => manifest.attacks.iter().find(|c| c.request == *request),
            Work::Metric(request) | Work::Reduction(request) => manifest.metrics.iter().find(|c| c.request == *request),
            _ => None,
        };
        let threat = ThreatModel::parse(&jobs[0].threat, true)?;
        let (mut found, mut faults, mut open) = (Vec::new(), Vec::new(), 0);
        for job in &jobs {
            let fault = stored.fault(job)?;
            match stored.sound(job)? {
                Some(mut findings) => {
                    findings.0.retain(|name, _| !HEAVY.iter().any(|heavy| name.starts_with(heavy)));
                    found.push(findings);
                }
                None if fault.is_none() => open += 1,
                None => {}
            }
            faults.extend(fault);
        }
        let findings = Findings::concat(found).map_err(|e| Refusal::state(106, e.to_string()))?;
        Ok(Part { model, work, component, threat, jobs, findings, faults, open })
    }

    /// How tables call it: `pgd:steps=50`, or the kind of work.
    pub fn label(&self) -> String {
        self.component.map_or_else(|| self.work.word(), |c| c.label.clone())
    }

    /// The certificate, if this part holds one.
    pub fn certificate(&self) -> Option<Certificate> {
        text(&self.findings, "certificate").ok().and_then(|json| serde_json::from_str(&json).ok())
    }

    /// The suggestions, if this part holds any.
    pub fn suggestions(&self) -> Vec<String> {
        text(&self.findings, "suggestions").ok().and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
    }

    /// The samples of its rows, as lines of `samples.csv`.
    pub(super) fn keys(&self, model: &ModelFacts, threat: &str) -> Result<Vec<SampleKey>, FindingsError> {
        let ids = self.findings.get::<i64>("id")?;
        let labels = self.findings.get::<i64>("label")?;
        let predictions = self.findings.get::<i64>("prediction")?;
        let row = |((id, label), prediction): ((i64, i64), i64)| SampleKey {
            model: model.name.clone(),
            threat: threat.to_owned(),
            id: id as u64,
            label,
            prediction: (prediction >= 0).then_some(prediction),
        };
        Ok(ids.into_iter().zip(labels).zip(predictions).map(row).collect())
    }

    /// Per sample the proposals of the attack that were dropped. Where a gradient of the model was NaN or infinite the attack is not at
    /// fault, and none are counted.
    pub fn rejected(&self) -> Result<Vec<u64>, FindingsError> {
        let rejected = self.findings.get::<i64>("rejected")?;
        let broken = self.findings.get::<i64>("broken_gradients")?;
        Ok(rejected.iter().zip(&broken).map(|(&rejected, &broken)| if broken == 0 { rejected as u64 } else { 0 }).collect())
    }

    /// The sum of a column of counts.
    pub(super) fn total(&self, column: &str) -> Result<u64, FindingsError> {
        Ok(self.findings.get::<i64>(column)?.iter().map(|&v| v as u64).sum())
    }
}
