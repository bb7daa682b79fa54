//! The account of a run while its jobs are computed: times, headlines, estimates, and the hashes of the results that this run
//! wrote or accepted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flatscape_intake::refusal::Refusal;
use flatscape_report as report;

use crate::execute::{Done, Sink};
use crate::job::{Job, Work};
use crate::rows::{self, Part};
use crate::stored::{Stored, TIMES};
use crate::violations::violations;
use flatscape_certificate::Certificate;

/// Receives the progress of a run.
pub trait Observer {
    /// A sentence worth a line.
    fn note(&mut self, sentence: &str);
    /// Work on a part begins: `what` names it.
    fn begin(&mut self, what: &str, index: usize, count: usize);
    /// Rows done of rows to do in this part; 0 to do where that is not known.
    fn progress(&mut self, done: usize, total: usize);
    /// Everything of this part is on disk; its headlines, spelled.
    fn finished(&mut self, what: &str, headlines: &[String]);
}

/// The state of a run while it is computed.
pub struct Ledger<'a> {
    stored: &'a Stored,
    observer: &'a mut dyn Observer,
    /// The jobs of each part, by position, and how the part stands.
    parts: Vec<PartState>,
    /// The part of each job.
    part_of: Vec<usize>,
    /// SHA-256 of the results that this run wrote, or found when it began, by job.
    pub results: BTreeMap<usize, String>,
}

struct PartState {
    what: String,
    model: usize,
    jobs: Vec<usize>,
    /// Rows done, by job.
    rows: BTreeMap<usize, usize>,
    /// Their sum.
    done: usize,
    /// The samples of its jobs.
    samples: usize,
    ended: usize,
    began: Option<Instant>,
    estimated: bool,
}

impl PartState {
    /// Takes over how many rows of a job are done. Costs the same however many jobs the part has.
    fn advance(&mut self, job: usize, rows: usize) {
        let before = self.rows.insert(job, rows).unwrap_or(0);
        self.done = self.done + rows - before;
    }
}

/// A part that will take longer than this is announced with an estimate.
const LONG: Duration = Duration::from_secs(60);

/// The least time after which an estimate is made.
const MEASURED: Duration = Duration::from_secs(2);

/// Metrics that are not headlines.
const QUIET: &[&str] = &["claimed_success", "nan_in_ball", "ties", "robust_accuracy_continuous"];

impl<'a> Ledger<'a> {
    /// The account of a run of which `results` are there already.
    pub fn new(stored: &'a Stored, observer: &'a mut dyn Observer, results: BTreeMap<usize, String>) -> Ledger<'a> {
        let mut parts: Vec<PartState> = Vec::new();
        let mut part_of = Vec::with_capacity(stored.jobs.len());
        for (index, job) in stored.jobs.iter().enumerate() {
            let same = |part: &PartState| {
                let first = &stored.jobs[part.jobs[0]];
                first.part() == job.part() && first.model == job.model
            };
            if !parts.last().is_some_and(same) {
                let model = stored.manifest.models.iter().position(|m| m.request == job.model).unwrap_or(0);
                parts.push(PartState {
                    what: describe(stored, model, job),
                    model,
                    jobs: Vec::new(),
                    rows: BTreeMap::new(),
                    done: 0,
                    samples: 0,
                    ended: 0,
                    began: None,
                    estimated: false,
                });
            }
            let place = parts.len() - 1;
            parts[place].jobs.push(index);
            parts[place].samples += job.end - job.start;
            part_of.push(place);
            if results.contains_key(&index) {
                parts[place].ended += 1;
                parts[place].advance(index, job.end - job.start);
            }
        }
        Ledger { stored, observer, parts, part_of, results }
    }

    /// A job of a part has ended; after the last one, the part's headlines are reported. A result that no longer fits its job is
    /// reported here, and computed again when the executor has ended.
    fn ended(&mut self, job: usize) {
        let part = &mut self.parts[self.part_of[job]];
        part.ended += 1;
        if part.ended < part.jobs.len() {
            return;
        }
        let part = &self.parts[self.part_of[job]];
        match self.told(part) {
            Ok((lines, violation)) => {
                self.observer.finished(&part.what, &lines);
                violation.iter().for_each(|fault| self.observer.note(&format!("{}: {fault}", part.what)));
            }
            Err(error) => self.observer.note(&format!("{}: {error}", part.what)),
        }
    }

    /// The headlines of a part, and what its component did that it may not.
    fn told(&self, part: &PartState) -> Result<(Vec<String>, Option<Refusal>), Refusal> {
        let jobs = part.jobs.iter().map(|&i| &self.stored.jobs[i]).collect();
        let found = Part::read(self.stored, part.model, jobs)?;
        let violation = violations(&found).map_err(|e| Refusal::state(106, e.to_string()))?;
        let lines = match found.work {
            Work::Certificate => found.certificate().iter().map(Certificate::sentence).collect(),
            Work::Suggestions => found.suggestions().iter().map(|s| format!("{s}; nothing was changed")).collect(),
            _ => headlines(&rows::of_part(&self.stored.manifest, &found)?),
        };
        Ok((lines, violation))
    }
}

impl Sink for Ledger<'_> {
    fn begin(&mut self, job: usize) {
        let (place, count) = (self.part_of[job], self.parts.len());
        let part = &mut self.parts[place];
        if part.began.is_none() {
            part.began = Some(Instant::now());
            self.observer.begin(&part.what, place, count);
        }
    }

    fn progress(&mut self, job: usize, done: usize, total: usize) {
        if total == 0 {
            // a component that asks as often as it likes
            return self.observer.progress(done, 0);
        }
        let part = &mut self.parts[self.part_of[job]];
        let before = part.done;
        part.advance(job, done);
        let (all, now) = (part.samples.max(total), part.done);
        self.observer.progress(now, all);
        let Some(began) = part.began.filter(|_| !part.estimated && now > before) else { return };
        let spent = began.elapsed();
        if spent < MEASURED {
            return;
        }
        part.estimated = true;
        let left = spent.mul_f64((all - now) as f64 / now as f64);
        if left > LONG {
            self.observer.note(&format!("{}: about {} for {all} images", part.what, spell(spent + left)));
        }
    }

    fn note(&mut self, sentence: &str) {
        self.observer.note(sentence);
    }

    fn done(&mut self, job: usize, done: Done) -> Result<(), Refusal> {
        let name = &self.stored.jobs[job].name;
        self.stored.directory.append(TIMES, &format!("{name},{:.3}\n", done.seconds))?;
        self.results.insert(job, done.result);
        if let Some(fault) = done.fault {
            self.observer.note(&format!("{}: {fault}", self.parts[self.part_of[job]].what));
        }
        self.ended(job);
        Ok(())
    }

    fn refused(&mut self, job: usize, refusal: Refusal) {
        self.observer.note(&format!("{}: {refusal}", self.parts[self.part_of[job]].what));
        self.ended(job);
    }
}

/// What a part is called on the way: `lenet: pgd:steps=50 under linf:8/255`.
fn describe(stored: &Stored, model: usize, job: &Job) -> String {
    let manifest = &stored.manifest;
    let name = manifest.models.get(model).map_or("", |m| m.name.as_str());
    let what = match &job.work {
        Work::Certificate => "gradient certificate".to_owned(),
        Work::Remedies => "remedied graphs".to_owned(),
        Work::Clean => "clean points".to_owned(),
        Work::Suggestions => "preprocessing".to_owned(),
        Work::Losses => format!("other losses under {}", job.threat),
        Work::Limits => format!("limits of the attacks under {}", job.threat),
        Work::Bounds => format!("bounds under {}", job.threat),
        Work::Attack(request) | Work::Canary(request) => {
            let label = manifest.attacks.iter().find(|c| c.request == *request).map_or(&request.id, |c| &c.label);
            let planted = if matches!(job.work, Work::Canary(_)) { "canaries for " } else { "" };
            format!("{planted}{label} under {}", job.threat)
        }
        Work::Metric(request) | Work::Reduction(request) | Work::Weights(request) => {
            let label = manifest.metrics.iter().find(|c| c.request == *request).map_or(&request.id, |c| &c.label);
            let over = if matches!(job.work, Work::Reduction(_)) { " over all samples" } else { "" };
            format!("{label}{over}")
        }
        Work::Landscape(request) => format!("landscapes along {} directions", request.directions.name()),
    };
    format!("{name}: {what}")
}

/// What was found on a part: `robust_accuracy 0.473 [0.463, 0.483] n=10000`.
fn headlines(records: &[report::Record]) -> Vec<String> {
    // of corruptions the mean is a headline
    let quiet =
        |metric: &str| QUIET.contains(&metric) || metric.starts_with("corruption_accuracy_") && !metric.ends_with("_mean");
    let shown = records.iter().filter(|r| !quiet(&r.metric));
    let line = |r: &report::Record| {
        let spell = if r.metric.contains("accuracy") || r.metric == "coverage" { report::rate } else { report::quantity };
        Some(format!("{} {}", r.metric, spell(r.value?, r.ci_low.zip(r.ci_high), r.n)))
    };
    shown.filter_map(line).collect()
}

/// A time for people, in s, min or h.
pub(crate) fn spell(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_for_people() {
        let spelled = [1, 119, 120, 121, 7200].map(|s| spell(Duration::from_secs(s)));
        assert_eq!(spelled, ["1 s", "119 s", "2 min", "3 min", "2.0 h"]);
    }
}
