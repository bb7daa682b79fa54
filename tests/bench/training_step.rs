//! This project as a contender of `training_step.py`: answers lines on stdin with lines on stdout.
//!
//! A step is what `flatscape train` does with one batch: the inner attack where the recipe has one, the cost with its derivatives by
//! all parameters, and the update, from images in memory to parameters in the engine. The graphs are those of the standard plugins.
//!
//!     training-step [--threads N] [--engine auto|ort|tract] [--worker PROGRAM]
//!
//!     info                          -> one line of JSON
//!     write NET PATH                -> ok            the seeded weights of an architecture, for the peers
//!     run NET RECIPE BATCH REPEATS  -> REPEATS milliseconds, one per step; one untimed step goes before
//!     costs NET RECIPE BATCH STEPS  -> the mean cost of each step from the seeded weights

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use flatscape_architectures::{Request as Model, named};
use flatscape_engine::{Engine, EngineProcess, Settings};
use flatscape_graph::{DType, Dim, Graph, Tensor, onnx};
use flatscape_host::{Component, Kind, Plugins, Program, Role, Search, Task, WorkerCommand};
use flatscape_intake::model::{Intake, Trainable};
use flatscape_measure::attack::{Attack, Batch};
use flatscape_measure::link::Link;
use flatscape_measure::prepared::numbers;
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use flatscape_train::form::{Form, values_of};
use flatscape_train::learner::{Inner, Learner, Recipe, Samples, State, When, weights_of};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// What is trained with: its name, the trainer, and the radius of its inner attack.
const RECIPES: &[(&str, &str, f64)] = &[
    ("ce", "standard", 0.0),
    ("jacobian", "jacobian:lambda=0.01", 0.0),
    ("jacobian-exact", "jacobian:lambda=0.01,n-proj=-1", 0.0),
    ("amsreg", "amsreg:mu=0.5", 0.0),
    ("at-pgd10", "adversarial", 10.0 / 255.0),
];
const OPTIMIZER: &str = "sgd:momentum=0.9,weight-decay=0.0005";
const LR: f64 = 0.01;
const CLASSES: usize = 10;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Fallible<()> {
    let mut settings = Settings { threads: 2, ..Settings::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--threads" => settings.threads = value()?.parse()?,
            "--engine" => settings.choice = value()?.parse()?,
            "--worker" => {
                let program = PathBuf::from(value()?);
                settings.process = Some(EngineProcess { program, ..EngineProcess::this_program(true)? });
            }
            other => return Err(format!("{other} is not an option").into()),
        }
    }
    let engine = flatscape_engine::open(&settings)?;
    let plugins = plugins()?;
    let mut trained: HashMap<[String; 2], Trained> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() == Some(&"quit") {
            break;
        }
        let answer = respond(&*engine, &plugins, &mut trained, &words);
        println!("{}", answer.unwrap_or_else(|e| format!("error {e}").replace('\n', " ")));
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The standard plugins, from the file that is built beside this program.
fn plugins() -> Fallible<Plugins> {
    let file = format!("{}flatscape_standard{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let file = std::env::current_exe()?.with_file_name(file);
    let found = Plugins::discover(&Search::only(&[file]), &WorkerCommand::in_process());
    match found.refused() {
        [] => Ok(found),
        [why, ..] => Err(why.to_string().into()),
    }
}

fn respond(
    engine: &dyn Engine,
    plugins: &Plugins,
    trained: &mut HashMap<[String; 2], Trained>,
    words: &[&str],
) -> Fallible<String> {
    match words {
        ["info"] => {
            let info = engine.info();
            let version = format!("{} {}", info.name, info.version);
            Ok(serde_json::json!({ "engine": "flatscape", "version": version, "threads": info.threads }).to_string())
        }
        ["write", net, path] => {
            std::fs::write(path, onnx::write(&model(net)?))?;
            Ok("ok".to_owned())
        }
        ["run", net, recipe, batch, repeats] => {
            let key = [(*net).to_owned(), (*recipe).to_owned()];
            if !trained.contains_key(&key) {
                trained.insert(key.clone(), Trained::of(engine, plugins, net, recipe)?);
            }
            let found = trained.get_mut(&key).ok_or("it was just put there")?;
            let samples = found.samples(batch.parse()?)?;
            found.step(&samples)?;
            let mut timed = || -> Fallible<String> {
                let start = Instant::now();
                found.step(&samples)?;
                Ok(format!("{:.6}", start.elapsed().as_secs_f64() * 1e3))
            };
            Ok((0..repeats.parse::<usize>()?).map(|_| timed()).collect::<Fallible<Vec<_>>>()?.join(" "))
        }
        ["costs", net, recipe, batch, steps] => {
            let mut found = Trained::of(engine, plugins, net, recipe)?;
            let samples = found.samples(batch.parse()?)?;
            let mut cost = || -> Fallible<String> { Ok(format!("{:.9}", found.step(&samples)?)) };
            Ok((0..steps.parse::<usize>()?).map(|_| cost()).collect::<Fallible<Vec<_>>>()?.join(" "))
        }
        _ => Err(format!("there is no request `{}`", words.join(" ")).into()),
    }
}

fn model(net: &str) -> Fallible<Graph> {
    Ok(named(net)?.graph(&Model { classes: CLASSES, ..Model::default() })?)
}

/// A component, its program, and its arguments as numbers.
type Built<'p> = (&'p Component, Program, Vec<(String, f64)>);

fn built<'p>(plugins: &'p Plugins, kind: Kind, text: &str, task: &Task) -> Fallible<Built<'p>> {
    let request = Request::parse(text)?;
    let component = plugins.component(kind, &request.id)?;
    let arguments = component.arguments(&request.arguments)?;
    Ok((component, plugins.build(component, &arguments, task)?, numbers(&arguments)))
}

/// A net under training with one recipe.
struct Trained {
    learner: Learner,
    inner: Option<Inner>,
    state: State,
    /// C, H, W.
    shape: Vec<usize>,
    eps: f64,
    k: u64,
}

impl Trained {
    fn of(engine: &dyn Engine, plugins: &Plugins, net: &str, recipe: &str) -> Fallible<Trained> {
        let (_, trainer, eps) = RECIPES.iter().find(|(name, ..)| *name == recipe).ok_or("there is no such recipe")?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, onnx::write(&model(net)?))?;
        let found = Trainable::load(&path.display().to_string(), &Intake::default(), Some(CLASSES))?;
        let marked = found.native.any_batch()?.clone();
        let form = Form::of(&found, &marked, &vec![true; found.weights.len()])?;
        let input = marked.inputs().first().and_then(|&x| marked.shape(x)).ok_or("the image has no shape")?;
        let shape: Vec<usize> = input.iter().skip(1).map(Dim::fixed).collect::<Option<_>>().ok_or("an unknown extent")?;
        let [c, h, w] = shape[..] else { return Err("the image has no channels".into()) };
        let threat = ThreatModel::parse(&format!("linf:{eps}"), false)?;
        let task = Task::new([c, h, w], CLASSES, "linf", *eps);
        let (component, program, arguments) = built(plugins, Kind::Trainer, trainer, &task)?;
        let (_, optimizer, settings) = built(plugins, Kind::Optimizer, OPTIMIZER, &task)?;
        let recipe = Recipe {
            trainer: &component.id,
            cost: program.graph(Role::Cost).ok_or("the trainer has no cost")?,
            cotangent: program.graph(Role::Cotangent),
            arguments: &arguments,
            update: optimizer.graph(Role::Update).ok_or("the optimizer has no update")?,
            perturb: None,
            settings: &settings,
            perturbing: &[],
            moves: false,
            smoothing: 0.0,
            average: None,
        };
        let learner = Learner::compile(engine, &form, &recipe, &Link::of(&form.training, &threat))?;
        let attack = program.attack.as_deref().map(|text| -> Fallible<Inner> {
            let (component, attack, arguments) = built(plugins, Kind::Attack, text, &task)?;
            let link = Link { arguments: &arguments, steps: attack.steps, ..Link::of(&form.evaluation, &threat) };
            let compiled = Attack::compile(engine, &link, &attack, &component.id, false, Inner::KEEP)?;
            Ok(Inner::new(compiled, attack.restarts))
        });
        let inner = attack.transpose()?;
        let weights: Vec<Tensor> = found.weights.iter().map(|w| w.value.cast(DType::F32)).collect();
        let (parameters, statistics) = values_of(&form, &weights);
        let state = learner.start(&parameters, &statistics)?;
        Ok(Trained { learner, inner, state, shape, eps: *eps, k: 0 })
    }

    /// Images of a formula that the peers share; the label of sample i is i mod 10.
    fn samples(&self, batch: usize) -> Fallible<Batch> {
        let shape: Vec<usize> = [batch].iter().chain(&self.shape).copied().collect();
        let pixels = (0..shape.iter().product::<usize>()).map(|i| ((7919 * i) % 251) as f32 / 251.0).collect();
        let x0 = Tensor::new(&shape, pixels).ok_or("an impossible shape")?;
        let y: Vec<i64> = (0..batch).map(|i| (i % CLASSES) as i64).collect();
        Ok(Batch { ids: (0..batch as u64).collect(), x0, target: y.clone(), y, clean: None, second: None })
    }

    /// One step; gives the mean cost.
    fn step(&mut self, samples: &Batch) -> Fallible<f64> {
        let when = When { seed: 0, epoch: 0, step: self.k as u32, k: self.k, lr: LR, eps: self.eps };
        let attacked = self.inner.as_ref().map(|inner| {
            let weights = weights_of(&self.state.parameters, &self.state.statistics);
            inner.points(&weights, samples, &when, &AtomicBool::new(false))
        });
        let attacked = attacked.transpose()?;
        let costs = self.learner.step(&mut self.state, Samples { batch: samples, adversarial: attacked.as_ref() }, &when)?;
        self.k += 1;
        Ok(costs.cost.iter().sum::<f64>() / samples.len() as f64)
    }
}
