//! One step of training: the inner attack, the cost with its derivatives, and the update, as graphs that are compiled once. Knows
//! engines and names; nothing of epochs, files or data sets.

use std::sync::atomic::AtomicBool;

use flatscape_engine::{Buffer, CompileOptions, Engine, EngineError, rows_are_independent};
use flatscape_graph::{DType, Graph, Tensor, ValueType};
use flatscape_intake::random::{Law, Place, fill, name_hash, philox4x64};
use flatscape_measure::attack::{Attack, AttackError, Batch, Keep, Restart, Ruling};
use flatscape_measure::link::{Link, LinkError, Linked, WEIGHT};
use flatscape_measure::stage::{Draw, Stage, StageError, Step, Values};

use crate::form::{self, Form, Mask, parameter, statistic};
use crate::update::{Slot, UpdateError, instantiate};

/// Rows of a batch for which the forms of layers are chosen, whatever the size of a batch.
const ROWS: usize = 64;
/// In how many parts a batch is run where rows are independent. It is fixed, so that sums have the same order on any machine.
pub const PARTS: usize = 2;

/// The graphs of a trainer and an optimizer, with their arguments as numbers.
#[derive(Clone, Copy)]
pub struct Recipe<'r> {
    /// Id of the trainer: keys its noise.
    pub trainer: &'r str,
    /// Output `cost` [N].
    pub cost: &'r Graph,
    /// The row vectors of `vjp`.
    pub cotangent: Option<&'r Graph>,
    /// Arguments of the trainer.
    pub arguments: &'r [(String, f64)],
    /// From `param`, `dparam` to `param_next`.
    pub update: &'r Graph,
    /// From `param`, `dparam` to `param_perturbed`: the derivatives are taken there.
    pub perturb: Option<&'r Graph>,
    /// Arguments of the optimizer.
    pub settings: &'r [(String, f64)],
    /// Arguments of the component that perturbs.
    pub perturbing: &'r [(String, f64)],
    /// Whether the derivative by the adversarial point is wanted.
    pub moves: bool,
    /// Label smoothing.
    pub smoothing: f64,
    /// The share that an exponential average of the weights keeps at every step.
    pub average: Option<f64>,
}

/// What goes wrong in a step.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The trainer does not fit the model.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The optimizer does not fit the parameters.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// A graph failed while it ran.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The inner attack failed.
    #[error(transparent)]
    Attack(#[from] AttackError),
}

/// Everything that a step changes, where the engine has it.
#[derive(Clone, Default)]
pub struct State {
    /// The parameters, in the order of the form.
    pub parameters: Vec<Buffer>,
    /// The states of the optimizer, in the order of [`Learner::slots`].
    pub states: Vec<Buffer>,
    /// Running mean and variance of every normalisation, on the host.
    pub statistics: Vec<Tensor>,
    /// The exponential average of every parameter, where one is kept.
    pub averages: Vec<Buffer>,
}

/// The samples of a step.
#[derive(Clone, Copy)]
pub struct Samples<'s> {
    /// Ids, images float[N,C,H,W], labels.
    pub batch: &'s Batch,
    /// Adversarial points, where the cost reads them.
    pub adversarial: Option<&'s Tensor>,
}

/// When a step takes place: keys noise and masks.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// Seed of the training.
    pub seed: u64,
    /// Epoch, from 0.
    pub epoch: u32,
    /// Step of the epoch, from 0; replays count.
    pub step: u32,
    /// Step of the training, from 0.
    pub k: u64,
    /// Learning rate.
    pub lr: f64,
    /// Radius.
    pub eps: f64,
}

/// What a step gives, per sample.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    /// What was minimised.
    pub cost: Vec<f64>,
    /// Cross-entropy at the training points, where the cost reads their logits.
    pub loss: Vec<f64>,
    /// Cross-entropy at the adversarial points, as above.
    pub loss_adv: Vec<f64>,
    /// The parts of the cost that the trainer names.
    pub parts: Vec<(String, Vec<f64>)>,
    /// Norm of the derivative by all parameters.
    pub norm: f64,
    /// The derivative of Σ cost by the adversarial points, where the recipe asks for it.
    pub dx: Option<Tensor>,
}

/// The compiled graphs of a training.
pub struct Learner {
    cost: Stage,
    update: Stage,
    perturb: Option<Stage>,
    /// The states of the optimizer.
    pub slots: Vec<Slot>,
    masks: Vec<Mask>,
    momenta: Vec<(f64, usize)>,
    parameters: usize,
    trainer: String,
    average: bool,
    /// Whether the cost reads adversarial points.
    pub reads_adversarial: bool,
    /// Whether batches run in parts.
    pub in_parts: bool,
}

impl Learner {
    /// Links, differentiates and compiles.
    ///
    /// # Errors
    /// Trainer or optimizer do not fit the model, or the engine refuses a graph.
    pub fn compile(engine: &dyn Engine, form: &Form, recipe: &Recipe, link: &Link) -> Result<Learner, LearnError> {
        let link = Link {
            model: &form.training,
            cotangent: recipe.cotangent,
            arguments: recipe.arguments,
            smoothing: recipe.smoothing,
            ..*link
        };
        let names: Vec<String> = (0..form.trained.len()).map(parameter).collect();
        let costed = link.cost(recipe.cost, &names, recipe.moves)?;
        let in_parts = form.is_by_row() && rows_are_independent(&costed.rows);
        let rows = Some(if in_parts { ROWS / PARTS } else { ROWS });
        let options = CompileOptions { split: false, sums: in_parts.then_some(PARTS), rows, ..CompileOptions::default() };
        let linked = |graph: Graph| Linked { graph, forwards: 0, backwards: 0, batch: None };
        let reads_adversarial = costed.graph.input_named("x_adv").is_some();
        let cost = Stage::compile_as(engine, &linked(costed.graph), &options)?;
        let types = types(form);
        let whole = CompileOptions { split: false, ..CompileOptions::default() };
        let updated = instantiate(("update", "param_next"), recipe.update, &types, recipe.settings, recipe.average)?;
        let update = Stage::compile_as(engine, &linked(updated.graph), &whole)?;
        let perturb = match recipe.perturb {
            Some(graph) => {
                let made = instantiate(("perturb", "param_perturbed"), graph, &types, recipe.perturbing, None)?;
                Some(Stage::compile_as(engine, &linked(made.graph), &whole)?)
            }
            None => None,
        };
        Ok(Learner {
            cost,
            update,
            perturb,
            slots: updated.states,
            masks: form.masks.clone(),
            momenta: form.statistics.iter().map(|s| (s.momentum, s.spatial)).collect(),
            parameters: names.len(),
            trainer: recipe.trainer.to_owned(),
            average: recipe.average.is_some(),
            reads_adversarial,
            in_parts,
        })
    }

    /// The state at the beginning: these weights, states at 0, averages equal to the weights.
    ///
    /// # Errors
    /// The engine does not take them.
    pub fn start(&self, parameters: &[Tensor], statistics: &[Tensor]) -> Result<State, LearnError> {
        let parameters = parameters.iter().map(|t| self.update.upload(t)).collect::<Result<Vec<_>, _>>()?;
        let zeros = |slot: &Slot| self.update.upload(&Tensor::full(slot.dtype, &slot.shape, 0.0));
        let states = self.slots.iter().map(zeros).collect::<Result<_, _>>()?;
        let averages = if self.average { parameters.clone() } else { Vec::new() };
        Ok(State { parameters, states, statistics: statistics.to_vec(), averages })
    }

    /// A tensor where this training has its own.
    ///
    /// # Errors
    /// The engine does not take it.
    pub fn upload(&self, tensor: &Tensor) -> Result<Buffer, LearnError> {
        Ok(self.update.upload(tensor)?)
    }

    /// What does not fit in a state from elsewhere, as a clause.
    pub fn misfit(&self, state: &State) -> Option<String> {
        let counted = [
            ("parameters", state.parameters.len(), self.parameters),
            ("states of the optimizer", state.states.len(), self.slots.len()),
            ("statistics", state.statistics.len(), 2 * self.momenta.len()),
            ("averages", state.averages.len(), if self.average { self.parameters } else { 0 }),
        ];
        let wrong = counted.into_iter().find(|(_, found, wanted)| found != wanted);
        wrong.map(|(what, found, wanted)| format!("has {found} {what}; this training has {wanted}"))
    }

    /// Puts the masks of dropout that a graph on the training form reads.
    ///
    /// # Errors
    /// The engine does not take them.
    pub fn put_masks(&self, values: &mut Values, ids: &[u64], when: &When) -> Result<(), LearnError> {
        for (i, mask) in self.masks.iter().enumerate() {
            for point in ["", "0", "_adv"] {
                let name = format!("{}{point}", form::mask(i));
                values.put(&name, self.cost.upload(&drawn(mask, &name, ids, when))?);
            }
        }
        Ok(())
    }

    /// One step: derivatives of the mean cost, at perturbed parameters where the recipe perturbs them, and the update.
    ///
    /// # Errors
    /// A graph failed. Numbers that are not finite are no error; the state is then useless.
    pub fn step(&self, state: &mut State, samples: Samples, when: &When) -> Result<Costs, LearnError> {
        let fed = self.fed(samples, when)?;
        let at = |parameters: &[Buffer]| -> Result<Values, LearnError> {
            let mut values = fed.clone();
            parameters.iter().enumerate().for_each(|(i, p)| values.put(&parameter(i), p.clone()));
            let draw = Draw { seed: when.seed, component: &self.trainer, restart: when.epoch, step: Step::All(when.step) };
            Ok(self.cost.run(&values, &samples.batch.ids, &draw)?)
        };
        let mut given = at(&state.parameters)?;
        let mut costs = self.costs(&given)?;
        if let Some(perturb) = &self.perturb {
            let moved = self.moved(perturb, state, &mut given, when)?;
            let moved = self.taken(moved, "_next")?;
            given = at(&moved)?;
        }
        costs.dx = given.get("dx").map(|dx| self.cost.read(dx)).transpose()?;
        self.keep_statistics(state, &given, samples.batch.len())?;
        let mut next = self.moved(&self.update, state, &mut given, when)?;
        let norm = next.take("dparam_norm").map(|norm| norm.host()).transpose()?;
        costs.norm = norm.and_then(|t| t.to_f64().first().copied()).unwrap_or(f64::NAN);
        state.states = self.slots.iter().map(|slot| take(&mut next, &format!("{}_next", slot.name))).collect::<Result<_, _>>()?;
        if self.average {
            state.averages =
                (0..self.parameters).map(|i| take(&mut next, &format!("average_{i}_next"))).collect::<Result<_, _>>()?;
        }
        state.parameters = self.taken(next, "_next")?;
        Ok(costs)
    }

    fn taken(&self, mut values: Values, suffix: &str) -> Result<Vec<Buffer>, LearnError> {
        Ok((0..self.parameters).map(|i| take(&mut values, &format!("{}{suffix}", parameter(i)))).collect::<Result<_, _>>()?)
    }

    /// What the cost reads beside the parameters.
    fn fed(&self, samples: Samples, when: &When) -> Result<Values, LearnError> {
        let mut values = Values::default();
        let batch = samples.batch;
        let mut put = |name: &str, tensor: &Tensor| -> Result<(), LearnError> {
            if self.cost.reads(name) {
                values.put(name, self.cost.upload(tensor)?);
            }
            Ok(())
        };
        put("x0", &batch.x0)?;
        put("y", &Tensor::ints(&batch.y))?;
        put("eps", &Tensor::scalar(when.eps as f32))?;
        put("k", &Tensor::scalar(when.k as i64))?;
        put(WEIGHT, &Tensor::scalar((1.0 / batch.len().max(1) as f64) as f32))?;
        if let Some(adversarial) = samples.adversarial {
            put("x_adv", adversarial)?;
        }
        self.put_masks(&mut values, &batch.ids, when)?;
        Ok(values)
    }

    fn costs(&self, given: &Values) -> Result<Costs, LearnError> {
        let column = |name: &str| -> Result<Vec<f64>, LearnError> {
            given.get(name).map_or(Ok(Vec::new()), |buffer| Ok(self.cost.read(buffer)?.to_f64()))
        };
        let named = self.cost.outputs.iter().filter(|name| name.starts_with("log_"));
        let parts = named.map(|name| Ok((name.clone(), column(name)?))).collect::<Result<_, LearnError>>()?;
        Ok(Costs { cost: column("cost")?, loss: column("loss")?, loss_adv: column("loss_adv")?, parts, norm: f64::NAN, dx: None })
    }

    /// Runs a graph of the optimizer.
    fn moved(&self, stage: &Stage, state: &State, given: &mut Values, when: &When) -> Result<Values, LearnError> {
        let mut values = Values::default();
        for (i, value) in state.parameters.iter().enumerate() {
            values.put(&parameter(i), value.clone());
            let name = format!("d{}", parameter(i));
            values.put(&name, take(given, &name)?);
        }
        self.slots.iter().zip(&state.states).for_each(|(slot, value)| values.put(&slot.name, value.clone()));
        state.averages.iter().enumerate().for_each(|(i, value)| values.put(&format!("average_{i}"), value.clone()));
        for (name, tensor) in [("lr", Tensor::scalar(when.lr as f32)), ("k", Tensor::scalar(when.k as i64))] {
            if stage.reads(name) {
                values.put(name, stage.upload(&tensor)?);
            }
        }
        let draw = Draw { seed: when.seed, component: &self.trainer, restart: when.epoch, step: Step::All(when.step) };
        Ok(stage.run(&values, &[], &draw)?)
    }

    /// Running statistics follow those of the batch. The variance that is kept is the unbiased one, as in PyTorch: the batch's times
    /// n/(n − 1), n values per channel.
    fn keep_statistics(&self, state: &mut State, given: &Values, rows: usize) -> Result<(), LearnError> {
        for (j, &(momentum, spatial)) in self.momenta.iter().enumerate() {
            let n = (rows * spatial) as f64;
            let unbiased = n / (n - 1.0).max(1.0);
            for (place, name, factor) in [(2 * j, form::batch_mean(j), 1.0), (2 * j + 1, form::batch_variance(j), unbiased)] {
                // a cost at the adversarial points alone has no statistics of the others
                for point in ["0", "", "_adv"] {
                    let Some(batch) = given.get(&format!("{name}{point}")) else { continue };
                    let batch = self.cost.read(batch)?.to_f64();
                    let running = &state.statistics[place];
                    let new: Vec<f64> = running
                        .to_f64()
                        .iter()
                        .zip(batch)
                        .map(|(old, new)| momentum * old + (1.0 - momentum) * factor * new)
                        .collect();
                    let wrong = || StageError::Result { name: name.clone() };
                    state.statistics[place] = Tensor::new(running.shape(), new).ok_or_else(wrong)?.cast(running.dtype());
                }
            }
        }
        Ok(())
    }
}

fn take(values: &mut Values, name: &str) -> Result<Buffer, StageError> {
    values.take(name).ok_or_else(|| StageError::Result { name: name.to_owned() })
}

/// The types of the parameters.
fn types(form: &Form) -> Vec<ValueType> {
    let typed = |i| form.training.input_named(&parameter(i)).map(|id| form.training.value(id).ty.clone()).unwrap_or_default();
    (0..form.trained.len()).map(typed).collect()
}

/// A mask of dropout: 0 with the probability that it states, else 1/(1 − it), keyed by sample, epoch and step.
fn drawn(mask: &Mask, name: &str, ids: &[u64], when: &When) -> Tensor {
    let size: usize = mask.shape.iter().product();
    let mut data = vec![0f32; size * ids.len()];
    let kept = (1.0 / (1.0 - mask.ratio)) as f32;
    for (row, &id) in data.chunks_mut(size.max(1)).zip(ids) {
        fill(Law::Uniform, Place::new(when.seed, "dropout", name).at(when.epoch, when.step).sample(id), row);
        row.iter_mut().for_each(|v| *v = if (f64::from(*v) + 1.0) / 2.0 < mask.ratio { 0.0 } else { kept });
    }
    let shape: Vec<usize> = std::iter::once(ids.len()).chain(mask.shape.iter().copied()).collect();
    Tensor::new(&shape, data).unwrap_or_else(|| Tensor::full(DType::F32, &shape, f64::from(kept)))
}

/// The inner attack of a training.
pub struct Inner {
    attack: Attack,
    restarts: u32,
}

impl Inner {
    /// Wraps a compiled attack that keeps its last points.
    pub fn new(attack: Attack, restarts: u32) -> Inner {
        Inner { attack, restarts }
    }

    /// The mode in which inner attacks are compiled.
    pub const KEEP: Keep = Keep::Last;

    /// The points of the attack on a batch, float like its images. Every epoch and step has random numbers of its own.
    ///
    /// # Errors
    /// A graph failed, or [`AttackError::Interrupted`].
    pub fn points(&self, weights: &Values, batch: &Batch, when: &When, stop: &AtomicBool) -> Result<Tensor, LearnError> {
        let key = philox4x64([u64::from(when.epoch), u64::from(when.step), 0, 0], [when.seed, name_hash("inner attack")])[0];
        let mut best: Vec<(f64, Vec<f32>)> = Vec::new();
        for number in 0..self.restarts.max(1) {
            let restart = Restart { seed: key, eps: when.eps, number, batch_size: batch.len(), stop };
            let mut judge = |rows: &[usize], _: &[Vec<f32>]| Ok(vec![Ruling::Stands; rows.len()]);
            // losses serve to choose among restarts
            let proposals = self.attack.run_with(batch, &restart, weights, self.restarts > 1, &mut judge, &mut |_| {})?;
            for (i, proposal) in proposals.into_iter().enumerate() {
                let Some(point) = proposal.point else {
                    return Err(StageError::Result { name: "x".to_owned() }.into());
                };
                match best.get_mut(i) {
                    None => best.push((proposal.loss, point)),
                    // of several restarts the one with the largest loss; NaN is never larger
                    Some(known) if proposal.loss > known.0 => *known = (proposal.loss, point),
                    Some(_) => {}
                }
            }
        }
        let data: Vec<f32> = best.into_iter().flat_map(|(_, point)| point).collect();
        Tensor::new(batch.x0.shape(), data).ok_or_else(|| StageError::Result { name: "x".to_owned() }.into())
    }
}

/// The weights of a form under the names of its inputs, for graphs that are linked to its evaluation.
pub fn weights_of(parameters: &[Buffer], statistics: &[Tensor]) -> Values {
    let mut values = Values::default();
    parameters.iter().enumerate().for_each(|(i, value)| values.put(&parameter(i), value.clone()));
    statistics.iter().enumerate().for_each(|(i, value)| values.put(&statistic(i), Buffer::from(value.clone())));
    values
}
