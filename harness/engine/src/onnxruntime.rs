//! ONNX Runtime through its C API: the CPU provider with several sessions of one thread, and the CUDA provider.
//!
//! The only file that speaks to `ort`. A process holds one library and one environment; both stay until it ends.

mod cpu;
mod cuda;
mod own;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flatscape_graph::Graph;
use flatscape_graph::hash::Sha256;
use flatscape_graph::onnx::OwnFile;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};

use crate::engine::{CompileOptions, Device, Engine, EngineInfo, Executable, Settings};
use crate::library::{self, Finding, Place};
use crate::signature::Signature;
use crate::workers::Workers;
use crate::{EngineError, lower, rows};
use own::Shared;

/// What `--engine` takes.
pub(crate) const NAME: &str = "ort";

pub(crate) fn open(settings: &Settings) -> Result<Arc<dyn Engine>, EngineError> {
    let place = library::wanted(settings)?.ok_or_else(|| {
        let looked: Vec<String> = library::search(settings).iter().map(Place::to_string).collect();
        EngineError::LibraryMissing { looked: looked.join("; ") }
    })?;
    let environment = environment(&place)?;
    let workers = Arc::new(Workers::start(NAME, settings.thread_count())?);
    let (device, plain) = (settings.device, settings.plain);
    let runtime = Runtime { environment, place, device, plain, workers, hash: Arc::default() };
    if let Device::Cuda(index) = settings.device {
        cuda::probe(&runtime, index)?;
    }
    Ok(Arc::new(runtime))
}

/// An open library and the device on which its sessions run.
#[derive(Clone)]
pub(crate) struct Runtime {
    environment: Environment,
    place: Place,
    device: Device,
    /// Whether special forms of layers are switched off.
    plain: bool,
    workers: Arc<Workers>,
    /// SHA-256 of the library, once it was computed.
    hash: Arc<OnceLock<Option<String>>>,
}

impl Engine for Runtime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn info(&self) -> EngineInfo {
        let library_sha256 = self.hash.get_or_init(|| sha256(&self.place.path)).clone();
        EngineInfo { library_sha256, ..self.brief() }
    }

    fn brief(&self) -> EngineInfo {
        let version = match &self.place.finding {
            Finding::Usable { version: Some(version) } => version.clone(),
            _ => build_version(),
        };
        let (providers, options) = match self.device {
            Device::Cpu => (vec!["CPUExecutionProvider".to_owned()], BTreeMap::new()),
            Device::Cuda(index) => (vec!["CUDAExecutionProvider".to_owned()], cuda::options(index)),
        };
        let plain = self.plain.then(|| ("plain".to_owned(), "1".to_owned()));
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        EngineInfo {
            name: NAME.to_owned(),
            version,
            library: Some(self.place.path.clone()),
            library_sha256: None,
            origin: self.place.origin.to_owned(),
            device: self.device.to_string(),
            providers,
            threads: self.workers.threads(),
            options: SESSION_OPTIONS.iter().map(owned).chain(options).chain(plain).collect(),
        }
    }

    fn compile(&self, graph: &Graph, options: &CompileOptions) -> Result<Box<dyn Executable>, EngineError> {
        let graph = &*graph.with_plain_interface();
        let form = if self.device == Device::Cpu { NAME } else { "cuda" };
        let lowered = if options.lower { &lower::lower(graph, form, options.rows.filter(|_| !self.plain)) } else { graph };
        match self.device {
            Device::Cpu => {
                let (lighter, shared) = own::apart(lowered);
                let (cut, work) = (rows::Cut::by(graph, options), rows::multiplications(graph));
                cpu::compile(self, Signature::of(graph), cut, work, (flatscape_graph::onnx::write(&lighter).into(), shared))
            }
            Device::Cuda(index) => cuda::compile(self, graph, flatscape_graph::onnx::write(lowered), index),
        }
    }

    fn compile_file(&self, file: &OwnFile) -> Result<Box<dyn Executable>, EngineError> {
        let cannot = |clause: String| EngineError::File { engine: NAME, clause };
        match self.device {
            Device::Cpu => cpu::compile(self, Signature::of_file(file), None, 0, (file.bytes.clone(), Shared::default()))
                .map_err(|e| match e {
                    EngineError::Compile { reason, .. } => cannot(format!("cannot load it: {reason}")),
                    other => other,
                }),
            Device::Cuda(_) => Err(cannot("runs no file as it is on CUDA".to_owned())),
        }
    }
}

/// Options that every session has, as they are recorded.
///
/// The model format is stated because a session would otherwise accept another one. Threads wait for work while a run lasts and
/// sleep when it is over. Paddings are not fused into convolutions: where a padded value has other readers (in the Hessian of a
/// strided convolution in its weights), ONNX Runtime 1.31 leaves them without it and refuses its own graph.
const SESSION_OPTIONS: &[(&str, &str)] = &[
    ("session.load_model_format", "ONNX"),
    ("session.force_spinning_stop", "1"),
    ("optimization.disable_specified_optimizers", "Pad_Fusion"),
];

impl Runtime {
    /// A builder with the options that every session has.
    fn builder(&self, threads: usize, shared: &Arc<Shared>) -> ort::Result<SessionBuilder> {
        let mut builder = Session::builder(&self.environment)?
            .with_log_level(LogLevel::Fatal)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_auto_device(AutoDevicePolicy::PreferCPU)?
            .with_inter_threads(1)?
            .with_intra_threads(threads)?;
        for (key, value) in SESSION_OPTIONS {
            builder = builder.with_config_entry(key, value)?;
        }
        builder = builder.with_operators(own::domain(shared, threads)?)?;
        Ok(builder)
    }
}

/// The one environment of this process and the library it came from.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

fn environment(place: &Place) -> Result<Environment, EngineError> {
    let path = place.path.canonicalize().unwrap_or_else(|_| place.path.clone());
    let mut held = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = &*held {
        return if *loaded == path {
            Ok(environment.clone())
        } else {
            Err(EngineError::LibraryInUse { loaded: loaded.clone(), wanted: path })
        };
    }
    let refused = |reason: String| EngineError::LibraryRefused { path: path.clone(), origin: place.origin, reason };
    let builder = ort::init_from(&path).map_err(|e| refused(format!("cannot be loaded: {e}")))?;
    let environment =
        builder.with_name("flatscape").with_telemetry(false).build().map_err(|e| refused(format!("does not start: {e}")))?;
    environment.set_log_level(LogLevel::Fatal);
    *held = Some((path, environment.clone()));
    Ok(environment)
}

/// The version that the loaded library states about its build.
fn build_version() -> String {
    let text = ort::info();
    let branch = text.split_once("git-branch=").map(|(_, rest)| rest.split(',').next().unwrap_or(rest));
    branch.map_or_else(|| text.to_owned(), |branch| branch.trim_start_matches("rel-").to_owned())
}

/// Of a file, hexadecimal.
pub(crate) fn sha256(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut hash = Sha256::default();
    std::io::copy(&mut file, &mut hash).ok()?;
    Some(hash.text())
}
