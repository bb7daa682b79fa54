//! `flatscape worker`: computes open jobs of a run directory, one after the other, beside other workers. What is loaded and
//! compiled is kept over many jobs.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use flatscape_audit::compute::Workshop;
use flatscape_audit::directory::Directory;
use flatscape_audit::execute::work;
use flatscape_audit::stored::Stored;

use crate::failure::Failure;
use crate::options::{EngineOptions, PluginOptions};
use crate::signals::Interruption;

/// Compute open jobs of a run directory, beside other workers.
#[derive(Args, Debug)]
pub struct Worker {
    /// The run directory
    #[arg(value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    plugins: PluginOptions,
    /// Stop when the standard input ends: for a process that starts workers of its own
    #[arg(long, hide = true)]
    attached: bool,
}

impl Worker {
    /// Computes jobs until none is open or an interruption comes; one that is attached, until the process that started it closes
    /// its end.
    pub fn run(self) -> Result<u8, Failure> {
        let interruption = Interruption::listen_quietly();
        let stop = interruption.asked.clone();
        if self.attached {
            let ended = stop.clone();
            std::thread::spawn(move || {
                // whatever ends the input, the parent has nothing more to say
                let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
                ended.store(true, Ordering::Relaxed);
            });
        }
        let stored = Stored::within(Directory::of_parent(&self.run)?)?;
        let (engine, plugins) = (self.engine.open()?, self.plugins.load()?);
        let settings = self.engine.settings();
        let workshop = Workshop::new(&stored.jobs, &engine, &settings, &plugins, &stored.directory);
        work(&workshop, &stored.jobs, &mut std::io::stdout().lock(), &stop)?;
        // a parent asks its workers to stop, and a user wants to know whether all is done
        let interrupted = !self.attached && stop.load(Ordering::Relaxed);
        Ok(if interrupted { interruption.exit_code() } else { 0 })
    }
}
