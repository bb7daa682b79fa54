//! Conditions on the difference to a baseline. What cannot be compared does not hold.

use flatscape_comparison::{Condition, Difference};
use flatscape_intake::refusal::{Refusal, nearest};
use flatscape_report::shown;

use super::differences::difference;
use super::values::Values;
use flatscape_audit::requirement::{Of, Requirement};
use flatscape_measure::statistics::Level;

/// Rounding that a bound forgives.
const ROUNDING: f64 = 1e-12;

/// Refuses a requirement on a metric that no run has.
///
/// # Errors
/// `U150`.
pub(super) fn check(all: &Values, requirements: &[Requirement]) -> Result<(), Refusal> {
    for requirement in requirements {
        let metrics = || all.measures.iter().map(|m| m.metric.as_str());
        if !metrics().any(|metric| metric == requirement.metric) {
            let mut names: Vec<&str> = metrics().collect();
            names.sort_unstable();
            names.dedup();
            let meant =
                nearest(&requirement.metric, names.iter().copied()).map_or(String::new(), |n| format!("; did you mean {n}?"));
            let what =
                format!("no run has the metric {} of the requirement {}", shown(&requirement.metric), shown(&requirement.text()));
            let known = names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ");
            return Err(Refusal::usage(150, what).help(format!("there are {known}{meant}")));
        }
    }
    Ok(())
}

/// Holds every run against the baseline: one condition per requirement, run, and value of the baseline.
pub(super) fn judge(all: &Values, baseline: usize, requirements: &[Requirement], runs: &[String]) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for requirement in requirements {
        let of_baseline: Vec<usize> = (0..all.values.len())
            .filter(|&place| {
                let value = &all.values[place];
                all.entries[value.entry].run == baseline && all.measures[value.measure].metric == requirement.metric
            })
            .filter(|&place| all.values[place].value.is_some())
            .collect();
        for run in (0..runs.len()).filter(|&run| run != baseline) {
            if of_baseline.is_empty() {
                let sentence = format!("{} cannot be judged, the baseline has no value of {}.", runs[run], requirement.metric);
                conditions.push(Condition { text: requirement.text(), sentence, holds: false });
            }
            conditions.extend(of_baseline.iter().map(|&place| one(all, requirement, place, run, runs)));
        }
    }
    conditions
}

fn one(all: &Values, requirement: &Requirement, reference: usize, run: usize, runs: &[String]) -> Condition {
    let of_baseline = &all.values[reference];
    let measure = &all.measures[of_baseline.measure];
    let place = if measure.threat.is_empty() { String::new() } else { format!(" under {}", measure.threat) };
    let what = format!("{}, {}{place}", all.entries[of_baseline.entry].model, measure.name());
    let failed = |why: String| Condition { text: requirement.text(), sentence: format!("{what}: {why}"), holds: false };
    let Some(partner) = partner(all, of_baseline.entry, run) else {
        return failed(format!("{} has no model of this file or this name.", runs[run]));
    };
    let Some(value) = all.find(partner, of_baseline.measure) else {
        return failed(format!("{} does not have this measure; audit with the same attacks and threat models.", runs[run]));
    };
    let Some(found) = difference(all, value, reference, Level::NINETY_FIVE) else {
        return failed(format!("{} has no value that can be compared.", runs[run]));
    };
    let number = match requirement.of {
        Of::Value => Some(found.difference),
        Of::Low => found.interval.map(|i| i.0),
        Of::High => found.interval.map(|i| i.1),
    };
    // a comparison with NaN does not hold
    let holds = number.is_some_and(|number| match requirement.at_least {
        true => number >= requirement.value - ROUNDING,
        false => number <= requirement.value + ROUNDING,
    });
    let by_name = match all.entries[partner].model_sha256 == all.entries[of_baseline.entry].model_sha256 {
        true => "",
        false => " The models were matched by name, their files differ.",
    };
    let sentence = format!("{what}: in {} {}.{by_name}", runs[run], spelled(&found, measure.rate));
    Condition { text: requirement.text(), sentence, holds }
}

/// The entry of a run that answers to an entry of the baseline: the same file, else the same name.
pub(super) fn partner(all: &Values, entry: usize, run: usize) -> Option<usize> {
    let wanted = &all.entries[entry];
    let own = || (0..all.entries.len()).filter(|&place| all.entries[place].run == run);
    let file = |place: &usize| all.entries[*place].model_sha256 == wanted.model_sha256 && !wanted.model_sha256.is_empty();
    let name = |place: &usize| all.entries[*place].model == wanted.model;
    own().find(|place| file(place) && name(place)).or_else(|| own().find(file)).or_else(|| own().find(name))
}

fn spelled(found: &Difference, rate: bool) -> String {
    let spell = if rate { flatscape_report::rate } else { flatscape_report::quantity };
    let number = spell(found.difference, found.interval, found.n);
    let method = if found.method.is_empty() { "no interval" } else { &found.method };
    format!("the difference to the baseline is {number} ({}, {method})", found.pairing.word())
}
