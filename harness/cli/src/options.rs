//! Options that several commands share, and what they mean to the crates below.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use flatscape_engine::{Choice, Device, Engine, EngineError, EngineProcess, Settings, open, runtime};
use flatscape_host::{Plugins, Search, WorkerCommand};
use flatscape_intake::data::{self, Split};
use flatscape_intake::files::Limits;
use flatscape_intake::model::{Intake, Task};
use flatscape_intake::refusal::Refusal;

use crate::failure::Failure;
use crate::help;
use crate::output::remark;

/// An engine, or why there is none.
type Opened = Result<Arc<dyn Engine>, EngineError>;

/// Set by `--no-sandbox`.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Workers do not shut themselves in from now on.
pub fn no_sandbox() {
    OPEN.store(true, Ordering::Relaxed);
}

/// Whether workers shut themselves in.
pub fn sandbox() -> bool {
    !OPEN.load(Ordering::Relaxed)
}

/// The process in which engines run: this program again. Without a path to it the engine runs in this process.
pub fn engine_process() -> Option<EngineProcess> {
    match EngineProcess::this_program(sandbox()) {
        Ok(process) => Some(process),
        Err(e) => {
            remark!("note: the path of this program is unknown ({e}), so the engine runs without a process of its own");
            None
        }
    }
}

/// Which engine runs the graphs.
#[derive(Args, Clone, Debug)]
pub struct EngineOptions {
    /// What runs the graphs
    #[arg(long, default_value = "auto", value_name = "ENGINE", help = help::engines())]
    pub engine: Choice,
    /// cpu, cuda or cuda:1
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub device: Device,
    /// Threads on the CPU; 0 means one per core
    #[arg(long, default_value_t = 0, value_name = "K", value_parser = threads)]
    pub threads: usize,
    /// The ONNX Runtime library to load
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,
    /// No special forms of layers: attacks and metrics compute as the judge does, operator by operator
    #[arg(long)]
    pub plain: bool,
}

/// A number of threads that this machine can use.
fn threads(text: &str) -> Result<usize, String> {
    /// On any machine.
    const USUAL: usize = 256;
    let most = std::thread::available_parallelism().map_or(USUAL, |cores| USUAL.max(4 * cores.get()));
    match text.parse::<usize>() {
        Ok(threads) if threads <= most => Ok(threads),
        Ok(threads) => Err(format!("{threads} threads are more than this machine can use; {most} are possible")),
        Err(e) => Err(e.to_string()),
    }
}

impl EngineOptions {
    /// As the engine crate takes it.
    pub fn settings(&self) -> Settings {
        Settings {
            choice: self.engine,
            device: self.device,
            threads: self.threads,
            library: self.ort_lib.clone(),
            plain: self.plain,
            data_dir: runtime::default_data_dir(),
            process: engine_process(),
        }
    }

    /// The same options as words of a command line, for a worker: one of several shares the threads with the others.
    pub fn arguments(&self, workers: usize) -> Vec<String> {
        let threads = match self.threads {
            0 => self.settings().thread_count().div_ceil(workers.max(1)),
            threads => threads,
        };
        let mut words = vec!["--engine".to_owned(), self.engine.name().to_owned()];
        words.extend(["--device".to_owned(), self.device.to_string(), "--threads".to_owned(), threads.to_string()]);
        words.extend((!sandbox()).then(|| "--no-sandbox".to_owned()));
        words.extend(self.plain.then(|| "--plain".to_owned()));
        if let Some(library) = &self.ort_lib {
            words.extend(["--ort-lib".to_owned(), library.display().to_string()]);
        }
        words
    }

    /// Every engine there is, each opened or with the reason why not.
    pub fn all(&self) -> [(&'static str, Opened); 2] {
        let one = |choice| open(&Settings { choice, ..self.settings() });
        [("ort", one(Choice::Ort)), ("tract", one(Choice::Tract))]
    }

    /// Opens the engine.
    pub fn open(&self) -> Result<Arc<dyn Engine>, EngineError> {
        open(&self.settings())
    }
}

/// Where plugins come from.
#[derive(Args, Clone, Debug, Default)]
pub struct PluginOptions {
    /// A plugin file, in addition to those beside the program and in FLATSCAPE_PLUGIN_PATH
    #[arg(long = "plugin", value_name = "FILE")]
    pub plugins: Vec<PathBuf>,
    /// Accept plugin files that others may write (in containers)
    #[arg(long)]
    pub insecure_plugin_perms: bool,
    /// Load plugins into this process, for debugging: a crash of a plugin is then a crash of the audit
    #[arg(long)]
    pub in_process_plugins: bool,
}

impl PluginOptions {
    /// The same options as words of a command line, for a worker.
    pub fn arguments(&self) -> Vec<String> {
        let files = self.plugins.iter().flat_map(|file| ["--plugin".to_owned(), file.display().to_string()]);
        let mut words: Vec<String> = files.collect();
        words.extend(self.insecure_plugin_perms.then(|| "--insecure-plugin-perms".to_owned()));
        words.extend(self.in_process_plugins.then(|| "--in-process-plugins".to_owned()));
        words
    }

    /// Finds and loads them.
    pub fn load(&self) -> Result<Plugins, Failure> {
        let search = Search { insecure_permissions: self.insecure_plugin_perms, ..Search::from_environment(&self.plugins) };
        let worker = if self.in_process_plugins { WorkerCommand::in_process() } else { plugin_worker()? };
        let plugins = Plugins::discover(&search, &worker);
        // A file that the user named must load; one that was merely found is reported, and the others are used.
        for refused in plugins.refused() {
            if refused.plugin.as_ref().is_some_and(|file| self.named(file)) {
                return Err(refused.clone().into());
            }
            remark!("note: {refused}");
        }
        Ok(plugins)
    }

    fn named(&self, file: &std::path::Path) -> bool {
        self.plugins.iter().any(|named| named == file || named.canonicalize().is_ok_and(|named| named == file))
    }
}

/// The process in which plugin code runs: this program again.
pub fn plugin_worker() -> Result<WorkerCommand, Failure> {
    // what a plugin leaves behind becomes a child of this program, which ends it
    flatscape_contain::adopt_orphans();
    let worker = WorkerCommand::this_program();
    let mut worker = worker.map_err(|e| Failure::output(format!("the path of this program is unknown: {e}")))?;
    worker.sandbox = sandbox();
    Ok(worker)
}

/// The labelled images.
#[derive(Args, Clone, Debug)]
pub struct DataOptions {
    /// A name or a path
    #[arg(long, value_name = "DATA", help = help::data())]
    pub data: String,
    /// The folder of data sets that is searched first
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The first N images in canonical order; all of them if absent
    #[arg(short, value_name = "N")]
    pub n: Option<usize>,
    /// test or train
    #[arg(long, default_value = "test", value_name = "SPLIT")]
    pub split: String,
    /// Accept fewer images than -n requests
    #[arg(long)]
    pub allow_fewer: bool,
    /// Leave out the images of a folder that cannot be read, and count them
    #[arg(long)]
    pub skip_unreadable: bool,
    /// Added to every label, for models with a background class
    #[arg(long, default_value_t = 0, value_name = "K", allow_hyphen_values = true)]
    pub label_offset: i64,
}

impl DataOptions {
    /// As `intake` takes it.
    pub fn request(&self) -> Result<data::Request, Refusal> {
        let split = Split::parse(&self.split)
            .ok_or_else(|| Refusal::usage(91, format!("{:?} is not a split", self.split)).help("there are test and train"))?;
        Ok(data::Request {
            data: self.data.clone(),
            split,
            data_dir: self.data_dir.clone(),
            limit: self.n,
            allow_fewer: self.allow_fewer,
            label_offset: self.label_offset,
            skip_unreadable: self.skip_unreadable,
            matching: None,
            preparation: None,
        })
    }
}

/// How pixels are fed to the models: `(scale·x − mean)/std` for x in [0,1], in their layout.
#[derive(Args, Clone, Debug, Default)]
pub struct IntakeOptions {
    /// 1 for models that expect [0,1], 255 for models that expect 0..255
    #[arg(long, value_name = "S")]
    pub scale: Option<String>,
    /// Per channel, or one for all
    #[arg(long, value_name = "M,M,M", allow_hyphen_values = true)]
    pub mean: Option<String>,
    /// Per channel, or one for all
    #[arg(long, value_name = "S,S,S")]
    pub std: Option<String>,
    /// How pixels lie in the input
    #[arg(long, value_name = "LAYOUT", help = help::layouts())]
    pub layout: Option<String>,
    /// The channels that the model is fed: rgb, bgr (mean and std are then in that order, too) or gray; converts between grey and colour
    #[arg(long, value_name = "CHANNELS")]
    pub channels: Option<String>,
    /// Feed 1 − x for every pixel x, dark for light
    #[arg(long)]
    pub invert: bool,
    /// Keep the middle square before resizing: its edge over the shorter edge of the image, for example 224/256
    #[arg(long, value_name = "SHARE")]
    pub square: Option<String>,
    /// How classes of the data become those of the model: name, number or position; found out if absent
    #[arg(long, value_name = "HOW")]
    pub match_classes: Option<String>,
    /// Resize 8-bit images before anything else, as Pillow does: HEIGHTxWIDTH or the shorter edge, then the filter (bilinear)
    #[arg(long, value_name = "SIZE[:FILTER]")]
    pub resize: Option<String>,
    /// Keep the middle of the resized images
    #[arg(long, value_name = "HEIGHTxWIDTH")]
    pub crop: Option<String>,
    /// Remedies for hazards
    #[arg(long, value_name = "R,R", default_value = "", hide_default_value = true, help = help::remedies())]
    pub remedy: String,
    #[command(flatten)]
    pub reading: ReadingOptions,
}

/// What the inputs and outputs of a model mean.
#[derive(Args, Clone, Debug, Default)]
pub struct ReadingOptions {
    /// The output that holds the classes, if the model has several
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// classes (one of several is right, also behind sigmoids) or binary (one number decides between 0 and 1)
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// The value of an input that is not an image, for example keep_prob=1; may be repeated
    #[arg(long = "input", value_name = "NAME=NUMBER")]
    pub inputs: Vec<String>,
    #[command(flatten)]
    pub limits: LimitOptions,
}

impl ReadingOptions {
    /// As `intake` takes it, with nothing stated about pixels.
    pub fn intake(&self) -> Result<Intake, Refusal> {
        Ok(Intake {
            output: self.output.clone(),
            task: self.task.as_deref().map(Task::parse).transpose()?,
            inputs: self.inputs.iter().map(|text| Intake::parse_input(text)).collect::<Result<_, _>>()?,
            limits: self.limits.limits(),
            ..Intake::default()
        })
    }
}

/// Limits of a model file.
#[derive(Args, Clone, Debug, Default)]
pub struct LimitOptions {
    /// The largest model file, and the most that weights beside it may have in all; 2 GiB and 4 GiB if absent
    #[arg(long, value_name = "BYTES")]
    pub max_model_bytes: Option<u64>,
    /// Accept weights in files with several names (hard links)
    #[arg(long)]
    pub allow_hardlinks: bool,
}

impl LimitOptions {
    /// As `intake` takes it.
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            model_bytes: self.max_model_bytes.unwrap_or(usual.model_bytes),
            weight_bytes: self.max_model_bytes.unwrap_or(usual.weight_bytes),
            hard_links: self.allow_hardlinks,
        }
    }
}
