//! The worst case over all attacks, sample by sample. A sample that an attack has not seen counts as not broken by it, so a fault
//! never shrinks the set of samples and another attack can only lower the number.

use std::collections::BTreeMap;

use flatscape_measure::findings::FindingsError;
use flatscape_measure::verify::Outcome;
use flatscape_report::{Record, SampleKey};

use super::attack::{Seen, seen};
use super::doubts::Doubts;
use super::{Part, Rows, Summary, rate};
use crate::manifest::ThreatFacts;

/// How many samples are right and none of the attacks broke.
pub(super) fn standing(keys: &[SampleKey], found: &[BTreeMap<i64, Seen>], outcome: fn(&Seen) -> Outcome) -> u64 {
    let held = |id: i64| found.iter().filter_map(|seen| seen.get(&id)).all(|s| outcome(s) == Outcome::Held);
    keys.iter().filter(|k| k.prediction == Some(k.label) && held(k.id as i64)).count() as u64
}

impl Rows<'_> {
    pub(super) fn union(&self, threat: &ThreatFacts, doubts: &Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        let answers = |part: &&Part| self.answered(part).iter().any(|t| t.written == threat.written);
        let parts: Vec<&Part> = self.attacks().filter(answers).collect();
        let Some(clean) = self.clean_part().filter(|_| !parts.is_empty()) else { return Ok(()) };
        let keys = clean.keys(self.model, &threat.written)?;
        let found = parts.iter().map(|part| seen(part, threat)).collect::<Result<Vec<_>, _>>()?;
        let (mut forwards, mut backwards) = (0, 0);
        for part in &parts {
            forwards += part.total("forwards")?;
            backwards += part.total("backwards")?;
        }
        let record = Record {
            component: "union".into(),
            component_version: env!("CARGO_PKG_VERSION").into(),
            threat: threat.written.clone(),
            eps: Some(threat.eps),
            forwards,
            backwards,
            flags: doubts.get(&threat.written).cloned().unwrap_or_default(),
            ..self.of_model()
        };
        let n = keys.len() as u64;
        let stands = |outcome| standing(&keys, &found, outcome);
        summary.records.push(rate(record.clone(), "robust_accuracy", stands(Seen::headline), n));
        if found.iter().flat_map(|seen| seen.values()).any(|s| s.on_grid.is_some()) {
            summary.records.push(rate(record.clone(), "robust_accuracy_uint8", stands(Seen::headline), n));
            summary.records.push(rate(record.clone(), "robust_accuracy_continuous", stands(|s| s.outcome), n));
        }
        let covered = keys.iter().filter(|k| found.iter().any(|seen| seen.contains_key(&(k.id as i64)))).count() as u64;
        if covered < n {
            summary.records.push(rate(record, "coverage", covered, n));
        }
        Ok(())
    }
}
