//! Runs a program on a small linear classifier, to see that it runs at all and stays where it may be: what `plugins check` asks
//! of every engine. A real model is not needed for that.

mod training;

use flatscape_engine::{Engine, EngineError};
use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};
use flatscape_host::{CheckedProgram, Iterates, Kind, Program, Role, Task};

use std::sync::atomic::AtomicBool;

use crate::attack::{Attack, AttackError, Batch, Keep, Restart, Ruling};
use crate::link::{Link, LinkError};
use crate::metric::Metric;
use crate::prepared::numbers;
use crate::stage::StageError;
use crate::threats::{Scale, ThreatModel, norm};
use crate::verify::{Region, admissible_in};
use flatscape_intake::random::{Law, Place, fill};

/// Samples in the dry run.
const SAMPLES: usize = 4;

/// Steps of an attack in the dry run, and every graph of its turn at least once.
const MOST_STEPS: u32 = 50;

/// Why a program fails its dry run.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// It could not be linked, compiled or run.
    #[error(transparent)]
    Run(#[from] AttackError),
    /// What it computes is not what its role asks for.
    #[error("{0}")]
    Fault(String),
}

impl From<LinkError> for DryRunError {
    fn from(error: LinkError) -> DryRunError {
        DryRunError::Run(error.into())
    }
}

impl From<StageError> for DryRunError {
    fn from(error: StageError) -> DryRunError {
        DryRunError::Run(error.into())
    }
}

impl From<EngineError> for DryRunError {
    fn from(error: EngineError) -> DryRunError {
        DryRunError::Run(error.into())
    }
}

fn fault(what: impl Into<String>) -> DryRunError {
    DryRunError::Fault(what.into())
}

/// Runs one program and says what happened.
///
/// # Errors
/// It could not be linked, compiled or run, or a trainer or an optimizer gives what cannot be trained with.
pub fn run(engine: &dyn Engine, checked: &CheckedProgram) -> Result<String, DryRunError> {
    match checked.component.kind {
        Kind::Attack | Kind::Metric => Ok(linked(engine, checked)?),
        Kind::Trainer => training::trainer(engine, checked),
        Kind::Optimizer => training::optimizer(engine, checked),
    }
}

/// Runs an attack or a metric.
fn linked(engine: &dyn Engine, checked: &CheckedProgram) -> Result<String, AttackError> {
    let CheckedProgram { component, arguments, task, program } = checked;
    let model = linear(task)?;
    let threat = threat(task);
    let numbers = numbers(arguments);
    let link = Link {
        model: &model,
        objective: program.graph(Role::Objective),
        cotangent: program.graph(Role::Cotangent),
        given: None,
        no_likelihood: None,
        temperature: 1.0,
        units: &[],
        threat: &threat,
        targeted: task.targeted,
        arguments: &numbers,
        steps: program.steps,
        smoothing: 0.0,
    };
    let batch = batch(task)?;
    if component.kind == Kind::Metric {
        let metric = Metric::compile(engine, &link, program, &component.id, 64)?;
        let found = metric.run(&batch, threat.eps, 0, &AtomicBool::new(false), &mut |_| {})?;
        let finite = found.columns.values().chain(found.surfaces.values().flatten()).flatten().all(|v| v.is_finite());
        let names: Vec<&str> = found.columns.keys().chain(found.surfaces.keys()).map(String::as_str).collect();
        let verdict = if finite { "finite numbers" } else { "numbers that are not all finite" };
        return Ok(format!("gives {} on a linear classifier, {verdict}", names.join(", ")));
    }
    let free = component.iterates == Iterates::Free;
    let shortened = Program { steps: program.steps.min(MOST_STEPS), ..program.clone() };
    let attack = Attack::compile(engine, &link, &shortened, &component.id, free, Keep::Last)?;
    let restart = Restart { seed: 0, eps: threat.eps, number: 0, batch_size: SAMPLES, stop: &AtomicBool::new(false) };
    let proposals = attack.run(&batch, &restart, &mut |rows, _| Ok(vec![Ruling::Stands; rows.len()]), &mut |_| {})?;
    let clean = batch.x0.to_vec::<f32>().ok_or_else(|| StageError::Result { name: "x0".into() })?;
    let origins = clean.chunks(task.pixels());
    let inside = proposals
        .iter()
        .zip(origins)
        .zip(&batch.ids)
        .filter(|((p, x0), id)| {
            let point = p.point.clone().map(|point| threat.candidate(x0, point, **id));
            point.is_some_and(|point| admissible_in(&threat, Region::Ball, x0, &point).is_none())
        })
        .count();
    Ok(format!("{inside} of {SAMPLES} proposals on a linear classifier lie in ball and box"))
}

/// z = Wx with keyed random weights.
fn linear(task: &Task) -> Result<Graph, AttackError> {
    let [c, h, w] = task.shape;
    let builder = Builder::new(Graph::new("linear"));
    let x = builder.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)]));
    let weights = weights(task)?;
    let logits = x.reshape(&[0, -1]).matmul(builder.constant(weights));
    builder.output("logits", logits);
    Ok(builder.into_graph())
}

/// float \[D,classes\], keyed and random.
fn weights(task: &Task) -> Result<Tensor, AttackError> {
    let mut weights = vec![0f32; task.pixels() * task.classes];
    fill(Law::Normal, Place::new(0, "dry-run", "weights"), &mut weights);
    Tensor::new(&[task.pixels(), task.classes], weights).ok_or_else(|| wrong("weights"))
}

/// Pixels as images of the task.
fn images(task: &Task, pixels: Vec<f32>) -> Result<Tensor, AttackError> {
    let [c, h, w] = task.shape;
    Tensor::new(&[SAMPLES, c, h, w], pixels).ok_or_else(|| wrong("x0"))
}

fn threat(task: &Task) -> ThreatModel {
    let norm = norm(&task.norm).unwrap_or(&crate::threats::THREATS[0]);
    let (lo, hi) = (task.lo as f32, task.hi as f32);
    let (scale, shape) = (Scale::Values, Some(task.shape));
    ThreatModel { norm, eps: task.eps, scale, shape, spelling: task.eps.to_string(), lo, hi, levels: false, seed: 0 }
}

fn batch(task: &Task) -> Result<Batch, AttackError> {
    let mut pixels = vec![0f32; task.pixels() * SAMPLES];
    fill(Law::Uniform, Place::new(0, "dry-run", "pixels"), &mut pixels);
    let (low, high) = (task.lo as f32, task.hi as f32);
    pixels.iter_mut().for_each(|v| *v = low + (high - low) * (*v + 1.0) / 2.0);
    let x0 = images(task, pixels)?;
    let y: Vec<i64> = (0..SAMPLES as i64).map(|i| i % task.classes as i64).collect();
    let target = y.iter().map(|label| (label + 1) % task.classes as i64).collect();
    Ok(Batch { ids: (0..SAMPLES as u64).collect(), x0, y, target, clean: None, second: None })
}

fn wrong(name: &str) -> AttackError {
    StageError::Result { name: name.to_owned() }.into()
}
