//! The justified doubts of a model, by threat model.

use std::collections::{BTreeMap, BTreeSet};

use flatscape_intake::model::{JudgedBy, TOLERANCE};
use flatscape_measure::canary::{self, Canary};
use flatscape_measure::columns::{
    ADV_BATCH_DIFFERENCE, BATCH_DIFFERENCE, CLEAN_MARGIN, Column, FLOAT32_DISTANCE, FLOAT32_MARGIN, FLOAT32_PREDICTION, ID,
    LABEL, LAST_LOSSES, OLDER_LOSSES, PREDICTION, ROUNDED_DISTANCE, ROUNDED_PREDICTION,
};
use flatscape_measure::findings::FindingsError;
use flatscape_measure::limits::Limits;
use flatscape_measure::losses::Losses;
use flatscape_measure::verify::Outcome;
use flatscape_report::{Doubt, SampleKey};

use super::attack::{Seen, seen};
use super::bounds::certified;
use super::union::standing;
use super::{Part, Rows, Summary};
use crate::escalation::accident;
use crate::flags::{
    AttackEvidence, Canaries, Evidence, LEAD, LossesOfSteps, OtherLosses, OtherPrecision, Precisions, Radii, WithoutGradients,
};
use crate::job::Work;
use crate::manifest::ThreatFacts;
use crate::result::{UNRECOGNISED, text};

/// Codes of the justified doubts by threat model as written; without a threat those about the model itself.
pub(super) type Doubts = BTreeMap<String, Vec<String>>;

impl<'a> Rows<'a> {
    pub(super) fn doubts(&self, summary: &mut Summary) -> Result<Doubts, FindingsError> {
        let part = |work: &Work| self.parts.iter().find(|p| p.work == work);
        let certificate = part(&Work::Certificate).and_then(Part::certificate);
        let suggestions = part(&Work::Suggestions).map(Part::suggestions).unwrap_or_default();
        let weighing = self.parts.iter().filter(|part| matches!(part.work, Work::Weights(_)));
        let unrecognised = weighing.filter_map(|part| text(&part.findings, UNRECOGNISED).ok()).next();
        let clean = self.clean_part();
        let keys = clean.map_or(Ok(Vec::new()), |clean| clean.keys(self.model, ""))?;
        // what underflows is the cross-entropy of the graph
        let margins = clean.map_or(Ok(Vec::new()), |clean| match clean.findings.read(&FLOAT32_MARGIN) {
            Err(FindingsError::Column(_)) => clean.findings.read(&CLEAN_MARGIN),
            found => found,
        })?;
        let base = Evidence {
            classes: self.model.classes,
            batch_difference: self.batch_difference()?,
            repeat_difference: self.model.repeat_difference.filter(|_| self.model.draws.is_none()),
            order_difference: self.model.order_difference,
            hazards: &self.model.hazards,
            remedies: &self.model.remedies,
            surrogates: &self.model.request.intake.surrogates,
            unrecognised,
            suggestions: &suggestions,
            underflowing: if self.model.margin { 0 } else { margins.iter().filter(|m| **m > LEAD).count() as u64 },
            precisions: clean.map_or(Ok(None), precisions_on_images)?,
            copy: match &self.model.judged_by {
                JudgedBy::Float32Copy(why) => Some(why),
                JudgedBy::Graph | JudgedBy::File => None,
            },
            certificate: certificate.as_ref(),
            claims: &self.manifest.claims,
            n: keys.len() as u64,
            correct: keys.iter().filter(|k| k.prediction == Some(k.label)).count() as u64,
            ..Evidence::default()
        };
        let threats: Vec<_> = self.manifest.threats.iter().map(|t| (t, t.model().ok())).collect();
        let mut cases = vec![(String::new(), base.clone())];
        let mut before: Vec<(String, &ThreatFacts, u64)> = Vec::new();
        for (facts, threat) in &threats {
            let base = Evidence { threat: threat.as_ref(), ..base.clone() };
            let case = self.under(base, facts, &keys, &mut before)?;
            if !case.attacks.is_empty() {
                cases.push((facts.written.clone(), case));
            }
        }
        let (of_model, attacked) = cases.split_at_mut(1);
        of_model[0].1.settled = !attacked.is_empty() && attacked.iter().all(|(_, case)| case.settled);
        Ok(self.judged(&cases, summary))
    }

    /// What is known under one threat model.
    fn under<'e>(
        &self,
        mut case: Evidence<'e>,
        facts: &'a ThreatFacts,
        keys: &[SampleKey],
        before: &mut Vec<(String, &'a ThreatFacts, u64)>,
    ) -> Result<Evidence<'e>, FindingsError> {
        let mut found = Vec::new();
        for part in self.attacks().filter(|p| self.answered(p).iter().any(|t| t.written == facts.written)) {
            let seen = seen(part, facts)?;
            case.attacks.push(evidence(part, &seen)?);
            if let (Some(precisions), Some(clean)) = (&mut case.precisions, self.clean_part()) {
                precisions_on_points(precisions, clean, (part, &seen), facts)?;
            }
            found.push((part, seen));
        }
        let outcomes: Vec<_> = found.iter().map(|(_, seen)| seen.clone()).collect();
        case.standing = standing(keys, &outcomes, Seen::headline);
        case.certified_broken = self.certified_broken(facts, &outcomes)?;
        if !case.attacks.is_empty() {
            case.canaries = self.canaries(facts)?;
        }
        compared(&mut case, keys, &found)?;
        radii(&mut case, facts, before);
        if !case.attacks.is_empty() {
            case.losses = self.losses(facts)?;
            case.limits = self.limits(facts);
        }
        Ok(case)
    }

    /// Samples that are verified under a threat model and broken by an attack.
    fn certified_broken(&self, threat: &ThreatFacts, found: &[BTreeMap<i64, Seen>]) -> Result<Vec<i64>, FindingsError> {
        let about = |part: &&Part| *part.work == Work::Bounds && part.threat.text() == threat.written;
        let Some(part) = self.parts.iter().find(about).filter(|part| part.findings.tensor(ID.name).is_some()) else {
            return Ok(Vec::new());
        };
        let broken = |id: &i64| found.iter().any(|seen| seen.get(id).is_some_and(|s| s.outcome == Outcome::Broken));
        Ok(certified(part)?.into_iter().filter(|(id, verified)| *verified && broken(id)).map(|(id, _)| id).collect())
    }

    /// What became of planted adversarial examples under a threat model, once all jobs about them have ended.
    fn canaries(&self, threat: &ThreatFacts) -> Result<Option<Canaries>, FindingsError> {
        let about = |part: &&Part| matches!(part.work, Work::Canary(_)) && part.threat.text() == threat.written;
        let parts: Vec<&Part> = self.parts.iter().filter(about).collect();
        if !self.manifest.canaries || parts.iter().any(|part| part.open > 0) {
            return Ok(None);
        }
        let mut all = Canaries::default();
        if parts.is_empty() {
            let norms = canary::THREATS.join(", ");
            all.impossible = Some(format!("that needs an attack that is a program, and a threat model among {norms}"));
        }
        let mut best: BTreeMap<i64, Canary> = BTreeMap::new();
        for part in parts.iter().filter(|part| part.findings.tensor("id").is_some()) {
            if let Ok(why) = text(&part.findings, "impossible") {
                all.impossible = Some(why);
            }
            for (id, canary) in Canary::read(&part.findings)? {
                let known = best.entry(id).or_insert(canary);
                if canary == Canary::Found {
                    *known = canary;
                }
            }
        }
        let count = |wanted: Canary| best.values().filter(|canary| **canary == wanted).count() as u64;
        all.found = count(Canary::Found);
        all.planted = all.found + count(Canary::Missed);
        (all.easy, all.failed) = (count(Canary::Easy), count(Canary::Unplanted));
        Ok(Some(all))
    }

    /// What trials at the limits of the attacks found under a threat model.
    fn limits(&self, threat: &ThreatFacts) -> Option<Limits> {
        let part = self.parts.iter().find(|p| *p.work == Work::Limits && p.threat.text() == threat.written)?;
        serde_json::from_str(&text(&part.findings, "limits").ok()?).ok()
    }

    /// How the attacks under a threat model stand against the short attacks by other losses, where those were tried.
    fn losses(&self, threat: &ThreatFacts) -> Result<Vec<OtherLosses>, FindingsError> {
        let trial = self.parts.iter().find(|p| *p.work == Work::Losses && p.threat.text() == threat.written && p.open == 0);
        let Some(trial) = trial.filter(|p| p.faults.is_empty()) else { return Ok(Vec::new()) };
        let Losses { ids, cross_entropy, margin, unbounded } = Losses::read(&trial.findings)?;
        let mut broken = BTreeSet::new();
        for part in self.attacks().filter(|p| self.answered(p).iter().any(|t| t.written == threat.written)) {
            let found = seen(part, threat)?;
            broken.extend(found.iter().filter(|(_, s)| s.headline() == Outcome::Broken).map(|(&id, _)| id as u64));
        }
        let by_attacks: Vec<bool> = ids.iter().map(|id| broken.contains(id)).collect();
        let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count() as u64;
        let against = |how: &'static str, found: &[bool]| OtherLosses {
            samples: ids.len() as u64,
            how,
            over_attacks: (only(found, &by_attacks), only(&by_attacks, found)),
            over_cross_entropy: (only(found, &cross_entropy), only(&cross_entropy, found)),
        };
        let tried = [
            unbounded.map(|found| against("through the scores before they are bounded", &found)),
            Some(against("by the margin", &margin)),
        ];
        Ok(tried.into_iter().flatten().collect())
    }

    /// The difference between scores alone and in batches, at the intake and wherever something was judged, where it is more than
    /// rounding: the 99th percentile, because single values may fall on either side of a step. Where two runs differ anyhow, nothing
    /// is learned about the batch.
    fn batch_difference(&self) -> Result<Option<f64>, FindingsError> {
        let mut worst = self.model.batch_difference.unwrap_or(0.0);
        for part in self.parts.iter().filter(|_| self.model.repeat_difference.is_none()) {
            for column in [&BATCH_DIFFERENCE, &ADV_BATCH_DIFFERENCE] {
                if part.findings.tensor(column.name).is_some() {
                    let mut differences = part.findings.read(column)?;
                    differences.sort_by(f64::total_cmp);
                    let place = differences.len().saturating_sub(1) * 99 / 100;
                    worst = differences.get(place).copied().unwrap_or(0.0).max(worst);
                }
            }
        }
        Ok((worst > TOLERANCE).then_some(worst))
    }

    fn judged(&self, cases: &[(String, Evidence)], summary: &mut Summary) -> Doubts {
        let mut found = Doubts::new();
        let mut told: Vec<(&str, String)> = Vec::new();
        for (text, case) in cases {
            for (doubt, evidence) in case.justified() {
                found.entry(text.clone()).or_default().push(doubt.code.to_owned());
                // a doubt that needs no attack is reported once
                if text.is_empty() {
                    told.push((doubt.code, evidence.clone()));
                } else if told.iter().any(|(code, first)| *code == doubt.code && *first == evidence) {
                    continue;
                }
                let unreliable = case.is_grave(&doubt);
                summary.unreliable |= unreliable;
                let place = if text.is_empty() { self.model.name.clone() } else { format!("{} under {text}", self.model.name) };
                summary.doubts.push(Doubt {
                    code: doubt.code.into(),
                    raised_if: doubt.raised_if.into(),
                    explanation: doubt.explanation.into(),
                    advice: doubt.advice.into(),
                    raised_for: format!("{place}: {evidence}"),
                    model: self.model.name.clone(),
                    threat: text.clone(),
                    unreliable,
                });
            }
        }
        found
    }
}

/// Evaluations per sample from which on an attack without gradients is thorough.
const THOROUGH: i64 = 1000;

/// What attacks of different kinds found, one against the other.
fn compared(case: &mut Evidence, keys: &[SampleKey], found: &[(&Part, BTreeMap<i64, Seen>)]) -> Result<(), FindingsError> {
    let broken = |seen: &BTreeMap<i64, Seen>| -> BTreeSet<i64> {
        seen.iter().filter(|(_, s)| s.headline() == Outcome::Broken).map(|(&id, _)| id).collect()
    };
    let union = |chosen: &dyn Fn(&Part) -> bool| -> BTreeSet<i64> {
        found.iter().filter(|(part, _)| chosen(part)).flat_map(|(_, seen)| broken(seen)).collect()
    };
    let escalates = |part: &Part| part.component.is_some_and(|c| c.escalation);
    let blind = |part: &Part| -> Result<bool, FindingsError> { Ok(part.total("backwards")? == 0) };
    let thorough = |part: &Part| -> Result<bool, FindingsError> {
        Ok(blind(part)? && part.findings.get::<i64>("forwards")?.iter().any(|&count| count >= THOROUGH))
    };
    let (mut without, mut asked) = (BTreeSet::<i64>::new(), Vec::new());
    let (mut with, mut all, mut tried) = (BTreeSet::<i64>::new(), BTreeSet::<i64>::new(), Vec::new());
    // what neither the escalation nor a thorough attack without gradients broke first
    let mut usual = BTreeSet::<i64>::new();
    for (part, seen) in found {
        let (own, blind, thorough) = (broken(seen), blind(part)?, thorough(part)?);
        if escalates(part) || thorough {
            tried.push((own.difference(&all).count() as u64, thorough));
        } else {
            usual.extend(&own);
        }
        if blind {
            without.extend(&own)
        } else {
            with.extend(&own)
        };
        asked.extend(blind.then_some(thorough));
        all.extend(own);
    }
    case.without_gradients = (!asked.is_empty())
        .then(|| WithoutGradients { alone: without.difference(&with).count() as u64, thorough: asked.contains(&true) });
    let transfers = |part: &Part| part.jobs.iter().any(|job| job.source.is_some());
    if found.iter().any(|(part, _)| transfers(part)) {
        let own = union(&|part| !transfers(part));
        case.transferred = Some(union(&transfers).difference(&own).count() as u64);
    }
    if found.iter().any(|(part, _)| escalates(part)) {
        let plain: Vec<_> = found.iter().filter(|(part, _)| !escalates(part)).map(|(_, seen)| seen.clone()).collect();
        case.escalated = Some((standing(keys, &plain, Seen::headline), case.standing));
        let last = &tried[tried.len().saturating_sub(2)..];
        let quiet = last.iter().all(|(new, _)| *new <= accident(case.n));
        let quiet = last.len() == 2 && quiet && last.iter().any(|(_, thorough)| *thorough);
        // attacks that find nothing anywhere settle nothing: the scores may hold no signal for them either
        let gained = all.len() as u64 - usual.len() as u64;
        let works = gained > accident(case.n) || case.canaries.as_ref().is_some_and(Canaries::pass);
        case.settled = quiet && works;
    }
    Ok(())
}

/// The attacks of a case beside what they left at other radii of the same kind.
fn radii<'t>(case: &mut Evidence, facts: &'t ThreatFacts, before: &mut Vec<(String, &'t ThreatFacts, u64)>) {
    for attack in &case.attacks {
        for (label, other, robust) in
            before.iter().filter(|(label, other, _)| *label == attack.label && other.is_nested_with(facts))
        {
            let (own, other) = ((facts.written.clone(), attack.robust), (other, (other.written.clone(), *robust)));
            let (smaller, larger) = if other.0.eps < facts.eps { (other.1, own) } else { (own, other.1) };
            case.radii.push(Radii { label: label.clone(), smaller, larger });
        }
    }
    before.extend(case.attacks.iter().map(|attack| (attack.label.clone(), facts, attack.robust)));
}

/// The other precisions: their columns on clean points and on attacked ones, and what they are called.
const OTHERS: &[(&Column<i64>, &Column<f64>, &str)] = &[
    (&FLOAT32_PREDICTION, &FLOAT32_DISTANCE, "in float32"),
    (&ROUNDED_PREDICTION, &ROUNDED_DISTANCE, "with every result rounded to half precision"),
];

/// What a file in half precision says about the images in each precision; `None` for other files.
fn precisions_on_images(clean: &Part) -> Result<Option<Precisions>, FindingsError> {
    let (labels, own) = (clean.findings.read(&LABEL)?, clean.findings.read(&PREDICTION)?);
    let right = |predictions: &[i64]| predictions.iter().zip(&labels).filter(|(p, y)| p == y).count() as u64;
    let by_file = clean.findings.tensor(FLOAT32_PREDICTION.name).is_some();
    let mut all = Precisions { n: labels.len() as u64, by_file, correct: right(&own), ..Precisions::default() };
    for (column, _, name) in OTHERS.iter().filter(|(column, ..)| clean.findings.tensor(column.name).is_some()) {
        let other = clean.findings.read(column)?;
        let images = own.iter().zip(&other).filter(|(a, b)| a != b).count() as u64;
        all.others.push(OtherPrecision { name, correct: right(&other), images, samples: 0 });
    }
    Ok((!all.others.is_empty()).then_some(all))
}

/// Adds what each precision says about the points of one attack under one threat model. Only samples that the judge classifies
/// correctly are attacked: for the others a precision stands by its clean prediction.
fn precisions_on_points(
    all: &mut Precisions,
    clean: &Part,
    (part, outcomes): (&Part, &BTreeMap<i64, Seen>),
    threat: &ThreatFacts,
) -> Result<(), FindingsError> {
    let rows: Vec<(i64, i64)> = clean.findings.read(&ID)?.into_iter().zip(clean.findings.read(&LABEL)?).collect();
    let right = |column| -> Result<Vec<bool>, FindingsError> {
        Ok(rows.iter().zip(clean.findings.read(column)?).map(|((_, y), p)| *y == p).collect())
    };
    let stands = |id: &i64| outcomes.get(id).is_none_or(|s| s.headline() == Outcome::Held);
    let attacked = right(&PREDICTION)?;
    let own: Vec<bool> = rows.iter().zip(&attacked).map(|((id, _), right)| *right && stands(id)).collect();
    let mut counts = Vec::new();
    let present = OTHERS.iter().filter(|(column, ..)| clean.findings.tensor(column.name).is_some());
    for ((column, distance, _), other) in present.zip(&mut all.others) {
        let distances = part.findings.read(&ID)?.into_iter().zip(part.findings.read(distance)?);
        let broken: BTreeSet<i64> = distances.filter(|(_, d)| *d <= threat.tolerated).map(|(id, _)| id).collect();
        let standing: Vec<bool> = rows.iter().zip(right(column)?).map(|((id, _), right)| right && !broken.contains(id)).collect();
        let differ = own.iter().zip(&standing).zip(&attacked).filter(|((a, b), attacked)| **attacked && a != b).count() as u64;
        other.samples = other.samples.max(differ);
        counts.push(standing.iter().filter(|s| **s).count() as u64);
    }
    all.robust.push((part.label(), own.iter().filter(|s| **s).count() as u64, counts));
    Ok(())
}

fn evidence(part: &Part, seen: &BTreeMap<i64, Seen>) -> Result<AttackEvidence, FindingsError> {
    let count = |wanted: Outcome| seen.values().filter(|s| s.headline() == wanted).count() as u64;
    Ok(AttackEvidence {
        label: part.label(),
        robust: count(Outcome::Held),
        nan_in_ball: count(Outcome::NanInBall),
        broken: count(Outcome::Broken),
        // the nearest example lies at the boundary by design
        borderline: match part.component.is_some_and(|c| c.minimal) {
            true => 0,
            false => seen.values().filter(|s| s.headline() == Outcome::Broken && s.borderline).count() as u64,
        },
        rejected: part.rejected()?.iter().sum(),
        gradients: part.total("gradients")?,
        zero_gradients: part.total("zero_gradients")?,
        broken_gradients: part.total("broken_gradients")?,
        reads_grad: part.component.is_some_and(|c| c.reads_grad),
        program_steps: part.component.and_then(|c| c.program_steps),
        step_length: part.component.and_then(|c| c.step_length),
        losses: losses_of_steps(part, seen)?,
    })
}

/// How the losses of an attack went; `None` where it takes no steps along gradients, or looks for the nearest example.
fn losses_of_steps(part: &Part, seen: &BTreeMap<i64, Seen>) -> Result<Option<LossesOfSteps>, FindingsError> {
    let steps = part.component.filter(|c| !c.minimal).and_then(|c| c.program_steps).filter(|steps| *steps > 1);
    let Some(steps) = steps.filter(|_| part.findings.tensor(OLDER_LOSSES.name).is_some()) else { return Ok(None) };
    if part.total("gradients")? == 0 {
        return Ok(None);
    }
    let (ids, older, last) = (part.findings.read(&ID)?, part.findings.read(&OLDER_LOSSES)?, part.findings.read(&LAST_LOSSES)?);
    let width = |all: &[f32]| (all.len() / ids.len().max(1)).max(1);
    let mut losses = LossesOfSteps::default();
    for ((id, older), last) in ids.iter().zip(older.chunks(width(&older))).zip(last.chunks(width(&last))) {
        let stands = seen.get(id).is_some_and(|s| s.headline() == Outcome::Held);
        losses.count(older, last, stands, steps);
    }
    Ok(Some(losses))
}
