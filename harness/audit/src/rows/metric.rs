//! What a metric gives: the mean of every column over the samples, and the values themselves.

use flatscape_measure::findings::FindingsError;
use flatscape_measure::request::Request;
use flatscape_report::{Record, SampleValue};

use super::{Part, Rows, Summary};
use flatscape_measure::statistics::{Interval, Mean};

/// The name of a column's mean in `results.csv`: `ams` → `ams_mean`; what is named a sum or a mean keeps its name.
pub fn metric_name(column: &str) -> String {
    if column.ends_with("_mean") || column.ends_with("_sum") { column.to_owned() } else { format!("{column}_mean") }
}

/// The end of the name of a column that is about the samples that an attack broke: NaN for the others, which are not in its mean.
pub const OF_BROKEN: &str = "_of_broken";

impl Rows<'_> {
    pub(super) fn metric(&self, part: &Part, request: &Request, summary: &mut Summary) -> Result<(), FindingsError> {
        self.columns(part, request, (part.total("forwards")?, part.total("backwards")?), summary)
    }

    /// The mean of every column, and its values by sample.
    pub(super) fn columns(
        &self,
        part: &Part,
        request: &Request,
        (forwards, backwards): (u64, u64),
        summary: &mut Summary,
    ) -> Result<(), FindingsError> {
        // what is taken at the points of an attack belongs to the threat model under which they were found
        let keys = part.keys(self.model, &request.attack().map_or(String::new(), |_| part.threat.text()))?;
        for (name, tensor) in part.findings.with_prefix("col_") {
            let values = tensor.to_f64();
            let counts = |value: &f64| !(value.is_nan() && name.ends_with(OF_BROKEN));
            let counted: Vec<f64> = values.iter().copied().filter(counts).collect();
            let mean = Mean::of(&counted);
            let interval = mean.as_ref().and_then(Mean::interval);
            summary.records.push(Record {
                metric: metric_name(name),
                n: counted.len() as u64,
                value: mean.map(|m| m.value),
                ci_low: interval.as_ref().map(|i: &Interval| i.low),
                ci_high: interval.as_ref().map(|i| i.high),
                forwards,
                backwards,
                ..self.record(part)
            });
            let column = request.placed(name, &part.label());
            for (key, &value) in keys.iter().zip(&values).filter(|(_, value)| counts(value)) {
                summary.samples.set(key, &column, SampleValue::Number(value));
            }
        }
        Ok(())
    }
}
