//! `flatscape landscape`: the landscape around one image, for several models on one scale.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use flatscape_audit::audit::{Execution, run};
use flatscape_audit::landscape::{self, Directions, Height, Landscapes, Samples};
use flatscape_audit::plan::Plan;
use flatscape_audit::profiles;
use flatscape_audit::stored::Stored;
use flatscape_intake::model::ModelRequest;
use flatscape_measure::threats::ThreatModel;
use flatscape_views::{Look, terminal};
use serde_json::json;

use super::audit::{command_line, intake};
use super::landscape_weights;
use crate::failure::Failure;
use crate::options::{DataOptions, EngineOptions, IntakeOptions, PluginOptions};
use crate::output::say;
use crate::progress::Bar;
use crate::signals::Interruption;

/// Draw the landscape around one image, or around the weights, for several models.
#[derive(Args, Debug)]
pub struct Landscape {
    /// ONNX files, or names of models that come with the program
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    intake: IntakeOptions,
    /// The image, by its position in the data set; landscapes over weights are over all images
    #[arg(long, value_name = "I")]
    sample: Option<usize>,
    /// likelihood (log p, with the loss beside it), loss-input (the loss, which every model has) or loss-weights (the loss around the
    /// weights)
    #[arg(long, default_value = "likelihood", value_name = "KIND")]
    kind: String,
    /// random (two orthogonal sign vectors), fgsm (the FGSM direction and an orthogonal random one), attack:ATTACK (from the image to
    /// the attack's point) or attack:ATTACK,ATTACK; of weights random (normal, scaled filter by filter), to:MODEL[:line|bezier|chain] or
    /// trajectory:FILE,FILE (the files before the model)
    #[arg(long, default_value = "random", value_name = "DIRECTIONS")]
    directions: String,
    /// The threat model of attacks, whose radius is the usual half width of the grid
    #[arg(long, value_name = "THREAT")]
    threat: Option<String>,
    /// From:to:points along each direction: -8/255:8/255:41 around an image, where points must be odd, -1:1:51 of weights
    #[arg(long, value_name = "A:B:G", allow_hyphen_values = true)]
    grid: Option<String>,
    /// Seed of the directions
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    plugins: PluginOptions,
    /// Print the landscapes as characters, too; in colours on a terminal, unless NO_COLOR is set
    #[arg(long)]
    terminal: bool,
    /// The directory for surfaces and pictures
    #[arg(long, default_value = "flatscape-landscape", value_name = "DIR")]
    out: PathBuf,
}

impl Landscape {
    /// The threat model and the landscapes around an image.
    fn around_an_image(&self) -> Result<(ThreatModel, Landscapes), Failure> {
        let heights = [Height::Likelihood, Height::LossInput];
        let Some(height) = heights.into_iter().find(|height| height.name() == self.kind) else {
            let names = heights.map(Height::name).join(", ");
            return Err(Failure::usage(format!("there are no {:?} landscapes; there are {names}, loss-weights", self.kind)));
        };
        let sample = self.sample.ok_or_else(|| Failure::usage("name the image: --sample I"))?;
        let directions = Directions::parse(&self.directions)?;
        let threat = match (&self.threat, &self.grid) {
            (Some(threat), _) => ThreatModel::parse(threat, false)?,
            (None, Some(_)) if !directions.follow_attacks() => ThreatModel::parse("linf:0", false)?,
            (None, _) => profiles::default_threat(&self.data.data)?,
        };
        let grid =
            self.grid.as_deref().map(landscape::Grid::parse).transpose()?.unwrap_or_else(|| landscape::Grid::around(threat.eps));
        Ok((threat, Landscapes { height, samples: Samples::One(sample), directions: vec![directions], grid }))
    }

    /// Draws the landscapes; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let (threat, landscapes, metrics) = if self.kind == landscape_weights::KIND {
            let request = landscape_weights::request(&self.directions, self.grid.as_deref())?;
            (ThreatModel::parse("linf:0", false)?, None, vec![request])
        } else {
            let (threat, landscapes) = self.around_an_image()?;
            (threat, Some(landscapes), Vec::new())
        };
        let intake = intake(&self.intake)?;
        let plan = Plan {
            models: self.models.iter().map(|m| ModelRequest { source: m.clone(), intake: intake.clone() }).collect(),
            data: self.data.request()?,
            threats: vec![threat],
            attacks: Vec::new(),
            metrics,
            landscapes,
            only_landscapes: true,
            seed: self.seed,
            batch_size: None,
            shard_size: 1,
            workers: 1,
            command: command_line(),
            options: json!({ "intake": intake, "threads": self.engine.threads }),
            requirements: Vec::new(),
            claims: Vec::new(),
            canaries: false,
            bounds: false,
            sources: Vec::new(),
            of_profile: Vec::new(),
        };
        let (engine, plugins) = (self.engine.open()?, self.plugins.load()?);
        let interruption = Interruption::listen();
        let execution = Execution {
            out: self.out.clone(),
            resume: true,
            engines: self.engine.settings(),
            worker: (PathBuf::new(), Vec::new()),
            required: Vec::new(),
        };
        let ending = run(&plan, &execution, &engine, &plugins, &mut Bar::new(true), &interruption.asked)?;
        if ending.interrupted {
            return Ok(interruption.exit_code());
        }
        if let Some(fault) = ending.faults.first() {
            return Err(fault.clone().into());
        }
        self.say()?;
        Ok(0)
    }
}

impl Landscape {
    /// Prints the paths of the files and, with --terminal, the landscapes.
    fn say(&self) -> Result<(), Failure> {
        let folder = self.out.join("landscapes");
        let entries = std::fs::read_dir(&folder).map_err(Failure::output)?;
        let mut paths: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>().map_err(Failure::output)?;
        paths.sort();
        paths.iter().for_each(|path| say!("{}", path.display()));
        if self.terminal {
            let surfaces = landscape::surfaces(&Stored::open(&self.out)?)?;
            say!("{}", terminal(&surfaces, columns(), look()).trim_end());
        }
        Ok(())
    }
}

/// Colours where a terminal shows them and NO_COLOR (no-color.org) is not set.
fn look() -> Look {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !unwanted { Look::Coloured } else { Look::Plain }
}

/// Characters per line: what `COLUMNS` says, else 120.
fn columns() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0).unwrap_or(120)
}
