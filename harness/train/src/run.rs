//! The loop: epochs, steps, checkpoints, the choice of the model. Every number that a step needs follows from the state and from its
//! place in the training, so that going on from a checkpoint gives the same bytes. Knows no trainer and no engine by name.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flatscape_engine::Engine;
use flatscape_graph::{DType, Tensor, rows};
use flatscape_host::{Plugins, TrainingData};
use flatscape_intake::refusal::Refusal;
use flatscape_measure::attack::Batch;
use flatscape_measure::stage::Values;
use flatscape_report::training::{Progress as Row, training_csv};

use crate::augment::augmented;
use crate::checkpoint::Checkpoint;
use crate::directory::Directory;
use crate::evaluate::batch;
use crate::form::values_of;
use crate::learner::{LearnError, Samples, State, When, weights_of};
use crate::manifest::Manifest;
use crate::plan::{Average, Plan};
use crate::prepare::{Prepared, of, shuffled};
use crate::publish;
use crate::refresh::refreshed;
use crate::schedule::Moment;
use crate::store::{Best, Facts, restored, stored};
use crate::watch::{Watched, overfitted};

/// Time between two checkpoints inside of an epoch.
const INTERVAL: Duration = Duration::from_secs(300);

/// A mean cost over an epoch that is this many times that of the first batch, or of guessing if that is larger, has diverged.
const DIVERGED: f64 = 20.0;

/// Is told how a training goes.
pub trait Observer {
    /// A sentence worth a line.
    fn note(&mut self, sentence: &str);
    /// An epoch begins, counted from 0.
    fn begin(&mut self, epoch: u32, epochs: u32);
    /// Steps done of steps to do in this epoch.
    fn progress(&mut self, done: usize, total: usize);
    /// An epoch is finished and on disk.
    fn finished(&mut self, row: &Row);
}

/// How a training ended.
#[derive(Debug)]
pub struct Ending {
    /// The epochs, in order.
    pub rows: Vec<Row>,
    /// The epoch whose weights were written, from 0; `None` where nothing was.
    pub chosen: Option<u32>,
    /// Why it stopped early.
    pub stopped: Option<Stopped>,
    /// Why the model that was written should not be used, as a sentence: it is not better than guessing.
    pub doubt: Option<String>,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

/// Why a training stopped before its last epoch, with the facts as a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// A cost is not finite, or it grew.
    Diverged(String),
    /// It learned to withstand the single step that it is trained with, and nothing else.
    Overfitted(String),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stopped::Diverged(why) => write!(f, "Diverged: {why}"),
            Stopped::Overfitted(why) => write!(f, "Catastrophic overfitting: {why}"),
        }
    }
}

/// A training under way.
struct Training<'t> {
    plan: &'t Plan,
    prepared: &'t Prepared,
    directory: &'t Directory,
    manifest: Manifest,
    state: State,
    facts: Facts,
    /// The weights of the best epoch so far.
    best: Option<Vec<Tensor>>,
    /// The mean of the weights over epochs, where one is kept.
    mean: Option<Vec<Tensor>>,
    /// The perturbation of every slot of a batch, where replays keep one.
    delta: Option<Tensor>,
    /// Adversarial images that were made once: n·C·H·W, in the order of the training ids.
    made: Option<Tensor>,
    last_saved: Instant,
    /// When this process began with the epoch that is under way.
    began: Instant,
}

/// Where the result goes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// The ONNX file to write.
    pub out: &'p Path,
    /// Whether to continue the training that is beside it.
    pub resume: bool,
    /// The command, for the metadata of the file.
    pub command: &'p str,
}

/// Trains by a plan and writes its `out`; beside it, in `OUT.train`, lie checkpoints, log and page.
///
/// # Errors
/// Model, data, plugin, engine, output and usage errors; `R096` where the directory holds another training, with the difference.
pub fn train(
    plan: &Plan,
    place: &Place,
    engine: &dyn Engine,
    plugins: &Plugins,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Ending, Refusal> {
    let Place { out, resume, command } = *place;
    let directory = Directory::open(out, resume)?;
    let start = directory.start(plan)?;
    let prepared = Prepared::of(plan, &start, engine, plugins)?;
    let manifest = Manifest::of(plan, &prepared, engine, command);
    directory.agree(&manifest)?;
    for fact in prepared.notes() {
        observer.note(&fact);
    }
    let mut training = Training::begin(plan, &prepared, &directory, manifest, observer)?;
    training.make_once(observer, stop)?;
    let ended = training.epochs(observer, stop)?;
    training.end(out, ended)
}

/// Why the epochs ended.
enum Ended {
    Whole,
    Interrupted,
    Early(Stopped),
}

impl<'t> Training<'t> {
    /// From the last checkpoint, or from the beginning.
    fn begin(
        plan: &'t Plan,
        prepared: &'t Prepared,
        directory: &'t Directory,
        manifest: Manifest,
        observer: &mut dyn Observer,
    ) -> Result<Training<'t>, Refusal> {
        let weights: Vec<Tensor> = prepared.trainable.weights.iter().map(|w| w.value.cast(DType::F32)).collect();
        let (parameters, statistics) = values_of(&prepared.form, &weights);
        let failed = of(&plan.trainer.id);
        let start = prepared.learner.start(&parameters, &statistics).map_err(&failed)?;
        let mut training = Training {
            plan,
            prepared,
            directory,
            manifest,
            state: start,
            facts: Facts::default(),
            best: None,
            mean: None,
            delta: None,
            made: None,
            last_saved: Instant::now(),
            began: Instant::now(),
        };
        if let Some(checkpoint) = directory.checkpoint()? {
            let found = restored(&checkpoint, &prepared.learner).map_err(failed)?;
            let found = found.map_err(|clause| directory.damaged(&clause))?;
            (training.state, training.best, training.mean, training.delta) = (found.state, found.best, found.mean, found.delta);
            training.facts = checkpoint.facts;
            observer.note(&format!("going on in epoch {} of {}", training.facts.epoch + 1, plan.epochs));
        }
        Ok(training)
    }

    /// Adversarial images of all training images under the weights of the beginning, for trainers that ask for them.
    fn make_once(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<(), Refusal> {
        if self.prepared.fed != TrainingData::AdversarialOnce {
            return Ok(());
        }
        if let Some(made) = self.directory.made()? {
            self.made = Some(made);
            return Ok(());
        }
        if self.facts.k > 0 {
            return Err(self.directory.damaged("lacks the adversarial images of its beginning"));
        }
        observer.note("adversarial images of all training images are made once");
        let when = self.when(0);
        let mut data: Vec<f32> = Vec::new();
        for ids in self.prepared.training.chunks(self.plan.batch_size.max(1)) {
            let weights = self.weights_of_attack(ids, 0)?;
            let points = self.attacked(&weights, &batch(&self.prepared.data, ids), &when, stop)?;
            data.extend(points.to_vec::<f32>().ok_or_else(misshapen)?);
        }
        let [c, h, w] = self.prepared.data.shape;
        let made = Tensor::new(&[self.prepared.training.len(), c, h, w], data).ok_or_else(misshapen)?;
        self.directory.keep_made(&made)?;
        self.made = Some(made);
        Ok(())
    }

    fn epochs(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Ended, Refusal> {
        self.last_saved = Instant::now();
        while self.facts.epoch < self.plan.epochs && self.facts.overfitted.is_none() {
            let epoch = self.facts.epoch;
            observer.begin(epoch, self.plan.epochs);
            self.began = Instant::now();
            let order = shuffled(self.sample_ids(), self.plan.seed, "training", epoch);
            let lots: Vec<&[u64]> = order.chunks(self.plan.batch_size.max(1)).collect();
            for (at, ids) in lots.iter().enumerate().skip(self.facts.batch) {
                if stop.load(Ordering::Relaxed) {
                    self.save()?;
                    return Ok(Ended::Interrupted);
                }
                if let Some(why) = self.batch(ids, at, stop)? {
                    return Ok(Ended::Early(Stopped::Diverged(why)));
                }
                self.facts.batch = at + 1;
                observer.progress(at + 1, lots.len());
                if self.last_saved.elapsed() >= INTERVAL {
                    self.save()?;
                }
            }
            if let Some(why) = self.end_epoch(lots.len(), observer, stop)? {
                return Ok(Ended::Early(Stopped::Diverged(why)));
            }
        }
        Ok(self.facts.overfitted.clone().map_or(Ended::Whole, |why| Ended::Early(Stopped::Overfitted(why))))
    }

    /// Ids of the samples of an epoch; with adversarial images beside the others, they have ids behind those of the data.
    fn sample_ids(&self) -> Vec<u64> {
        let training = &self.prepared.training;
        match self.prepared.fed {
            TrainingData::AdversarialOnce => {
                let behind = self.prepared.data.len() as u64;
                training.iter().copied().chain(training.iter().map(|id| id + behind)).collect()
            }
            _ => training.clone(),
        }
    }

    /// Trains on a batch, as often as the trainer repeats it. The sentence says why the training has diverged.
    fn batch(&mut self, ids: &[u64], at: usize, stop: &AtomicBool) -> Result<Option<String>, Refusal> {
        let failed = of(&self.plan.trainer.id);
        let mut samples = self.images(ids)?;
        let step = at as u32 * self.prepared.repeats;
        if self.prepared.fed == TrainingData::AdversarialOnline {
            let when = self.when(step);
            let weights = self.weights_of_attack(&samples.ids, step)?;
            let points = self.attacked(&weights, &samples, &when, stop)?;
            samples = beside(&samples, &points, self.prepared.data.len() as u64)?;
        }
        for replay in 0..self.prepared.repeats {
            let when = self.when(step + replay);
            let adversarial = self.adversarial(&samples, &when, stop)?;
            let given = Samples { batch: &samples, adversarial: adversarial.as_ref() };
            let costs = self.prepared.learner.step(&mut self.state, given, &when).map_err(&failed)?;
            self.move_delta(&samples, costs.dx.as_ref(), &when)?;
            if costs.cost.len() != samples.len() {
                return Err(self.at_fault(134, &format!("it gives {} costs for {} samples", costs.cost.len(), samples.len())));
            }
            if let Some(why) = self.facts.sums.add(&costs, self.facts.epoch, at) {
                if self.facts.k == 0 {
                    return Err(self.at_fault(141, &format!("{why}, before anything was trained")));
                }
                return Ok(Some(why));
            }
            self.facts.first_cost.get_or_insert(self.facts.sums.mean_cost());
            self.facts.k += 1;
        }
        Ok(None)
    }

    /// What is wrong with the cost of the trainer, as a clause.
    fn at_fault(&self, number: u16, clause: &str) -> Refusal {
        Refusal::plugin(number, format!("the trainer {}: {clause}", self.plan.trainer.id)).help(
            "a cost is float[N], one finite number per sample; flatscape plugins check FILE tries it on a linear classifier",
        )
    }

    /// The images of these ids, augmented.
    fn images(&self, ids: &[u64]) -> Result<Batch, Refusal> {
        let behind = self.prepared.data.len() as u64;
        let own: Vec<u64> = ids.iter().map(|id| id % behind).collect();
        let mut samples = batch(&self.prepared.data, &own);
        if let Some(made) = &self.made {
            let mut data = samples.x0.to_vec::<f32>().ok_or_else(misshapen)?;
            let size = self.prepared.data.image_len();
            for (image, id) in data.chunks_mut(size.max(1)).zip(ids).filter(|(_, id)| **id >= behind) {
                let place = self.prepared.training.binary_search(&(id - behind)).map_err(|_| misshapen())?;
                image.copy_from_slice(&rows(made, &[place]).to_vec::<f32>().ok_or_else(misshapen)?);
            }
            samples.x0 = Tensor::new(samples.x0.shape(), data).ok_or_else(misshapen)?;
        }
        samples.ids = ids.to_vec();
        samples.x0 = augmented(&samples.x0, ids, &self.plan.augment, self.plan.seed, self.facts.epoch);
        Ok(samples)
    }

    /// The adversarial points that the cost reads.
    fn adversarial(&mut self, samples: &Batch, when: &When, stop: &AtomicBool) -> Result<Option<Tensor>, Refusal> {
        if !self.prepared.learner.reads_adversarial {
            return Ok(None);
        }
        if let Some(replays) = &self.prepared.replays {
            let slots: Vec<usize> = (0..samples.len()).collect();
            let delta = self.delta.get_or_insert_with(|| {
                let [c, h, w] = self.prepared.data.shape;
                Tensor::full(DType::F32, &[self.plan.batch_size.max(1), c, h, w], 0.0)
            });
            let points = replays.points(samples, &rows(delta, &slots), when);
            return points.map(Some).map_err(of(&self.plan.trainer.id));
        }
        let weights = self.weights_of_attack(&samples.ids, when.step)?;
        self.attacked(&weights, samples, when, stop).map(Some)
    }

    /// The perturbation of the next replay.
    fn move_delta(&mut self, samples: &Batch, dx: Option<&Tensor>, when: &When) -> Result<(), Refusal> {
        let (Some(replays), Some(delta), Some(dx)) = (&self.prepared.replays, &mut self.delta, dx) else { return Ok(()) };
        let slots: Vec<usize> = (0..samples.len()).collect();
        let next = replays.next(samples, &rows(delta, &slots), dx, when).map_err(of(&self.plan.trainer.id))?;
        let (mut all, next) = delta.to_vec::<f32>().zip(next.to_vec::<f32>()).ok_or_else(misshapen)?;
        all[..next.len()].copy_from_slice(&next);
        *delta = Tensor::new(delta.shape(), all).ok_or_else(misshapen)?;
        Ok(())
    }

    fn attacked(&self, weights: &Values, samples: &Batch, when: &When, stop: &AtomicBool) -> Result<Tensor, Refusal> {
        let inner = self.prepared.inner.as_ref();
        let inner =
            inner.ok_or_else(|| Refusal::plugin(134, format!("the trainer {} states no attack", self.plan.trainer.id)))?;
        inner.points(weights, samples, when, stop).map_err(of("the inner attack"))
    }

    /// The weights as the inner attack reads them, with masks where it runs in training mode.
    fn weights_of_attack(&self, ids: &[u64], step: u32) -> Result<Values, Refusal> {
        let mut weights = weights_of(&self.state.parameters, &self.state.statistics);
        let when = self.when(step);
        self.prepared.learner.put_masks(&mut weights, ids, &when).map_err(of(&self.plan.trainer.id))?;
        Ok(weights)
    }

    /// The place of a step.
    fn when(&self, step: u32) -> When {
        self.when_at(step, self.facts.k)
    }

    /// The same of the step that is the `k`th of all.
    fn when_at(&self, step: u32, k: u64) -> When {
        let per_epoch = self.sample_count().div_ceil(self.plan.batch_size.max(1)) as u64 * u64::from(self.prepared.repeats);
        let moment =
            Moment { epoch: self.facts.epoch, epochs: self.plan.epochs, step: k, steps: per_epoch * u64::from(self.plan.epochs) };
        When {
            seed: self.plan.seed,
            epoch: self.facts.epoch,
            step,
            k,
            lr: self.plan.lr * self.plan.schedule.factor(&moment),
            eps: self.prepared.threat.eps,
        }
    }

    fn sample_count(&self) -> usize {
        let twice = self.prepared.fed == TrainingData::AdversarialOnce;
        self.prepared.training.len() * if twice { 2 } else { 1 }
    }

    /// Averages, evaluation, log, the choice of the model, and a checkpoint.
    fn end_epoch(&mut self, lots: usize, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Option<String>, Refusal> {
        let epoch = self.facts.epoch;
        // of the last step that was taken
        let lr = self.when_at(lots.saturating_sub(1) as u32, self.facts.k.saturating_sub(1)).lr;
        let sums = std::mem::take(&mut self.facts.sums);
        let guessing = (self.prepared.model.classes as f64).ln();
        if sums.mean_cost() > DIVERGED * guessing.max(self.facts.first_cost.unwrap_or(guessing)) {
            let what =
                format!("the mean cost of epoch {} is {:.3}, far above that of the first batch", epoch + 1, sums.mean_cost());
            return Ok(Some(what));
        }
        let weights = self.evaluated(epoch)?;
        let (parameters, statistics) = values_of(&self.prepared.form, &weights);
        let failed = of("evaluation");
        let buffers =
            parameters.iter().map(|t| self.prepared.learner.upload(t)).collect::<Result<Vec<_>, _>>().map_err(&failed)?;
        let fed = weights_of(&buffers, &statistics);
        let worth = match self.prepared.held.is_empty() {
            true => None,
            false => Some(self.prepared.evaluation.of(&fed, &self.prepared.data, &self.prepared.held, stop).map_err(&failed)?),
        };
        let watched = self.watched(&fed, stop).map_err(failed)?;
        let row = sums.row(epoch, lr, worth.as_ref(), watched.as_ref());
        let value = worth.as_ref().map_or(f64::from(epoch), |worth| worth.value(self.prepared.attacks));
        if self.facts.overfitted.is_none() && self.facts.best.as_ref().is_none_or(|best| value > best.value) {
            self.facts.best = Some(Best { epoch, value });
            self.best = Some(weights);
        }
        self.facts.rows.push(row.clone());
        (self.facts.epoch, self.facts.batch) = (epoch + 1, 0);
        self.save()?;
        self.directory.publish("log.csv", &training_csv(&self.facts.rows))?;
        self.directory.time(epoch, self.began.elapsed().as_secs_f64())?;
        observer.finished(&row);
        Ok(None)
    }

    /// Looks for catastrophic overfitting, where the training is one in which it occurs.
    fn watched(&mut self, fed: &Values, stop: &AtomicBool) -> Result<Option<Watched>, LearnError> {
        let Some(watch) = &self.prepared.watch else { return Ok(None) };
        let found = watch.of(&self.prepared.evaluation, fed, &self.prepared.data, stop)?;
        if let Some(now) = &found {
            let best = self.facts.watched;
            self.facts.overfitted = overfitted(best, now).map(|why| format!("after epoch {} {why}", self.facts.epoch + 1));
            self.facts.watched = Some(best.map_or(now.robust.share, |best| best.max(now.robust.share)));
        }
        Ok(found)
    }

    /// All weights as they are evaluated and written after an epoch: the averages where there are any, with statistics of their own.
    fn evaluated(&mut self, epoch: u32) -> Result<Vec<Tensor>, Refusal> {
        let host = |buffers: &[flatscape_engine::Buffer]| -> Result<Vec<Tensor>, Refusal> {
            buffers.iter().map(|b| b.host()).collect::<Result<_, _>>().map_err(|e| of("the weights")(e.into()))
        };
        let current = host(&self.state.parameters)?;
        let averaged = match self.plan.average {
            Average::None => None,
            Average::Ema(_) => Some(host(&self.state.averages)?),
            Average::Swa(from) if epoch + 1 < from => None,
            Average::Swa(from) => {
                let count = f64::from(epoch + 1 - from);
                let mean = match self.mean.take() {
                    None => current.clone(),
                    Some(mean) => mean.iter().zip(&current).map(|(mean, new)| mixed(mean, new, 1.0 / (count + 1.0))).collect(),
                };
                self.mean = Some(mean.clone());
                Some(mean)
            }
        };
        let statistics = match &averaged {
            Some(parameters) => refreshed(self.prepared, parameters, self.plan)?.unwrap_or_else(|| self.state.statistics.clone()),
            None => self.state.statistics.clone(),
        };
        let mut weights: Vec<Tensor> = self.prepared.trainable.weights.iter().map(|w| w.value.clone()).collect();
        let form = &self.prepared.form;
        for (&place, value) in form.trained.iter().zip(averaged.unwrap_or(current)) {
            weights[place] = value;
        }
        for (s, pair) in form.statistics.iter().zip(statistics.chunks(2)) {
            if let [mean, variance] = pair {
                (weights[s.mean], weights[s.variance]) = (mean.clone(), variance.clone());
            }
        }
        Ok(weights)
    }

    /// Writes a checkpoint.
    fn save(&mut self) -> Result<(), Refusal> {
        let tensors = stored(&self.state, self.best.as_deref(), self.mean.as_deref(), self.delta.as_ref());
        let tensors = tensors.map_err(|e| of("the checkpoint")(e.into()))?;
        self.directory.keep(&Checkpoint { facts: self.facts.clone(), tensors })?;
        self.last_saved = Instant::now();
        Ok(())
    }

    /// Writes what a finished training leaves, or the last good model of one that diverged.
    fn end(self, out: &Path, ended: Ended) -> Result<Ending, Refusal> {
        let Training { prepared, directory, manifest, facts, best, .. } = self;
        let chosen = facts.best.as_ref().map(|b| b.epoch);
        let (stopped, interrupted) = match ended {
            Ended::Whole => (None, false),
            Ended::Interrupted => (None, true),
            Ended::Early(stopped) => (Some(stopped), false),
        };
        let doubt = if stopped.is_none() { facts.guesses(prepared.model.classes) } else { None };
        let ending = |chosen| {
            let (stopped, doubt) = (stopped.clone(), doubt.clone());
            Ending { rows: facts.rows.clone(), chosen, stopped, doubt, interrupted }
        };
        if interrupted {
            return Ok(ending(None));
        }
        let page = publish::page(&manifest, &facts, stopped.as_ref(), doubt.as_deref());
        directory.publish("curves.svg", page.curves.as_bytes())?;
        directory.publish("report.html", page.html.as_bytes())?;
        let Some(weights) = best else { return Ok(ending(None)) };
        let bytes = publish::model(prepared, &manifest, &facts, &weights)?;
        match stopped {
            None => flatscape_intake::files::publish(out, &bytes)?,
            Some(_) => directory.publish("last-good.onnx", &bytes)?,
        }
        Ok(ending(chosen))
    }
}

fn misshapen() -> Refusal {
    Refusal::plugin(134, "the points of the inner attack do not have the shape of the images")
}

/// Images with their adversarial points behind them, with the same labels and ids of their own.
fn beside(samples: &Batch, points: &Tensor, behind: u64) -> Result<Batch, Refusal> {
    let joined = samples.x0.to_vec::<f32>().zip(points.to_vec::<f32>()).map(|(a, b)| [a, b].concat());
    let mut shape = samples.x0.shape().to_vec();
    shape[0] *= 2;
    let x0 = joined.and_then(|data| Tensor::new(&shape, data)).ok_or_else(misshapen)?;
    let y = [&samples.y[..], &samples.y].concat();
    let ids = samples.ids.iter().copied().chain(samples.ids.iter().map(|id| id + behind)).collect();
    Ok(Batch { ids, x0, target: y.clone(), y, clean: None, second: None })
}

/// a + share · (b − a), in double, rounded once.
fn mixed(a: &Tensor, b: &Tensor, share: f64) -> Tensor {
    let data: Vec<f64> = a.to_f64().iter().zip(b.to_f64()).map(|(a, b)| a + share * (b - a)).collect();
    Tensor::new(a.shape(), data).map_or_else(|| a.clone(), |t| t.cast(a.dtype()))
}
