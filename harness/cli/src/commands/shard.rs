//! `flatscape shard`: one shard from its description file, alone; the same bytes as in the audit that wrote the description.

use std::path::PathBuf;

use clap::Args;
use flatscape_audit::job::Description;
use flatscape_intake::files;
use flatscape_intake::refusal::Refusal;

use crate::failure::Failure;
use crate::options::{EngineOptions, PluginOptions};

/// Compute one shard from its description file, alone.
#[derive(Args, Debug)]
pub struct ShardCommand {
    /// A description: `shards/….json` of a run directory
    #[arg(value_name = "FILE")]
    description: PathBuf,
    /// Where the result goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    plugins: PluginOptions,
}

impl ShardCommand {
    /// Runs it.
    pub fn run(self) -> Result<u8, Failure> {
        let description = files::read(&self.description, 1 << 24)
            .map_err(|e| Refusal::usage(102, format!("the description of the shard: {e}")))?;
        let engine = self.engine.open()?;
        let plugins = self.plugins.load()?;
        let findings = Description::compute(&description.bytes, engine.as_ref(), &plugins)?;
        let bytes = findings.encode().map_err(Failure::output)?;
        files::publish(&self.out, &bytes)?;
        Ok(0)
    }
}
