//! Attacks that keep their control flow to themselves (`oracle/1`).

use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;

use super::verdicts::Verdicts;
use super::{Asked, Conditions, Group, Measure, Moves, Watch, failed};
use crate::attack::{Batch, Keep, Proposal};
use crate::error::MeasureError;
use crate::findings::Findings;
use crate::oracle::{Answers, Session};
use crate::verify::Verifier;
use flatscape_intake::refusal::Refusal;

/// An attack of a plugin that asks for logits and gradients.
pub(crate) struct Oracle<'a> {
    asked: Asked<'a>,
    answers: Answers,
    keep: Keep,
}

impl<'a> Oracle<'a> {
    /// # Errors
    /// The engine refuses the model or its gradient. The threat model decodes images from a parameter, which `oracle/1` does not
    /// offer.
    pub fn new(
        engine: &dyn Engine,
        conditions: &Conditions<'a>,
        verifier: &Verifier,
        asked: Asked<'a>,
        keep: Keep,
    ) -> Result<Oracle<'a>, MeasureError> {
        if conditions.threat.norm.parameter.is_some() {
            return Err(MeasureError::Stored(undecoded(&asked.component.id, conditions.threat.norm.name)));
        }
        let answers = asked.linked(conditions, None, verifier, |link| Answers::compile(engine, link))?;
        Ok(Oracle { asked, answers, keep })
    }

    /// Runs the plugin on a batch: what it offered, and its fault.
    fn run(&self, on: &Group, batch: &Batch, stop: &AtomicBool) -> (Vec<Proposal>, Option<MeasureError>) {
        let Asked { component, arguments, task, .. } = &self.asked;
        let seed = on.conditions.settings.seed;
        let threat = &on.conditions.threat;
        let mut session = Session::new(&self.answers, on.verifier, threat, batch, seed, &component.id, self.keep, stop);
        let fault = on.conditions.plugins.run_oracle(component, arguments, task, &mut session).err();
        (session.finish(), fault.map(MeasureError::from))
    }
}

/// `U091`: an attack that offers images, under a threat model that decodes them from a parameter.
pub fn undecoded(id: &str, threat: &str) -> Refusal {
    let what = format!("{id} offers images (oracle/1), and under the threat model {threat} images are decoded from a parameter");
    Refusal::usage(91, what).help("use an attack that is a program, or another threat model")
}

impl Measure for Oracle<'_> {
    fn group(&self, conditions: &Conditions) -> usize {
        conditions.settings.batch_size
    }

    /// What was offered counts, also where the plugin fails later. A sample that it neither asked about nor offered a point for is
    /// then one that it did not attack.
    fn measure(&self, on: &Group, watch: &mut Watch) -> Result<(Findings, Option<MeasureError>), MeasureError> {
        watch.go_on()?;
        let id = &self.asked.component.id;
        let batch = on.aimed(self.asked.target, id);
        let mut verdicts = Verdicts::new(on, &batch, self.keep);
        let active = verdicts.active();
        if active.is_empty() {
            verdicts.all_seen();
            return Ok((verdicts.findings()?, None));
        }
        let (proposals, fault) = self.run(on, &batch.select(&active), watch.stop);
        let seen = |p: &Proposal| fault.is_none() || p.point.is_some() || p.forwards + p.backwards > 0;
        let (samples, proposals): (Vec<usize>, Vec<Proposal>) =
            active.into_iter().zip(proposals).filter(|(_, p)| seen(p)).unzip();
        verdicts
            .take(&samples, proposals)
            .and_then(|()| verdicts.ask_in_batches())
            .and_then(|()| verdicts.ask_as_stored())
            .map_err(failed(id))?;
        Ok((verdicts.findings()?, fault))
    }

    fn skipped(&self, on: &Group) -> Result<Findings, MeasureError> {
        Verdicts::new(on, on.batch, self.keep).findings()
    }
}

impl Moves for Oracle<'_> {
    /// The last points that were offered and are allowed.
    fn points(&self, on: &Group, watch: &mut Watch) -> Result<Vec<Option<Vec<f32>>>, MeasureError> {
        watch.go_on()?;
        let (proposals, fault) = self.run(on, &on.aimed(self.asked.target, &self.asked.component.id), watch.stop);
        match fault {
            Some(fault) => Err(fault),
            None => Ok(proposals.into_iter().map(|p| p.point).collect()),
        }
    }
}
