//! Answers the questions of attacks that keep their control flow to themselves (`oracle/1`): logits, gradients, noise. Counts
//! every question per sample from outside, and keeps the best of what is offered, as the judge sees it.

use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_engine::Engine;
use flatscape_graph::{DType, Dim, Graph, Tensor, ValueType};
use flatscape_host::{Law, OracleError};

use crate::attack::{AttackError, Batch, Keep, Proposal, host};
use crate::link::{Link, Point};
use crate::stage::{Draw, Stage, StageError, Step, Values};
use crate::threats::{Candidate, ThreatModel};
use crate::verify::{Finding, Outcome, Region, Verifier};
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
            logits: Stage::fast(engine, &link.forward(Point::Fed, &["logits"])?)?,
            ascent: Stage::fast(engine, &link.forward(Point::Fed, &["loss", "grad"])?)?,
            pull: Stage::fast(engine, &pulling.forward(Point::Fed, &["vjp"])?)?,
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
    verifier: &'a Verifier,
    threat: &'a ThreatModel,
    batch: &'a Batch,
    seed: u64,
    component: &'a str,
    keep: Keep,
    proposals: Vec<Proposal>,
    stop: &'a AtomicBool,
    /// What the judge said about the points of the proposals.
    findings: Vec<Option<Finding>>,
}

impl<'a> Session<'a> {
    /// A session in which nothing has been asked yet.
    #[expect(clippy::too_many_arguments, reason = "each is what a plugin may ask about, and nothing else holds them together")]
    pub fn new(
        answers: &'a Answers,
        verifier: &'a Verifier,
        threat: &'a ThreatModel,
        batch: &'a Batch,
        seed: u64,
        component: &'a str,
        keep: Keep,
        stop: &'a AtomicBool,
    ) -> Session<'a> {
        let proposals = vec![Proposal { loss: f64::NEG_INFINITY, ..Proposal::default() }; batch.len()];
        Session { answers, verifier, threat, batch, seed, component, keep, proposals, stop, findings: vec![None; batch.len()] }
    }

    /// What was offered, one proposal per sample. Where the last points are wanted, those that are not allowed are left out.
    pub fn finish(mut self) -> Vec<Proposal> {
        for (proposal, finding) in self.proposals.iter_mut().zip(&self.findings) {
            if self.keep == Keep::Last && finding.as_ref().is_some_and(|finding| finding.rejection.is_some()) {
                proposal.point = None;
            }
        }
        self.proposals
    }

    /// Whether an offer takes the place of what is there. An adversarial example does, in box and ball, or for the nearest goal in
    /// the box and nearer; an inadmissible point is kept only if there is no other: the judge then counts the
    /// fault.
    fn replaces(&self, row: usize, offer: &Finding) -> bool {
        let Some(old) = &self.findings[row] else { return true };
        let broken = |finding: &Finding| finding.outcome == Outcome::Broken;
        match (self.keep, offer.rejection.is_none(), broken(offer), broken(old)) {
            (Keep::Last, allowed, ..) => allowed || old.rejection.is_some(),
            (Keep::Nearest, _, true, true) => offer.distance < old.distance,
            (_, _, true, false) => true,
            (_, _, _, true) | (_, false, ..) => false,
            (_, true, false, false) => {
                let undefined = |finding: &Finding| finding.outcome == Outcome::NanInBall;
                old.rejection.is_some() || undefined(offer) && !undefined(old) || -offer.margin > self.proposals[row].loss
            }
        }
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
            proposal.zero_gradients += u64::from(entries.iter().all(|v| v.abs() <= crate::attack::ZERO));
            proposal.broken_gradients += u64::from(entries.iter().any(|v| !v.is_finite()));
        }
    }
}

/// Evaluations and reverse passes of one sample in one run, together: attacks in use ask for less than a tenth of it.
const BUDGET: u64 = 1_000_000;

impl Session<'_> {
    /// No question is answered once the run was asked to stop, or to a sample whose budget is spent.
    fn go_on(&self, rows: &[usize]) -> Result<(), OracleError> {
        let spent = |&row: &usize| self.proposals[row].forwards + self.proposals[row].backwards >= BUDGET;
        if self.stop.load(Ordering::Relaxed) || rows.iter().any(spent) { Err(OracleError::Stop) } else { Ok(()) }
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
        self.go_on(rows)?;
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
        self.go_on(rows)?;
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

    /// Samples that may still gain: for the nearest goal all of them.
    fn active(&mut self) -> Vec<bool> {
        self.proposals.iter().map(|p| !p.claimed || self.keep != Keep::FirstSuccess).collect()
    }

    /// Every offer is judged by the untouched model, as one evaluation.
    fn offer(&mut self, x: &Tensor, rows: &[usize]) -> Result<(), OracleError> {
        self.go_on(rows)?;
        let wrong = || failed(StageError::Result { name: "x".into() }.into());
        let points = x.to_vec::<f32>().ok_or_else(wrong)?;
        let width = (points.len() / rows.len().max(1)).max(1);
        let points: Vec<Option<Candidate>> = points.chunks(width).map(|point| Some(point.to_vec().into())).collect();
        let part = self.batch.select(rows);
        let region = if self.keep == Keep::Nearest { Region::Box } else { Region::Ball };
        let judged = self.verifier.judge(self.threat, region, &part.x0, &part.y, &points).map_err(failed)?;
        for ((&row, point), finding) in rows.iter().zip(points).zip(judged) {
            self.proposals[row].forwards += self.answers.logits.forwards;
            if !self.replaces(row, &finding) {
                continue;
            }
            let proposal = &mut self.proposals[row];
            proposal.point = point.map(|point| point.x);
            proposal.loss = if finding.rejection.is_none() { -finding.margin } else { f64::NEG_INFINITY };
            proposal.claimed = finding.outcome == Outcome::Broken;
            self.findings[row] = Some(finding);
        }
        Ok(())
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
