//! The one interface to all engines, and the settings that choose among them. Knows no particular engine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use flatscape_contain::sandbox::Sealed;
use flatscape_graph::onnx::OwnFile;
use flatscape_graph::{Graph, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Buffer, EngineError, EngineProcess, runtime};

/// The requested engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Choice {
    /// ONNX Runtime if a library is found, else tract.
    #[default]
    Auto,
    /// ONNX Runtime or an error.
    Ort,
    /// tract.
    Tract,
}

impl Choice {
    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Choice::Auto => "auto",
            Choice::Ort => "ort",
            Choice::Tract => "tract",
        }
    }
}

impl FromStr for Choice {
    type Err = String;
    fn from_str(text: &str) -> Result<Choice, String> {
        match text {
            "auto" => Ok(Choice::Auto),
            "ort" => Ok(Choice::Ort),
            "tract" => Ok(Choice::Tract),
            other => Err(format!("there is no engine {other:?}; there are auto, ort and tract")),
        }
    }
}

/// Where graphs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;
    fn from_str(text: &str) -> Result<Device, String> {
        let index = match text {
            "cpu" => return Ok(Device::Cpu),
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
        };
        index.map(Device::Cuda).ok_or_else(|| format!("there is no device {text:?}; devices are written cpu, cuda or cuda:1"))
    }
}

/// How an engine is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which engine.
    pub choice: Choice,
    /// Where it runs.
    pub device: Device,
    /// Threads on the CPU; 0 means one per core. Rows of a batch are cut in the same way whatever this is.
    pub threads: usize,
    /// The ONNX Runtime library that the user named (`--ort-lib`).
    pub library: Option<PathBuf>,
    /// Whether layers keep the plain form whatever rows a batch has ([`CompileOptions::rows`]).
    pub plain: bool,
    /// The directory under which `runtime install` keeps libraries.
    pub data_dir: PathBuf,
    /// The process in which the engine runs; `None`: this one, where a crash of the engine ends everything.
    pub process: Option<EngineProcess>,
}

impl Default for Settings {
    fn default() -> Settings {
        let data_dir = runtime::default_data_dir();
        Settings { choice: Choice::Auto, device: Device::Cpu, threads: 0, library: None, plain: false, data_dir, process: None }
    }
}

impl Settings {
    /// The number of threads, with 0 replaced by the number of cores.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }
}

/// How a graph is compiled.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Whether operators are rewritten into the forms that are fast on this engine ([`crate::LOWERINGS`]).
    pub lower: bool,
    /// Whether a large batch may be cut into micro-batches that run in parallel. Only graphs whose outputs all have the batch
    /// as leading extent, and in which no operator mixes rows, are ever cut.
    pub split: bool,
    /// In how many parts a batch is cut where results without a batch as leading extent are sums over its rows: the parts run in
    /// parallel, and such results are added in the order of the parts. The caller answers for it that they are sums and that no
    /// operator before them mixes rows ([`crate::rows_are_independent`]). `None`: as `split` says.
    pub sums: Option<usize>,
    /// The rows of a batch that runs at once, where layers may take forms whose sums differ from those of their operators
    /// ([`crate::Apply::Special`]): the form of a layer follows from this number, its extents and the instructions of the processor,
    /// and is the same for every batch that runs. It also sizes the micro-batches of tract, and where a graph counts its rows, each
    /// runs alone. `None`: no such form, as what judges and what is compared with are compiled.
    pub rows: Option<usize>,
}

impl CompileOptions {
    /// As gradients, attacks and metrics are compiled: with every form that is fast for batches that are cut into micro-batches.
    pub fn fast() -> CompileOptions {
        CompileOptions { rows: Some(crate::rows::LEAST), ..CompileOptions::default() }
    }
}

impl Default for CompileOptions {
    fn default() -> CompileOptions {
        CompileOptions { lower: true, split: true, sums: None, rows: None }
    }
}

/// What ran the numbers: goes into the manifest of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// `ort` or `tract`.
    pub name: String,
    /// Version of the engine.
    pub version: String,
    /// The shared library, if the engine is one.
    pub library: Option<PathBuf>,
    /// SHA-256 of the library, hexadecimal.
    pub library_sha256: Option<String>,
    /// Why this library: `--ort-lib`, `ORT_DYLIB_PATH`, …
    pub origin: String,
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// Execution providers in the order in which they are asked.
    pub providers: Vec<String>,
    /// Threads on the CPU.
    pub threads: usize,
    /// Options of the engine and of its providers.
    pub options: BTreeMap<String, String>,
}

/// Compiles graphs.
pub trait Engine: Send + Sync {
    /// The name that `--engine` takes.
    fn name(&self) -> &'static str;

    /// What this engine is, for the manifest.
    fn info(&self) -> EngineInfo;

    /// The same without the hash of the library, which takes a while.
    fn brief(&self) -> EngineInfo {
        self.info()
    }

    /// What keeps the process of this engine in; `None` where it runs in this process.
    fn sealed(&self) -> Option<Sealed> {
        None
    }

    /// Compiles a graph whose operators are all of the standard domain.
    ///
    /// # Errors
    /// [`EngineError::Compile`] with what the engine said.
    fn compile(&self, graph: &Graph, options: &CompileOptions) -> Result<Box<dyn Executable>, EngineError>;

    /// Compiles a model file as its author wrote it, one input and one output.
    ///
    /// # Errors
    /// [`EngineError::File`]: this engine runs no files, or refuses this one.
    fn compile_file(&self, file: &OwnFile) -> Result<Box<dyn Executable>, EngineError>;
}

/// A compiled graph.
pub trait Executable: Send + Sync {
    /// Runs the graph. Inputs and results are positional, in the order of `graph.inputs()` and `graph.outputs()`.
    ///
    /// # Errors
    /// [`EngineError::Inputs`] when a tensor does not fit, [`EngineError::Memory`] when a smaller batch may help,
    /// [`EngineError::Run`] otherwise.
    fn run(&self, inputs: &[&Buffer]) -> Result<Vec<Buffer>, EngineError>;

    /// Runs every row alone, as a batch of one, and puts the results one above the other. Inputs that have the batch as leading
    /// extent have as many rows as there are runs; the others are the same in every run.
    ///
    /// # Errors
    /// As for [`Executable::run`]; also where no input has the batch as leading extent, or a result is a scalar.
    fn run_each(&self, inputs: &[&Buffer]) -> Result<Vec<Buffer>, EngineError>;

    /// Brings a tensor to where the graph runs. On the CPU this copies once; `Buffer::from(tensor)` copies nothing.
    ///
    /// # Errors
    /// [`EngineError::Copy`] or [`EngineError::Memory`] when the device does not take it.
    fn upload(&self, tensor: &Tensor) -> Result<Buffer, EngineError>;
}
