//! The commands: one file and one row each.

mod audit;
mod compare;
mod completions;
mod demo;
mod doctor;
mod engine_worker;
mod grad;
mod inspect;
mod landscape;
mod landscape_weights;
mod models;
mod plugin_worker;
mod plugins;
mod report;
mod runtime;
mod shard;
mod train;
mod verify;
mod worker;

use clap::Subcommand;

use crate::failure::Failure;

/// What the program prints without a command.
pub const FIRST_PAGE: &str = "\
flatscape audits image classifiers in ONNX files: attacks, verified results, flatness around predictions.

  flatscape demo                                        try it on the models and images that come with it
  flatscape inspect model.onnx                          what a file is, and what an audit would need to know
  flatscape audit model.onnx --data images/             attack, verify, measure, report
  flatscape audit model.onnx --data cifar10 -n 1000 --threat linf:8/255 --attack pgd:steps=50
  flatscape train model.onnx --data fashion-mnist --trainer adversarial -o robust.onnx
  flatscape plugins list                                the attacks, metrics and trainers that can be used
  flatscape doctor                                      what is used and why, and what is missing

flatscape help COMMAND explains a command, flatscape --help lists them all.";

/// The commands, in the order of the help.
#[derive(Subcommand)]
pub enum Command {
    /// Audit the models and images that come with the program
    Demo(demo::Demo),
    /// Inputs, outputs, opset, layout, operators, gradient coverage, hazards of a model
    Inspect(inspect::Inspect),
    /// Write the gradient of a model as a standard ONNX file
    Grad(grad::Grad),
    /// Attack models, check every result, measure flatness, write a report
    Audit(audit::Audit),
    /// Draw the landscape around one image for several models
    Landscape(landscape::Landscape),
    /// Train a model further, with a trainer from a plugin, and write it as an ONNX file
    Train(train::Train),
    /// Write the tables and pages of a run again, from its directory alone
    Report(report::Report),
    /// Check every stored adversarial example, every hash and every table of a run again
    Verify(verify::Verify),
    /// Compare finished runs with each other or with a baseline
    Compare(compare::Compare),
    /// Attacks, metrics, trainers, optimizers: list, show, check, new, emit
    Plugins(plugins::PluginsCommand),
    /// Architectures and models: list, new
    Models(models::Models),
    /// ONNX Runtime: install, status
    Runtime(runtime::Runtime),
    /// Report which engine, library and plugins are used and why, and what is missing
    Doctor(doctor::Doctor),
    /// Compute one job from its file, alone
    Shard(shard::ShardCommand),
    /// Compute open jobs of a run directory, beside other workers
    Worker(worker::Worker),
    /// Print the completions of a shell: bash, zsh, fish, …
    Completions(completions::Completions),
    /// Print the man page, or write one page per command
    Man(completions::Man),
    /// The process in which plugin code runs
    #[command(hide = true)]
    PluginWorker(plugin_worker::PluginWorker),
    /// The process in which an engine runs
    #[command(hide = true)]
    EngineWorker(engine_worker::EngineWorker),
}

impl Command {
    /// Runs the command; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        match self {
            Command::Demo(c) => c.run(),
            Command::Inspect(c) => c.run(),
            Command::Grad(c) => c.run(),
            Command::Audit(c) => c.run(),
            Command::Landscape(c) => c.run(),
            Command::Train(c) => c.run(),
            Command::Report(c) => c.run(),
            Command::Verify(c) => c.run(),
            Command::Compare(c) => c.run(),
            Command::Plugins(c) => c.run(),
            Command::Models(c) => c.run(),
            Command::Runtime(c) => c.run(),
            Command::Doctor(c) => c.run(),
            Command::Shard(c) => c.run(),
            Command::Worker(c) => c.run(),
            Command::Completions(c) => c.run(),
            Command::Man(c) => c.run(),
            Command::PluginWorker(c) => c.run(),
            Command::EngineWorker(c) => c.run(),
        }
    }
}
