//! `flatscape demo`: an audit of the models and images that come with the program, on the embedded engine.

use std::path::PathBuf;

use clap::Args;
use flatscape_audit::landscape::{Grid, Landscapes};
use flatscape_audit::plan::Plan;
use flatscape_engine::Choice;
use flatscape_intake::data;
use flatscape_intake::model::ModelRequest;
use flatscape_intake::model::{Intake, SHIPPED, TRAINED_HERE};
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;

use super::audit::{Wanted, command_line, finish};
use crate::failure::Failure;
use crate::options::{EngineOptions, PluginOptions};

/// Audit the models and images that come with the program.
#[derive(Args, Debug)]
pub struct Demo {
    /// The run directory; a new one beside earlier ones if absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Demo {
    /// Runs the demo; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let options = EngineOptions {
            engine: Choice::Tract,
            device: flatscape_engine::Device::Cpu,
            threads: 0,
            ort_lib: None,
            plain: false,
        };
        let engine = options.open()?;
        let plugins = PluginOptions::default().load()?;
        let plan = Plan {
            models: SHIPPED[..TRAINED_HERE]
                .iter()
                .map(|s| ModelRequest { source: s.name.to_owned(), intake: Intake::default() })
                .collect(),
            data: data::Request::new("digits"),
            threats: vec![ThreatModel::parse("linf:0.1", false)?],
            attacks: vec![Request::parse("fgsm")?, Request::parse("pgd:steps=20")?],
            metrics: vec![Request::parse("phi:grid=11,directions=1")?, Request::parse("ams")?, Request::parse("logp")?],
            landscapes: Some(Landscapes { grid: Grid { extent: Some(0.4), points: 41 }, ..Landscapes::of_audit(1) }),
            only_landscapes: false,
            seed: 0,
            batch_size: None,
            shard_size: 500,
            workers: 1,
            command: command_line(),
            options: serde_json::Value::Null,
            requirements: Vec::new(),
            claims: Vec::new(),
            canaries: false,
            bounds: false,
            sources: Vec::new(),
            of_profile: Vec::new(),
        };
        let wanted = Wanted { out: self.out.unwrap_or_else(fresh), resume: false, requirements: Vec::new(), json: false };
        finish(&plan, &wanted, &options, &PluginOptions::default(), &engine, &plugins)
    }
}

/// `flatscape-demo`, or the first of `flatscape-demo-2`, … that is not there yet.
fn fresh() -> PathBuf {
    let numbered = (2..).map(|k| PathBuf::from(format!("flatscape-demo-{k}")));
    let mut names = std::iter::once(PathBuf::from("flatscape-demo")).chain(numbered);
    names.find(|p| !p.exists()).unwrap_or_else(|| PathBuf::from("flatscape-demo"))
}
