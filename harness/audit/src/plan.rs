//! What an audit is asked to do, what is known once its files are read, and the jobs that follow. Asks plugins what they serve,
//! and computes nothing.

use flatscape_engine::Engine;
use flatscape_host::{Blame, Component, Goal, Kind, Plugins, Role};
use flatscape_intake::data::{self, Dataset};
use flatscape_intake::model::{Model, ModelRequest};
use flatscape_intake::number::number;
use flatscape_intake::refusal::{Refusal, escape};
use flatscape_intake::remedies;
use flatscape_measure::canary;
use flatscape_measure::losses;
use flatscape_measure::prepared::{Settings, check, of_host, task, undecoded};
use flatscape_measure::request::{At, Request};
use flatscape_measure::threats::ThreatModel;

use crate::bounds;
use crate::claim::Claim;
use crate::job::{Job, Source, Work};
use crate::landscape::{LOOKED, Landscapes};
use crate::manifest::engine_name;
use crate::manifest::{self, Containment, DataFacts, FORMAT, Manifest, ModelFacts, PluginFacts, RefusedModel, ThreatFacts};

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The models, in the order of the report.
    pub models: Vec<ModelRequest>,
    /// The labelled images.
    pub data: data::Request,
    /// Norms and radii.
    pub threats: Vec<ThreatModel>,
    /// Attacks, each under every threat model that it serves.
    pub attacks: Vec<Request>,
    /// Metrics, at the radius of the first threat model.
    pub metrics: Vec<Request>,
    /// Surfaces to draw.
    pub landscapes: Option<Landscapes>,
    /// Whether the run is about surfaces alone: no clean accuracy, no certificate.
    pub only_landscapes: bool,
    /// Seed of all randomness.
    pub seed: u64,
    /// Samples per run of a graph; `None`: it follows from the size of the images.
    pub batch_size: Option<usize>,
    /// Samples per job.
    pub shard_size: usize,
    /// Worker processes.
    pub workers: usize,
    /// The command as typed, for the manifest.
    pub command: String,
    /// Every other option, for the manifest.
    pub options: serde_json::Value,
    /// Conditions on the results, as typed.
    pub requirements: Vec<String>,
    /// Claimed accuracies of every model.
    pub claims: Vec<Claim>,
    /// Whether attacks are run on planted adversarial examples, too.
    pub canaries: bool,
    /// Whether margins are bounded from below.
    pub bounds: bool,
    /// Models that examples are transferred from.
    pub sources: Vec<ModelRequest>,
    /// Attacks of the profile. Where one serves none of the threat models, its rows say `unsupported`; if the user names it, it is refused.
    pub of_profile: Vec<Request>,
}

/// A manifest, and what it was made from: the files that are open, so that they need not be read again.
pub struct Intaken {
    /// What is known.
    pub manifest: Manifest,
    /// The data.
    pub dataset: Dataset,
    /// The models that were accepted, and those that examples are transferred from.
    pub models: Vec<(ModelRequest, Model)>,
    /// The refusals of the others, in the order of [`Manifest::refused`].
    pub refused: Vec<Refusal>,
    /// Columns that the metrics give, without the prefix `col_`.
    pub columns: Vec<String>,
}

impl Plan {
    /// What is known about the models and the data that were read, and about the requested components.
    ///
    /// # Errors
    /// Usage errors: a component that does not exist, an argument that is wrong, an attack that serves none of the threat models.
    pub fn manifest(
        &self,
        engine: &dyn Engine,
        plugins: &Plugins,
        dataset: Dataset,
        models: Vec<(ModelRequest, Model)>,
        sources: Vec<(Source, Model)>,
        refused: Vec<(RefusedModel, Refusal)>,
    ) -> Result<Intaken, Refusal> {
        let (refused_models, refusals) = refused.into_iter().unzip();
        let mut columns = Vec::new();
        let facts: Vec<ModelFacts> = models.iter().map(|(request, model)| ModelFacts::of(request, model)).collect();
        let (sources, loaded): (Vec<Source>, Vec<Model>) = sources.into_iter().unzip();
        let asked = Asked { plan: self, plugins, model: models.first().map(|(_, m)| m), facts: &facts, sources: &sources };
        let attacks = asked.components(Kind::Attack, &self.attacks, &mut columns)?;
        self.something_is_served(&attacks)?;
        let aimed: Vec<Request> = self.metrics.iter().map(|metric| metric.clone().aimed(&self.attacks)).collect();
        let metrics = asked.components(Kind::Metric, &aimed, &mut columns)?;
        let manifest = Manifest {
            format: FORMAT,
            flatscape: env!("CARGO_PKG_VERSION").to_owned(),
            command: self.command.clone(),
            options: self.options.clone(),
            settings: Settings::of(self.seed, self.batch_size, &dataset.shape),
            shard_size: self.shard_size,
            workers: self.workers,
            random_numbers: "Philox4x64-10 keyed by seed, stream, sample, component, restart, step".to_owned(),
            engine: engine.info(),
            plugins_in_process: plugins.in_process(),
            containment: Some(Containment {
                engine: engine.sealed().map(|sealed| sealed.to_string()),
                plugins: plugins.sealed().to_string(),
            }),
            data: data_facts(&self.data, &dataset),
            models: facts,
            refused: refused_models,
            threats: self.threats.iter().map(ThreatFacts::of).collect(),
            attacks,
            metrics,
            landscapes: self.landscapes.clone(),
            only_landscapes: self.only_landscapes,
            requirements: self.requirements.clone(),
            claims: self.claims.clone(),
            canaries: self.canaries,
            bounds: self.bounds,
            sources: sources.clone(),
            intervals: "rates: Clopper-Pearson 95 %; means: Student t 95 %".to_owned(),
        };
        let models = models.into_iter().chain(sources.into_iter().map(|s| s.model).zip(loaded)).collect();
        Ok(Intaken { manifest, dataset, models, refused: refusals, columns })
    }
}

impl Plan {
    /// # Errors
    /// `U091`: attacks were requested, and none serves any of the threat models.
    fn something_is_served(&self, attacks: &[manifest::Component]) -> Result<(), Refusal> {
        if attacks.is_empty() || attacks.iter().any(|attack| !attack.serves.is_empty()) {
            return Ok(());
        }
        let threats: Vec<String> = self.threats.iter().map(ThreatModel::text).collect();
        let what = format!("no attack of the profile serves {}", threats.join(" or "));
        Err(Refusal::usage(91, what)
            .help("name an attack that does; `flatscape plugins list` says which threat models each serves"))
    }
}

fn data_facts(request: &data::Request, dataset: &Dataset) -> DataFacts {
    DataFacts {
        request: request.clone(),
        name: dataset.name.clone(),
        split: dataset.split.name().to_owned(),
        n: dataset.len(),
        shape: dataset.shape,
        sha256: dataset.sha256.clone(),
        files: dataset.files.clone(),
        source: dataset.source.clone(),
        preparation: request.preparation.map(|p| p.text()),
        notes: dataset.notes.clone(),
    }
}

/// What a plugin answered about a component.
#[derive(Default)]
struct Answer {
    /// The threat models that it serves, as written.
    serves: Vec<String>,
    program_steps: Option<u32>,
    program_restarts: Option<u32>,
    reads_grad: bool,
    /// An extension does the work on weights.
    weighs: bool,
}

/// What plugins are asked while a run is planned.
struct Asked<'a> {
    plan: &'a Plan,
    plugins: &'a Plugins,
    /// Whose shape and classes are in the task.
    model: Option<&'a Model>,
    facts: &'a [ModelFacts],
    sources: &'a [Source],
}

impl Asked<'_> {
    fn components(
        &self,
        kind: Kind,
        requests: &[Request],
        columns: &mut Vec<String>,
    ) -> Result<Vec<manifest::Component>, Refusal> {
        let labels = flatscape_measure::request::labels(requests);
        let mut all: Vec<manifest::Component> = Vec::new();
        for (request, label) in requests.iter().zip(labels) {
            // a component that is requested twice with the same arguments is computed once
            if all.iter().any(|c| c.request == *request) {
                continue;
            }
            all.push(self.component(kind, request, label, columns)?);
        }
        Ok(all)
    }

    fn component(
        &self,
        kind: Kind,
        request: &Request,
        label: String,
        columns: &mut Vec<String>,
    ) -> Result<manifest::Component, Refusal> {
        check(self.plugins, kind, request)?;
        self.something_is_seen(request)?;
        for target in [request.target, request.attack().and_then(|attack| attack.target)].into_iter().flatten() {
            self.facts.iter().try_for_each(|model| target.check(model.classes))?;
        }
        let component = self.plugins.component(kind, &request.id).map_err(of_host)?;
        let arguments = component.arguments(&request.arguments).map_err(of_host)?;
        let find = |name: &str| request.arguments.iter().find(|(key, _)| key == name).and_then(|(_, value)| number(value).ok());
        let Answer { serves, program_steps, program_restarts, reads_grad, weighs } = self.served(component, request, columns)?;
        flatscape_weights::named::present(request)?;
        if weighs && request.at.as_ref().is_some_and(|at| *at != At::Clean) {
            let what = format!("{request}: the loss around the weights is taken over the images, and at= asks for other points");
            return Err(Refusal::usage(91, what).help("leave at= out; robust-flatness attacks the images itself"));
        }
        Ok(manifest::Component {
            serves,
            request: request.clone(),
            label,
            written: request.spelled(),
            complete: arguments.complete(),
            kind: manifest::kind_name(kind).to_owned(),
            minimal: kind == Kind::Attack && component.goal == Goal::Minimal,
            reads_grad,
            program_steps,
            program_restarts,
            step_length: find("alpha"),
            escalation: self.escalates(request),
            reduces: component.reduces() && !request.follows_path() && !weighs,
            weighs,
            plugin: PluginFacts {
                id: component.plugin.id.clone(),
                version: component.plugin.version.clone(),
                file: component.plugin.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
                sha256: component.plugin.sha256.clone(),
            },
        })
    }

    /// Whether an attack of a profile runs only where gradients are masked.
    fn escalates(&self, request: &Request) -> bool {
        (request.via.is_some() || request.when_masked) && self.plan.of_profile.contains(request)
    }

    /// # Errors
    /// `U091`: what the attack is to see in place of the models does not exist, or is theirs already.
    fn something_is_seen(&self, request: &Request) -> Result<(), Refusal> {
        let Some(via) = request.seen() else { return Ok(()) };
        let viewed = self.facts.iter().any(|model| model.views.iter().any(|view| view == via));
        if viewed || self.sources.iter().any(|source| source.name == via) || self.escalates(request) {
            return Ok(());
        }
        if remedies::views().any(|name| name == via) {
            let what = format!("{request}: there is nothing in the models of this run that the remedy {via} would change");
            return Err(Refusal::usage(91, what).help("leave via= out: the attack then sees the model itself"));
        }
        let sources = self.sources.iter().map(|source| source.name.clone());
        let names: Vec<String> = remedies::views().map(str::to_owned).chain(sources).collect();
        let what = format!("{request}: there is neither a remedy nor a model of --transfer called \"{}\"", escape(via));
        Err(Refusal::usage(91, what).help(format!("there are {}", names.join(", "))))
    }

    /// The threat models that a component serves, and the number of steps of its program. A component whose plugin fails when it
    /// is asked serves them all: its jobs then say why they have no result.
    fn served(&self, component: &Component, request: &Request, columns: &mut Vec<String>) -> Result<Answer, Refusal> {
        let threats = if component.kind == Kind::Metric { self.looked_at(request)? } else { &self.plan.threats[..] };
        if component.is_oracle() {
            return self.asked(component, request, threats);
        }
        let Some(model) = self.model.filter(|_| component.builds) else {
            let serves = threats.iter().map(ThreatModel::text).collect();
            return Ok(Answer { serves, reads_grad: true, weighs: component.is_weights(), ..Answer::default() });
        };
        let arguments = component.arguments(&request.arguments).map_err(of_host)?;
        let mut answer = Answer::default();
        let mut refusal = None;
        for threat in threats {
            match self.plugins.build(component, &arguments, &task(model, request, threat)) {
                Ok(program) => {
                    answer.weighs |= program.graphs.is_empty() && component.is_weights();
                    let outputs = program.graph(Role::Emit).map(|g| g.outputs().to_vec()).unwrap_or_default();
                    columns.extend(outputs.iter().filter_map(|o| o.name.strip_prefix("col_").map(str::to_owned)));
                    answer.program_steps = Some(program.steps);
                    answer.program_restarts = Some(program.restarts).filter(|&restarts| restarts > 1);
                    let reads = |role: &Role| program.graph(*role).is_some_and(|g| g.input_named("grad").is_some());
                    answer.reads_grad = program.graph(Role::Objective).is_none() && Role::ALL.iter().any(reads);
                    answer.serves.push(threat.text());
                }
                Err(error) if error.is_unsupported() => refusal = Some(of_host(error)),
                Err(error) if error.blame == Blame::User => return Err(of_host(error)),
                Err(_) => answer.serves.push(threat.text()),
            }
        }
        match refusal {
            Some(refusal) if answer.serves.is_empty() && !self.plan.of_profile.contains(request) => Err(refusal),
            _ => Ok(answer),
        }
    }

    /// The threat models that an attack with control flow of its own serves: those that move pixels and that it does not refuse.
    fn asked(&self, component: &Component, request: &Request, threats: &[ThreatModel]) -> Result<Answer, Refusal> {
        let (pixels, others): (Vec<_>, Vec<_>) = threats.iter().partition(|threat| threat.norm.parameter.is_none());
        if let (true, Some(other)) = (pixels.is_empty(), others.first()) {
            return Err(undecoded(&component.id, other.norm.name));
        }
        let arguments = component.arguments(&request.arguments).map_err(of_host)?;
        let (mut answer, mut refusal) = (Answer::default(), None);
        for threat in pixels {
            match self.model.map(|model| self.plugins.serves(component, &arguments, &task(model, request, threat))) {
                Some(Err(error)) if error.is_unsupported() => refusal = Some(of_host(error)),
                // one that fails when it is asked has jobs that say why they have no result
                _ => answer.serves.push(threat.text()),
            }
        }
        match refusal.filter(|_| answer.serves.is_empty() && !self.plan.of_profile.contains(request)) {
            Some(refusal) => Err(refusal),
            None => Ok(answer),
        }
    }

    /// The threat model at which a metric is taken: the first one, or the first that the attack serves at whose points it looks.
    fn looked_at(&self, request: &Request) -> Result<&[ThreatModel], Refusal> {
        let all = &self.plan.threats;
        let (Some(attack), Some(model)) = (request.attack(), self.model) else { return Ok(&all[..1]) };
        let component = self.plugins.component(Kind::Attack, &attack.id).map_err(of_host)?;
        let arguments = component.arguments(&attack.arguments).map_err(of_host)?;
        let of_pixels = component.is_oracle() || !component.builds;
        let serves = |threat: &ThreatModel| {
            let asked = || self.plugins.serves(component, &arguments, &task(model, attack, threat));
            (!of_pixels || threat.norm.parameter.is_none()) && !asked().is_err_and(|e| e.is_unsupported())
        };
        let place = all.iter().position(serves).unwrap_or(0);
        Ok(&all[place..place + 1])
    }
}

/// All jobs of a run, in the order in which one process computes them: certificates, then per model the clean points, the attacks
/// under each threat model, the metrics; landscapes last. A pure function of the manifest.
///
/// # Errors
/// `R098`: a threat model of the manifest cannot be read.
pub fn jobs(manifest: &Manifest) -> Result<Vec<Job>, Refusal> {
    let first = manifest.first_threat()?;
    let planner = Planner { manifest, first: first.text() };
    let models = 0..manifest.models.len();
    let mut jobs = Vec::new();
    if !manifest.only_landscapes {
        for model in models.clone() {
            if !manifest.models[model].remedies.is_empty() {
                jobs.push(planner.job(model, Work::Remedies, &planner.first, (0, 0), None));
            }
            jobs.push(planner.job(model, Work::Certificate, &planner.first, (0, 0), None));
        }
        for model in models.clone() {
            planner.measurements(model, &mut jobs)?;
        }
    } else {
        let weighed = manifest.metrics.iter().filter(|metric| metric.weighs);
        jobs.extend(weighed.flat_map(|metric| models.clone().map(|model| planner.weighing(model, metric))));
    }
    let looked = |job: &&Job| job.work == Work::Clean && job.start < LOOKED;
    let clean: Vec<String> = jobs.iter().filter(looked).map(|job| job.name.clone()).collect();
    for request in manifest.landscapes.iter().flat_map(|l| l.requests(&drawn(manifest, &first))) {
        for model in models.clone() {
            let mut job = planner.job(model, Work::Landscape(request.clone()), &planner.first, (0, 0), None);
            job.after.clone_from(&clean);
            jobs.push(job);
        }
    }
    Ok(jobs)
}

/// The threat model whose radius landscapes reach where no grid is stated: the largest ball of `linf`, so that every smaller one can be
/// marked in it. Without one, the ball in which the points of the grid along a direction of ±1 are as far away as the first radius.
fn drawn(manifest: &Manifest, first: &ThreatModel) -> ThreatModel {
    let pixels = manifest.data.shape.iter().product::<usize>() as f64;
    let balls = manifest.threats.iter().filter(|t| t.written.starts_with("linf:")).map(|t| t.eps);
    let eps = balls.max_by(f64::total_cmp).unwrap_or_else(|| match first.norm.name {
        "l2" => first.eps / pixels.sqrt(),
        "l1" => first.eps / pixels,
        _ => first.eps,
    });
    ThreatModel { eps, ..first.clone() }
}

/// Whether a job is that of an attack that runs only where gradients are masked.
fn masked_only(job: &Job) -> bool {
    job.work.component().is_some_and(|request| request.when_masked)
}

struct Planner<'a> {
    manifest: &'a Manifest,
    /// The first threat model, as written.
    first: String,
}

impl Planner<'_> {
    fn measurements(&self, model: usize, jobs: &mut Vec<Job>) -> Result<(), Refusal> {
        let ranges = self.ranges();
        let clean: Vec<Job> = ranges.iter().map(|&r| self.job(model, Work::Clean, &self.first, r, None)).collect();
        jobs.extend(clean.iter().cloned());
        jobs.push(self.job(model, Work::Suggestions, &self.first, (0, 0), None));
        for threat in self.threats_in_pixels()? {
            let mut losses = self.job(model, Work::Losses, &threat, (0, 0), None);
            losses.after = clean.iter().filter(|job| job.start < losses::IMAGES).map(|job| job.name.clone()).collect();
            jobs.push(losses);
        }
        for attack in self.applying(model) {
            for threat in self.threats_of(attack)? {
                let work = Work::Attack(attack.request.clone());
                jobs.extend(ranges.iter().map(|&r| self.job(model, work.clone(), &threat, r, Some(&attack.plugin))));
            }
        }
        self.follow(model, jobs);
        self.limits(model, &clean, jobs)?;
        self.canaries(model, jobs)?;
        self.bounds(model, jobs)?;
        let (facts, sources) = (&self.manifest.models[model], &self.manifest.sources);
        for metric in self.manifest.metrics.iter().filter(|metric| metric.applies_to(facts, sources)) {
            let threat = metric.serves.first().unwrap_or(&self.first);
            if metric.weighs {
                jobs.push(self.weighing(model, metric));
                continue;
            }
            let work = Work::Metric(metric.request.clone());
            let own: Vec<Job> = ranges.iter().map(|&r| self.job(model, work.clone(), threat, r, Some(&metric.plugin))).collect();
            let mut reduction = self.job(model, Work::Reduction(metric.request.clone()), threat, (0, 0), Some(&metric.plugin));
            reduction.after = own.iter().map(|job| job.name.clone()).collect();
            jobs.extend(own);
            jobs.extend(metric.reduces.then_some(reduction));
        }
        Ok(())
    }

    /// The job of a metric that looks at weights: all samples at once.
    fn weighing(&self, model: usize, metric: &manifest::Component) -> Job {
        let threat = metric.serves.first().unwrap_or(&self.first);
        self.job(model, Work::Weights(metric.request.clone()), threat, (0, self.manifest.data.n), Some(&metric.plugin))
    }

    /// The attacks that run on a model: what they see of it exists.
    fn applying(&self, model: usize) -> impl Iterator<Item = &manifest::Component> {
        let (facts, sources) = (&self.manifest.models[model], &self.manifest.sources);
        self.manifest.attacks.iter().filter(move |attack| attack.applies_to(facts, sources))
    }

    /// Jobs that ask whether attacks are at their limits, in profiles that look at everything.
    fn limits(&self, model: usize, clean: &[Job], jobs: &mut Vec<Job>) -> Result<(), Refusal> {
        let request = &self.manifest.models[model].request;
        for threat in self.threats_in_pixels()?.into_iter().filter(|_| self.manifest.canaries) {
            if !canary::THREATS.contains(&ThreatModel::parse(&threat, true)?.norm.name) {
                continue;
            }
            let attacks = |job: &&Job| job.model == *request && job.threat == threat && matches!(job.work, Work::Attack(_));
            let own: Vec<String> = jobs.iter().filter(attacks).map(|job| job.name.clone()).collect();
            let mut job = self.job(model, Work::Limits, &threat, (0, 0), None);
            job.after = clean.iter().map(|job| job.name.clone()).chain(own).collect();
            jobs.push(job);
        }
        Ok(())
    }

    /// Jobs that bound the margins; for a norm that has no rules one that says so.
    fn bounds(&self, model: usize, jobs: &mut Vec<Job>) -> Result<(), Refusal> {
        for facts in self.manifest.threats.iter().filter(|_| self.manifest.bounds) {
            let norm = facts.model()?.norm;
            let ranges = if bounds::Dual::of(norm.name).is_some() { self.ranges() } else { vec![(0, 0)] };
            let ranges = ranges.into_iter().filter(|_| norm.parameter.is_none());
            jobs.extend(ranges.map(|r| self.job(model, Work::Bounds, &facts.written, r, None)));
        }
        Ok(())
    }

    /// Jobs that run the attacks of the run on planted adversarial examples. An attack that keeps its control flow to itself has none.
    fn canaries(&self, model: usize, jobs: &mut Vec<Job>) -> Result<(), Refusal> {
        let plain =
            |attack: &&manifest::Component| attack.program_steps.is_some() && attack.request.via.is_none() && !attack.escalation;
        for attack in self.applying(model).filter(|_| self.manifest.canaries).filter(plain) {
            for threat in self.threats_of(attack)? {
                if canary::THREATS.contains(&ThreatModel::parse(&threat, true)?.norm.name) {
                    let work = Work::Canary(attack.request.clone());
                    jobs.push(self.job(model, work, &threat, (0, 0), Some(&attack.plugin)));
                }
            }
        }
        Ok(())
    }

    /// The threat models that an attack of the run serves and under which it moves pixels.
    fn threats_in_pixels(&self) -> Result<Vec<String>, Refusal> {
        let mut found = Vec::new();
        for facts in &self.manifest.threats {
            let served = self.manifest.attacks.iter().any(|attack| attack.serves.contains(&facts.written));
            if served && facts.model()?.norm.parameter.is_none() {
                found.push(facts.written.clone());
            }
        }
        Ok(found)
    }

    /// The threat models under which an attack runs: all that it serves, or, for one that looks for the smallest perturbation, the
    /// one of the largest radius per norm and unit.
    fn threats_of(&self, attack: &manifest::Component) -> Result<Vec<String>, Refusal> {
        let served = self.manifest.threats.iter().filter(|t| attack.serves.contains(&t.written));
        if !attack.minimal {
            return Ok(served.map(|t| t.written.clone()).collect());
        }
        let mut largest: Vec<&ThreatFacts> = Vec::new();
        for threat in served {
            match largest.iter_mut().find(|t| t.is_nested_with(threat)) {
                Some(known) if known.eps < threat.eps => *known = threat,
                Some(_) => {}
                None => largest.push(threat),
            }
        }
        Ok(largest.into_iter().map(|t| t.written.clone()).collect())
    }

    /// Writes into the jobs of attacks that run on survivors which jobs they follow: all attacks before them on the same range
    /// under the same threat model; for a minimum-norm attack, under the threat model of the same norm with the smallest radius.
    fn follow(&self, model: usize, jobs: &mut [Job]) {
        let request = &self.manifest.models[model].request;
        let own: Vec<usize> =
            (0..jobs.len()).filter(|&i| jobs[i].model == *request && matches!(jobs[i].work, Work::Attack(_))).collect();
        for &index in &own {
            let Work::Attack(attack) = &jobs[index].work else { continue };
            if !attack.survivors {
                continue;
            }
            let wanted = self.smallest(attack, &jobs[index].threat);
            let earlier = own.iter().filter(|&&i| i < index).map(|&i| &jobs[i]);
            let after = earlier.filter(|j| j.start == jobs[index].start && j.threat == wanted);
            let mut after: Vec<String> = after.map(|j| j.name.clone()).collect();
            if attack.when_masked {
                // whether gradients are masked is a matter of all samples
                let others = own.iter().filter(|&&i| i < index).map(|&i| &jobs[i]);
                let others = others.filter(|j| j.start != jobs[index].start && j.threat == wanted && !masked_only(j));
                let others: Vec<String> = others.map(|j| j.name.clone()).collect();
                after.extend(others);
            }
            jobs[index].after = after;
        }
    }

    fn smallest(&self, attack: &Request, threat: &str) -> String {
        let minimal = self.manifest.attacks.iter().any(|a| a.request == *attack && a.minimal);
        let own = self.manifest.threats.iter().find(|t| t.written == threat);
        let nested = self.manifest.threats.iter().filter(|t| own.is_some_and(|own| own.is_nested_with(t)));
        let least = nested.min_by(|a, b| a.eps.total_cmp(&b.eps)).filter(|_| minimal);
        least.map_or_else(|| threat.to_owned(), |t| t.written.clone())
    }

    fn ranges(&self) -> Vec<(usize, usize)> {
        let (n, size) = (self.manifest.data.n, self.manifest.shard_size.max(1));
        (0..n).step_by(size).map(|start| (start, n.min(start + size))).collect()
    }

    fn job(&self, model: usize, work: Work, threat: &str, range: (usize, usize), plugin: Option<&PluginFacts>) -> Job {
        let facts = &self.manifest.models[model];
        let what = match &work {
            Work::Landscape(request) => format!("{request:?}"),
            other => other.component().map(Request::spelled).unwrap_or_default(),
        };
        let hash = flatscape_intake::files::sha256(format!("{what}\n{threat}").as_bytes());
        let stem = format!("{}.{}-{}", self.manifest.stem(model), work.word(), &hash[..8]);
        let (start, end) = range;
        let via = work.component().and_then(Request::seen);
        let source = self.manifest.sources.iter().find(|source| via == Some(source.name.as_str())).cloned();
        Job {
            name: if end > start { format!("{stem}.{start:06}-{end:06}") } else { stem },
            work,
            model: facts.request.clone(),
            model_sha256: facts.sha256.clone(),
            data: self.manifest.data.request.clone(),
            data_sha256: self.manifest.data.sha256.clone(),
            settings: self.manifest.settings,
            engine: engine_name(&self.manifest.engine),
            threat: threat.to_owned(),
            start,
            end,
            plugin: plugin.cloned(),
            source,
            after: Vec::new(),
        }
    }
}
