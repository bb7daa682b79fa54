//! Two questions to the attacks of a run: does an attack that may go anywhere break every image, as it must, and do more steps still
//! break samples that the run left standing? Source: the indicators of attack failure (Pintor et al. 2022, arXiv:2106.09947).

use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;
use serde::{Deserialize, Serialize};

use crate::attack::Batch;
use crate::error::MeasureError;
use crate::losses::Trial;
use crate::measures::failed;
use crate::prepared::Settings;
use crate::threats::ThreatModel;

/// Correct images, and samples that are left standing, that are tried at most.
pub const IMAGES: usize = 100;

/// What the trials found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Correct images that were attacked in the whole box.
    pub images: u64,
    /// Of these, broken.
    pub anywhere: u64,
    /// Samples left standing by the run that were attacked with more steps.
    pub standing: u64,
    /// Of these, broken.
    pub more_steps: u64,
}

/// Tries both by 200 steps along the margin and 200 along cross-entropy, from the image: of a fiftieth of the box, and of a fiftieth of the radius. (Steps of a tenth
/// of the box, as Pintor et al. have them, leave small networks where no unit is active: honest ones failed.)
///
/// # Errors
/// The engine failed, or the run was asked to stop.
pub fn try_limits(
    engine: &dyn Engine,
    model: &Model,
    dataset: &Dataset,
    (correct, standing): (&[u64], &[u64]),
    threat: &ThreatModel,
    settings: Settings,
    stop: &AtomicBool,
) -> Result<Limits, MeasureError> {
    let threat = threat.on(model.shape);
    let pixels: usize = model.shape.iter().product();
    let whole = ThreatModel { eps: threat.diameter(pixels), ..threat.clone() };
    let broken = |ids: &[u64], threat: &ThreatModel, steps: (u32, f64)| -> Result<(u64, u64), MeasureError> {
        let ids = &ids[..ids.len().min(IMAGES)];
        if ids.is_empty() {
            return Ok((0, 0));
        }
        let part = dataset.gather(ids);
        let batch = Batch { ids: part.ids, x0: part.x, target: part.y.clone(), y: part.y, clean: None, second: None };
        let trial = Trial { engine, model, threat, batch: &batch, settings, stop, steps };
        let seen = model.remedied.twin.as_ref().or(model.drawn.as_ref()).unwrap_or(&model.graph);
        let found = |by_margin| trial.broken(seen, by_margin).map_err(failed("the trial of limits"));
        let broken =
            found(true)?.into_iter().zip(found(false)?).filter(|(by_margin, by_cross_entropy)| *by_margin || *by_cross_entropy);
        Ok((ids.len() as u64, broken.count() as u64))
    };
    let (images, anywhere) = broken(correct, &whole, (200, 0.02))?;
    let (standing, more_steps) = broken(standing, &threat, (200, 0.02))?;
    Ok(Limits { images, anywhere, standing, more_steps })
}
