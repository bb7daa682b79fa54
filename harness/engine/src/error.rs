//! What can go wrong with an engine, as sentences with a way out.

use std::path::PathBuf;

/// Why an engine could not be opened, or could not compile or run a graph.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No ONNX Runtime library was found anywhere.
    #[error(
        "no usable ONNX Runtime library was found (looked at: {looked}); run `flatscape runtime install`, give --ort-lib FILE, or use --engine tract"
    )]
    LibraryMissing {
        /// Every place, with what was found there.
        looked: String,
    },
    /// A library was named by the user and cannot be used.
    #[error("the ONNX Runtime library {} ({origin}) {reason}; give another file, or run `flatscape runtime install`", path.display())]
    LibraryRefused {
        /// The file.
        path: PathBuf,
        /// Who named it.
        origin: &'static str,
        /// A clause that begins with a verb.
        reason: String,
    },
    /// A process can hold one ONNX Runtime only.
    #[error(
        "this process already uses the ONNX Runtime library {}; {} cannot be loaded beside it: start another process for it",
        loaded.display(), wanted.display()
    )]
    LibraryInUse {
        /// The library that is loaded.
        loaded: PathBuf,
        /// The requested library.
        wanted: PathBuf,
    },
    /// The requested device is not available. There is no silent fallback to the CPU.
    #[error("the device {device} is not available: {reason}; use --device cpu, or {remedy}")]
    Device {
        /// As the user spells it, `cuda:0`.
        device: String,
        /// What the engine said.
        reason: String,
        /// What would make it available.
        remedy: String,
    },
    /// The engine does not accept the graph.
    #[error("{engine} cannot compile the graph {graph:?}: {reason}; another engine may (--engine)")]
    Compile {
        /// The engine.
        engine: &'static str,
        /// The graph.
        graph: String,
        /// What the engine said.
        reason: String,
    },
    /// The engine does not run a model file as it is.
    #[error("{engine} {clause}")]
    File {
        /// The engine.
        engine: &'static str,
        /// A clause that begins with a verb.
        clause: String,
    },
    /// The engine failed while running.
    #[error("{engine} failed while running the graph {graph:?}: {reason}")]
    Run {
        /// The engine.
        engine: &'static str,
        /// The graph.
        graph: String,
        /// What the engine said.
        reason: String,
    },
    /// Memory ran out on the host or the device: a smaller batch may fit.
    #[error("{engine} ran out of memory on the graph {graph:?}: {reason}; use a smaller --batch-size")]
    Memory {
        /// The engine.
        engine: &'static str,
        /// The graph.
        graph: String,
        /// What the engine said.
        reason: String,
    },
    /// The tensors do not fit the inputs of the graph.
    #[error("the graph {graph:?} was given wrong inputs: {reason}")]
    Inputs {
        /// The graph.
        graph: String,
        /// Which input, and what it should be.
        reason: String,
    },
    /// The process of the engine ended, hung or exceeded a limit.
    #[error("the process of {engine} {clause} over the graph {graph:?}; try another engine (--engine)")]
    Died {
        /// The engine.
        engine: &'static str,
        /// The graph.
        graph: String,
        /// A clause that begins with a verb.
        clause: String,
    },
    /// There is no process for the engine, or it does not do what it is asked.
    #[error("{engine} cannot run in a process of its own: {clause}")]
    Process {
        /// The engine.
        engine: &'static str,
        /// A clause.
        clause: String,
    },
    /// The program was asked to stop.
    #[error("the engine was stopped, because the program was asked to stop")]
    Stopped,
    /// A buffer could not be brought to the host.
    #[error("a result could not be copied from {device}: {reason}")]
    Copy {
        /// The device.
        device: String,
        /// What the engine said.
        reason: String,
    },
}

impl EngineError {
    /// An error of a run; the engine's message decides whether memory ran out.
    pub(crate) fn run(engine: &'static str, graph: &str, reason: String) -> EngineError {
        let graph = graph.to_owned();
        let low = reason.to_lowercase();
        let memory = ["failed to allocate", "out of memory", "bad_alloc", "bad allocation", "cuda_error_out_of_memory"];
        if memory.iter().any(|sign| low.contains(sign)) {
            EngineError::Memory { engine, graph, reason }
        } else {
            EngineError::Run { engine, graph, reason }
        }
    }
}
