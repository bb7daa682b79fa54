//! Correlations over the samples of one model: every metric of `samples.csv` against what the attacks did to the sample, given how sure
//! the model was of its class.

use flatscape_comparison::{Entry, Relation};
use flatscape_report::SampleLine;
use serde_json::Value;

use super::correlation::{partial, spearman};
use crate::run::{Facts, RunView};

/// The column of confidence: the margin at the image.
const CONFIDENCE: &str = "clean.margin";
/// Samples that a correlation needs at least.
const LEAST: usize = 20;

/// What an attack did to a sample, as a number.
struct Target {
    name: &'static str,
    values: Vec<Option<f64>>,
}

/// The correlations over the samples that are right unperturbed, for every model, threat model, metric and target.
pub(crate) fn over_samples(runs: &[RunView], entries: &[Entry], names: &dyn Fn(usize) -> String) -> Vec<Relation> {
    let mut relations = Vec::new();
    for (run_place, run) in runs.iter().enumerate() {
        let facts = Facts::of(run);
        for (place, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.run == run_place) {
            for threat in threats(run, &entry.model) {
                let lines: Vec<SampleLine> = facts
                    .lines(&entry.model, threat)
                    .iter()
                    .filter(|line| line.key().prediction == Some(line.key().label))
                    .copied()
                    .collect();
                relations.extend(of_lines(run, &lines, &names(place), threat));
            }
        }
    }
    relations
}

/// The threat models under which a model has lines.
fn threats<'a>(run: &'a RunView, model: &str) -> Vec<&'a str> {
    let mut threats: Vec<&str> = Vec::new();
    for line in run.samples.lines().filter(|line| line.key().model == model && !line.key().threat.is_empty()) {
        if threats.last() != Some(&line.key().threat.as_str()) && !threats.contains(&line.key().threat.as_str()) {
            threats.push(&line.key().threat);
        }
    }
    threats
}

fn of_lines(run: &RunView, lines: &[SampleLine], scope: &str, threat: &str) -> Vec<Relation> {
    let columns = run.samples.columns();
    let numbers =
        |place: usize| lines.iter().map(|line| Facts::number(line, place).filter(|v| v.is_finite())).collect::<Vec<_>>();
    let of_attack = |name: &str| [".outcome", ".distance", ".margin"].iter().any(|end| name.ends_with(end));
    let metrics = columns.iter().enumerate().filter(|(_, name)| name.as_str() == CONFIDENCE || !of_attack(name));
    let confidence = run.samples.column(CONFIDENCE).map(numbers);
    let targets = targets(run, lines);
    let mut relations = Vec::new();
    for (place, name) in metrics {
        let x = numbers(place);
        for target in &targets {
            let given = confidence.as_deref().filter(|_| name != CONFIDENCE);
            relations.extend(relation(&x, target, given).map(|relation| Relation {
                over: "samples".to_owned(),
                scope: scope.to_owned(),
                ground: threat.to_owned(),
                x: name.clone(),
                ..relation
            }));
        }
    }
    relations
}

/// Broken or not, the margin at the worst point, and the distance of the nearest example of attacks that look for it.
fn targets(run: &RunView, lines: &[SampleLine]) -> Vec<Target> {
    let minimal: Vec<&str> = run.manifest.pointer("/attacks").and_then(Value::as_array).map_or_else(Vec::new, |attacks| {
        attacks.iter().filter(|a| a["minimal"] == true).filter_map(|attack| attack["label"].as_str()).collect()
    });
    let places = |end: &str, wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let attacks = run.attacks.iter().filter(|attack| wanted(&attack.label));
        attacks.filter_map(|attack| run.samples.column(&format!("{}{end}", attack.label))).collect()
    };
    let (outcomes, margins) = (places(".outcome", &|_| true), places(".margin", &|_| true));
    let distances = places(".distance", &|label| minimal.contains(&label));
    let least = |places: &[usize]| {
        let of = |line: &SampleLine| {
            let values = places.iter().filter_map(|&place| Facts::number(line, place)).filter(|v| v.is_finite());
            values.min_by(f64::total_cmp)
        };
        lines.iter().map(of).collect::<Vec<Option<f64>>>()
    };
    let broken = |line: &SampleLine| {
        let mut words = outcomes.iter().filter_map(|&place| Facts::text(line, place));
        (!outcomes.is_empty()).then(|| f64::from(u8::from(words.any(|word| word == "broken" || word == "nan-in-ball"))))
    };
    vec![
        Target { name: "broken", values: lines.iter().map(broken).collect() },
        Target { name: "margin at the worst point", values: least(&margins) },
        Target { name: "distance of the nearest example", values: least(&distances) },
    ]
}

/// The correlation over the samples that have everything; `None` where they are few or one column is constant.
fn relation(x: &[Option<f64>], target: &Target, confidence: Option<&[Option<f64>]>) -> Option<Relation> {
    let mut columns: [Vec<f64>; 3] = Default::default();
    for (place, (x, y)) in x.iter().zip(&target.values).enumerate() {
        let sure = confidence.map_or(Some(0.0), |values| values[place]);
        if let (Some(x), Some(y), Some(sure)) = (x, y, sure) {
            columns[0].push(*x);
            columns[1].push(*y);
            columns[2].push(sure);
        }
    }
    let [x, y, sure] = &columns;
    if x.len() < LEAST {
        return None;
    }
    let found = spearman(x, y)?;
    let mut relation = Relation { y: target.name.to_owned(), n: x.len() as u64, ..Relation::default() };
    found.into(&mut relation);
    if confidence.is_some() {
        relation.given = vec![CONFIDENCE.to_owned()];
        match partial(x, y, &[sure]) {
            Some(found) => (relation.partial, relation.partial_interval) = (Some(found.rho), found.interval),
            None => {
                relation.note = format!("The partial coefficient is undefined: {CONFIDENCE} has the order of one of the two.")
            }
        }
    }
    Some(relation)
}
