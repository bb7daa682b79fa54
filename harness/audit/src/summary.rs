//! From findings to rows: counts, intervals, unions and doubts. Runs nothing; the same findings give the same rows.

use std::collections::BTreeMap;

use flatscape_report::{Doubt, Record, SampleKey, SampleValue, Samples};

use crate::certificate::Certificate;
use crate::flags::{AttackEvidence, Evidence, LEAD, gradient_certificate, gradients_disagree};
use crate::statistics::{Interval, Mean, clopper_pearson};
use flatscape_intake::hazards::Found;
use flatscape_measure::findings::{Findings, FindingsError};
use flatscape_measure::prepared::Work;
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::Outcome;

/// What all rows of an audit share.
#[derive(Clone, Debug)]
pub struct Context {
    /// Name of the data set.
    pub dataset: String,
    /// Which half.
    pub split: String,
    /// Name of the engine.
    pub engine: String,
    /// Device.
    pub device: String,
    /// Seed.
    pub seed: u64,
}

/// A model as rows speak of it.
#[derive(Clone, Debug, Default)]
pub struct ModelFacts {
    /// Display name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Number of classes.
    pub classes: usize,
    /// How far logits of images alone and together differ, where that is more than rounding.
    pub batch_difference: Option<f64>,
    /// How far two runs of the same images differ, where they do.
    pub repeat_difference: Option<f64>,
    /// How far logits differ where images come in another order, where that is more than rounding.
    pub order_difference: Option<f64>,
    /// What was read off its graph.
    pub hazards: Vec<Found>,
    /// What was changed because it was asked for, as sentences.
    pub remedies: Vec<String>,
    /// Whether attacks ascend the margin instead of cross-entropy.
    pub margin: bool,
    /// Preprocessing that would give a much better clean accuracy, as sentences.
    pub suggestions: Vec<String>,
    /// Its gradient certificate, once it is there.
    pub certificate: Option<Certified>,
}

/// A certificate, under which threat model its iterates were found, and how long it took.
#[derive(Clone, Debug)]
pub struct Certified {
    /// What was found.
    pub certificate: Certificate,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The threat model.
    pub threat: ThreatModel,
}

/// One component on one model: what its finished shards found.
#[derive(Clone, Debug)]
pub struct Part {
    /// Position of the model.
    pub model: usize,
    /// What was applied.
    pub work: Work,
    /// Whether the component is an attack.
    pub attack: bool,
    /// Version of the plugin that offers the component.
    pub version: String,
    /// The threat model.
    pub threat: Option<ThreatModel>,
    /// The finished shards, joined; empty so far if none.
    pub findings: Findings,
    /// How many shards are finished.
    pub shards: usize,
    /// Wall-clock seconds of these shards.
    pub seconds: f64,
    /// Step length and steps, where the attack has such arguments.
    pub steps: Option<(f64, u32)>,
    /// Why (further) shards have no result, and the id of the refusal.
    pub fault: Option<(String, String)>,
}

/// A model that was refused, with the id of the refusal.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Display name.
    pub name: String,
    /// SHA-256 of the file, where it could be read.
    pub sha256: String,
    /// Id of the refusal, e.g. `M031`.
    pub id: String,
    /// The sentence.
    pub what: String,
}

/// Everything that tables and the page show.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Rows of `results.csv`.
    pub records: Vec<Record>,
    /// Rows of `samples.csv`.
    pub samples: Samples,
    /// Justified doubts.
    pub doubts: Vec<Doubt>,
    /// Whether a doubt says that a number should not be trusted.
    pub unreliable: bool,
}

/// Makes the rows.
///
/// # Errors
/// A result file lacks a column it must have.
pub fn summarise(
    context: &Context,
    models: &[ModelFacts],
    parts: &[Part],
    refused: &[Refused],
) -> Result<Summary, FindingsError> {
    let mut summary = Summary::default();
    for (index, model) in models.iter().enumerate() {
        let own: Vec<&Part> = parts.iter().filter(|p| p.model == index).collect();
        Rows { context, model, parts: &own }.add_to(&mut summary)?;
    }
    for refusal in refused {
        summary.records.push(Record {
            model: refusal.name.clone(),
            model_sha256: refusal.sha256.clone(),
            flags: vec![refusal.id.clone()],
            ..blank(context)
        });
    }
    Ok(summary)
}

fn blank(context: &Context) -> Record {
    Record {
        dataset: context.dataset.clone(),
        split: context.split.clone(),
        engine: context.engine.clone(),
        device: context.device.clone(),
        seed: context.seed,
        ..Record::default()
    }
}

/// The rows of one model.
struct Rows<'a> {
    context: &'a Context,
    model: &'a ModelFacts,
    parts: &'a [&'a Part],
}

impl Rows<'_> {
    fn add_to(&self, summary: &mut Summary) -> Result<(), FindingsError> {
        let doubts = self.doubts(summary)?;
        self.certificate(&doubts, summary);
        for part in self.parts {
            if let Some((id, _)) = &part.fault {
                summary.records.push(Record { flags: vec![id.clone()], ..self.record(part) });
            }
            if part.findings.tensor("id").is_none() {
                continue;
            }
            match &part.work {
                Work::Clean => self.clean(part, &doubts, summary)?,
                Work::Component(request) if part.attack => self.attack(part, request, &doubts, summary)?,
                Work::Component(request) => self.metric(part, request, summary)?,
            }
        }
        let mut threats: Vec<&ThreatModel> = Vec::new();
        for threat in self.attacks().filter_map(|p| p.threat.as_ref()) {
            if !threats.iter().any(|t| t.text() == threat.text()) {
                threats.push(threat);
            }
        }
        for threat in threats {
            self.union(threat, &doubts, summary)?;
        }
        Ok(())
    }

    /// 1 where the gradient certificate holds, 0 where it does not; no row where there is none.
    fn certificate(&self, doubts: &Doubts, summary: &mut Summary) {
        let Some(Certified { certificate, threat, .. }) = &self.model.certificate else { return };
        let Some(passed) = certificate.passed() else { return };
        let about = |code: &&String| [gradient_certificate::CODE, gradients_disagree::CODE].contains(&code.as_str());
        summary.records.push(Record {
            model: self.model.name.clone(),
            model_sha256: self.model.sha256.clone(),
            n: certificate.samples as u64,
            component: "certificate".into(),
            component_version: env!("CARGO_PKG_VERSION").into(),
            threat: threat.text(),
            eps: Some(threat.eps),
            metric: "gradient_certificate".into(),
            value: Some(f64::from(u8::from(passed))),
            flags: doubts.get("").into_iter().flatten().filter(about).cloned().collect(),
            ..blank(self.context)
        });
    }

    fn attacks(&self) -> impl Iterator<Item = &&Part> {
        self.parts.iter().filter(|p| p.attack && p.findings.tensor("id").is_some())
    }

    fn record(&self, part: &Part) -> Record {
        let (component, args) = match &part.work {
            Work::Clean => ("clean".to_owned(), String::new()),
            Work::Component(request) => (request.id.clone(), request.spelled()),
        };
        Record {
            model: self.model.name.clone(),
            model_sha256: self.model.sha256.clone(),
            component,
            component_version: part.version.clone(),
            args,
            threat: part.threat.as_ref().map(ThreatModel::text).unwrap_or_default(),
            eps: part.threat.as_ref().map(|t| t.eps),
            ..blank(self.context)
        }
    }

    fn clean(&self, part: &Part, doubts: &Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        let keys = self.keys(part, "")?;
        let correct = keys.iter().filter(|k| k.prediction == Some(k.label)).count() as u64;
        let mut record = rate(self.record(part), "clean_accuracy", correct, keys.len() as u64);
        record.threat = String::new();
        record.eps = None;
        record.forwards = keys.len() as u64;
        record.flags = doubts.get("").cloned().unwrap_or_default();
        summary.records.push(record);
        let margins = part.findings.get::<f64>("clean_margin")?;
        for (key, margin) in keys.iter().zip(margins) {
            summary.samples.set(key, "clean.margin", SampleValue::Number(margin));
        }
        Ok(())
    }

    fn attack(&self, part: &Part, request: &Request, doubts: &Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        let threat = part.threat.as_ref().map(ThreatModel::text).unwrap_or_default();
        let keys = self.keys(part, &threat)?;
        let n = keys.len() as u64;
        let outcomes = outcomes(&part.findings)?;
        let claimed = part.findings.get::<bool>("claimed")?;
        let distances = part.findings.get::<f64>("distance")?;
        let margins = part.findings.get::<f64>("margin")?;
        let total =
            |name: &str| -> Result<u64, FindingsError> { Ok(part.findings.get::<i64>(name)?.iter().map(|&v| v as u64).sum()) };
        let count = |wanted: Outcome| outcomes.iter().filter(|&&o| o == wanted).count() as u64;
        let mut base = self.record(part);
        base.forwards = total("forwards")?;
        base.backwards = total("backwards")?;
        base.flags = doubts.get(&threat).cloned().unwrap_or_default();
        summary.records.push(rate(base.clone(), "robust_accuracy", count(Outcome::Held), n));
        if let Ok(stored) = outcomes_in(&part.findings, ON_GRID) {
            let held = stored.iter().filter(|&&o| o == Outcome::Held).count() as u64;
            summary.records.push(rate(base.clone(), "robust_accuracy_uint8", held, n));
        }
        let claims = claimed.iter().filter(|&&c| c).count() as u64;
        summary.records.push(rate(base.clone(), "claimed_success", claims, n));
        summary.records.push(rate(base, "nan_in_ball", count(Outcome::NanInBall), n));
        let name = self.column_of(request);
        for (row, key) in keys.iter().enumerate() {
            summary.samples.set(key, &format!("{name}.outcome"), SampleValue::Text(outcome_name(outcomes[row]).into()));
            summary.samples.set(key, &format!("{name}.distance"), SampleValue::Number(distances[row]));
            summary.samples.set(key, &format!("{name}.margin"), SampleValue::Number(margins[row]));
        }
        Ok(())
    }

    /// The worst case over all attacks, sample by sample, on the samples that every attack has seen.
    fn union(&self, threat: &ThreatModel, doubts: &Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        let parts: Vec<&&Part> =
            self.attacks().filter(|p| p.threat.as_ref().is_some_and(|t| t.text() == threat.text())).collect();
        let (mut forwards, mut backwards) = (0, 0);
        for part in &parts {
            forwards += part.findings.get::<i64>("forwards")?.iter().sum::<i64>();
            backwards += part.findings.get::<i64>("backwards")?.iter().sum::<i64>();
        }
        let standing = |column: &str| -> Result<(u64, u64), FindingsError> {
            let mut standing: BTreeMap<i64, (usize, bool)> = BTreeMap::new();
            for part in &parts {
                for (id, outcome) in part.findings.get::<i64>("id")?.into_iter().zip(outcomes_in(&part.findings, column)?) {
                    let entry = standing.entry(id).or_insert((0, true));
                    entry.0 += 1;
                    entry.1 &= outcome == Outcome::Held;
                }
            }
            let seen = standing.values().filter(|(count, _)| *count == parts.len());
            Ok(seen.fold((0, 0), |(held, n), (_, holds)| (held + u64::from(*holds), n + 1)))
        };
        let record = Record {
            model: self.model.name.clone(),
            model_sha256: self.model.sha256.clone(),
            component: "union".into(),
            threat: threat.text(),
            eps: Some(threat.eps),
            forwards: forwards as u64,
            backwards: backwards as u64,
            flags: doubts.get(&threat.text()).cloned().unwrap_or_default(),
            ..blank(self.context)
        };
        let (held, n) = standing("outcome")?;
        summary.records.push(rate(record.clone(), "robust_accuracy", held, n));
        if let Ok((held, n)) = standing(ON_GRID) {
            summary.records.push(rate(record, "robust_accuracy_uint8", held, n));
        }
        Ok(())
    }

    fn metric(&self, part: &Part, request: &Request, summary: &mut Summary) -> Result<(), FindingsError> {
        let keys = self.keys(part, "")?;
        let total =
            |name: &str| -> Result<u64, FindingsError> { Ok(part.findings.get::<i64>(name)?.iter().map(|&v| v as u64).sum()) };
        for (name, tensor) in part.findings.with_prefix("col_") {
            let values = tensor.to_f64();
            let mean = Mean::of(&values);
            let interval = mean.as_ref().and_then(Mean::interval);
            summary.records.push(Record {
                metric: metric_name(name),
                n: values.len() as u64,
                value: mean.map(|m| m.value),
                ci_low: interval.as_ref().map(|i: &Interval| i.low),
                ci_high: interval.as_ref().map(|i| i.high),
                forwards: total("forwards")?,
                backwards: total("backwards")?,
                ..self.record(part)
            });
            for (key, &value) in keys.iter().zip(&values) {
                summary.samples.set(key, &request.placed(name), SampleValue::Number(value));
            }
        }
        Ok(())
    }

    fn keys(&self, part: &Part, threat: &str) -> Result<Vec<SampleKey>, FindingsError> {
        let ids = part.findings.get::<i64>("id")?;
        let labels = part.findings.get::<i64>("label")?;
        let predictions = part.findings.get::<i64>("prediction")?;
        let row = |((id, label), prediction): ((i64, i64), i64)| SampleKey {
            model: self.model.name.clone(),
            threat: threat.to_owned(),
            id: id as u64,
            label,
            prediction: (prediction >= 0).then_some(prediction),
        };
        Ok(ids.into_iter().zip(labels).zip(predictions).map(row).collect())
    }

    /// `pgd`, or `pgd:steps=40` where the audit has several of one name.
    fn column_of(&self, request: &Request) -> String {
        let same = |p: &&&Part| matches!(&p.work, Work::Component(other) if other.id == request.id && other != request);
        let arguments = request.spelled();
        if arguments.is_empty() || !self.parts.iter().any(|p| same(&p)) {
            request.id.clone()
        } else {
            format!("{}:{arguments}", request.id)
        }
    }

    /// Codes of the justified doubts by threat model; without a threat those about the model itself.
    fn doubts(&self, summary: &mut Summary) -> Result<Doubts, FindingsError> {
        let mut found = Doubts::new();
        let clean = self.parts.iter().find(|p| p.work == Work::Clean && p.findings.tensor("id").is_some());
        let keys = clean.map_or(Ok(Vec::new()), |clean| self.keys(clean, ""))?;
        let correct = keys.iter().filter(|k| k.prediction == Some(k.label)).count() as u64;
        let margins = clean.map_or(Ok(Vec::new()), |clean| clean.findings.get::<f64>("clean_margin"))?;
        let base = Evidence {
            classes: self.model.classes,
            batch_difference: self.model.batch_difference,
            repeat_difference: self.model.repeat_difference,
            order_difference: self.model.order_difference,
            hazards: &self.model.hazards,
            remedies: &self.model.remedies,
            suggestions: &self.model.suggestions,
            underflowing: if self.model.margin { 0 } else { margins.iter().filter(|m| **m > LEAD).count() as u64 },
            certificate: self.model.certificate.as_ref().map(|c| &c.certificate),
            n: keys.len() as u64,
            correct,
            ..Evidence::default()
        };
        let mut cases = vec![(String::new(), base.clone())];
        for part in self.attacks() {
            let Some(threat) = &part.threat else { continue };
            let evidence = evidence(part)?;
            match cases.iter_mut().find(|(text, _)| *text == threat.text()) {
                Some((_, case)) => case.attacks.push(evidence),
                None => cases.push((threat.text(), Evidence { threat: Some(threat), attacks: vec![evidence], ..base.clone() })),
            }
        }
        for (text, case) in &cases {
            for (doubt, evidence) in case.justified() {
                found.entry(text.clone()).or_default().push(doubt.code.to_owned());
                // what holds without any attack is told once
                if !text.is_empty() && found.get("").is_some_and(|codes| codes.iter().any(|c| c == doubt.code)) {
                    continue;
                }
                summary.unreliable |= case.is_grave(&doubt);
                let place = if text.is_empty() { self.model.name.clone() } else { format!("{} under {text}", self.model.name) };
                summary.doubts.push(Doubt {
                    code: doubt.code.into(),
                    raised_if: doubt.raised_if.into(),
                    explanation: doubt.explanation.into(),
                    advice: doubt.advice.into(),
                    raised_for: format!("{place}: {evidence}"),
                });
            }
        }
        Ok(found)
    }
}

type Doubts = BTreeMap<String, Vec<String>>;

fn evidence(part: &Part) -> Result<AttackEvidence, FindingsError> {
    let Work::Component(request) = &part.work else { return Ok(AttackEvidence::default()) };
    let total =
        |name: &str| -> Result<u64, FindingsError> { Ok(part.findings.get::<i64>(name)?.iter().map(|&v| v as u64).sum()) };
    let outcomes = outcomes(&part.findings)?;
    let count = |wanted: Outcome| outcomes.iter().filter(|&&o| o == wanted).count() as u64;
    Ok(AttackEvidence {
        id: request.id.clone(),
        arguments: request.spelled(),
        robust: count(Outcome::Held),
        nan_in_ball: count(Outcome::NanInBall),
        rejected: total("rejected")?,
        gradients: total("gradients")?,
        zero_gradients: total("zero_gradients")?,
        broken_gradients: total("broken_gradients")?,
        steps: part.steps,
    })
}

/// The outcomes of points stored as 8-bit pixels, for models that take nothing else.
const ON_GRID: &str = "outcome_uint8";

fn outcomes(findings: &Findings) -> Result<Vec<Outcome>, FindingsError> {
    outcomes_in(findings, "outcome")
}

fn outcomes_in(findings: &Findings, column: &str) -> Result<Vec<Outcome>, FindingsError> {
    let code = |code: u8| OUTCOMES.iter().map(|(o, _)| *o).find(|o| *o as u8 == code);
    let codes = findings.get::<u8>(column)?;
    codes.into_iter().map(|c| code(c).ok_or_else(|| FindingsError::Column(column.into()))).collect()
}

/// The outcomes and their names in `samples.csv`.
pub const OUTCOMES: &[(Outcome, &str)] = &[
    (Outcome::Misclassified, "misclassified"),
    (Outcome::Broken, "broken"),
    (Outcome::Held, "held"),
    (Outcome::NanInBall, "nan-in-ball"),
];

fn outcome_name(outcome: Outcome) -> &'static str {
    OUTCOMES.iter().find(|(o, _)| *o == outcome).map_or("", |(_, name)| name)
}

/// The name of a column's mean in `results.csv`: `ams` → `ams_mean`; what is named a sum or a mean keeps its name.
pub fn metric_name(column: &str) -> String {
    if column.ends_with("_mean") || column.ends_with("_sum") { column.to_owned() } else { format!("{column}_mean") }
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
