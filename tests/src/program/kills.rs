//! Processes that are killed without warning: the run itself at several moments, and workers with a job in their hands. What is
//! there is whole, and the run arrives where an undisturbed one arrives. `tests/kills.py` does the first at random moments.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{ABOUT_THE_COMMAND, Run, TINY_JOBS, finished, tiny};
use crate::provision::command;

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(300);

fn start(folder: &Path, arguments: &[&str]) -> Child {
    command(folder, arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Results that are there.
fn results(folder: &Path) -> usize {
    Run::shards(folder).len()
}

/// Starts an audit and kills it when so many results are there; whether it had not ended by itself.
fn killed_at(folder: &Path, arguments: &[&str], count: usize) -> bool {
    let mut child = command(folder, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    while results(folder) < count && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // one that has ended cannot be killed, and its status says so
    let _ = child.kill();
    child.wait().expect("a status").code().is_none()
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_at_any_moment_is_resumed_to_the_same_bytes() {
    for jobs in ["1", "2"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut arguments = tiny(&["--jobs", jobs]);
        let mut killed = 0;
        for count in [1, 4, 8, TINY_JOBS] {
            killed += usize::from(killed_at(folder.path(), &arguments, count));
            if !arguments.contains(&"--resume") {
                arguments.push("--resume");
            }
        }
        assert!(killed >= 3, "--jobs {jobs}: it was killed {killed} times");
        let output = crate::provision::flatscape(folder.path(), &arguments);
        let run = Run { folder, output }.expect(0);
        finished().same_files(&run, ABOUT_THE_COMMAND);
    }
}

/// The same at moments that nobody chose: while files are read, computed or written.
#[cfg(unix)]
#[test]
fn a_run_that_is_killed_at_random_moments_is_resumed_to_the_same_bytes() {
    use std::hash::{BuildHasher, RandomState};
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = tiny(&[]);
    let mut moments = Vec::new();
    for turn in 0..3 {
        let moment = RandomState::new().hash_one(turn) % 1500;
        moments.push(moment);
        let mut child = start(folder.path(), &arguments);
        std::thread::sleep(Duration::from_millis(moment));
        // one that has ended cannot be killed
        let _ = child.kill();
        child.wait().expect("a status");
        // killed before it made its directory, it leaves nothing to resume
        if folder.path().join("run/manifest.json").is_file() && !arguments.contains(&"--resume") {
            arguments.push("--resume");
        }
    }
    let output = crate::provision::flatscape(folder.path(), &arguments);
    let run = Run { folder, output };
    assert_eq!(run.code(), 0, "killed after {moments:?} ms: {}", run.said());
    finished().same_files(&run, ABOUT_THE_COMMAND);
}

/// The worker process that holds the lock of a job, once it has held it for a moment.
fn holder(folder: &Path, kind: &str, but: &[u32]) -> u32 {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let holding = processes().into_iter().find(|id| !but.contains(id) && holds(*id, folder, kind));
        if let Some(id) = holding {
            std::thread::sleep(Duration::from_millis(50));
            if holds(id, folder, kind) {
                return id;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no worker took the job of the {kind}");
}

fn processes() -> Vec<u32> {
    std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|e| e.file_name().to_string_lossy().parse().ok()).collect()
}

fn holds(id: u32, folder: &Path, kind: &str) -> bool {
    let claims = folder.join("run/claims");
    let links = std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    let open: Vec<PathBuf> = links.filter_map(|e| std::fs::read_link(e.path()).ok()).collect();
    open.iter().any(|file| file.starts_with(&claims) && file.to_string_lossy().contains(kind))
}

fn kill(id: u32) {
    assert!(Command::new("kill").args(["-KILL", &id.to_string()]).status().expect("kill").success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_dies_costs_one_attempt_at_one_job() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("a path");
    let child = start(&path, &tiny(&["--jobs", "2"]));
    kill(holder(&path, ".certificate-", &[]));
    let run = Run { folder, output: child.wait_with_output().expect("an output") }.expect(0);
    assert!(run.said().contains("died") && run.said().contains("the job is tried once more"), "{}", run.said());
    finished().same_files(&run, ABOUT_THE_COMMAND);
}

#[cfg(target_os = "linux")]
#[test]
fn a_job_that_kills_its_worker_twice_is_given_up_and_the_others_are_computed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("a path");
    let child = start(&path, &tiny(&["--jobs", "2"]));
    let first = holder(&path, ".certificate-", &[]);
    kill(first);
    kill(holder(&path, ".certificate-", &[first]));
    let run = Run { folder, output: child.wait_with_output().expect("an output") }.expect(6);
    assert!(run.said().contains("died twice") && run.said().contains("flatscape shard"), "{}", run.said());
    assert_eq!(run.files("shards", ".npz").len(), TINY_JOBS - 1);
    assert_eq!(run.files("shards", ".fault.json").len(), 1);
    let row = run.table("results.csv").into_iter().find(|r| r["component"] == "certificate").expect("a row for the fault");
    assert!(row["value"].is_empty() && row["flags"].ends_with("113"), "{row:?}");
    let run = run.again(&tiny(&["--jobs", "2", "--resume"])).expect(0);
    finished().same_files(&run, ABOUT_THE_COMMAND);
}
