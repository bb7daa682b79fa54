//! How many planted adversarial examples an attack found.

use flatscape_measure::canary::Canary;
use flatscape_measure::findings::FindingsError;
use flatscape_report::Record;

use super::doubts::Doubts;
use super::{Part, Rows, Summary, rate};
use crate::flags::{canary_inconclusive, canary_missed};

impl Rows<'_> {
    pub(super) fn canary(&self, part: &Part, doubts: &Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        let canaries = Canary::read(&part.findings)?;
        let count = |wanted: Canary| canaries.iter().filter(|(_, canary)| *canary == wanted).count() as u64;
        let found = count(Canary::Found);
        let about = |code: &&String| [canary_missed::CODE, canary_inconclusive::CODE].contains(&code.as_str());
        let flags = doubts.get(&part.threat.text()).into_iter().flatten().filter(about).cloned().collect();
        let record = Record { flags, ..self.record(part) };
        summary.records.push(rate(record, "canary_found", found, found + count(Canary::Missed)));
        Ok(())
    }
}
