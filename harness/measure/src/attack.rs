//! The attack loop: restarts, steps, projection and what is kept. It proposes; [`crate::verify`] disposes. Written once, for
//! every attack that is a program.

use std::ops::Range;

use flatscape_engine::{Engine, EngineError};
use flatscape_graph::{Tensor, rows};
use flatscape_host::{Program, Role};

use crate::link::{Link, LinkError, Point};
use flatscape_intake::scores::{argmax, is_broken};

use crate::stage::{Draw, Stage, StageError, Step, Values, is_shared};

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
    /// The point, C·H·W values in pixel units; `None` when the attack offered nothing.
    pub x: Option<Vec<f32>>,
    /// Whether the attack's own graph saw it misclassified.
    pub claimed: bool,
    /// Whether the attack's own graph gave no finite logits there.
    pub undefined: bool,
    /// The loss at the point, as the attack's graph saw it.
    pub loss: f64,
    /// Evaluations of the model spent.
    pub forwards: u64,
    /// Reverse passes spent.
    pub backwards: u64,
    /// Gradients seen that were zero everywhere.
    pub zero_gradients: u64,
    /// Gradients seen with an entry that is no number.
    pub broken_gradients: u64,
    /// Gradients looked at.
    pub gradients: u64,
}

/// Which iterate an attack hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Any misclassified iterate, else one at which the model gives no number, else the one of the highest loss; broken
    /// samples leave the batch.
    Verdict,
    /// The last iterate of every sample, broken or not.
    Last,
}

/// An attack program linked to a model and compiled.
pub struct Attack {
    component: String,
    init: Option<Stage>,
    steps: Vec<Stage>,
    emit: Option<Stage>,
    last: Stage,
    count: u32,
    targeted: bool,
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
}

impl Attack {
    /// Links and compiles. `free` attacks may leave the ball on their way; only what they hand over is checked.
    pub fn compile(
        engine: &dyn Engine,
        link: &Link,
        program: &Program,
        component: &str,
        free: bool,
    ) -> Result<Attack, AttackError> {
        let stage = |graph, point, asked: &[&str]| -> Result<Stage, AttackError> {
            Ok(Stage::compile(engine, &link.stage(graph, point, !free, asked)?)?)
        };
        let init = program.graph(Role::Init).map(|g| stage(g, Point::Clean, &[])).transpose()?;
        let steps = program
            .graphs(Role::Step)
            .map(|g| stage(g, Point::Fed, &["logits", "loss", "grad_peak"]))
            .collect::<Result<Vec<_>, _>>()?;
        let emit = program.graph(Role::Emit).map(|g| stage(g, Point::Fed, &[])).transpose()?;
        let last = Stage::compile(engine, &link.forward(&["logits", "loss"])?)?;
        Ok(Attack { component: component.to_owned(), init, steps, emit, last, count: program.steps, targeted: link.targeted })
    }

    /// One restart over a batch with this radius: a proposal per sample, in order.
    pub fn run(&self, batch: &Batch, eps: f64, seed: u64, restart: u32, keep: Keep) -> Result<Vec<Proposal>, AttackError> {
        let mut proposals = vec![Proposal { loss: f64::NEG_INFINITY, ..Proposal::default() }; batch.len()];
        // Positions in `batch` of the samples that are still under attack, in the order of the rows of `values`.
        let mut active: Vec<usize> = (0..batch.len()).collect();
        let mut values = self.start(batch, eps, restart)?;
        let draw = |step| Draw { seed, component: &self.component, restart, step: Step::All(step) };

        let mut x = self.last.upload(&batch.x0)?;
        if let Some(init) = &self.init {
            let mut given = init.run(&values, &batch.ids, &draw(0))?;
            spend(&mut proposals, &active, init);
            x = given.take("x").unwrap_or(x);
            values.keep(given);
        }
        values.put("x", x);

        for k in 0..self.count {
            let Some(step) = self.steps.get(k as usize % self.steps.len().max(1)) else { break };
            if active.is_empty() {
                break;
            }
            let ids: Vec<u64> = active.iter().map(|&i| batch.ids[i]).collect();
            values.put("k", step.upload(&Tensor::scalar(i64::from(k)))?);
            let mut given = step.run(&values, &ids, &draw(k + 1))?;
            spend(&mut proposals, &active, step);
            self.watch_gradients(&mut proposals, &active, &given)?;
            let broken = self.judge(&mut proposals, batch, &active, &values, &given, keep)?;
            let next = given.take("x_next").ok_or_else(|| StageError::Result { name: "x_next".into() })?;
            values.put("x", next);
            values.keep(given);
            if keep == Keep::Verdict && broken.iter().any(|&b| b) {
                let stay: Vec<usize> = (0..active.len()).filter(|&row| !broken[row]).collect();
                active = stay.iter().map(|&row| active[row]).collect();
                if !active.is_empty() {
                    values = self.compact(values, &stay)?;
                }
            }
        }

        if active.is_empty() {
            return Ok(proposals);
        }
        let ids: Vec<u64> = active.iter().map(|&i| batch.ids[i]).collect();
        if let Some(emit) = &self.emit {
            let mut given = emit.run(&values, &ids, &draw(self.count + 1))?;
            spend(&mut proposals, &active, emit);
            if let Some(x) = given.take("x_adv") {
                values.put("x", x);
            }
        }
        let given = self.last.run(&values, &ids, &draw(self.count + 1))?;
        spend(&mut proposals, &active, &self.last);
        self.judge(&mut proposals, batch, &active, &values, &given, keep)?;
        Ok(proposals)
    }

    fn start(&self, batch: &Batch, eps: f64, restart: u32) -> Result<Values, AttackError> {
        let mut values = Values::default();
        let column = |data: &[i64]| Tensor::new(&[data.len()], data.to_vec()).unwrap_or_else(|| Tensor::ints(data));
        values.put("x0", self.last.upload(&batch.x0)?);
        values.put("y", self.last.upload(&column(&batch.y))?);
        values.put("target", self.last.upload(&column(&batch.target))?);
        values.put("eps", self.last.upload(&Tensor::scalar(eps as f32))?);
        if self.init.iter().chain(&self.steps).chain(&self.emit).any(|stage| stage.reads("x_clean")) {
            values.put("x_clean", self.last.upload(batch.clean.as_ref().unwrap_or(&batch.x0))?);
        }
        values.put("restart", self.last.upload(&Tensor::scalar(i64::from(restart)))?);
        let whole = vec![false; batch.len()];
        if let Some(none_broken) = Tensor::new(&[batch.len()], whole) {
            values.put("broken", self.last.upload(&none_broken)?);
        }
        Ok(values)
    }

    /// Looks at the logits of the current points: what is misclassified is proposed, otherwise a finite point without finite
    /// logits, otherwise the highest loss.
    fn judge(
        &self,
        proposals: &mut [Proposal],
        batch: &Batch,
        active: &[usize],
        values: &Values,
        given: &Values,
        keep: Keep,
    ) -> Result<Vec<bool>, AttackError> {
        let logits = host(given, "logits")?.to_f64();
        let losses = host(given, "loss")?.to_f64();
        let classes = logits.len() / active.len().max(1);
        let mut points: Option<Tensor> = None;
        let mut broken = vec![false; active.len()];
        for (row, &sample) in active.iter().enumerate() {
            let z = &logits[row * classes..(row + 1) * classes];
            broken[row] = if self.targeted {
                argmax(z) == Some(batch.target[sample] as usize)
            } else {
                is_broken(z, batch.y[sample] as usize)
            };
            let proposal = &mut proposals[sample];
            let undefined = z.iter().any(|z| !z.is_finite()) && !proposal.undefined;
            let higher = losses[row] > proposal.loss && !proposal.undefined;
            let better = higher || proposal.x.is_none() || (broken[row] && !proposal.claimed);
            if keep == Keep::Verdict && !better && !undefined {
                continue;
            }
            let points = match &points {
                Some(points) => points,
                None => points.insert(host(values, "x")?),
            };
            let Some(array) = points.view::<f32>() else { return Err(StageError::Result { name: "x".into() }.into()) };
            let x: Vec<f32> = array.index_axis(ndarray::Axis(0), row).iter().copied().collect();
            let undefined = undefined && x.iter().all(|v| v.is_finite());
            if keep == Keep::Verdict && !better && !undefined {
                continue;
            }
            proposal.x = Some(x);
            proposal.undefined = undefined;
            proposal.loss = if losses[row].is_nan() { f64::NEG_INFINITY } else { losses[row] };
            proposal.claimed = broken[row];
        }
        Ok(broken)
    }

    fn watch_gradients(&self, proposals: &mut [Proposal], active: &[usize], given: &Values) -> Result<(), AttackError> {
        if given.get("grad_peak").is_none() {
            return Ok(());
        }
        for (&sample, peak) in active.iter().zip(host(given, "grad_peak")?.to_f64()) {
            proposals[sample].gradients += 1;
            proposals[sample].zero_gradients += u64::from(peak.abs() < 1e-12);
            proposals[sample].broken_gradients += u64::from(!peak.is_finite());
        }
        Ok(())
    }

    fn compact(&self, values: Values, stay: &[usize]) -> Result<Values, AttackError> {
        let mut kept = Values::default();
        for name in values.names() {
            let Some(buffer) = values.get(&name) else { continue };
            let tensor = buffer.host()?;
            kept.put(&name, if is_shared(&name) { buffer.clone() } else { self.last.upload(&rows(&tensor, stay))? });
        }
        Ok(kept)
    }
}

/// A value by name, on the host.
pub fn host(values: &Values, name: &str) -> Result<Tensor, AttackError> {
    let buffer = values.get(name).ok_or_else(|| StageError::Result { name: name.to_owned() })?;
    Ok(buffer.host()?)
}

fn spend(proposals: &mut [Proposal], active: &[usize], stage: &Stage) {
    for &sample in active {
        proposals[sample].forwards += stage.forwards;
        proposals[sample].backwards += stage.backwards;
    }
}
