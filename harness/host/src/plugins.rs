//! All plugins that were found, their components, and how they are asked: in a child process of their own for every question,
//! so that whatever happens there ends with it. Only the plugin that comes with the program builds all its programs in one process,
//! because starting one takes longer than a build. A question that was answered is not asked again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flatscape_contain::sandbox::Sealed;

use crate::component::{Component, Kind, Plugin, RESERVED, STANDARD, admit};
use crate::error::{Blame, HostError, file_name, nearest, shown, shown_up_to};
use crate::guard;
use crate::oracle::Oracle;
use crate::params::Arguments;
use crate::program::{self, Program, RawProgram};
use crate::reduction::{Reduced, Table};
use crate::search::Search;
use crate::service::{DirectPort, Service, Shared};
use crate::session::{Limits, Note, Session, WorkerCommand};
use crate::task::Task;
use crate::wire::{self, Answer, Ask, Fault, Refusal, Reply, Request};
use crate::worker::Loaded;

/// The plugins of a run.
#[derive(Debug)]
pub struct Plugins {
    pub(crate) worker: WorkerCommand,
    plugins: Vec<Arc<Plugin>>,
    components: Vec<Component>,
    refused: Vec<HostError>,
    /// What plugins said while they were asked.
    said: Mutex<Vec<(PathBuf, Note)>>,
    /// Programs that were built and read, by everything that they were built from: a build is pure.
    built: Mutex<HashMap<String, Program>>,
    /// The process of the plugin that comes with the program, while it is not asked.
    idle: Mutex<Option<Session>>,
    /// Plugins in this process, for debugging. Held while one is called: a plugin is called by one thread at a time.
    here: Mutex<HashMap<PathBuf, Loaded>>,
}

impl Plugins {
    /// Finds, checks and describes plugins. One that is refused is an entry of [`Plugins::refused`]; the others are there.
    pub fn discover(search: &Search, worker: &WorkerCommand) -> Plugins {
        let mut plugins = Plugins {
            worker: worker.clone(),
            plugins: Vec::new(),
            components: Vec::new(),
            refused: Vec::new(),
            said: Mutex::default(),
            built: Mutex::default(),
            idle: Mutex::default(),
            here: Mutex::default(),
        };
        for candidate in search.candidates() {
            let admitted = candidate.and_then(|path| plugins.admit(&path, search.insecure_permissions));
            if let Err(error) = admitted {
                plugins.refused.push(error);
            }
        }
        plugins.name();
        plugins
    }

    /// Gives every component the name that users type: where an id alone could mean two components, it means neither.
    fn name(&mut self) {
        let owners: Vec<(Kind, String, String)> =
            self.components.iter().map(|c| (c.kind, c.id.clone(), c.plugin.id.clone())).collect();
        for component in &mut self.components {
            let reserved = RESERVED.contains(&component.id.as_str());
            let shared = owners
                .iter()
                .any(|(kind, id, plugin)| *kind == component.kind && *id == component.id && *plugin != component.plugin.id);
            let plain = if reserved { component.plugin.id == STANDARD } else { !shared };
            component.name = if plain { component.id.clone() } else { component.qualified() };
        }
    }

    /// Every component, in the order in which the plugins were found and list them.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The files that were loaded.
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// The files that were refused, each with its sentence.
    pub fn refused(&self) -> &[HostError] {
        &self.refused
    }

    /// Whether plugin code runs in this process.
    pub fn in_process(&self) -> bool {
        self.worker.is_in_process()
    }

    /// What keeps the processes of plugins in: the least that any of them said. Nothing where there is no plugin.
    pub fn sealed(&self) -> Sealed {
        let least = |a: Sealed, b: Sealed| Sealed { landlock: a.landlock.min(b.landlock), seccomp: a.seccomp && b.seccomp };
        self.plugins.iter().map(|plugin| plugin.sealed).reduce(least).unwrap_or(Sealed::NOT)
    }

    /// What plugins logged and printed since the last time, with their files.
    pub fn take_notes(&self) -> Vec<(PathBuf, Note)> {
        self.said.lock().map(|mut said| std::mem::take(&mut *said)).unwrap_or_default()
    }

    /// The components of that name, `id` or `plugin/id`: at most one of each kind.
    pub fn named<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p Component> {
        let exact = self.components.iter().any(|c| c.name == name);
        self.components.iter().filter(move |c| if exact { c.name == name } else { c.qualified() == name })
    }

    /// The component of that name, `id` or `plugin/id`, and kind. An id of [`RESERVED`] is that of the plugin that comes with the
    /// program and of no other.
    ///
    /// # Errors
    /// `P23`: there is none, or several plugins offer it; the way to write it, or the nearest name, is in the help.
    pub fn component(&self, kind: Kind, name: &str) -> Result<&Component, HostError> {
        let of_kind = |c: &&Component| c.kind == kind;
        let qualified = || self.components.iter().filter(of_kind).find(|c| c.qualified() == name);
        if let Some(found) = self.components.iter().filter(of_kind).find(|c| c.name == name).or_else(qualified) {
            return Ok(found);
        }
        let error = HostError::user("P23", format!("there is no {} \"{}\"", kind.name(), shown(name)));
        if let Some(other) = self.named(name).next() {
            return Err(error.help(format!("{name} is of kind {}", other.kind.name())));
        }
        let offers = self.components.iter().filter(of_kind).filter(|c| c.id == name);
        let qualified: Vec<String> = offers.map(Component::qualified).collect();
        if RESERVED.contains(&name) {
            let missing = match self.plugins.iter().any(|p| p.id == STANDARD) {
                true => "the plugin that comes with the program does not offer it".to_owned(),
                false => format!("the plugin that comes with the program was not found{}", self.first_refusal()),
            };
            let others = if qualified.is_empty() { String::new() } else { format!("; there is {}", qualified.join(" and ")) };
            return Err(error.help(format!("{missing}{others}")));
        }
        if !qualified.is_empty() {
            let what = format!("{} plugins offer \"{}\"", qualified.len(), shown(name));
            return Err(HostError::user("P23", what).help(format!("write {}", qualified.join(" or "))));
        }
        let names: Vec<&str> = self.components.iter().filter(|c| c.kind == kind).map(|c| c.name.as_str()).collect();
        Err(match nearest(name, names.iter().copied()) {
            Some(near) => error.help(format!("did you mean \"{near}\"?")),
            None if names.is_empty() => error.help(self.nothing_here()),
            None => error.help(format!("there are {}", names.join(", "))),
        })
    }

    /// Why no component of any kind has a name.
    pub fn unknown(&self, name: &str) -> HostError {
        let error = HostError::user("P23", format!("there is no component \"{}\"", shown(name)));
        match nearest(name, self.components.iter().map(|c| c.name.as_str())) {
            Some(near) => error.help(format!("did you mean \"{near}\"?")),
            None if self.components.is_empty() => error.help(self.nothing_here()),
            None => error.help("flatscape plugins list shows all of them"),
        }
    }

    fn first_refusal(&self) -> String {
        self.refused.first().map_or(String::new(), |first| format!("; {first}"))
    }

    fn nothing_here(&self) -> String {
        match self.refused.first() {
            Some(first) => format!("no plugin offers one; {first}"),
            None => "no plugin was found: name one with --plugin FILE, or see plugins/README.md".into(),
        }
    }

    /// Asks a component for its program, and checks the program. A program that was built before is not built again.
    ///
    /// # Errors
    /// The component refused the arguments or the task (the user's turn), or it failed, died or answered something wrong (the
    /// plugin's).
    pub fn build(&self, component: &Component, arguments: &Arguments, task: &Task) -> Result<Program, HostError> {
        let key = format!("{} {:?} {} {arguments:?} {task:?}", component.plugin.sha256, component.kind, component.id);
        let built = || self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = built().get(&key) {
            return Ok(program.clone());
        }
        let raw = self.build_raw(component, arguments, task)?;
        let program =
            program::read(component, arguments, task, &raw).map_err(|clause| self.at_fault(component, "P12", &clause))?;
        built().insert(key, program.clone());
        Ok(program)
    }

    /// Whether an attack or a metric can be built for a task: the threat model is in the task. A component that runs through
    /// `oracle/1` and does not build is not asked and counts as serving every task.
    ///
    /// # Errors
    /// [`HostError::is_unsupported`]: it is not for this task. Otherwise as for [`Plugins::build`].
    pub fn serves(&self, component: &Component, arguments: &Arguments, task: &Task) -> Result<(), HostError> {
        if component.builds { self.build(component, arguments, task).map(drop) } else { Ok(()) }
    }

    pub(crate) fn build_raw(&self, component: &Component, arguments: &Arguments, task: &Task) -> Result<RawProgram, HostError> {
        if !component.builds {
            return Err(self.at_fault(component, "P12", "it answers no program; it runs through an extension"));
        }
        let stage = format!("build of {}", component.id);
        let Some(program) = &self.worker.program else {
            let said = Mutex::new(Vec::new());
            let log = |level: i32, words: &str| keep(&said, level, words);
            let result =
                self.here(&component.plugin, |loaded| loaded.build(component.kind, &component.id, arguments, task, &log))?;
            self.keep_said(&component.plugin.path, said.into_inner().unwrap_or_default());
            return result.map_err(|fault| self.fault(component, &fault));
        };
        let (kind, component_id) = (component.kind, component.id.clone());
        let request = Request::Build { kind, component: component_id, arguments: arguments.clone(), task: task.clone() };
        let limit = self.worker.limits.build;
        let ask = |session: &mut Session| {
            session.send(&request, limit, &stage).and_then(|()| session.receive(wire::PROGRAM, limit, &stage))
        };
        let shared = component.plugin.id == STANDARD;
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = if shared { idle().take() } else { None };
        // one that has died in the meantime is replaced
        let again = waiting.and_then(|mut session| ask(&mut session).ok().map(|answered| (session, answered)));
        let (mut session, (reply, bytes)) = match again {
            Some(answered) => answered,
            None => {
                let mut session = self.session(program, &component.plugin)?;
                let answered = ask(&mut session).map_err(|e| e.of_component(&component.id))?;
                (session, answered)
            }
        };
        if shared {
            self.keep_said(&component.plugin.path, session.take_notes());
            *idle() = Some(session);
        } else {
            self.keep_said(&component.plugin.path, session.finish());
        }
        match reply {
            Reply::Built { mut program, lengths } if lengths.len() == program.graphs.len() => {
                let mut rest = bytes.as_slice();
                for (graph, length) in program.graphs.iter_mut().zip(lengths) {
                    let split = usize::try_from(length).ok().and_then(|n| rest.split_at_checked(n));
                    let Some((own, others)) = split else { return Err(self.nonsense(component)) };
                    graph.bytes = own.to_vec();
                    rest = others;
                }
                Ok(program)
            }
            Reply::Fault(fault) => Err(self.fault(component, &fault)),
            _ => Err(self.nonsense(component)),
        }
    }

    /// Lets a component of `oracle/1` attack the oracle's batch. What it finds arrives at [`Oracle::offer`].
    ///
    /// # Errors
    /// As for [`Plugins::build`]; and when the oracle failed to answer. What was offered before stays offered.
    pub fn run_oracle(
        &self,
        component: &Component,
        arguments: &Arguments,
        task: &Task,
        oracle: &mut dyn Oracle,
    ) -> Result<(), HostError> {
        let machine = |what: String| HostError::new("P30", Blame::Machine, format!("{}: {what}", component.id));
        let (mut service, columns) = Service::new(oracle, task).map_err(machine)?;
        let Some(program) = &self.worker.program else {
            let said = Mutex::new(Vec::new());
            let mut port = DirectPort { service: &mut service, columns };
            let log = |level: i32, words: &str| keep(&said, level, words);
            let result = self
                .here(&component.plugin, |loaded| loaded.run(component.kind, &component.id, arguments, task, &mut port, &log))?;
            self.keep_said(&component.plugin.path, said.into_inner().unwrap_or_default());
            return self.run_ends(component, &service, result);
        };
        let stage = format!("run of {}", component.id);
        let mut shared = Shared::new(task, &columns).map_err(|e| machine(format!("no shared memory: {e}")))?;
        let mut session = self.session(program, &component.plugin)?;
        let request = Request::Run {
            kind: component.kind,
            component: component.id.clone(),
            arguments: arguments.clone(),
            task: task.clone(),
            memory: shared.memory.clone(),
        };
        let limits = &self.worker.limits;
        let begun = session
            .send(&request, limits.run, &stage)
            .and_then(|()| session.share(&shared.inward, &shared.outward, &stage))
            .and_then(|()| converse(&mut session, &mut |ask| shared.answer(&mut service, ask), limits, &stage));
        let ended = begun.map_err(|e| e.of_component(&component.id))?;
        self.keep_said(&component.plugin.path, session.finish());
        match ended {
            Some(result) => self.run_ends(component, &service, result),
            None => Err(self.nonsense(component)),
        }
    }

    /// Lets a metric of `reduce/1` reduce the rows of all samples.
    ///
    /// # Errors
    /// As for [`Plugins::build`].
    pub fn reduce(&self, component: &Component, arguments: &Arguments, task: &Task, table: &Table) -> Result<Reduced, HostError> {
        let stage = format!("reduction of {}", component.id);
        let reduced = match &self.worker.program {
            None => {
                let said = Mutex::new(Vec::new());
                let log = |level: i32, words: &str| keep(&said, level, words);
                let result = self.here(&component.plugin, |loaded| {
                    loaded.reduce(component.kind, &component.id, arguments, task, table, &log)
                })?;
                self.keep_said(&component.plugin.path, said.into_inner().unwrap_or_default());
                result.map_err(|fault| self.fault(component, &fault))?
            }
            Some(program) => {
                let mut session = self.session(program, &component.plugin)?;
                let (shape, bytes) = table.encode();
                let (kind, id) = (component.kind, component.id.clone());
                let request =
                    Request::Reduce { kind, component: id, arguments: arguments.clone(), task: task.clone(), table: shape };
                let limit = self.worker.limits.run;
                let answered = session
                    .send_with(&request, &bytes, limit, &stage)
                    .and_then(|()| session.receive(wire::REDUCED, limit, &stage));
                let (reply, numbers) = answered.map_err(|e| e.of_component(&component.id))?;
                self.keep_said(&component.plugin.path, session.finish());
                match reply {
                    Reply::Reduced(shape) => {
                        Reduced::decode(&shape, table.samples(), &numbers).ok_or_else(|| self.nonsense(component))?
                    }
                    Reply::Fault(fault) => return Err(self.fault(component, &fault)),
                    _ => return Err(self.nonsense(component)),
                }
            }
        };
        reduced.check(table.samples()).map_err(|clause| self.at_fault(component, "P12", &clause))?;
        Ok(reduced)
    }

    /// The oracle's own failure takes precedence over the plugin's answer to it; a request to stop is not a failure.
    fn run_ends(&self, component: &Component, service: &Service<'_>, result: Result<(), Fault>) -> Result<(), HostError> {
        if let Some(failure) = &service.failure {
            return Err(HostError::new("P31", Blame::Oracle, failure.clone()).of_component(&component.id));
        }
        match result {
            Err(fault) if fault.status == flatscape_abi::CANCELLED => Ok(()),
            other => other.map_err(|fault| self.fault(component, &fault)),
        }
    }

    /// Admits a file: checks its permissions, loads it in a child, and validates everything it answers.
    fn admit(&mut self, path: &Path, insecure_permissions: bool) -> Result<(), HostError> {
        let sha256 = guard::inspect(path, insecure_permissions)?;
        if let Some(same) = self.plugins.iter().find(|p| p.sha256 == sha256) {
            // a copy of a plugin that is there already adds nothing
            let note = Note { level: 3, words: format!("the same file as {}", same.path.display()) };
            self.keep_said(path, vec![note]);
            return Ok(());
        }
        let mut kept = None;
        let (description, sealed, notes) = match &self.worker.program {
            None => {
                let loaded = Loaded::open(path, &sha256).map_err(|(id, clause)| refusal(path, id, &clause))?;
                let description = loaded.describe().map_err(|clause| refusal(path, Refusal::Malformed, &clause))?;
                (description, Sealed::NOT, Vec::new())
            }
            Some(program) => {
                let mut session = Session::start(&self.worker, program, path)?;
                let (description, sealed) = load(&mut session, path, &sha256, &self.worker)?;
                let notes = if description.id == STANDARD {
                    let notes = session.take_notes();
                    kept = Some(session);
                    notes
                } else {
                    session.finish()
                };
                (description, sealed, notes)
            }
        };
        let plugin = Plugin {
            path: path.to_owned(),
            id: description.id.clone(),
            version: description.version.clone(),
            sha256,
            sealed,
            notes: notes.into_iter().map(|n| n.words).collect(),
        };
        let (plugin, components) = admit(plugin, description)?;
        if let Some(first) = self.plugins.iter().find(|p| p.id == plugin.id && p.id == STANDARD) {
            let what = format!("plugin {} calls itself {STANDARD}, as {} does", file_name(path), first.path.display());
            let error = HostError::plugin("P13", path, what);
            return Err(error.help("build it with an id of its own; its components are then reached as ID/component"));
        }
        for component in &components {
            let same = |c: &&Component| c.kind == component.kind && c.qualified() == component.qualified();
            if let Some(first) = self.components.iter().find(same) {
                let files = (first.plugin.path.display().to_string(), path.display().to_string());
                let what = format!("component {} is offered by {} and by {}", component.qualified(), files.0, files.1);
                let error = HostError::plugin("P13", path, what).of_component(&component.id);
                return Err(error.help("drop one of the two files, or build one with another plugin id"));
            }
        }
        if kept.is_some() {
            *self.idle.get_mut().unwrap_or_else(PoisonError::into_inner) = kept;
        }
        self.plugins.push(plugin);
        self.components.extend(components);
        Ok(())
    }

    /// A child with the plugin loaded.
    pub(crate) fn session(&self, program: &Path, plugin: &Plugin) -> Result<Session, HostError> {
        let mut session = Session::start(&self.worker, program, &plugin.path)?;
        load(&mut session, &plugin.path, &plugin.sha256, &self.worker)?;
        Ok(session)
    }

    /// Calls a plugin in this process, loading it the first time.
    pub(crate) fn here<T>(&self, plugin: &Plugin, call: impl FnOnce(&Loaded) -> T) -> Result<T, HostError> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match here.entry(plugin.path.clone()) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                let opened = Loaded::open(&plugin.path, &plugin.sha256);
                place.insert(opened.map_err(|(id, clause)| refusal(&plugin.path, id, &clause))?)
            }
        };
        Ok(call(loaded))
    }

    pub(crate) fn keep_said(&self, path: &Path, notes: Vec<Note>) {
        if let Ok(mut said) = self.said.lock() {
            said.extend(notes.into_iter().map(|note| (path.to_owned(), note)));
        }
    }

    fn at_fault(&self, component: &Component, id: &'static str, clause: &str) -> HostError {
        let file = file_name(&component.plugin.path);
        let what = format!("component {} of plugin {file}: {clause}", component.id);
        HostError::plugin(id, &component.plugin.path, what).of_component(&component.id)
    }

    pub(crate) fn nonsense(&self, component: &Component) -> HostError {
        self.at_fault(component, "P11", "its process answered something else than was asked")
    }

    /// A status that is not 0 as a sentence: whose turn it is follows from the status.
    pub(crate) fn fault(&self, component: &Component, fault: &Fault) -> HostError {
        let words = if fault.words.is_empty() { "(no reason given)".to_owned() } else { shown_up_to(&fault.words, 500) };
        let id = &component.id;
        match fault.status {
            flatscape_abi::INVALID => HostError::user("P24", format!("{id}: {words}")).of_component(id),
            flatscape_abi::UNSUPPORTED => HostError::user("P25", format!("{id} is not for this task: {words}")).of_component(id),
            flatscape_abi::CANCELLED => {
                HostError::new("P32", Blame::Interrupted, format!("{id} was cancelled: {words}")).of_component(id)
            }
            flatscape_abi::PANICKED => self.at_fault(component, "P07", &format!("it panicked: {words}")),
            flatscape_abi::FAILED => self.at_fault(component, "P06", &format!("it failed: {words}")),
            other => self.at_fault(component, "P06", &format!("it answered the unknown status {other}: {words}")),
        }
    }
}

/// Questions that cost nothing (which samples are active, noise, no rows) and are answered beside ten for every other one.
const FREE: u64 = 10_000;

/// Answers a plugin until it is finished, within the limits. `None`: it answered something else than was asked.
pub(crate) fn converse(
    session: &mut Session,
    answer: &mut dyn FnMut(&Ask) -> Answer,
    limits: &Limits,
    stage: &str,
) -> Result<Option<Result<(), Fault>>, HostError> {
    let (mut free, mut paid, mut spent) = (0u64, 0u64, Duration::ZERO);
    let mut told: Option<Instant> = None;
    loop {
        let waited = Instant::now();
        let reply = session.receive(wire::WORDS, limits.run, stage)?.0;
        spent += waited.elapsed();
        let ask = match reply {
            Reply::Ask(ask) => ask,
            Reply::Finished => return Ok(Some(Ok(()))),
            Reply::Fault(fault) => return Ok(Some(Err(fault))),
            _ => return Ok(None),
        };
        *(if ask.is_free() { &mut free } else { &mut paid }) += 1;
        if free > FREE + 10 * paid {
            return Err(session.stop(&format!("asked {free} questions that cost nothing and {paid} others"), stage));
        }
        if spent > limits.total {
            let clause = format!("took more than {} s between its questions", limits.total.as_secs_f64());
            return Err(session.stop(&clause, stage));
        }
        let answer = answer(&ask);
        if answer.cancelled && told.get_or_insert_with(Instant::now).elapsed() > limits.run.min(PATIENCE) {
            return Err(session.stop("asked on after it was told to stop", stage));
        }
        session.send(&Request::Answer(answer), limits.run, stage)?;
    }
}

/// How long a plugin may ask on after it was told to stop.
const PATIENCE: Duration = Duration::from_secs(10);

fn load(
    session: &mut Session,
    path: &Path,
    sha256: &str,
    worker: &WorkerCommand,
) -> Result<(crate::component::Description, Sealed), HostError> {
    let request = Request::Load { path: path.to_owned(), sha256: sha256.to_owned(), sandbox: worker.sandbox };
    session.send(&request, worker.limits.load, "load")?;
    match session.receive(wire::WORDS, worker.limits.load, "load")?.0 {
        Reply::Loaded { description, sealed } => Ok((description, sealed)),
        Reply::Refused { id, clause } => Err(refusal(path, id, &shown_up_to(&clause, 500))),
        _ => Err(HostError::plugin("P11", path, format!("plugin {} answered something else than was asked", file_name(path)))),
    }
}

fn refusal(path: &Path, id: Refusal, clause: &str) -> HostError {
    let file = file_name(path);
    let (id, what, help) = match id {
        Refusal::Open => (
            "P15",
            format!("plugin {file} is not loaded: {clause}"),
            Some("run it without a sandbox, if you trust it: --no-sandbox"),
        ),
        Refusal::Changed => ("P04", format!("plugin {file} {clause}"), None),
        Refusal::CannotLoad => ("P04", format!("plugin {file} {clause}"), None),
        Refusal::NoSymbol => ("P04", format!("plugin {file} {clause}"), Some("is it a flatscape plugin?")),
        Refusal::WrongVersion => {
            ("P05", format!("plugin {file} {clause}"), Some("build it again with this version's header or SDK"))
        }
        Refusal::Malformed => ("P09", format!("plugin {file}: {clause}"), None),
    };
    let error = HostError::plugin(id, path, what);
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

pub(crate) fn keep(said: &Mutex<Vec<Note>>, level: i32, words: &str) {
    if let Ok(mut said) = said.lock() {
        said.push(Note { level, words: shown_up_to(words, 1000) });
    }
}
