//! The check that a program uses the names of the protocol rightly, by the tables of the interface. Knows what a name is shaped
//! like and who may use it; how it is computed is the linker's business.

use flatscape_abi::names::Form::*;
use flatscape_abi::names::{Form, INPUTS, OUTPUTS, OutputName};
use flatscape_graph::{DType, Dim, Graph, ValueId};

use crate::component::{Component, Kind};
use crate::error::{nearest, shown};
use crate::oracle::Law;
use crate::params::{Arguments, Value};
use crate::program::{Program, Role};
use crate::task::Task;

use Role::{Cotangent, Emit, Init, Objective, Observe, Probe, Step};

/// Operators that draw: what they would draw cannot be repeated.
const DRAWING: &[&str] = &["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"];

/// The code of a role in the tables.
fn role_code(role: Role) -> i32 {
    match role {
        Objective => flatscape_abi::OBJECTIVE,
        Cotangent => flatscape_abi::COTANGENT,
        Init => flatscape_abi::INIT,
        Step => flatscape_abi::STEP,
        Emit => flatscape_abi::EMIT,
        Probe => flatscape_abi::PROBE,
        Observe => flatscape_abi::OBSERVE,
    }
}

/// The code of a kind of component in the tables.
fn kind_code(kind: Kind) -> i32 {
    match kind {
        Kind::Attack => flatscape_abi::ATTACK,
        Kind::Metric => flatscape_abi::METRIC,
        Kind::Trainer => flatscape_abi::TRAINER,
        Kind::Optimizer => flatscape_abi::OPTIMIZER,
    }
}

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
        Kind::Trainer | Kind::Optimizer => return Err(format!("this version runs no {}", component.kind.name())),
        _ => {}
    }
    if has(Observe) != has(Probe) {
        return Err("probe and observe go together, and one of them is missing".into());
    }
    for (role, graph) in &program.graphs {
        let checked = Checked { component, arguments, task, program, role: *role, graph };
        checked.operators().and_then(|()| checked.inputs()).and_then(|()| checked.outputs()).map_err(|clause| {
            let which = role.name();
            format!("its {which} graph {clause}")
        })?;
    }
    Ok(())
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
            if !row.roles.contains(&role_code(self.role)) {
                let roles = Role::ALL.iter().filter(|role| row.roles.contains(&role_code(**role)));
                let roles: Vec<&str> = roles.map(|role| role.name()).collect();
                return Err(format!("names \"{}\", which only {} may name", shown(name), roles.join(", ")));
            }
            self.form(id, row.form).map_err(|clause| format!("declares \"{}\" {clause}", shown(name)))?;
            self.available(name, id)?;
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
        let here = |row: &&OutputName| row.role == role_code(self.role) && row.kinds.contains(&kind_code(kind));
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
            if let Some(state) = name.strip_suffix("_next").filter(|s| s.starts_with("state_"))
                && self.program.graph(Init).and_then(|g| g.output_named(state)).is_none()
            {
                return Err(format!("gives \"{}\", and init gives no \"{}\"", shown(name), shown(state)));
            }
        }
        let must = match self.role {
            Objective => "loss",
            Cotangent => "ct",
            Probe => "x",
            Emit if kind == Kind::Attack => "x_adv",
            _ => return Ok(()),
        };
        if self.graph.output_named(must).is_none() {
            return Err(format!("does not give \"{must}\""));
        }
        Ok(())
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
            Pixels | Product | Logits | PerSample | Number | Fixed | Draws | Features | HeadWeight | HeadBias | Parameter => {
                Some(DType::F32)
            }
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
