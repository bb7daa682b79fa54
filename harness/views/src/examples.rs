//! Which adversarial example of which attack breaks a sample: the join of the outcomes in `samples.csv` and the examples of the attacks.

use std::collections::HashMap;

use flatscape_report::{SampleLine, SampleValue, Samples};

/// The adversarial examples that one attack found for one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Witnesses {
    /// Name of the model.
    pub model: String,
    /// Threat model as written.
    pub threat: String,
    /// The attack, as the columns of `samples.csv` begin.
    pub attack: String,
    /// Whether the attack looks for the nearest example, which then answers for every radius.
    pub minimal: bool,
    /// The samples.
    pub ids: Vec<u64>,
    /// What the model predicts at each example.
    pub predictions: Vec<i64>,
}

/// The adversarial examples of a run. Looking one up takes constant time.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    all: Vec<Witnesses>,
    /// Place in `all` by model, attack and threat model.
    places: HashMap<(String, String, String), usize>,
    /// Rows by sample, for each of `all`.
    rows: Vec<HashMap<u64, usize>>,
}

/// The example that broke a sample.
#[derive(Clone, Copy, Debug)]
pub struct Example<'a> {
    /// The attack that found it.
    pub attack: &'a str,
    /// Its distance in the norm of the threat model.
    pub distance: f64,
    /// `z_y − max_{i≠y} z_i` there.
    pub margin: f64,
    /// Place of its attack among the examples, and its row there; `None` where it is not among them.
    pub(crate) place: Option<(usize, usize)>,
    /// What the model predicts there; `None` where that is not known.
    pub prediction: Option<i64>,
}

impl Examples {
    /// The examples of a run.
    pub fn of(all: Vec<Witnesses>) -> Examples {
        // the nearest examples stand in one file, at the largest radius
        let threat = |w: &Witnesses| if w.minimal { norm(&w.threat).to_owned() } else { w.threat.clone() };
        let places = all.iter().enumerate().map(|(place, w)| ((w.model.clone(), w.attack.clone(), threat(w)), place)).collect();
        let rows =
            all.iter().map(|w| w.ids.iter().zip(&w.predictions).enumerate().map(|(row, (&id, _))| (id, row)).collect()).collect();
        Examples { all, places, rows }
    }

    fn find(&self, model: &str, attack: &str, threat: &str, id: u64) -> Option<(usize, usize)> {
        let at = |threat: &str| {
            let place = *self.places.get(&(model.to_owned(), attack.to_owned(), threat.to_owned()))?;
            Some((place, *self.rows[place].get(&id)?))
        };
        at(threat).or_else(|| at(norm(threat)))
    }
}

/// The norm of a threat model: what stands before its radius.
fn norm(threat: &str) -> &str {
    threat.split(':').next().unwrap_or_default()
}

/// The lines of one model under one threat model.
pub(crate) struct Group<'a> {
    pub(crate) model: &'a str,
    pub(crate) threat: &'a str,
    pub(crate) lines: Vec<SampleLine<'a>>,
}

/// The lines of `samples.csv` by model and threat model, in order of first appearance.
pub(crate) fn groups(samples: &Samples) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for line in samples.lines() {
        let (model, threat) = (line.key().model.as_str(), line.key().threat.as_str());
        match groups.iter_mut().rfind(|group| (group.model, group.threat) == (model, threat)) {
            Some(group) => group.lines.push(line),
            None => groups.push(Group { model, threat, lines: vec![line] }),
        }
    }
    groups
}

/// The attacks of a run by their columns in `samples.csv`.
pub(crate) struct Attacks<'a> {
    examples: &'a Examples,
    /// Name, outcome, distance and margin.
    columns: Vec<(&'a str, usize, Option<usize>, Option<usize>)>,
}

/// What attacks did to one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is wrong without an attack.
    Wrong,
    /// No attack broke it.
    Stands,
    /// An attack broke it, or found scores that are not finite.
    Broken,
}

impl<'a> Attacks<'a> {
    pub(crate) fn of(samples: &'a Samples, examples: &'a Examples) -> Attacks<'a> {
        let attacks =
            samples.columns().iter().enumerate().filter_map(|(place, name)| Some((place, name.strip_suffix(".outcome")?)));
        let column = |attack: &str, what: &str| samples.column(&format!("{attack}.{what}"));
        let columns = attacks.map(|(place, attack)| (attack, place, column(attack, "distance"), column(attack, "margin")));
        Attacks { examples, columns: columns.collect() }
    }

    /// Whether an attack has looked at the sample.
    pub(crate) fn saw(&self, line: SampleLine) -> bool {
        self.columns.iter().any(|&(_, outcome, ..)| line.value(outcome).is_some())
    }

    pub(crate) fn fate(&self, line: SampleLine) -> Fate {
        let key = line.key();
        if key.prediction != Some(key.label) {
            return Fate::Wrong;
        }
        let words = self.columns.iter().filter_map(|&(_, outcome, ..)| line.value(outcome));
        let broken = |value: &SampleValue| matches!(value, SampleValue::Text(word) if word == BROKEN || word == "nan-in-ball");
        if words.into_iter().any(broken) { Fate::Broken } else { Fate::Stands }
    }

    /// The examples that broke a sample, in the order of the attacks.
    pub(crate) fn breaking(&self, line: SampleLine<'a>) -> Vec<Example<'a>> {
        let number = |column: Option<usize>| match column.and_then(|column| line.value(column)) {
            Some(SampleValue::Number(value)) => *value,
            _ => f64::NAN,
        };
        let broke =
            self.columns.iter().filter(|&&(_, outcome, ..)| line.value(outcome) == Some(&SampleValue::Text(BROKEN.into())));
        let example = |&(attack, _, distance, margin): &(&'a str, usize, Option<usize>, Option<usize>)| {
            let key = line.key();
            let place = self.examples.find(&key.model, attack, &key.threat, key.id);
            let prediction = place.and_then(|(attack, row)| self.examples.all[attack].predictions.get(row).copied());
            Example { attack, distance: number(distance), margin: number(margin), place, prediction }
        };
        broke.map(example).collect()
    }
}

/// The outcome of a sample that an attack broke.
const BROKEN: &str = "broken";

/// The nearest of the examples that are known; without a distance the first.
pub(crate) fn nearest<'a>(examples: &[Example<'a>]) -> Option<Example<'a>> {
    let far = |example: &Example| if example.distance.is_nan() { f64::INFINITY } else { example.distance };
    let known = examples.iter().filter(|example| example.place.is_some());
    known.min_by(|a, b| far(a).total_cmp(&far(b))).copied()
}
