//! Checks what attacks propose: finite, in the box, in the ball, and misclassified by the untouched model in a fresh session
//! at another batch size. Knows nothing of the attack; its word is the only one that enters a verdict.

use flatscape_engine::Engine;
use flatscape_graph::{Graph, Tensor};
use flatscape_intake::scores::{argmax, is_broken, margin};

use crate::attack::{AttackError, host};
use crate::link::Link;
use crate::stage::{Draw, Stage, Step, Values};
use crate::threats::ThreatModel;

/// Runs the untouched model: pixel units in, logits out.
pub struct Verifier {
    forward: Stage,
    batch_size: usize,
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
    /// A point inside ball and box makes the model give something that is no number: no adversarial example, and not robust.
    NanInBall,
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
}

/// The finding on one proposed point.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// Verdict on the point.
    pub outcome: Outcome,
    /// Why the point was not even looked at.
    pub rejection: Option<Rejection>,
    /// Distance from the clean point in the norm of the threat, f64.
    pub distance: f64,
    /// `z_y − max_{i≠y} z_i` at the point.
    pub margin: f64,
    /// Predicted class at the point.
    pub prediction: Option<usize>,
}

impl Verifier {
    /// A fresh session of the model. Choose a `batch_size` that differs from the attack's.
    pub fn new(engine: &dyn Engine, model: &Graph, threat: &ThreatModel, batch_size: usize) -> Result<Verifier, AttackError> {
        let link =
            Link { model, objective: None, cotangent: None, given: None, threat, targeted: false, arguments: &[], steps: 0 };
        Ok(Verifier { forward: Stage::compile(engine, &link.forward(&["logits"])?)?, batch_size: batch_size.max(1) })
    }

    /// Logits of points [n,C,H,W], row by row.
    pub fn logits(&self, points: &Tensor) -> Result<Vec<Vec<f64>>, AttackError> {
        let count = points.shape().first().copied().unwrap_or(0);
        let mut all = Vec::with_capacity(count);
        for start in (0..count).step_by(self.batch_size) {
            let chosen: Vec<usize> = (start..count.min(start + self.batch_size)).collect();
            let mut values = Values::default();
            values.put("x", self.forward.upload(&flatscape_graph::rows(points, &chosen))?);
            let ids = vec![0; chosen.len()];
            let draw = Draw { seed: 0, component: "verify", restart: 0, step: Step::All(0) };
            let given = self.forward.run(&values, &ids, &draw)?;
            let logits = host(&given, "logits")?.to_f64();
            let classes = logits.len() / chosen.len().max(1);
            all.extend(logits.chunks(classes.max(1)).map(<[f64]>::to_vec));
        }
        Ok(all)
    }

    /// Judges one point per sample (`None`: nothing was offered, the sample holds). All points have the shape of `x0`'s rows.
    pub fn judge(
        &self,
        threat: &ThreatModel,
        x0: &Tensor,
        y: &[i64],
        points: &[Option<Vec<f32>>],
    ) -> Result<Vec<Finding>, AttackError> {
        let clean = x0.to_vec::<f32>().unwrap_or_default();
        let width = clean.len() / y.len().max(1);
        let mut findings: Vec<Finding> = Vec::with_capacity(y.len());
        let mut asked: Vec<usize> = Vec::new();
        let mut pixels: Vec<f32> = Vec::new();
        for (sample, point) in points.iter().enumerate() {
            let origin = &clean[sample * width..(sample + 1) * width];
            let held = Finding { outcome: Outcome::Held, rejection: None, distance: 0.0, margin: f64::NAN, prediction: None };
            findings.push(match point {
                None => held,
                Some(point) => {
                    let rejection = admissible(threat, origin, point);
                    if rejection.is_none() {
                        asked.push(sample);
                        pixels.extend(point);
                    }
                    let distance = threat.distance(point, origin, None).unwrap_or(f64::NAN);
                    Finding { rejection, distance, ..held }
                }
            });
        }
        let mut shape = x0.shape().to_vec();
        if let Some(first) = shape.first_mut() {
            *first = asked.len();
        }
        let Some(points) = Tensor::new(&shape, pixels) else { return Ok(findings) };
        for (logits, &sample) in self.logits(&points)?.iter().zip(&asked) {
            let finding = &mut findings[sample];
            finding.margin = margin(logits, y[sample] as usize);
            finding.prediction = argmax(logits);
            if logits.iter().any(|z| !z.is_finite()) {
                finding.outcome = Outcome::NanInBall;
            } else if is_broken(logits, y[sample] as usize) {
                finding.outcome = Outcome::Broken;
            }
        }
        Ok(findings)
    }
}

/// Whether a point may be looked at: finite, in the box, in the ball. Computed in f64 from the stored numbers.
pub fn admissible(threat: &ThreatModel, origin: &[f32], point: &[f32]) -> Option<Rejection> {
    if point.len() != origin.len() {
        return Some(Rejection::WrongSize);
    }
    if point.iter().any(|v| !v.is_finite()) {
        return Some(Rejection::NotFinite);
    }
    if point.iter().any(|&v| !(threat.lo..=threat.hi).contains(&v)) {
        return Some(Rejection::OutsideBox);
    }
    match threat.distance(point, origin, None) {
        None => Some(Rejection::NotMeasured),
        Some(distance) if distance <= threat.tolerated() => None,
        Some(_) => Some(Rejection::OutsideBall),
    }
}
