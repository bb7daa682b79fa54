//! Two runs of one model by the same measure on two engines: where they differ by more than chance, one of them is wrong.

use flatscape_audit::flags::ENGINES_DISAGREE as DOUBT;
use flatscape_comparison::Difference;

use super::facts;
use super::run::RunView;
use super::values::Values;

/// The warnings about pairs of runs.
pub(super) fn disagreements(all: &Values, runs: &[RunView], differences: &[Difference]) -> Vec<String> {
    differences.iter().filter_map(|found| disagreement(all, runs, found)).collect()
}

fn disagreement(all: &Values, runs: &[RunView], found: &Difference) -> Option<String> {
    let (one, two) = (&all.entries[found.entry], &all.entries[found.reference]);
    let measure = &all.measures[found.measure];
    let same_file = one.model_sha256 == two.model_sha256 && one.run != two.run;
    if !same_file || found.flips.is_none() || !measure.metric.ends_with("accuracy") {
        return None;
    }
    let (ours, theirs) = (&runs[one.run].manifest, &runs[two.run].manifest);
    let (engine, other) = (facts::engine(ours), facts::engine(theirs));
    if engine == other || !facts::same_draws(ours, theirs) {
        return None;
    }
    let (low, high) = found.interval.filter(|(low, high)| *low > 0.0 || *high < 0.0)?;
    let by = if measure.component.is_empty() { String::new() } else { format!(" by {}", measure.component) };
    Some(format!(
        "doubt[{}] {}: {}{by} is {:.3} with {engine} and {:.3} with {other} on the same images (difference {:+.3} [{low:+.3}, {high:+.3}]). {}",
        DOUBT.code, one.model, measure.metric, found.value, found.reference_value, found.difference, DOUBT.advice
    ))
}
