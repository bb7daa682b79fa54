//! Plugins that misbehave, each in a process of the real program: it ends within ten seconds of its limit, with the outcome that its
//! file states, and nothing of it is left.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flatscape_contain::sandbox;
use flatscape_graph::{DType, Tensor};
use flatscape_host::{Batch, HostError, Kind, Law, Limits, Oracle, OracleError, Plugins, Search, Task, WorkerCommand};

use super::abuses;
use crate::provision::{program, root};

/// How long a plugin may take to load and to answer, …
const BRIEF: Duration = Duration::from_secs(2);
/// … and for all its answers in one run.
const TOTAL: Duration = Duration::from_secs(6);
/// How much later it must have ended.
const LATER: Duration = Duration::from_secs(10);

#[test]
fn plugins_that_misbehave_end_in_time_and_leave_nothing() {
    let offered = sandbox::support();
    if offered.landlock < 6 || !offered.seccomp {
        eprintln!(
            "skipped: plugins that misbehave: this kernel offers {offered}, and the outcomes are those of Landlock 6 and seccomp"
        );
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let all = abuses("c");
    assert!(all.len() >= 60, "{} abuses of plugins", all.len());
    program();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, path, outcome)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = ends(folder.path(), name, path, outcome) {
                        wrong.lock().expect("no thread panics").push(format!("{name}: {why}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{} of {} abuses\n\n{}", wrong.len(), all.len(), wrong.join("\n\n"));
}

/// Loads the plugin and lets it attack; what does not fit its outcome, or is left.
fn ends(folder: &Path, name: &str, source: &Path, outcome: &str) -> Result<(), String> {
    let library = folder.join(format!("{name}.so"));
    let mut command = Command::new("cc");
    command.args(["-std=gnu99", "-O1", "-w", "-fPIC", "-shared", "-pthread", "-I"]).arg(root().join("plugins/include"));
    let built = command.arg("-o").arg(&library).arg(source).output().expect("there is a C compiler");
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    let limits = Limits { load: BRIEF, build: BRIEF, run: BRIEF, total: TOTAL, memory: 512 << 20 };
    let mut worker = WorkerCommand::new(program(), &["plugin-worker"]);
    worker.limits = limits;
    let begun = Instant::now();
    let plugins = Plugins::discover(&Search::only(std::slice::from_ref(&library)), &worker);
    let found = match (plugins.refused(), plugins.component(Kind::Attack, "bad")) {
        ([refused, ..], _) => Err(("refused", refused.clone())),
        ([], Err(missing)) => Err(("missing", missing)),
        ([], Ok(bad)) => {
            let task = Task::new([1, 2, 2], 3, "linf", 0.1);
            // one is told to stop; the others may ask as long as they are let
            let budget = if name == "asks-on-after-stop" { 1000 } else { usize::MAX };
            let arguments = bad.arguments(&[]).expect("it has no parameters");
            plugins.run_oracle(bad, &arguments, &task, &mut Constant { asked: 0, budget }).map_err(|error| ("", error))
        }
    };
    let took = begun.elapsed();
    if took > TOTAL + LATER {
        return Err(format!("took {took:?}"));
    }
    let said: Vec<String> = plugins.take_notes().into_iter().map(|(_, note)| note.words).collect();
    let ways: Vec<Result<(), String>> = outcome.split(" or ").map(|way| fits(way, &found, &said)).collect();
    if ways.iter().all(Result::is_err) {
        ways.into_iter().collect::<Result<(), String>>()?;
    }
    let mapped = processes_with(&library);
    if !mapped.is_empty() {
        return Err(format!("processes {mapped:?} are left"));
    }
    let left = ["/tmp/flatscape-abuse", "/dev/shm/flatscape-abuse", "/dev/shm/flatscape-abuse-shm"];
    match left.iter().find(|path| Path::new(path).exists()) {
        Some(path) => Err(format!("{path} is left")),
        None => Ok(()),
    }
}

/// `ok`, `ok says WORDS`, `P14 WORDS` or `refused P11 WORDS`, against what happened. A file names a second way with `or` where a busy
/// machine may meet the clock first.
fn fits(outcome: &str, found: &Result<(), (&str, HostError)>, said: &[String]) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}; it ended {found:?} and said {said:?}"));
    if said.iter().any(|line| line.contains("SUCCEEDED") || line.contains('\x1b')) || said.len() > 2001 {
        return wrong("it did what it may not");
    }
    let rest = match (outcome.strip_prefix("ok"), found) {
        (Some(rest), Ok(())) => rest.trim(),
        (None, Err((stage, error))) => {
            let wanted = format!("{stage} {}", error.id);
            let Some(words) = outcome.strip_prefix(wanted.trim_start()) else { return wrong("another outcome") };
            return if error.sentence.contains(words.trim()) { Ok(()) } else { wrong("another sentence") };
        }
        _ => return wrong("another outcome"),
    };
    match rest.strip_prefix("says ") {
        Some(words) if !said.iter().any(|line| line.contains(words)) => wrong("it did not say that"),
        _ => Ok(()),
    }
}

/// Processes in whose memory a library lies. The kernel may take a moment to end one that was killed.
fn processes_with(library: &Path) -> Vec<u32> {
    let name = library.to_string_lossy().into_owned();
    let holds = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains(&name));
    let entries = || std::fs::read_dir("/proc").expect("Linux").filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    (0..20)
        .map(|_| {
            let found: Vec<u32> = entries().filter(holds).collect();
            if !found.is_empty() {
                std::thread::sleep(Duration::from_millis(50));
            }
            found
        })
        .find(Vec::is_empty)
        .unwrap_or_else(|| entries().filter(holds).collect())
}

/// Two images of which the model thinks nothing. No question is answered beyond the budget.
struct Constant {
    asked: usize,
    budget: usize,
}

impl Oracle for Constant {
    fn batch(&self) -> Batch {
        Batch { x0: Tensor::full(DType::F32, &[2, 1, 2, 2], 0.5), y: vec![0, 1], target: None }
    }

    fn logits(&mut self, _: &Tensor, rows: &[usize]) -> Result<Tensor, OracleError> {
        self.asked += 1;
        if self.asked > self.budget {
            return Err(OracleError::Stop);
        }
        Ok(Tensor::full(DType::F32, &[rows.len(), 3], 0.0))
    }

    fn gradient(&mut self, _: &Tensor, rows: &[usize], _: Option<&Tensor>) -> Result<(Option<Tensor>, Tensor), OracleError> {
        let loss = Tensor::full(DType::F32, &[rows.len()], 0.0);
        Ok((Some(loss), Tensor::full(DType::F32, &[rows.len(), 1, 2, 2], 0.0)))
    }

    fn noise(&mut self, _: Law, _: u32, _: &[usize], shape: &[usize]) -> Result<Tensor, OracleError> {
        Ok(Tensor::full(DType::F32, shape, 0.25))
    }

    fn active(&mut self) -> Vec<bool> {
        vec![true; 2]
    }

    fn offer(&mut self, _: &Tensor, _: &[usize]) -> Result<(), OracleError> {
        Ok(())
    }
}
