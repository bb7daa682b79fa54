//! An engine in a process of its own. What a graph can do to an engine, a crash, a hang or all memory, it does there: the program
//! gets an error with a sentence. The worker shuts itself in once the library of the engine is loaded and one small graph has run.
//!
//! Tensors that are large stay in the worker between runs, so that a step of an attack is one short question and its answer.

mod remote;
mod serve;
mod wire;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use flatscape_contain::machine_memory;

pub(crate) use remote::open;
pub use serve::engine_worker_main;

/// The process in which an engine runs.
#[derive(Clone, Debug)]
pub struct EngineProcess {
    /// The program that calls [`engine_worker_main`], …
    pub program: PathBuf,
    /// … with these arguments.
    pub arguments: Vec<OsString>,
    /// Time and memory.
    pub limits: EngineLimits,
    /// Whether the process shuts itself in, as far as the kernel offers that.
    pub sandbox: bool,
}

impl EngineProcess {
    /// This executable with the hidden command `engine-worker`.
    ///
    /// # Errors
    /// The system does not tell where this executable is.
    pub fn this_program(sandbox: bool) -> io::Result<EngineProcess> {
        let arguments = vec![OsString::from("engine-worker")];
        Ok(EngineProcess { program: std::env::current_exe()?, arguments, limits: EngineLimits::from_environment(), sandbox })
    }
}

/// What an engine may take before its process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// For loading the library.
    pub open: Duration,
    /// For compiling one graph.
    pub compile: Duration,
    /// For one run.
    pub run: Duration,
    /// For any of these without using the processor.
    pub idle: Duration,
    /// Bytes of memory that the process may hold.
    pub memory: u64,
}

/// Variable with a number of seconds that replaces the limits of loading, compiling and running.
pub const ENGINE_SECONDS: &str = "FLATSCAPE_ENGINE_SECONDS";

/// Variable with a number of bytes that replaces the limit of memory.
pub const ENGINE_MEMORY: &str = "FLATSCAPE_ENGINE_MEMORY";

impl Default for EngineLimits {
    /// One minute to load, two to compile, ten for a run, one without using the processor; four fifths of the machine's memory.
    fn default() -> EngineLimits {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let memory = machine_memory().map_or(u64::MAX, |all| all / 5 * 4);
        EngineLimits { open: minutes(1), compile: minutes(2), run: minutes(10), idle: minutes(1), memory }
    }
}

impl EngineLimits {
    /// The defaults, or what `FLATSCAPE_ENGINE_SECONDS` and `FLATSCAPE_ENGINE_MEMORY` say.
    pub fn from_environment() -> EngineLimits {
        let usual = EngineLimits::default();
        let number = |name: &str| std::env::var(name).ok().and_then(|s| s.trim().parse::<f64>().ok()).filter(|n| *n > 0.0);
        let memory = number(ENGINE_MEMORY).map_or(usual.memory, |bytes| bytes as u64);
        match number(ENGINE_SECONDS).and_then(|s| Duration::try_from_secs_f64(s).ok()) {
            Some(limit) => EngineLimits { open: limit, compile: limit, run: limit, memory, ..usual },
            None => EngineLimits { memory, ..usual },
        }
    }
}
