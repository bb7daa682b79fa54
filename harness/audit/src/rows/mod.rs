//! From a run directory to rows: counts, intervals, unions and doubts. Reads results and computes nothing that is expensive; the
//! same directory gives the same rows.

mod attack;
mod bounds;
mod canary;
mod certificate;
mod clean;
mod corruptions;
mod doubts;
mod metric;
mod part;
mod path;
mod reduction;
mod union;

use flatscape_intake::refusal::{Class, Refusal};
use flatscape_measure::findings::FindingsError;
use flatscape_report::{DataCurve, Doubt, Failure, PathCurve, Record, Samples};

use crate::job::Work;
use crate::manifest::{Component, Manifest, ModelFacts, PluginFacts};
use crate::stored::Stored;
use crate::violations::violations;
use flatscape_certificate::Certificate;
use flatscape_measure::statistics::{Mean, clopper_pearson};

pub use attack::{OUTCOMES, UNSUPPORTED};
pub use corruptions::corruption_metrics;
pub(crate) use metric::OF_BROKEN;
pub use metric::metric_name;
pub use part::{Part, parts};

/// Everything that tables and pages show.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Rows of `results.csv`.
    pub records: Vec<Record>,
    /// Rows of `samples.csv`.
    pub samples: Samples,
    /// Quantities along the paths of attacks.
    pub paths: Vec<PathCurve>,
    /// Curves that metrics give for a whole data set.
    pub curves: Vec<DataCurve>,
    /// Justified doubts.
    pub doubts: Vec<Doubt>,
    /// Whether a doubt says that a number should not be trusted.
    pub unreliable: bool,
    /// What went wrong: refused models, jobs without a result, and components that did what they may not.
    pub faults: Vec<Refusal>,
    /// The same faults as pages tell them, each once per model, component and threat model.
    pub failures: Vec<Failure>,
    /// The gradient certificates, in the order of the models; absent where none was computed.
    pub certificates: Vec<Option<Certificate>>,
    /// Jobs that have ended, with a result or without one.
    pub done: usize,
    /// All jobs.
    pub total: usize,
}

/// Names of `metric` that every audit may have. What metrics give comes beside them.
pub const METRICS: &[&str] = &[
    "clean_accuracy",
    "ties",
    "robust_accuracy",
    "robust_accuracy_continuous",
    "robust_accuracy_uint8",
    "robust_accuracy_before_escalation",
    "robust_accuracy_worst_class",
    "borderline",
    "clean_accuracy_mean",
    "robust_accuracy_mean",
    "claimed_success",
    "nan_in_ball",
    "coverage",
    "distance_median",
    "canary_found",
    "certified_accuracy",
    "gradient_certificate",
];

/// Makes the rows of a run.
///
/// # Errors
/// `R103` to `R106`: files are missing, or do not fit their jobs.
pub fn summarise(stored: &Stored) -> Result<Summary, Refusal> {
    let manifest = &stored.manifest;
    let mut summary = Summary { total: stored.jobs.len(), ..Summary::default() };
    for model in 0..manifest.models.len() {
        let parts = parts(stored, model)?;
        summary.done += parts.iter().map(|p| p.jobs.len() - p.open).sum::<usize>();
        let rows = Rows { manifest, model: &manifest.models[model], parts: &parts };
        rows.add_to(&mut summary).map_err(|e| Refusal::state(106, e.to_string()))?;
    }
    for refused in &manifest.refused {
        summary.failures.push(Failure {
            model: refused.name.clone(),
            code: refused.id.clone(),
            sentence: refused.why.clone(),
            ..Failure::default()
        });
        summary.records.push(Record {
            model: refused.name.clone(),
            model_sha256: refused.sha256.clone(),
            flags: vec![refused.id.clone()],
            ..blank(manifest)
        });
    }
    Ok(summary)
}

/// The rows of one part alone, without doubts, for progress output.
///
/// # Errors
/// As for [`summarise`].
pub fn of_part(manifest: &Manifest, part: &Part) -> Result<Vec<Record>, Refusal> {
    let mut summary = Summary::default();
    let parts = std::slice::from_ref(part);
    let rows = Rows { manifest, model: &manifest.models[part.model], parts };
    rows.part(part, &doubts::Doubts::new(), &mut summary).map_err(|e| Refusal::state(106, e.to_string()))?;
    Ok(summary.records)
}

/// What all rows of a run share.
fn blank(manifest: &Manifest) -> Record {
    Record {
        dataset: manifest.data.name.clone(),
        split: manifest.data.split.clone(),
        engine: format!("{} {}", manifest.engine.name, manifest.engine.version),
        device: manifest.engine.device.clone(),
        seed: manifest.settings.seed,
        ..Record::default()
    }
}

/// The rows of one model.
struct Rows<'a> {
    manifest: &'a Manifest,
    model: &'a ModelFacts,
    parts: &'a [Part<'a>],
}

impl<'a> Rows<'a> {
    fn add_to(&self, summary: &mut Summary) -> Result<(), FindingsError> {
        let doubts = self.doubts(summary)?;
        let certificate = self.parts.iter().find(|p| *p.work == Work::Certificate);
        let certificate = certificate.and_then(Part::certificate);
        self.certificate(certificate.as_ref(), &doubts, summary);
        summary.certificates.push(certificate);
        for part in self.parts {
            self.part(part, &doubts, summary)?;
            self.faults(part, summary)?;
        }
        self.unserved(summary);
        for threat in &self.manifest.threats {
            self.union(threat, &doubts, summary)?;
        }
        Ok(())
    }

    fn part(&self, part: &Part, doubts: &doubts::Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        if let Work::Weights(_) = part.work {
            return self.values(part, summary);
        }
        if part.findings.tensor("id").is_none() {
            summary.records.extend(self.unbounded(part));
            return Ok(());
        }
        match &part.work {
            Work::Clean => self.clean(part, doubts, summary),
            Work::Attack(_) => self.attack(part, doubts, summary),
            Work::Canary(_) => self.canary(part, doubts, summary),
            Work::Bounds => self.bounds(part, doubts, summary),
            Work::Metric(request) if request.follows_path() => self.path(part, request, summary),
            Work::Metric(request) => self.metric(part, request, summary),
            Work::Reduction(request) => self.reduction(part, request, summary),
            _ => Ok(()),
        }
    }

    /// A row for every fault of a part, and a fault for a component that did what it may not.
    fn faults(&self, part: &Part, summary: &mut Summary) -> Result<(), FindingsError> {
        let mut ids: Vec<String> = Vec::new();
        for fault in &part.faults {
            let id = if fault.id() == UNSUPPORTED.0 { UNSUPPORTED.1.to_owned() } else { fault.id() };
            if !ids.contains(&id) {
                summary.records.push(Record { flags: vec![id.clone()], ..self.record(part) });
                ids.push(id);
            }
            if fault.id() != UNSUPPORTED.0 {
                self.failed(part, fault, summary);
            }
        }
        violations(part)?.iter().for_each(|fault| self.failed(part, fault, summary));
        Ok(())
    }

    fn failed(&self, part: &Part, fault: &Refusal, summary: &mut Summary) {
        let Record { model, component, threat, .. } = self.record(part);
        let sentence = [Some(&fault.what), fault.help.as_ref()].into_iter().flatten().cloned().collect::<Vec<_>>().join("; ");
        let failure = Failure { model, component, threat, code: fault.id(), sentence };
        if !summary.failures.contains(&failure) {
            summary.failures.push(failure);
        }
        // a component that refuses a task when it runs has not done its work, whichever status it returns; but weights can be looked at
        // only then
        let refuses = part.component.is_some() && fault.class == Class::Usage && !matches!(part.work, Work::Weights(_));
        let class = if refuses { Class::Plugin } else { fault.class };
        summary.faults.push(Refusal { class, ..fault.clone() });
    }

    /// A row `unsupported` for every threat model that an attack does not serve.
    fn unserved(&self, summary: &mut Summary) {
        for attack in self.manifest.attacks.iter().filter(|attack| !attack.escalation) {
            let applies = attack.applies_to(self.model, &self.manifest.sources);
            for threat in self.manifest.threats.iter().filter(|t| !applies || !attack.serves.contains(&t.written)) {
                summary.records.push(Record {
                    threat: threat.written.clone(),
                    eps: Some(threat.eps),
                    flags: vec![UNSUPPORTED.1.to_owned()],
                    ..self.of_component(attack)
                });
            }
        }
    }

    /// A row about a part, without a measurement.
    fn record(&self, part: &Part) -> Record {
        let base = match part.component {
            Some(component) => self.of_component(component),
            None => {
                Record { component: part.work.word(), component_version: env!("CARGO_PKG_VERSION").to_owned(), ..self.of_model() }
            }
        };
        match part.work {
            Work::Clean => base,
            _ => Record { threat: part.threat.text(), eps: Some(part.threat.eps), ..base },
        }
    }

    fn of_component(&self, component: &Component) -> Record {
        let PluginFacts { id, version, sha256, .. } = &component.plugin;
        Record {
            component: component.request.id.clone(),
            component_version: version.clone(),
            args: component.whole(),
            plugin: id.clone(),
            plugin_sha256: sha256.clone(),
            ..self.of_model()
        }
    }

    fn of_model(&self) -> Record {
        Record { model: self.model.name.clone(), model_sha256: self.model.sha256.clone(), ..blank(self.manifest) }
    }

    fn clean_part(&self) -> Option<&'a Part<'a>> {
        self.parts.iter().find(|p| *p.work == Work::Clean && p.findings.tensor("id").is_some())
    }

    fn attacks(&self) -> impl Iterator<Item = &'a Part<'a>> {
        self.parts.iter().filter(|p| matches!(p.work, Work::Attack(_)) && p.findings.tensor("id").is_some())
    }
}

/// The mean of the shares of draws that are right, over samples.
fn mean_share(record: Record, metric: &str, shares: &[f64]) -> Record {
    let mean = Mean::of(shares);
    let interval = mean.as_ref().and_then(Mean::interval);
    Record {
        metric: metric.to_owned(),
        n: shares.len() as u64,
        value: mean.as_ref().map(|mean| mean.value),
        ci_low: interval.map(|interval| interval.low),
        ci_high: interval.map(|interval| interval.high),
        ..record
    }
}

/// A rate with its Clopper-Pearson interval.
fn rate(record: Record, metric: &str, count: u64, n: u64) -> Record {
    let interval = clopper_pearson(count, n);
    let known = n > 0;
    Record {
        metric: metric.to_owned(),
        n,
        value: known.then(|| count as f64 / n as f64),
        ci_low: known.then_some(interval.low),
        ci_high: known.then_some(interval.high),
        ..record
    }
}
