//! An audit from beginning to end: read, plan, write the jobs, have them computed, and make everything that is made of a run
//! directory. Every finished job is on disk before the next one starts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_engine::Engine;
use flatscape_host::Plugins;
use flatscape_intake::files::{self, sha256};
use flatscape_intake::model::{self, Model, ModelRequest, Native, Read, SHIPPED};
use flatscape_intake::refusal::{Class, Refusal, nearest};

use crate::compute::Workshop;
use crate::directory::{Directory, MANIFEST};
use crate::execute::{Executor, External, Inline, Processes};
use crate::job::Job;
use crate::ledger::{Ledger, Observer};
use crate::manifest::{Manifest, RefusedModel, pretty};
use crate::plan::{Intaken, Plan, jobs};
use crate::rows::{METRICS, Summary, corruption_metrics, metric_name, summarise};
use crate::stored::{Order, PLAN, Stored, TIMES, receipt_name};
use crate::{estimate, landscape, publish, sources};
use flatscape_certificate::Certificate;

/// Where and by whom a plan is computed: nothing here changes a result.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The run directory.
    pub out: PathBuf,
    /// Whether to go on with a run that is there.
    pub resume: bool,
    /// How engines are opened that the gradient certificate asks beside the one of the audit.
    pub engines: flatscape_engine::Settings,
    /// This program, and the arguments with which it becomes a worker.
    pub worker: (PathBuf, Vec<String>),
    /// Names of metrics that the caller will ask for; a name that no row will have is refused before anything is computed.
    pub required: Vec<String>,
}

/// How an audit ended.
#[derive(Debug)]
pub struct Ending {
    /// All rows.
    pub summary: Summary,
    /// What went wrong on the way: refused models first.
    pub faults: Vec<Refusal>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// The names of the models that were audited.
    pub models: Vec<String>,
}

impl Ending {
    /// The exit code: 0, 9 for doubts, or that of the gravest fault. Interruptions are the caller's.
    pub fn exit_code(&self) -> u8 {
        const GRAVITY: [u8; 8] = [7, 8, 6, 5, 4, 3, 2, 9];
        let mut codes: Vec<u8> = self.faults.iter().map(|f| f.class.exit_code()).collect();
        // A refused model is a row; the code says so only where nothing else could be done.
        if !self.summary.records.iter().all(|r| r.value.is_none()) {
            codes.retain(|&c| c != Class::Model.exit_code());
        }
        if self.summary.unreliable {
            codes.push(9);
        }
        GRAVITY.into_iter().find(|code| codes.contains(code)).unwrap_or(0)
    }

    /// The gradient certificates that were computed.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.summary.certificates.iter().flatten()
    }
}

/// Runs an audit. `stop` is looked at between batches: finished jobs stay, and the report says that it is partial.
///
/// # Errors
/// Only what leaves nothing to do: the data or all models were refused, a name is misspelled, the directory cannot be used.
pub fn run(
    plan: &Plan,
    execution: &Execution,
    engine: &Arc<dyn Engine>,
    plugins: &Plugins,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Ending, Refusal> {
    let intaken = intake(plan, engine.as_ref(), plugins, observer, stop)?;
    let corrupted = intaken.manifest.threats.iter().any(|threat| threat.norm == "corruption");
    let open = intaken.manifest.metrics.iter().any(|metric| metric.reduces || metric.weighs || metric.request.follows_path());
    known(&execution.required, &intaken.columns, corrupted, open)?;
    landscape::within(plan.landscapes.as_ref(), &intaken.dataset)?;
    let stored = begin(&intaken.manifest, execution, observer)?;
    let results = examine(&stored, observer)?;
    let pending: Vec<usize> = (0..stored.jobs.len()).filter(|index| !results.contains_key(index)).collect();
    if execution.resume {
        observer.note(&format!("{} of {} jobs have their results already", results.len(), stored.jobs.len()));
    }
    if !plan.of_profile.is_empty() {
        let expected = estimate::sentence(engine.as_ref(), &intaken, pending.iter().map(|&index| &stored.jobs[index]));
        expected.iter().for_each(|sentence| observer.note(sentence));
    }
    let Intaken { dataset, models, refused, .. } = intaken;
    let workshop =
        Workshop::new(&stored.jobs, engine, &execution.engines, plugins, &stored.directory).with(dataset.clone(), models);
    let mut ledger = Ledger::new(&stored, observer, results);
    let workers = plan.workers;
    let mut executor: Box<dyn Executor> = match workers {
        0 => Box::new(External { directory: &stored.directory }),
        1 => Box::new(Inline { workshop: &workshop }),
        count => Box::new(Processes {
            directory: &stored.directory,
            count,
            program: execution.worker.0.clone(),
            arguments: execution.worker.1.clone(),
        }),
    };
    executor.execute(&stored.jobs, &pending, &mut ledger, stop)?;
    let interrupted = stop.load(Ordering::Relaxed);
    if !interrupted {
        let left = left_over(&stored, &mut ledger)?;
        Inline { workshop: &workshop }.execute(&stored.jobs, &left, &mut ledger, stop)?;
    }
    look_again(&stored.manifest, observer);
    let summary = summarise(&stored)?;
    publish::witnesses(&stored, &dataset)?;
    let surfaces = landscape::surfaces(&stored)?;
    publish::write_all(&stored, &publish::exhibits(&stored, &surfaces)?)?;
    let page = publish::page(&stored, &summary, surfaces)?;
    publish::write_all(&stored, &publish::pictures(&page))?;
    for format in publish::FORMATS.iter().filter(|f| publish::USUAL.contains(&f.name)) {
        publish::write(&stored, &page, format)?;
    }
    let faults = refused.into_iter().chain(summary.faults.iter().cloned()).collect();
    let interrupted = interrupted && summary.done < summary.total;
    Ok(Ending { summary, faults, interrupted, models: stored.manifest.models.iter().map(|m| m.name.clone()).collect() })
}

/// Reads the models and the data, and what plugins say about what is asked of them.
fn intake(
    plan: &Plan,
    engine: &dyn Engine,
    plugins: &Plugins,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Intaken, Refusal> {
    let Read { models: natives, dataset, request } = model::read(&plan.models, &plan.data)?;
    dataset.notes.iter().for_each(|n| observer.note(n));
    let plan = Plan { data: request, ..plan.clone() };
    let mut models: Vec<(ModelRequest, Model)> = Vec::new();
    let mut refused: Vec<(RefusedModel, Refusal)> = Vec::new();
    for (request, native) in natives {
        let fitted = native.and_then(|native: Native| match Model::fit(native.clone(), &request.intake, &dataset, engine) {
            // the process of the engine may have died of something else: once more, in a new one
            Err(error) if error.class == Class::Engine && !stop.load(Ordering::Relaxed) => {
                observer.note(&format!("{}: {}; it is tried once more", request.name(), error.what));
                Model::fit(native, &request.intake, &dataset, engine)
            }
            other => other,
        });
        match fitted {
            Ok(model) => {
                model.facts.iter().for_each(|fact| observer.note(&format!("{}: {fact}", model.name)));
                models.push((request, model));
            }
            Err(error) => {
                observer.note(&format!("{}: {error}", request.name()));
                let row = RefusedModel { name: request.name(), sha256: String::new(), id: error.id(), why: error.what.clone() };
                refused.push((row, error));
            }
        }
    }
    match refused.first() {
        Some((_, error)) if models.is_empty() => Err(error.clone()),
        _ => {
            let sources = sources::load(&plan, engine, &dataset, &models)?;
            plan.manifest(engine, plugins, dataset, models, sources, refused)
        }
    }
}

/// Refuses names of metrics that no row will have. Where metrics say something about all samples together (`open`), further rows have names
/// that are not known before the run, and a name is refused only if it resembles a known one.
fn known(required: &[String], columns: &[String], corrupted: bool, open: bool) -> Result<(), Refusal> {
    let mut names: Vec<String> = METRICS.iter().map(|m| (*m).to_owned()).chain(columns.iter().map(|c| metric_name(c))).collect();
    names.extend(corruption_metrics().filter(|_| corrupted));
    let Some(unknown) = required.iter().find(|name| !names.contains(name)) else { return Ok(()) };
    if open && nearest(unknown, names.iter().map(String::as_str)).is_none() {
        return Ok(());
    }
    let begins = || names.iter().find(|name| name.starts_with(unknown.as_str())).map(String::as_str);
    let meant = nearest(unknown, names.iter().map(String::as_str)).or_else(begins);
    let meant = meant.map_or(String::new(), |n| format!("did you mean {n}? "));
    let what = format!("no row of this audit will be called {:?}", flatscape_intake::refusal::escape(unknown));
    Err(Refusal::usage(91, what).help(format!("{meant}there will be {}", names.join(", "))))
}

/// Opens the directory, and writes the manifest and all jobs before the first one is computed.
fn begin(manifest: &Manifest, execution: &Execution, observer: &mut dyn Observer) -> Result<Stored, Refusal> {
    let directory = Directory::to_write(&execution.out)?;
    let manifest = match directory.read(MANIFEST)? {
        None => {
            directory.write(MANIFEST, &manifest.bytes()?)?;
            manifest.clone()
        }
        Some(bytes) => same_run(&bytes, manifest, execution)?,
    };
    let jobs = jobs(&manifest)?;
    let mut order = Order { jobs: Vec::with_capacity(jobs.len()) };
    for job in &jobs {
        let (name, bytes) = (format!("jobs/{}.json", job.name), job.bytes()?);
        order.jobs.push((job.name.clone(), sha256(&bytes)));
        match directory.read(&name)? {
            Some(found) if found == bytes => continue,
            Some(_) => observer.note(&format!("{name} was changed since the run wrote it; it is written again")),
            None => {}
        }
        directory.write(&name, &bytes)?;
    }
    directory.write(PLAN, &pretty(&order)?)?;
    if directory.read(TIMES)?.is_none() {
        directory.write(TIMES, &flatscape_report::times_csv(&[]))?;
    }
    Ok(Stored { directory, manifest, jobs })
}

/// The manifest of a run that is there, if it may be gone on with.
fn same_run(bytes: &[u8], manifest: &Manifest, execution: &Execution) -> Result<Manifest, Refusal> {
    let shown = files::show(&execution.out);
    let found = Manifest::parse(bytes)?;
    let differences = found.differences(manifest);
    if !execution.resume {
        let help = match differences.is_empty() {
            true => "add --resume to go on with it, or choose another place with --out",
            false => "choose another place with --out",
        };
        return Err(Refusal::state(96, format!("the output directory {shown} holds a run already")).help(help));
    }
    if differences.is_empty() {
        return Ok(found);
    }
    let what = format!("the run in {shown} was started with other options: {} differ", differences.join(", "));
    Err(Refusal::state(101, what).help("repeat the command of its manifest.json, or choose another place with --out"))
}

/// The results that are there and fit their jobs, by job and hash. What does not fit is set aside; faults are forgotten, so that
/// their jobs are tried again.
fn examine(stored: &Stored, observer: &mut dyn Observer) -> Result<BTreeMap<usize, String>, Refusal> {
    let directory = &stored.directory;
    let mut results = BTreeMap::new();
    for (index, job) in stored.jobs.iter().enumerate() {
        let failed = directory.read(&job.fault())?.is_some();
        match stored.result(job)? {
            Some(Ok(_)) if !failed => {
                results.insert(index, hash_of(stored, job)?);
                continue;
            }
            Some(Err(why)) => {
                let place = directory.set_aside(&job.result())?;
                observer.note(&format!("{} {why}: it is now {place}, and its job is computed again", job.result()));
            }
            Some(Ok(_)) => directory.remove(&job.result())?,
            None => {}
        }
        directory.remove(&receipt_name(job))?;
        directory.remove(&job.fault())?;
    }
    let names: BTreeSet<String> = stored.jobs.iter().flat_map(|j| [j.result(), receipt_name(j), j.fault()]).collect();
    for name in directory.list("shards")? {
        let name = format!("shards/{name}");
        if !names.contains(&name) {
            let place = directory.set_aside(&name)?;
            observer.note(&format!("{name} belongs to no job of this run: it is now {place}"));
        }
    }
    Ok(results)
}

fn hash_of(stored: &Stored, job: &Job) -> Result<String, Refusal> {
    Ok(stored.directory.read(&job.result())?.map(|bytes| sha256(&bytes)).unwrap_or_default())
}

/// Jobs that this process has to compute after the executor has ended: those whose results are not what this run wrote or accepted
/// (they are set aside), those that read such a result, and those that were left without a result or a fault.
fn left_over(stored: &Stored, ledger: &mut Ledger) -> Result<Vec<usize>, Refusal> {
    let directory = &stored.directory;
    let (mut left, mut names) = (Vec::new(), BTreeSet::new());
    for (index, job) in stored.jobs.iter().enumerate() {
        let what = match directory.read(&job.result())? {
            None if directory.read(&job.fault())?.is_some() => continue,
            None => format!("{} is missing: its job is computed now", job.result()),
            Some(bytes) if ledger.results.get(&index).is_none_or(|hash| *hash != sha256(&bytes)) => {
                let place = directory.set_aside(&job.result())?;
                format!("{} is not what this run wrote: it is now {place}, and its job is computed again", job.result())
            }
            Some(_) if job.after.iter().any(|name| names.contains(name)) => {
                directory.remove(&job.result())?;
                format!("{} was computed from a result that this run did not write: its job is computed again", job.result())
            }
            Some(_) => continue,
        };
        directory.remove(&receipt_name(job))?;
        crate::execute::Sink::note(ledger, &what);
        names.insert(job.name.clone());
        left.push(index);
    }
    Ok(left)
}

/// Says which model files are not what they were when they were read. Nothing that was computed depends on them any more.
fn look_again(manifest: &Manifest, observer: &mut dyn Observer) {
    for model in &manifest.models {
        let shipped = SHIPPED.iter().any(|s| s.name == model.request.source);
        let now = files::read(Path::new(&model.request.source), model.request.intake.limits.model_bytes);
        if !shipped && now.is_ok_and(|file| file.sha256 != model.sha256) {
            let what = format!("{} has changed on disk since it was read; the results are about what was read", model.name);
            observer.note(&format!("{what} (sha256 {})", model.sha256));
        }
    }
}
