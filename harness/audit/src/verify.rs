//! Judges a finished run again without any attack code: the files by their hashes, every adversarial example by the untouched model,
//! the tables by the directory that they were made of.

use std::collections::BTreeMap;

use flatscape_engine::Engine;
use flatscape_graph::Tensor;
use flatscape_intake::data::Dataset;
use flatscape_intake::model::{JudgedBy, Model};
use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::Findings;
use flatscape_measure::threats::{Candidate, ThreatModel};
use flatscape_measure::verify::{Finding, Outcome, Region, Rejection, Verifier};
use serde::Serialize;

use crate::escalation::was_skipped;
use crate::job::{Job, Work};
use crate::manifest::{Component, ModelFacts};
use crate::rows::{Summary, summarise};
use crate::stored::Stored;
use crate::{landscape, publish, witness};

/// What a verification found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// The engine that ran the models.
    pub engine: String,
    /// One entry per attack that broke something.
    pub witnesses: Vec<WitnessCheck>,
    /// What does not hold, as sentences that name the file; the samples, where it is about samples.
    pub failures: Vec<Failure>,
    /// What could not be checked, as sentences; these are not failures.
    pub notes: Vec<String>,
}

/// What became of the adversarial examples of one attack.
#[derive(Clone, Debug, Serialize)]
pub struct WitnessCheck {
    /// The file, relative to the run directory.
    pub file: String,
    /// The model.
    pub model: String,
    /// The attack and its arguments, as tables call it.
    pub attack: String,
    /// The threat model as written.
    pub threat: String,
    /// Adversarial examples in the file.
    pub n: usize,
    /// Of these, those that hold: finite, in the box, in the ball, with the prediction that was stored, which is not the label.
    pub hold: usize,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// A sentence.
    pub what: String,
    /// The samples that it is about; empty where it is about a file.
    pub samples: Vec<i64>,
}

impl Verification {
    /// Whether everything that was checked holds.
    pub fn holds(&self) -> bool {
        self.failures.is_empty()
    }

    fn fails(&mut self, what: String) {
        self.failures.push(Failure { what, samples: Vec::new() });
    }
}

/// Verifies a run.
///
/// # Errors
/// Only what keeps everything from being judged: the manifest or the jobs cannot be read (see [`Stored::open`]).
pub fn verify(stored: &Stored, engine: &dyn Engine) -> Result<Verification, Refusal> {
    let info = engine.info();
    let mut found = Verification { engine: format!("{} {} on {}", info.name, info.version, info.device), ..Default::default() };
    results(stored, &mut found)?;
    tables(stored, &mut found)?;
    let Some(dataset) = data(stored, &mut found) else { return Ok(found) };
    let attacks: Vec<&Job> = stored.jobs.iter().filter(|job| matches!(job.work, Work::Attack(_))).collect();
    let mut models: BTreeMap<usize, Option<Model>> = BTreeMap::new();
    for group in attacks.chunk_by(|a, b| a.part() == b.part() && a.model == b.model) {
        let Some(place) = stored.manifest.models.iter().position(|m| m.request == group[0].model) else { continue };
        let facts = &stored.manifest.models[place];
        let model = models.entry(place).or_insert_with(|| model(facts, &dataset, engine, &mut found));
        let Some(model) = model else { continue };
        attack(stored, group, facts, model, &dataset, engine, &mut found)?;
    }
    Ok(found)
}

/// Every result fits its job.
fn results(stored: &Stored, found: &mut Verification) -> Result<(), Refusal> {
    let mut missing = 0;
    for job in &stored.jobs {
        match stored.result(job) {
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(why))) => found.fails(format!("{} {why}", job.result())),
            Ok(None) => missing += 1,
            Err(refusal) => found.fails(refusal.what),
        }
    }
    if missing > 0 {
        found.notes.push(format!("the run is incomplete: {missing} of {} jobs have no result", stored.jobs.len()));
    }
    Ok(())
}

/// The tables and pages are those that the directory gives.
fn tables(stored: &Stored, found: &mut Verification) -> Result<(), Refusal> {
    let Ok(summary) = summarise(stored) else {
        found.notes.push("the tables were not compared, because results do not fit their jobs".to_owned());
        return Ok(());
    };
    for (name, bytes) in published(stored, &summary)? {
        match stored.directory.read(&name) {
            Ok(Some(there)) if there == bytes => {}
            Ok(Some(_)) => found.fails(format!("{name} is not what the results of this run give")),
            Ok(None) => found.notes.push(format!("{name} is not there; flatscape report writes it")),
            Err(refusal) => found.fails(refusal.what),
        }
    }
    Ok(())
}

fn published(stored: &Stored, summary: &Summary) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
    let surfaces = landscape::surfaces(stored)?;
    let mut files = publish::exhibits(stored, &surfaces)?;
    let page = publish::page(stored, summary, surfaces)?;
    files.extend(publish::pictures(&page));
    for format in publish::FORMATS.iter().filter(|f| publish::USUAL.contains(&f.name)) {
        files.extend(publish::made(&page, format)?.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)));
    }
    Ok(files)
}

/// The data, if it is what the run was about.
fn data(stored: &Stored, found: &mut Verification) -> Option<Dataset> {
    let facts = &stored.manifest.data;
    match Dataset::load(&facts.request) {
        Ok(dataset) if dataset.sha256 == facts.sha256 => Some(dataset),
        Ok(dataset) => {
            let (then, now) = (&facts.sha256, &dataset.sha256);
            found.fails(format!("the data {} is not what the run was about: its SHA-256 was {then} and is {now}", facts.name));
            None
        }
        Err(refusal) => {
            found.fails(format!("the data {} cannot be read: {}", facts.name, refusal.what));
            None
        }
    }
}

/// A model, if its file is what the run was about.
fn model(facts: &ModelFacts, dataset: &Dataset, engine: &dyn Engine, found: &mut Verification) -> Option<Model> {
    match Model::load(&facts.request.source, &facts.request.intake, dataset, engine) {
        Ok(model) if model.sha256 == facts.sha256 => {
            let here = model.judge.facts();
            if let (JudgedBy::File, JudgedBy::Float32Copy(why)) = (&facts.judged_by, &here) {
                let name = &facts.name;
                found.notes.push(format!(
                    "the adversarial examples of {name} were not judged: the run asked the file itself, and here {why}"
                ));
                return None;
            }
            Some(model)
        }
        Ok(model) => {
            let (then, now) = (&facts.sha256, &model.sha256);
            found.fails(format!("the model {} is not what the run was about: its SHA-256 was {then} and is {now}", facts.name));
            None
        }
        Err(refusal) => {
            found.fails(format!("the model {} cannot be read: {}", facts.name, refusal.what));
            None
        }
    }
}

/// The witnesses of one attack: the file holds exactly what the results count as broken, and every point holds.
fn attack(
    stored: &Stored,
    group: &[&Job],
    facts: &ModelFacts,
    model: &Model,
    dataset: &Dataset,
    engine: &dyn Engine,
    found: &mut Verification,
) -> Result<(), Refusal> {
    let (job, file) = (group[0], witness::name(group[0]));
    let counted = counted(stored, group)?;
    let Some(witnesses) = witnesses(stored, &file, &counted, found) else { return Ok(()) };
    let threat = ThreatModel::parse(&job.threat, true)?.on(dataset.shape).seeded(job.settings.seed);
    // a minimum-norm attack keeps the nearest example, whatever its distance
    let region = if component(stored, job).is_some_and(|c| c.minimal) { Region::Box } else { Region::Ball };
    let mut check = WitnessCheck {
        file: file.clone(),
        model: facts.name.clone(),
        attack: label(stored, job),
        threat: job.threat.clone(),
        n: witnesses.ids.len(),
        hold: 0,
    };
    let others: Vec<i64> = counted.keys().filter(|id| !witnesses.ids.contains(id)).copied().collect();
    if !others.is_empty() {
        let what = format!("{file} lacks samples that the results count as broken");
        found.failures.push(Failure { what, samples: others });
    }
    if witnesses.model_sha256 != facts.sha256 || witnesses.threat != job.threat {
        found.fails(format!("{file} is about another model or another threat model"));
    }
    let faults = judged(&witnesses, &counted, (&threat, region), model, dataset, engine)?;
    check.hold = check.n - faults.iter().map(|(_, ids)| ids.len()).sum::<usize>();
    for (why, samples) in faults {
        found.failures.push(Failure { what: format!("{file}: {why}"), samples });
    }
    found.witnesses.push(check);
    Ok(())
}

fn label(stored: &Stored, job: &Job) -> String {
    component(stored, job).map_or_else(|| job.work.word(), |c| c.label.clone())
}

/// The content of a witness file, where there is one that can be read.
fn witnesses(stored: &Stored, file: &str, counted: &BTreeMap<i64, Outcome>, found: &mut Verification) -> Option<Witnesses> {
    match stored.directory.read(file) {
        Err(refusal) => found.fails(refusal.what),
        Ok(None) if counted.is_empty() => {}
        Ok(None) => {
            let what = format!("{file} is missing, and the results count its samples as broken");
            found.failures.push(Failure { what, samples: counted.keys().copied().collect() });
        }
        Ok(Some(bytes)) => match Findings::decode(&bytes).map_err(|e| e.to_string()).and_then(|f| Witnesses::read(&f)) {
            Ok(witnesses) => return Some(witnesses),
            Err(why) => found.fails(format!("{file} cannot be read: {why}")),
        },
    }
    None
}

/// The attack of a job.
fn component<'a>(stored: &'a Stored, job: &Job) -> Option<&'a Component> {
    let Work::Attack(request) = &job.work else { return None };
    stored.manifest.attacks.iter().find(|c| c.request == *request)
}

/// The samples that results count as broken, with the outcome of each.
fn counted(stored: &Stored, group: &[&Job]) -> Result<BTreeMap<i64, Outcome>, Refusal> {
    let mut counted = BTreeMap::new();
    for job in group {
        // what does not fit its job has been told already
        let Ok(Some(Ok(findings))) = stored.result(job) else { continue };
        if was_skipped(&findings) {
            continue;
        }
        let damaged = |e: flatscape_measure::findings::FindingsError| Refusal::state(106, e.to_string());
        let codes = findings.get::<u8>("outcome").map_err(damaged)?;
        for (id, code) in findings.get::<i64>("id").map_err(damaged)?.into_iter().zip(codes) {
            let outcome = [Outcome::Broken, Outcome::NanInBall].into_iter().find(|o| *o as u8 == code);
            counted.extend(outcome.map(|outcome| (id, outcome)));
        }
    }
    Ok(counted)
}

/// The content of a witness file.
struct Witnesses {
    ids: Vec<i64>,
    labels: Vec<i64>,
    predictions: Vec<i64>,
    x0: Tensor,
    points: Vec<Option<Candidate>>,
    threat: String,
    model_sha256: String,
}

impl Witnesses {
    fn read(file: &Findings) -> Result<Witnesses, String> {
        let whole = |name: &str| file.get::<i64>(name).map_err(|e| e.to_string());
        let ids = whole("id")?;
        let points = file.get::<f32>("x_adv").map_err(|e| e.to_string())?;
        let x0 = file.tensor("x0").cloned().ok_or("it has no column `x0`")?;
        let (labels, predictions) = (whole("label")?, whole("prediction")?);
        let parameters = file.tensor("z").map(|_| file.get::<f32>("z").map_err(|e| e.to_string())).transpose()?;
        let rows = [labels.len(), predictions.len(), x0.shape().first().copied().unwrap_or(0)];
        let split = |values: &[f32]| values.len().is_multiple_of(ids.len()).then(|| values.len() / ids.len());
        let width =
            Some(&points).filter(|_| !ids.is_empty() && rows.iter().all(|&rows| rows == ids.len())).and_then(|p| split(p));
        let count = parameters.as_ref().map_or(Some(0), |z| split(z).filter(|_| width.is_some()));
        let (Some(width), Some(count)) = (width, count) else { return Err("its columns have different lengths".to_owned()) };
        let candidate = |row: usize| Candidate {
            x: points[row * width..(row + 1) * width].to_vec(),
            z: parameters.as_ref().map(|z| z[row * count..(row + 1) * count].to_vec()),
            // what is not an id is told as a sample that the data set does not have
            sample: u64::try_from(ids[row]).unwrap_or(u64::MAX),
        };
        Ok(Witnesses {
            points: (0..ids.len()).map(|row| Some(candidate(row))).collect(),
            threat: crate::result::text(file, "threat")?,
            model_sha256: crate::result::text(file, "model_sha256")?,
            ids,
            labels,
            predictions,
            x0,
        })
    }
}

/// The samples whose points do not hold, by the reason.
fn judged(
    witnesses: &Witnesses,
    counted: &BTreeMap<i64, Outcome>,
    (threat, region): (&ThreatModel, Region),
    model: &Model,
    dataset: &Dataset,
    engine: &dyn Engine,
) -> Result<Vec<(String, Vec<i64>)>, Refusal> {
    let mut faults: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let strange = |id: &&i64| !usize::try_from(**id).is_ok_and(|id| id < dataset.len());
    let outside: Vec<i64> = witnesses.ids.iter().filter(strange).copied().collect();
    if !outside.is_empty() {
        return Ok(vec![("samples that the data set does not have".to_owned(), outside)]);
    }
    let ids: Vec<u64> = witnesses.ids.iter().map(|&id| id as u64).collect();
    let clean = dataset.gather(&ids);
    // the images and labels of the data set decide, not the copies in the file
    let own = clean.x.to_vec::<f32>().ok_or_else(|| Refusal::data(106, "the images are not float32"))?;
    let copied = witnesses.x0.to_vec::<f32>().unwrap_or_default();
    let width = own.len() / ids.len().max(1);
    // for a model that takes integers a decoded image is rounded
    let threat = &if model.native.integer_pixels.is_some() { threat.in_levels() } else { threat.clone() };
    let verifier = Verifier::of(engine, model, threat, 1).map_err(|e| Refusal::engine(110, e.to_string()))?;
    let findings =
        verifier.judge(threat, region, &clean.x, &clean.y, &witnesses.points).map_err(|e| Refusal::engine(110, e.to_string()))?;
    for (row, finding) in findings.iter().enumerate() {
        let id = witnesses.ids[row];
        let same = copied.get(row * width..(row + 1) * width) == own.get(row * width..(row + 1) * width);
        let why = if !same || witnesses.labels[row] != clean.y[row] {
            Some("the clean image or its label is not that of the data set")
        } else {
            fault(finding, counted.get(&id), witnesses.predictions[row])
        };
        if let Some(why) = why {
            faults.entry(why).or_default().push(id);
        }
    }
    Ok(faults.into_iter().map(|(why, ids)| (why.to_owned(), ids)).collect())
}

/// Why a point does not hold.
fn fault(finding: &Finding, counted: Option<&Outcome>, stored: i64) -> Option<&'static str> {
    match finding.rejection {
        None => {}
        Some(Rejection::NotMeasured) => return Some("the parameter is missing that the image was decoded from"),
        Some(Rejection::OtherImage) => return Some("the image is not what its parameter decodes to"),
        Some(_) => return Some("the point is not finite, or lies outside the box or the ball"),
    }
    match (counted, finding.outcome) {
        (None, _) => Some("the results do not count the sample as broken"),
        (Some(Outcome::NanInBall), Outcome::NanInBall) => None,
        (Some(Outcome::NanInBall), _) => Some("the model gives finite scores at a point that was counted as undefined"),
        (Some(_), Outcome::Broken) => {
            let same = finding.prediction.is_some_and(|class| class as i64 == stored);
            (!same).then_some("the model predicts another class than the one that was stored")
        }
        (Some(_), _) => Some("the model predicts the label"),
    }
}
