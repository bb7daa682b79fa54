//! Executors: this process, worker processes, or workers elsewhere compute the jobs. Every executor publishes the same files; they
//! differ in where the work is done and in how a death is noticed.

mod external;
mod inline;
mod processes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use flatscape_intake::refusal::{Class, Refusal};
use flatscape_measure::prepared::Settings;
use serde::{Deserialize, Serialize};

use crate::compute::{Computed, Kept, Unfinished, Workshop};
use crate::directory::Directory;
use crate::job::{Fault, Job};
use crate::manifest::pretty;
use crate::result::seal;
use crate::stored::{Receipt, fault_in, receipt_name, result_in};

pub use external::External;
pub use inline::Inline;
pub use processes::{Processes, work};

/// Is told what happens to jobs, which it knows by their position in the plan.
pub trait Sink {
    /// Work on a job begins.
    fn begin(&mut self, job: usize);
    /// Rows done of rows to do in a job.
    fn progress(&mut self, job: usize, done: usize, total: usize);
    /// A sentence worth a line.
    fn note(&mut self, sentence: &str);
    /// A job has a result on disk.
    ///
    /// # Errors
    /// `O094`: the time that it took could not be recorded.
    fn done(&mut self, job: usize, done: Done) -> Result<(), Refusal>;
    /// A job has no result; the reason is on disk.
    fn refused(&mut self, job: usize, refusal: Refusal);
}

/// A job that was finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// SHA-256 of the result's file.
    pub result: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// A fault of the component on the way.
    pub fault: Option<Refusal>,
}

/// Computes jobs.
pub trait Executor {
    /// Computes those of `jobs` that are pending, in an order in which every job comes after those that it names. Returns when all
    /// are finished or refused, or soon after `stop` was set.
    ///
    /// # Errors
    /// Only what keeps every job from being computed: a file cannot be written, workers cannot be started.
    fn execute(&mut self, jobs: &[Job], pending: &[usize], sink: &mut dyn Sink, stop: &AtomicBool) -> Result<(), Refusal>;
}

/// What became of a job in the hands of one process.
enum Ended {
    Done(Done),
    Refused(Refusal),
    Stopped,
}

/// Computes one job and publishes its result, or the reason why there is none.
fn compute_and_publish<'w>(
    workshop: &'w Workshop,
    kept: &mut Kept<'w>,
    job: &Job,
    progress: &mut dyn FnMut(usize, usize),
    note: &mut dyn FnMut(&str),
    stop: &AtomicBool,
) -> Result<Ended, Refusal> {
    let started = Instant::now();
    let mut computed = workshop.compute(kept, job, progress, stop);
    if let Err(Unfinished::Refused(refusal)) = &computed
        && let Some((again, how)) = again(job, refusal)
        && !stop.load(Ordering::Relaxed)
    {
        note(&format!("{}: {}; the job is tried once more{how}", job.name, refusal.what));
        *kept = Kept::default();
        computed = workshop.compute(kept, &again, progress, stop);
        *kept = Kept::default();
        if let Ok(computed) = &mut computed {
            computed.notes.push(format!("{}: computed at the second attempt{how}", job.name));
            computed.findings = seal(std::mem::take(&mut computed.findings), &job.hash()?);
        }
    }
    match computed {
        // what goes wrong after a request to stop need not go wrong again
        Ok(Computed { fault: Some(_), .. }) | Err(Unfinished::Refused(_)) if stop.load(Ordering::Relaxed) => Ok(Ended::Stopped),
        Ok(computed) => {
            computed.notes.iter().for_each(|sentence| note(sentence));
            let fault = computed.fault.clone();
            let result = publish(workshop.directory, job, computed, note)?;
            Ok(Ended::Done(Done { result, seconds: started.elapsed().as_secs_f64(), fault }))
        }
        Err(Unfinished::Stopped) => Ok(Ended::Stopped),
        Err(Unfinished::Refused(refusal)) => {
            publish_fault(workshop.directory, job, &refusal)?;
            Ok(Ended::Refused(refusal))
        }
    }
}

/// The second attempt at a job whose engine died (as it is, in a new process) or ran out of memory (in smaller batches), and a clause
/// about it.
fn again(job: &Job, refusal: &Refusal) -> Option<(Job, String)> {
    const DIED: u16 = 114;
    const MEMORY: u16 = 115;
    let batch = job.settings.batch_size;
    match (refusal.class, refusal.number) {
        (Class::Engine, DIED) => Some((job.clone(), String::new())),
        (Class::Engine, MEMORY) if batch > 1 => {
            let settings = Settings { batch_size: batch.div_ceil(4), ..job.settings };
            Some((Job { settings, ..job.clone() }, format!(", in batches of {} samples instead of {batch}", settings.batch_size)))
        }
        _ => None,
    }
}

/// Writes a result and the receipt that vouches for it; whatever lay there is set aside.
fn publish(directory: &Directory, job: &Job, computed: Computed, note: &mut dyn FnMut(&str)) -> Result<String, Refusal> {
    let bytes = computed.findings.encode().map_err(|e| Refusal::output(102, e.to_string()))?;
    let receipt = Receipt::of(job, &bytes)?;
    if let Some(found) = directory.read(&job.result())?
        && found != bytes
    {
        let place = directory.set_aside(&job.result())?;
        note(&format!(
            "{} appeared while it was being computed and was not written by this run: it is now {place}",
            job.result()
        ));
    }
    directory.write(&job.result(), &bytes)?;
    // the receipt is the last: whoever waits for it then finds everything
    match &computed.fault {
        Some(fault) => publish_fault(directory, job, fault)?,
        None => directory.remove(&job.fault())?,
    }
    directory.write(&receipt_name(job), &pretty(&receipt)?)?;
    Ok(receipt.result)
}

/// Writes the reason why a job has no result, or only a part of it.
fn publish_fault(directory: &Directory, job: &Job, refusal: &Refusal) -> Result<(), Refusal> {
    directory.write(&job.fault(), &pretty(&Fault { job: job.hash()?, refusal: refusal.clone() })?)
}

/// Whether the jobs that a job follows have results; a refusal says which has none and will have none.
enum Ready {
    Yes,
    NotYet,
    Never(Refusal),
}

/// Jobs by name.
type ByName<'j> = HashMap<&'j str, &'j Job>;

fn by_name(jobs: &[Job]) -> ByName<'_> {
    jobs.iter().map(|job| (job.name.as_str(), job)).collect()
}

fn ready(directory: &Directory, job: &Job, jobs: &ByName) -> Result<Ready, Refusal> {
    let mut ready = Ready::Yes;
    for earlier in job.after.iter().filter_map(|name| jobs.get(name.as_str())) {
        if matches!(result_in(directory, earlier)?, Some(Ok(_))) {
            continue;
        }
        if let Some(cause) = fault_in(directory, earlier)? {
            // the exit code is that of the cause
            let what = format!("the job {} reads the result of {}, which has none ({})", job.name, earlier.name, cause.what);
            let refusal = Refusal { what, ..cause };
            return Ok(Ready::Never(refusal.help("remove the cause of the earlier failure, and continue with --resume")));
        }
        ready = Ready::NotYet;
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use flatscape_intake::data;
    use flatscape_intake::model::{Intake, ModelRequest};
    use flatscape_intake::refusal::Class;
    use flatscape_measure::prepared::Settings;

    use super::*;
    use crate::job::Work;

    fn job(name: &str, after: &[&str]) -> Job {
        Job {
            name: name.to_owned(),
            work: Work::Clean,
            model: ModelRequest { source: "m.onnx".to_owned(), intake: Intake::default() },
            model_sha256: String::new(),
            data: data::Request::new("digits"),
            data_sha256: String::new(),
            settings: Settings { seed: 0, batch_size: 1 },
            engine: "tract".to_owned(),
            threat: "linf:0.1".to_owned(),
            start: 0,
            end: 1,
            plugin: None,
            source: None,
            after: after.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// What follows from the death of an engine ends with the exit code of an engine, not with that of a missing file.
    #[test]
    fn a_job_without_what_it_reads_has_the_class_of_the_cause() {
        let root = tempfile::tempdir().expect("a folder");
        let directory = Directory::to_write(&root.path().join("run")).expect("a directory");
        let jobs = [job("clean", &[]), job("losses", &["clean"])];
        let names = by_name(&jobs);
        assert!(matches!(ready(&directory, &jobs[0], &names), Ok(Ready::Yes)));
        assert!(matches!(ready(&directory, &jobs[1], &names), Ok(Ready::NotYet)));
        publish_fault(&directory, &jobs[0], &Refusal::engine(114, "the process of tract died")).expect("written");
        let Ok(Ready::Never(refusal)) = ready(&directory, &jobs[1], &names) else { panic!("it is never ready") };
        assert_eq!((refusal.class, refusal.number, refusal.class.exit_code()), (Class::Engine, 114, 6));
        assert!(refusal.what.contains("which has none (the process of tract died)"), "{refusal}");
    }
}
