//! What a step of PGD costs beside its gradient: bytes that pass between host and engine, and the time of keeping the best point.
//!
//!     attack-step MODEL DATA [--data-dir DIR] [--images N] [--eps E] [--steps K] [--engine auto|ort|tract] [--threads N]
//!                 [--worker PROGRAM] [--rounds R]
//!
//! With `--worker target/release/flatscape` the engine runs in a process of that program as well, in turn with the one in this
//! process, so that the cost of the process can be read from two lines of one run.
//!
//! Prints one line per way of keeping: seconds, samples left, bytes per sample and step that went to the engine, and bytes that the
//! host read, as the engine counts them: per sample and step, the same without the points of claimed adversarial examples, and per
//! sample at the end.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use flatscape_engine::{Engine, EngineProcess, Settings, bytes_read};
use flatscape_graph::text;
use flatscape_host::{Program, Role};
use flatscape_intake::data::{Dataset, Request};
use flatscape_intake::model::{Intake, Model};
use flatscape_intake::scores::argmax;
use flatscape_measure::attack::{Attack, Batch, Keep, Proposal, Restart, Ruling};
use flatscape_measure::link::Link;
use flatscape_measure::prepared::Settings as BatchSettings;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::Verifier;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// x' = Π(x + 2.5·ε/K·sign ∇ℓ), without a random start.
const STEP: &str = "(float[N,D] x, float[N,D] grad, float eps, int64 steps) => (float[N,D] x_next) <float c = {2.5}> {
    k = Cast<to = 1>(steps)  e = Mul(eps, c)  a = Div(e, k)  s = Sign(grad)  d = Mul(s, a)  x_next = Add(x, d) }";

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Fallible<()> {
    let mut engine = Settings { threads: 2, ..Settings::default() };
    let (mut names, mut data_dir, mut images, mut eps, mut steps) = (Vec::new(), None, 1000, "0.1".to_owned(), 20);
    let (mut worker, mut rounds) = (None, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--data-dir" => data_dir = Some(PathBuf::from(value()?)),
            "--images" => images = value()?.parse()?,
            "--eps" => eps = value()?,
            "--steps" => steps = value()?.parse()?,
            "--engine" => engine.choice = value()?.parse()?,
            "--worker" => worker = Some(PathBuf::from(value()?)),
            "--rounds" => rounds = value()?.parse()?,
            "--threads" => engine.threads = value()?.parse()?,
            _ => names.push(argument),
        }
    }
    let [model, data] = &names[..] else { return Err("write attack-step MODEL DATA".into()) };
    let contained = worker.map(|program| -> Fallible<_> {
        let process = EngineProcess { program, ..EngineProcess::this_program(true)? };
        opened(&Settings { process: Some(process), ..engine.clone() }, "in a process of its own")
    });
    let contained = contained.transpose()?;
    let engine = opened(&engine, "in this process")?;
    let data = Dataset::load(&Request { data_dir, limit: Some(images), ..Request::new(data) })?;
    let model = Model::load(model, &Intake::default(), &data, engine.as_ref())?;
    let threat = ThreatModel::parse(&format!("linf:{eps}"), false)?;
    let batch = right(engine.as_ref(), &model, &data, &threat)?;
    let program = Program::new(vec![(Role::Step, text::parse(STEP)?)], steps);
    println!("{} correct images, {steps} steps at linf:{eps}, {}", batch.len(), engine.info().name);
    for _ in 0..rounds {
        for (keep, name) in [(Keep::Last, "last"), (Keep::Nearest, "nearest"), (Keep::FirstSuccess, "first success")] {
            println!("{}", line(engine.as_ref(), &model, &threat, &program, &batch, keep, name)?);
            if let Some(contained) = &contained {
                println!("{}  in a process", line(contained.as_ref(), &model, &threat, &program, &batch, keep, name)?);
            }
        }
    }
    Ok(())
}

/// Opens an engine and says how long that took.
fn opened(settings: &Settings, place: &str) -> Fallible<Arc<dyn Engine>> {
    let started = Instant::now();
    let engine = flatscape_engine::open(settings)?;
    println!("{} opened {place} in {:.3} s", engine.name(), started.elapsed().as_secs_f64());
    Ok(engine)
}

/// The images that are classified correctly.
fn right(engine: &dyn Engine, model: &Model, data: &Dataset, threat: &ThreatModel) -> Fallible<Batch> {
    let verifier = Verifier::new(engine, &model.graph, threat, 33)?;
    let all = data.batch(0..data.len());
    let scores = verifier.logits(&all.x)?;
    let chosen: Vec<usize> = (0..scores.len()).filter(|&i| argmax(&scores[i]) == Some(all.y[i] as usize)).collect();
    Ok(Batch { ids: all.ids, x0: all.x, target: all.y.clone(), y: all.y, clean: None, second: None }.select(&chosen))
}

fn line(
    engine: &dyn Engine,
    model: &Model,
    threat: &ThreatModel,
    program: &Program,
    batch: &Batch,
    keep: Keep,
    name: &str,
) -> Fallible<String> {
    let link = Link { steps: program.steps, ..Link::of(&model.graph, threat) };
    let attack = Attack::compile(engine, &link, program, "attack-step", false, keep)?;
    let restart = Restart {
        seed: 0,
        eps: threat.eps,
        number: 0,
        batch_size: BatchSettings::usual_batch(&model.shape),
        stop: &AtomicBool::new(false),
    };
    let started = Instant::now();
    let pixels: usize = model.shape.iter().product();
    let (before, mut stepped, mut claimed) = (bytes_read(), 0, 0);
    let mut judge = |rows: &[usize], _: &[Vec<f32>]| {
        claimed += rows.len() * pixels * 4;
        Ok(vec![Ruling::Stands; rows.len()])
    };
    let proposals = attack.run(batch, &restart, &mut judge, &mut |_| stepped = bytes_read() - before)?;
    let seconds = started.elapsed().as_secs_f64();
    let end = bytes_read() - before - stepped;
    let (up, _) = attack.traffic();
    // the last evaluation is no step, and samples that left spared it
    let steps = |p: &Proposal| p.forwards.min(u64::from(program.steps));
    let taken: u64 = proposals.iter().map(steps).sum();
    let left = proposals.iter().filter(|p| !p.claimed).count();
    let each = |bytes: u64| bytes as f64 / taken.max(1) as f64;
    let own = stepped.saturating_sub(claimed as u64);
    Ok(format!(
        "{name:14} {seconds:8.3} s  {left:6} left  {:8.1} bytes up  {:8.1} read a step  {:6.2} without points  {:8.1} read at the end",
        each(up),
        each(stepped),
        each(own),
        end as f64 / batch.len().max(1) as f64
    ))
}
