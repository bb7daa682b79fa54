//! One child process with one plugin in it, seen from the host: started, asked, and found dead. Every end of the child, a
//! crash, an exit, a hang or nonsense, becomes a sentence with the plugin's name.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::{Blame, HostError, file_name, shown_up_to};
use crate::wire::{self, Reply, Request};

/// How long plugin code may think before it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For loading the file.
    pub load: Duration,
    /// For one `build`.
    pub build: Duration,
    /// Between two questions of an `oracle/1` run.
    pub run: Duration,
}

impl Default for Limits {
    /// 20 seconds for loading and building, 120 between questions.
    fn default() -> Limits {
        Limits { load: Duration::from_secs(20), build: Duration::from_secs(20), run: Duration::from_secs(120) }
    }
}

/// Variable with a number of seconds that replaces all three limits.
pub const PLUGIN_SECONDS: &str = "FLATSCAPE_PLUGIN_SECONDS";

impl Limits {
    /// The defaults, or what `FLATSCAPE_PLUGIN_SECONDS` says.
    pub fn from_environment() -> Limits {
        let seconds = std::env::var(PLUGIN_SECONDS).ok().and_then(|s| s.trim().parse::<f64>().ok());
        match seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()) {
            Some(limit) if !limit.is_zero() => Limits { load: limit, build: limit, run: limit },
            _ => Limits::default(),
        }
    }
}

/// How plugin code is run: the program that calls [`crate::worker_main`], or this process.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    pub(crate) program: Option<PathBuf>,
    arguments: Vec<OsString>,
    /// Time limits.
    pub limits: Limits,
}

impl WorkerCommand {
    /// A program and the arguments with which it becomes a worker. Limits are those of the environment.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> WorkerCommand {
        let arguments = arguments.iter().map(OsString::from).collect();
        WorkerCommand { program: Some(program.into()), arguments, limits: Limits::from_environment() }
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
        WorkerCommand { program: None, arguments: Vec::new(), limits: Limits::default() }
    }

    /// Whether plugin code runs in this process: the manifest says so.
    pub fn is_in_process(&self) -> bool {
        self.program.is_none()
    }
}

/// Variables that a worker inherits. Everything else is withheld, above all what steers the dynamic loader or names a folder of
/// the user (`PWD`, `HOME`).
const INHERITED: &[&str] = &["PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "RUST_BACKTRACE"];

/// Bytes that are kept of what a plugin prints.
const PRINTED: usize = 1 << 20;

/// A line that a plugin logged or printed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// 0 error, 1 warning, 2 note, 3 detail, 4 printed.
    pub level: i32,
    /// What it said, escaped.
    pub words: String,
}

pub(crate) struct Session {
    child: Child,
    socket: UnixStream,
    printed: Arc<Mutex<Vec<u8>>>,
    plugin: PathBuf,
    pub(crate) notes: Vec<Note>,
    /// The child's working directory: empty, its own, removed with the session. A relative path never leads to the run directory.
    _scratch: tempfile::TempDir,
}

impl Session {
    /// Starts a child; nothing is loaded yet.
    pub(crate) fn start(worker: &WorkerCommand, program: &Path, plugin: &Path) -> Result<Session, HostError> {
        let machine = |what: &str, e: io::Error| {
            HostError::new("P30", Blame::Machine, format!("{what} for plugin {}: {e}", file_name(plugin)))
        };
        let (socket, theirs) = UnixStream::pair().map_err(|e| machine("no socket", e))?;
        let scratch = tempfile::Builder::new().prefix("flatscape-plugin-").tempdir();
        let scratch = scratch.map_err(|e| machine("no empty working directory", e))?;
        let mut command = Command::new(program);
        command.args(&worker.arguments).env_clear().current_dir(scratch.path());
        command.envs(INHERITED.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))));
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
        // a group of its own: an interrupt at the terminal is for the host, which then ends its children
        command.process_group(0);
        let mut child = command.spawn().map_err(|e| machine(&format!("{} cannot be started", program.display()), e))?;
        let printed = Arc::new(Mutex::new(Vec::new()));
        if let Some(out) = child.stdout.take() {
            keep_printed(out, printed.clone());
        }
        if let Some(err) = child.stderr.take() {
            keep_printed(err, printed.clone());
        }
        Ok(Session { child, socket, printed, plugin: plugin.to_owned(), notes: Vec::new(), _scratch: scratch })
    }

    /// Sends a request. A child that is gone is noticed when it is listened to.
    pub(crate) fn send(&mut self, request: &Request, stage: &str) -> Result<(), HostError> {
        match wire::send(&mut self.socket, request, &[]) {
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                Err(HostError::new("P30", Blame::Machine, format!("a message to plugin {}: {e}", file_name(&self.plugin))))
            }
            Err(_) => Err(self.died(stage)),
            Ok(()) => Ok(()),
        }
    }

    /// Waits for the next reply that is not a log line.
    pub(crate) fn receive(&mut self, limit: Duration, stage: &str) -> Result<(Reply, Vec<u8>), HostError> {
        let deadline = Instant::now() + limit;
        loop {
            let result = wire::receive::<Reply>(&mut Until { socket: &self.socket, deadline });
            match result {
                Ok((Reply::Log { level, words }, _)) => self.note(level, &words),
                Ok(other) => return Ok(other),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(self.hangs(limit, stage));
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(self.babbles(stage)),
                Err(_) => return Err(self.died(stage)),
            }
        }
    }

    /// Lets the child go and returns what it said.
    pub(crate) fn finish(mut self) -> Vec<Note> {
        self.end();
        std::mem::take(&mut self.notes)
    }

    fn note(&mut self, level: i32, words: &str) {
        if self.notes.len() < 1000 {
            self.notes.push(Note { level, words: shown_up_to(words, 1000) });
        }
    }

    fn end(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let status = self.wait(Duration::from_millis(500));
        if status.is_none() {
            self.kill();
        }
        let printed = self.printed.lock().map(|mut p| std::mem::take(&mut *p)).unwrap_or_default();
        for line in String::from_utf8_lossy(&printed).lines().take(1000) {
            self.note(4, line);
        }
    }

    fn died(&mut self, stage: &str) -> HostError {
        let status = self.wait(Duration::from_secs(2));
        let how = match status {
            None => {
                self.end();
                "closed its connection".to_owned()
            }
            Some(status) => ending(status),
        };
        self.fault("P08", format!("plugin {} {how} in {stage}", file_name(&self.plugin)))
    }

    fn hangs(&mut self, limit: Duration, stage: &str) -> HostError {
        let _ = self.child.kill();
        let what = format!(
            "plugin {} gave no answer within {} s in {stage} and was stopped",
            file_name(&self.plugin),
            limit.as_secs_f64()
        );
        self.fault("P10", what)
    }

    fn babbles(&mut self, stage: &str) -> HostError {
        let _ = self.child.kill();
        self.fault(
            "P11",
            format!("plugin {} wrote into the connection between the processes in {stage}", file_name(&self.plugin)),
        )
    }

    fn fault(&mut self, id: &'static str, sentence: String) -> HostError {
        self.end();
        let error = HostError::plugin(id, &self.plugin, sentence);
        match self.notes.iter().rev().find(|n| !n.words.trim().is_empty()) {
            Some(last) => error.help(format!("its last words: {}", last.words)),
            None => error,
        }
    }

    /// Kills the child and what it has started, unless it is gone already.
    fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            if let Ok(group) = i32::try_from(self.child.id()) {
                // SAFETY: kill touches no memory; the group is that of a child which has not been waited for.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                _ => return None,
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A socket that is read until a moment.
struct Until<'a> {
    socket: &'a UnixStream,
    deadline: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        (&mut &*self.socket).read(buffer)
    }
}

/// Drains a pipe to its end and keeps the beginning.
fn keep_printed(mut pipe: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(read @ 1..) = pipe.read(&mut chunk) {
            if let Ok(mut kept) = into.lock() {
                let room = PRINTED.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..read.min(room)]);
            }
        }
    });
}

fn ending(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("ended the process (exit code {})", status.code().unwrap_or(0));
    };
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXCPU => "SIGXCPU",
        other => return format!("died (signal {other})"),
    };
    format!("died ({name})")
}
