//! One child process with one plugin in it, as the host asks it. Every end of the child, a crash, an exit, a hang, a flood or
//! nonsense, becomes a sentence with the plugin's name.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flatscape_contain::{Inward, Lost, Most, Outward, Patience, Start, Worker, machine_memory};

use crate::error::{Blame, HostError, file_name, shown_up_to};
use crate::wire::{Reply, Request};

/// What plugin code may take before it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For loading the file.
    pub load: Duration,
    /// For one `build`.
    pub build: Duration,
    /// Between two questions of an `oracle/1` run, and for ending it once the plugin was told to stop.
    pub run: Duration,
    /// Between the questions of one `oracle/1` run, all of them together.
    pub total: Duration,
    /// Bytes of memory that its process may hold.
    pub memory: u64,
}

impl Default for Limits {
    /// 20 seconds for loading and building, 120 between two questions and an hour in all; a quarter of the machine's memory, at most
    /// 8 GiB.
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        let memory = machine_memory().map_or(MEMORY, |all| (all / 4).min(MEMORY));
        Limits { load: seconds(20), build: seconds(20), run: seconds(120), total: seconds(3600), memory }
    }
}

/// Bytes of memory that a plugin may have at most, unless more is allowed.
const MEMORY: u64 = 8 << 30;

/// Variable with a number of seconds that replaces the limits of loading, of building and between two questions; all questions of a
/// run together may take thirty times as long.
pub const PLUGIN_SECONDS: &str = "FLATSCAPE_PLUGIN_SECONDS";

/// Variable with a number of bytes that replaces the limit of memory.
pub const PLUGIN_MEMORY: &str = "FLATSCAPE_PLUGIN_MEMORY";

impl Limits {
    /// The defaults, or what `FLATSCAPE_PLUGIN_SECONDS` and `FLATSCAPE_PLUGIN_MEMORY` say.
    pub fn from_environment() -> Limits {
        let usual = Limits::default();
        let number = |name: &str| std::env::var(name).ok().and_then(|s| s.trim().parse::<f64>().ok()).filter(|n| *n > 0.0);
        let memory = number(PLUGIN_MEMORY).map_or(usual.memory, |bytes| bytes as u64);
        match number(PLUGIN_SECONDS).and_then(|s| Duration::try_from_secs_f64(s).ok()) {
            Some(limit) => Limits { load: limit, build: limit, run: limit, total: limit.saturating_mul(30), memory },
            None => Limits { memory, ..usual },
        }
    }
}

/// How plugin code is run: the program that calls [`crate::worker_main`], or this process.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    pub(crate) program: Option<PathBuf>,
    arguments: Vec<OsString>,
    /// Time and memory.
    pub limits: Limits,
    /// Whether the process shuts itself in before it loads the plugin, as far as the kernel offers that.
    pub sandbox: bool,
}

impl WorkerCommand {
    /// A program and the arguments with which it becomes a worker. Limits are those of the environment.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> WorkerCommand {
        let arguments = arguments.iter().map(OsString::from).collect();
        WorkerCommand { program: Some(program.into()), arguments, limits: Limits::from_environment(), sandbox: true }
    }

    /// This executable with the hidden command `plugin-worker`.
    ///
    /// # Errors
    /// The system does not tell where this executable is.
    pub fn this_program() -> io::Result<WorkerCommand> {
        Ok(WorkerCommand::new(std::env::current_exe()?, &["plugin-worker"]))
    }

    /// For debugging only: plugin code runs in this process, where a crash ends everything.
    pub fn in_process() -> WorkerCommand {
        WorkerCommand { program: None, arguments: Vec::new(), limits: Limits::default(), sandbox: false }
    }

    /// Whether plugin code runs in this process: the manifest says so.
    pub fn is_in_process(&self) -> bool {
        self.program.is_none()
    }
}

/// A line that a plugin logged or printed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// 0 error, 1 warning, 2 note, 3 detail, 4 printed.
    pub level: i32,
    /// What it said, escaped.
    pub words: String,
}

/// Lines that are kept of what a plugin logs, and of what it prints.
const KEPT: usize = 1000;

/// Log lines after which a plugin is stopped.
const LOGGED: usize = 100_000;

pub(crate) struct Session {
    worker: Worker,
    plugin: PathBuf,
    logged: usize,
    pub(crate) notes: Vec<Note>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

impl Session {
    /// Starts a child; nothing is loaded yet.
    pub(crate) fn start(worker: &WorkerCommand, program: &Path, plugin: &Path) -> Result<Session, HostError> {
        let start = Start { program, arguments: &worker.arguments, variables: &[], memory: worker.limits.memory };
        let started = Worker::start(&start).map_err(|clause| {
            HostError::new("P30", Blame::Machine, format!("there is no process for plugin {}: {clause}", file_name(plugin)))
        });
        Ok(Session { worker: started?, plugin: plugin.to_owned(), logged: 0, notes: Vec::new() })
    }

    /// Sends a request. A child that is gone is noticed here or when it is listened to.
    pub(crate) fn send(&mut self, request: &Request, limit: Duration, stage: &str) -> Result<(), HostError> {
        self.send_with(request, &[], limit, stage)
    }

    /// Sends a request and the bytes that belong to it.
    pub(crate) fn send_with(&mut self, request: &Request, bytes: &[u8], limit: Duration, stage: &str) -> Result<(), HostError> {
        let parts: &[&[u8]] = if bytes.is_empty() { &[] } else { &[bytes] };
        self.worker.send(request, parts, &Patience { limit, idle: None }).map_err(|lost| self.lost(lost, stage))
    }

    /// Sends the two shared memories of a run.
    pub(crate) fn share(&mut self, inward: &Inward, outward: &Outward, stage: &str) -> Result<(), HostError> {
        let sent = self.worker.send_file(inward.file()).and_then(|()| self.worker.send_file(outward.file()));
        sent.map_err(|lost| self.lost(lost, stage))
    }

    /// Waits for the next reply that is not a log line.
    pub(crate) fn receive(&mut self, most: Most, limit: Duration, stage: &str) -> Result<(Reply, Vec<u8>), HostError> {
        let began = Instant::now();
        loop {
            let left = limit.saturating_sub(began.elapsed());
            match self.worker.receive::<Reply>(most, &Patience { limit: left, idle: None }) {
                Ok((Reply::Log { level, words }, _)) => self.log(level, &words, stage)?,
                Ok(other) => return Ok(other),
                Err(Lost::Silent(_)) => return Err(self.lost(Lost::Silent(limit), stage)),
                Err(lost) => return Err(self.lost(lost, stage)),
            }
        }
    }

    /// Lets the child go and returns what it said.
    pub(crate) fn finish(mut self) -> Vec<Note> {
        self.end();
        std::mem::take(&mut self.notes)
    }

    /// What the child has said so far; it stays.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        self.keep_printed();
        self.logged = 0;
        std::mem::take(&mut self.notes)
    }

    /// The child is of no use any more: it has exceeded what it may do. The clause begins with a verb.
    pub(crate) fn stop(&mut self, clause: &str, stage: &str) -> HostError {
        self.fault("P14", format!("plugin {} {clause} in {stage} and was stopped", file_name(&self.plugin)))
    }

    fn log(&mut self, level: i32, words: &str, stage: &str) -> Result<(), HostError> {
        self.logged += 1;
        if self.logged <= KEPT {
            self.note(level, words);
        }
        if self.logged <= LOGGED { Ok(()) } else { Err(self.stop(&format!("logged more than {LOGGED} lines"), stage)) }
    }

    fn note(&mut self, level: i32, words: &str) {
        self.notes.push(Note { level, words: shown_up_to(words, 1000) });
    }

    fn end(&mut self) {
        self.worker.end();
        self.keep_printed();
    }

    fn keep_printed(&mut self) {
        if self.logged > KEPT {
            self.note(1, &format!("{} more lines were logged and are not kept", self.logged - KEPT));
        }
        let printed = self.worker.printed();
        for line in String::from_utf8_lossy(&printed).lines().take(KEPT) {
            self.note(4, line);
        }
    }

    /// An end of the child as a sentence.
    fn lost(&mut self, lost: Lost, stage: &str) -> HostError {
        let file = file_name(&self.plugin);
        let id = match &lost {
            Lost::Silent(_) | Lost::Deaf(_) | Lost::Idle(_) => "P10",
            Lost::Memory { .. } => "P14",
            Lost::Babbles => "P11",
            Lost::Ended(_) | Lost::Frozen => "P08",
            Lost::Interrupted => {
                self.end();
                return HostError::new("P32", Blame::Interrupted, format!("plugin {file} {} in {stage}", lost.clause()));
            }
            Lost::TooLong => {
                self.end();
                return HostError::new("P30", Blame::Machine, format!("plugin {file} {} in {stage}", lost.clause()));
            }
        };
        let sentence = match lost {
            // as it has always been said: the stage before the consequence
            Lost::Silent(limit) => {
                format!("plugin {file} gave no answer within {} s in {stage} and was stopped", limit.as_secs_f64())
            }
            other => format!("plugin {file} {} in {stage}", other.clause()),
        };
        self.fault(id, sentence)
    }

    fn fault(&mut self, id: &'static str, sentence: String) -> HostError {
        self.end();
        let error = HostError::plugin(id, &self.plugin, sentence);
        match self.notes.iter().rev().find(|n| !n.words.trim().is_empty()) {
            Some(last) => error.help(format!("its last words: {}", last.words)),
            None => error,
        }
    }
}
