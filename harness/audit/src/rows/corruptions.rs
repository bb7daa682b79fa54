//! Accuracy under common corruptions, of every image and whatever was broken: one row per type, and the mean over those types that
//! belong to the standard fifteen. Every severity up to that of the threat model counts alike, and every draw of one.

use flatscape_measure::columns::{RIGHT, TRIED};
use flatscape_measure::findings::FindingsError;
use flatscape_measure::statistics::Mean;
use flatscape_measure::threats::{SEVERITIES, TYPES, Type};
use flatscape_report::Record;

use super::Part;

/// The mean over the standard types.
const MEAN: &str = "corruption_accuracy_mean";

/// The standard types that are missing in [`TYPES`].
const MISSING: &[&str] = &["snow", "frost"];

/// The names of `metric` that a run under corruptions may have.
pub fn corruption_metrics() -> impl Iterator<Item = String> {
    std::iter::once(MEAN.to_owned()).chain(TYPES.iter().map(of_type))
}

fn of_type(row: &Type) -> String {
    format!("corruption_accuracy_{}", row.name.replace('-', "_"))
}

/// The rows of an attack whose findings count points by type and severity, at a severity; none where it has not seen all `n` images.
pub(super) fn accuracies(part: &Part, severity: f64, base: &Record, n: usize) -> Result<Vec<Record>, FindingsError> {
    if part.findings.tensor(TRIED.name).is_none() {
        return Ok(Vec::new());
    }
    let (tried, right) = (part.findings.read(&TRIED)?, part.findings.read(&RIGHT)?);
    let kinds = TYPES.len() * SEVERITIES;
    if tried.len() != n * kinds || right.len() != tried.len() {
        return Ok(Vec::new());
    }
    let severities = SEVERITIES.min(severity as usize);
    // by type, the share of every image; `None` where one was not tried
    let share = |image: usize, kind: usize| -> Option<f64> {
        let first = image * kinds + kind * SEVERITIES;
        let of = |place: usize| (tried[place] > 0).then(|| right[place] as f64 / tried[place] as f64);
        Some((first..first + severities).map(of).sum::<Option<f64>>()? / severities as f64)
    };
    let shares: Vec<Option<Vec<f64>>> = (0..TYPES.len()).map(|kind| (0..n).map(|image| share(image, kind)).collect()).collect();
    let record = |metric: String, values: &[f64]| -> Option<Record> {
        let mean = Mean::of(values)?;
        let interval = mean.interval();
        Some(Record {
            metric,
            n: n as u64,
            value: Some(mean.value),
            // accuracies lie in [0, 1]
            ci_low: interval.as_ref().map(|i| i.low.max(0.0)),
            ci_high: interval.as_ref().map(|i| i.high.min(1.0)),
            forwards: 0,
            backwards: 0,
            flags: Vec::new(),
            ..base.clone()
        })
    };
    let mut rows: Vec<Record> = Vec::new();
    let standard = || TYPES.iter().zip(&shares).filter(|(row, _)| row.standard);
    if let Some(all) = standard().map(|(_, shares)| shares.as_ref()).collect::<Option<Vec<_>>>() {
        let of = |image: usize| all.iter().map(|shares| shares[image]).sum::<f64>() / all.len() as f64;
        let names: Vec<&str> = standard().map(|(row, _)| row.name).collect();
        let said = format!("mean={},severities=1-{severities},missing={}", names.join("+"), MISSING.join("+"));
        let args = if base.args.is_empty() { said } else { format!("{},{said}", base.args) };
        rows.extend(record(MEAN.to_owned(), &(0..n).map(of).collect::<Vec<f64>>()).map(|row| Record { args, ..row }));
    }
    let known = TYPES.iter().zip(&shares).filter_map(|(row, shares)| Some((row, shares.as_ref()?)));
    rows.extend(known.filter_map(|(row, shares)| record(of_type(row), shares)));
    Ok(rows)
}
