//! Worker processes that take jobs by lock files. A worker keeps what it has loaded and compiled over many jobs; its death costs
//! one attempt at one job.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use flatscape_intake::refusal::Refusal;
use serde::{Deserialize, Serialize};

use super::{ByName, Done, Ended, Executor, Ready, Sink, by_name, compute_and_publish, publish_fault, ready};
use crate::compute::{Kept, Workshop};
use crate::directory::Directory;
use crate::job::Job;
use crate::stored::result_in;

/// Computes in worker processes.
pub struct Processes<'a> {
    /// The run directory.
    pub directory: &'a Directory,
    /// How many workers.
    pub count: usize,
    /// This program.
    pub program: PathBuf,
    /// The arguments with which it becomes a worker, without the directory.
    pub arguments: Vec<String>,
}

/// How often a job may take its worker with it.
const ATTEMPTS: u32 = 2;

/// How long a worker waits when every open job is in the hands of others, and how often the parent looks whether it should stop.
const PAUSE: Duration = Duration::from_millis(50);

/// The folder of the locks by which workers take jobs.
const CLAIMS: &str = "claims";

/// A line from a worker to its parent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Begin(usize),
    Progress(usize, usize, usize),
    Note(String),
    Done(usize, Done),
    Refused(usize, Refusal),
    /// A file could not be written or read: the run cannot go on.
    Failed(Refusal),
}

/// What the parent hears: a line of a worker, or that its output has ended.
type Heard = (usize, Option<Line>);

impl Executor for Processes<'_> {
    fn execute(&mut self, jobs: &[Job], pending: &[usize], sink: &mut dyn Sink, stop: &AtomicBool) -> Result<(), Refusal> {
        self.forget_claims()?;
        let (sender, heard) = channel();
        let mut crew = Crew { executor: self, sender, children: Vec::new(), deaths: BTreeMap::new(), failed: None };
        let count = crew.executor.count.min(pending.len());
        for _ in 0..count {
            crew.start()?;
        }
        let ended = crew.listen(&heard, jobs, sink, stop);
        crew.end();
        ended
    }
}

impl Processes<'_> {
    /// Removes the locks of a former run, without following links: what lies there need not be ours.
    fn forget_claims(&self) -> Result<(), Refusal> {
        match std::fs::remove_dir_all(self.directory.path().join(CLAIMS)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Refusal::output(94, format!("{CLAIMS} in {} could not be removed: {error}", self.directory.path().display())))
            }
            _ => Ok(()),
        }
    }
}

/// The workers that run.
struct Crew<'e, 'a> {
    executor: &'e Processes<'a>,
    sender: Sender<Heard>,
    children: Vec<Worker>,
    deaths: BTreeMap<usize, u32>,
    failed: Option<Refusal>,
}

struct Worker {
    child: Child,
    job: Option<usize>,
    alive: bool,
}

impl Crew<'_, '_> {
    fn start(&mut self) -> Result<(), Refusal> {
        let place = self.children.len();
        let cannot = |e: std::io::Error| Refusal::output(112, format!("a worker process could not be started: {e}"));
        let mut child = Command::new(&self.executor.program)
            .args(["worker", "--attached"])
            .arg(self.executor.directory.path())
            .args(&self.executor.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        flatscape_contain::known(child.id());
        let Some(output) = child.stdout.take() else { return Ok(()) };
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                if let Ok(line) = serde_json::from_str(&line)
                    && sender.send((place, Some(line))).is_err()
                {
                    return;
                }
            }
            // the parent may have stopped listening
            let _ = sender.send((place, None));
        });
        self.children.push(Worker { child, job: None, alive: true });
        Ok(())
    }

    fn listen(&mut self, heard: &Receiver<Heard>, jobs: &[Job], sink: &mut dyn Sink, stop: &AtomicBool) -> Result<(), Refusal> {
        let mut told = false;
        while self.children.iter().any(|w| w.alive) {
            if stop.load(Ordering::Relaxed) && !told {
                // workers stop at the next batch once their input ends
                self.children.iter_mut().for_each(|w| drop(w.child.stdin.take()));
                told = true;
            }
            match heard.recv_timeout(PAUSE) {
                Ok((place, Some(line))) => self.line(place, line, sink)?,
                Ok((place, None)) => self.gone(place, jobs, sink, told)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn line(&mut self, place: usize, line: Line, sink: &mut dyn Sink) -> Result<(), Refusal> {
        match line {
            Line::Begin(job) => {
                self.children[place].job = Some(job);
                sink.begin(job);
            }
            Line::Progress(job, done, total) => sink.progress(job, done, total),
            Line::Note(sentence) => sink.note(&sentence),
            Line::Done(job, done) => {
                self.children[place].job = None;
                sink.done(job, done)?;
            }
            Line::Refused(job, refusal) => {
                self.children[place].job = None;
                sink.refused(job, refusal);
            }
            Line::Failed(refusal) => {
                self.children[place].job = None;
                self.failed = Some(refusal);
            }
        }
        Ok(())
    }

    /// A worker's output has ended: in good order, or because it died with a job in its hands.
    fn gone(&mut self, place: usize, jobs: &[Job], sink: &mut dyn Sink, stopping: bool) -> Result<(), Refusal> {
        let worker = &mut self.children[place];
        worker.alive = false;
        let status = worker.child.wait().map_err(|e| Refusal::output(112, format!("a worker process is lost: {e}")))?;
        let Some(job) = worker.job.take().filter(|_| !status.success()) else { return Ok(()) };
        if stopping {
            return Ok(());
        }
        let deaths = self.deaths.entry(job).or_default();
        *deaths += 1;
        if *deaths < ATTEMPTS {
            sink.note(&format!("the worker process of {} died ({status}); the job is tried once more", jobs[job].name));
        } else {
            let what = format!("the worker process of {} died twice (the second time: {status})", jobs[job].name);
            let refusal = Refusal::engine(113, what).help("try the job alone with flatscape shard, or another --engine");
            publish_fault(self.executor.directory, &jobs[job], &refusal)?;
            sink.refused(job, refusal);
        }
        self.start()
    }

    fn end(&mut self) {
        for worker in &mut self.children {
            drop(worker.child.stdin.take());
            if worker.alive {
                // it has been told to stop, or the run cannot go on: nothing that it computes now is wanted
                let _ = worker.child.kill();
                let _ = worker.child.wait();
            }
        }
        let _ = std::fs::remove_dir_all(self.executor.directory.path().join(CLAIMS));
    }
}

/// The work of one worker: takes jobs of a run, one after the other, until none is open. Lines about it go to `output`.
///
/// # Errors
/// A file could not be written or read; the parent has been told.
pub fn work(workshop: &Workshop, jobs: &[Job], output: &mut dyn Write, stop: &AtomicBool) -> Result<(), Refusal> {
    let ended = take_jobs(workshop, jobs, output, stop);
    if let Err(refusal) = &ended {
        say(output, &Line::Failed(refusal.clone()))?;
    }
    ended
}

fn take_jobs(workshop: &Workshop, jobs: &[Job], output: &mut dyn Write, stop: &AtomicBool) -> Result<(), Refusal> {
    let mut kept = Kept::default();
    let names = by_name(jobs);
    let mut open: Vec<usize> = (0..jobs.len()).collect();
    while !open.is_empty() && !stop.load(Ordering::Relaxed) {
        let (mut busy, mut worked) = (Vec::new(), false);
        for index in open {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            match attempt(workshop, &mut kept, &names, (index, &jobs[index]), output, stop)? {
                Attempt::Ended => worked = true,
                Attempt::Over => {}
                Attempt::Busy => busy.push(index),
            }
        }
        open = busy;
        if !worked && !open.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

enum Attempt {
    /// This worker ended it.
    Ended,
    /// It had ended before.
    Over,
    /// Somebody else has it, or it has to wait.
    Busy,
}

fn attempt<'w>(
    workshop: &'w Workshop,
    kept: &mut Kept<'w>,
    names: &ByName,
    (index, job): (usize, &Job),
    output: &mut dyn Write,
    stop: &AtomicBool,
) -> Result<Attempt, Refusal> {
    let directory = workshop.directory;
    let over = || -> Result<bool, Refusal> {
        Ok(matches!(result_in(directory, job)?, Some(Ok(_))) || directory.read(&job.fault())?.is_some())
    };
    if over()? {
        return Ok(Attempt::Over);
    }
    let refused = match ready(directory, job, names)? {
        Ready::NotYet => return Ok(Attempt::Busy),
        Ready::Yes => None,
        Ready::Never(refusal) => Some(refusal),
    };
    let Some(_claim) = claim(directory, job)? else { return Ok(Attempt::Busy) };
    if over()? {
        return Ok(Attempt::Over);
    }
    say(output, &Line::Begin(index))?;
    let ended = match refused {
        Some(refusal) => {
            publish_fault(directory, job, &refusal)?;
            Ended::Refused(refusal)
        }
        None => {
            let mut lines = Vec::new();
            let mut notes = Vec::new();
            let ended = compute_and_publish(
                workshop,
                kept,
                job,
                // a parent that stopped listening shows in the line at the end
                &mut |done, total| drop(say(output, &Line::Progress(index, done, total))),
                &mut |sentence| notes.push(sentence.to_owned()),
                stop,
            )?;
            lines.extend(notes.into_iter().map(Line::Note));
            lines.iter().try_for_each(|line| say(output, line))?;
            ended
        }
    };
    match ended {
        Ended::Done(done) => say(output, &Line::Done(index, done))?,
        Ended::Refused(refusal) => say(output, &Line::Refused(index, refusal))?,
        Ended::Stopped => {}
    }
    Ok(Attempt::Ended)
}

/// Takes a job, unless another worker has it. The system lets go of the lock when the process ends, however it ends.
fn claim(directory: &Directory, job: &Job) -> Result<Option<File>, Refusal> {
    let folder = directory.path().join(CLAIMS);
    let cannot = |e: std::io::Error| Refusal::output(94, format!("the lock of {} could not be made: {e}", job.name));
    std::fs::create_dir_all(&folder).map_err(cannot)?;
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(&job.name)).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(cannot(e)),
    }
}

fn say(output: &mut dyn Write, line: &Line) -> Result<(), Refusal> {
    let gone = |e: std::io::Error| Refusal::output(112, format!("the parent of this worker does not listen: {e}"));
    let text = serde_json::to_string(line).map_err(|e| Refusal::output(102, e.to_string()))?;
    writeln!(output, "{text}").and_then(|()| output.flush()).map_err(gone)
}
