//! `flatscape engine-worker`: the process in which an engine runs. Started by the program itself.

use clap::Args;

use crate::failure::Failure;
use crate::output::remark;

/// The process in which an engine runs.
#[derive(Args, Debug)]
pub struct EngineWorker {}

impl EngineWorker {
    /// Serves the program that started it until that one closes its end.
    pub fn run(self) -> Result<u8, Failure> {
        let ended = flatscape_engine::engine_worker_main() == std::process::ExitCode::SUCCESS;
        if !ended {
            remark!("this command is started by flatscape itself, with a connection to it as standard input");
        }
        std::process::exit(if ended { 0 } else { 2 })
    }
}
