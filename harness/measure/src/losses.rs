//! Whether cross-entropy serves attacks on a model as well as the margin does. Where scores are bounded or squeezed into a small
//! range, the softmax over the other classes is nearly uniform: cross-entropy then pulls towards all of them alike, and an attack
//! that ascends it stops short of the nearest boundary. Where an operator bounds them, their slope vanishes towards the bound. Scores
//! are judged by what they do to an attack, not by the operators that made them.

use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_graph::{Graph, Tensor, text};
use flatscape_host::{Program, Role};
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;
use flatscape_intake::remedies::{objective, unbounded};
use flatscape_intake::scores::is_broken;
use serde::{Deserialize, Serialize};

use crate::attack::{Attack, AttackError, Batch, Keep, Restart, Ruling};
use crate::columns::{ID, LABEL, PREDICTION, RIVAL_ENTROPY};
use crate::error::MeasureError;
use crate::findings::Findings;
use crate::link::{Link, LinkError};
use crate::measures::failed;
use crate::prepared::Settings;
use crate::stage::StageError;
use crate::threats::ThreatModel;
use crate::verify::Verifier;

/// Correct images that are looked at, at most.
pub const IMAGES: usize = 400;

/// From this median entropy of the rivals on the losses are compared. See `RIVAL_ENTROPY`.
const SPREAD: f64 = 0.8;

/// Steps of each attack, 2.5 ε / steps long, from the image, without restarts.
const STEPS: u32 = 10;

/// Under threat models that decode images from a parameter, pixels are moved within this one.
const IN_PIXELS: &str = "linf:8/255";

/// What the losses found on the same images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Correct images that were looked at.
    pub samples: u64,
    /// The median of their `rival_entropy`.
    pub entropy: f64,
    /// The comparison, where the scores asked for one.
    pub tried: Option<Tried>,
}

/// Images that one attack breaks and another one on the same images does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The margin against cross-entropy.
    pub margin: Apart,
    /// Cross-entropy of what goes into a last operator that bounds the scores, against cross-entropy and against the margin of the
    /// scores; `None` where nothing bounds them.
    pub unbounded: Option<[Apart; 2]>,
}

/// The images on which two attacks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// Broken by the first alone.
    pub gained: u64,
    /// Broken by the second alone.
    pub lost: u64,
}

impl Apart {
    fn of(first: &[bool], second: &[bool]) -> Apart {
        let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count() as u64;
        Apart { gained: only(first, second), lost: only(second, first) }
    }
}

/// Looks at the first correct images of the findings of clean jobs, and compares the losses on them if the scores ask for it: by
/// their entropy, or because an operator bounds them.
///
/// # Errors
/// The engine failed, the findings lack a column, or the run was asked to stop.
pub fn compare(
    engine: &dyn Engine,
    model: &Model,
    dataset: &Dataset,
    clean: &Findings,
    threat: &ThreatModel,
    settings: Settings,
    stop: &AtomicBool,
) -> Result<Losses, MeasureError> {
    let rows = clean.read(&ID)?.into_iter().zip(clean.read(&LABEL)?).zip(clean.read(&PREDICTION)?);
    let correct = rows.zip(clean.read(&RIVAL_ENTROPY)?).filter(|(((_, label), prediction), _)| label == prediction);
    let (ids, mut spread): (Vec<u64>, Vec<f64>) = correct.take(IMAGES).map(|(((id, _), _), e)| (id as u64, e)).unzip();
    spread.sort_by(f64::total_cmp);
    // the scores of a correct image are defined
    let entropy = spread.get(spread.len() / 2).copied().unwrap_or(0.0);
    let samples = ids.len() as u64;
    let unbounded = if model.remedied.twin.is_none() { unbounded(&model.graph) } else { None };
    if ids.is_empty() || (entropy < SPREAD && unbounded.is_none()) {
        return Ok(Losses { samples, entropy, tried: None });
    }
    let pixels = ThreatModel::parse(IN_PIXELS, false)?;
    let threat = if threat.norm.parameter.is_some() { &pixels } else { threat }.on(model.shape);
    let part = dataset.gather(&ids);
    let batch = Batch { ids: part.ids, x0: part.x, target: part.y.clone(), y: part.y, clean: None };
    let trial = Trial { engine, model, threat: &threat, batch: &batch, settings, stop };
    let broken = |graph: &Graph, by_margin| trial.broken(graph, by_margin).map_err(failed("the comparison of losses"));
    let seen = model.remedied.twin.as_ref().unwrap_or(&model.graph);
    let (by_cross_entropy, by_margin) = (broken(seen, false)?, broken(seen, true)?);
    let behind = unbounded.map(|graph| broken(&graph, false)).transpose()?;
    let tried = Tried {
        margin: Apart::of(&by_margin, &by_cross_entropy),
        unbounded: behind.map(|found| [Apart::of(&found, &by_cross_entropy), Apart::of(&found, &by_margin)]),
    };
    Ok(Losses { samples, entropy, tried: Some(tried) })
}

/// What the attacks have in common.
struct Trial<'t> {
    engine: &'t dyn Engine,
    model: &'t Model,
    threat: &'t ThreatModel,
    batch: &'t Batch,
    settings: Settings,
    stop: &'t AtomicBool,
}

impl Trial<'_> {
    /// Which images the steps break, by the word of the model itself. Attacks see `graph`.
    fn broken(&self, graph: &Graph, by_margin: bool) -> Result<Vec<bool>, AttackError> {
        let Trial { engine, threat, batch, .. } = *self;
        let step = text::parse(&format!(
            "step (float[N,C,H,W] x, float[N,C,H,W] ascent, float eps) => (float[N,C,H,W] x_next) <float[1] part = {{{}}}>
            {{ d = flatscape.Steepest(ascent)  alpha = Mul(eps, part)  s = Mul(d, alpha)  x_next = Add(x, s) }}",
            2.5 / f64::from(STEPS)
        ))
        .map_err(|e| LinkError::Name { name: "step".into(), why: e.to_string() })?;
        let graphs = vec![(Role::Step, step)];
        let program = Program { graphs, steps: STEPS, restarts: 1, probes: 0, replays: 0, sha256: String::new() };
        let margin = by_margin.then(|| objective(false));
        let link = Link {
            model: graph,
            objective: margin.as_ref(),
            cotangent: None,
            given: None,
            no_likelihood: None,
            threat,
            targeted: false,
            arguments: &[],
            steps: STEPS,
        };
        let attack = Attack::compile(engine, &link, &program, "losses", false, Keep::FirstSuccess)?;
        let Settings { seed, batch_size } = self.settings;
        let restart = Restart { seed, eps: threat.eps, number: 0, batch_size, stop: self.stop };
        let found = attack.run(batch, &restart, &mut |rows, _| Ok(vec![Ruling::Stands; rows.len()]), &mut |_| {})?;
        let claimed: Vec<usize> = (0..found.len()).filter(|&i| found[i].claimed && found[i].point.is_some()).collect();
        let mut broken = vec![false; found.len()];
        if claimed.is_empty() {
            return Ok(broken);
        }
        let points: Vec<f32> = claimed.iter().flat_map(|&i| found[i].point.iter().flatten().copied()).collect();
        let [c, h, w] = self.model.shape;
        let points = Tensor::new(&[claimed.len(), c, h, w], points).ok_or(StageError::Result { name: "x".into() })?;
        let judge = Verifier::new(engine, &self.model.graph, threat, batch_size)?;
        for (&i, scores) in claimed.iter().zip(judge.logits(&points)?) {
            broken[i] = is_broken(&scores, batch.y[i] as usize);
        }
        Ok(broken)
    }
}
