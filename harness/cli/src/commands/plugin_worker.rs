//! `flatscape plugin-worker`: the process in which plugin code runs. Started by the program itself.

use clap::Args;

use crate::failure::Failure;

/// The process in which plugin code runs.
#[derive(Args, Debug)]
pub struct PluginWorker {}

impl PluginWorker {
    /// Serves the program that started it until that one closes its end.
    pub fn run(self) -> Result<u8, Failure> {
        std::process::exit(if flatscape_host::worker_main() == std::process::ExitCode::SUCCESS { 0 } else { 2 })
    }
}
