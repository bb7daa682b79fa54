//! One component on one model under one threat model, linked and compiled: it computes any samples. Who computes which, and where
//! the findings go, is decided elsewhere.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_host::{Arguments, Component, HostError, Kind, Plugins, Value};
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;
use flatscape_intake::refusal::Refusal;
use serde::{Deserialize, Serialize};

use crate::attack::Batch;
use crate::findings::Findings;
use crate::measures::clean::Clean;
use crate::measures::{self, CleanAnswer, Conditions, Group, Measure, Watch, failed};
use crate::request::{At, Request};
use crate::threats::ThreatModel;
use crate::verify::Verifier;

pub use crate::error::{MeasureError, of_host};
pub use crate::measures::oracle::undecoded;
pub use crate::measures::task;

/// What is applied to a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Predictions on the clean points.
    Clean,
    /// An attack or a metric, as written: `pgd:steps=20`.
    Component(Request),
}

/// Settings of an audit that every job shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Seed of all randomness.
    pub seed: u64,
    /// Samples per run of a graph.
    pub batch_size: usize,
}

impl Settings {
    /// With the batch size of the user, or the usual one for images of this shape.
    pub fn of(seed: u64, batch_size: Option<usize>, image: &[usize]) -> Settings {
        Settings { seed, batch_size: batch_size.unwrap_or_else(|| Settings::usual_batch(image)) }
    }

    /// The batch size for images of this shape where the user chooses none: 512, of large images as many as 8 MiB hold, and at least
    /// 128. It is far above a micro-batch, so that no core waits long for the last one.
    ///
    /// Measured on two cores with ONNX Runtime: against 128, 20 steps of PGD on 1,000 images take 24 % less time with 512 on a net of
    /// two layers, and 7 to 16 % less on one of two convolutions and on residual nets.
    pub fn usual_batch(image: &[usize]) -> usize {
        const ELEMENTS: usize = (8 << 20) / size_of::<f32>();
        (ELEMENTS / image.iter().product::<usize>().max(1)).clamp(128, 512)
    }
}

/// What a job found, and what went wrong on the way.
#[derive(Debug)]
pub struct Measured {
    /// One row per sample.
    pub findings: Findings,
    /// The fault that ended the work early. What was found before counts; samples that were not attacked any more have the outcome
    /// [`crate::verify::Outcome::NotAttacked`].
    pub fault: Option<MeasureError>,
}

/// A component linked to a model and compiled: it computes any samples.
pub struct Prepared<'a> {
    conditions: Conditions<'a>,
    verifier: Verifier,
    measure: Box<dyn Measure + 'a>,
    /// Whether targets are chosen by the scores of the images.
    reads_scores: bool,
    /// What a reader should know about how it is computed, as clauses.
    pub notes: Vec<String>,
}

/// The progress of a job: samples done of samples to do.
pub type Progress<'p> = &'p mut dyn FnMut(usize, usize);

impl<'a> Prepared<'a> {
    /// Links and compiles what is needed for all jobs of the same model, work and threat.
    ///
    /// # Errors
    /// There is no such component, its arguments are wrong, its program does not fit the model, or the engine refuses it.
    pub fn new(
        engine: &dyn Engine,
        plugins: &'a Plugins,
        model: &'a Model,
        dataset: &'a Dataset,
        work: &Work,
        threat: &ThreatModel,
        settings: Settings,
    ) -> Result<Prepared<'a>, MeasureError> {
        let settings = Settings { batch_size: settings.batch_size.max(1), ..settings };
        let threat = &threat.on(model.shape).seeded(settings.seed);
        // The judge runs at another batch size than whatever it judges.
        let other = if settings.batch_size > 1 { settings.batch_size / 2 + 1 } else { 2 };
        let verifier = Verifier::of(engine, model, threat, other).map_err(failed("verification"))?;
        let conditions = Conditions { plugins, model, dataset, threat: threat.clone(), settings };
        let (measure, notes): (Box<dyn Measure + 'a>, _) = match work {
            Work::Clean => (Box::new(Clean), Vec::new()),
            Work::Component(request) => measures::component(engine, &conditions, &verifier, request)?,
        };
        let reads_scores = matches!(work, Work::Component(request) if request.reads_scores());
        Ok(Prepared { conditions, verifier, measure, reads_scores, notes })
    }

    /// Computes the samples of a range, or those of them that are in `only` (ascending); others are absent from the findings. Where
    /// the findings of a clean job on the same model, data and range are there, what the model says about the images is read from
    /// them, unless targets are chosen by scores, which they do not hold; computed again it would be the same. `stop` is checked
    /// between runs of a graph.
    ///
    /// # Errors
    /// What leaves nothing to store: the engine or the program failed, or [`MeasureError::Interrupted`].
    pub fn compute(
        &self,
        range: Range<usize>,
        only: Option<&[usize]>,
        clean: Option<&Findings>,
        progress: Progress,
        stop: &AtomicBool,
    ) -> Result<Measured, MeasureError> {
        let ids: Vec<u64> = match only {
            None => range.map(|id| id as u64).collect(),
            Some(only) => only.iter().filter(|id| range.contains(id)).map(|&id| id as u64).collect(),
        };
        let mut parts: Vec<Findings> = Vec::new();
        let mut fault: Option<MeasureError> = None;
        let mut done = 0;
        let groups: Vec<&[u64]> = ids.chunks(self.measure.group(&self.conditions).max(1)).collect();
        // without samples there are columns without rows
        for ids_of in if groups.is_empty() { vec![&[][..]] } else { groups } {
            let count = ids_of.len();
            let mut told = |share: f64| progress(done + (share * count as f64) as usize, ids.len());
            let mut watch = Watch { progress: &mut told, stop };
            watch.go_on()?;
            parts.push(self.group(ids_of, clean, &mut fault, &mut watch)?);
            done += count;
            progress(done, ids.len());
        }
        // a group without rows may lack columns that the others have
        if parts.iter().any(|part| part.samples().is_ok_and(|n| n > 0)) {
            parts.retain(|part| !part.samples().is_ok_and(|n| n == 0));
        }
        Ok(Measured { findings: Findings::concat(parts)?, fault })
    }

    fn group(
        &self,
        ids: &[u64],
        clean: Option<&Findings>,
        fault: &mut Option<MeasureError>,
        watch: &mut Watch,
    ) -> Result<Findings, MeasureError> {
        let part = self.conditions.dataset.gather(ids);
        let batch = Batch { ids: part.ids, x0: part.x, target: part.y.clone(), y: part.y, clean: None, second: None };
        let clean = match clean.filter(|_| !self.reads_scores && !self.measure.doubts_batches()) {
            Some(findings) => CleanAnswer::read(findings, ids)?,
            None => self.clean(&batch)?,
        };
        let group = Group { conditions: &self.conditions, verifier: &self.verifier, batch: &batch, clean: &clean };
        if fault.is_some() {
            return self.measure.skipped(&group);
        }
        let (findings, failed) = self.measure.measure(&group, watch)?;
        *fault = failed;
        Ok(findings)
    }
}

impl Prepared<'_> {
    /// What the model says about the images, each alone; where that is what is measured, in batches, too.
    fn clean(&self, batch: &Batch) -> Result<Vec<CleanAnswer>, MeasureError> {
        let sizes = [self.verifier.batch_size(), self.conditions.settings.batch_size];
        let sizes = if self.measure.doubts_batches() { &sizes[..] } else { &[] };
        let answers = self.verifier.answers(&batch.x0, sizes).map_err(failed("verification"))?;
        Ok(answers.into_iter().zip(&batch.y).map(|(answer, &y)| CleanAnswer::of(answer, y as usize)).collect())
    }
}

/// Whether a request can be served at all: the component exists and is of that kind, its arguments are right, and what it names
/// inside (`at=adv:ATTACK`, `at=path:ATTACK`) is an attack that exists. For planners: it reads tables and runs nothing.
///
/// # Errors
/// A usage error.
pub fn check(plugins: &Plugins, kind: Kind, request: &Request) -> Result<(), Refusal> {
    plugins.component(kind, &request.id).and_then(|c| c.arguments(&request.arguments)).map_err(of_host)?;
    if kind != Kind::Metric && request.at.is_some() {
        let what = format!("at= belongs to metrics, and {} is not one", request.id);
        return Err(Refusal::usage(91, what).help(format!("write METRIC:at=adv:{}", request.id)));
    }
    for (name, given) in [("target", request.target.is_some()), ("via", request.via.is_some()), ("when", request.when_masked)] {
        if kind != Kind::Attack && given {
            let what = format!("{name}= belongs to attacks, and {} is not one", request.id);
            return Err(Refusal::usage(91, what).help("write it inside, after at=adv:ATTACK"));
        }
    }
    if request.when_masked && !request.survivors {
        let what = format!("{}: when=masked goes with on=survivors", request.id);
        return Err(Refusal::usage(91, what).help("add on=survivors"));
    }
    if let Some(second) = &request.second {
        if kind != Kind::Metric || !matches!(request.at, Some(At::Adversarial(_))) {
            let what = format!("{}: and= belongs to metrics with at=adv:ATTACK", request.id);
            return Err(Refusal::usage(91, what).help("write METRIC:at=adv:ATTACK,and=adv:ATTACK"));
        }
        check(plugins, Kind::Attack, second)?;
    }
    let Some(attack) = request.attack() else { return Ok(()) };
    if request.follows_path() && plugins.component(Kind::Attack, &attack.id).is_ok_and(Component::is_oracle) {
        let what = format!("{} runs through oracle/1, and its path is not known", attack.id);
        return Err(Refusal::usage(91, what).help(format!("write at=adv:{} instead", attack.id)));
    }
    check(plugins, Kind::Attack, attack)
}

/// The attack or metric of that name.
///
/// # Errors
/// There is none.
pub fn offered<'p>(plugins: &'p Plugins, id: &str) -> Result<&'p Component, HostError> {
    plugins.component(Kind::Metric, id).or_else(|_| plugins.component(Kind::Attack, id))
}

/// The arguments that are numbers, as programs read them: `arg_alpha`. Truth values are 0 and 1.
pub fn numbers(arguments: &Arguments) -> Vec<(String, f64)> {
    let number = |value: &Value| match value {
        Value::Int(v) => Some(*v as f64),
        Value::Float(v) => Some(*v),
        Value::Bool(v) => Some(f64::from(u8::from(*v))),
        _ => None,
    };
    arguments.0.iter().filter_map(|a| Some((a.name.replace('-', "_"), number(&a.value)?))).collect()
}
