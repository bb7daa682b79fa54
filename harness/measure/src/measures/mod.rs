//! The kinds of measurement, one file each, behind one trait. Each kind is described in its file; how ranges are cut and findings
//! joined, in [`crate::prepared`].

pub(crate) mod attack;
pub(crate) mod clean;
mod likelihood;
pub(crate) mod metric;
pub(crate) mod oracle;
mod temperature;
mod verdicts;

use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_engine::Engine;
use flatscape_graph::Graph;
use flatscape_host::{Arguments, Component, Iterates, Kind, Plugins, Program, Role, Task};
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;
use flatscape_intake::remedies::objective;
use flatscape_intake::scores::{is_tied, margin};

use crate::attack::{AttackError, Batch, Keep};
use crate::columns::{BATCH_DIFFERENCE, CLEAN_MARGIN, ID, LABEL, PREDICTION, TIES};
use crate::error::MeasureError;
use crate::findings::{Findings, FindingsError};
use crate::link::Link;
use crate::prepared::{Settings, check, numbers, offered};
use crate::request::{At, Request, Target};
use crate::threats::ThreatModel;
use crate::verify::{Answer, Others, Verifier};
use metric::Place;

/// A kind of measurement, linked to a model and compiled.
pub(crate) trait Measure {
    /// How many samples go together at most.
    fn group(&self, conditions: &Conditions) -> usize;

    /// Whether the images are judged in batches, too, and not alone only.
    fn doubts_batches(&self) -> bool {
        false
    }

    /// Measures some samples: the findings, and what went wrong after they were found.
    ///
    /// # Errors
    /// What leaves nothing that could be used, and [`MeasureError::Interrupted`].
    fn measure(&self, on: &Group, watch: &mut Watch) -> Result<(Findings, Option<MeasureError>), MeasureError>;

    /// The findings on samples that were not attacked because of a fault that came earlier.
    ///
    /// # Errors
    /// The kind has none.
    fn skipped(&self, on: &Group) -> Result<Findings, MeasureError>;
}

/// What every measurement is made under.
#[derive(Clone)]
pub(crate) struct Conditions<'a> {
    pub plugins: &'a Plugins,
    pub model: &'a Model,
    pub dataset: &'a Dataset,
    pub threat: ThreatModel,
    pub settings: Settings,
}

/// Samples that are measured together.
pub(crate) struct Group<'g> {
    pub conditions: &'g Conditions<'g>,
    pub verifier: &'g Verifier,
    pub batch: &'g Batch,
    /// What the model says about the images.
    pub clean: &'g [CleanAnswer],
}

/// What the model says about an image alone, which decides whether there is something to attack.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CleanAnswer {
    /// The class of the first of the largest scores; `None` where scores are undefined.
    pub prediction: Option<usize>,
    /// z_y − max z_i over i ≠ y; NaN where scores are undefined.
    pub margin: f64,
    /// Whether the label's score is the largest and another class has the same.
    pub tied: bool,
    /// How far the scores in batches differ, see [`Answer`]; 0 where batches were not asked.
    pub difference: f64,
    /// The scores; empty where they were read from findings, which do not hold them.
    pub scores: Vec<f64>,
    /// What other precisions say; nothing where this was read from findings.
    pub others: Others,
    /// The share of the draws that predict the label, for models that draw at random; nothing where this was read from findings.
    pub share: Option<f64>,
}

impl CleanAnswer {
    /// What an answer says about an image with this label.
    pub fn of(answer: Answer, label: usize) -> CleanAnswer {
        let share = answer.votes.as_ref().map(|votes| votes.share(label));
        let prediction = answer.prediction();
        let Answer { scores, difference, others, .. } = answer;
        let (margin, tied) = (margin(&scores, label), is_tied(&scores, label));
        CleanAnswer { prediction, margin, tied, difference, scores, others, share }
    }

    /// The same from the findings of a clean job, for these samples in ascending order.
    ///
    /// # Errors
    /// A column or a sample is missing.
    pub fn read(findings: &Findings, ids: &[u64]) -> Result<Vec<CleanAnswer>, FindingsError> {
        let known = findings.read(&ID)?;
        let (predictions, margins, ties) = (findings.read(&PREDICTION)?, findings.read(&CLEAN_MARGIN)?, findings.read(&TIES)?);
        let of = |&id: &u64| {
            let row = known.binary_search(&(id as i64)).map_err(|_| FindingsError::Sample(id))?;
            let prediction = usize::try_from(predictions[row]).ok();
            let (margin, tied) = (margins[row], ties[row]);
            Ok(CleanAnswer {
                prediction,
                margin,
                tied,
                difference: 0.0,
                scores: Vec::new(),
                others: Others::default(),
                share: None,
            })
        };
        ids.iter().map(of).collect()
    }
}

/// The observer of a measurement: receives the share that is done, and may request a stop.
pub(crate) struct Watch<'w> {
    pub progress: &'w mut dyn FnMut(f64),
    pub stop: &'w AtomicBool,
}

impl Watch<'_> {
    /// # Errors
    /// [`MeasureError::Interrupted`], if a stop was requested.
    pub fn go_on(&self) -> Result<(), MeasureError> {
        if self.stop.load(Ordering::Relaxed) { Err(MeasureError::Interrupted) } else { Ok(()) }
    }
}

impl Group<'_> {
    /// The columns that every kind has.
    pub fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        findings.put(&ID, self.batch.ids.iter().map(|&id| id as i64).collect());
        findings.put(&LABEL, self.batch.y.clone());
        findings.put(&PREDICTION, self.clean.iter().map(|a| class(a.prediction)).collect());
        findings.put(&CLEAN_MARGIN, self.clean.iter().map(|a| a.margin).collect());
        findings.put(&TIES, self.clean.iter().map(|a| a.tied).collect());
        findings.put(&BATCH_DIFFERENCE, self.clean.iter().map(|a| a.difference).collect());
        findings
    }

    /// The samples with their targets filled in.
    pub fn aimed(&self, target: Target, component: &str) -> Batch {
        let scores: Vec<Vec<f64>> = self.clean.iter().map(|answer| answer.scores.clone()).collect();
        target.aim(self.batch, &scores, self.conditions.settings.seed, component)
    }
}

/// A class as columns hold it; −1 where none is predicted.
pub(crate) fn class(prediction: Option<usize>) -> i64 {
    prediction.map_or(-1, |class| class as i64)
}

/// What a component is asked for on a model under a threat model.
pub fn task(model: &Model, request: &Request, threat: &ThreatModel) -> Task {
    let mut task = Task::new(model.shape, model.classes, threat.norm.name, threat.eps);
    task.targeted = request.target.is_some_and(|target| target != Target::None);
    task.parameters = threat.parameters(model.shape);
    (task.lo, task.hi) = (threat.lo.into(), threat.hi.into());
    task
}

/// A requested component: what it is, with its arguments complete, for this model and threat.
pub(crate) struct Asked<'a> {
    pub component: &'a Component,
    pub arguments: Arguments,
    pub task: Task,
    pub target: Target,
}

impl<'a> Asked<'a> {
    /// # Errors
    /// There is no such component, or its arguments are wrong.
    pub fn of(conditions: &Conditions<'a>, request: &Request) -> Result<Asked<'a>, MeasureError> {
        let component = offered(conditions.plugins, &request.id)?;
        let target = request.target.unwrap_or(Target::None);
        target.check(conditions.model.classes)?;
        let task = task(conditions.model, request, &conditions.threat);
        Ok(Asked { component, arguments: component.arguments(&request.arguments)?, task, target })
    }

    /// Links the component's graphs to the model and hands the link on. Attacks see the twin of the model where a remedy made one.
    pub fn linked<T>(
        &self,
        conditions: &Conditions,
        program: Option<&Program>,
        verifier: &Verifier,
        compile: impl FnOnce(&Link) -> Result<T, AttackError>,
    ) -> Result<T, MeasureError> {
        let model = conditions.model;
        let attacks = self.component.kind == Kind::Attack;
        let reads = likelihood::NAMES.iter().any(|name| program.is_some_and(|p| p.names(name)));
        let missing = if reads { likelihood::missing(conditions, verifier).map_err(failed(&self.component.id))? } else { None };
        let margin = (model.remedied.margin && attacks).then(|| objective(self.task.targeted));
        let loss = model.loss.as_ref().map(|loss| &loss.graph).filter(|_| attacks);
        let numbers = if program.is_some() { numbers(&self.arguments) } else { Vec::new() };
        let link = Link {
            model: model.remedied.twin.as_ref().filter(|_| attacks).or(model.drawn.as_ref()).unwrap_or(&model.graph),
            objective: program.and_then(|p| p.graph(Role::Objective)).or(loss).or(margin.as_ref()),
            cotangent: program.and_then(|p| p.graph(Role::Cotangent)),
            given: followed(model),
            no_likelihood: missing.as_deref(),
            temperature: if program.is_some_and(|p| p.names("temperature")) {
                temperature::of(conditions, verifier).map_err(failed(&self.component.id))?
            } else {
                f64::NAN
            },
            units: &units(model),
            threat: &conditions.threat,
            targeted: self.task.targeted,
            arguments: &numbers,
            steps: program.map_or(0, |p| p.steps),
            smoothing: 0.0,
        };
        compile(&link).map_err(failed(&self.component.id))
    }
}

/// What a step of 1 in the input of the model is in pixels, per channel of the images: std/scale.
fn units(model: &Model) -> Vec<f64> {
    let pixels = &model.pixels;
    let mut units: Vec<f64> = pixels.std.iter().map(|std| std / pixels.scale).collect();
    if pixels.reversed {
        units.reverse();
    }
    units
}

/// The gradient graph that attacks follow instead of ours.
fn followed(model: &Model) -> Option<&Graph> {
    model.given.as_ref().filter(|given| given.used).map(|given| &given.graph)
}

/// An error of a component, by its name.
pub(crate) fn failed(component: &str) -> impl Fn(AttackError) -> MeasureError + use<> {
    let component = component.to_owned();
    move |source| match source {
        AttackError::Interrupted => MeasureError::Interrupted,
        source => MeasureError::Attack { component: component.clone(), source },
    }
}

/// A component as a measurement, and what a reader should know about how it is computed, as clauses.
///
/// # Errors
/// There is no such component, its program does not fit, or the engine refuses it.
pub(crate) fn component<'a>(
    engine: &dyn Engine,
    conditions: &Conditions<'a>,
    verifier: &Verifier,
    request: &Request,
) -> Result<(Box<dyn Measure + 'a>, Vec<String>), MeasureError> {
    let asked = Asked::of(conditions, request)?;
    let keep = match asked.component.goal {
        flatscape_host::Goal::Budget => Keep::FirstSuccess,
        flatscape_host::Goal::Minimal => Keep::Nearest,
    };
    // points that a threat model lists one by one are judged one by one
    let listed = conditions.threat.norm.parameter.is_some_and(|parameter| parameter.points().is_some());
    let keep = if listed { Keep::Every } else { keep };
    if asked.component.is_oracle() {
        return Ok((Box::new(oracle::Oracle::new(engine, conditions, verifier, asked, keep)?), Vec::new()));
    }
    let program = conditions.plugins.build(asked.component, &asked.arguments, &asked.task)?;
    let mut notes = Vec::new();
    let own = [Role::Objective, Role::Cotangent].into_iter().any(|role| program.graph(role).is_some())
        || likelihood::GRADIENTS.iter().any(|name| program.names(name));
    if let Some(given) = conditions.model.given.as_ref().filter(|given| own && given.used) {
        let id = &asked.component.id;
        notes.push(format!("{id} differentiates what {} does not, so the gradient is our own", given.name));
    }
    let measure: Box<dyn Measure + 'a> = match asked.component.kind {
        Kind::Metric => {
            let at = match &request.at {
                Some(At::Adversarial(attack)) => Place::Last(points(engine, conditions, verifier, attack)?),
                Some(At::Path(attack)) => Place::Path(Box::new(path(engine, conditions, verifier, attack)?)),
                Some(At::Clean) | None => Place::Image,
            };
            let second = request.second.as_ref().map(|attack| points(engine, conditions, verifier, attack)).transpose()?;
            Box::new(metric::MetricAt::new(engine, conditions, verifier, &asked, &program, (at, second))?)
        }
        _ => Box::new(attack::Programmed::new(engine, conditions, verifier, asked, &program, keep)?),
    };
    Ok((measure, notes))
}

/// Where an attack moves images for a metric that looks there.
pub(crate) trait Moves {
    /// The point that the attack proposes for every sample; `None` if it proposes none.
    ///
    /// # Errors
    /// The attack failed, or [`MeasureError::Interrupted`].
    fn points(&self, on: &Group, watch: &mut Watch) -> Result<Vec<Option<Vec<f32>>>, MeasureError>;
}

/// An attack at whose last points a metric is taken.
fn points<'a>(
    engine: &dyn Engine,
    conditions: &Conditions<'a>,
    verifier: &Verifier,
    request: &Request,
) -> Result<Box<dyn Moves + 'a>, MeasureError> {
    check(conditions.plugins, Kind::Attack, request)?;
    let asked = Asked::of(conditions, request)?;
    if asked.component.is_oracle() {
        return Ok(Box::new(oracle::Oracle::new(engine, conditions, verifier, asked, Keep::Last)?));
    }
    let program = conditions.plugins.build(asked.component, &asked.arguments, &asked.task)?;
    Ok(Box::new(attack::Programmed::new(engine, conditions, verifier, asked, &program, Keep::Last)?))
}

/// An attack along whose path a metric is taken.
fn path(
    engine: &dyn Engine,
    conditions: &Conditions,
    verifier: &Verifier,
    request: &Request,
) -> Result<attack::Programmed, MeasureError> {
    check(conditions.plugins, Kind::Attack, request)?;
    let asked = Asked::of(conditions, request)?;
    let program = conditions.plugins.build(asked.component, &asked.arguments, &asked.task)?;
    attack::Programmed::new(engine, conditions, verifier, asked, &program, Keep::Every)
}

/// Whether an attack's iterates may leave the ball on the way.
pub(crate) fn is_free(component: &Component) -> bool {
    component.iterates == Iterates::Free
}
