//! What `build` answered, read and checked: graphs by role, and counts. Runs nothing.

use flatscape_graph::{Graph, OPSET, onnx, ops, text};
use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::extents;
use crate::names;
use crate::params::Arguments;
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
}

impl Role {
    /// Every role of attacks and metrics.
    pub const ALL: [Role; 7] = [Role::Objective, Role::Cotangent, Role::Init, Role::Step, Role::Emit, Role::Probe, Role::Observe];

    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Role::Objective => "objective",
            Role::Cotangent => "cotangent",
            Role::Init => "init",
            Role::Step => "step",
            Role::Emit => "emit",
            Role::Probe => "probe",
            Role::Observe => "observe",
        }
    }

    fn from_abi(role: i32) -> Result<Role, String> {
        match role {
            flatscape_abi::OBJECTIVE => Ok(Role::Objective),
            flatscape_abi::COTANGENT => Ok(Role::Cotangent),
            flatscape_abi::INIT => Ok(Role::Init),
            flatscape_abi::STEP => Ok(Role::Step),
            flatscape_abi::EMIT => Ok(Role::Emit),
            flatscape_abi::PROBE => Ok(Role::Probe),
            flatscape_abi::OBSERVE => Ok(Role::Observe),
            flatscape_abi::ADVERSARY | flatscape_abi::COST | flatscape_abi::UPDATE => {
                Err("it has a graph for training, and this version trains nothing".into())
            }
            other => Err(format!("{other} is not a role")),
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
    /// Replays of a trainer.
    pub replays: u32,
    /// Of everything that the component answered, lower-case hexadecimal.
    pub sha256: String,
}

impl Program {
    /// The graph of a role; of several `step` graphs the first.
    pub fn graph(&self, role: Role) -> Option<&Graph> {
        self.graphs(role).next()
    }

    /// The graphs of a role, in order.
    pub fn graphs(&self, role: Role) -> impl Iterator<Item = &Graph> {
        self.graphs.iter().filter(move |(r, _)| *r == role).map(|(_, graph)| graph)
    }

    /// Whether any graph of these roles names an input.
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

/// Reads and checks. The error is a clause about the component.
pub(crate) fn read(component: &Component, arguments: &Arguments, task: &Task, raw: &RawProgram) -> Result<Program, String> {
    if raw.graphs.is_empty() {
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
    for (what, count, most) in
        [("steps", raw.steps, MOST_STEPS), ("restarts", raw.restarts, MOST_RESTARTS), ("probes", raw.probes, MOST_PROBES)]
    {
        if count > most {
            return Err(format!("it wants {count} {what}; at most {most} are possible"));
        }
    }
    let has = |role: Role| graphs.iter().any(|(r, _)| *r == role);
    let probes = match (has(Role::Probe), raw.probes) {
        (true, 0) => return Err("it has a probe graph and no probes".into()),
        (false, 1..) => return Err("it wants probes and has no probe graph".into()),
        (_, probes) => probes,
    };
    let program = Program {
        steps: if has(Role::Step) { raw.steps.max(1) } else { 0 },
        restarts: raw.restarts.max(1),
        probes,
        replays: raw.replays,
        sha256: digest(raw),
        graphs,
    };
    names::check(component, arguments, task, &program)?;
    Ok(program)
}

fn read_graph(raw: &RawGraph, task: &Task) -> Result<Graph, String> {
    let graph = match raw.format {
        flatscape_abi::ONNX => {
            let model = onnx::read(&raw.bytes).map_err(|e| format!("is no ONNX model: {e}"))?;
            if model.opset != OPSET {
                return Err(format!("has opset {}; programs have opset {OPSET}", model.opset));
            }
            model.graph
        }
        flatscape_abi::TEXT_GRAPH => {
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
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for count in [raw.steps, raw.restarts, raw.probes, raw.replays] {
        hash.update(count.to_le_bytes());
    }
    for graph in &raw.graphs {
        hash.update(graph.role.to_le_bytes());
        hash.update(graph.format.to_le_bytes());
        hash.update((graph.bytes.len() as u64).to_le_bytes());
        hash.update(&graph.bytes);
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
