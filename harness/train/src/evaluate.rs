//! What a model under training is worth on the validation images: accuracy, accuracy at the last points of an attack, the norm of its
//! Jacobian, and how concentrated its predictions are. Knows graphs and images; nothing of steps.

use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_graph::{Attributes, Builder, DType, Dim, Graph, Tensor, ValueType};
use flatscape_intake::data::Dataset;
use flatscape_intake::scores::argmax;
use flatscape_measure::attack::Batch;
use flatscape_measure::link::{Link, Point};
use flatscape_measure::stage::{Draw, Stage, StageError, Step, Values};
use flatscape_measure::statistics::clopper_pearson;
use flatscape_report::training::Rate;

use crate::learner::{Inner, LearnError, When};

/// Images that are attacked at most, and those whose Jacobian is measured.
const ATTACKED: usize = 1000;
const MEASURED: usize = 200;
/// Classes up to which the norm of the Jacobian is exact; beyond, as many projections estimate it.
const EXACT: usize = 16;

/// What was found. Means are over the first images of the validation split, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Worth {
    /// Share of images that are classified correctly.
    pub clean: Rate,
    /// The same at the last points of the attack, where there is one.
    pub robust: Option<Rate>,
    /// Mean of ‖∂logits/∂x‖², pixel units.
    pub jacobian: f64,
    /// Mean of Σ p².
    pub concentration: f64,
}

impl Worth {
    /// What an epoch is chosen by: accuracy under attack where the trainer attacks, else accuracy.
    pub fn value(&self, attacks: bool) -> f64 {
        self.robust.filter(|_| attacks).unwrap_or(self.clean).share
    }
}

/// A share with its interval.
pub fn rate(count: usize, n: usize) -> Rate {
    let interval = clopper_pearson(count as u64, n as u64);
    Rate { share: count as f64 / n.max(1) as f64, n, low: interval.low, high: interval.high }
}

/// The compiled graphs of an evaluation.
pub struct Evaluation {
    forward: Stage,
    geometry: Stage,
    inner: Option<Inner>,
    eps: f64,
    seed: u64,
    batch_size: usize,
    classes: usize,
}

impl Evaluation {
    /// Compiles them for the evaluation form of a model. `inner` is compiled on the same form.
    ///
    /// # Errors
    /// The model has no gradient, or the engine refuses a graph.
    pub fn compile(
        engine: &dyn Engine,
        link: &Link,
        classes: usize,
        inner: Option<Inner>,
        (eps, seed, batch_size): (f64, u64, usize),
    ) -> Result<Evaluation, LearnError> {
        let cotangent = rows(classes);
        let plain = Link { objective: None, cotangent: None, arguments: &[], ..*link };
        let forward = Stage::compile(engine, &plain.forward(Point::Fed, &["logits"])?)?;
        let with = Link { cotangent: Some(&cotangent), ..plain };
        let geometry = Stage::compile(engine, &with.stage(&columns(classes), Point::Fed, false, &[])?)?;
        Ok(Evaluation { forward, geometry, inner, eps, seed, batch_size, classes })
    }

    /// Evaluates weights on images.
    ///
    /// # Errors
    /// A graph failed, or somebody asked to stop.
    pub fn of(&self, weights: &Values, data: &Dataset, ids: &[u64], stop: &AtomicBool) -> Result<Worth, LearnError> {
        let mut clean = 0;
        let mut robust = 0;
        let (mut jacobian, mut concentration) = (Vec::new(), Vec::new());
        let mut seen = 0;
        for chosen in ids.chunks(self.batch_size.max(1)) {
            let batch = batch(data, chosen);
            let correct = self.correct(weights, &batch.x0, &batch.y)?;
            clean += correct.iter().filter(|c| **c).count();
            if seen < MEASURED {
                let few: Vec<usize> = (0..chosen.len().min(MEASURED - seen)).collect();
                let (j, p) = self.geometry(weights, &batch.select(&few))?;
                jacobian.extend(j);
                concentration.extend(p);
            }
            if let Some(inner) = self.inner.as_ref().filter(|_| seen < ATTACKED) {
                let few = chosen.len().min(ATTACKED - seen);
                robust += self.held_of(inner, weights, &batch.select(&(0..few).collect::<Vec<_>>()), &correct[..few], stop)?;
            }
            seen += chosen.len();
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let attacked = seen.min(ATTACKED);
        Ok(Worth {
            clean: rate(clean, seen),
            robust: self.inner.as_ref().map(|_| rate(robust, attacked)),
            jacobian: mean(&jacobian),
            concentration: mean(&concentration),
        })
    }

    /// The attack of the evaluation, where there is one.
    pub fn attack(&self) -> Option<&Inner> {
        self.inner.as_ref()
    }

    /// How many of these images are classified correctly, and at the last points of an attack, too.
    ///
    /// # Errors
    /// A graph failed, or somebody asked to stop.
    pub fn held(
        &self,
        inner: &Inner,
        weights: &Values,
        data: &Dataset,
        ids: &[u64],
        stop: &AtomicBool,
    ) -> Result<usize, LearnError> {
        let mut held = 0;
        for chosen in ids.chunks(self.batch_size.max(1)) {
            let batch = batch(data, chosen);
            let correct = self.correct(weights, &batch.x0, &batch.y)?;
            held += self.held_of(inner, weights, &batch, &correct, stop)?;
        }
        Ok(held)
    }

    /// The same of one batch; `correct` says which of its images are classified correctly.
    fn held_of(
        &self,
        inner: &Inner,
        weights: &Values,
        batch: &Batch,
        correct: &[bool],
        stop: &AtomicBool,
    ) -> Result<usize, LearnError> {
        // the same random numbers at every evaluation
        let when = When { seed: self.seed, epoch: u32::MAX, step: 0, k: 0, lr: 0.0, eps: self.eps };
        let points = inner.points(weights, batch, &when, stop)?;
        let at = self.correct(weights, &points, &batch.y)?;
        Ok(at.iter().zip(correct).filter(|(adversarial, clean)| **adversarial && **clean).count())
    }

    /// Whether each image is classified as its label.
    fn correct(&self, weights: &Values, x: &Tensor, y: &[i64]) -> Result<Vec<bool>, LearnError> {
        let mut values = weights.clone();
        values.put("x", self.forward.upload(x)?);
        let draw = Draw { seed: self.seed, component: "evaluation", restart: 0, step: Step::All(0) };
        let given = self.forward.run(&values, &[], &draw)?;
        let logits = given.get("logits").ok_or_else(|| StageError::Result { name: "logits".to_owned() })?;
        let logits = self.forward.read(logits)?.to_f64();
        Ok(logits.chunks(self.classes.max(1)).zip(y).map(|(z, &y)| argmax(z).is_some_and(|k| k as i64 == y)).collect())
    }

    fn geometry(&self, weights: &Values, batch: &Batch) -> Result<(Vec<f64>, Vec<f64>), LearnError> {
        let mut values = weights.clone();
        values.put("x", self.geometry.upload(&batch.x0)?);
        let draw = Draw { seed: self.seed, component: "evaluation", restart: 0, step: Step::All(0) };
        let given = self.geometry.run(&values, &batch.ids, &draw)?;
        let column = |name: &str| -> Result<Vec<f64>, LearnError> {
            let column = given.get(name).ok_or_else(|| StageError::Result { name: name.to_owned() })?;
            Ok(self.geometry.read(column)?.to_f64())
        };
        Ok((column("col_jacobian")?, column("col_concentration")?))
    }
}

/// Samples of a data set.
pub fn batch(data: &Dataset, ids: &[u64]) -> Batch {
    let part = data.gather(ids);
    Batch { ids: part.ids, x0: part.x, target: part.y.clone(), y: part.y, clean: None, second: None }
}

/// The rows whose products with the Jacobian are squared and summed: every unit vector, or unit vectors in random directions, scaled so
/// that the sum estimates the squared norm.
fn rows(classes: usize) -> Graph {
    let b = Builder::new(Graph::new("rows"));
    let logits = b.input("logits", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(classes)]));
    let directions = if classes <= EXACT {
        b.constant(Tensor::identity(classes)).unsqueeze(&[0])
    } else {
        let noise = b.input("shared_noise_normal_projection", ValueType::fixed(DType::F32, &[EXACT, classes]));
        let length = (noise * noise).sum(&[1], true).sqrt();
        (noise / length * (classes as f64 / EXACT as f64).sqrt()).unsqueeze(&[0])
    };
    b.output("ct", logits.unsqueeze(&[1]) * 0.0 + directions);
    b.into_graph()
}

/// `col_jacobian` and `col_concentration`, [N].
fn columns(classes: usize) -> Graph {
    let b = Builder::new(Graph::new("geometry"));
    let dims = |rest: &[Dim]| ValueType::new(DType::F32, [&[Dim::symbol("N")][..], rest].concat());
    let logits = b.input("logits", dims(&[Dim::Fixed(classes)]));
    let products = b.input("vjp", dims(&[Dim::Fixed(classes.min(EXACT)), Dim::symbol("D")]));
    b.output("col_jacobian", (products * products).sum(&[1, 2], false));
    let p = b.op("Softmax", &[logits], Attributes::from([("axis", 1.into())]));
    b.output("col_concentration", (p * p).sum(&[1], false));
    b.into_graph()
}
