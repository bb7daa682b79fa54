//! Lets a component of `weights/1` measure a model, and keeps what it gives as findings. Knows plugins by name.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_engine::{Engine, EngineError};
use flatscape_host::{Ascent, Given, Kind, Law, OracleError, Plugins, WeightFacts, Weights};
use flatscape_intake::data::Dataset;
use flatscape_intake::model::{Model, ModelRequest};
use flatscape_intake::random::{self, Place};
use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::Findings;
use flatscape_measure::prepared::{MeasureError, Settings, of_host, task};
use flatscape_measure::reduction::{CURVE, VALUE};
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;

use crate::space::{Ball, Space, SpaceError};

/// The beginning of the names of surfaces, [rows, columns], and of the coordinates of their columns and rows.
pub const SURFACE: &str = "surface_";
/// Coordinates of the columns of a surface.
pub const ALONG_X: &str = "grid_x_";
/// Coordinates of the rows of a surface.
pub const ALONG_Y: &str = "grid_y_";

/// What is measured.
pub struct Asked<'a> {
    /// Runs the graphs.
    pub engine: &'a dyn Engine,
    /// Offers the component.
    pub plugins: &'a Plugins,
    /// The model as it was accepted, and as it was requested.
    pub model: (&'a Model, &'a ModelRequest),
    /// The data.
    pub dataset: &'a Dataset,
    /// Which samples.
    pub range: Range<usize>,
    /// The component with its arguments.
    pub request: &'a Request,
    /// Radius and box.
    pub threat: &'a ThreatModel,
    /// The seed.
    pub settings: Settings,
}

/// Measures: `reduced_NAME` [4] (value, both ends of the interval, n), `curve_NAME` [2, points], `surface_NAME` [rows, columns] with
/// `grid_x_NAME` and `grid_y_NAME`.
///
/// # Errors
/// The model cannot be opened, the component fails, or [`MeasureError::Interrupted`].
#[expect(clippy::result_large_err, reason = "the error is that of the crate measure")]
pub fn measure(
    asked: &Asked,
    progress: &mut dyn FnMut(usize, usize),
    stop: &AtomicBool,
) -> Result<(Findings, Option<String>), MeasureError> {
    let (model, request) = asked.model;
    let component = asked.plugins.component(Kind::Metric, &asked.request.id).map_err(of_host)?;
    let arguments = component.arguments(&asked.request.arguments).map_err(of_host)?;
    let threat = asked.threat.on(model.shape);
    let ids: Vec<u64> = asked.range.clone().map(|id| id as u64).collect();
    let space = Space::open(asked.engine, model, request, asked.dataset, &ids, stop)?;
    let mut session = Session {
        space,
        component: component.id.clone(),
        seed: asked.settings.seed,
        range: (threat.lo, threat.hi),
        given: Vec::new(),
        refused: None,
        asked: 0,
        progress,
        stop,
    };
    let ran = asked.plugins.run_weights(component, &arguments, &task(model, asked.request, &threat), &mut session);
    if stop.load(Ordering::Relaxed) {
        return Err(MeasureError::Interrupted);
    }
    if let Some(refusal) = session.refused {
        return Err(refusal.into());
    }
    ran?;
    let unrecognised = session.space.unrecognised();
    let mut findings = Findings::default();
    for given in session.given {
        match given {
            Given::Value { name, value, low, high, n } => {
                findings.column(&format!("{VALUE}{name}"), vec![value, low, high, n as f64]);
            }
            Given::Curve { name, x, y } => findings.array(&format!("{CURVE}{name}"), &[2, x.len()], [x, y].concat())?,
            Given::Surface { name, x, y, z } => {
                findings.array(&format!("{SURFACE}{name}"), &[y.len(), x.len()], z)?;
                findings.column(&format!("{ALONG_X}{name}"), x);
                findings.column(&format!("{ALONG_Y}{name}"), y);
            }
        }
    }
    Ok((findings, unrecognised))
}

/// A model that a component asks.
struct Session<'a, 'p> {
    space: Space<'a>,
    component: String,
    seed: u64,
    range: (f32, f32),
    given: Vec<Given>,
    /// Why a question was refused, where that is neither the component's fault nor the engine's.
    refused: Option<Refusal>,
    asked: usize,
    progress: &'p mut dyn FnMut(usize, usize),
    stop: &'a AtomicBool,
}

impl Session<'_, '_> {
    /// The end of a question that the model has been asked.
    fn told<T>(&mut self, answer: Result<T, SpaceError>) -> Result<T, OracleError> {
        self.asked += 1;
        // how many questions there will be only the component knows
        (self.progress)(self.asked, 0);
        answer.map_err(|error| {
            let words = error.to_string();
            let refusal = match error {
                SpaceError::Interrupted => return OracleError::Stop,
                SpaceError::Differentiate(_) => Refusal::model(26, format!("{}: {words}", self.component)),
                SpaceError::Engine(EngineError::Died { .. }) => Refusal::engine(114, words.clone()),
                SpaceError::Engine(EngineError::Memory { .. }) => Refusal::engine(115, words.clone()),
                SpaceError::Engine(_) | SpaceError::Form(_) => Refusal::engine(110, words.clone()),
            };
            self.refused.get_or_insert(refusal);
            OracleError::Failed(words)
        })
    }
}

impl Weights for Session<'_, '_> {
    fn facts(&self) -> WeightFacts {
        let segments = &self.space.segments;
        WeightFacts {
            segments: segments.segments.clone(),
            parameters: segments.filters.len(),
            samples: self.space.samples,
            normalisation: segments.normalisation,
            seed: self.seed,
        }
    }

    fn theta(&self) -> Vec<f32> {
        self.space.theta()
    }

    fn filters(&self) -> Vec<i32> {
        self.space.segments.filters.clone()
    }

    fn loss(&mut self, theta: &[f32]) -> Result<[f64; 2], OracleError> {
        let answer = self.space.loss(theta);
        self.told(answer)
    }

    fn gradient(&mut self, theta: &[f32]) -> Result<(f64, Vec<f32>), OracleError> {
        let answer = self.space.gradient(theta);
        self.told(answer)
    }

    fn hvp(&mut self, theta: &[f32], v: &[f32]) -> Result<Vec<f32>, OracleError> {
        let answer = self.space.hvp(theta, v);
        self.told(answer)
    }

    fn attack(&mut self, theta: &[f32], ascent: Ascent) -> Result<(), OracleError> {
        let Ascent { eps, alpha, steps, go_on } = ascent;
        let answer = self.space.attack(theta, &Ball { eps, alpha, steps, go_on, range: self.range, seed: self.seed });
        self.told(answer)
    }

    fn refresh(&mut self, theta: Option<&[f32]>) -> Result<(), OracleError> {
        let answer = self.space.refresh(theta);
        self.told(answer)
    }

    /// Keyed by component, law, stream and index, not by the model: models of one architecture have the same directions.
    fn noise(&mut self, law: Law, stream: u32, index: u32) -> Result<Vec<f32>, OracleError> {
        let named = random::LAWS.iter().find(|(name, _)| *name == law.name()).map(|(_, law)| *law);
        let law = named.ok_or_else(|| OracleError::Failed(format!("there is no law {}", law.name())))?;
        let mut drawn = vec![0f32; self.space.segments.filters.len()];
        random::fill(law, Place::new(self.seed, &self.component, &format!("weights {stream}")).at(0, index), &mut drawn);
        Ok(drawn)
    }

    fn other(&mut self, file: &str) -> Result<Vec<f32>, OracleError> {
        self.space.other(file).map_err(|refusal| {
            let words = refusal.what.clone();
            self.refused.get_or_insert(refusal);
            OracleError::Failed(words)
        })
    }

    fn give(&mut self, given: Given) {
        self.given.push(given);
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
