//! Questions to the attacks of a run: does an attack that may go anywhere break every image, as it must; do more steps, or more starts,
//! still break samples that the run left standing; and do scores stay what they are under little noise? Source: the indicators of attack
//! failure (Pintor et al. 2022, arXiv:2106.09947).

use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_graph::Tensor;
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;
use flatscape_intake::random::{Law, Place, fill};
use flatscape_intake::scores::margin;
use serde::{Deserialize, Serialize};

use crate::attack::Batch;
use crate::error::MeasureError;
use crate::losses::Trial;
use crate::measures::failed;
use crate::prepared::Settings;
use crate::stage::StageError;
use crate::threats::ThreatModel;
use crate::verify::Verifier;

/// Correct images, and samples that are left standing, that are tried at most.
pub const IMAGES: usize = 100;

/// Points around each image at which its margin is asked for.
const DRAWS: usize = 20;

/// The largest change of a pixel at these points, unless half the radius is less.
const NOISE: f32 = 4.0 / 255.0;

/// What the trials found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Correct images that were attacked in the whole box.
    pub images: u64,
    /// Of these, broken.
    pub anywhere: u64,
    /// Samples left standing by the run that were attacked with more steps.
    pub standing: u64,
    /// Of these, broken.
    pub more_steps: u64,
    /// Of these, broken from one of five random starts.
    pub more_starts: u64,
    /// The change of the margin m of up to [`IMAGES`] correct images under noise u, uniform within ±min(4/255, ε/2) per pixel and
    /// clipped to the box: the mean of min(1, |m(x+u) − m(x)| / |m(x)|); `None` without an image, and for a model that draws at random.
    pub change: Option<f64>,
}

/// Tries both by 200 steps along the margin and 200 along cross-entropy, from the image: of a fiftieth of the box, and of a fiftieth of the radius. (Steps of a tenth
/// of the box, as Pintor et al. have them, leave small networks where no unit is active: honest ones failed.) More starts are five
/// random points of the sphere, from each of which 40 steps along the margin are taken.
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
    let first = |ids: &[u64]| ids[..ids.len().min(IMAGES)].to_vec();
    let (correct, standing) = (first(correct), first(standing));
    let broken = |ids: &[u64], threat: &ThreatModel, steps: (u32, f64), starts: u32| -> Result<u64, MeasureError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let part = dataset.gather(ids);
        let batch = Batch { ids: part.ids, x0: part.x, target: part.y.clone(), y: part.y, clean: None, second: None };
        let trial = Trial { engine, model, threat, batch: &batch, settings, stop, steps, starts };
        let seen = model.remedied.twin.as_ref().or(model.drawn.as_ref()).unwrap_or(&model.graph);
        let found = |by_margin| trial.broken(seen, by_margin).map_err(failed("the trial of limits"));
        let by_cross_entropy = if starts == 0 { found(false)? } else { vec![false; ids.len()] };
        let either = found(true)?.into_iter().zip(by_cross_entropy).filter(|(by_margin, other)| *by_margin || *other);
        Ok(either.count() as u64)
    };
    Ok(Limits {
        images: correct.len() as u64,
        anywhere: broken(&correct, &whole, (200, 0.02), 0)?,
        standing: standing.len() as u64,
        more_steps: broken(&standing, &threat, (200, 0.02), 0)?,
        more_starts: broken(&standing, &threat, (40, 2.5 / 40.0), 5)?,
        change: change(engine, model, dataset, &correct, &threat, settings)?,
    })
}

/// See [`Limits::change`].
fn change(
    engine: &dyn Engine,
    model: &Model,
    dataset: &Dataset,
    ids: &[u64],
    threat: &ThreatModel,
    settings: Settings,
) -> Result<Option<f64>, MeasureError> {
    if model.drawn.is_some() || ids.is_empty() {
        return Ok(None);
    }
    let judge = Verifier::of(engine, model, threat, settings.batch_size).map_err(failed("the trial of limits"))?;
    let margins = |points: &Tensor, label: usize| -> Result<Vec<f64>, MeasureError> {
        let answers = judge.answers(points, &[]).map_err(failed("the trial of limits"))?;
        Ok(answers.iter().map(|answer| margin(&answer.scores, label)).collect())
    };
    let reach = match threat.norm.name {
        "linf" => NOISE.min(threat.eps as f32 / 2.0),
        _ => NOISE,
    };
    let mut sum = 0.0;
    for &id in ids {
        let image = dataset.gather(&[id]);
        let (label, pixels) = (image.y[0] as usize, image.x.to_f64());
        let mut noise = vec![0.0; pixels.len()];
        let mut points = Vec::with_capacity(DRAWS * pixels.len());
        for draw in 0..DRAWS as u32 {
            fill(Law::Uniform, Place::new(settings.seed, "limits", "noise").sample(id).at(0, draw), &mut noise);
            let moved = pixels.iter().zip(&noise).map(|(&x, &u)| (x as f32 + reach * u).clamp(threat.lo, threat.hi));
            points.extend(moved);
        }
        let [c, h, w] = model.shape;
        let points = Tensor::new(&[DRAWS, c, h, w], points).ok_or(StageError::Result { name: "noise".into() });
        let points = points.map_err(|error| failed("the trial of limits")(error.into()))?;
        let clean = margins(&image.x, label)?[0];
        let relative = |m: f64| if m == clean { 0.0 } else { ((m - clean) / clean).abs().min(1.0) };
        sum += margins(&points, label)?.into_iter().map(relative).sum::<f64>() / DRAWS as f64;
    }
    Ok(Some(sum / ids.len() as f64))
}
