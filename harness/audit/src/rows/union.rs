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

/// The robust accuracy of the class that has the least, over classes with at least this many samples.
const OF_CLASS: u64 = 5;

/// A row for the class with the smallest robust accuracy.
fn classes(keys: &[SampleKey], found: &[BTreeMap<i64, Seen>], record: &Record, summary: &mut Summary) {
    let mut classes: BTreeMap<i64, Vec<SampleKey>> = BTreeMap::new();
    for key in keys {
        classes.entry(key.label).or_default().push(key.clone());
    }
    let counted = classes.iter().filter(|(_, own)| own.len() as u64 >= OF_CLASS && classes.len() > 1);
    let standing = counted.map(|(label, own)| (standing(own, found, Seen::headline), own.len() as u64, *label));
    let share = |(standing, n, _): &(u64, u64, i64)| *standing as f64 / *n as f64;
    let Some((standing, n, label)) = standing.min_by(|a, b| share(a).total_cmp(&share(b))) else { return };
    let record = Record { args: format!("class={label}"), flags: Vec::new(), forwards: 0, backwards: 0, ..record.clone() };
    summary.records.push(rate(record, "robust_accuracy_worst_class", standing, n));
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
        if found.iter().flat_map(|seen| seen.values()).all(Seen::is_known_in_levels) {
            summary.records.push(rate(record.clone(), "robust_accuracy_uint8", stands(Seen::in_levels), n));
        }
        if found.iter().flat_map(|seen| seen.values()).any(|s| s.on_grid.is_some()) {
            summary.records.push(rate(record.clone(), "robust_accuracy_continuous", stands(|s| s.outcome), n));
        }
        let escalated = |part: &&Part| part.component.is_some_and(|component| component.escalation);
        if parts.iter().any(escalated) {
            let plain: Vec<_> =
                parts.iter().zip(&found).filter(|(part, _)| !escalated(part)).map(|(_, seen)| seen.clone()).collect();
            let before = standing(&keys, &plain, Seen::headline);
            summary.records.push(rate(
                Record { flags: Vec::new(), ..record.clone() },
                "robust_accuracy_before_escalation",
                before,
                n,
            ));
        }
        classes(&keys, &found, &record, summary);
        let covered = keys.iter().filter(|k| found.iter().any(|seen| seen.contains_key(&(k.id as i64)))).count() as u64;
        if covered < n {
            summary.records.push(rate(record, "coverage", covered, n));
        }
        Ok(())
    }
}
