//! `plugins check`: everything that can be said about a plugin file without a model: it loads, describes itself, answers the
//! same program twice, its graphs are right for every norm and choice, and its oracle attacks stay inside the ball on a linear
//! classifier. It also returns the programs, so that a caller with engines can run them.

mod linear;
mod reducing;
mod softmax;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::component::{Component, Goal, Kind};
use crate::error::{Blame, HostError, file_name};
use crate::params::{Arguments, ParamType};
use crate::plugins::Plugins;
use crate::program::{self, Program};
use crate::search::Search;
use crate::session::WorkerCommand;
use crate::task::Task;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckItem {
    /// What was checked: `loads`, `builds`, `pure`, …
    pub name: String,
    /// The component, where it is about one.
    pub component: Option<String>,
    /// Whether it is as it should be.
    pub pass: bool,
    /// What was found.
    pub sentence: String,
}

/// A program that the check obtained.
#[derive(Clone, Debug)]
pub struct CheckedProgram {
    /// Of which component.
    pub component: Component,
    /// For which arguments.
    pub arguments: Arguments,
    /// And which task.
    pub task: Task,
    /// What it answered.
    pub program: Program,
}

/// What `plugins check` found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Every check, in order.
    pub items: Vec<CheckItem>,
    /// Every program that passed, for the engines; of those that an engine would run alike the first.
    pub programs: Vec<CheckedProgram>,
}

impl CheckReport {
    /// Whether everything is as it should be.
    pub fn passed(&self) -> bool {
        self.items.iter().all(|item| item.pass)
    }

    /// Adds a check from elsewhere.
    pub fn add(&mut self, name: &str, component: Option<&str>, pass: bool, sentence: impl Into<String>) {
        let component = component.map(ToOwned::to_owned);
        self.items.push(CheckItem { name: name.into(), component, pass, sentence: sentence.into() });
    }
}

/// Looks a plugin file over.
pub fn check(file: &Path, worker: &WorkerCommand, insecure_permissions: bool) -> CheckReport {
    let mut report = CheckReport::default();
    let search = Search { insecure_permissions, ..Search::only(&[PathBuf::from(file)]) };
    let plugins = Plugins::discover(&search, worker);
    if let Some(error) = plugins.refused().first() {
        report.add("loads", None, false, error.sentence.clone());
        return report;
    }
    for plugin in plugins.plugins() {
        let count = plugins.components().len();
        let what = format!("{} is plugin {} {} with {count} component(s)", file_name(file), plugin.id, plugin.version);
        report.add("loads", None, true, what);
    }
    for component in plugins.components() {
        if component.builds {
            programs(&plugins, component, &mut report);
        }
        if component.is_oracle() {
            runs(&plugins, component, &mut report);
        }
        if component.reduces() {
            reducing::reduces(&plugins, component, &mut report);
        }
        if component.is_weights() {
            measures(&plugins, component, &mut report);
        }
    }
    report
}

/// A threat model for which components are asked: its name, a radius, and how many parameters images of a shape have.
type Asked = (&'static str, f64, fn([usize; 3]) -> usize);

/// The norms for which every component is asked, and the threat models for which one is asked that serves none of them.
const NORMS: &[Asked] = &[("linf", 8.0 / 255.0, pixels), ("l2", 8.0 / 255.0, pixels), ("l1", 8.0 / 255.0, pixels)];
const OTHERS: &[Asked] =
    &[("l0", 3.0, pixels), ("flow", 0.5, |[_, h, w]| 2 * h * w), ("rigid", 1.0, |_| 3), ("corruption", 5.0, |_| 3)];
const SHAPES: &[[usize; 3]] = &[[3, 6, 4], [1, 5, 5]];

fn pixels(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

/// The threat models and shapes for which a component is asked. An optimizer knows no images, and what an argument changes does not
/// depend on their shape: `variant` says whether one is not at its default.
fn tasks(component: &Component, asked: &[Asked], variant: bool) -> Vec<Task> {
    let optimizer = component.kind == Kind::Optimizer;
    let asked = if optimizer { &asked[..1] } else { asked };
    let shapes = if optimizer || variant { &SHAPES[..1] } else { SHAPES };
    let mut tasks = Vec::new();
    for &(norm, eps, parameters) in asked {
        for &shape in shapes {
            let task = Task { parameters: parameters(shape), ..Task::new(shape, 10, norm, eps) };
            if component.kind == Kind::Attack {
                tasks.push(Task { targeted: true, ..task.clone() });
            }
            tasks.push(task);
        }
    }
    tasks
}

/// The defaults, and then every choice and every flag turned.
fn variants(component: &Component) -> Vec<Vec<(String, String)>> {
    let mut variants = vec![Vec::new()];
    for param in &component.params {
        let values: Vec<String> = match param.ty {
            ParamType::Bool => vec!["true".into(), "false".into()],
            ParamType::Text => param.choices.clone(),
            ParamType::Float | ParamType::Int => Vec::new(),
        };
        let others = values.into_iter().filter(|v| *v != param.default);
        variants.extend(others.map(|value| vec![(param.name.clone(), value)]));
    }
    variants
}

/// Whether an engine would run the same graphs for both: the same program for images of one shape, and for one norm where a graph asks
/// the threat model for something.
fn runs_alike(a: &CheckedProgram, b: &CheckedProgram) -> bool {
    const OF_THE_NORM: &[&str] = &["Project", "Steepest", "Distance", "Hyperplane"];
    let asks = |p: &CheckedProgram| {
        p.program.graphs.iter().any(|(_, graph)| graph.nodes().iter().any(|n| OF_THE_NORM.contains(&&*n.op)))
    };
    let same = a.component.id == b.component.id && a.component.kind == b.component.kind;
    let task = a.task.shape == b.task.shape && a.task.targeted == b.task.targeted;
    // what an attack gives back is held against the ball of its norm
    let norm = a.task.norm == b.task.norm || a.component.kind != Kind::Attack && !asks(a);
    same && task && norm && a.program.sha256 == b.program.sha256 && a.arguments == b.arguments
}

/// What a component answered so far.
#[derive(Default)]
struct Answered {
    questions: usize,
    graphs: usize,
    /// Threat models that it does not serve.
    refused: Vec<String>,
    /// What it said where an argument that it needs was missing.
    wanted: Option<String>,
    /// A question that it answered in two ways.
    impure: Option<String>,
}

/// A check that failed, and why.
type Failed = (&'static str, String);

impl Answered {
    /// Asks for the program of every choice and every one of these threat models.
    fn ask(&mut self, plugins: &Plugins, component: &Component, asked: &[Asked], report: &mut CheckReport) -> Result<(), Failed> {
        for pairs in variants(component) {
            let arguments = component.arguments(&pairs).map_err(|error| ("builds", error.sentence))?;
            let mut compared = false;
            for task in tasks(component, asked, !pairs.is_empty()) {
                let place = place(component, &pairs, &task);
                let failed = |error: HostError, when: &str| ("builds", format!("{place}{when}: {}", error.sentence));
                let raw = match plugins.build_raw(component, &arguments, &task) {
                    Ok(raw) => raw,
                    Err(error) if error.id == "P25" => {
                        self.refused.push(task.norm.clone());
                        continue;
                    }
                    // a file has no default: that it is asked for is an answer
                    Err(error) if component.is_weights() && error.blame == Blame::User => {
                        self.wanted = Some(error.sentence);
                        self.questions += 1;
                        continue;
                    }
                    Err(error) => return Err(failed(error, "")),
                };
                // every question has a process of its own: nothing can be remembered from one to the next
                if !compared {
                    compared = true;
                    let again = plugins.build_raw(component, &arguments, &task).map_err(|e| failed(e, ", the second time"))?;
                    if again != raw {
                        self.impure = Some(place.clone());
                    }
                }
                let program = program::read(component, &arguments, &task, &raw);
                let program = program.map_err(|clause| ("graphs", format!("{place}: {clause}")))?;
                if program.graphs.is_empty() {
                    self.questions += 1;
                    continue; // an extension does the work
                }
                self.graphs += program.graphs.len();
                self.questions += 1;
                let checked = CheckedProgram { component: component.clone(), arguments: arguments.clone(), task, program };
                if !report.programs.iter().any(|known| runs_alike(known, &checked)) {
                    report.programs.push(checked);
                }
            }
        }
        Ok(())
    }
}

/// A question in words: `pgd:loss=margin for l2, targeted`.
fn place(component: &Component, pairs: &[(String, String)], task: &Task) -> String {
    let spelled: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let colon = if spelled.is_empty() { "" } else { ":" };
    let targeted = if task.targeted { ", targeted" } else { "" };
    format!("{}{colon}{} for {}{targeted}", component.id, spelled.join(","), task.norm)
}

fn programs(plugins: &Plugins, component: &Component, report: &mut CheckReport) {
    let id = Some(component.id.as_str());
    let mut answered = Answered::default();
    for asked in [NORMS, OTHERS] {
        if answered.questions == 0
            && let Err((check, sentence)) = answered.ask(plugins, component, asked, report)
        {
            return report.add(check, id, false, sentence);
        }
    }
    let Answered { questions, graphs, mut refused, wanted, impure } = answered;
    refused.dedup();
    let mut not = if refused.is_empty() { String::new() } else { format!("; not for {}", refused.join(", ")) };
    not.extend(wanted.map(|words| format!("; without an argument it says: {words}")));
    report.add("builds", id, questions > 0, format!("it answers {questions} questions{not}"));
    let (pure, sentence) = match impure {
        None => (true, "the same question has the same answer".to_owned()),
        Some(place) => (false, format!("{place} has another answer every time")),
    };
    report.add("pure", id, pure, sentence);
    report.add("graphs", id, questions > 0, format!("{graphs} graphs parse, type-check and use the names they may"));
}

fn runs(plugins: &Plugins, component: &Component, report: &mut CheckReport) {
    let id = Some(component.id.as_str());
    let mut ran = 0;
    let mut outside: Vec<String> = Vec::new();
    let mut same = true;
    for task in tasks(component, NORMS, false).into_iter().filter(|t| !t.targeted) {
        let arguments = match component.arguments(&[]) {
            Ok(arguments) => arguments,
            Err(error) => return report.add("runs", id, false, error.sentence),
        };
        let attack = || -> Result<linear::Linear, HostError> {
            let mut oracle = linear::Linear::new(&task);
            plugins.run_oracle(component, &arguments, &task, &mut oracle).map(|()| oracle)
        };
        let (first, second) = match (attack(), attack()) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(error), _) | (_, Err(error)) if error.id == "P25" => continue,
            (Err(error), _) | (_, Err(error)) => {
                return report.add("runs", id, false, format!("{}: {}", task.norm, error.sentence));
            }
        };
        ran += 1;
        same &= first.offers == second.offers;
        if first.offers.is_empty() {
            outside.push(format!("{}: it offered nothing", task.norm));
        }
        outside.extend(
            first.faults(&task, component.goal == Goal::Minimal).into_iter().map(|fault| format!("{}: {fault}", task.norm)),
        );
    }
    report.add("runs", id, ran > 0, format!("it attacks a linear classifier in {ran} ways"));
    let inside = outside.first().cloned().unwrap_or_else(|| "what it offers is finite, in the box and where it may be".into());
    report.add("offers", id, outside.is_empty(), inside);
    let sentence = if same { "two runs offer the same" } else { "two runs offer different points" };
    report.add("pure", id, same, sentence);
}

/// Lets a component of `weights/1` measure softmax regression, for the defaults and every choice and flag. What it refuses as the
/// user's mistake (a file that the defaults do not name) is no fault of it, as long as it measures something.
fn measures(plugins: &Plugins, component: &Component, report: &mut CheckReport) {
    let id = Some(component.id.as_str());
    let task = Task::new([1, 1, 3], 4, "linf", 8.0 / 255.0);
    let (mut ran, mut refused, mut same, mut holes) = (0, Vec::new(), true, Vec::new());
    for pairs in variants(component) {
        let place = place(component, &pairs, &task);
        let measured = || -> Result<softmax::Softmax, HostError> {
            let arguments = component.arguments(&pairs)?;
            let mut model = softmax::Softmax::new();
            if component.builds && !plugins.build(component, &arguments, &task)?.graphs.is_empty() {
                return Ok(model);
            }
            plugins.run_weights(component, &arguments, &task, &mut model).map(|()| model)
        };
        match (measured(), measured()) {
            (Ok(first), Ok(second)) => {
                ran += usize::from(!first.given.is_empty());
                same &= first.given == second.given;
                holes.extend(first.holes);
            }
            (Err(error), _) | (_, Err(error)) if error.is_unsupported() || error.blame == Blame::User => {
                refused.push(error.sentence);
            }
            (Err(error), _) | (_, Err(error)) => {
                return report.add("measures", id, false, format!("{place}: {}", error.sentence));
            }
        }
    }
    let not = refused.first().map_or_else(String::new, |why| format!("; it refused {}: {why}", refused.len()));
    report.add("measures", id, ran > 0 || !refused.is_empty(), format!("it measures softmax regression in {ran} ways{not}"));
    let whole =
        holes.first().map_or_else(|| "its curves and surfaces have no holes".to_owned(), |name| format!("{name} has holes"));
    report.add("finite", id, holes.is_empty(), whole);
    let sentence = if same { "two runs give the same" } else { "two runs give different values" };
    report.add("pure", id, same, sentence);
}
