//! What `build` answered, read and checked: graphs by role, and counts. Runs nothing.

use flatscape_abi as abi;
use flatscape_graph::hash::Sha256;
use flatscape_graph::{DType, Graph, OPSET, Tensor, ValueId, onnx, ops, text};
use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::error::shown;
use crate::extents;
use crate::names;
use crate::params::{Arguments, Value};
use crate::task::Task;

/// A slot of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// What an attack ascends: `loss` \[N\].
    Objective,
    /// The row vectors `ct` whose products with the Jacobian are wanted.
    Cotangent,
    /// The first `x` and `state_*`.
    Init,
    /// The next ones. The only role that may have several graphs; they run in turn.
    Step,
    /// The final point of an attack; the columns of a metric.
    Emit,
    /// One of many points, evaluated in any order.
    Probe,
    /// What is kept of such a point.
    Observe,
    /// Of trainers: the objective of the inner attack, where it is not cross-entropy.
    Adversary,
    /// Of trainers: what is minimised, `cost` \[N\].
    Cost,
    /// Of trainers: the next perturbation of a slot of the batch.
    Replay,
    /// Of optimizers: the next parameter and its `state_*`.
    Update,
    /// Of trainers and optimizers: the parameter at which the gradient is taken again.
    Perturb,
}

impl Role {
    /// Every role, in the order of the documentation.
    pub const ALL: [Role; 12] = [
        Role::Objective,
        Role::Cotangent,
        Role::Init,
        Role::Step,
        Role::Emit,
        Role::Probe,
        Role::Observe,
        Role::Adversary,
        Role::Cost,
        Role::Replay,
        Role::Update,
        Role::Perturb,
    ];

    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Its number in the interface.
    pub(crate) fn code(self) -> i32 {
        self.row().1
    }

    fn row(self) -> (&'static str, i32) {
        match self {
            Role::Objective => ("objective", abi::OBJECTIVE),
            Role::Cotangent => ("cotangent", abi::COTANGENT),
            Role::Init => ("init", abi::INIT),
            Role::Step => ("step", abi::STEP),
            Role::Emit => ("emit", abi::EMIT),
            Role::Probe => ("probe", abi::PROBE),
            Role::Observe => ("observe", abi::OBSERVE),
            Role::Adversary => ("adversary", abi::ADVERSARY),
            Role::Cost => ("cost", abi::COST),
            Role::Replay => ("replay", abi::REPLAY),
            Role::Update => ("update", abi::UPDATE),
            Role::Perturb => ("perturb", abi::PERTURB),
        }
    }

    fn from_abi(code: i32) -> Result<Role, String> {
        Role::ALL.into_iter().find(|role| role.code() == code).ok_or_else(|| format!("{code} is not a role"))
    }
}

/// What a trainer trains on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainingData {
    /// The images.
    #[default]
    Clean,
    /// The images and one adversarial example of each, made before the first step.
    AdversarialOnce,
    /// The images of a batch and an adversarial example of each, made in every step.
    AdversarialOnline,
}

impl TrainingData {
    /// The word for it in manifests and messages.
    pub fn name(self) -> &'static str {
        match self {
            TrainingData::Clean => "clean",
            TrainingData::AdversarialOnce => "adversarial-once",
            TrainingData::AdversarialOnline => "adversarial-online",
        }
    }
}

/// The statistics that batch normalisation uses while a trainer attacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackStatistics {
    /// The running ones.
    #[default]
    Eval,
    /// Those of the batch.
    Train,
}

impl AttackStatistics {
    /// The word for it in manifests and messages.
    pub fn name(self) -> &'static str {
        match self {
            AttackStatistics::Eval => "eval",
            AttackStatistics::Train => "train",
        }
    }
}

/// A program: the answer of a component for some arguments and a task.
#[derive(Clone, Debug)]
pub struct Program {
    /// The graphs, in the component's order. Their inputs are the names of the plugin interface.
    pub graphs: Vec<(Role, Graph)>,
    /// Steps of an attack; at least 1 where there is a `step`.
    pub steps: u32,
    /// Restarts of an attack, at least 1.
    pub restarts: u32,
    /// Probes of a metric; at least 1 where there is a `probe`.
    pub probes: u32,
    /// Of a trainer: how often each batch is used in a row, at least 1; 1 where there is no `replay`.
    pub replays: u32,
    /// Of a trainer: what it trains on.
    pub data: TrainingData,
    /// Of a trainer: batch normalisation while it attacks.
    pub bn_attack: AttackStatistics,
    /// Of a trainer: its inner attack as users write one, `pgd:steps=10`. Where its cost names a quantity at `x_adv`, or its data
    /// are adversarial, and it has no `replay`, this is there.
    pub attack: Option<String>,
    /// Of everything that the component answered, lower-case hexadecimal.
    pub sha256: String,
}

impl Program {
    /// A program of the host's own, which no component answered: one restart, no probes, nothing of a trainer.
    pub fn new(graphs: Vec<(Role, Graph)>, steps: u32) -> Program {
        Program {
            graphs,
            steps,
            restarts: 1,
            probes: 0,
            replays: 1,
            data: TrainingData::Clean,
            bn_attack: AttackStatistics::Eval,
            attack: None,
            sha256: String::new(),
        }
    }

    /// The graph of a role; of several `step` graphs the first.
    pub fn graph(&self, role: Role) -> Option<&Graph> {
        self.graphs(role).next()
    }

    /// The graphs of a role, in order.
    pub fn graphs(&self, role: Role) -> impl Iterator<Item = &Graph> {
        self.graphs.iter().filter(move |(r, _)| *r == role).map(|(_, graph)| graph)
    }

    /// The graph of a role with the component's arguments in place of `arg_*`: for linking it into the program of another
    /// component, as an `adversary` into that of an attack.
    pub fn bound(&self, role: Role, arguments: &Arguments) -> Option<Graph> {
        let graph = self.graph(role)?;
        let bind = |graph: Graph, input: ValueId| {
            let value = match arguments.for_input(&graph.value(input).name) {
                Some(Value::Float(v)) => *v,
                Some(Value::Int(v)) => *v as f64,
                Some(Value::Bool(v)) => f64::from(u8::from(*v)),
                Some(Value::Auto | Value::Text(_)) | None => return graph,
            };
            let dtype = graph.dtype(input).unwrap_or(DType::F32);
            graph.with_constant_input(input, Tensor::full(dtype, &[], value))
        };
        Some(graph.inputs().iter().fold(graph.clone(), |graph, &input| bind(graph, input)))
    }

    /// Whether any graph names an input.
    pub fn names(&self, input: &str) -> bool {
        self.graphs.iter().any(|(_, graph)| graph.input_named(input).is_some())
    }
}

/// The answer as it crosses the process border.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct RawProgram {
    pub graphs: Vec<RawGraph>,
    pub steps: u32,
    pub restarts: u32,
    pub probes: u32,
    pub replays: u32,
    pub data: i32,
    pub bn_attack: i32,
    pub attack: String,
}

#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct RawGraph {
    pub role: i32,
    pub format: i32,
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

const MOST_STEPS: u32 = 1_000_000;
const MOST_RESTARTS: u32 = 10_000;
const MOST_PROBES: u32 = 1 << 24;
const MOST_REPLAYS: u32 = 10_000;
const LONGEST_ATTACK: usize = 1000;

/// Reads and checks. The error is a clause about the component.
pub(crate) fn read(component: &Component, arguments: &Arguments, task: &Task, raw: &RawProgram) -> Result<Program, String> {
    // a component that runs through an extension for these arguments says so by a program without graphs
    if raw.graphs.is_empty() && !component.is_weights() && !component.is_oracle() {
        return Err("its program has no graph".into());
    }
    let mut graphs: Vec<(Role, Graph)> = Vec::with_capacity(raw.graphs.len());
    for graph in &raw.graphs {
        let role = Role::from_abi(graph.role)?;
        if role != Role::Step && graphs.iter().any(|(earlier, _)| *earlier == role) {
            return Err(format!("it has two graphs for {}", role.name()));
        }
        let read = read_graph(graph, task).map_err(|clause| format!("its {} graph {clause}", role.name()))?;
        graphs.push((role, read));
    }
    let counts = [
        ("steps", raw.steps, MOST_STEPS),
        ("restarts", raw.restarts, MOST_RESTARTS),
        ("probes", raw.probes, MOST_PROBES),
        ("replays", raw.replays, MOST_REPLAYS),
    ];
    for (what, count, most) in counts {
        if count > most {
            return Err(format!("it wants {count} {what}; at most {most} are possible"));
        }
    }
    let has = |role: Role| graphs.iter().any(|(r, _)| *r == role);
    let counted = |role: Role, count: u32, what: &str| match (has(role), count) {
        (true, 0) => Err(format!("it has a {} graph and no {what}", role.name())),
        (false, 1..) => Err(format!("it wants {what} and has no {} graph", role.name())),
        _ => Ok(count),
    };
    let program = Program {
        steps: if has(Role::Step) { raw.steps.max(1) } else { 0 },
        restarts: raw.restarts.max(1),
        probes: counted(Role::Probe, raw.probes, "probes")?,
        replays: counted(Role::Replay, raw.replays, "replays")?.max(1),
        data: data_of(raw.data)?,
        bn_attack: statistics_of(raw.bn_attack)?,
        attack: attack_of(&raw.attack)?,
        sha256: digest(raw),
        graphs,
    };
    if !program.graphs.is_empty() {
        names::check(component, arguments, task, &program)?;
    }
    Ok(program)
}

fn data_of(code: i32) -> Result<TrainingData, String> {
    match code {
        abi::CLEAN => Ok(TrainingData::Clean),
        abi::ADVERSARIAL_ONCE => Ok(TrainingData::AdversarialOnce),
        abi::ADVERSARIAL_ONLINE => Ok(TrainingData::AdversarialOnline),
        other => Err(format!("{other} is not a kind of training data")),
    }
}

fn statistics_of(code: i32) -> Result<AttackStatistics, String> {
    match code {
        abi::BN_EVAL => Ok(AttackStatistics::Eval),
        abi::BN_TRAIN => Ok(AttackStatistics::Train),
        other => Err(format!("{other} does not say which statistics batch normalisation uses under attack")),
    }
}

fn attack_of(written: &str) -> Result<Option<String>, String> {
    if written.chars().any(char::is_control) || written.len() > LONGEST_ATTACK {
        return Err(format!("its inner attack \"{}\" is not one line of at most {LONGEST_ATTACK} bytes", shown(written)));
    }
    Ok(Some(written.to_owned()).filter(|text| !text.is_empty()))
}

fn read_graph(raw: &RawGraph, task: &Task) -> Result<Graph, String> {
    let graph = match raw.format {
        abi::ONNX => {
            let model = onnx::read(&raw.bytes).map_err(|e| format!("is no ONNX model: {e}"))?;
            if model.opset != OPSET {
                return Err(format!("has opset {}; programs have opset {OPSET}", model.opset));
            }
            model.graph
        }
        abi::TEXT_GRAPH => {
            let words = std::str::from_utf8(&raw.bytes).map_err(|_| "is not UTF-8".to_owned())?;
            text::parse(words).map_err(|e| format!("is no ONNX text: {e}"))?
        }
        other => return Err(format!("has the unknown format {other}")),
    };
    if let Some(clause) = ops::unknown(&graph) {
        return Err(format!("is wrong: {clause}"));
    }
    graph.check().map_err(|e| format!("is wrong: {e}"))?;
    let graph = extents::fill_in(&graph, task)?;
    graph.check().map_err(|e| format!("is wrong for images of {:?}: {e}", task.shape))?;
    Ok(graph)
}

fn digest(raw: &RawProgram) -> String {
    let mut hash = Sha256::default();
    for count in [raw.steps, raw.restarts, raw.probes, raw.replays] {
        hash.update(count.to_le_bytes());
    }
    for code in [raw.data, raw.bn_attack] {
        hash.update(code.to_le_bytes());
    }
    hash.update((raw.attack.len() as u64).to_le_bytes());
    hash.update(&raw.attack);
    for graph in &raw.graphs {
        hash.update(graph.role.to_le_bytes());
        hash.update(graph.format.to_le_bytes());
        hash.update((graph.bytes.len() as u64).to_le_bytes());
        hash.update(&graph.bytes);
    }
    hash.text()
}
