//! One attack: its robust accuracy under every threat model that it answers, its claims, its coverage, its distances.

use std::collections::BTreeMap;

use flatscape_measure::columns::{ADV_DRAWN_SHARE, BORDERLINE, Column, DRAWN_SHARE, ID, STORED};
use flatscape_measure::findings::FindingsError;
use flatscape_measure::verify::Outcome;
use flatscape_report::{Record, SampleKey, SampleValue};

use super::corruptions::accuracies;
use super::doubts::Doubts;
use super::{Part, Rows, Summary, mean_share, rate};
use crate::job::Work;
use crate::manifest::ThreatFacts;

/// The refusal of a component that does not serve the task, and the word for it in `flags`.
pub const UNSUPPORTED: (&str, &str) = ("U125", "unsupported");

/// The outcomes and their names in `samples.csv`.
pub const OUTCOMES: &[(Outcome, &str)] = &[
    (Outcome::Misclassified, "misclassified"),
    (Outcome::Broken, "broken"),
    (Outcome::Held, "held"),
    (Outcome::NanInBall, "nan-in-ball"),
    // as a sample without a row: it counts as not broken by the attack
    (Outcome::NotAttacked, NOT_ATTACKED),
];

/// What `samples.csv` says of a sample that an attack has not seen: it counts as not broken by it.
const NOT_ATTACKED: &str = "not-attacked";

/// The outcomes of points stored as 8-bit pixels, for models that take nothing else.
const ON_GRID: &str = "outcome_uint8";

/// What one attack did to one sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The outcome of the point as it was found.
    pub outcome: Outcome,
    /// The outcome of the point stored as 8-bit pixels, for models that take integers.
    pub on_grid: Option<Outcome>,
    /// Distance of the adversarial example in the norm of the threat model; NaN where there is none.
    pub distance: f64,
    /// `z_y − max_{i≠y} z_i` at the point.
    pub margin: f64,
    /// Whether the point is adversarial, too, when it is stored as 8-bit pixels; `None` where that was not asked at this radius.
    pub stored: Option<bool>,
    /// Whether engines may answer otherwise at the point.
    pub borderline: bool,
}

impl Seen {
    /// The outcome that the headline counts: the one on the grid for models that take integers.
    pub fn headline(&self) -> Outcome {
        self.on_grid.unwrap_or(self.outcome)
    }

    /// The outcome of the point stored as 8-bit pixels, where it was looked at.
    pub fn in_levels(&self) -> Outcome {
        match (self.on_grid, self.stored) {
            (Some(outcome), _) => outcome,
            (None, Some(false)) if self.outcome == Outcome::Broken => Outcome::Held,
            _ => self.outcome,
        }
    }

    /// Whether it is known what becomes of the point when it is stored as 8-bit pixels.
    pub fn is_known_in_levels(&self) -> bool {
        self.on_grid.is_some() || self.stored.is_some() || self.outcome != Outcome::Broken
    }
}

/// What an attack did, by sample, as an answer to one threat model.
pub(super) fn seen(part: &Part, threat: &ThreatFacts) -> Result<BTreeMap<i64, Seen>, FindingsError> {
    let findings = &part.findings;
    let outcomes = decoded(part, "outcome")?;
    let on_grid = if findings.tensor(ON_GRID).is_some() { Some(decoded(part, ON_GRID)?) } else { None };
    let distances = findings.get::<f64>("distance")?;
    let margins = findings.get::<f64>("margin")?;
    // the nearest adversarial example answers for every radius: it counts only within the radius
    let minimal = part.component.is_some_and(|c| c.minimal);
    let within = |outcome: Outcome, distance: f64| match outcome {
        Outcome::Broken if minimal && distance > threat.tolerated => Outcome::Held,
        outcome => outcome,
    };
    let stored = if findings.tensor(STORED.name).is_some() { findings.read(&STORED)? } else { Vec::new() };
    let borderline = if findings.tensor(BORDERLINE.name).is_some() { findings.read(&BORDERLINE)? } else { Vec::new() };
    // the nearest example of a larger ball says nothing about the levels of a smaller one
    let of_radius = threat.written == part.threat.text();
    let row = |(place, id): (usize, i64)| {
        let distance = distances[place];
        let stored = stored.get(place).copied().filter(|_| of_radius);
        let borderline = borderline.get(place).copied().unwrap_or(false);
        let on_grid = on_grid.as_ref().map(|codes| within(codes[place], distance));
        let margin = margins[place];
        (id, Seen { outcome: within(outcomes[place], distance), on_grid, distance, margin, stored, borderline })
    };
    let attacked = |(place, _): &(usize, i64)| outcomes[*place] != Outcome::NotAttacked;
    Ok(findings.get::<i64>("id")?.into_iter().enumerate().filter(attacked).map(row).collect())
}

fn decoded(part: &Part, column: &str) -> Result<Vec<Outcome>, FindingsError> {
    let code = |code: u8| OUTCOMES.iter().map(|(o, _)| *o).find(|o| *o as u8 == code);
    let codes = part.findings.get::<u8>(column)?;
    codes.into_iter().map(|c| code(c).ok_or_else(|| FindingsError::Column(column.into()))).collect()
}

pub(super) fn outcome_name(outcome: Outcome) -> &'static str {
    OUTCOMES.iter().find(|(o, _)| *o == outcome).map_or("", |(_, name)| name)
}

impl Rows<'_> {
    /// The threat models that a part answers: its own, or for a minimum-norm attack all of its norm and unit.
    pub(super) fn answered(&self, part: &Part) -> Vec<&ThreatFacts> {
        let minimal = part.component.is_some_and(|c| c.minimal);
        let own = part.threat.text();
        let nested = |t: &ThreatFacts| minimal && t.model().is_ok_and(|model| model.is_nested_with(&part.threat));
        self.manifest.threats.iter().filter(|t| t.written == own || nested(t)).collect()
    }

    pub(super) fn attack(&self, part: &Part, doubts: &Doubts, summary: &mut Summary) -> Result<(), FindingsError> {
        for threat in self.answered(part) {
            self.attack_under(part, threat, doubts, summary)?;
        }
        Ok(())
    }

    fn attack_under(
        &self,
        part: &Part,
        threat: &ThreatFacts,
        doubts: &Doubts,
        summary: &mut Summary,
    ) -> Result<(), FindingsError> {
        let seen = self.with_earlier(part, threat)?;
        let own = part.findings.get::<i64>("id")?;
        // every sample of the clean points counts; during an audit, those that were seen
        let clean = self.clean_part().unwrap_or(part);
        let keys = clean.keys(self.model, &threat.written)?;
        let mut base = Record { threat: threat.written.clone(), eps: Some(threat.eps), ..self.record(part) };
        base.flags = doubts.get(&threat.written).cloned().unwrap_or_default();
        base.forwards = part.total("forwards")?;
        base.backwards = part.total("backwards")?;
        let n = keys.len() as u64;
        let stands = |outcome: fn(&Seen) -> Outcome| {
            let one = |key: &&flatscape_report::SampleKey| match seen.get(&(key.id as i64)) {
                Some(seen) => outcome(seen) == Outcome::Held,
                None => key.prediction == Some(key.label),
            };
            keys.iter().filter(one).count() as u64
        };
        summary.records.push(rate(base.clone(), "robust_accuracy", stands(Seen::headline), n));
        if seen.values().all(Seen::is_known_in_levels) {
            summary.records.push(rate(base.clone(), "robust_accuracy_uint8", stands(Seen::in_levels), n));
        }
        if seen.values().any(|s| s.on_grid.is_some()) {
            summary.records.push(rate(base.clone(), "robust_accuracy_continuous", stands(|s| s.outcome), n));
        }
        let borderline = seen.values().filter(|s| s.headline() == Outcome::Broken && s.borderline).count() as u64;
        if borderline > 0 {
            summary.records.push(rate(base.clone(), "borderline", borderline, n));
        }
        summary.records.extend(self.drawn(part, &keys, &base)?);
        let claims = part.findings.get::<bool>("claimed")?.iter().filter(|&&claim| claim).count() as u64;
        summary.records.push(rate(base.clone(), "claimed_success", claims, own.len() as u64));
        let undefined = seen.values().filter(|s| s.outcome == Outcome::NanInBall).count() as u64;
        summary.records.push(rate(base.clone(), "nan_in_ball", undefined, n));
        if seen.len() < keys.len() {
            summary.records.push(rate(base.clone(), "coverage", seen.len() as u64, n));
        }
        summary.records.extend(median_distance(&base, &seen));
        summary.records.extend(accuracies(part, threat.eps, &base, keys.len())?);
        let label = part.label();
        for key in &keys {
            let found = seen.get(&(key.id as i64));
            let word = found.map_or(NOT_ATTACKED, |s| outcome_name(s.headline()));
            summary.samples.set(key, &format!("{label}.outcome"), SampleValue::Text(word.to_owned()));
            if let Some(found) = found {
                summary.samples.set(key, &format!("{label}.distance"), SampleValue::Number(found.distance));
                summary.samples.set(key, &format!("{label}.margin"), SampleValue::Number(found.margin));
            }
        }
        Ok(())
    }

    /// The mean share of the draws that are right at the points of an attack, of a model that draws at random; samples that the attack
    /// has no point for count with their images.
    fn drawn(&self, part: &Part, keys: &[SampleKey], base: &Record) -> Result<Option<Record>, FindingsError> {
        let known = |part: &Part, column: &Column<f64>| -> Result<BTreeMap<i64, f64>, FindingsError> {
            Ok(part.findings.read(&ID)?.into_iter().zip(part.findings.read(column)?).collect())
        };
        let draws = |clean: &&Part| clean.findings.tensor(DRAWN_SHARE.name).is_some();
        let Some(clean) = self.clean_part().filter(draws) else { return Ok(None) };
        if part.findings.tensor(ADV_DRAWN_SHARE.name).is_none() {
            return Ok(None);
        }
        let (images, points) = (known(clean, &DRAWN_SHARE)?, known(part, &ADV_DRAWN_SHARE)?);
        let share = |key: &SampleKey| {
            let id = key.id as i64;
            points.get(&id).filter(|share| share.is_finite()).or_else(|| images.get(&id)).copied()
        };
        let shares: Vec<f64> = keys.iter().filter_map(share).collect();
        Ok(Some(mean_share(base.clone(), "robust_accuracy_mean", &shares)))
    }

    /// What a part saw; an attack on survivors counts what the attacks that it follows have broken, too.
    fn with_earlier(&self, part: &Part, threat: &ThreatFacts) -> Result<BTreeMap<i64, Seen>, FindingsError> {
        let own = seen(part, threat)?;
        let mut all = own.clone();
        let follows = |other: &&Part| other.jobs.iter().any(|job| part.jobs.iter().any(|own| own.after.contains(&job.name)));
        for earlier in self.attacks().filter(|p| matches!(p.work, Work::Attack(_))).filter(follows) {
            for (id, found) in seen(earlier, threat)? {
                let known = all.entry(id).or_insert(found);
                if known.headline() == Outcome::Held && !own.contains_key(&id) {
                    *known = found;
                }
            }
        }
        Ok(all)
    }
}

/// The median distance of the adversarial examples, over those that were found.
fn median_distance(base: &Record, seen: &BTreeMap<i64, Seen>) -> Option<Record> {
    let broken = seen.values().filter(|s| s.headline() == Outcome::Broken && s.distance.is_finite());
    let mut distances: Vec<f64> = broken.map(|s| s.distance).collect();
    distances.sort_by(f64::total_cmp);
    let count = distances.len();
    let (upper, lower) = (distances.get(count / 2)?, distances.get(count.saturating_sub(1) / 2)?);
    let record = Record { flags: Vec::new(), forwards: 0, backwards: 0, ..base.clone() };
    Some(Record { metric: "distance_median".into(), n: count as u64, value: Some((upper + lower) / 2.0), ..record })
}
