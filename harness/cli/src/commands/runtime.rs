//! `flatscape runtime`: ONNX Runtime, installed and found.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use flatscape_engine::{Device, Settings, runtime};

use super::doctor::places;
use crate::failure::Failure;
use crate::output::say;

/// ONNX Runtime: install, status.
#[derive(Args, Debug)]
pub struct Runtime {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Fetch the pinned library with uv or pip into the data directory, and check its hash
    Install {
        /// The GPU package, for the CUDA provider
        #[arg(long)]
        cuda: bool,
    },
    /// Which library is used and why, and every place that was searched
    Status {
        /// Check this library first
        #[arg(long, value_name = "FILE")]
        ort_lib: Option<PathBuf>,
        /// Look for a library that has the CUDA provider
        #[arg(long)]
        cuda: bool,
    },
}

impl Runtime {
    /// Installs or shows ONNX Runtime; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        match self.action {
            Action::Install { cuda } => {
                let installed = runtime::install(&runtime::default_data_dir(), cuda).map_err(Failure::engine)?;
                let from = &installed.provenance;
                let how = if installed.already { "was there already" } else { "installed" };
                say!("{} {} {how}: {}", from.package, from.version, installed.library.display());
                say!("from {} (sha256 {}) by {}", from.wheel, from.sha256, from.installer);
                if let Some(note) = installed.note {
                    say!("{note}");
                }
                Ok(0)
            }
            Action::Status { ort_lib, cuda } => {
                let device = if cuda { Device::Cuda(0) } else { Device::Cpu };
                let status = runtime::status(&Settings { library: ort_lib, device, ..Settings::default() });
                say!("{}", status.verdict());
                places(&status).iter().for_each(|line| say!("{line}"));
                Ok(if status.problem.is_some() { 6 } else { 0 })
            }
        }
    }
}
