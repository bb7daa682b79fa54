//! The verdict on every sample under one attack: judges proposals, keeps the best one, and writes the columns. Knows
//! what was proposed, not which attack did it.

use std::borrow::Borrow;

use flatscape_graph::Tensor;
use flatscape_intake::scores::{argmax, is_broken};

use super::{CleanAnswer, Group, class};
use crate::attack::{AttackError, Batch, Keep, OLDER, Proposal, REMEMBERED, Ruling};
use crate::columns::{
    ADV_BATCH_DIFFERENCE, ADV_DRAWN_SHARE, ADV_PREDICTION, ADV_TIES, BACKWARDS, BORDERLINE, BROKEN_GRADIENTS, CLAIMED, Column,
    DISTANCE, FLOAT32_DISTANCE, FORWARDS, GRADIENTS, LAST_LOSSES, MARGIN, OLDER_LOSSES, OUTCOME, OUTCOME_UINT8, REJECTED, RIGHT,
    ROUNDED_DISTANCE, STORED, TRIED, UNMOVED_STEPS, WITNESS_DISTANCE, WITNESS_ID, WITNESS_PREDICTION, WITNESS_X, WITNESS_Z,
    ZERO_GRADIENTS,
};
use crate::error::MeasureError;
use crate::findings::{Findings, FindingsError};
use crate::levels::on_grid;
use crate::stage::StageError;
use crate::threats::{Candidate, Points};
use crate::verify::{Finding, Outcome, Region, pixels};

/// A count that a proposal keeps, and its column.
type Count = (Column<i64>, fn(&mut Proposal) -> &mut u64);

const COUNTS: &[Count] = &[
    (FORWARDS, |p| &mut p.forwards),
    (BACKWARDS, |p| &mut p.backwards),
    (GRADIENTS, |p| &mut p.gradients),
    (ZERO_GRADIENTS, |p| &mut p.zero_gradients),
    (BROKEN_GRADIENTS, |p| &mut p.broken_gradients),
    (UNMOVED_STEPS, |p| &mut p.unmoved_steps),
];

/// Margins relative to the largest score, within which engines may choose another class: ten times the usual rounding of float32.
const ENGINE_NOISE: f64 = 1e-5;

/// A point that was judged, and what the attack thought it worth.
#[derive(Clone)]
struct Judged {
    finding: Finding,
    point: Candidate,
    loss: f64,
}

/// The verdicts on a group of samples, while they are being made.
pub(crate) struct Verdicts<'g> {
    on: &'g Group<'g>,
    /// The samples with their targets.
    batch: &'g Batch,
    keep: Keep,
    /// Whether the image is classified correctly, so that there is something to attack.
    right: Vec<bool>,
    seen: Vec<bool>,
    best: Vec<Option<Judged>>,
    /// The best point with pixels on the grid of 8 bits, for models that take integers.
    grid: Option<Vec<Option<Judged>>>,
    spent: Vec<Proposal>,
    rejected: Vec<i64>,
    /// How far the scores in a batch differ from those alone at the points that are kept; 0 where that was not asked.
    difference: Vec<f64>,
    /// Whether the points that are kept are adversarial examples in 8-bit pixels, too; absent where that is not asked.
    stored: Option<Vec<bool>>,
    /// Distances of the nearest points that break the float32 copy of the file, and the file with every result rounded.
    others: [Vec<f64>; 2],
    /// The points that a threat model lists, as far as they were judged.
    listed: Option<Listed>,
}

/// What became of the points that a threat model lists, by sample and kind.
struct Listed {
    points: Points,
    tried: Vec<i64>,
    right: Vec<i64>,
}

impl Listed {
    /// Takes over what was found on the points of some samples.
    fn count(&mut self, samples: &[usize], points: &[Option<Candidate>], findings: &[Finding], labels: &[i64]) {
        for ((&sample, point), finding) in samples.iter().zip(points).zip(findings) {
            let z = point.as_ref().and_then(|point| point.z.as_deref()).filter(|_| finding.rejection.is_none());
            let Some(kind) = z.and_then(self.points.kind) else { continue };
            let place = sample * self.points.kinds + kind;
            self.tried[place] += 1;
            self.right[place] += i64::from(finding.prediction == Some(labels[sample] as usize));
        }
    }
}

impl<'g> Verdicts<'g> {
    pub fn new(on: &'g Group<'g>, batch: &'g Batch, keep: Keep) -> Verdicts<'g> {
        let n = batch.len();
        let right = |(answer, &y): (&CleanAnswer, &i64)| answer.prediction == Some(y as usize);
        Verdicts {
            on,
            batch,
            keep,
            right: on.clean.iter().zip(&batch.y).map(right).collect(),
            seen: vec![false; n],
            best: vec![None; n],
            grid: on.conditions.model.native.integer_pixels.is_some().then(|| vec![None; n]),
            spent: vec![Proposal::default(); n],
            rejected: vec![0; n],
            difference: vec![0.0; n],
            stored: (on.conditions.model.native.integer_pixels.is_none() && on.conditions.threat.norm.parameter.is_none())
                .then(|| vec![false; n]),
            others: [vec![f64::NAN; n], vec![f64::NAN; n]],
            listed: on.conditions.threat.norm.parameter.and_then(|parameter| parameter.points()).map(|points| {
                let none = vec![0; n * points.kinds];
                Listed { points, tried: none.clone(), right: none }
            }),
        }
    }

    /// Samples that are still to be attacked. In a ball of radius 0 there is the image and nothing else. Where every point is judged,
    /// misclassified images are among them, because accuracies are counted.
    pub fn active(&self) -> Vec<usize> {
        if self.keep == Keep::Every {
            return (0..self.batch.len()).collect();
        }
        if self.keep != Keep::Nearest && self.on.conditions.threat.eps == 0.0 {
            return Vec::new();
        }
        (0..self.batch.len()).filter(|&i| self.right[i] && !self.is_done(i)).collect()
    }

    /// Every sample that is to be attacked has been.
    pub fn all_seen(&mut self) {
        self.seen.fill(true);
    }

    /// Asks about the points that are kept in batches, too.
    ///
    /// # Errors
    /// The engine failed.
    pub fn ask_in_batches(&mut self) -> Result<(), AttackError> {
        let judged = self.best.iter().enumerate().filter_map(|(i, judged)| Some((i, judged.as_ref()?)));
        let asked: Vec<(usize, &Judged)> = judged.filter(|(_, j)| !j.finding.scores.is_empty()).collect();
        let points = stacked(&asked.iter().map(|(_, j)| &j.point.x[..]).collect::<Vec<_>>(), &self.batch.x0)?;
        let alone: Vec<&[f64]> = asked.iter().map(|(_, j)| j.finding.scores.as_slice()).collect();
        let found = self.on.verifier.differences(&points, &alone)?;
        for ((sample, _), difference) in asked.iter().zip(found) {
            self.difference[*sample] = difference;
        }
        Ok(())
    }

    /// Asks about the points that are kept as files of 8-bit pixels hold them.
    ///
    /// # Errors
    /// The engine failed.
    pub fn ask_as_stored(&mut self) -> Result<(), AttackError> {
        let tolerated = self.on.conditions.threat.tolerated();
        let counts = |finding: &Finding| finding.outcome == Outcome::Broken && finding.distance <= tolerated;
        let broken = |judged: &Option<Judged>| judged.as_ref().is_some_and(|j| counts(&j.finding));
        let samples: Vec<usize> = (0..self.best.len()).filter(|&i| broken(&self.best[i])).collect();
        let Some(stored) = self.stored.as_mut().filter(|_| !samples.is_empty()) else { return Ok(()) };
        let Group { conditions, verifier, .. } = self.on;
        let part = self.batch.select(&samples);
        let clean = pixels(&part.x0).ok_or_else(|| StageError::Result { name: "x0".into() })?;
        let origins = clean.chunks((clean.len() / samples.len()).max(1));
        let rounded = |(&sample, origin): (&usize, &[f32])| {
            let judged = self.best[sample].as_ref()?;
            Some(on_grid(&conditions.threat, origin, &judged.point.x).into())
        };
        let points: Vec<Option<Candidate>> = samples.iter().zip(origins).map(rounded).collect();
        let found = verifier.judge(&conditions.threat, Region::Ball, &part.x0, &part.y, &points)?;
        for (&sample, finding) in samples.iter().zip(&found) {
            stored[sample] = finding.outcome == Outcome::Broken;
        }
        Ok(())
    }

    fn is_done(&self, sample: usize) -> bool {
        let broken = |judged: &Option<Judged>| judged.as_ref().is_some_and(|j| j.finding.outcome == Outcome::Broken);
        self.keep == Keep::FirstSuccess && broken(&self.best[sample]) && self.grid.as_ref().is_none_or(|g| broken(&g[sample]))
    }

    /// Judges points that an attack claims to be adversarial examples. For the nearest goal one stands if it is one; otherwise it
    /// must end the attack on its sample.
    ///
    /// # Errors
    /// The judge failed.
    pub fn judge(&mut self, samples: &[usize], points: &[Vec<f32>]) -> Result<Vec<Ruling>, AttackError> {
        let claimed = self.keep != Keep::Every;
        let claim = |point: &Vec<f32>| Proposal { point: Some(point.clone()), claimed, ..Proposal::default() };
        let broken = self.look_at(samples, points.iter().map(claim).collect())?;
        let stands = |(&sample, broken): (&usize, bool)| if self.keep == Keep::Nearest { broken } else { self.is_done(sample) };
        let stands = samples.iter().zip(broken).map(stands);
        Ok(stands.map(|stands| if stands { Ruling::Stands } else { Ruling::Rejected }).collect())
    }

    /// Takes over what an attack proposes at its end, and its cost.
    ///
    /// # Errors
    /// The judge failed.
    pub fn take(&mut self, samples: &[usize], mut proposals: Vec<Proposal>) -> Result<(), AttackError> {
        for (&sample, proposal) in samples.iter().zip(&mut proposals) {
            self.seen[sample] = true;
            let total = &mut self.spent[sample];
            for (_, count) in COUNTS {
                *count(total) += *count(proposal);
            }
            total.claimed |= proposal.claimed;
            total.losses = std::mem::take(&mut proposal.losses);
        }
        let left: Vec<usize> = (0..samples.len()).filter(|&row| !self.is_done(samples[row])).collect();
        let samples: Vec<usize> = left.iter().map(|&row| samples[row]).collect();
        let proposals: Vec<Proposal> = left.iter().map(|&row| std::mem::take(&mut proposals[row])).collect();
        self.look_at(&samples, proposals).map(drop)
    }

    /// Judges one proposal per sample and keeps the better ones. Returns which are adversarial examples.
    fn look_at(&mut self, samples: &[usize], mut proposals: Vec<Proposal>) -> Result<Vec<bool>, AttackError> {
        if samples.is_empty() {
            return Ok(Vec::new());
        }
        let part = self.batch.select(samples);
        let region = if self.keep == Keep::Nearest { Region::Box } else { Region::Ball };
        let Group { conditions, verifier, .. } = self.on;
        let clean = pixels(&part.x0).ok_or_else(|| StageError::Result { name: "x0".into() })?;
        let origins = || clean.chunks((clean.len() / samples.len()).max(1));
        let candidate = |((origin, p), &id): ((&[f32], &mut Proposal), &u64)| {
            p.point.take().map(|moved| conditions.threat.candidate(origin, moved, id))
        };
        let points: Vec<Option<Candidate>> = origins().zip(&mut proposals).zip(&part.ids).map(candidate).collect();
        let judged = verifier.judge(&conditions.threat, region, &part.x0, &part.y, &points)?;
        let broken: Vec<bool> = judged.iter().map(|finding| finding.outcome == Outcome::Broken).collect();
        if let Some(listed) = self.listed.as_mut().filter(|_| self.grid.is_none()) {
            listed.count(samples, &points, &judged, &self.batch.y);
        }
        let tolerated = conditions.threat.tolerated();
        let threat = conditions.threat.in_levels();
        let stored = |(origin, point): (&[f32], &Option<Candidate>)| {
            let fits = point.as_ref().filter(|p| p.x.len() == origin.len());
            fits.map(|p| Candidate { x: on_grid(&threat, origin, &p.x), ..p.clone() })
        };
        let stored: Option<Vec<Option<Candidate>>> = self.grid.is_some().then(|| origins().zip(&points).map(stored).collect());
        for (((&sample, mut finding), point), proposal) in samples.iter().zip(judged).zip(points).zip(&proposals) {
            self.rejected[sample] += i64::from(finding.rejection.is_some());
            other_precisions(&mut self.others, sample, &finding, self.batch.y[sample]);
            self.spent[sample].claimed |= proposal.claimed;
            // undefined scores count in the ball only
            if finding.outcome == Outcome::NanInBall && finding.distance > tolerated {
                finding.outcome = Outcome::Held;
            }
            let Some(point) = point else { continue };
            let loss = if self.keep == Keep::Every { -finding.margin } else { proposal.loss };
            better(&mut self.best[sample], Judged { finding, point, loss });
        }
        let (Some(grid), Some(stored)) = (&mut self.grid, stored) else { return Ok(broken) };
        let judged = verifier.judge(&threat, region, &part.x0, &part.y, &stored)?;
        if let Some(listed) = &mut self.listed {
            listed.count(samples, &stored, &judged, &self.batch.y);
        }
        for (((&sample, finding), point), proposal) in samples.iter().zip(judged).zip(stored).zip(&proposals) {
            let Some(point) = point else { continue };
            other_precisions(&mut self.others, sample, &finding, self.batch.y[sample]);
            let judged = Judged { finding, point, loss: proposal.loss };
            // a point on the grid that is broken is one of any float values, too
            if judged.finding.outcome == Outcome::Broken {
                better(&mut self.best[sample], judged.clone());
            }
            better(&mut grid[sample], judged);
        }
        Ok(broken)
    }

    fn outcome(&self, best: &[Option<Judged>], sample: usize) -> Outcome {
        match &best[sample] {
            _ if !self.right[sample] => Outcome::Misclassified,
            None if !self.seen[sample] => Outcome::NotAttacked,
            None => Outcome::Held,
            Some(judged) => judged.finding.outcome,
        }
    }

    /// The findings, with the columns that every kind has.
    ///
    /// # Errors
    /// A witness has another size than an image.
    pub fn findings(mut self) -> Result<Findings, MeasureError> {
        let n = self.batch.len();
        let mut findings = self.on.findings();
        let outcomes: Vec<Outcome> = (0..n).map(|i| self.outcome(&self.best, i)).collect();
        findings.put(&OUTCOME, outcomes.iter().map(|&o| o as u8).collect());
        let number = |i: usize, field: fn(&Finding) -> f64| self.best[i].as_ref().map_or(f64::NAN, |j| field(&j.finding));
        findings.put(&DISTANCE, (0..n).map(|i| self.distance(i)).collect());
        findings.put(&MARGIN, (0..n).map(|i| number(i, |f| f.margin)).collect());
        let finding = |i: usize| self.best[i].as_ref().map(|j| &j.finding);
        findings.put(&ADV_PREDICTION, (0..n).map(|i| class(finding(i).and_then(|f| f.prediction))).collect());
        findings.put(&ADV_TIES, (0..n).map(|i| finding(i).is_some_and(|f| f.tied)).collect());
        findings.put(&ADV_BATCH_DIFFERENCE, self.difference.clone());
        if self.on.verifier.draws() > 1 {
            findings.put(&ADV_DRAWN_SHARE, (0..n).map(|i| number(i, |f| f.share)).collect());
        }
        findings.put(&BORDERLINE, (0..n).map(|i| finding(i).is_some_and(is_borderline)).collect());
        if let Some(stored) = self.stored.take() {
            findings.put(&STORED, stored);
        }
        let [float32, rounded] = std::mem::take(&mut self.others);
        if self.on.verifier.asks_the_file() {
            findings.put(&FLOAT32_DISTANCE, float32);
        }
        if self.on.verifier.rounds() {
            findings.put(&ROUNDED_DISTANCE, rounded);
        }
        findings.put(&CLAIMED, self.spent.iter().map(|p| p.claimed).collect());
        findings.put(&REJECTED, self.rejected.clone());
        if let Some(grid) = &self.grid {
            findings.put(&OUTCOME_UINT8, (0..n).map(|i| self.outcome(grid, i) as u8).collect());
        }
        if let Some(Listed { points, tried, right }) = std::mem::take(&mut self.listed) {
            findings.array(TRIED.name, &[n, points.kinds], tried)?;
            findings.array(RIGHT.name, &[n, points.kinds], right)?;
        }
        self.witnesses(&mut findings, &outcomes)?;
        for (column, count) in COUNTS {
            findings.put(column, self.spent.iter_mut().map(|p| *count(p) as i64).collect());
        }
        let losses = |from: usize, count: usize| {
            let of = move |p: &Proposal| {
                (from..from + count).map(|k| p.losses.get(k).copied().unwrap_or(f32::NAN)).collect::<Vec<_>>()
            };
            self.spent.iter().flat_map(of).collect()
        };
        findings.array(OLDER_LOSSES.name, &[n, OLDER], losses(0, OLDER))?;
        findings.array(LAST_LOSSES.name, &[n, REMEMBERED], losses(OLDER, REMEMBERED))?;
        Ok(findings)
    }

    fn distance(&self, sample: usize) -> f64 {
        match &self.best[sample] {
            _ if !self.right[sample] => 0.0,
            Some(judged) if matches!(judged.finding.outcome, Outcome::Broken | Outcome::NanInBall) => judged.finding.distance,
            _ => f64::NAN,
        }
    }

    /// The points that prove what was found, on the grid where the model takes nothing else and the point on it is broken too.
    fn witnesses(&self, findings: &mut Findings, outcomes: &[Outcome]) -> Result<(), FindingsError> {
        let proves = |outcome: Outcome| matches!(outcome, Outcome::Broken | Outcome::NanInBall);
        let on_grid = |i: usize| {
            let judged = self.grid.as_ref()?[i].as_ref()?;
            (self.right[i] && proves(judged.finding.outcome)).then_some(judged)
        };
        let own = |i: usize| self.best[i].as_ref().filter(|_| proves(outcomes[i]));
        let witnesses: Vec<(usize, &Judged)> =
            (0..outcomes.len()).filter_map(|i| Some((i, on_grid(i).or_else(|| own(i))?))).collect();
        let [c, h, w] = self.on.conditions.model.shape;
        findings.put(&WITNESS_ID, witnesses.iter().map(|(i, _)| self.batch.ids[*i] as i64).collect());
        findings.put(&WITNESS_PREDICTION, witnesses.iter().map(|(_, j)| class(j.finding.prediction)).collect());
        findings.put(&WITNESS_DISTANCE, witnesses.iter().map(|(_, j)| j.finding.distance).collect());
        let points: Vec<f32> = witnesses.iter().flat_map(|(_, j)| j.point.x.iter().copied()).collect();
        findings.array(WITNESS_X.name, &[witnesses.len(), c, h, w], points)?;
        let threat = &self.on.conditions.threat;
        if threat.norm.parameter.is_none() {
            return Ok(());
        }
        let parameters: Vec<f32> = witnesses.iter().flat_map(|(_, j)| j.point.z.iter().flatten().copied()).collect();
        findings.array(WITNESS_Z.name, &[witnesses.len(), threat.parameters([c, h, w])], parameters)
    }
}

/// Whether an adversarial example is one by less than what engines differ by.
fn is_borderline(finding: &Finding) -> bool {
    let largest = finding.scores.iter().fold(1f64, |largest, score| largest.max(score.abs()));
    finding.outcome == Outcome::Broken && finding.margin.abs() <= ENGINE_NOISE * largest
}

/// Takes over what other precisions say about a judged point.
fn other_precisions(nearest: &mut [Vec<f64>; 2], sample: usize, finding: &Finding, label: i64) {
    let [float32, rounded] = nearest;
    // f64::min passes NaN over
    if finding.others.float32.as_deref().is_some_and(|scores| is_broken(scores, label as usize)) {
        float32[sample] = float32[sample].min(finding.distance);
    }
    if finding.others.rounded.as_deref().is_some_and(|scores| argmax(scores) != Some(label as usize)) {
        rounded[sample] = rounded[sample].min(finding.distance);
    }
}

/// Keeps the better point: an adversarial example before undefined scores before any admissible point; of two
/// adversarial examples the nearer one, of others the one of the higher loss.
fn better(kept: &mut Option<Judged>, new: Judged) {
    let rank = |judged: &Judged| match (judged.finding.outcome, judged.finding.rejection) {
        (Outcome::Broken, _) => 3,
        (Outcome::NanInBall, _) => 2,
        (_, None) => 1,
        (_, Some(_)) => 0,
    };
    let replaces = kept.as_ref().is_none_or(|old| match (rank(&new), rank(old)) {
        (3, 3) => new.finding.distance < old.finding.distance,
        (a, b) => a > b || (a == b && new.loss > old.loss),
    });
    if replaces {
        *kept = Some(new);
    }
}

/// Points of samples, one above the other.
///
/// # Errors
/// One has another size than an image.
pub(crate) fn stacked<P: Borrow<[f32]>>(points: &[P], like: &Tensor) -> Result<Tensor, AttackError> {
    let mut shape = like.shape().to_vec();
    if let Some(first) = shape.first_mut() {
        *first = points.len();
    }
    Tensor::new(&shape, points.concat()).ok_or_else(|| StageError::Result { name: "x".into() }.into())
}
