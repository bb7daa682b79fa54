//! Runs side by side: values in columns of equals, differences with their intervals, a ranking as far as they allow one, and
//! conditions on the difference to a baseline. Reads finished runs and computes nothing of models.

mod differences;
mod engines;
mod facts;
mod gate;
mod metrics;
mod open;
mod points;
mod ranks;
mod relations;
mod run;
mod values;

use flatscape_comparison::{Comparison, Difference};
use flatscape_intake::refusal::Refusal;

use differences::difference;
use flatscape_audit::requirement::Requirement;
use flatscape_measure::statistics::Level;
pub use run::{Component, Data, RunView};
use values::Values;

/// What is asked of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The run that the others are held against, by its place.
    pub baseline: Option<usize>,
    /// Conditions on the difference to it.
    pub requirements: Vec<Requirement>,
    /// How the names of the models of a family begin; empty: families are read off the names.
    pub families: Vec<String>,
    /// The command as typed.
    pub command: String,
}

/// Compares runs.
///
/// # Errors
/// `U150`: a requirement is about a metric that no run has, or there is no baseline. `R152`: a run has two values of one thing. `R151`:
/// the runs have nothing in common.
pub fn compare(runs: &[RunView], question: &Question) -> Result<Comparison, Refusal> {
    if question.baseline.is_none() && !question.requirements.is_empty() {
        let what = "--require is about the difference to a baseline, and there is none";
        return Err(Refusal::usage(150, what).help("name the run to compare with: --baseline RUN"));
    }
    let mut all = Values::of(runs)?;
    gate::check(&all, &question.requirements)?;
    let differences = pairs(&all, question.baseline).into_iter().flat_map(|(entry, reference)| of_pair(&all, entry, reference));
    let differences: Vec<Difference> = differences.collect();
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    nothing_in_common(&all, &names)?;
    let ranked = ranks::rank(&mut all);
    let named = |entry: usize| match names.len() {
        1 => all.entries[entry].model.clone(),
        _ => format!("{} · {}", all.entries[entry].model, names[all.entries[entry].run]),
    };
    let mut relations = relations::over_models(&all, &question.families);
    relations.extend(relations::over_samples(runs, &all.entries, &named));
    let (across, sweeps) = (relations::across(&all, runs), relations::sweeps(&all, &question.families));
    let conditions = question.baseline.map(|baseline| gate::judge(&all, baseline, &question.requirements, &names));
    let told = |run: &RunView, sentences: &[String]| sentences.iter().map(|s| format!("{}: {s}", run.name)).collect::<Vec<_>>();
    let mut warnings: Vec<String> = runs.iter().flat_map(|run| told(run, &run.warnings)).collect();
    warnings.extend(engines::disagreements(&all, runs, &differences));
    let mut notes: Vec<String> = runs.iter().flat_map(|run| told(run, &run.notes)).collect();
    notes.append(&mut all.notes);
    Ok(Comparison {
        command: question.command.clone(),
        facts: facts::differing(runs),
        runs: names,
        baseline: question.baseline,
        entries: all.entries,
        grounds: all.grounds,
        measures: all.measures,
        values: all.values,
        relations,
        across,
        sweeps,
        differences,
        ranking: if ranked { ranks::SENTENCE.to_owned() } else { String::new() },
        notes,
        warnings,
        conditions: conditions.unwrap_or_default(),
    })
}

/// The pairs of entries that are compared: with a baseline every model with its like there, else all, those of one model first, then
/// those of one run.
fn pairs(all: &Values, baseline: Option<usize>) -> Vec<(usize, usize)> {
    let count = all.entries.len();
    if let Some(baseline) = baseline {
        let others = (0..count).filter(|&entry| all.entries[entry].run != baseline);
        return others.filter_map(|entry| Some((entry, gate::partner(all, entry, baseline)?))).collect();
    }
    let mut pairs: Vec<(usize, usize)> = (0..count).flat_map(|entry| (0..entry).map(move |earlier| (entry, earlier))).collect();
    let order = |&(a, b): &(usize, usize)| {
        let (one, two) = (&all.entries[a], &all.entries[b]);
        let alike = one.model_sha256 == two.model_sha256 || one.model == two.model;
        (!alike, one.run != two.run, b, a)
    };
    pairs.sort_by_key(order);
    pairs
}

/// The differences of two entries, over the measures that tables show and that have an interval.
fn of_pair(all: &Values, entry: usize, reference: usize) -> Vec<Difference> {
    let one = |measure: usize| {
        let metric = &all.measures[measure].metric;
        if !all.measures[measure].shown || metrics::kind(metric) == metrics::Kind::Other {
            return None;
        }
        difference(all, all.find(entry, measure)?, all.find(reference, measure)?, Level::NINETY_FIVE)
    };
    (0..all.measures.len()).filter_map(one).collect()
}

/// Refuses several runs of which no two have a measure, and the data set or a model, in common.
fn nothing_in_common(all: &Values, names: &[String]) -> Result<(), Refusal> {
    let run = |place: usize| all.entries[all.values[place].entry].run;
    let shared = |a: usize| {
        (0..a).any(|b| {
            run(a) != run(b)
                && all.values[a].measure == all.values[b].measure
                && difference(all, a, b, Level::NINETY_FIVE).is_some()
        })
    };
    if names.len() < 2 || (0..all.values.len()).any(shared) {
        return Ok(());
    }
    let names: Vec<String> = names.iter().map(|name| flatscape_report::shown(name)).collect();
    let what = format!(
        "{} have nothing to compare: no measure of two of them has the data set or the model in common",
        names.join(" and ")
    );
    Err(Refusal::state(151, what)
        .help("name runs over the same data, or of the same model, with the same attacks and threat models"))
}

#[cfg(test)]
mod tests;
