//! From rows to values: which model in which run, on which samples, of which measure. Two values share a column only if data,
//! samples, threat model, component and all of its arguments are the same.

use std::collections::BTreeMap;

use flatscape_comparison::{Entry, Ground, Measure, Value};
use flatscape_intake::files::sha256;
use flatscape_intake::refusal::Refusal;
use flatscape_report::Record;

use super::metrics::{Kind, kind, shown};
use super::points::{Points, points};
use super::run::{Data, Facts, RunView};
use flatscape_measure::statistics::Method;

/// Everything that was measured, with places that refer to each other.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub entries: Vec<Entry>,
    pub grounds: Vec<Ground>,
    pub measures: Vec<Measure>,
    pub values: Vec<Value>,
    /// The samples behind each value, where they are known.
    pub points: Vec<Option<Points>>,
    /// The data of each run.
    pub data: Vec<Data>,
    /// What could not be measured, in sentences.
    pub notes: Vec<String>,
    /// The samples of each ground, ids and labels.
    samples: Vec<(Vec<u64>, Vec<i64>)>,
    ground_places: BTreeMap<String, usize>,
    measure_places: BTreeMap<String, usize>,
}

impl Values {
    /// The values of all runs.
    ///
    /// # Errors
    /// `R152`: a run has two values for one thing.
    pub fn of(runs: &[RunView]) -> Result<Values, Refusal> {
        let mut all = Values::default();
        for (place, run) in runs.iter().enumerate() {
            let facts = Facts::of(run);
            all.data.push(run.data.clone());
            for record in &run.records {
                if record.metric.is_empty() {
                    all.missing(run, record);
                } else {
                    all.add(place, &facts, record)?;
                }
            }
        }
        all.name_apart();
        let order = all.order();
        all.reorder(&order);
        for place in 1..all.grounds.len() {
            all.grounds[place].apart = all.why_apart(place);
        }
        Ok(all)
    }

    /// The value of an entry for a measure.
    pub fn find(&self, entry: usize, measure: usize) -> Option<usize> {
        self.values.iter().position(|v| v.entry == entry && v.measure == measure && v.value.is_some())
    }

    fn missing(&mut self, run: &RunView, record: &Record) {
        let what = match (record.component.as_str(), record.threat.as_str()) {
            ("", _) => String::new(),
            (component, "") => format!(", {component}"),
            (component, threat) => format!(", {component} under {threat}"),
        };
        let note = format!("{}: {}{what}: not measured ({}).", run.name, record.model, record.flags.join(", "));
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn add(&mut self, run: usize, facts: &Facts, record: &Record) -> Result<(), Refusal> {
        let entry = self.entry(run, record);
        let measure = self.measure(facts, record);
        let points = points(facts, record);
        let ground = self.ground(facts, record, points.as_ref());
        let found = self.values.iter().find(|v| v.entry == entry && v.measure == measure && v.ground == ground);
        if let Some(found) = found {
            if found.value == record.value {
                return Ok(());
            }
            let what = format!(
                "{} has two values of {} of {} for {}",
                flatscape_report::shown(&facts.run.name),
                flatscape_report::shown(&record.metric),
                flatscape_report::shown(&record.component),
                flatscape_report::shown(&record.model)
            );
            return Err(Refusal::state(152, what).help("repeat the audit; a run measures everything once"));
        }
        let interval = record.ci_low.zip(record.ci_high);
        let method = match (interval, kind(&record.metric)) {
            (None, _) | (_, Kind::Other) => "",
            (_, Kind::Rate) => Method::ClopperPearson.name(),
            (_, Kind::Mean) => Method::StudentT.name(),
        };
        self.values.push(Value {
            entry,
            ground,
            measure,
            n: record.n,
            value: record.value,
            interval,
            method: method.to_owned(),
            rank: None,
            flags: record.flags.clone(),
        });
        self.points.push(points);
        Ok(())
    }

    fn entry(&mut self, run: usize, record: &Record) -> usize {
        let entry = Entry { run, model: record.model.clone(), model_sha256: record.model_sha256.clone() };
        self.entries.iter().position(|e| *e == entry).unwrap_or_else(|| {
            self.entries.push(entry);
            self.entries.len() - 1
        })
    }

    fn measure(&mut self, facts: &Facts, record: &Record) -> usize {
        let union = record.component == "union";
        let whole: Vec<String> = facts.run.attacks.iter().map(super::run::Component::whole).collect();
        let arguments = match facts.component(record) {
            _ if union => whole.join("; "),
            Some(component) => component.complete.clone(),
            None => record.args.clone(),
        };
        // `linf:8/255` and `linf:0.03137…` are one threat model
        let norm = record.threat.split(':').next().unwrap_or_default();
        let threat = record.eps.map_or_else(|| record.threat.clone(), |eps| format!("{norm}:{:x}", eps.to_bits()));
        let key = [&record.metric, &record.component, &record.plugin, &arguments, &threat].map(String::as_str).join("\n");
        let labels = || facts.run.attacks.iter().map(|attack| attack.label.as_str()).collect::<Vec<_>>().join(", ");
        *self.measure_places.entry(key).or_insert_with(|| {
            self.measures.push(Measure {
                metric: record.metric.clone(),
                component: record.component.clone(),
                args: if union { labels() } else { record.args.clone() },
                apart: if union { labels() } else { apart(facts, record) },
                threat: record.threat.clone(),
                rate: kind(&record.metric) == Kind::Rate,
                shown: shown(&record.metric),
            });
            self.measures.len() - 1
        })
    }

    fn ground(&mut self, facts: &Facts, record: &Record, points: Option<&Points>) -> usize {
        let (ids, labels) = match points {
            Some(points) => (points.ids.clone(), points.labels.clone()),
            None => facts.lines(&record.model, &record.threat).iter().map(|line| (line.key().id, line.key().label)).unzip(),
        };
        let Data { name, split, sha256: data, images } = &facts.run.data;
        let bytes: Vec<u8> =
            ids.iter().flat_map(|id| id.to_le_bytes()).chain(labels.iter().flat_map(|y| y.to_le_bytes())).collect();
        let samples = sha256(&bytes);
        let key = [name, split, data, images, &samples].map(String::as_str).join("\n");
        *self.ground_places.entry(key).or_insert_with(|| {
            self.grounds.push(Ground {
                dataset: name.clone(),
                split: split.clone(),
                data_sha256: data.clone(),
                images: images.clone(),
                samples: in_words(&ids, &samples),
                apart: String::new(),
            });
            self.samples.push((ids, labels));
            self.grounds.len() - 1
        })
    }

    /// Measures that would have one name are told apart by all of their arguments.
    fn name_apart(&mut self) {
        let key = |m: &Measure| [&m.metric, &m.component, &m.threat, &m.apart].map(String::clone);
        let keys: Vec<_> = self.measures.iter().map(key).collect();
        for (place, measure) in self.measures.iter_mut().enumerate() {
            if keys.iter().filter(|other| **other == keys[place]).count() > 1 {
                measure.apart = measure.args.clone();
            }
        }
    }

    /// The measures as tables show them: without a threat model first, then by threat model, the union after the attacks.
    fn order(&self) -> Vec<usize> {
        let mut threats: Vec<&str> = vec![""];
        for measure in &self.measures {
            if !threats.contains(&measure.threat.as_str()) {
                threats.push(&measure.threat);
            }
        }
        let mut order: Vec<usize> = (0..self.measures.len()).collect();
        order.sort_by_key(|&place| {
            let measure = &self.measures[place];
            let threat = threats.iter().position(|threat| *threat == measure.threat);
            let headline = ["clean_accuracy", "robust_accuracy"].iter().position(|m| *m == measure.metric).unwrap_or(2);
            (threat, headline, measure.component == "union")
        });
        order
    }

    fn reorder(&mut self, order: &[usize]) {
        let mut place_of = vec![0; order.len()];
        for (place, &old) in order.iter().enumerate() {
            place_of[old] = place;
        }
        self.measures = order.iter().map(|&old| self.measures[old].clone()).collect();
        self.values.iter_mut().for_each(|value| value.measure = place_of[value.measure]);
        self.measure_places.clear();
    }

    /// Why a ground is apart from the earlier one that it is most alike.
    fn why_apart(&self, place: usize) -> String {
        let reasons = |other: usize| {
            let (own, other_ground) = (&self.grounds[place], &self.grounds[other]);
            let mut reasons = Vec::new();
            for (what, one, two) in [
                ("the data set is", &own.dataset, &other_ground.dataset),
                ("the split is", &own.split, &other_ground.split),
                ("the SHA-256 of the data is", &own.data_sha256, &other_ground.data_sha256),
                ("the images are", &own.images, &other_ground.images),
            ] {
                if one != two {
                    reasons.push(format!("{what} {} and not {}", flatscape_report::shown(one), flatscape_report::shown(two)));
                }
            }
            let (ours, theirs) = (&self.samples[place], &self.samples[other]);
            if ours.0 != theirs.0 {
                reasons.push(format!("the samples are {} and not {}", own.samples, other_ground.samples));
            } else if ours.1 != theirs.1 {
                reasons.push("the labels differ".to_owned());
            }
            reasons
        };
        let fewest = (0..place).map(reasons).min_by_key(Vec::len).unwrap_or_default();
        format!("These values are apart from those above: {}.", fewest.join("; "))
    }
}

/// What tells the component of a row from others of its run: its label without its id; its arguments where it has no label.
fn apart(facts: &Facts, record: &Record) -> String {
    let label = facts.component(record).map(|component| component.label.as_str());
    let short = label.and_then(|label| label.strip_prefix(&record.component));
    short.map_or_else(|| record.args.clone(), |short| short.trim_start_matches(':').to_owned())
}

/// Which samples, in words; those that are not the first ones carry the beginning of a hash of their ids and labels.
fn in_words(ids: &[u64], sha256: &str) -> String {
    match (ids.first(), ids.last()) {
        (Some(0), Some(&last)) if last + 1 == ids.len() as u64 => format!("the first {} samples", ids.len()),
        (Some(first), Some(last)) => format!("{} samples between {first} and {last} ({})", ids.len(), &sha256[..8]),
        _ => "samples that are not listed".to_owned(),
    }
}
