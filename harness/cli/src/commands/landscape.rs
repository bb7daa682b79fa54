//! `flatscape landscape`: the ground around one image, for several models on one scale.

use std::path::PathBuf;

use clap::Args;

use flatscape_audit::directory::Directory;
use flatscape_audit::landscape::{self, Directions, Landscapes};
use flatscape_audit::profiles;
use flatscape_intake::model::ModelRequest;
use flatscape_intake::model::{self, Model, Read};
use flatscape_measure::prepared::Settings;
use flatscape_measure::threats::ThreatModel;
use serde_json::json;

use super::audit::{command_line, intake};
use crate::failure::Failure;
use crate::options::{DataOptions, EngineOptions, IntakeOptions, PluginOptions};

/// Draw the landscape around one image for several models.
#[derive(Args, Debug)]
pub struct Landscape {
    /// ONNX files, or names of models that come with the program
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    intake: IntakeOptions,
    /// The image, by its position in the data set
    #[arg(long, value_name = "I")]
    sample: usize,
    /// What is drawn; this version draws likelihood landscapes
    #[arg(long, default_value = "likelihood", value_name = "KIND")]
    kind: String,
    /// random (two orthogonal sign vectors) or fgsm (the FGSM direction and an orthogonal random one)
    #[arg(long, default_value = "random", value_name = "DIRECTIONS")]
    directions: String,
    /// From:to:points along each direction, for example -8/255:8/255:41; points must be odd
    #[arg(long, value_name = "A:B:G", allow_hyphen_values = true)]
    grid: Option<String>,
    /// Seed of the directions
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    plugins: PluginOptions,
    /// The directory for surfaces and pictures
    #[arg(long, default_value = "flatscape-landscape", value_name = "DIR")]
    out: PathBuf,
}

impl Landscape {
    /// Runs it.
    pub fn run(self) -> Result<u8, Failure> {
        if self.kind != "likelihood" {
            return Err(Failure::usage(format!(
                "this version draws no {:?} landscapes; it draws likelihood landscapes",
                self.kind
            )));
        }
        let directions = Directions::parse(&self.directions)?;
        let threat = match &self.grid {
            None => profiles::default_threat(&self.data.data)?,
            Some(_) => ThreatModel::parse("linf:0", false)?,
        };
        let grid =
            self.grid.as_deref().map(landscape::Grid::parse).transpose()?.unwrap_or_else(|| landscape::Grid::around(threat.eps));
        let data = self.data.request()?;
        let intake = intake(&self.intake)?;
        let requests: Vec<ModelRequest> =
            self.models.iter().map(|m| ModelRequest { source: m.clone(), intake: intake.clone() }).collect();
        let Read { models, dataset, .. } = model::read(&requests, &data)?;
        let engine = self.engine.open()?;
        let plugins = self.plugins.load()?;
        let models = models
            .into_iter()
            .map(|(_, native)| Model::fit(native?, &intake, &dataset, engine.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let settings = Settings { seed: self.seed, batch_size: 64 };
        let wanted = Landscapes { samples: landscape::Samples::One(self.sample), directions: vec![directions], grid };
        let surfaces = landscape::draw(&wanted, engine.as_ref(), &plugins, &models, &dataset, &threat, settings)
            .map_err(flatscape_intake::refusal::Refusal::from)?;
        let manifest = json!({
            "flatscape": env!("CARGO_PKG_VERSION"), "command": command_line(), "seed": self.seed, "engine": engine.info(),
            "data": { "name": dataset.name, "sha256": dataset.sha256 }, "sample": self.sample,
            "models": models.iter().map(|m| json!({ "name": m.name, "sha256": m.sha256 })).collect::<Vec<_>>(),
        });
        let bytes = serde_json::to_vec_pretty(&manifest).map_err(Failure::output)?;
        let directory = Directory::open(&self.out, &bytes, true)?;
        for path in landscape::write(&directory, &surfaces)? {
            println!("{}", self.out.join(path).display());
        }
        Ok(0)
    }
}
