//! Checks what attacks propose: finite, in the box, in the ball, and misclassified by the untouched model in a fresh session, alone
//! and at another batch size. Where the gradient is that of a float32 copy, the file itself is asked. Knows nothing of the attack;
//! its word is the only one that enters a verdict.

use std::borrow::Cow;

use flatscape_engine::Engine;
use flatscape_graph::{Graph, Tensor, rows};
use flatscape_intake::model::{Answering, Judge, Model, difference};
use flatscape_intake::scores::{argmax, is_tied, margin};

use crate::attack::{AttackError, host};
use crate::link::{Link, Point};
use crate::stage::{Draw, Stage, StageError, Step, Values};
use crate::threats::{Candidate, ThreatModel};

/// Runs the untouched model: pixel units in, logits out.
pub struct Verifier {
    forward: Stage,
    /// The file itself, where it answers instead of the graph.
    file: Option<Answering>,
    /// The file with every result rounded to half precision, where it has such results.
    rounded: Option<Answering>,
    batch_size: usize,
    /// How often a point is asked: of a model that draws at random with fresh keyed draws.
    draws: u32,
}

/// How often a model that draws at random is asked about a point.
pub const DRAWS: u32 = 20;

/// What the draws of a model predict at a point.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Votes {
    /// Draws.
    pub of: u32,
    /// Draws that predict each class; the scores of the others are undefined.
    pub counts: Vec<u32>,
}

/// The scores of a point, and the votes where there are several draws.
type Drawn = (Vec<f64>, Option<Votes>);

impl Votes {
    /// The share of the draws that predict a class.
    pub fn share(&self, class: usize) -> f64 {
        f64::from(self.counts.get(class).copied().unwrap_or(0)) / f64::from(self.of.max(1))
    }

    /// The class that most draws predict, of equals the first; `None` where most draws have undefined scores.
    pub fn prediction(&self) -> Option<usize> {
        let most = self.counts.iter().max().copied().filter(|_| 2 * self.counts.iter().sum::<u32>() >= self.of)?;
        self.counts.iter().position(|&count| count == most)
    }
}

/// What the model says about one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The scores of the point alone: what a deployment gives for one image, and what decides.
    pub scores: Vec<f64>,
    /// How far the scores of the same point in batches differ from these, relative to max(1, largest |score|); infinite where
    /// only one of the two is a number.
    pub difference: f64,
    /// What other precisions say.
    pub others: Others,
    /// What its draws predict, where the model draws at random; `scores` are then the mean.
    pub votes: Option<Votes>,
}

impl Answer {
    /// The class that is predicted: by most draws, or by the largest score.
    pub fn prediction(&self) -> Option<usize> {
        self.votes.as_ref().map_or_else(|| argmax(&self.scores), Votes::prediction)
    }
}

/// What other precisions than the one that judges say about a point of a file in half precision: scores, or nothing where they were
/// not asked.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Others {
    /// The float32 copy, where the file itself judges.
    pub float32: Option<Vec<f64>>,
    /// The file with every result rounded to half precision.
    pub rounded: Option<Vec<f64>>,
}

/// What became of one sample under one attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The clean point is already misclassified.
    Misclassified,
    /// A verified adversarial example was found.
    Broken,
    /// None was found.
    Held,
    /// The scores of a point in ball and box are undefined: no adversarial example, and not robust.
    NanInBall,
    /// The attack failed before it saw the sample: it did not break it, and does not count as having held it.
    NotAttacked,
}

/// Why a proposal does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rejection {
    /// An entry is NaN or infinite.
    NotFinite,
    /// An entry lies outside the box.
    OutsideBox,
    /// The distance exceeds ε(1+1e-5)+1e-7.
    OutsideBall,
    /// The number of values differs from that of an image.
    WrongSize,
    /// The threat model cannot tell the distance: the point came without the parameter that it was decoded from.
    NotMeasured,
    /// The image is not the one that its parameter decodes to.
    OtherImage,
}

/// The finding on one proposed point.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// Verdict on the point.
    pub outcome: Outcome,
    /// Why the point was rejected without running the model.
    pub rejection: Option<Rejection>,
    /// Distance from the clean point in the norm of the threat, f64.
    pub distance: f64,
    /// `z_y − max_{i≠y} z_i` at the point.
    pub margin: f64,
    /// Predicted class at the point.
    pub prediction: Option<usize>,
    /// Whether the label's score is the largest and another class has the same.
    pub tied: bool,
    /// The scores of the point alone, as the graph gives them; empty where it was not asked.
    pub scores: Vec<f64>,
    /// What other precisions say.
    pub others: Others,
    /// The share of the draws that predict the label, for models that draw at random; otherwise NaN.
    pub share: f64,
}

/// Where a point may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// In the box, and in the ball of the threat model.
    Ball,
    /// In the box, at any distance.
    Box,
}

impl Verifier {
    /// A fresh session of the model. Choose a `batch_size` that differs from the attack's.
    ///
    /// # Errors
    /// The engine does not compile the model.
    pub fn new(engine: &dyn Engine, model: &Graph, threat: &ThreatModel, batch_size: usize) -> Result<Verifier, AttackError> {
        let forward = Stage::compile(engine, &Link::of(model, threat).forward(Point::Fed, &["logits"])?)?;
        let drawn = model.inputs().len() > 1;
        let draws = if drawn { DRAWS } else { 1 };
        Ok(Verifier { forward, file: None, rounded: None, batch_size: batch_size.max(1), draws })
    }

    /// The judge of a model: its graph, or the file itself where the graph is a float32 copy of it.
    ///
    /// # Errors
    /// As for [`Verifier::new`].
    pub fn of(engine: &dyn Engine, model: &Model, threat: &ThreatModel, batch_size: usize) -> Result<Verifier, AttackError> {
        let graph = Verifier::new(engine, model.drawn.as_ref().unwrap_or(&model.graph), threat, batch_size)?;
        let own = if let Judge::File(own) = &model.judge { Some(own.compile(engine)) } else { None };
        let rounded = model.rounded.as_ref().map(|own| own.compile(engine));
        let file = own.transpose().map_err(StageError::Engine)?;
        Ok(Verifier { file, rounded: rounded.transpose().map_err(StageError::Engine)?, ..graph })
    }

    /// How often a point is asked.
    pub fn draws(&self) -> u32 {
        self.draws
    }

    /// Whether the file itself answers, and the graph is a float32 copy of it.
    pub fn asks_the_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether rounding to half precision is looked at.
    pub fn rounds(&self) -> bool {
        self.rounded.is_some()
    }

    /// Scores that the graph gives for points [n,C,H,W], each alone; of a model that draws at random the mean over its draws.
    ///
    /// # Errors
    /// The engine failed.
    pub fn logits(&self, points: &Tensor) -> Result<Vec<Vec<f64>>, AttackError> {
        Ok(self.drawn(points)?.into_iter().map(|(scores, _)| scores).collect())
    }

    /// Scores, and votes where there are several draws.
    fn drawn(&self, points: &Tensor) -> Result<Vec<Drawn>, AttackError> {
        if self.draws == 1 {
            return Ok(self.once(points, 0)?.into_iter().map(|scores| (scores, None)).collect());
        }
        let mut all: Vec<(Vec<f64>, Votes)> = Vec::new();
        for draw in 0..self.draws {
            let found = self.once(points, draw)?;
            all.resize_with(found.len(), Default::default);
            for ((mean, votes), scores) in all.iter_mut().zip(found) {
                mean.resize(scores.len(), 0.0);
                votes.counts.resize(scores.len(), 0);
                votes.of += 1;
                if let Some(class) = argmax(&scores) {
                    votes.counts[class] += 1;
                }
                mean.iter_mut().zip(&scores).for_each(|(mean, score)| *mean += score / f64::from(self.draws));
            }
        }
        Ok(all.into_iter().map(|(mean, votes)| (mean, Some(votes))).collect())
    }

    /// Scores for points, each alone, with the numbers of one draw.
    fn once(&self, points: &Tensor, draw: u32) -> Result<Vec<Vec<f64>>, AttackError> {
        let draw = Draw { restart: draw, ..DRAW };
        let count = points.shape().first().copied().ok_or_else(wrong_logits)?;
        let mut all = Vec::with_capacity(count);
        let whole: Vec<usize> = (0..count).collect();
        for part in whole.chunks(self.batch_size) {
            let given = self.forward.run_each(&self.fed(points, part), &vec![0; part.len()], &draw)?;
            all.extend(scores(&given, part.len())?);
        }
        Ok(all)
    }

    /// What the model says about points [n,C,H,W], each alone and in batches of these sizes. Batches are asked of the graph, whose
    /// operators are those of the file: in half precision, rounding alone would look like a dependence on the batch.
    ///
    /// # Errors
    /// The engine failed.
    pub fn answers(&self, points: &Tensor, sizes: &[usize]) -> Result<Vec<Answer>, AttackError> {
        let answer = |(scores, votes)| Answer { scores, difference: 0.0, others: Others::default(), votes };
        let mut answers: Vec<Answer> = self.drawn(points)?.into_iter().map(answer).collect();
        // draws of their own differ anyhow
        for &size in sizes.iter().filter(|_| self.draws == 1) {
            for (answer, together) in answers.iter_mut().zip(self.in_batches(points, size)?) {
                answer.difference = answer.difference.max(difference(&answer.scores, &together));
            }
        }
        let asked = |of: &Option<Answering>| match of {
            Some(own) => own.scores(points).map_err(StageError::Engine),
            None => Ok(vec![None; answers.len()]),
        };
        let (own, rounded) = (asked(&self.file)?, asked(&self.rounded)?);
        for ((answer, own), rounded) in answers.iter_mut().zip(own).zip(rounded) {
            answer.others.rounded = rounded;
            if let Some(scores) = own {
                answer.others.float32 = Some(std::mem::replace(&mut answer.scores, scores));
            }
        }
        Ok(answers)
    }

    /// The batch size at which points are judged beside alone.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Runs batches of exactly `size` points, the last one filled up with copies of its last point.
    fn in_batches(&self, points: &Tensor, size: usize) -> Result<Vec<Vec<f64>>, AttackError> {
        let count = points.shape().first().copied().ok_or_else(wrong_logits)?;
        let mut all = Vec::with_capacity(count);
        for start in (0..count).step_by(size.max(1)) {
            let chosen: Vec<usize> = (start..start + size).map(|row| row.min(count - 1)).collect();
            let given = self.forward.run(&self.fed(points, &chosen), &vec![0; size], &DRAW)?;
            all.extend(scores(&given, size)?.into_iter().take(count - start));
        }
        Ok(all)
    }

    fn fed(&self, points: &Tensor, chosen: &[usize]) -> Values {
        let mut values = Values::default();
        values.put("x", self.forward.given(rows(points, chosen)));
        values
    }

    /// How far the scores of points [n,C,H,W] in batches of [`Verifier::batch_size`] differ from those of each alone, which the graph
    /// gave before; see [`Answer`].
    ///
    /// # Errors
    /// The engine failed.
    pub fn differences(&self, points: &Tensor, alone: &[&[f64]]) -> Result<Vec<f64>, AttackError> {
        if self.draws > 1 {
            return Ok(vec![0.0; alone.len()]);
        }
        let together = self.in_batches(points, self.batch_size)?;
        Ok(alone.iter().zip(together).map(|(alone, together)| difference(alone, &together)).collect())
    }

    /// Judges one point per sample (`None`: nothing was offered, the sample holds). What the model says about a point alone decides.
    ///
    /// # Errors
    /// The engine failed, or `x0`, `y` and `points` do not belong together.
    pub fn judge(
        &self,
        threat: &ThreatModel,
        region: Region,
        x0: &Tensor,
        y: &[i64],
        points: &[Option<Candidate>],
    ) -> Result<Vec<Finding>, AttackError> {
        let wrong = |name: &str| AttackError::from(StageError::Result { name: name.to_owned() });
        let clean = pixels(x0).ok_or_else(|| wrong("x0"))?;
        if points.len() != y.len() || x0.shape().first() != Some(&y.len()) {
            return Err(wrong("x0"));
        }
        let width = clean.len() / y.len().max(1);
        let mut findings: Vec<Finding> = Vec::with_capacity(y.len());
        let mut asked: Vec<usize> = Vec::new();
        let mut images: Vec<f32> = Vec::with_capacity(points.iter().flatten().map(|point| point.x.len()).sum());
        for (sample, point) in points.iter().enumerate() {
            let origin = &clean[sample * width..(sample + 1) * width];
            let mut finding = unseen();
            if let Some(point) = point {
                let distance = threat.distance(point, origin);
                finding.rejection = rejected(threat, region, origin, point, distance);
                finding.distance = distance.unwrap_or(f64::NAN);
                if finding.rejection.is_none() {
                    asked.push(sample);
                    images.extend_from_slice(&point.x);
                }
            }
            findings.push(finding);
        }
        let mut shape = x0.shape().to_vec();
        shape[0] = asked.len();
        let points = Tensor::new(&shape, images).ok_or_else(|| wrong("x"))?;
        for (answer, &sample) in self.answers(&points, &[])?.iter().zip(&asked) {
            findings[sample].read(answer, y[sample] as usize);
        }
        Ok(findings)
    }
}

/// The values of images, one after the other, without a copy where they lie so.
pub(crate) fn pixels(images: &Tensor) -> Option<Cow<'_, [f32]>> {
    let lie = images.view::<f32>()?.as_slice().map(Cow::Borrowed);
    lie.or_else(|| images.to_vec().map(Cow::Owned))
}

/// The noise of a model that draws at random is the same for every point, and keyed apart from what attacks see.
const DRAW: Draw = Draw { seed: 0, component: "verify", restart: 0, step: Step::All(0) };

fn wrong_logits() -> StageError {
    StageError::Result { name: "logits".into() }
}

/// The scores that a run gave for so many points.
fn scores(given: &Values, count: usize) -> Result<Vec<Vec<f64>>, AttackError> {
    let logits = host(given, "logits")?;
    if logits.shape().first() != Some(&count) {
        return Err(wrong_logits().into());
    }
    let logits = logits.to_f64();
    Ok(logits.chunks((logits.len() / count).max(1)).map(<[f64]>::to_vec).collect())
}

/// Nothing was offered.
fn unseen() -> Finding {
    Finding {
        outcome: Outcome::Held,
        rejection: None,
        distance: f64::NAN,
        margin: f64::NAN,
        prediction: None,
        tied: false,
        scores: Vec::new(),
        others: Others::default(),
        share: f64::NAN,
    }
}

impl Finding {
    fn read(&mut self, answer: &Answer, label: usize) {
        let scores = &answer.scores;
        (self.margin, self.prediction, self.tied) = (margin(scores, label), answer.prediction(), is_tied(scores, label));
        self.share = answer.votes.as_ref().map_or(f64::NAN, |votes| votes.share(label));
        self.scores = answer.others.float32.as_ref().unwrap_or(scores).clone();
        self.others = answer.others.clone();
        // of a model that draws at random a point is adversarial if more than half of the draws are wrong
        let mostly_right = self.share >= 0.5;
        self.outcome = match self.prediction {
            Some(class) if class != label && mostly_right => Outcome::Held,
            Some(class) if class == label && self.share < 0.5 => Outcome::Broken,
            None => Outcome::NanInBall,
            Some(class) if class != label => Outcome::Broken,
            Some(_) => Outcome::Held,
        };
    }
}

/// Whether an image is admissible: finite, in the box, in the ball. Computed in f64 from the stored numbers.
pub fn admissible(threat: &ThreatModel, origin: &[f32], image: &[f32]) -> Option<Rejection> {
    admissible_in(threat, Region::Ball, origin, &image.to_vec().into())
}

/// Whether a point is admissible in this region.
pub fn admissible_in(threat: &ThreatModel, region: Region, origin: &[f32], point: &Candidate) -> Option<Rejection> {
    rejected(threat, region, origin, point, threat.distance(point, origin))
}

/// The same for a point whose distance is known.
fn rejected(threat: &ThreatModel, region: Region, origin: &[f32], point: &Candidate, distance: Option<f64>) -> Option<Rejection> {
    let Candidate { x, z, .. } = point;
    let finite = |numbers: &[f32]| numbers.iter().fold(true, |all, v| all & v.is_finite());
    if !finite(x) || !z.as_deref().is_none_or(finite) {
        return Some(Rejection::NotFinite);
    }
    if x.len() != origin.len() {
        return Some(Rejection::WrongSize);
    }
    if !x.iter().fold(true, |all, &v| all & (v >= threat.lo) & (v <= threat.hi)) {
        return Some(Rejection::OutsideBox);
    }
    match distance {
        None if z.is_some() => Some(Rejection::OtherImage),
        None => Some(Rejection::NotMeasured),
        Some(distance) if region == Region::Box || distance <= threat.tolerated() => None,
        Some(_) => Some(Rejection::OutsideBall),
    }
}
