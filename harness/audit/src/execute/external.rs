//! Computes nothing and waits for results: other processes, perhaps on other machines, run `flatscape worker` on the directory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flatscape_intake::files::sha256;
use flatscape_intake::refusal::Refusal;

use super::{Done, Executor, Sink};
use crate::directory::Directory;
use crate::job::{Fault, Job};
use crate::stored::result_in;

/// Waits for results.
pub struct External<'a> {
    /// The run directory.
    pub directory: &'a Directory,
}

/// The interval at which the directory is read.
const PAUSE: Duration = Duration::from_millis(250);

impl Executor for External<'_> {
    fn execute(&mut self, jobs: &[Job], pending: &[usize], sink: &mut dyn Sink, stop: &AtomicBool) -> Result<(), Refusal> {
        let mut open: Vec<usize> = pending.to_vec();
        sink.note(&format!("{} jobs are computed elsewhere: run flatscape worker on this directory", open.len()));
        while !open.is_empty() && !stop.load(Ordering::Relaxed) {
            let mut waiting = Vec::with_capacity(open.len());
            for index in open {
                if !self.look(&jobs[index], index, sink)? {
                    waiting.push(index);
                }
            }
            open = waiting;
            if !open.is_empty() {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

impl External<'_> {
    /// Whether a job has ended, one way or the other.
    fn look(&self, job: &Job, index: usize, sink: &mut dyn Sink) -> Result<bool, Refusal> {
        let fault = match self.directory.read(&job.fault())? {
            Some(bytes) => serde_json::from_slice::<Fault>(&bytes).ok().filter(|f| job.hash().is_ok_and(|hash| f.job == hash)),
            None => None,
        };
        if matches!(result_in(self.directory, job)?, Some(Ok(_))) {
            let Some(bytes) = self.directory.read(&job.result())? else { return Ok(false) };
            sink.begin(index);
            // how long it took is not known here
            sink.done(index, Done { result: sha256(&bytes), seconds: f64::NAN, fault: fault.map(|f| f.refusal) })?;
            return Ok(true);
        }
        match fault {
            Some(fault) => {
                sink.refused(index, fault.refusal);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
