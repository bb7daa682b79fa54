//! The threads on which micro-batches run. The calling thread works too, so a run waits for no more wake-ups than it must; nobody
//! spins when there is nothing to do. Knows nothing about graphs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use flatscape_contain::Beside;

use crate::EngineError;

/// A number of threads, the calling one included.
pub(crate) struct Workers {
    helpers: Option<rayon::ThreadPool>,
    /// The same threads.
    beside: Vec<Beside>,
    threads: usize,
}

impl Workers {
    /// Starts the threads beside the calling one.
    pub fn start(name: &'static str, threads: usize) -> Result<Workers, EngineError> {
        let build =
            || rayon::ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(move |i| format!("{name}-{i}")).build();
        let helpers = (threads > 1).then(build).transpose().map_err(|e| EngineError::Device {
            device: "cpu".to_owned(),
            reason: format!("{threads} threads could not be started: {e}"),
            remedy: "ask for fewer threads".to_owned(),
        })?;
        let beside = helpers.as_ref().map_or_else(Vec::new, |helpers| helpers.broadcast(|_| Beside::this_thread()));
        Ok(Workers { helpers, beside, threads })
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Does `count` jobs and returns their results in order; the first error in that order if one failed.
    pub fn run<T: Send, E: Send>(&self, count: usize, job: &(dyn Fn(usize) -> Result<T, E> + Sync)) -> Result<Vec<T>, E> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(count));
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    break;
                }
                let result = job(index);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
            }
        };
        match &self.helpers {
            Some(helpers) if count > 1 => helpers.in_place_scope(|scope| {
                self.beside.iter().for_each(Beside::keep_off_this_core);
                for _ in 1..self.threads.min(count) {
                    scope.spawn(|_| work());
                }
                work();
            }),
            _ => work(),
        }
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_so_do_errors() {
        for threads in [1, 2, 5] {
            let workers = Workers::start("test", threads).unwrap();
            for count in [0, 1, 2, 7, 100] {
                assert_eq!(workers.run(count, &|i| Ok::<_, ()>(i * i)), Ok((0..count).map(|i| i * i).collect()));
            }
            assert_eq!(workers.run(10, &|i| if i % 4 == 3 { Err(i) } else { Ok(()) }), Err(3));
        }
    }
}
