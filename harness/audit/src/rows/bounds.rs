//! How many samples are verified: correct, and no image of the ball can change their class.

use std::collections::BTreeMap;

use flatscape_measure::columns::{BOUND, BOUND_SCALE, ID};
use flatscape_measure::findings::FindingsError;
use flatscape_report::{Record, SampleValue};

use super::attack::UNSUPPORTED;
use super::doubts::Doubts;
use super::{Part, Rows, Summary, rate};
use crate::bounds::{impossible, verifies};
use crate::flags::certified_broken;
use crate::job::Work;

/// The name of the row.
const METRIC: &str = "certified_accuracy";

impl Rows<'_> {
    pub(super) fn bounds(&self, part: &Part, doubts: &Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        let found = certified(part)?;
        let count = found.values().filter(|verified| **verified).count() as u64;
        let threat = part.threat.text();
        let about = |code: &&String| **code == certified_broken::CODE;
        let flags = doubts.get(&threat).into_iter().flatten().filter(about).cloned().collect();
        summary.records.push(rate(Record { flags, ..self.record(part) }, METRIC, count, found.len() as u64));
        let Some(clean) = self.clean_part() else { return Ok(()) };
        let bounds: BTreeMap<i64, f64> = part.findings.read(&ID)?.into_iter().zip(part.findings.read(&BOUND)?).collect();
        for key in clean.keys(self.model, &threat)? {
            if let Some(bound) = bounds.get(&(key.id as i64)) {
                summary.samples.set(&key, "bounds.margin", SampleValue::Number(*bound));
            }
        }
        Ok(())
    }

    /// A row without a value for a model that has no bounds.
    pub(super) fn unbounded(&self, part: &Part) -> Option<Record> {
        impossible(&part.findings)?;
        let metric = METRIC.to_owned();
        (*part.work == Work::Bounds).then(|| Record { metric, flags: vec![UNSUPPORTED.1.to_owned()], ..self.record(part) })
    }
}

/// Whether each sample is verified. A bound on the margin of the label is positive only where the image is classified correctly.
pub(super) fn certified(part: &Part) -> Result<BTreeMap<i64, bool>, FindingsError> {
    let bounds = part.findings.read(&BOUND)?.into_iter().zip(part.findings.read(&BOUND_SCALE)?);
    Ok(part.findings.read(&ID)?.into_iter().zip(bounds).map(|(id, (bound, scale))| (id, verifies(bound, scale))).collect())
}
