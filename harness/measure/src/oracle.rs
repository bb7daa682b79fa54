//! Answers the questions of attacks that keep their control flow to themselves (`oracle/1`): logits, gradients, noise. Counts
//! every question per sample from outside, and keeps whatever is offered.

use flatscape_engine::Engine;
use flatscape_graph::{DType, Dim, Graph, Tensor, ValueType};
use flatscape_host::{Law, OracleError};
use flatscape_intake::scores::{argmax, is_broken};

use crate::attack::{AttackError, Batch, Proposal, host};
use crate::link::Link;
use crate::stage::{Draw, Stage, Step, Values};
use crate::threats::ThreatModel;
use crate::verify::admissible;
use flatscape_intake::random::{self, LAWS, Place};

/// The compiled answers to the questions of an oracle.
pub struct Answers {
    logits: Stage,
    ascent: Stage,
    pull: Stage,
    targeted: bool,
}

impl Answers {
    /// Compiles the model, the gradient of the loss that is ascended, and the product of any row vector with the Jacobian.
    pub fn compile(engine: &dyn Engine, link: &Link) -> Result<Answers, AttackError> {
        let fed = fed_cotangent();
        let pulling = Link { cotangent: Some(&fed), ..*link };
        Ok(Answers {
            logits: Stage::compile(engine, &link.forward(&["logits"])?)?,
            ascent: Stage::compile(engine, &link.forward(&["loss", "grad"])?)?,
            pull: Stage::compile(engine, &pulling.forward(&["vjp"])?)?,
            targeted: link.targeted,
        })
    }
}

/// `ct = state_ct`: the row vectors come from the host.
fn fed_cotangent() -> Graph {
    let mut graph = Graph::new("cotangent");
    let ty = ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::symbol("K")]);
    let fed = graph.add_input("state_ct", ty);
    let ct = graph.node("Identity", &[fed], flatscape_graph::Attributes::none());
    graph.add_output("ct", ct);
    graph
}

/// One run of an attack over a batch.
pub struct Session<'a> {
    answers: &'a Answers,
    threat: &'a ThreatModel,
    batch: &'a Batch,
    seed: u64,
    component: &'a str,
    proposals: Vec<Proposal>,
    origins: Vec<Vec<f32>>,
}

impl<'a> Session<'a> {
    /// A session in which nothing has been asked yet.
    pub fn new(answers: &'a Answers, threat: &'a ThreatModel, batch: &'a Batch, seed: u64, component: &'a str) -> Session<'a> {
        let clean = batch.x0.to_vec::<f32>().unwrap_or_default();
        let width = (clean.len() / batch.len().max(1)).max(1);
        Session {
            answers,
            threat,
            batch,
            seed,
            component,
            proposals: vec![Proposal { loss: f64::NEG_INFINITY, ..Proposal::default() }; batch.len()],
            origins: clean.chunks(width).map(<[f32]>::to_vec).collect(),
        }
    }

    /// What was offered, one proposal per sample.
    pub fn finish(self) -> Vec<Proposal> {
        self.proposals
    }

    fn ask(&mut self, stage: &Stage, x: &Tensor, rows: &[usize], cotangents: Option<&Tensor>) -> Result<Values, AttackError> {
        let mut values = Values::default();
        values.put("x", stage.upload(x)?);
        let per_row = |column: &[i64]| Tensor::ints(&rows.iter().map(|&r| column[r]).collect::<Vec<_>>());
        values.put("y", stage.upload(&per_row(&self.batch.y))?);
        values.put("target", stage.upload(&per_row(&self.batch.target))?);
        values.put("eps", stage.upload(&Tensor::scalar(self.threat.eps as f32))?);
        if let Some(cotangents) = cotangents {
            values.put("state_ct", stage.upload(cotangents)?);
        }
        let ids: Vec<u64> = rows.iter().map(|&r| self.batch.ids[r]).collect();
        let draw = Draw { seed: self.seed, component: self.component, restart: 0, step: Step::All(0) };
        let given = stage.run(&values, &ids, &draw)?;
        for &row in rows {
            self.proposals[row].forwards += stage.forwards;
            self.proposals[row].backwards += stage.backwards;
        }
        Ok(given)
    }

    fn watch(&mut self, gradient: &Tensor, rows: &[usize]) {
        let data = gradient.to_f64();
        let width = (data.len() / rows.len().max(1)).max(1);
        for (row, entries) in rows.iter().zip(data.chunks(width)) {
            let proposal = &mut self.proposals[*row];
            proposal.gradients += 1;
            proposal.zero_gradients += u64::from(entries.iter().all(|v| v.abs() < 1e-12));
            proposal.broken_gradients += u64::from(entries.iter().any(|v| !v.is_finite()));
        }
    }
}

fn failed(error: AttackError) -> OracleError {
    OracleError::Failed(error.to_string())
}

impl flatscape_host::Oracle for Session<'_> {
    fn batch(&self) -> flatscape_host::Batch {
        let target = self.answers.targeted.then(|| self.batch.target.clone());
        flatscape_host::Batch { x0: self.batch.x0.clone(), y: self.batch.y.clone(), target }
    }

    fn logits(&mut self, x: &Tensor, rows: &[usize]) -> Result<Tensor, OracleError> {
        let answers = self.answers;
        let given = self.ask(&answers.logits, x, rows, None).map_err(failed)?;
        host(&given, "logits").map_err(failed)
    }

    fn gradient(
        &mut self,
        x: &Tensor,
        rows: &[usize],
        cotangents: Option<&Tensor>,
    ) -> Result<(Option<Tensor>, Tensor), OracleError> {
        let answers = self.answers;
        let (loss, gradient) = if cotangents.is_some() {
            let given = self.ask(&answers.pull, x, rows, cotangents).map_err(failed)?;
            (None, host(&given, "vjp").map_err(failed)?)
        } else {
            let given = self.ask(&answers.ascent, x, rows, None).map_err(failed)?;
            (Some(host(&given, "loss").map_err(failed)?), host(&given, "grad").map_err(failed)?)
        };
        self.watch(&gradient, rows);
        Ok((loss, gradient))
    }

    fn noise(&mut self, law: Law, stream: u32, rows: &[usize], shape: &[usize]) -> Result<Tensor, OracleError> {
        let Some((_, law)) = LAWS.iter().find(|(name, _)| *name == law.name()) else {
            return Err(OracleError::Failed(format!("there is no noise of law {}", law.name())));
        };
        let width = shape.iter().skip(1).product::<usize>();
        let mut data = vec![0f32; width * rows.len()];
        let place = Place::new(self.seed, self.component, &format!("oracle{stream}"));
        for (chunk, &row) in data.chunks_mut(width.max(1)).zip(rows) {
            random::fill(*law, place.sample(self.batch.ids[row]), chunk);
        }
        Tensor::new(shape, data).ok_or_else(|| OracleError::Failed("the shape of the noise does not lead with its rows".into()))
    }

    fn active(&mut self) -> Vec<bool> {
        self.proposals.iter().map(|p| !p.claimed).collect()
    }

    fn offer(&mut self, x: &Tensor, rows: &[usize]) -> Result<(), OracleError> {
        let answers = self.answers;
        let given = self.ask(&answers.logits, x, rows, None).map_err(failed)?;
        let logits = host(&given, "logits").map_err(failed)?.to_f64();
        let points = x.to_vec::<f32>().unwrap_or_default();
        let width = (points.len() / rows.len().max(1)).max(1);
        let classes = (logits.len() / rows.len().max(1)).max(1);
        for ((&row, point), z) in rows.iter().zip(points.chunks(width)).zip(logits.chunks(classes)) {
            let label = self.batch.y[row] as usize;
            let broken = if answers.targeted { argmax(z) == Some(self.batch.target[row] as usize) } else { is_broken(z, label) };
            let allowed = admissible(self.threat, &self.origins[row], point).is_none();
            let rival = -flatscape_intake::scores::margin(z, label);
            let proposal = &mut self.proposals[row];
            // An inadmissible point is handed over only where there is nothing else: the judge then counts the fault.
            let better = match (&proposal.x, proposal.claimed, broken && allowed) {
                (None, ..) => true,
                (_, true, _) => false,
                (_, false, true) => true,
                (_, false, false) => allowed && rival > proposal.loss,
            };
            if better {
                proposal.x = Some(point.to_vec());
                proposal.loss = if allowed { rival } else { f64::NEG_INFINITY };
                proposal.claimed = broken && allowed;
            }
        }
        Ok(())
    }
}
