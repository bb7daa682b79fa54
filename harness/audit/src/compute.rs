//! Computes jobs: from a job and the files it names to its result. What several jobs share (data, models, compiled programs) is
//! loaded once and kept. Publishes nothing.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_graph::onnx;
use flatscape_host::Plugins;
use flatscape_intake::data::Dataset;
use flatscape_intake::model::{Model, ModelRequest};
use flatscape_intake::refusal::Refusal;
use flatscape_intake::remedies;
use flatscape_intake::suggest::suggest;
use flatscape_measure::canary::{Canary, Ground, Planting};
use flatscape_measure::columns::{ID, LABEL, PREDICTION};
use flatscape_measure::findings::Findings;
use flatscape_measure::prepared::{self, MeasureError, Prepared};
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::Outcome;
use flatscape_measure::{limits, losses, reduction};

use crate::directory::Directory;
use crate::job::{Job, Source, Work};
use crate::manifest::{engine_name, pretty};
use crate::result::{UNRECOGNISED, put_text, seal};
use crate::stored::result_in;
use crate::{bounds, escalation, landscape};
use flatscape_certificate::{self as certificate, Engines};
use flatscape_weights::measure::{self as weights, Asked};

/// Everything that jobs of one run share.
pub struct Workshop<'a> {
    /// Runs the graphs.
    pub engine: &'a Arc<dyn Engine>,
    /// How further engines are opened, for certificates.
    pub engines: &'a flatscape_engine::Settings,
    /// Attacks and metrics.
    pub plugins: &'a Plugins,
    /// Where the results lie that jobs name in `after`.
    pub directory: &'a Directory,
    dataset: OnceCell<Dataset>,
    /// The jobs on clean points: what they found, other jobs read.
    clean: Vec<Job>,
    models: Vec<(ModelRequest, OnceCell<Model>)>,
    /// Models as attacks see them that look at something else.
    seen: Vec<(Sight, OnceCell<Model>)>,
    /// The canaries that were planted last, and for which model, threat model and settings.
    planted: RefCell<Option<(String, Rc<Planting>)>>,
}

/// What an attack sees in place of the model that judges it.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    model: ModelRequest,
    via: String,
    source: Option<Source>,
}

impl Sight {
    fn of(job: &Job) -> Option<Sight> {
        let via = job.work.component()?.seen()?.to_owned();
        Some(Sight { model: job.model.clone(), via, source: job.source.clone() })
    }
}

/// What computing a job gave.
#[derive(Debug)]
pub struct Computed {
    /// The result, which names its job.
    pub findings: Findings,
    /// What a reader should know about how it was computed, as clauses.
    pub notes: Vec<String>,
    /// A fault of the component that did not keep what it had found from counting.
    pub fault: Option<Refusal>,
}

/// A program that is linked and compiled, and what it was compiled for.
#[derive(Default)]
pub struct Kept<'w>(Option<(String, Prepared<'w>)>);

/// Where a job stands, for progress bars: rows done of rows to do.
pub type Progress<'p> = &'p mut dyn FnMut(usize, usize);

/// Up to this level what a plugin logs is for the user.
const WARNING: i32 = 1;

/// Why a job was not finished.
#[derive(Debug)]
pub enum Unfinished {
    /// It was refused, or failed.
    Refused(Refusal),
    /// The run was asked to stop.
    Stopped,
}

impl From<Refusal> for Unfinished {
    fn from(refusal: Refusal) -> Unfinished {
        Unfinished::Refused(refusal)
    }
}

impl From<MeasureError> for Unfinished {
    fn from(error: MeasureError) -> Unfinished {
        match error {
            MeasureError::Interrupted => Unfinished::Stopped,
            other => Unfinished::Refused(other.into()),
        }
    }
}

impl<'a> Workshop<'a> {
    /// A workshop for these jobs, which have one data set; nothing is loaded yet.
    pub fn new(
        jobs: &[Job],
        engine: &'a Arc<dyn Engine>,
        engines: &'a flatscape_engine::Settings,
        plugins: &'a Plugins,
        directory: &'a Directory,
    ) -> Workshop<'a> {
        let mut models: Vec<(ModelRequest, OnceCell<Model>)> = Vec::new();
        let mut seen: Vec<(Sight, OnceCell<Model>)> = Vec::new();
        for job in jobs {
            for request in std::iter::once(&job.model).chain(job.source.as_ref().map(|source| &source.model)) {
                if !models.iter().any(|(known, _)| known == request) {
                    models.push((request.clone(), OnceCell::new()));
                }
            }
            if let Some(sight) = Sight::of(job).filter(|sight| !seen.iter().any(|(known, _)| known == sight)) {
                seen.push((sight, OnceCell::new()));
            }
        }
        let clean = jobs.iter().filter(|job| job.work == Work::Clean).cloned().collect();
        let planted = RefCell::default();
        Workshop { engine, engines, plugins, directory, dataset: OnceCell::new(), clean, models, seen, planted }
    }

    /// Hands over what is loaded already.
    #[must_use]
    pub fn with(self, dataset: Dataset, loaded: Vec<(ModelRequest, Model)>) -> Workshop<'a> {
        // a cell that was just made is empty, so nothing is refused here
        let _ = self.dataset.set(dataset);
        for (request, model) in loaded {
            if let Some((_, cell)) = self.models.iter().find(|(r, _)| *r == request) {
                let _ = cell.set(model);
            }
        }
        self
    }

    /// The data of a job.
    fn dataset(&self, job: &Job) -> Result<&Dataset, Refusal> {
        let dataset = match self.dataset.get() {
            Some(dataset) => dataset,
            None => {
                let loaded = Dataset::load(&job.data)?;
                self.dataset.get_or_init(|| loaded)
            }
        };
        unchanged("data", &dataset.name, &job.data_sha256, &dataset.sha256)?;
        if job.end > dataset.len() {
            let what = format!("the job {} ends at sample {}, and {} has {}", job.name, job.end, dataset.name, dataset.len());
            return Err(Refusal::usage(102, what).help("use the job file as the run wrote it"));
        }
        Ok(dataset)
    }

    /// The model of a job, as its attack sees it.
    fn model(&self, job: &Job) -> Result<&Model, Refusal> {
        let judged = self.loaded(job, &job.model, &job.model_sha256)?;
        let Some(sight) = Sight::of(job) else { return Ok(judged) };
        let absent = || Refusal::usage(102, format!("the job {} is about a model that this run does not have", job.name));
        let (_, cell) = self.seen.iter().find(|(known, _)| *known == sight).ok_or_else(absent)?;
        if let Some(model) = cell.get() {
            return Ok(model);
        }
        let twin = match &job.source {
            Some(source) => {
                let other = self.loaded(job, &source.model, &source.sha256)?;
                Some(other.remedied.twin.clone().unwrap_or_else(|| other.graph.clone()))
            }
            None => remedies::view(judged.remedied.twin.as_ref().unwrap_or(&judged.graph), &sight.via),
        };
        let nothing = || Refusal::usage(91, format!("the remedy {} finds nothing to change in {}", sight.via, judged.name));
        let twin = Some(twin.ok_or_else(nothing)?);
        // a gradient that came with the model is not that of what is seen
        let mut model = Model { given: None, ..judged.clone() };
        model.remedied.twin = twin;
        model.remedied.over_draws = None;
        Ok(cell.get_or_init(|| model))
    }

    /// A model by its request.
    fn loaded(&self, job: &Job, wanted: &ModelRequest, sha256: &str) -> Result<&Model, Refusal> {
        let (request, cell) =
            self.models.iter().find(|(request, _)| request == wanted).ok_or_else(|| {
                Refusal::usage(102, format!("the job {} is about a model that this run does not have", job.name))
            })?;
        let model = match cell.get() {
            Some(model) => model,
            None => {
                let loaded = Model::load(&request.source, &request.intake, self.dataset(job)?, self.engine.as_ref())?;
                cell.get_or_init(|| loaded)
            }
        };
        unchanged("model", &model.name, sha256, &model.sha256)?;
        Ok(model)
    }

    /// Computes a job.
    ///
    /// # Errors
    /// The job does not fit what it names, or its component fails; or the run was asked to stop.
    pub fn compute<'w>(
        &'w self,
        kept: &mut Kept<'w>,
        job: &Job,
        progress: Progress,
        stop: &AtomicBool,
    ) -> Result<Computed, Unfinished> {
        self.same_engine(job)?;
        self.same_plugin(job)?;
        let mut computed = Computed { findings: Findings::default(), notes: Vec::new(), fault: None };
        match &job.work {
            Work::Certificate => {
                let engines = Engines::around(self.engine.as_ref(), self.engines);
                let threat = ThreatModel::parse(&job.threat, true)?;
                let found = certificate::of_model(self.model(job)?, self.dataset(job)?, &threat, job.settings.seed, &engines);
                put_text(&mut computed.findings, "certificate", &pretty(&found)?);
            }
            Work::Remedies => {
                for (remedy, graph) in self.model(job)?.remedied_graphs() {
                    computed.findings.column(&format!("onnx_{remedy}"), onnx::write(&graph));
                }
            }
            Work::Suggestions => {
                let found = suggest(self.engine.as_ref(), self.model(job)?, self.dataset(job)?)?;
                put_text(&mut computed.findings, "suggestions", &pretty(&found)?);
            }
            Work::Losses => {
                let (model, dataset) = (self.model(job)?, self.dataset(job)?);
                let threat = ThreatModel::parse(&job.threat, true)?;
                let clean = Findings::concat(self.results(job)?).map_err(MeasureError::from)?;
                let found = losses::try_others(self.engine.as_ref(), model, dataset, &clean, &threat, job.settings, stop)?;
                computed.findings = found.findings();
            }
            Work::Limits => put_text(&mut computed.findings, "limits", &pretty(&self.limits(job, stop)?)?),
            Work::Bounds => self.bounds(job, &mut computed, progress, stop)?,
            Work::Reduction(request) => computed.findings = self.reduction(job, request)?,
            Work::Weights(request) => self.weigh(job, request, &mut computed, progress, stop)?,
            Work::Canary(request) => self.canaries(job, request, &mut computed, progress, stop)?,
            Work::Clean | Work::Attack(_) | Work::Metric(_) => self.measure(kept, job, &mut computed, progress, stop)?,
            Work::Landscape(request) => {
                let samples = landscape::samples(request, self.dataset(job)?, self.directory, &self.all(job)?)?;
                let component = request.component();
                let work = prepared::Work::Component(component);
                let threat = ThreatModel::parse(&job.threat, true)?;
                let prepared = self.prepare(job, &work, &threat)?;
                computed.findings = landscape::compute(request, &prepared, &samples, progress, stop)?;
            }
        }
        for (_, note) in self.plugins.take_notes().into_iter().filter(|(_, note)| note.level <= WARNING) {
            if !computed.notes.contains(&note.words) {
                computed.notes.push(note.words);
            }
        }
        computed.findings = seal(computed.findings, &job.hash()?);
        Ok(computed)
    }

    /// What a metric finds in the loss around the weights, and a note about constants that it leaves alone.
    fn weigh(
        &self,
        job: &Job,
        request: &Request,
        computed: &mut Computed,
        progress: Progress,
        stop: &AtomicBool,
    ) -> Result<(), Unfinished> {
        let threat = ThreatModel::parse(&job.threat, true)?;
        let asked = Asked {
            engine: self.engine.as_ref(),
            plugins: self.plugins,
            model: (self.model(job)?, &job.model),
            dataset: self.dataset(job)?,
            range: job.start..job.end,
            request,
            threat: &threat,
            settings: job.settings,
        };
        let (findings, unrecognised) = weights::measure(&asked, progress, stop)?;
        computed.findings = findings;
        if let Some(sentence) = unrecognised {
            put_text(&mut computed.findings, UNRECOGNISED, sentence.as_bytes());
            computed.notes.push(sentence);
        }
        Ok(())
    }

    /// What a metric makes of the rows of its jobs. A job that has no result is missing in the numbers of samples, and is told by itself.
    fn reduction(&self, job: &Job, request: &Request) -> Result<Findings, Unfinished> {
        let mut parts = Vec::new();
        for earlier in self.all(job)? {
            match result_in(self.directory, &earlier)? {
                Some(Ok(findings)) => parts.push(findings),
                Some(Err(why)) => return Err(Refusal::state(106, format!("{} {why}", earlier.result())).into()),
                None => {}
            }
        }
        if parts.is_empty() {
            let what = format!("{request} cannot be reduced over all samples: none of its jobs has a result");
            return Err(Refusal::state(105, what).into());
        }
        let threat = ThreatModel::parse(&job.threat, true)?;
        let found = Findings::concat(parts).map_err(MeasureError::from)?;
        Ok(reduction::reduce(self.plugins, self.model(job)?, &threat, request, &found)?)
    }

    fn limits(&self, job: &Job, stop: &AtomicBool) -> Result<limits::Limits, Unfinished> {
        let (model, dataset) = (self.model(job)?, self.dataset(job)?);
        let threat = ThreatModel::parse(&job.threat, true)?;
        let earlier: Vec<(Job, Findings)> = self.all(job)?.into_iter().zip(self.results(job)?).collect();
        let (correct, standing) = left(&earlier, &threat)?;
        let tried = (&correct[..], &standing[..]);
        Ok(limits::try_limits(self.engine.as_ref(), model, dataset, tried, &threat, job.settings, stop)?)
    }

    fn bounds(&self, job: &Job, computed: &mut Computed, progress: Progress, stop: &AtomicBool) -> Result<(), Unfinished> {
        let engines = Engines::around(self.engine.as_ref(), self.engines);
        let (threat, model) = (ThreatModel::parse(&job.threat, true)?, self.model(job)?);
        let part = self.dataset(job)?.batch(job.start..job.end);
        computed.findings = bounds::compute(model, &part, &threat, &engines.double, progress, stop)?;
        let said = |why| format!("{}: the margins could not be bounded under {}: {why}", model.name, job.threat);
        computed.notes.extend(bounds::impossible(&computed.findings).map(said));
        Ok(())
    }

    /// Runs an attack on planted adversarial examples, which are planted once per model and threat model.
    fn canaries(
        &self,
        job: &Job,
        request: &Request,
        computed: &mut Computed,
        progress: Progress,
        stop: &AtomicBool,
    ) -> Result<(), Unfinished> {
        let threat = ThreatModel::parse(&job.threat, true)?;
        let ground = Ground {
            engine: self.engine.as_ref(),
            plugins: self.plugins,
            model: self.model(job)?,
            dataset: self.dataset(job)?,
            threat: &threat,
            settings: job.settings,
            stop,
        };
        let key = format!("{:?} {} {:?}", job.model, job.threat, job.settings);
        let known = self.planted.borrow().clone().filter(|(of, _)| *of == key);
        let planting = match known {
            Some((_, planting)) => planting,
            None => Rc::new(ground.plant()?),
        };
        self.planted.replace(Some((key, planting.clone())));
        computed.findings = match &*planting {
            Ok(planted) => ground.attack(planted, request, &mut |share| progress((100.0 * share) as usize, 100))?,
            Err(why) => {
                let mut none = Canary::none();
                put_text(&mut none, "impossible", why.as_bytes());
                none
            }
        };
        Ok(())
    }

    /// The jobs that a job names in `after`, read from the run directory.
    fn all(&self, job: &Job) -> Result<Vec<Job>, Refusal> {
        let read = |name: &String| {
            let file = format!("jobs/{name}.json");
            let missing = || Refusal::state(105, format!("{file} is missing, and the job {} reads its result", job.name));
            Job::parse(&self.directory.read(&file)?.ok_or_else(missing)?)
        };
        job.after.iter().map(read).collect()
    }

    /// The results of the jobs that a job names in `after`.
    fn results(&self, job: &Job) -> Result<Vec<Findings>, Refusal> {
        let sound = |earlier: &Job| match result_in(self.directory, earlier)? {
            Some(Ok(findings)) => Ok(findings),
            Some(Err(why)) => Err(Refusal::state(106, format!("{} {why}", earlier.result()))),
            None => Err(Refusal::state(105, format!("{} is missing, and the job {} reads it", earlier.result(), job.name))),
        };
        self.all(job)?.iter().map(sound).collect()
    }

    fn prepare(&self, job: &Job, work: &prepared::Work, threat: &ThreatModel) -> Result<Prepared<'_>, Unfinished> {
        let (model, dataset) = (self.model(job)?, self.dataset(job)?);
        Ok(Prepared::new(self.engine.as_ref(), self.plugins, model, dataset, work, threat, job.settings)?)
    }

    fn measure<'w>(
        &'w self,
        kept: &mut Kept<'w>,
        job: &Job,
        computed: &mut Computed,
        progress: Progress,
        stop: &AtomicBool,
    ) -> Result<(), Unfinished> {
        let work = match job.work.component() {
            Some(request) => prepared::Work::Component(request.clone()),
            None => prepared::Work::Clean,
        };
        let chosen = if job.after.is_empty() {
            None
        } else {
            let earlier: Vec<(Job, Findings)> = self.all(job)?.into_iter().zip(self.results(job)?).collect();
            let masked_only = job.work.component().is_some_and(|request| request.when_masked);
            if masked_only && escalation::reason(self.model(job)?, &earlier)?.is_none() {
                put_text(&mut computed.findings, escalation::SKIPPED, b"the gradients of this model do not look masked");
                return Ok(());
            }
            Some(standing(job, &earlier)?)
        };
        let key = format!("{:?} {:?} {:?}", job.part(), job.model, job.source);
        if kept.0.as_ref().is_none_or(|(of, _)| *of != key) {
            kept.0 = None;
            let prepared = self.prepare(job, &work, &ThreatModel::parse(&job.threat, true)?)?;
            computed.notes.clone_from(&prepared.notes);
            kept.0 = Some((key, prepared));
        }
        let Some((_, prepared)) = &kept.0 else { return Ok(()) };
        let clean = if work == prepared::Work::Clean { None } else { self.clean(job)? };
        let measured = prepared.compute(job.start..job.end, chosen.as_deref(), clean.as_ref(), progress, stop)?;
        computed.findings = measured.findings;
        computed.fault = measured.fault.map(Refusal::from);
        Ok(())
    }

    /// What the job on the clean points of the same range found, where it has a result that fits. It is computed by the same calls
    /// as here, so a job that does not find it gives the same bytes.
    fn clean(&self, job: &Job) -> Result<Option<Findings>, Refusal> {
        let same = |clean: &&Job| {
            (&clean.model_sha256, &clean.data_sha256, &clean.engine) == (&job.model_sha256, &job.data_sha256, &job.engine)
                && (&clean.model, &clean.data, clean.settings) == (&job.model, &job.data, job.settings)
                && (clean.start, clean.end) == (job.start, job.end)
        };
        let Some(clean) = self.clean.iter().find(same) else { return Ok(None) };
        // one that does not fit its job is told, and computed again, by whoever runs that job
        Ok(result_in(self.directory, clean)?.and_then(Result::ok))
    }

    fn same_engine(&self, job: &Job) -> Result<(), Refusal> {
        let here = engine_name(&self.engine.info());
        if here == job.engine {
            return Ok(());
        }
        let what = format!("the job {} is for the engine {}, and this is {here}", job.name, job.engine);
        Err(Refusal::state(107, what).help("name the engine and the library of the run: --engine, --ort-lib, --device"))
    }

    fn same_plugin(&self, job: &Job) -> Result<(), Refusal> {
        let (Some(plugin), Some(request)) = (&job.plugin, job.work.component()) else { return Ok(()) };
        let component = prepared::offered(self.plugins, &request.id).map_err(prepared::of_host)?;
        unchanged("plugin", &plugin.file, &plugin.sha256, &component.plugin.sha256)
    }
}

/// The correct samples of a job's range that no earlier attack broke, by position in the data set.
fn standing(job: &Job, earlier: &[(Job, Findings)]) -> Result<Vec<usize>, Refusal> {
    let mut standing = vec![true; job.end - job.start];
    for (earlier, findings) in earlier.iter().filter(|(_, findings)| !escalation::was_skipped(findings)) {
        // a minimum-norm attack also keeps examples beyond the radius: they do not count
        let tolerated = ThreatModel::parse(&earlier.threat, true)?.tolerated();
        let damaged = |e: flatscape_measure::findings::FindingsError| Refusal::state(106, e.to_string());
        let ids = findings.get::<i64>("id").map_err(damaged)?;
        let codes = findings.get::<u8>("outcome").map_err(damaged)?;
        let distances = findings.get::<f64>("distance").map_err(damaged)?;
        for ((id, code), distance) in ids.into_iter().zip(codes).zip(distances) {
            let place = usize::try_from(id).ok().and_then(|id| id.checked_sub(job.start));
            if let Some(slot) = place.and_then(|p| standing.get_mut(p)) {
                // what an earlier attack did not see, it did not break
                let unbroken = [Outcome::Held as u8, Outcome::NotAttacked as u8].contains(&code);
                *slot &= unbroken || (code == Outcome::Broken as u8 && distance > tolerated);
            }
        }
    }
    Ok((job.start..job.end).filter(|id| standing[id - job.start]).collect())
}

/// Correct images of clean jobs, and those of them that no attack of a threat model broke.
fn left(earlier: &[(Job, Findings)], threat: &ThreatModel) -> Result<(Vec<u64>, Vec<u64>), Refusal> {
    let damaged = |e: flatscape_measure::findings::FindingsError| Refusal::state(106, e.to_string());
    let mut correct: Vec<u64> = Vec::new();
    for (_, findings) in earlier.iter().filter(|(job, _)| job.work == Work::Clean) {
        let ids = findings.read(&ID).map_err(damaged)?.into_iter();
        let classes = findings.read(&LABEL).map_err(damaged)?.into_iter().zip(findings.read(&PREDICTION).map_err(damaged)?);
        correct.extend(ids.zip(classes).filter(|(_, (label, prediction))| label == prediction).map(|(id, _)| id as u64));
    }
    let attacks: Vec<&(Job, Findings)> = earlier.iter().filter(|(job, _)| job.work != Work::Clean).collect();
    let mut standing = correct.clone();
    for (_, findings) in attacks.iter().filter(|(_, findings)| findings.tensor(ID.name).is_some()) {
        let outcomes = findings.get::<u8>("outcome").map_err(damaged)?;
        let distances = findings.get::<f64>("distance").map_err(damaged)?;
        let rows = findings.read(&ID).map_err(damaged)?.into_iter().zip(outcomes).zip(distances);
        let gone = |outcome: u8, distance: f64| {
            outcome == Outcome::NanInBall as u8 || outcome == Outcome::Broken as u8 && distance <= threat.tolerated()
        };
        let broken: std::collections::BTreeSet<u64> =
            rows.filter(|((_, outcome), distance)| gone(*outcome, *distance)).map(|((id, _), _)| id as u64).collect();
        standing.retain(|id| !broken.contains(id));
    }
    Ok((correct, standing))
}

fn unchanged(what: &str, name: &str, planned: &str, found: &str) -> Result<(), Refusal> {
    if planned == found {
        return Ok(());
    }
    let sentence = format!("the {what} {name} has changed since the run was planned: its SHA-256 was {planned} and is {found}");
    Err(Refusal::state(107, sentence).help("start a new run with --out, or bring the former file back"))
}
