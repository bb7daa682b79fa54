//! Jobs that are computed one by one with `flatscape shard` while an audit with `--jobs 0` waits for them.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{ABOUT_THE_COMMAND, EMBEDDED, Run, finished, tiny};
use crate::provision::{command, flatscape};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(300);

fn until(what: &str, there: impl Fn() -> bool) {
    let started = Instant::now();
    while !there() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The names of the jobs in the order of the plan.
fn names(run: &Path) -> Vec<String> {
    let order: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("jobs.json")).expect("a plan")).expect("JSON");
    let jobs = order["jobs"].as_array().expect("jobs");
    jobs.iter().map(|job| job[0].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn results_of_shard_are_accepted_by_an_audit_that_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let waiting = tiny(&["--jobs", "0"]);
    let child =
        command(folder.path(), &waiting).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    until("the jobs are written", || run.join("jobs.json").is_file());
    for name in names(&run) {
        let (job, out) = (format!("run/jobs/{name}.json"), format!("run/shards/{name}.npz"));
        let mut arguments = vec!["shard", &job, "-o", &out];
        arguments.extend(EMBEDDED);
        let output = flatscape(folder.path(), &arguments);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(run.join(format!("shards/{name}.receipt.json")).is_file(), "{name}");
    }
    let output = child.wait_with_output().expect("an output");
    Run { folder, output }.expect(0).same_files(finished(), ABOUT_THE_COMMAND);
}
