//! One component on one model under one threat model, linked and compiled: it computes any range of samples. Who computes which
//! range, and where the findings go, is decided elsewhere.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_engine::Engine;
use flatscape_graph::{Graph, Tensor};
use flatscape_host::{Arguments, Component, HostError, Iterates, Kind, Plugins, Program, Role, Task, Value};
use serde::{Deserialize, Serialize};

use crate::attack::{Attack, AttackError, Batch, Keep, Proposal};
use crate::findings::{Findings, FindingsError};
use crate::levels::on_grid;
use crate::link::{Link, LinkError};
use crate::metric::Metric;
use crate::oracle::{Answers, Session};
use crate::request::{At, Request, Target};
use crate::stage::StageError;
use crate::threats::ThreatModel;
use crate::verify::{Finding, Outcome, Rejection, Verifier};
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;
use flatscape_intake::refusal::Refusal;
use flatscape_intake::remedies::objective;
use flatscape_intake::scores::{argmax, margin};

/// What is applied to a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Predictions on the clean points.
    Clean,
    /// An attack or a metric, as written: `pgd:steps=20`.
    Component(Request),
}

/// What was found on some samples.
#[derive(Debug)]
pub struct Measured {
    /// One row per sample.
    pub findings: Findings,
    /// A fault of the component that did not keep what it had found from counting.
    pub fault: Option<MeasureError>,
}

/// Why a shard has no result.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The plugin is at fault, or was asked for something it does not offer.
    #[error(transparent)]
    Plugin(#[from] HostError),
    /// The program could not be linked or run.
    #[error("{component}: {source}")]
    Attack {
        /// Id of the component.
        component: String,
        /// What happened.
        source: AttackError,
    },
    /// The result could not be joined or read.
    #[error(transparent)]
    Findings(#[from] FindingsError),
    /// The result could not be stored.
    #[error(transparent)]
    Stored(#[from] Refusal),
    /// The run was asked to stop; nothing of the range is kept.
    #[error("the run was asked to stop")]
    Interrupted,
}

/// What the plugin host refused, as everything else is refused.
pub fn of_host(error: HostError) -> Refusal {
    let number = error.id.trim_start_matches('P').parse().unwrap_or(0);
    let refusal = match error.exit_code() {
        2 => Refusal::usage(91, error.sentence),
        6 => Refusal::engine(number, error.sentence),
        7 => Refusal::output(number, error.sentence),
        _ => Refusal::plugin(number, error.sentence),
    };
    Refusal { help: error.help, ..refusal }
}

impl From<MeasureError> for Refusal {
    fn from(error: MeasureError) -> Refusal {
        let sentence = error.to_string();
        match error {
            MeasureError::Plugin(error) => of_host(error),
            MeasureError::Stored(error) => error,
            MeasureError::Interrupted => Refusal::state(108, sentence).help("repeat the command with --resume"),
            MeasureError::Findings(_) => Refusal::output(102, sentence),
            MeasureError::Attack { source, .. } => match source {
                AttackError::Link(LinkError::Differentiate(_)) => Refusal::model(26, sentence),
                AttackError::Link(_) | AttackError::Stage(StageError::Missing { .. } | StageError::Result { .. }) => {
                    Refusal::plugin(134, sentence)
                }
                AttackError::Engine(_) | AttackError::Stage(StageError::Engine(_)) => Refusal::engine(110, sentence),
            },
        }
    }
}

/// Settings of an audit that every shard shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Seed of all randomness.
    pub seed: u64,
    /// Samples per run of a graph.
    pub batch_size: usize,
}

/// A component linked to a model and compiled: it computes any range of samples.
pub struct Prepared<'a> {
    model: &'a Model,
    dataset: &'a Dataset,
    threat: ThreatModel,
    settings: Settings,
    verifier: Verifier,
    tool: Measure<'a>,
    /// What a reader should know about how it is computed, as clauses.
    pub notes: Vec<String>,
}

enum Measure<'a> {
    Clean,
    Attack { id: String, attack: Attack, restarts: u32, target: Target },
    Oracle { plugins: &'a Plugins, component: &'a Component, arguments: Arguments, task: Task, target: Target, answers: Answers },
    Metric { id: String, metric: Metric, at: Option<Box<Prepared<'a>>> },
}

/// Runs one restart of an attack on a batch; is given the number of the restart and what to tell the share that is done.
type Propose<'p> = &'p mut dyn FnMut(&Batch, u32, &mut dyn FnMut(f64)) -> Result<Vec<Proposal>, AttackError>;

/// A count that a proposal keeps, by the name of its column.
type Count = (&'static str, fn(&Proposal) -> u64);

/// Where the work on a shard stands, for progress bars: rows done of rows to do.
pub type Progress<'p> = &'p mut dyn FnMut(usize, usize);

impl<'a> Prepared<'a> {
    /// Links and compiles what a shard needs, for all shards of the same model, work and threat.
    pub fn new(
        engine: &dyn Engine,
        plugins: &'a Plugins,
        model: &'a Model,
        dataset: &'a Dataset,
        work: &Work,
        threat: &ThreatModel,
        settings: Settings,
    ) -> Result<Prepared<'a>, MeasureError> {
        let threat = &threat.on(model.shape);
        // The judge runs at another batch size than whatever it judges.
        let other = if settings.batch_size > 1 { settings.batch_size / 2 + 1 } else { 2 };
        let named = |component: &str| {
            let component = component.to_owned();
            move |source| MeasureError::Attack { component, source }
        };
        let verifier = Verifier::new(engine, &model.graph, threat, other).map_err(named("verification"))?;
        // what attacks see and differentiate; the judge above sees the model itself
        let seen = model.remedied.twin.as_ref().unwrap_or(&model.graph);
        let mut notes = Vec::new();
        let tool = match work {
            Work::Clean => Measure::Clean,
            Work::Component(request) => {
                let component = offered(plugins, &request.id)?;
                let target = request.target.unwrap_or(Target::None);
                target.check(model.classes)?;
                let mut task = Task::new(model.shape, model.classes, threat.norm.name, threat.eps);
                task.targeted = target != Target::None;
                task.parameters = threat.parameters(model.shape);
                (task.lo, task.hi) = (threat.lo.into(), threat.hi.into());
                let arguments = component.arguments(&request.arguments)?;
                let margin = (model.remedied.margin && component.kind == Kind::Attack).then(|| objective(task.targeted));
                if component.is_oracle() {
                    let link = Link {
                        model: seen,
                        objective: margin.as_ref(),
                        cotangent: None,
                        given: followed(model),
                        threat,
                        targeted: task.targeted,
                        arguments: &[],
                        steps: 0,
                    };
                    let answers = Answers::compile(engine, &link).map_err(named(&component.id))?;
                    Measure::Oracle { plugins, component, arguments, task, target, answers }
                } else {
                    let program = plugins.build(component, &arguments, &task)?;
                    let own = [Role::Objective, Role::Cotangent].into_iter().any(|role| program.graph(role).is_some());
                    if let Some(given) = model.given.as_ref().filter(|given| own && given.used) {
                        let what =
                            format!("{} differentiates what {} does not, so the gradient is our own", component.id, given.name);
                        notes.push(what);
                    }
                    let numbers = numbers(&arguments);
                    let link = Link {
                        model: if component.kind == Kind::Attack { seen } else { &model.graph },
                        objective: program.graph(Role::Objective).or(margin.as_ref()),
                        cotangent: program.graph(Role::Cotangent),
                        given: followed(model),
                        threat,
                        targeted: task.targeted,
                        arguments: &numbers,
                        steps: program.steps,
                    };
                    let compile = |engine, link: &Link, program: &Program| match component.kind {
                        Kind::Metric => {
                            let metric = Metric::compile(engine, link, program, &component.id, settings.batch_size)?;
                            Ok(Measure::Metric { id: component.id.clone(), metric, at: None })
                        }
                        _ => {
                            let attack =
                                Attack::compile(engine, link, program, &component.id, component.iterates == Iterates::Free)?;
                            Ok(Measure::Attack { id: component.id.clone(), attack, restarts: program.restarts.max(1), target })
                        }
                    };
                    let mut tool = compile(engine, &link, &program).map_err(named(&component.id))?;
                    if let (Measure::Metric { at, .. }, Some(At::Adversarial(attack))) = (&mut tool, &request.at) {
                        let work = Work::Component((**attack).clone());
                        *at = Some(Box::new(Prepared::new(engine, plugins, model, dataset, &work, threat, settings)?));
                    }
                    tool
                }
            }
        };
        Ok(Prepared { model, dataset, threat: threat.clone(), settings, verifier, tool, notes })
    }

    /// Computes samples of a range: all of them, or those of `only`, positions in the data set in ascending order. `stop` is
    /// looked at before every batch.
    ///
    /// # Errors
    /// The component or the engine fails, or (`MeasureError::Interrupted`) `stop` was set.
    pub fn compute(
        &self,
        range: Range<usize>,
        only: Option<&[usize]>,
        progress: Progress,
        stop: &AtomicBool,
    ) -> Result<Measured, MeasureError> {
        let every: Vec<usize> = range.collect();
        let samples = only.unwrap_or(&every);
        let mut all: Vec<Findings> = Vec::new();
        let mut done = 0;
        // a batch without samples gives the columns where there is nothing to compute
        let batches = samples.chunks(self.settings.batch_size).chain(samples.is_empty().then_some(samples));
        for chosen in batches {
            if stop.load(Ordering::Relaxed) {
                return Err(MeasureError::Interrupted);
            }
            let batch = self.batch(chosen);
            let mut inner = |share: f64| progress(done + (share * batch.len() as f64) as usize, samples.len());
            all.push(self.batch_findings(&batch, &mut inner)?);
            done += chosen.len();
            progress(done, samples.len());
        }
        Ok(Measured { findings: Findings::concat(all)?, fault: None })
    }

    fn batch(&self, chosen: &[usize]) -> Batch {
        let ids: Vec<u64> = chosen.iter().map(|&i| i as u64).collect();
        let part = self.dataset.gather(&ids);
        Batch { ids: part.ids, x0: part.x, target: part.y.clone(), y: part.y, clean: None }
    }

    fn batch_findings(&self, batch: &Batch, progress: &mut dyn FnMut(f64)) -> Result<Findings, MeasureError> {
        let failed = |component: &str| {
            let component = component.to_owned();
            move |source| MeasureError::Attack { component, source }
        };
        let clean = self.verifier.logits(&batch.x0).map_err(failed("verification"))?;
        let mut findings = Findings::default();
        findings.column("id", batch.ids.iter().map(|&id| id as i64).collect());
        findings.column("label", batch.y.clone());
        findings.column("prediction", clean.iter().map(|z| argmax(z).map_or(-1, |class| class as i64)).collect());
        findings.column("clean_margin", clean.iter().zip(&batch.y).map(|(z, &y)| margin(z, y as usize)).collect());
        match &self.tool {
            Measure::Clean => {}
            Measure::Attack { id, attack, restarts, target } => {
                let batch = target.aim(batch, &clean, self.settings.seed, id);
                let mut propose = |active: &Batch, restart: u32, found: &mut dyn FnMut(f64)| {
                    found(0.5);
                    attack.run(active, self.threat.eps, self.settings.seed, restart, Keep::Verdict)
                };
                self.attacked(&mut findings, &batch, &clean, *restarts, &mut propose, progress).map_err(failed(id))?;
            }
            Measure::Oracle { plugins, component, arguments, task, target, answers } => {
                let batch = target.aim(batch, &clean, self.settings.seed, &component.id);
                let mut fault = None;
                let mut propose = |active: &Batch, _: u32, _: &mut dyn FnMut(f64)| {
                    let mut session = Session::new(answers, &self.threat, active, self.settings.seed, &component.id);
                    fault = plugins.run_oracle(component, arguments, task, &mut session).err();
                    Ok(session.finish())
                };
                self.attacked(&mut findings, &batch, &clean, 1, &mut propose, progress).map_err(failed(&component.id))?;
                if let Some(fault) = fault {
                    return Err(fault.into());
                }
            }
            Measure::Metric { id, metric, at } => {
                let base = match at {
                    None => batch.clone(),
                    Some(bench) => bench.moved(batch)?,
                };
                let rows = batch.len().max(1) as f64 * f64::from(metric.probes().max(1));
                let measured = metric
                    .run(&base, self.threat.eps, self.settings.seed, &mut |done| progress(done as f64 / rows))
                    .map_err(failed(id))?;
                for (name, values) in measured.columns {
                    findings.column(&format!("col_{name}"), values);
                }
                for (prefix, group) in [("vec_", measured.vectors), ("surface_", measured.surfaces)] {
                    for (name, rows) in group {
                        let width = rows.first().map_or(0, Vec::len);
                        findings.array(&format!("{prefix}{name}"), &[rows.len(), width], rows.concat());
                    }
                }
                findings.column("forwards", vec![measured.forwards as i64; batch.len()]);
                findings.column("backwards", vec![measured.backwards as i64; batch.len()]);
            }
        }
        Ok(findings)
    }

    /// Runs the restarts of an attack on what is still standing, and has every proposal judged.
    fn attacked(
        &self,
        findings: &mut Findings,
        batch: &Batch,
        clean: &[Vec<f64>],
        restarts: u32,
        propose: Propose,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(), AttackError> {
        let n = batch.len();
        let mut best: Vec<Option<(Finding, Proposal)>> = (0..n).map(|_| None).collect();
        let mut spent = vec![Proposal::default(); n];
        let mut claims = vec![false; n];
        let mut rejected = vec![0i64; n];
        let mut active: Vec<usize> = (0..n).filter(|&i| argmax(&clean[i]) == Some(batch.y[i] as usize)).collect();
        for restart in 0..restarts {
            if active.is_empty() {
                break;
            }
            let part = batch.select(&active);
            let proposals = propose(&part, restart, &mut |share| progress((f64::from(restart) + share) / f64::from(restarts)))?;
            let points: Vec<Option<Vec<f32>>> = proposals.iter().map(|p| p.x.clone()).collect();
            let judged = self.verifier.judge(&self.threat, &part.x0, &part.y, &points)?;
            let mut standing = Vec::with_capacity(active.len());
            for ((&sample, finding), proposal) in active.iter().zip(judged).zip(proposals) {
                let total = &mut spent[sample];
                total.forwards += proposal.forwards;
                total.backwards += proposal.backwards;
                total.gradients += proposal.gradients;
                total.zero_gradients += proposal.zero_gradients;
                total.broken_gradients += proposal.broken_gradients;
                claims[sample] |= proposal.claimed;
                rejected[sample] += i64::from(finding.rejection.is_some());
                if finding.outcome == Outcome::Held {
                    standing.push(sample);
                }
                let better = match &best[sample] {
                    None => true,
                    Some((old, kept)) => rank(&finding) > rank(old) || (rank(&finding) == rank(old) && proposal.loss > kept.loss),
                };
                if better {
                    best[sample] = Some((finding, proposal));
                }
            }
            active = standing;
            progress(f64::from(restart + 1) / f64::from(restarts));
        }
        let outcome = |i: usize| best[i].as_ref().map_or(Outcome::Misclassified, |(finding, _)| finding.outcome);
        let number = |i: usize, field: fn(&Finding) -> f64| best[i].as_ref().map_or(f64::NAN, |(finding, _)| field(finding));
        findings.column("outcome", (0..n).map(|i| outcome(i) as u8).collect());
        findings.column(
            "distance",
            (0..n).map(|i| if outcome(i) == Outcome::Misclassified { 0.0 } else { number(i, |f| f.distance) }).collect(),
        );
        findings.column("margin", (0..n).map(|i| number(i, |f| f.margin)).collect());
        let predicted = |i: usize| best[i].as_ref().and_then(|(f, _)| f.prediction).map_or(-1, |class| class as i64);
        findings.column("adv_prediction", (0..n).map(predicted).collect());
        findings.column("claimed", claims);
        findings.column("rejected", rejected);
        let counts: [Count; 5] = [
            ("forwards", |p| p.forwards),
            ("backwards", |p| p.backwards),
            ("gradients", |p| p.gradients),
            ("zero_gradients", |p| p.zero_gradients),
            ("broken_gradients", |p| p.broken_gradients),
        ];
        for (name, count) in counts {
            findings.column(name, spent.iter().map(|p| count(p) as i64).collect());
        }
        if self.model.native.integer_pixels.is_some() {
            let proposed = best.iter().map(|b| b.as_ref().and_then(|(_, p)| p.x.clone())).collect::<Vec<_>>();
            findings.column("outcome_uint8", self.judged_on_grid(batch, &proposed, &(0..n).map(outcome).collect::<Vec<_>>())?);
        }
        let broken: Vec<usize> = (0..n).filter(|&i| matches!(outcome(i), Outcome::Broken | Outcome::NanInBall)).collect();
        let points: Vec<f32> =
            broken.iter().flat_map(|&i| best[i].as_ref().and_then(|(_, p)| p.x.clone()).unwrap_or_default()).collect();
        let [c, h, w] = self.model.shape;
        findings.column("witness_id", broken.iter().map(|&i| batch.ids[i] as i64).collect());
        findings.array("witness_x", &[broken.len(), c, h, w], points);
        Ok(())
    }

    /// What becomes of the samples when the points are stored as 8-bit pixels, which is all that the model takes.
    fn judged_on_grid(&self, batch: &Batch, points: &[Option<Vec<f32>>], outcomes: &[Outcome]) -> Result<Vec<u8>, AttackError> {
        let clean = batch.x0.to_vec::<f32>().unwrap_or_default();
        let width = clean.len() / batch.len().max(1);
        let stored = |(i, point): (usize, &Option<Vec<f32>>)| {
            let origin = &clean[i * width..(i + 1) * width];
            point.as_ref().filter(|p| p.len() == width).map(|point| on_grid(&self.threat, origin, point))
        };
        let stored: Vec<Option<Vec<f32>>> = points.iter().enumerate().map(stored).collect();
        let judged = self.verifier.judge(&self.threat, &batch.x0, &batch.y, &stored)?;
        let wrong = |(found, &was): (&Finding, &Outcome)| match was {
            Outcome::Misclassified => was as u8,
            _ => found.outcome as u8,
        };
        Ok(judged.iter().zip(outcomes).map(wrong).collect())
    }

    /// The batch with its points moved to the attack's last iterates.
    fn moved(&self, batch: &Batch) -> Result<Batch, MeasureError> {
        let Measure::Attack { id, attack, target, .. } = &self.tool else { return Ok(batch.clone()) };
        let failed = |source| MeasureError::Attack { component: id.clone(), source };
        let clean = self.verifier.logits(&batch.x0).map_err(failed)?;
        let aimed = target.aim(batch, &clean, self.settings.seed, id);
        let proposals = attack.run(&aimed, self.threat.eps, self.settings.seed, 0, Keep::Last).map_err(failed)?;
        let points: Vec<f32> = proposals.into_iter().flat_map(|p| p.x.unwrap_or_default()).collect();
        let x0 = Tensor::new(batch.x0.shape(), points).unwrap_or_else(|| batch.x0.clone());
        Ok(Batch { x0, clean: Some(batch.x0.clone()), ..batch.clone() })
    }
}

/// The gradient graph that attacks follow instead of ours.
fn followed(model: &Model) -> Option<&Graph> {
    model.given.as_ref().filter(|given| given.used).map(|given| &given.graph)
}

/// The attack or metric of that name.
///
/// # Errors
/// There is none.
pub fn offered<'p>(plugins: &'p Plugins, id: &str) -> Result<&'p Component, HostError> {
    let kind = plugins.named(id).map_or(Kind::Attack, |c| c.kind);
    plugins.component(kind, id)
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

/// Which finding is worth more to an attacker.
fn rank(finding: &Finding) -> u8 {
    match (finding.outcome, finding.rejection) {
        (Outcome::Broken, _) => 3,
        (Outcome::NanInBall, _) => 2,
        (_, None) => 1,
        (
            _,
            Some(
                Rejection::NotFinite
                | Rejection::OutsideBox
                | Rejection::OutsideBall
                | Rejection::WrongSize
                | Rejection::NotMeasured,
            ),
        ) => 0,
    }
}
