//! The clean points: clean accuracy, ties, margins.

use flatscape_measure::columns::DRAWN_SHARE;
use flatscape_measure::findings::FindingsError;
use flatscape_report::{Record, SampleValue};

use super::doubts::Doubts;
use super::{Part, Rows, Summary, mean_share, rate};

impl Rows<'_> {
    pub(super) fn clean(&self, part: &Part, doubts: &Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        let keys = part.keys(self.model, "")?;
        let n = keys.len() as u64;
        let correct = keys.iter().filter(|k| k.prediction == Some(k.label)).count() as u64;
        let flags = doubts.get("").cloned().unwrap_or_default();
        let record = Record { forwards: n, flags, ..self.record(part) };
        summary.records.push(rate(record.clone(), "clean_accuracy", correct, n));
        if part.findings.tensor("ties").is_some() {
            let tied = part.findings.get::<bool>("ties")?.iter().filter(|&&tie| tie).count() as u64;
            summary.records.push(rate(Record { forwards: 0, flags: Vec::new(), ..record }, "ties", tied, n));
        }
        if part.findings.tensor(DRAWN_SHARE.name).is_some() {
            let shares = part.findings.read(&DRAWN_SHARE)?;
            summary.records.push(mean_share(self.record(part), "clean_accuracy_mean", &shares));
        }
        let margins = part.findings.get::<f64>("clean_margin")?;
        for (key, margin) in keys.iter().zip(margins) {
            summary.samples.set(key, "clean.margin", SampleValue::Number(margin));
        }
        Ok(())
    }
}
