//! What runs a graph: ONNX Runtime when a library is found, tract (compiled in) otherwise.
//!
//! This crate knows engines, devices, the places of libraries, and which form of a graph is fast on which engine. It reads no model
//! file and knows no gradient rules or attacks: it is given a [`flatscape_graph::Graph`] and runs it.

mod buffer;
mod contained;
mod engine;
mod error;
mod library;
mod lower;
mod onnxruntime;
mod own;
mod rows;
pub mod runtime;
mod signature;
mod tract;
mod workers;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use buffer::{Buffer, Rows, bytes_read};
pub use contained::{ENGINE_MEMORY, ENGINE_SECONDS, EngineLimits, EngineProcess, engine_worker_main};
pub use engine::{Choice, CompileOptions, Device, Engine, EngineInfo, Executable, Settings};
pub use error::EngineError;
pub use library::{Finding, Place};
pub use lower::{Apply, LOWERINGS, Lowering, forms, lower};
pub use rows::{rows_are_independent, rows_at_once};

/// One engine, as the help and `doctor` show it.
pub struct EngineRow {
    /// What `--engine` takes.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// How it comes to be on the machine.
    pub found: &'static str,
    /// The choice that names it.
    pub choice: Choice,
    open: fn(&Settings) -> Result<Arc<dyn Engine>, EngineError>,
}

/// Every engine, in the order in which `auto` prefers them.
pub const ENGINES: &[EngineRow] = &[
    EngineRow {
        name: onnxruntime::NAME,
        summary: "ONNX Runtime: the fast one, on CPU and CUDA; no float64 convolutions on the CPU",
        found: "a shared library: --ort-lib, ORT_DYLIB_PATH, beside the program, `flatscape runtime install`, a virtualenv or conda environment, the system",
        choice: Choice::Ort,
        open: onnxruntime::open,
    },
    EngineRow {
        name: tract::NAME,
        summary: "tract: pure Rust, CPU only, float64 throughout; the second opinion",
        found: "compiled in: always there",
        choice: Choice::Tract,
        open: tract::open,
    },
];

/// Opens the engine that the settings ask for. `auto` takes ONNX Runtime if a usable library is found and tract otherwise;
/// anything that the user names (an engine, a library, a CUDA device) is used or refused, never replaced.
///
/// # Errors
/// [`EngineError`] when the library is missing, too old or of another architecture, or the device is not there.
pub fn open(settings: &Settings) -> Result<Arc<dyn Engine>, EngineError> {
    let choice = match settings.choice {
        Choice::Auto if library::wanted(settings)?.is_some() => Choice::Ort,
        Choice::Auto if settings.device != Device::Cpu => Choice::Ort,
        Choice::Auto => Choice::Tract,
        named => named,
    };
    if let Some(process) = &settings.process {
        return contained::open(settings, choice, process);
    }
    match ENGINES.iter().find(|row| row.choice == choice) {
        Some(row) => (row.open)(settings),
        None => tract::open(settings),
    }
}
