//! The justified doubts of a model, by threat model.

use std::collections::{BTreeMap, BTreeSet};

use flatscape_intake::model::TOLERANCE;
use flatscape_measure::columns::{ADV_BATCH_DIFFERENCE, BATCH_DIFFERENCE};
use flatscape_measure::findings::FindingsError;
use flatscape_measure::losses::Losses;
use flatscape_measure::verify::Outcome;
use flatscape_report::Doubt;

use super::attack::seen;
use super::{Part, Rows, Summary};
use crate::flags::{AttackEvidence, Evidence, LEAD, OtherLosses};
use crate::job::Work;
use crate::manifest::ThreatFacts;

/// Codes of the justified doubts by threat model as written; without a threat those about the model itself.
pub(super) type Doubts = BTreeMap<String, Vec<String>>;

impl Rows<'_> {
    pub(super) fn doubts(&self, summary: &mut Summary) -> Result<Doubts, FindingsError> {
        let part = |work: &Work| self.parts.iter().find(|p| p.work == work);
        let certificate = part(&Work::Certificate).and_then(Part::certificate);
        let suggestions = part(&Work::Suggestions).map(Part::suggestions).unwrap_or_default();
        let clean = self.clean_part();
        let keys = clean.map_or(Ok(Vec::new()), |clean| clean.keys(self.model, ""))?;
        let margins = clean.map_or(Ok(Vec::new()), |clean| clean.findings.get::<f64>("clean_margin"))?;
        let base = Evidence {
            classes: self.model.classes,
            batch_difference: self.batch_difference()?,
            repeat_difference: self.model.repeat_difference,
            order_difference: self.model.order_difference,
            hazards: &self.model.hazards,
            remedies: &self.model.remedies,
            suggestions: &suggestions,
            underflowing: if self.model.margin { 0 } else { margins.iter().filter(|m| **m > LEAD).count() as u64 },
            certificate: certificate.as_ref(),
            n: keys.len() as u64,
            correct: keys.iter().filter(|k| k.prediction == Some(k.label)).count() as u64,
            ..Evidence::default()
        };
        let threats: Vec<_> = self.manifest.threats.iter().map(|t| (t, t.model().ok())).collect();
        let mut cases = vec![(String::new(), base.clone())];
        for (facts, threat) in &threats {
            let mut case = Evidence { threat: threat.as_ref(), ..base.clone() };
            for part in self.attacks().filter(|p| self.answered(p).iter().any(|t| t.written == facts.written)) {
                case.attacks.push(evidence(part, facts)?);
            }
            if !case.attacks.is_empty() {
                case.losses = self.losses(facts)?;
                cases.push((facts.written.clone(), case));
            }
        }
        Ok(self.judged(&cases, summary))
    }

    /// How the attacks under a threat model stand against the best of the short attacks by other losses, where those were tried.
    fn losses(&self, threat: &ThreatFacts) -> Result<Option<OtherLosses>, FindingsError> {
        let trial = self.parts.iter().find(|p| *p.work == Work::Losses && p.threat.text() == threat.written && p.open == 0);
        let Some(trial) = trial.filter(|p| p.faults.is_empty()) else { return Ok(None) };
        let Losses { ids, cross_entropy, margin, unbounded } = Losses::read(&trial.findings)?;
        let mut broken = BTreeSet::new();
        for part in self.attacks().filter(|p| self.answered(p).iter().any(|t| t.written == threat.written)) {
            let found = seen(part, threat)?;
            broken.extend(found.iter().filter(|(_, s)| s.headline() == Outcome::Broken).map(|(&id, _)| id as u64));
        }
        let by_attacks: Vec<bool> = ids.iter().map(|id| broken.contains(id)).collect();
        let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count() as u64;
        let against = |how: &'static str, found: &[bool]| OtherLosses {
            samples: ids.len() as u64,
            how,
            over_attacks: (only(found, &by_attacks), only(&by_attacks, found)),
            over_cross_entropy: (only(found, &cross_entropy), only(&cross_entropy, found)),
        };
        let tried = [
            unbounded.map(|found| against("through the scores before they are bounded", &found)),
            Some(against("by the margin", &margin)),
        ];
        Ok(tried.into_iter().flatten().max_by_key(|other| other.over_attacks.0 as i64 - other.over_attacks.1 as i64))
    }

    /// The difference between scores alone and in batches, at the intake and wherever something was judged, where it is more than
    /// rounding: the 99th percentile, because single values may fall on either side of a step. Where two runs differ anyhow, nothing
    /// is learned about the batch.
    fn batch_difference(&self) -> Result<Option<f64>, FindingsError> {
        let mut worst = self.model.batch_difference.unwrap_or(0.0);
        for part in self.parts.iter().filter(|_| self.model.repeat_difference.is_none()) {
            for column in [&BATCH_DIFFERENCE, &ADV_BATCH_DIFFERENCE] {
                if part.findings.tensor(column.name).is_some() {
                    let mut differences = part.findings.read(column)?;
                    differences.sort_by(f64::total_cmp);
                    let place = differences.len().saturating_sub(1) * 99 / 100;
                    worst = differences.get(place).copied().unwrap_or(0.0).max(worst);
                }
            }
        }
        Ok((worst > TOLERANCE).then_some(worst))
    }

    fn judged(&self, cases: &[(String, Evidence)], summary: &mut Summary) -> Doubts {
        let mut found = Doubts::new();
        for (text, case) in cases {
            for (doubt, evidence) in case.justified() {
                found.entry(text.clone()).or_default().push(doubt.code.to_owned());
                // a doubt that needs no attack is reported once
                if !text.is_empty() && found.get("").is_some_and(|codes| codes.iter().any(|c| c == doubt.code)) {
                    continue;
                }
                let unreliable = case.is_grave(&doubt);
                summary.unreliable |= unreliable;
                let place = if text.is_empty() { self.model.name.clone() } else { format!("{} under {text}", self.model.name) };
                summary.doubts.push(Doubt {
                    code: doubt.code.into(),
                    raised_if: doubt.raised_if.into(),
                    explanation: doubt.explanation.into(),
                    advice: doubt.advice.into(),
                    raised_for: format!("{place}: {evidence}"),
                    model: self.model.name.clone(),
                    threat: text.clone(),
                    unreliable,
                });
            }
        }
        found
    }
}

fn evidence(part: &Part, threat: &ThreatFacts) -> Result<AttackEvidence, FindingsError> {
    let seen = seen(part, threat)?;
    let count = |wanted: Outcome| seen.values().filter(|s| s.headline() == wanted).count() as u64;
    Ok(AttackEvidence {
        label: part.label(),
        robust: count(Outcome::Held),
        nan_in_ball: count(Outcome::NanInBall),
        rejected: part.total("rejected")?,
        gradients: part.total("gradients")?,
        zero_gradients: part.total("zero_gradients")?,
        broken_gradients: part.total("broken_gradients")?,
        reads_grad: part.component.is_some_and(|c| c.reads_grad),
        program_steps: part.component.and_then(|c| c.program_steps),
        step_length: part.component.and_then(|c| c.step_length),
    })
}
