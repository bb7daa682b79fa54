//! The check that a program uses the names of the protocol rightly, by the tables of the interface. Knows what a name is shaped
//! like and who may use it; how it is computed is the linker's business.

use flatscape_abi::names::Form::*;
use flatscape_abi::names::{Form, INPUTS, InputName, OUTPUTS, OutputName};
use flatscape_graph::{DType, Dim, Graph, ValueId};

use crate::component::{Component, Kind};
use crate::error::{nearest, shown};
use crate::oracle::Law;
use crate::params::{Arguments, Value};
use crate::program::{AttackStatistics, Program, Role, TrainingData};
use crate::task::Task;

use Role::{Adversary, Cost, Cotangent, Emit, Init, Objective, Observe, Perturb, Probe, Replay, Step, Update};

/// Operators that draw: what they would draw cannot be repeated.
const DRAWING: &[&str] = &["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"];

/// What a cost may name that says nothing about the model.
const NOT_OF_THE_MODEL: &[&str] = &["x0", "x", "x_adv", "y", "k", "eps", "lo", "hi", "noise_", "shared_noise_", "arg_"];

/// A `noise_<law>_<stream>` or `shared_noise_<law>_<stream>` input, taken apart. Without a stream it is the empty one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Noise {
    /// The same for every sample (keyed without it).
    pub shared: bool,
    /// The law.
    pub law: Law,
    /// What keeps two draws apart.
    pub stream: String,
}

impl Noise {
    /// Reads the name of an input; `None` if it is not of this form.
    pub fn parse(name: &str) -> Option<Noise> {
        let (shared, rest) = match name.strip_prefix("shared_noise_") {
            Some(rest) => (true, rest),
            None => (false, name.strip_prefix("noise_")?),
        };
        let (law, stream) = rest.split_once('_').unwrap_or((rest, ""));
        Some(Noise { shared, law: Law::named(law)?, stream: stream.to_owned() })
    }
}

impl Arguments {
    /// The argument behind the graph input `arg_<name>`: hyphens of the parameter are underscores in graphs.
    pub fn for_input(&self, input: &str) -> Option<&Value> {
        let wanted = input.strip_prefix("arg_")?;
        self.0.iter().find(|a| a.name.replace('-', "_") == wanted).map(|a| &a.value)
    }
}

/// Checks a whole program. The error is a clause about the component.
pub(crate) fn check(component: &Component, arguments: &Arguments, task: &Task, program: &Program) -> Result<(), String> {
    let has = |role: Role| program.graph(role).is_some();
    match component.kind {
        Kind::Attack if !has(Init) && !has(Step) && !has(Emit) => return Err("its program proposes no point".into()),
        Kind::Metric if !has(Emit) => return Err("its program has no emit graph and so no column".into()),
        Kind::Trainer if !has(Cost) => return Err("its program has no cost graph, so there is nothing to minimise".into()),
        Kind::Optimizer if !has(Update) => return Err("its program has no update graph".into()),
        _ => {}
    }
    if has(Observe) != has(Probe) {
        return Err("probe and observe go together, and one of them is missing".into());
    }
    adversarial(component.kind, program)?;
    for (role, graph) in &program.graphs {
        let checked = Checked { component, arguments, task, program, role: *role, graph };
        checked.operators().and_then(|()| checked.inputs()).and_then(|()| checked.outputs()).map_err(|clause| {
            let which = role.name();
            format!("its {which} graph {clause}")
        })?;
    }
    Ok(())
}

/// Where the points of a trainer come from: the fields of its program and the names of its cost must fit together.
fn adversarial(kind: Kind, program: &Program) -> Result<(), String> {
    let has = |role: Role| program.graph(role).is_some();
    let (attack, clean) = (program.attack.is_some(), program.data == TrainingData::Clean);
    if kind != Kind::Trainer {
        return match attack || !clean || program.bn_attack != AttackStatistics::Eval {
            true => Err(format!("it states an inner attack or training data, and it is of kind {}", kind.name())),
            false => Ok(()),
        };
    }
    let cost = program.graphs(Cost).flat_map(|graph| graph.inputs().iter().map(|&id| &*graph.value(id).name));
    let at_x_adv = cost.into_iter().find(|name| name.ends_with("_adv"));
    match at_x_adv {
        Some(name) if !attack && !has(Replay) => {
            Err(format!("its cost graph names \"{}\", and it has neither an inner attack nor a replay graph", shown(name)))
        }
        Some(name) if !clean => {
            Err(format!("its cost graph names \"{}\", and its training data hold the adversarial examples already", shown(name)))
        }
        None if attack && clean => Err("it has an inner attack, and its cost names nothing at x_adv".into()),
        None if has(Replay) => Err("it has a replay graph, and its cost names nothing at x_adv".into()),
        _ if attack && has(Replay) => Err("it has an inner attack and a replay graph; x_adv can come from one of them".into()),
        _ if !attack && !clean => Err("its training data are adversarial, and it has no inner attack".into()),
        _ if !attack && has(Adversary) => Err("it has an adversary graph and no inner attack".into()),
        _ => Ok(()),
    }
}

/// The names of the inputs that an output of a graph is computed from.
fn read_by<'g>(graph: &'g Graph, output: &str) -> Vec<&'g str> {
    let mut seen = vec![false; graph.values().len()];
    let mut open: Vec<ValueId> = graph.output_named(output).into_iter().collect();
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id.0 as usize], true) {
            continue;
        }
        if let Some((node, _)) = graph.value(id).producer {
            open.extend(graph.node_at(node).inputs.iter().flatten());
        }
    }
    let read = graph.inputs().iter().filter(|id| seen[id.0 as usize]);
    read.map(|&id| &*graph.value(id).name).collect()
}

/// One graph and what it is checked against.
struct Checked<'a> {
    component: &'a Component,
    arguments: &'a Arguments,
    task: &'a Task,
    program: &'a Program,
    role: Role,
    graph: &'a Graph,
}

impl Checked<'_> {
    fn operators(&self) -> Result<(), String> {
        match self.graph.nodes().iter().find(|node| node.domain.is_empty() && DRAWING.contains(&&*node.op)) {
            Some(node) => Err(format!("draws numbers with {}; name noise_uniform or noise_normal instead", node.describe())),
            None => Ok(()),
        }
    }

    fn inputs(&self) -> Result<(), String> {
        for (position, &id) in self.graph.inputs().iter().enumerate() {
            let name: &str = &self.graph.value(id).name;
            if self.graph.inputs()[..position].iter().any(|&other| &*self.graph.value(other).name == name) {
                return Err(format!("declares \"{}\" twice", shown(name)));
            }
            let Some(row) = find(INPUTS, |n| n.name, name) else {
                let near = nearest(name, INPUTS.iter().map(|n| n.name));
                let near = near.map(|n| format!("; did it mean \"{n}\"?")).unwrap_or_default();
                return Err(format!("names \"{}\", which is not a name of the interface{near}", shown(name)));
            };
            self.placed(row, name)?;
            let form = if self.role == Update && row.form == Leading { AnyRank } else { row.form };
            self.form(id, form).map_err(|clause| format!("declares \"{}\" {clause}", shown(name)))?;
            self.available(name, id)?;
        }
        Ok(())
    }

    /// Whether a graph of this role may declare a name.
    fn placed(&self, row: &InputName, name: &str) -> Result<(), String> {
        if !row.roles.contains(&self.role.code()) {
            let roles: Vec<&str> =
                Role::ALL.iter().filter(|role| row.roles.contains(&role.code())).map(|role| role.name()).collect();
            return Err(format!("names \"{}\", which only {} may name", shown(name), roles.join(", ")));
        }
        if self.component.kind == Kind::Trainer && self.role == Cotangent && !row.roles.contains(&Cost.code()) {
            return Err(format!("names \"{}\", which a trainer does not have", shown(name)));
        }
        Ok(())
    }

    /// What a name needs elsewhere in the program or the task.
    fn available(&self, name: &str, id: ValueId) -> Result<(), String> {
        let gives = |role: Role, output: &str| self.program.graphs(role).any(|g| g.output_named(output).is_some());
        if name == "target" && !self.task.targeted {
            return Err("names \"target\" in a task without targets".into());
        }
        if name.starts_with("vjp") && !gives(Cotangent, "ct") {
            return Err(format!("names \"{name}\", and the program has no cotangent graph"));
        }
        if name == "hvp" || name == "direction" {
            self.aimed(name)?;
        }
        if self.role == Update && name.starts_with("state_") {
            let next = format!("{name}_next");
            return match self.graph.output_named(&next) {
                Some(_) => Ok(()),
                None => Err(format!("names \"{}\" and does not give \"{}\"", shown(name), shown(&next))),
            };
        }
        if name.starts_with("state_") && !gives(Init, name) {
            return Err(format!("names \"{}\", which init does not give", shown(name)));
        }
        if name.starts_with("noise_") || name.starts_with("shared_noise_") {
            Noise::parse(name).ok_or_else(|| format!("names \"{}\"; laws are uniform, normal, rademacher", shown(name)))?;
        }
        if name.starts_with("obs_") {
            let whole = gives(Observe, name);
            let reduced = ["_sum", "_mean", "_max"].iter().find_map(|s| name.strip_suffix(s)).is_some_and(|o| gives(Observe, o));
            if !whole && !reduced {
                return Err(format!("names \"{}\", which observe does not give", shown(name)));
            }
            if !whole && self.graph.dtype(id) != Some(DType::F64) {
                return Err(format!("declares \"{}\" otherwise than double", shown(name)));
            }
        }
        if name.starts_with("arg_") {
            self.argument(name, id)?;
        }
        Ok(())
    }

    /// What `hvp` multiplies must come from somewhere: from the probe in `observe`, from `init` or a step elsewhere.
    fn aimed(&self, name: &str) -> Result<(), String> {
        let gives = |role: Role, output: &str| self.program.graphs(role).any(|g| g.output_named(output).is_some());
        let kept = gives(Init, "direction") || gives(Init, "state_direction") || gives(Step, "direction");
        if kept || (self.role == Observe && gives(Probe, "direction")) {
            return Ok(());
        }
        Err(format!("names \"{name}\", and no graph before it gives \"direction\""))
    }

    fn argument(&self, name: &str, id: ValueId) -> Result<(), String> {
        let wanted = match self.arguments.for_input(name) {
            None => return Err(format!("names \"{}\", and there is no such parameter", shown(name))),
            Some(Value::Auto) => return Err(format!("names \"{name}\", whose value was left to the component")),
            Some(Value::Text(_)) => return Err(format!("names \"{name}\", which is text")),
            Some(Value::Float(_)) => DType::F32,
            Some(Value::Int(_)) => DType::I64,
            Some(Value::Bool(_)) => DType::Bool,
        };
        if self.graph.dtype(id) == Some(wanted) {
            return Ok(());
        }
        Err(format!("declares \"{name}\" otherwise than {}", wanted.name()))
    }

    fn outputs(&self) -> Result<(), String> {
        let kind = self.component.kind;
        let here = |row: &&OutputName| row.role == self.role.code() && row.kinds.contains(&kind.code());
        let rows: Vec<&OutputName> = OUTPUTS.iter().filter(here).collect();
        if rows.is_empty() {
            return Err(format!("has no place in a program of kind {}", kind.name()));
        }
        let outputs = self.graph.outputs();
        if outputs.is_empty() {
            return Err("gives nothing".into());
        }
        for (position, output) in outputs.iter().enumerate() {
            let name: &str = &output.name;
            if outputs[..position].iter().any(|earlier| *earlier.name == *name) {
                return Err(format!("gives \"{}\" twice", shown(name)));
            }
            let Some(row) = rows.iter().find(|g| name.strip_suffix(g.suffix).is_some_and(|n| matches(g.name, n))) else {
                let may: Vec<String> = rows.iter().map(|g| pattern(g)).collect();
                return Err(format!("gives \"{}\"; it may give {}", shown(name), may.join(", ")));
            };
            self.form(output.value, row.form).map_err(|clause| format!("gives \"{}\" {clause}", shown(name)))?;
            self.column(name, output.value)?;
            if let Some(state) = name.strip_suffix("_next").filter(|s| s.starts_with("state_")) {
                self.begun(name, state)?;
            }
        }
        self.complete(kind)
    }

    /// A state must begin somewhere: in `init`, or at 0 where an update reads it.
    fn begun(&self, next: &str, state: &str) -> Result<(), String> {
        if self.role == Update {
            return match self.graph.input_named(state) {
                Some(_) => Ok(()),
                None => Err(format!("gives \"{}\" and does not name \"{}\"", shown(next), shown(state))),
            };
        }
        match self.program.graph(Init).and_then(|g| g.output_named(state)) {
            Some(_) => Ok(()),
            None => Err(format!("gives \"{}\", and init gives no \"{}\"", shown(next), shown(state))),
        }
    }

    /// The output that a role must give, and what it must depend on.
    fn complete(&self, kind: Kind) -> Result<(), String> {
        let must = match self.role {
            Objective => "loss",
            Cotangent => "ct",
            Probe => "x",
            Emit if kind == Kind::Attack => "x_adv",
            Adversary => "loss",
            Cost => "cost",
            Replay => "delta_next",
            Update => "param_next",
            Perturb => "param_perturbed",
            Init | Step | Emit | Observe => return Ok(()),
        };
        if self.graph.output_named(must).is_none() {
            return Err(format!("does not give \"{must}\""));
        }
        let read = read_by(self.graph, must);
        match self.role {
            Cost if read.iter().all(|name| find(NOT_OF_THE_MODEL, |n| *n, name).is_some()) => {
                Err("computes \"cost\" from nothing of the model, so no parameter would change".into())
            }
            Update if !read.contains(&"dparam") => Err("computes \"param_next\" without \"dparam\"".into()),
            Replay if !read.contains(&"dx") => Err("computes \"delta_next\" without \"dx\"".into()),
            _ => Ok(()),
        }
    }

    /// Ranks of the columns of metrics and of cotangents.
    fn column(&self, name: &str, id: ValueId) -> Result<(), String> {
        let ranks: &[usize] = match self.role {
            Emit if name.starts_with("col_") => &[1],
            Emit if name.starts_with("vec_") => &[2],
            Emit if name.starts_with("surface_") => &[3],
            Cotangent => &[2, 3],
            _ => return Ok(()),
        };
        let numbers = self.graph.dtype(id).is_none_or(|t| t.is_float() || t == DType::I64);
        match self.graph.rank(id) {
            Some(rank) if !ranks.contains(&rank) => Err(format!("gives \"{}\" with rank {rank}", shown(name))),
            _ if !numbers => Err(format!("gives \"{}\" otherwise than as numbers", shown(name))),
            _ => Ok(()),
        }
    }

    /// The error is a clause without subject: «of rank 3, and …».
    fn form(&self, id: ValueId, form: Form) -> Result<(), String> {
        let [c, h, w] = self.task.shape;
        let d = self.task.pixels();
        let wanted = match form {
            Pixels | Product | Logits | PerSample | Number | Fixed | Draws | Features | HeadWeight | HeadBias | Parameter
            | AnyRank => Some(DType::F32),
            Label | Count | ProbeIndex => Some(DType::I64),
            Mask => Some(DType::Bool),
            Leading | Argument | Observation => None,
        };
        if let (Some(wanted), Some(found)) = (wanted, self.graph.dtype(id))
            && wanted != found
        {
            return Err(format!("as {}; it is {}", found.name(), wanted.name()));
        }
        let Some(dims) = self.graph.shape(id) else { return Ok(()) };
        let fits = |wanted: &[usize]| {
            dims.len() == wanted.len() + 1
                && batch(&dims[0])
                && dims[1..].iter().zip(wanted).all(|(dim, &n)| dim.fixed().is_none_or(|m| m == n))
        };
        let good = match form {
            Pixels => fits(&[d]) || fits(&[c, h, w]),
            Logits => fits(&[self.task.classes]),
            PerSample | Label | Mask => fits(&[]),
            Number | Count | Argument => dims.is_empty(),
            ProbeIndex => dims.is_empty() || fits(&[]),
            Product => dims.first().is_some_and(batch) && matches!(dims.len(), 2..=5),
            Leading | Observation => dims.first().is_some_and(batch),
            Features | Parameter => dims.len() == 2 && batch(&dims[0]),
            HeadWeight => dims.len() == 2 && extent(&dims[0], self.task.classes),
            HeadBias => dims.len() == 1 && extent(&dims[0], self.task.classes),
            Fixed => dims.iter().all(|dim| dim.fixed().is_some()),
            // a rank that is known is that of one parameter, and the graph serves them all
            AnyRank => false,
            Draws => dims.first().is_some_and(batch) && dims[1..].iter().all(|dim| dim.fixed().is_some()),
        };
        if good {
            return Ok(());
        }
        let shape: Vec<String> = dims.iter().map(Dim::to_string).collect();
        Err(format!("with the shape [{}]; it is {}", shape.join(","), self.wanted(form)))
    }

    fn wanted(&self, form: Form) -> String {
        let [c, h, w] = self.task.shape;
        match form {
            Pixels => format!("[N,{}] or [N,{c},{h},{w}]", self.task.pixels()),
            Logits => format!("[N,{}]", self.task.classes),
            PerSample | Label | Mask => "[N]".into(),
            Number | Count | Argument => "a scalar".into(),
            ProbeIndex => "a scalar or [N]".into(),
            Product => "[N,…] or [N,K,…]".into(),
            Leading | Observation => "[N,…]".into(),
            Features => "[N,F]".into(),
            Parameter => "[N,P]".into(),
            HeadWeight => format!("[{},F]", self.task.classes),
            HeadBias => format!("[{}]", self.task.classes),
            Fixed => "of any shape without unknown extents".into(),
            Draws => "[N,…] without other unknown extents".into(),
            AnyRank => "of unknown rank, as in float[]".into(),
        }
    }
}

/// Whether an extent may be the batch.
fn batch(dim: &Dim) -> bool {
    dim.fixed().is_none()
}

/// Whether an extent may be this number.
fn extent(dim: &Dim, wanted: usize) -> bool {
    dim.fixed().is_none_or(|n| n == wanted)
}

/// The form of an input of that name, if it is one.
pub(crate) fn form_of(name: &str) -> Option<Form> {
    find(INPUTS, |n| n.name, name).map(|n| n.form)
}

fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.ends_with('_') {
        return pattern == name;
    }
    let rest = name.strip_prefix(pattern).unwrap_or("");
    !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn find<'a, T>(rows: &'a [T], of: impl Fn(&T) -> &'static str, name: &str) -> Option<&'a T> {
    rows.iter().find(|row| matches(of(row), name))
}

fn pattern(row: &OutputName) -> String {
    let star = if row.name.ends_with('_') { "*" } else { "" };
    format!("{}{star}{}", row.name, row.suffix)
}
