//! All jobs in this process, one after the other.

use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_intake::refusal::Refusal;

use super::{Ended, Executor, Ready, Sink, by_name, compute_and_publish, publish_fault, ready};
use crate::compute::{Kept, Workshop};
use crate::job::Job;

/// Computes in this process.
pub struct Inline<'a, 'b> {
    /// What the jobs share.
    pub workshop: &'a Workshop<'b>,
}

impl Executor for Inline<'_, '_> {
    fn execute(&mut self, jobs: &[Job], pending: &[usize], sink: &mut dyn Sink, stop: &AtomicBool) -> Result<(), Refusal> {
        let mut kept = Kept::default();
        let names = by_name(jobs);
        for &index in pending {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let job = &jobs[index];
            match ready(self.workshop.directory, job, &names)? {
                Ready::Yes => {}
                // jobs come after those that they read, so what is not there now will not come
                Ready::NotYet => {
                    let refusal = Refusal::state(105, format!("the job {} reads a result that is missing", job.name));
                    publish_fault(self.workshop.directory, job, &refusal)?;
                    sink.refused(index, refusal);
                    continue;
                }
                Ready::Never(refusal) => {
                    publish_fault(self.workshop.directory, job, &refusal)?;
                    sink.refused(index, refusal);
                    continue;
                }
            }
            sink.begin(index);
            let mut notes: Vec<String> = Vec::new();
            let ended = compute_and_publish(
                self.workshop,
                &mut kept,
                job,
                &mut |done, total| sink.progress(index, done, total),
                &mut |sentence| notes.push(sentence.to_owned()),
                stop,
            )?;
            notes.iter().for_each(|sentence| sink.note(sentence));
            match ended {
                Ended::Done(done) => sink.done(index, done)?,
                Ended::Refused(refusal) => sink.refused(index, refusal),
                Ended::Stopped => break,
            }
        }
        Ok(())
    }
}
