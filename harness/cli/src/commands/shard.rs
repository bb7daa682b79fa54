//! `flatscape shard`: one job from its file, alone; the same bytes as in the audit that wrote the file.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use flatscape_audit::compute::{Kept, Unfinished, Workshop};
use flatscape_audit::directory::Directory;
use flatscape_audit::job::{Fault, Job};
use flatscape_audit::manifest::pretty;
use flatscape_audit::stored::Receipt;
use flatscape_intake::files;
use flatscape_intake::refusal::Refusal;

use crate::failure::Failure;
use crate::options::{EngineOptions, PluginOptions};

/// Compute one job from its file, alone.
#[derive(Args, Debug)]
pub struct ShardCommand {
    /// A job: a file of the folder `jobs` of a run directory
    #[arg(value_name = "FILE")]
    job: PathBuf,
    /// Where the result goes; its receipt goes beside it, as NAME.receipt.json
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    plugins: PluginOptions,
}

impl ShardCommand {
    /// The path of the result with another ending than `.npz`.
    fn beside(&self, ending: &str) -> PathBuf {
        let whole = self.out.extension().is_none_or(|extension| extension != "npz");
        let mut path = if whole { self.out.clone() } else { self.out.with_extension("") }.into_os_string();
        path.push(ending);
        path.into()
    }

    /// Computes the job and writes its result; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let file = files::read(&self.job, 1 << 24).map_err(|e| Refusal::usage(102, format!("the job file: {e}")))?;
        let job = Job::parse(&file.bytes)?;
        let (engine, plugins) = (self.engine.open()?, self.plugins.load()?);
        let settings = self.engine.settings();
        // a job that reads other results finds them in the run directory that its file lies in
        let run = self.job.parent().and_then(Path::parent).filter(|_| !job.after.is_empty());
        let scratch = tempfile::tempdir().map_err(Failure::output)?;
        let directory = match run {
            Some(run) => Directory::of_parent(if run.as_os_str().is_empty() { Path::new(".") } else { run })?,
            None => Directory::to_write(scratch.path())?,
        };
        let workshop = Workshop::new(std::slice::from_ref(&job), &engine, &settings, &plugins, &directory);
        let never = AtomicBool::new(false);
        let computed = workshop.compute(&mut Kept::default(), &job, &mut |_, _| {}, &never).map_err(|end| match end {
            Unfinished::Refused(refusal) => refusal,
            Unfinished::Stopped => Refusal::state(108, "the job was asked to stop"),
        })?;
        let bytes = computed.findings.encode().map_err(Failure::output)?;
        if let Some(folder) = self.out.parent() {
            std::fs::create_dir_all(folder).map_err(Failure::output)?;
        }
        files::publish(&self.out, &bytes)?;
        if let Some(refusal) = &computed.fault {
            let fault = Fault { job: job.hash()?, refusal: refusal.clone() };
            files::publish(&self.beside(".fault.json"), &pretty(&fault)?)?;
        }
        // what vouches for the result, as in a run directory: an audit with --jobs 0 takes no result without
        files::publish(&self.beside(".receipt.json"), &pretty(&Receipt::of(&job, &bytes)?)?)?;
        match computed.fault {
            Some(refusal) => Err(refusal.into()),
            None => Ok(0),
        }
    }
}
