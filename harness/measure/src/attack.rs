//! The attack loop: restarts, steps, projection and what is kept. It proposes; [`crate::verify`] disposes. Written once, for
//! every attack that is a program.

mod keep;
mod look;
mod lots;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_engine::{Buffer, Engine, EngineError};
use flatscape_graph::{Element, Tensor, rows};
use flatscape_host::{Program, Role};

use crate::link::{Link, LinkError, Linked, Point};
use crate::stage::{Draw, Stage, StageError, Step, Values};
use crate::threats::ThreatModel;
use keep::{BEST, BEST_SCORE, BROKEN, COUNTS, FOUND, Keeping, LOSSES, NOTHING, SUCCESS, kept, next};
use lots::Lot;

pub use keep::Keep;
pub(crate) use keep::{OLDER, REMEMBERED, ZERO};

/// The samples under attack: clean points in pixel units and what is known about them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Canonical sample ids: they key the randomness.
    pub ids: Vec<u64>,
    /// Clean points, float[n,C,H,W].
    pub x0: Tensor,
    /// Labels.
    pub y: Vec<i64>,
    /// Desired classes, for targeted attacks; otherwise the labels again.
    pub target: Vec<i64>,
    /// The clean points, where `x0` are others: a metric that is taken at adversarial points. `None`: `x0` are clean.
    pub clean: Option<Tensor>,
    /// The points of a second attack, for a metric that looks at two. `None`: the clean points.
    pub second: Option<Tensor>,
}

impl Batch {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The chosen samples.
    pub fn select(&self, chosen: &[usize]) -> Batch {
        let pick = |from: &[i64]| chosen.iter().map(|&i| from[i]).collect();
        Batch {
            ids: chosen.iter().map(|&i| self.ids[i]).collect(),
            x0: rows(&self.x0, chosen),
            y: pick(&self.y),
            target: pick(&self.target),
            clean: self.clean.as_ref().map(|clean| rows(clean, chosen)),
            second: self.second.as_ref().map(|second| rows(second, chosen)),
        }
    }

    /// A range of samples.
    pub fn range(&self, range: Range<usize>) -> Batch {
        self.select(&range.collect::<Vec<_>>())
    }
}

/// What an attack proposes for one sample.
#[derive(Clone, Debug, Default)]
pub struct Proposal {
    /// What the threat model lets an attack move: the image, C·H·W values in pixel units, or the parameter z that it is decoded
    /// from, P values. `None` when the attack offered nothing.
    pub point: Option<Vec<f32>>,
    /// Whether the attack's own graph saw an adversarial example.
    pub claimed: bool,
    /// What the point is worth to the attack: its loss where it is an ordinary one.
    pub loss: f64,
    /// Evaluations of the model spent.
    pub forwards: u64,
    /// Reverse passes spent.
    pub backwards: u64,
    /// Gradients that were counted.
    pub gradients: u64,
    /// Gradients seen that were zero everywhere.
    pub zero_gradients: u64,
    /// Gradients seen with an entry that is NaN or infinite.
    pub broken_gradients: u64,
    /// Steps that changed no pixel.
    pub unmoved_steps: u64,
    /// What is known of the losses before the steps; see `LAST_LOSSES` and `OLDER_LOSSES`.
    pub losses: Vec<f32>,
}

/// How one restart is run.
#[derive(Clone, Copy, Debug)]
pub struct Restart<'r> {
    /// Seed of the audit.
    pub seed: u64,
    /// The radius.
    pub eps: f64,
    /// Which restart, from 0.
    pub number: u32,
    /// Samples per run of a graph.
    pub batch_size: usize,
    /// Looked at between runs.
    pub stop: &'r AtomicBool,
}

/// Is asked about adversarial examples that an attack claims: their places among the samples and their points.
pub type Judge<'j> = &'j mut dyn FnMut(&[usize], &[Vec<f32>]) -> Result<Vec<Ruling>, AttackError>;

/// What a judge says of an adversarial example that an attack claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is one, and the sample is done: it leaves the batch, unless the nearest example is looked for.
    Stands,
    /// It is none, or not enough. It is forgotten, and the sample goes on from where it is.
    Rejected,
}

/// An attack program linked to a model and compiled.
pub struct Attack {
    component: String,
    init: Option<Stage>,
    steps: Vec<Stage>,
    emit: Option<Stage>,
    last: Stage,
    count: u32,
    keep: Keep,
    /// What is moved: `x`, or the parameter `z` that x is decoded from.
    moved: &'static str,
    /// Whether steps use gradients.
    follows_gradient: bool,
    /// The threat model, where images are decoded from `z` by the host and a graph reads them.
    decodes: Option<ThreatModel>,
}

/// What can go wrong between a program and its verdict.
#[derive(Debug, thiserror::Error)]
pub enum AttackError {
    /// The program does not fit the model.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The program failed while it ran.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Attack {
    /// Links and compiles. `free` attacks may leave the ball on their way; only the points that they propose are checked.
    ///
    /// # Errors
    /// The program does not fit the model, or the engine refuses what was linked.
    pub fn compile(
        engine: &dyn Engine,
        link: &Link,
        program: &Program,
        component: &str,
        free: bool,
        keep: Keep,
    ) -> Result<Attack, AttackError> {
        let keeping = Keeping { keep, threat: link.threat, targeted: link.targeted, free };
        let complete = |linked: Linked| if keep.is_in_graph() { kept(linked, keeping) } else { Ok(linked) };
        let asked: &[&str] = if !keep.is_in_graph() { &[] } else { &["logits", "loss", "grad_peak", "x"] };
        let mut follows_gradient = false;
        let mut steps = Vec::new();
        for graph in program.graphs(Role::Step) {
            let linked = link.stage(graph, Point::Decoded, !free, asked)?;
            follows_gradient |= linked.graph.outputs().iter().any(|o| &*o.name == "grad_peak");
            steps.push(Stage::fast(engine, &complete(linked)?)?);
        }
        let plain =
            |graph, point| -> Result<Stage, AttackError> { Ok(Stage::fast(engine, &link.stage(graph, point, !free, &[])?)?) };
        let init = program.graph(Role::Init).map(|g| plain(g, Point::Start)).transpose()?;
        let emit = program.graph(Role::Emit).map(|g| plain(g, Point::Decoded)).transpose()?;
        let at_last: &[&str] = if !keep.is_in_graph() { &["logits", "loss"] } else { &["logits", "loss", "x"] };
        let last = Stage::fast(engine, &complete(link.forward(Point::Decoded, at_last)?)?)?;
        let component = component.to_owned();
        let moved = if link.threat.norm.parameter.is_some() { "z" } else { "x" };
        let by_host = link.threat.norm.parameter.is_some_and(|parameter| parameter.points().is_some());
        let reads = |stage: &Stage| stage.reads("x");
        let read = steps.iter().chain(&emit).any(reads) || keep != Keep::Every && reads(&last);
        let decodes = (by_host && read).then(|| link.threat.clone());
        Ok(Attack { component, init, steps, emit, last, count: program.steps, keep, moved, follows_gradient, decodes })
    }

    /// Bytes that were moved by all runs so far: to the engine, and from it.
    pub fn traffic(&self) -> (u64, u64) {
        let stages = self.init.iter().chain(&self.steps).chain(&self.emit).chain([&self.last]);
        stages.map(Stage::traffic).fold((0, 0), |(up, down), (u, d)| (up + u, down + d))
    }

    /// One restart over all samples: a proposal per sample, in order. The steps of all samples go together, in lots of
    /// `batch_size`; after each step those that are left are packed again. `progress` receives the share that is done.
    ///
    /// # Errors
    /// A stage or the judge failed, or [`AttackError::Interrupted`].
    pub fn run(
        &self,
        batch: &Batch,
        restart: &Restart,
        judge: Judge,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Proposal>, AttackError> {
        self.run_with(batch, restart, &Values::default(), true, judge, progress)
    }

    /// The same on a model whose weights are inputs: `weights` are values of these inputs. Those with one row per sample need a
    /// batch that is one lot. Where points are kept whatever they are and are not `scored`, the last evaluation is left out, and their
    /// losses are NaN.
    ///
    /// # Errors
    /// As for [`Attack::run`].
    pub fn run_with(
        &self,
        batch: &Batch,
        restart: &Restart,
        weights: &Values,
        scored: bool,
        judge: Judge,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Proposal>, AttackError> {
        let mut run = Run {
            attack: self,
            scored: self.keep != Keep::Every && (scored || self.keep != Keep::Last),
            batch,
            restart,
            weights,
            lots: Vec::new(),
            proposals: vec![Proposal { loss: f64::NEG_INFINITY, ..Proposal::default() }; batch.len()],
            spent: Proposal::default(),
        };
        run.start()?;
        for k in 0..self.count {
            let Some(step) = self.steps.get(k as usize % self.steps.len().max(1)) else { break };
            if run.lots.is_empty() {
                break;
            }
            run.step(step, k)?;
            run.look(judge, k)?;
            progress(f64::from(k + 1) / f64::from(self.count + 1));
        }
        run.end()?;
        Ok(run.proposals)
    }
}

/// One restart under way.
struct Run<'a> {
    attack: &'a Attack,
    /// Whether the last points are evaluated.
    scored: bool,
    batch: &'a Batch,
    restart: &'a Restart<'a>,
    weights: &'a Values,
    lots: Vec<Lot>,
    proposals: Vec<Proposal>,
    /// What a sample has spent that is still under attack.
    spent: Proposal,
}

impl Run<'_> {
    fn draw(&self, step: u32) -> Draw<'_> {
        Draw { seed: self.restart.seed, component: &self.attack.component, restart: self.restart.number, step: Step::All(step) }
    }

    fn go_on(&self) -> Result<(), AttackError> {
        if self.restart.stop.load(Ordering::Relaxed) { Err(AttackError::Interrupted) } else { Ok(()) }
    }

    fn ids(&self, lot: &Lot) -> Vec<u64> {
        lot.rows.iter().map(|&row| self.batch.ids[row]).collect()
    }

    fn spend(&mut self, stage: &Stage) {
        self.spent.forwards += stage.forwards;
        self.spent.backwards += stage.backwards;
    }

    /// Cuts the samples into lots and runs `init` on each.
    fn start(&mut self) -> Result<(), AttackError> {
        let every: Vec<usize> = (0..self.batch.len()).collect();
        for part in every.chunks(self.restart.batch_size.max(1)) {
            self.go_on()?;
            let mut lot = Lot::new(part.to_vec(), self.values(part)?);
            if let Some(init) = &self.attack.init {
                let mut given = init.run(&lot.values, &self.ids(&lot), &self.draw(0))?;
                if let Some(first) = given.take(self.attack.moved) {
                    lot.values.put(self.attack.moved, first);
                }
                lot.values.keep(given);
            }
            self.decode(&mut lot)?;
            self.lots.push(lot);
        }
        if let Some(init) = &self.attack.init {
            self.spend(init);
        }
        Ok(())
    }

    /// What every graph may name at the start.
    fn values(&self, rows_of: &[usize]) -> Result<Values, AttackError> {
        let last = &self.attack.last;
        let n = rows_of.len();
        let column = |data: &[i64]| Tensor::ints(&rows_of.iter().map(|&row| data[row]).collect::<Vec<_>>());
        let filled = |shape: &[usize], value: f32| {
            Tensor::new(shape, vec![value; shape.iter().product()]).ok_or_else(|| StageError::Result { name: BEST.into() })
        };
        let mut values = self.weights.clone();
        let x0 = last.upload(&rows(&self.batch.x0, rows_of))?;
        // the image, or the parameter 0, which leaves it as it is
        let start = match last.extent(self.attack.moved).filter(|_| self.attack.moved == "z") {
            Some(count) => last.upload(&filled(&[n, count], 0.0)?)?,
            None => x0.clone(),
        };
        values.put(self.attack.moved, start.clone());
        if self.attack.keep.is_in_graph() {
            values.put(BEST, start);
            values.put(BEST_SCORE, last.upload(&filled(&[n], NOTHING)?)?);
            values.put(LOSSES, last.upload(&filled(&[n, OLDER + REMEMBERED], f32::NAN)?)?);
            values.put(COUNTS, last.upload(&filled(&[n, 3, 1, 1], 0.0)?)?);
        }
        values.put("x0", x0);
        values.put("y", last.upload(&column(&self.batch.y))?);
        values.put("target", last.upload(&column(&self.batch.target))?);
        values.put("eps", last.upload(&Tensor::scalar(self.restart.eps as f32))?);
        let stages = self.attack.init.iter().chain(&self.attack.steps).chain(&self.attack.emit);
        if stages.into_iter().any(|stage| stage.reads("x_clean")) {
            values.put("x_clean", last.upload(&rows(self.batch.clean.as_ref().unwrap_or(&self.batch.x0), rows_of))?);
        }
        values.put("restart", last.upload(&Tensor::scalar(i64::from(self.restart.number)))?);
        values.put(BROKEN, last.upload(&Tensor::from(ndarray::ArrayD::from_elem(ndarray::IxDyn(&[n]), false)))?);
        if self.attack.keep == Keep::Nearest {
            values.put(FOUND, last.upload(&Tensor::from(ndarray::ArrayD::from_elem(ndarray::IxDyn(&[n]), false)))?);
        }
        Ok(values)
    }

    /// Runs a step on every lot.
    fn step(&mut self, step: &Stage, k: u32) -> Result<(), AttackError> {
        let mut lots = std::mem::take(&mut self.lots);
        for lot in &mut lots {
            self.go_on()?;
            lot.values.put("k", step.upload(&Tensor::scalar(i64::from(k)))?);
            let mut given = step.run(&lot.values, &self.ids(lot), &self.draw(k + 1))?;
            let name = format!("{}_next", self.attack.moved);
            let next = given.take(&name).ok_or(StageError::Result { name })?;
            lot.values.put(self.attack.moved, next);
            keep_best(&mut lot.values, &mut given);
            lot.values.keep(given);
            self.decode(lot)?;
        }
        self.lots = lots;
        self.spend(step);
        self.spent.gradients += u64::from(self.attack.follows_gradient);
        Ok(())
    }

    /// Makes `x` the images that the parameters of a lot decode to, where graphs read them and the host decodes. What cannot be
    /// decoded is NaN; no judge admits it.
    fn decode(&self, lot: &mut Lot) -> Result<(), AttackError> {
        let Some(threat) = &self.attack.decodes else { return Ok(()) };
        let every: Vec<usize> = (0..lot.rows.len()).collect();
        let clean = rows(&self.batch.x0, &lot.rows);
        let pixels = clean.to_vec::<f32>().ok_or_else(|| StageError::Result { name: "x0".into() })?;
        let width = pixels.len() / lot.rows.len().max(1);
        let mut images: Vec<f32> = Vec::with_capacity(pixels.len());
        for ((id, origin), z) in self.ids(lot).into_iter().zip(pixels.chunks(width.max(1))).zip(self.points(lot, "z", &every)?) {
            let x = threat.candidate(origin, z, id).x;
            if x.is_empty() { images.extend(vec![f32::NAN; width]) } else { images.extend(x) }
        }
        let images = Tensor::new(clean.shape(), images).ok_or_else(|| StageError::Result { name: "x".into() })?;
        lot.values.put("x", self.attack.last.upload(&images)?);
        Ok(())
    }

    /// `emit`, and a last evaluation of the remaining samples.
    fn end(&mut self) -> Result<(), AttackError> {
        let attack = self.attack;
        if let Some(emit) = &attack.emit {
            self.spend(emit);
        }
        if self.scored {
            self.spend(&attack.last);
        }
        if attack.keep == Keep::Every {
            self.lots.drain(..).flat_map(|lot| lot.rows).for_each(|row| self.proposals[row] = self.spent.clone());
        }
        for place in 0..self.lots.len() {
            self.go_on()?;
            let ids = self.ids(&self.lots[place]);
            if let Some(emit) = &attack.emit {
                let mut given = emit.run(&self.lots[place].values, &ids, &self.draw(attack.count + 1))?;
                if let Some(x) = given.take("x_adv") {
                    self.lots[place].values.put(self.attack.moved, x);
                }
            }
            if !self.scored {
                let losses = vec![f64::NAN; ids.len()];
                self.hand_over(place, losses)?;
                continue;
            }
            let mut given = attack.last.run(&self.lots[place].values, &ids, &self.draw(attack.count + 1))?;
            let every: Vec<usize> = (0..ids.len()).collect();
            if attack.keep == Keep::Last {
                self.hand_over(place, host(&given, "loss")?.to_f64())?;
            } else {
                keep_best(&mut self.lots[place].values, &mut given);
                let points = self.points(&self.lots[place], BEST, &every)?;
                self.propose(place, &every, points)?;
            }
        }
        self.lots.clear();
        Ok(())
    }

    /// The last points, whatever they are, with their losses.
    fn hand_over(&mut self, place: usize, losses: Vec<f64>) -> Result<(), AttackError> {
        let lot = &self.lots[place];
        let every: Vec<usize> = (0..lot.rows.len()).collect();
        let points = self.points(lot, self.attack.moved, &every)?;
        for ((&sample, x), loss) in self.lots[place].rows.iter().zip(points).zip(losses) {
            let spent = self.spent.clone();
            self.proposals[sample] = Proposal { point: Some(x), loss, ..spent };
        }
        Ok(())
    }

    /// The best points of some rows of a lot become proposals.
    fn propose(&mut self, place: usize, chosen: &[usize], points: Vec<Vec<f32>>) -> Result<(), AttackError> {
        if chosen.is_empty() {
            return Ok(());
        }
        let lot = &self.lots[place];
        let scores: Vec<f32> = self.column(lot, BEST_SCORE)?;
        let losses: Vec<f32> = self.column(lot, LOSSES)?;
        let counts: Vec<f32> = self.column(lot, COUNTS)?;
        let steps = self.spent.gradients;
        for (&row, x) in chosen.iter().zip(points) {
            let [zero, unmoved, finite] = [0, 1, 2].map(|kind| counts[3 * row + kind] as u64);
            let score = f64::from(scores[row]);
            let width = OLDER + REMEMBERED;
            let remembered = &losses[width * row..width * (row + 1)];
            self.proposals[lot.rows[row]] = Proposal {
                point: (scores[row] > NOTHING).then_some(x),
                claimed: score >= SUCCESS,
                loss: score,
                zero_gradients: if self.attack.follows_gradient { zero } else { 0 },
                broken_gradients: steps.saturating_sub(finite),
                unmoved_steps: unmoved,
                losses: remembered.to_vec(),
                ..self.spent.clone()
            };
        }
        Ok(())
    }

    /// A small value of a lot, on the host.
    fn column<T: Element>(&self, lot: &Lot, name: &str) -> Result<Vec<T>, AttackError> {
        let wrong = || StageError::Result { name: name.to_owned() };
        let buffer = lot.values.get(name).ok_or_else(wrong)?;
        Ok(self.attack.last.read(buffer)?.to_vec::<T>().ok_or_else(wrong)?)
    }

    /// Points of some rows of a lot, on the host.
    fn points(&self, lot: &Lot, name: &str, chosen: &[usize]) -> Result<Vec<Vec<f32>>, AttackError> {
        self.points_of(&[lot], name, &chosen.iter().map(|&row| (0, row)).collect::<Vec<_>>())
    }

    /// Points of some rows of several lots, on the host: which lot, and which row of it.
    fn points_of(&self, lots: &[&Lot], name: &str, places: &[(usize, usize)]) -> Result<Vec<Vec<f32>>, AttackError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let wrong = || StageError::Result { name: name.to_owned() };
        let parts: Vec<&Buffer> = lots.iter().map(|lot| lot.values.get(name).ok_or_else(wrong)).collect::<Result<_, _>>()?;
        let rows = self.attack.last.read_rows(&parts, places)?;
        let data = rows.and_then(|rows| rows.to_vec::<f32>()).ok_or_else(wrong)?;
        Ok(data.chunks((data.len() / places.len()).max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// A value by name, on the host.
///
/// # Errors
/// There is none, or the engine does not give it.
pub fn host(values: &Values, name: &str) -> Result<Tensor, AttackError> {
    let buffer = values.get(name).ok_or_else(|| StageError::Result { name: name.to_owned() })?;
    Ok(buffer.host()?)
}

/// Takes over what is kept for the next step.
fn keep_best(values: &mut Values, given: &mut Values) {
    for name in [BEST, BEST_SCORE, BROKEN, FOUND, LOSSES, COUNTS] {
        if let Some(value) = given.take(&next(name)) {
            values.put(name, value);
        }
    }
}
