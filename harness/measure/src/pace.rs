//! How long a step of an attack takes on a model: what an audit says before it starts.

use std::time::{Duration, Instant};

use flatscape_engine::Engine;
use flatscape_graph::{Tensor, text};
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;

use crate::attack::AttackError;
use crate::error::MeasureError;
use crate::link::{Link, LinkError, Point};
use crate::measures::failed;
use crate::prepared::Settings;
use crate::stage::{Draw, Stage, Step, Values};
use crate::threats::ThreatModel;

/// The largest number of images that a step is timed with.
const MOST: usize = 128;

/// The time per image of one evaluation and one gradient in a batch, measured once after a first run.
///
/// # Errors
/// The engine does not compile or run the gradient.
pub fn per_step(
    engine: &dyn Engine,
    model: &Model,
    dataset: &Dataset,
    threat: &ThreatModel,
    settings: Settings,
) -> Result<Duration, MeasureError> {
    let measured = || -> Result<Duration, AttackError> {
        let step =
            text::parse("step (float[N,C,H,W] x, float[N,C,H,W] ascent) => (float[N,C,H,W] x_next) { x_next = Add(x, ascent) }")
                .map_err(|e| LinkError::Name { name: "step".into(), why: e.to_string() })?;
        let graph = model.remedied.twin.as_ref().unwrap_or(&model.graph);
        let stage = Stage::fast(engine, &Link::of(graph, threat).stage(&step, Point::Fed, false, &["logits"])?)?;
        let ids: Vec<u64> = (0..dataset.len().min(settings.batch_size.clamp(1, MOST)) as u64).collect();
        let part = dataset.gather(&ids);
        let mut values = Values::default();
        values.put("x", stage.upload(&part.x)?);
        values.put("y", stage.upload(&Tensor::ints(&part.y))?);
        let draw = Draw { seed: settings.seed, component: "pace", restart: 0, step: Step::All(0) };
        stage.run(&values, &ids, &draw)?;
        let start = Instant::now();
        stage.run(&values, &ids, &draw)?;
        Ok(start.elapsed() / ids.len().max(1) as u32)
    };
    measured().map_err(failed("the measurement of a step"))
}
