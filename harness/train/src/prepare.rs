//! A plan with its files read, its components built and its graphs compiled: everything before the first step. Knows plugins by name.

use flatscape_engine::Engine;
use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};
use flatscape_host::{Arguments, AttackStatistics, Component, Iterates, Kind, Plugins, Program, Role, Task, TrainingData};
use flatscape_intake::data::{Dataset, Split};
use flatscape_intake::model::{Model, ModelRequest, TOLERANCE, Trainable, difference, read};
use flatscape_intake::random::{Law, Place, fill};
use flatscape_intake::refusal::Refusal;
use flatscape_measure::attack::{Attack, AttackError};
use flatscape_measure::link::{Link, Linked, Point};
use flatscape_measure::prepared::{MeasureError, numbers, of_host};
use flatscape_measure::request::Request;
use flatscape_measure::stage::{Draw, Stage, Step};
use flatscape_measure::threats::ThreatModel;

use crate::evaluate::Evaluation;
use crate::form::{self, EXPORT_AGAIN, Form, batch_statistics, last_layer, values_of};
use crate::learner::{Inner, LearnError, Learner, Recipe, weights_of};
use crate::plan::{Average, Plan};
use crate::replay::Replays;
use crate::watch::Watch;

/// Everything before the first step.
pub struct Prepared {
    /// The model, as every command reads it.
    pub model: Model,
    /// The same with marks in place of weights.
    pub trainable: Trainable,
    /// The same with its weights as inputs.
    pub form: Form,
    /// Cost and update.
    pub learner: Learner,
    /// The inner attack of the trainer.
    pub inner: Option<Inner>,
    /// The perturbation that is kept over replays.
    pub replays: Option<Replays>,
    /// How often a batch is trained on.
    pub repeats: u32,
    /// What the trainer is fed.
    pub fed: TrainingData,
    /// Whether the trainer attacks the images.
    pub attacks: bool,
    /// Accuracy and geometry.
    pub evaluation: Evaluation,
    /// Watches training images, where the model is trained at the points of a single step.
    pub watch: Option<Watch>,
    /// Batch statistics at given weights, where the form has any.
    pub refresh: Option<Stage>,
    /// The training half of the data.
    pub data: Dataset,
    /// Ids that are trained on.
    pub training: Vec<u64>,
    /// Ids that are held out.
    pub held: Vec<u64>,
    /// The threat model; of radius 0 where none was stated.
    pub threat: ThreatModel,
    /// The components, in the order trainer, optimizer, attacks; each with its complete arguments and the hash of its program.
    pub components: Vec<Used>,
}

/// A component of a training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Used {
    /// `trainer`, `optimizer`, `attack`, `watched step` or `attack on validation images`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its arguments, complete, as text.
    pub arguments: String,
    /// Id, version and SHA-256 of the plugin.
    pub plugin: (String, String, String),
    /// SHA-256 of its program.
    pub program: String,
}

/// A component with its arguments and its program.
struct Built<'p> {
    component: &'p Component,
    arguments: Arguments,
    numbers: Vec<(String, f64)>,
    program: Program,
}

impl<'p> Built<'p> {
    fn of(plugins: &'p Plugins, kind: Kind, request: &Request, task: &Task) -> Result<Built<'p>, Refusal> {
        let component = plugins.component(kind, &request.id).map_err(of_host)?;
        let of_audits = request.survivors || request.via.is_some() || request.when_masked;
        if request.at.is_some() || request.target.is_some() || of_audits {
            let what =
                format!("at=, on= and target= are not for the components of a training, and {} has one of them", request.id);
            return Err(Refusal::usage(91, what).help("drop it"));
        }
        if !component.builds {
            let what = format!("the attack {} runs through oracle/1, and inside a training attacks are programs", request.id);
            return Err(Refusal::usage(93, what).help("name another attack, for example --attack pgd"));
        }
        let arguments = component.arguments(&request.arguments).map_err(of_host)?;
        let program = plugins.build(component, &arguments, task).map_err(of_host)?;
        Ok(Built { component, numbers: numbers(&arguments), arguments, program })
    }

    fn used(&self) -> Used {
        let plugin = &self.component.plugin;
        Used {
            kind: self.component.kind.name().to_owned(),
            id: self.component.name.clone(),
            arguments: self.arguments.complete(),
            plugin: (plugin.id.clone(), plugin.version.clone(), plugin.sha256.clone()),
            program: self.program.sha256.clone(),
        }
    }
}

impl Prepared {
    /// Reads, builds and compiles. `start` is the model of the plan, or the file that was written for an architecture.
    ///
    /// # Errors
    /// Model, data, plugin, engine and usage errors with the number of the kind of fault.
    pub fn of(plan: &Plan, start: &ModelRequest, engine: &dyn Engine, plugins: &Plugins) -> Result<Prepared, Refusal> {
        let (model, data) = model_and_data(plan, start, engine)?;
        let trainable = Trainable::load(&start.source, &start.intake, Some(model.classes))?;
        let marked = form::marked(&trainable, &model.pixels, model.shape)?;
        let chosen = plan.chosen.of(&trainable, &last_layer(&trainable, &marked))?;
        let refused = |e: String| Refusal::model(162, format!("{}: {e}", model.name));
        let form = Form::of(&trainable, &marked, &chosen).map_err(|e| refused(e).help(EXPORT_AGAIN))?;
        same_function(engine, &model, &trainable, &form, &data)?;
        let threat = threat(plan, &model)?;
        let task = task(&model, &threat);
        let trainer = Built::of(plugins, Kind::Trainer, &plan.trainer, &task)?;
        let optimizer = Built::of(plugins, Kind::Optimizer, &plan.optimizer, &task)?;
        let attacks = Attacks::of(plan, plugins, &trainer, &task)?;
        let learner = compiled(engine, plan, &form, &threat, &trainer, &optimizer)?;
        let trains = trainer.program.attack.is_some();
        let inner = match attacks.inner.as_ref().filter(|_| trains) {
            Some(built) => Some(inner_on(engine, &form, &threat, built, &trainer)?),
            None => None,
        };
        let link = Link::of(&form.evaluation, &threat);
        let judging = |built: Option<&Built>| match built.filter(|_| threat.eps > 0.0) {
            Some(built) => attack_on(engine, &form.evaluation, &threat, built, None).map(Some),
            None => Ok(None),
        };
        let judged = judging(attacks.judging())?;
        let settings = (threat.eps, plan.seed, plan.batch_size);
        let evaluation = Evaluation::compile(engine, &link, model.classes, judged, settings).map_err(of("evaluation"))?;
        let replays = Replays::of(engine, &form, &threat, &trainer.program, &trainer.numbers).map_err(of(&plan.trainer.id))?;
        let refresh = if plan.average == Average::None { None } else { refresh(engine, &form)? };
        let (training, held) = halves(&data, plan)?;
        let watch = judging(attacks.single())?.map(|single| Watch::new(single, &training));
        let components = [&trainer, &optimizer].into_iter().map(|built| built.used()).chain(attacks.used()).collect();
        let (repeats, fed) = (trainer.program.replays.max(1), trainer.program.data);
        let attacked = trains || replays.is_some();
        Ok(Prepared {
            model,
            trainable,
            learner,
            inner,
            replays,
            repeats,
            fed,
            attacks: attacked,
            evaluation,
            watch,
            refresh,
            data,
            training,
            held,
            threat,
            components,
            form,
        })
    }
}

impl Prepared {
    /// What a reader should know, as sentences.
    pub fn notes(&self) -> Vec<String> {
        let numbers: usize = self.form.trained.iter().map(|&w| self.trainable.weights[w].value.len()).sum();
        let whole = if self.learner.in_parts { "" } else { "; batches run whole, because their rows are mixed" };
        let trained = format!(
            "{}: {numbers} numbers in {} weights are trained on {} images, {} are held out for validation{whole}",
            self.model.name,
            self.form.trained.len(),
            self.training.len(),
            self.held.len()
        );
        [trained].into_iter().chain(self.trainable.unrecognised()).collect()
    }
}

/// The model, and the training half of the data. Nothing here asks for the test half.
fn model_and_data(plan: &Plan, start: &ModelRequest, engine: &dyn Engine) -> Result<(Model, Dataset), Refusal> {
    if !start.intake.remedies.is_empty() {
        return Err(Refusal::usage(93, "--remedy is about audits; a training changes the model itself").help("drop it"));
    }
    let request = flatscape_intake::data::Request { split: Split::Train, ..plan.data.clone() };
    let found = read(std::slice::from_ref(start), &request)?;
    let data = found.dataset;
    let Some((request, native)) = found.models.into_iter().next() else {
        return Err(Refusal::usage(92, "there is no model to train"));
    };
    let model = Model::fit(native?, &request.intake, &data, engine)?;
    // batches of any size are trained on; where the batch of the file was freed, running it has shown that rows stay apart
    model.native.any_batch()?;
    Ok((model, data))
}

/// The threat model of a training.
fn threat(plan: &Plan, model: &Model) -> Result<ThreatModel, Refusal> {
    let threat = ThreatModel::parse(plan.threat.as_deref().unwrap_or("linf:0"), false)?.on(model.shape);
    if threat.norm.parameter.is_some() {
        let what = format!("--threat {}: a training moves pixels, and this threat model moves a parameter", threat.norm.name);
        return Err(Refusal::usage(93, what).help("state a norm, for example linf:8/255"));
    }
    Ok(threat)
}

fn task(model: &Model, threat: &ThreatModel) -> Task {
    let mut task = Task::new(model.shape, model.classes, threat.norm.name, threat.eps);
    task.parameters = threat.parameters(model.shape);
    (task.lo, task.hi) = (threat.lo.into(), threat.hi.into());
    task
}

/// The attacks of a training.
struct Attacks<'p> {
    /// The attack that was stated, or the trainer's own; where a threat model was stated and the trainer attacks nothing, one for the
    /// log.
    inner: Option<Built<'p>>,
    /// The single step of trainers that keep their perturbation over replays.
    step: Option<Built<'p>>,
    /// What validation images are attacked with instead, where the inner attack is a single step: a model may learn to withstand that
    /// step and nothing else.
    judged: Option<Built<'p>>,
    trains: bool,
}

impl<'p> Attacks<'p> {
    fn of(plan: &Plan, plugins: &'p Plugins, trainer: &Built, task: &Task) -> Result<Attacks<'p>, Refusal> {
        /// What validation images are attacked with where nothing else is stated.
        const FOR_THE_LOG: &str = "pgd:steps=10";
        /// The step of a trainer with a `replay` graph, which has no attack of its own.
        const STEP: &str = "fgsm";
        let own = trainer.program.attack.as_deref();
        let replays = trainer.program.graph(Role::Replay).is_some();
        if (own.is_some() || replays) && plan.threat.is_none() {
            let what = format!("the trainer {} attacks the images, and no threat model is stated", plan.trainer.id);
            return Err(Refusal::usage(92, what).help("state it, for example --threat linf:8/255"));
        }
        let built = |request: &Request| Built::of(plugins, Kind::Attack, request, task);
        let inner = match (&plan.attack, own) {
            (Some(request), _) => Some(built(request)?),
            (None, Some(text)) => Some(built(&Request::parse(text)?)?),
            (None, None) if plan.threat.is_some() => Some(built(&Request::parse(FOR_THE_LOG)?)?),
            (None, None) => None,
        };
        let trains = own.is_some();
        let step = if replays { Some(built(&Request::parse(STEP)?)?) } else { None };
        let one = |inner: &Built| inner.program.steps == 1 && (trains || replays);
        let judged = if inner.as_ref().is_some_and(one) { Some(built(&Request::parse(FOR_THE_LOG)?)?) } else { None };
        Ok(Attacks { inner, step, judged, trains })
    }

    /// What validation images are attacked with.
    fn judging(&self) -> Option<&Built<'p>> {
        self.judged.as_ref().or(self.inner.as_ref())
    }

    /// The single step that the model is trained with, where it is one.
    fn single(&self) -> Option<&Built<'p>> {
        self.step.as_ref().or(self.inner.as_ref().filter(|inner| self.trains && inner.program.steps == 1))
    }

    fn used(&self) -> impl Iterator<Item = Used> {
        let named = |built: &Option<Built>, kind: &str| built.as_ref().map(|b| Used { kind: kind.to_owned(), ..b.used() });
        let inner = self.inner.as_ref().map(Built::used);
        [inner, named(&self.step, "watched step"), named(&self.judged, "attack on validation images")].into_iter().flatten()
    }
}

fn compiled(
    engine: &dyn Engine,
    plan: &Plan,
    form: &Form,
    threat: &ThreatModel,
    trainer: &Built,
    optimizer: &Built,
) -> Result<Learner, Refusal> {
    let missing = |role: Role, of: &Built| {
        Refusal::plugin(134, format!("{} {} has no {} graph", of.component.kind.name(), of.component.id, role.name()))
    };
    let cost = trainer.program.graph(Role::Cost).ok_or_else(|| missing(Role::Cost, trainer))?;
    let update = optimizer.program.graph(Role::Update).ok_or_else(|| missing(Role::Update, optimizer))?;
    let own = [trainer, optimizer].into_iter().find_map(|b| b.program.graph(Role::Perturb).map(|graph| (graph, b)));
    let recipe = Recipe {
        trainer: &trainer.component.id,
        cost,
        cotangent: trainer.program.graph(Role::Cotangent),
        arguments: &trainer.numbers,
        update,
        perturb: own.map(|(graph, _)| graph),
        settings: &optimizer.numbers,
        perturbing: own.map_or(&[], |(_, built)| &built.numbers),
        moves: trainer.program.graph(Role::Replay).is_some(),
        smoothing: plan.smoothing,
        average: if let Average::Ema(decay) = plan.average { Some(decay) } else { None },
    };
    Learner::compile(engine, form, &recipe, &Link::of(&form.training, threat)).map_err(of(&trainer.component.id))
}

/// An attack on a form of the model; `objective` is what it ascends instead of its own.
fn attack_on(
    engine: &dyn Engine,
    model: &Graph,
    threat: &ThreatModel,
    built: &Built,
    objective: Option<&Graph>,
) -> Result<Inner, Refusal> {
    let program = &built.program;
    let link = Link {
        objective: objective.or(program.graph(Role::Objective)),
        cotangent: program.graph(Role::Cotangent),
        arguments: &built.numbers,
        steps: program.steps,
        ..Link::of(model, threat)
    };
    let free = built.component.iterates == Iterates::Free;
    let id = &built.component.id;
    let attack = Attack::compile(engine, &link, program, id, free, Inner::KEEP);
    Ok(Inner::new(attack.map_err(LearnError::from).map_err(of(id))?, program.restarts))
}

/// The attack of the trainer, on the form whose statistics it asks for.
fn inner_on(engine: &dyn Engine, form: &Form, threat: &ThreatModel, attack: &Built, trainer: &Built) -> Result<Inner, Refusal> {
    let objective = trainer.program.bound(Role::Adversary, &trainer.arguments);
    let statistics = trainer.program.bn_attack == AttackStatistics::Train;
    let model = if statistics { &form.training } else { &form.evaluation };
    attack_on(engine, model, threat, attack, objective.as_ref())
}

/// A graph that gives the statistics of a batch, where there are any.
fn refresh(engine: &dyn Engine, form: &Form) -> Result<Option<Stage>, Refusal> {
    if form.statistics.is_empty() {
        return Ok(None);
    }
    let linked = Linked { graph: batch_statistics(form), forwards: 1, backwards: 0, batch: None };
    let stage = Stage::compile(engine, &linked).map_err(LearnError::from);
    stage.map(Some).map_err(of("refreshed statistics"))
}

/// The evaluation form with the weights of the file must compute what the file computes.
fn same_function(engine: &dyn Engine, model: &Model, trainable: &Trainable, form: &Form, data: &Dataset) -> Result<(), Refusal> {
    let weights: Vec<Tensor> = trainable.weights.iter().map(|w| w.value.cast(DType::F32)).collect();
    let (parameters, statistics) = values_of(form, &weights);
    let images = data.batch(0..8).x;
    let threat = ThreatModel::parse("linf:0", false)?;
    let logits = |graph: &Graph| -> Result<Vec<f64>, LearnError> {
        let stage = Stage::compile(engine, &Link::of(graph, &threat).forward(Point::Fed, &["logits"])?)?;
        let buffers = parameters.iter().map(|t| stage.upload(t)).collect::<Result<Vec<_>, _>>()?;
        let mut values = weights_of(&buffers, &statistics);
        values.put("x", stage.upload(&images)?);
        let given = stage.run(&values, &[], &Draw { seed: 0, component: "", restart: 0, step: Step::All(0) })?;
        Ok(given.get("logits").map(|b| stage.read(b)).transpose()?.map_or(Vec::new(), |t| t.to_f64()))
    };
    let failed = of(&model.name);
    let (own, opened) = (logits(&model.graph).map_err(&failed)?, logits(&form.evaluation).map_err(&failed)?);
    let off = difference(&own, &opened);
    if off <= TOLERANCE && !own.is_empty() {
        return Ok(());
    }
    let what = format!(
        "{}: with its weights as inputs its logits differ by {off:.1e} (relative; {TOLERANCE:e} is allowed), so it cannot be trained",
        model.name
    );
    Err(Refusal::model(162, what).help(EXPORT_AGAIN))
}

/// The ids that are trained on and those that are held out, drawn by key.
fn halves(data: &Dataset, plan: &Plan) -> Result<(Vec<u64>, Vec<u64>), Refusal> {
    let ordered = shuffled((0..data.len() as u64).collect(), plan.seed, "validation", 0);
    let held = (plan.validation * data.len() as f64).round() as usize;
    if held >= data.len() {
        let what = format!("--validation {}: no image of {} is left to train on", plan.validation, data.len());
        return Err(Refusal::usage(92, what).help("hold out less"));
    }
    let (held, training) = ordered.split_at(held);
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    Ok((sorted(training), sorted(held)))
}

/// Ids in an order that is drawn by key.
pub fn shuffled(ids: Vec<u64>, seed: u64, what: &str, epoch: u32) -> Vec<u64> {
    let mut keyed: Vec<(f32, f32, u64)> = ids
        .into_iter()
        .map(|id| {
            let mut drawn = [0f32; 2];
            fill(Law::Uniform, Place::new(seed, "order", what).at(epoch, 0).sample(id), &mut drawn);
            (drawn[0], drawn[1], id)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    keyed.into_iter().map(|(.., id)| id).collect()
}

/// An error of a step as everything else is refused.
pub fn of(component: &str) -> impl Fn(LearnError) -> Refusal + use<> {
    let component = component.to_owned();
    move |error| {
        let source = match error {
            LearnError::Update(e) => return Refusal::plugin(134, format!("{component}: {e}")),
            LearnError::Link(e) => AttackError::Link(e),
            LearnError::Stage(e) => AttackError::Stage(e),
            LearnError::Engine(e) => AttackError::Engine(e),
            LearnError::Attack(e) => e,
        };
        match source {
            AttackError::Interrupted => MeasureError::Interrupted.into(),
            source => MeasureError::Attack { component: component.clone(), source }.into(),
        }
    }
}

/// The sum of two images, for a graph that projects it.
pub(crate) fn sum_of_images() -> Graph {
    let b = Builder::new(Graph::new("moved"));
    let image = || ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::symbol("D")]);
    let (x0, delta) = (b.input("x0", image()), b.input("delta", image()));
    b.output("x_next", x0 + delta);
    b.into_graph()
}
