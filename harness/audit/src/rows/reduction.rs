//! What a metric says about all samples together.

use flatscape_measure::findings::FindingsError;
use flatscape_measure::reduction::{CURVE, VALUE};
use flatscape_measure::request::Request;
use flatscape_report::{DataCurve, Record};

use super::{Part, Rows, Summary};

impl Rows<'_> {
    /// A row per value of the whole data set, and its curves. Columns become rows and samples like those of the metric itself.
    pub(super) fn reduction(&self, part: &Part, request: &Request, summary: &mut Summary) -> Result<(), FindingsError> {
        for (name, tensor) in part.findings.with_prefix(VALUE) {
            let wrong = || FindingsError::Column(format!("{VALUE}{name}"));
            let [value, low, high, n] = <[f64; 4]>::try_from(tensor.to_f64()).map_err(|_| wrong())?;
            let known = |v: f64| (!v.is_nan()).then_some(v);
            summary.records.push(Record {
                metric: name.to_owned(),
                n: n as u64,
                value: known(value),
                ci_low: known(low),
                ci_high: known(high),
                ..self.record(part)
            });
        }
        for (name, tensor) in part.findings.with_prefix(CURVE) {
            let values = tensor.to_f64();
            let (x, y) = values.split_at(values.len() / 2);
            let Record { model, component, args, threat, .. } = self.record(part);
            let points = x.iter().copied().zip(y.iter().copied()).collect();
            summary.curves.push(DataCurve { model, threat, component, args, name: name.to_owned(), points });
        }
        self.columns(part, request, (0, 0), summary)
    }
}
