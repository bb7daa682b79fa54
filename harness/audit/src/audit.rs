//! An audit from beginning to end: load, cut into shards, compute, publish, summarise. Every finished shard is on disk before
//! the next one starts; what cannot be done is one row, and everything else goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use flatscape_engine::Engine;
use flatscape_graph::onnx;
use flatscape_host::{Kind, Plugins};
use flatscape_report as report;
use serde_json::json;

use crate::certificate::{self, Certificate, Engines};
use crate::directory::Directory;
use crate::landscape::{self, Landscapes};
use crate::violations::violations;
use flatscape_intake::data::{self, Dataset};
use flatscape_intake::files;
use flatscape_intake::model::{self, Model, ModelRequest, Native, Read, SHIPPED};
use flatscape_intake::number::number;
use flatscape_intake::refusal::{Class, Refusal};
use flatscape_measure::findings::Findings;
use flatscape_measure::prepared::{MeasureError, Prepared, Settings, Work, of_host, offered};
use flatscape_measure::request::Request;

use crate::job::{Description, Shard};
use crate::summary::{Certified, Context, ModelFacts, Part, Refused, Summary, summarise};
use crate::witness;
use flatscape_intake::suggest::suggest;
use flatscape_measure::threats::ThreatModel;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The models, in the order of the report.
    pub models: Vec<ModelRequest>,
    /// The labelled images.
    pub data: data::Request,
    /// Norms and radii.
    pub threats: Vec<ThreatModel>,
    /// Attacks, each under every threat model.
    pub attacks: Vec<Request>,
    /// Metrics, at the radius of the first threat model.
    pub metrics: Vec<Request>,
    /// Surfaces to draw.
    pub landscapes: Landscapes,
    /// Seed and batch size.
    pub settings: Settings,
    /// How engines are opened that the gradient certificate asks beside the one of the audit.
    pub engines: flatscape_engine::Settings,
    /// Samples per shard.
    pub shard_size: usize,
    /// The run directory.
    pub out: PathBuf,
    /// Whether to go on with a run that is there.
    pub resume: bool,
    /// The command as typed, for the manifest.
    pub command: String,
    /// Every other option, for the manifest.
    pub options: serde_json::Value,
}

/// Is told how the work goes.
pub trait Observer {
    /// A sentence worth a line.
    fn note(&mut self, sentence: &str);
    /// Work on a part begins: `what` names it.
    fn begin(&mut self, what: &str, index: usize, count: usize);
    /// Rows done of rows to do in this part.
    fn progress(&mut self, done: usize, total: usize);
    /// Everything of this part is on disk; its headlines, spelled.
    fn finished(&mut self, what: &str, headlines: &[String]);
}

/// How an audit ended.
#[derive(Debug)]
pub struct Ending {
    /// All rows.
    pub summary: Summary,
    /// What went wrong on the way, in the order in which it happened.
    pub faults: Vec<Refusal>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// The names of the models that were audited.
    pub models: Vec<String>,
    /// The gradient certificates of these models, in the same order; fewer if it was interrupted.
    pub certificates: Vec<Certificate>,
}

impl Ending {
    /// The exit code: 0, 9 for doubts, or that of the gravest fault. Interruptions are the caller's.
    pub fn exit_code(&self) -> u8 {
        const GRAVITY: [u8; 7] = [7, 8, 6, 5, 4, 3, 9];
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
}

/// Runs an audit. `stop` is looked at between shards: what is finished then stays, and the report says that it is partial.
///
/// # Errors
/// Only what leaves nothing to do: the data or all models were refused, a name is misspelled, the directory cannot be used.
pub fn run(
    plan: &Plan,
    engine: &Arc<dyn Engine>,
    plugins: &Plugins,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Ending, Refusal> {
    let Read { models: natives, dataset, request } = model::read(&plan.models, &plan.data)?;
    let plan = &Plan { data: request, ..plan.clone() };
    dataset.notes.iter().for_each(|n| observer.note(n));
    for (kind, requests) in [(Kind::Attack, &plan.attacks), (Kind::Metric, &plan.metrics)] {
        for request in requests {
            plugins.component(kind, &request.id).and_then(|c| c.arguments(&request.arguments)).map_err(of_host)?;
        }
    }
    let Loaded { requests, models, refused } = load_models(natives, engine.as_ref(), &dataset, observer)?;
    let manifest = manifest(plan, engine.as_ref(), plugins, &dataset, &models, &refused);
    let directory = Directory::open(&plan.out, &pretty(&manifest)?, plan.resume)?;
    let mut run = Run {
        plan,
        engine,
        plugins,
        dataset: &dataset,
        models: &models,
        requests: &requests,
        refused: &refused,
        directory: &directory,
        manifest,
        certificates: Vec::new(),
        observer,
        stop,
        suggestions: BTreeMap::new(),
    };
    run.everything()
}

/// JSON for people, ended by a new line.
fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Refusal::output(102, e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// One audit under way.
struct Run<'a> {
    plan: &'a Plan,
    engine: &'a Arc<dyn Engine>,
    plugins: &'a Plugins,
    dataset: &'a Dataset,
    models: &'a [Model],
    requests: &'a [ModelRequest],
    refused: &'a [(Refused, Refusal)],
    directory: &'a Directory,
    manifest: serde_json::Value,
    certificates: Vec<(Certificate, f64)>,
    observer: &'a mut dyn Observer,
    stop: &'a AtomicBool,
    /// By model: preprocessing that would serve it better.
    suggestions: BTreeMap<usize, Vec<String>>,
}

impl Run<'_> {
    fn everything(&mut self) -> Result<Ending, Refusal> {
        self.remedied_graphs()?;
        self.certify()?;
        let mut parts = self.parts();
        let mut faults: Vec<Refusal> = self.refused.iter().map(|(_, error)| error.clone()).collect();
        let count = parts.len();
        let total = count * self.ranges().len();
        for index in 0..count {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let what = self.describe(&parts[index]);
            self.observer.begin(&what, index, count);
            if let Err(error) = self.part(&mut parts, index) {
                let refusal = Refusal::from(error);
                self.observer.note(&format!("{what}: {refusal}"));
                parts[index].fault = Some((refusal.id(), refusal.what.clone()));
                faults.push(refusal);
            }
            if parts[index].work == Work::Clean {
                self.suggest(&parts[index]);
            }
            if let Some(fault) = self.violations(&parts[index]) {
                self.observer.note(&format!("{what}: {fault}"));
                faults.push(fault);
            }
            self.pass_on_notes();
            let summary = self.tables(&parts)?;
            self.observer.finished(&what, &headlines(&summary.records, &parts[index], &self.models[parts[index].model].name));
        }
        let done = parts.iter().map(|p| p.shards).sum::<usize>();
        let mut surfaces = Vec::new();
        if !self.stop.load(Ordering::Relaxed) {
            match landscape::draw(
                &self.plan.landscapes,
                self.engine.as_ref(),
                self.plugins,
                self.models,
                self.dataset,
                self.threat(),
                self.plan.settings,
            ) {
                Ok(drawn) => surfaces = drawn,
                Err(error) => {
                    let refusal = Refusal::from(error);
                    self.observer.note(&format!("landscapes: {refusal}"));
                    faults.push(refusal);
                }
            }
            landscape::write(self.directory, &surfaces)?;
        }
        let interrupted = self.stop.load(Ordering::Relaxed) && done < total;
        for part in &parts {
            witness::write(self.directory, &self.slug(part), part, &self.models[part.model], self.dataset)?;
        }
        self.look_again();
        let summary = self.tables(&parts)?;
        self.page(&summary, surfaces, interrupted.then_some((done, total)))?;
        let certificates = self.certificates.iter().map(|(certificate, _)| certificate.clone()).collect();
        Ok(Ending { summary, faults, interrupted, models: self.models.iter().map(|m| m.name.clone()).collect(), certificates })
    }

    /// The gradient certificate of every model: computed, or taken where it is there; then it stands in the manifest.
    fn certify(&mut self) -> Result<(), Refusal> {
        let engines = Engines::around(self.engine.as_ref(), &self.plan.engines);
        for (place, model) in self.models.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("certificates/{}", stem(place, model));
            let (result, seconds) = (format!("{name}.json"), format!("{name}.seconds"));
            let stored = self.directory.read(&result).and_then(|bytes| serde_json::from_slice::<Certificate>(&bytes).ok());
            let found = match stored {
                Some(certificate) => {
                    let spent = self.directory.read(&seconds).and_then(|b| String::from_utf8(b).ok()?.trim().parse::<f64>().ok());
                    (certificate, spent.unwrap_or(0.0))
                }
                None => {
                    let started = Instant::now();
                    let found = certificate::of_model(model, self.dataset, self.threat(), self.plan.settings.seed, &engines);
                    let spent = started.elapsed().as_millis() as f64 / 1000.0;
                    self.directory.write(&seconds, format!("{spent:.3}\n").as_bytes())?;
                    self.directory.publish(&result, &pretty(&found)?)?;
                    (found, spent)
                }
            };
            self.observer.note(&format!("{}: {}", model.name, found.0.sentence()));
            self.certificates.push(found);
        }
        self.manifest["certificates"] = self.certificates.iter().map(|(certificate, _)| json!(certificate)).collect();
        self.directory.write(crate::directory::MANIFEST, &pretty(&self.manifest)?)
    }

    /// Where the clean accuracy is poor, looks for the mistake that would explain it.
    fn suggest(&mut self, clean: &Part) {
        const POOR: f64 = 0.5;
        let column = |name: &str| clean.findings.get::<i64>(name).unwrap_or_default();
        let (labels, predictions) = (column("label"), column("prediction"));
        let right = labels.iter().zip(&predictions).filter(|(y, p)| y == p).count();
        let accuracy = right as f64 / labels.len().max(1) as f64;
        if labels.is_empty() || accuracy >= POOR {
            return;
        }
        let model = &self.models[clean.model];
        let poor = format!("the clean accuracy is {:.1} %: the usual mistakes of preprocessing are tried", 100.0 * accuracy);
        self.observer.note(&format!("{}: {poor}", model.name));
        match suggest(self.engine.as_ref(), model, self.dataset, accuracy) {
            Ok(found) => {
                found.iter().for_each(|s| self.observer.note(&format!("{}: {s}; nothing was changed", model.name)));
                self.suggestions.insert(clean.model, found);
            }
            Err(error) => self.observer.note(&format!("{}: no other preprocessing could be tried: {error}", model.name)),
        }
    }

    /// What remedies made of the models, as files that one can inspect and run.
    fn remedied_graphs(&self) -> Result<(), Refusal> {
        for (index, model) in self.models.iter().enumerate() {
            for (remedy, graph) in model.remedied_graphs() {
                let sha: String = model.sha256.chars().take(8).collect();
                self.directory.write(&format!("remedies/m{:04}-{sha}-{remedy}.onnx", index + 1), &onnx::write(&graph))?;
            }
        }
        Ok(())
    }

    /// The parts in the order of the report: per model the clean points, the attacks under each threat model, the metrics.
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for model in 0..self.models.len() {
            let blank = |work: Work, attack: bool, threat: Option<&ThreatModel>| Part {
                model,
                attack,
                version: self.version(&work),
                steps: self.steps(&work, threat),
                work,
                threat: threat.cloned(),
                findings: Findings::default(),
                shards: 0,
                seconds: 0.0,
                fault: None,
            };
            parts.push(blank(Work::Clean, false, None));
            for threat in &self.plan.threats {
                parts.extend(self.plan.attacks.iter().map(|a| blank(Work::Component(a.clone()), true, Some(threat))));
            }
            parts.extend(self.plan.metrics.iter().map(|m| blank(Work::Component(m.clone()), false, self.plan.threats.first())));
        }
        parts
    }

    fn ranges(&self) -> Vec<(usize, usize)> {
        let n = self.dataset.len();
        let size = self.plan.shard_size.max(1);
        (0..n).step_by(size).map(|start| (start, n.min(start + size))).collect()
    }

    /// Computes the shards of a part, or takes those that are there. After every shard the tables are on disk.
    fn part(&mut self, parts: &mut [Part], index: usize) -> Result<(), MeasureError> {
        let slug = self.slug(&parts[index]);
        let n = self.dataset.len();
        let mut bench: Option<Prepared> = None;
        for (start, end) in self.ranges() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("shards/{slug}.{start:06}-{end:06}");
            let (result, seconds) = (format!("{name}.npz"), format!("{name}.seconds"));
            let stored = self.directory.read(&result).and_then(|bytes| Findings::decode(&bytes).ok());
            let part = &parts[index];
            let (findings, spent) = match stored {
                Some(findings) => {
                    let spent = self.directory.read(&seconds).and_then(|b| String::from_utf8(b).ok()?.trim().parse::<f64>().ok());
                    (findings, spent.unwrap_or(0.0))
                }
                None => {
                    let threat = part.threat.clone().unwrap_or_else(|| self.threat().clone());
                    let model = &self.models[part.model];
                    let started = Instant::now();
                    let bench = match &bench {
                        Some(bench) => bench,
                        None => {
                            let made = bench.insert(Prepared::new(
                                self.engine.as_ref(),
                                self.plugins,
                                model,
                                self.dataset,
                                &part.work,
                                &threat,
                                self.plan.settings,
                            )?);
                            made.notes.iter().for_each(|note| self.observer.note(&format!("{}: {note}", model.name)));
                            made
                        }
                    };
                    let observer = &mut *self.observer;
                    let findings = bench.compute(start..end, &mut |done, _| observer.progress(start + done, n))?;
                    // to the millisecond, as it is stored
                    let spent = started.elapsed().as_millis() as f64 / 1000.0;
                    let shard = Shard { work: part.work.clone(), threat: threat.text(), start, end };
                    self.directory.publish(&format!("{name}.json"), &self.description(part.model, shard).bytes())?;
                    self.directory.write(&seconds, format!("{spent:.3}\n").as_bytes())?;
                    self.directory.publish(&result, &findings.encode()?)?;
                    (findings, spent)
                }
            };
            let part = &mut parts[index];
            part.findings = match part.shards {
                0 => findings,
                _ => Findings::concat(vec![std::mem::take(&mut part.findings), findings])?,
            };
            part.shards += 1;
            part.seconds += spent;
            self.tables(parts)?;
        }
        Ok(())
    }

    fn violations(&self, part: &Part) -> Option<Refusal> {
        let Work::Component(request) = &part.work else { return None };
        let plugin = &offered(self.plugins, &request.id).ok()?.plugin;
        let file = plugin.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        violations(part, &request.id, &flatscape_intake::refusal::escape(&file))
    }

    /// Says which model files are not what they were when they were read. Nothing that was computed depends on them any more.
    fn look_again(&mut self) {
        for (request, model) in self.requests.iter().zip(self.models) {
            let shipped = SHIPPED.iter().any(|s| s.name == request.source);
            let now = files::read(Path::new(&request.source), request.intake.limits.model_bytes);
            if !shipped && now.is_ok_and(|file| file.sha256 != model.sha256) {
                let what = format!("{} has changed on disk since it was read; the results are about what was read", model.name);
                self.observer.note(&format!("{what} (sha256 {})", model.sha256));
            }
        }
    }

    /// What plugins said while they worked.
    fn pass_on_notes(&mut self) {
        for (path, note) in self.plugins.take_notes() {
            let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            self.observer.note(&format!(
                "{}: {}",
                flatscape_intake::refusal::escape(&file),
                flatscape_intake::refusal::escape(&note.words)
            ));
        }
    }

    fn description(&self, model: usize, shard: Shard) -> Description {
        Description { model: self.requests[model].clone(), data: self.plan.data.clone(), settings: self.plan.settings, shard }
    }

    fn tables(&self, parts: &[Part]) -> Result<Summary, Refusal> {
        let info = self.engine.info();
        let context = Context {
            dataset: self.dataset.name.clone(),
            split: self.dataset.split.name().to_owned(),
            engine: format!("{} {}", info.name, info.version),
            device: info.device,
            seed: self.plan.settings.seed,
        };
        let facts: Vec<ModelFacts> = self
            .models
            .iter()
            .enumerate()
            .map(|(index, m)| ModelFacts {
                name: m.name.clone(),
                sha256: m.sha256.clone(),
                classes: m.classes,
                batch_difference: (!m.batch.holds() && m.steadiness.repeats()).then_some(m.batch.difference),
                repeat_difference: (!m.steadiness.repeats()).then_some(m.steadiness.repeat),
                order_difference: (!m.steadiness.keeps_order()).then_some(m.steadiness.order),
                hazards: m.hazards.clone(),
                remedies: m.remedies.clone(),
                margin: m.remedied.margin,
                suggestions: self.suggestions.get(&index).cloned().unwrap_or_default(),
                certificate: self.certificates.get(index).map(|(certificate, seconds)| Certified {
                    certificate: certificate.clone(),
                    seconds: *seconds,
                    threat: self.threat().clone(),
                }),
            })
            .collect();
        let refused: Vec<Refused> = self.refused.iter().map(|(refused, _)| refused.clone()).collect();
        let summary = summarise(&context, &facts, parts, &refused).map_err(|e| Refusal::output(102, e.to_string()))?;
        self.directory.write("results.csv", &report::results_csv(&summary.records))?;
        self.directory.write("samples.csv", &report::samples_csv(&summary.samples))?;
        Ok(summary)
    }

    fn page(&self, summary: &Summary, surfaces: Vec<report::Surface>, partial: Option<(usize, usize)>) -> Result<(), Refusal> {
        let page = report::Page {
            title: format!(
                "{} under attack, on {}",
                self.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", "),
                self.dataset.name
            ),
            command: self.plan.command.clone(),
            partial: partial.map(|(done, of)| report::Partial { done: done as u64, of: of as u64 }),
            interval: "Clopper-Pearson".into(),
            figures: report::robust_accuracy_figures(&summary.records),
            records: summary.records.clone(),
            samples: summary.samples.clone(),
            surfaces,
            doubts: summary.doubts.clone(),
            certificates: self.certificates.iter().map(|(certificate, _)| rows_of(certificate)).collect(),
            manifest: self.manifest.clone(),
        };
        let html = report::html(&page).map_err(|e| Refusal::output(94, e.to_string()))?;
        self.directory.write("report.html", html.as_bytes())
    }

    /// The threat model whose radius metrics and landscapes take.
    fn threat(&self) -> &ThreatModel {
        &self.plan.threats[0]
    }

    /// A file name that depends on what is computed and on nothing that a stranger wrote.
    fn slug(&self, part: &Part) -> String {
        let model = &self.models[part.model];
        let (id, spelled) = match &part.work {
            Work::Clean => ("clean", String::new()),
            Work::Component(request) => (request.id.as_str(), request.spelled()),
        };
        let threat = part.threat.as_ref().map(ThreatModel::text).unwrap_or_default();
        let hash = flatscape_intake::files::sha256(format!("{spelled}\n{threat}").as_bytes());
        format!("{}.{id}-{}", stem(part.model, model), &hash[..8])
    }

    fn describe(&self, part: &Part) -> String {
        let what = match &part.work {
            Work::Clean => "clean points".to_owned(),
            Work::Component(request) if part.attack => {
                format!("{} under {}", request.id, part.threat.as_ref().map(ThreatModel::text).unwrap_or_default())
            }
            Work::Component(request) => request.placed(&request.id),
        };
        format!("{}: {what}", self.models[part.model].name)
    }

    fn version(&self, work: &Work) -> String {
        match work {
            Work::Clean => env!("CARGO_PKG_VERSION").to_owned(),
            Work::Component(request) => offered(self.plugins, &request.id).map(|c| c.plugin.version.clone()).unwrap_or_default(),
        }
    }

    /// Step length and steps, for attacks that were given both.
    fn steps(&self, work: &Work, threat: Option<&ThreatModel>) -> Option<(f64, u32)> {
        let (Work::Component(request), Some(_)) = (work, threat) else { return None };
        let find = |name: &str| request.arguments.iter().find(|(key, _)| key == name).and_then(|(_, value)| number(value).ok());
        Some((find("alpha")?, find("steps")? as u32))
    }
}

/// How names of files call a model.
fn stem(place: usize, model: &Model) -> String {
    let sha: String = model.sha256.chars().take(8).collect();
    format!("m{:04}-{sha}", place + 1)
}

/// A certificate as the page shows it.
fn rows_of(certificate: &Certificate) -> report::Certificate {
    let row = |row: &certificate::Row| report::CheckRow {
        check: row.check.clone(),
        what: row.what.clone(),
        points: row.points.clone(),
        directions: row.directions.clone(),
        samples: row.samples as u64,
        threshold: row.threshold.clone(),
        measured: row.measured.clone(),
        outcome: row.outcome.word().to_owned(),
        failed: row.outcome == certificate::Outcome::Fail,
    };
    report::Certificate {
        model: certificate.model.clone(),
        sentence: certificate.sentence(),
        failed: certificate.passed() == Some(false),
        rows: certificate.rows.iter().map(row).collect(),
    }
}

/// What was found on a part, as one sees it while the audit goes on: `robust_accuracy 0.473 [0.463, 0.483] n=10000`.
fn headlines(records: &[report::Record], part: &Part, model: &str) -> Vec<String> {
    const QUIET: &[&str] = &["claimed_success", "nan_in_ball"];
    let (id, arguments) = match &part.work {
        Work::Clean => ("clean", String::new()),
        Work::Component(request) => (request.id.as_str(), request.spelled()),
    };
    let threat = part.threat.as_ref().map(ThreatModel::text).unwrap_or_default();
    records
        .iter()
        .filter(|r| r.model == model && r.component == id && r.args == arguments && r.threat == threat)
        .filter(|r| !QUIET.contains(&r.metric.as_str()))
        .filter_map(|r| {
            let spell = if r.metric.ends_with("accuracy") { report::rate } else { report::quantity };
            Some(format!("{} {}", r.metric, spell(r.value?, r.ci_low.zip(r.ci_high), r.n)))
        })
        .collect()
}

/// The models that can be audited, as they were asked for and as they are, and those that cannot.
struct Loaded {
    requests: Vec<ModelRequest>,
    models: Vec<Model>,
    refused: Vec<(Refused, Refusal)>,
}

fn load_models(
    natives: Vec<(ModelRequest, Result<Native, Refusal>)>,
    engine: &dyn Engine,
    dataset: &Dataset,
    observer: &mut dyn Observer,
) -> Result<Loaded, Refusal> {
    let mut requests = Vec::new();
    let mut models = Vec::new();
    let mut refused: Vec<(Refused, Refusal)> = Vec::new();
    for (request, native) in natives {
        match native.and_then(|native| Model::fit(native, &request.intake, dataset, engine)) {
            Ok(model) => {
                model.facts.iter().for_each(|fact| observer.note(&format!("{}: {fact}", model.name)));
                requests.push(request);
                models.push(model);
            }
            Err(error) => {
                observer.note(&format!("{}: {error}", request.name()));
                let refusal = Refused { name: request.name(), sha256: String::new(), id: error.id(), what: error.what.clone() };
                refused.push((refusal, error));
            }
        }
    }
    match refused.first() {
        Some((_, error)) if models.is_empty() => Err(error.clone()),
        _ => Ok(Loaded { requests, models, refused }),
    }
}

fn manifest(
    plan: &Plan,
    engine: &dyn Engine,
    plugins: &Plugins,
    dataset: &Dataset,
    models: &[Model],
    refused: &[(Refused, Refusal)],
) -> serde_json::Value {
    let used = |id: &str| plan.attacks.iter().chain(&plan.metrics).any(|r| r.id == id);
    let components: Vec<_> = plugins
        .components()
        .iter()
        .filter(|c| used(&c.id))
        .map(|c| json!({ "id": c.id, "kind": if c.kind == Kind::Metric { "metric" } else { "attack" }, "plugin": c.plugin.id, "version": c.plugin.version, "file": c.plugin.path.file_name().map(|n| n.to_string_lossy()), "sha256": c.plugin.sha256 }))
        .collect();
    let arguments = |request: &Request| {
        let component = offered(plugins, &request.id).ok()?;
        component.arguments(&request.arguments).ok().map(|a| a.complete())
    };
    let requests = |list: &[Request]| -> Vec<_> {
        list.iter().map(|r| json!({ "id": r.id, "written": r.spelled(), "complete": arguments(r) })).collect()
    };
    json!({
        "flatscape": env!("CARGO_PKG_VERSION"),
        "command": plan.command,
        "options": plan.options,
        "seed": plan.settings.seed,
        "batch_size": plan.settings.batch_size,
        "shard_size": plan.shard_size,
        "random_numbers": "Philox4x64-10 keyed by seed, stream, sample, component, restart, step",
        "engine": engine.info(),
        "plugins_in_process": plugins.in_process(),
        "data": { "name": dataset.name, "split": dataset.split.name(), "n": dataset.len(), "shape": dataset.shape, "sha256": dataset.sha256, "files": dataset.files, "source": dataset.source, "preparation": plan.data.preparation.map(|p| p.text()), "notes": dataset.notes },
        "models": models.iter().map(|m| json!({ "name": m.name, "source": m.source, "sha256": m.sha256, "classes": m.classes, "preprocessing": m.pixels.text(), "facts": m.facts, "hazards": m.hazards })).collect::<Vec<_>>(),
        "refused": refused.iter().map(|(r, e)| json!({ "name": r.name, "id": r.id, "why": e.what })).collect::<Vec<_>>(),
        "threats": plan.threats.iter().map(|t| json!({ "written": t.text(), "norm": t.norm.name, "eps": t.eps, "lo": t.lo, "hi": t.hi, "tolerated": t.tolerated() })).collect::<Vec<_>>(),
        "attacks": requests(&plan.attacks),
        "metrics": requests(&plan.metrics),
        "components": components,
        "intervals": "rates: Clopper-Pearson 95 %; means: Student t 95 %",
    })
}
