//! What attacks on a model find by other losses than cross-entropy. Where scores are bounded or squeezed into a small
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

use crate::attack::{Attack, AttackError, Batch, Keep, Restart, Ruling};
use crate::columns::{BROKEN_BY_CROSS_ENTROPY, BROKEN_BY_MARGIN, BROKEN_UNBOUNDED, ID, LABEL, PREDICTION, RIVAL_ENTROPY};
use crate::error::MeasureError;
use crate::findings::{Findings, FindingsError};
use crate::link::{Link, LinkError};
use crate::measures::failed;
use crate::prepared::Settings;
use crate::stage::StageError;
use crate::threats::ThreatModel;
use crate::verify::{Answer, Verifier};

/// Correct images that are looked at, at most.
pub const IMAGES: usize = 400;

/// From this median entropy of the rivals on other losses are tried. See `RIVAL_ENTROPY`.
const SPREAD: f64 = 0.8;

/// Steps of each attack, 2.5 ε / steps long, from the image, without restarts.
const STEPS: u32 = 10;

/// What short attacks on other losses break, of the correct images that were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The images, ascending; none where the scores gave no reason to try.
    pub ids: Vec<u64>,
    /// Whether it is broken by cross-entropy.
    pub cross_entropy: Vec<bool>,
    /// Whether it is broken by the margin.
    pub margin: Vec<bool>,
    /// Whether it is broken by cross-entropy of what goes into a last operator that bounds the scores; `None` where nothing does.
    pub unbounded: Option<Vec<bool>>,
}

impl Losses {
    /// As findings.
    pub fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        findings.put(&ID, self.ids.iter().map(|&id| id as i64).collect());
        findings.put(&BROKEN_BY_CROSS_ENTROPY, self.cross_entropy.clone());
        findings.put(&BROKEN_BY_MARGIN, self.margin.clone());
        if let Some(unbounded) = &self.unbounded {
            findings.put(&BROKEN_UNBOUNDED, unbounded.clone());
        }
        findings
    }

    /// From findings.
    ///
    /// # Errors
    /// A column is missing or has another type or length.
    pub fn read(findings: &Findings) -> Result<Losses, FindingsError> {
        let ids: Vec<u64> = findings.read(&ID)?.into_iter().map(|id| id as u64).collect();
        let (cross_entropy, margin) = (findings.read(&BROKEN_BY_CROSS_ENTROPY)?, findings.read(&BROKEN_BY_MARGIN)?);
        let bounded = findings.tensor(BROKEN_UNBOUNDED.name).is_some();
        let unbounded = if bounded { Some(findings.read(&BROKEN_UNBOUNDED)?) } else { None };
        let other = [Some(&cross_entropy), Some(&margin), unbounded.as_ref()]
            .into_iter()
            .flatten()
            .any(|column| column.len() != ids.len());
        if other {
            Err(FindingsError::Column(BROKEN_BY_MARGIN.name.to_owned()))
        } else {
            Ok(Losses { ids, cross_entropy, margin, unbounded })
        }
    }
}

/// Looks at the first correct images of the findings of clean jobs, and tries other losses on them if the scores ask for it: by
/// the entropy of the rivals, or because an operator bounds them.
///
/// # Errors
/// The engine failed, the findings lack a column, or the run was asked to stop.
pub fn try_others(
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
    let squeezed = spread.get(spread.len() / 2).is_some_and(|&median| median >= SPREAD);
    let behind = if model.remedied.twin.is_none() { unbounded(&model.graph) } else { None };
    if ids.is_empty() || (!squeezed && behind.is_none()) {
        return Ok(Losses::default());
    }
    let part = dataset.gather(&ids);
    let batch = Batch { ids: part.ids, x0: part.x, target: part.y.clone(), y: part.y, clean: None, second: None };
    let threat = threat.on(model.shape);
    let steps = (STEPS, 2.5 / f64::from(STEPS));
    let trial = Trial { engine, model, threat: &threat, batch: &batch, settings, stop, steps, starts: 0 };
    let broken = |graph: &Graph, by_margin| trial.broken(graph, by_margin).map_err(failed("the trial of other losses"));
    let seen = model.remedied.twin.as_ref().or(model.drawn.as_ref()).unwrap_or(&model.graph);
    let (cross_entropy, margin) = (broken(seen, false)?, broken(seen, true)?);
    let unbounded = behind.map(|graph| broken(&graph, false)).transpose()?;
    Ok(Losses { ids, cross_entropy, margin, unbounded })
}

/// Whether the loss was higher at some step than before the first one, from a row of the columns `older_losses` and `last_losses`.
pub fn rose(older: &[f32], last: &[f32]) -> bool {
    let Some(first) = older[..1].iter().chain(last).copied().find(|loss| loss.is_finite()) else { return false };
    older[2..].iter().chain(last).any(|&loss| loss > first + 1e-6 * first.abs().max(1.0))
}

/// What short attacks have in common.
pub(crate) struct Trial<'t> {
    pub engine: &'t dyn Engine,
    pub model: &'t Model,
    pub threat: &'t ThreatModel,
    pub batch: &'t Batch,
    pub settings: Settings,
    pub stop: &'t AtomicBool,
    /// How many steps, and how long each is as a share of the radius.
    pub steps: (u32, f64),
    /// How many random starts; 0 starts at the image.
    pub starts: u32,
}

/// A random point on the sphere of the radius.
const START: &str = "init (float[N,C,H,W] x0, float[N,C,H,W] noise_normal, float eps) => (float[N,C,H,W] x)
    { d = flatscape.Steepest(noise_normal)  s = Mul(d, eps)  x = Add(x0, s) }";

impl Trial<'_> {
    /// Which images the steps break, by the word of the model itself. Attacks see `graph`.
    pub fn broken(&self, graph: &Graph, by_margin: bool) -> Result<Vec<bool>, AttackError> {
        let Trial { engine, threat, batch, steps: (steps, part), .. } = *self;
        let step = text::parse(&format!(
            "step (float[N,C,H,W] x, float[N,C,H,W] ascent, float eps) => (float[N,C,H,W] x_next) <float[1] part = {{{}}}>
            {{ d = flatscape.Steepest(ascent)  alpha = Mul(eps, part)  s = Mul(d, alpha)  x_next = Add(x, s) }}",
            part
        ))
        .map_err(|e| LinkError::Name { name: "step".into(), why: e.to_string() })?;
        let mut graphs = vec![(Role::Step, step)];
        if self.starts > 0 {
            graphs
                .push((Role::Init, text::parse(START).map_err(|e| LinkError::Name { name: "init".into(), why: e.to_string() })?));
        }
        let program = Program::new(graphs, steps);
        let margin = by_margin.then(|| objective(false));
        let link = Link { objective: margin.as_ref(), steps, ..Link::of(graph, threat) };
        let attack = Attack::compile(engine, &link, &program, "losses", false, Keep::FirstSuccess)?;
        let Settings { seed, batch_size } = self.settings;
        let judge = Verifier::of(engine, self.model, threat, batch_size)?;
        let [c, h, w] = self.model.shape;
        let asked = |rows: &[usize], points: Vec<f32>| -> Result<Vec<bool>, AttackError> {
            let points = Tensor::new(&[rows.len(), c, h, w], points).ok_or(StageError::Result { name: "x".into() })?;
            let answers = judge.answers(&points, &[])?;
            let broken = |(&row, answer): (&usize, Answer)| match &answer.votes {
                Some(votes) => votes.prediction() != usize::try_from(batch.y[row]).ok(),
                None => is_broken(&answer.scores, batch.y[row] as usize),
            };
            Ok(rows.iter().zip(answers).map(broken).collect())
        };
        // one draw among many proves nothing: there the attack goes on until the judge agrees
        let mut ruled = |rows: &[usize], points: &[Vec<f32>]| match self.model.drawn.is_some() {
            false => Ok(vec![Ruling::Stands; rows.len()]),
            true => {
                let broken = asked(rows, points.concat())?;
                Ok(broken.into_iter().map(|broken| if broken { Ruling::Stands } else { Ruling::Rejected }).collect())
            }
        };
        let mut broken = vec![false; batch.len()];
        for number in 0..self.starts.max(1) {
            let restart = Restart { seed, eps: threat.eps, number, batch_size, stop: self.stop };
            let found = attack.run(batch, &restart, &mut ruled, &mut |_| {})?;
            let claimed = |&i: &usize| !broken[i] && found[i].claimed && found[i].point.is_some();
            let claimed: Vec<usize> = (0..found.len()).filter(claimed).collect();
            if claimed.is_empty() {
                continue;
            }
            let points: Vec<f32> = claimed.iter().flat_map(|&i| found[i].point.iter().flatten().copied()).collect();
            for (&i, stands) in claimed.iter().zip(asked(&claimed, points)?) {
                broken[i] = stands;
            }
        }
        Ok(broken)
    }
}
