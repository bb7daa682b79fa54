//! Interrupted in the middle: what is finished stays, the report says that it is partial, and `--resume` arrives where an
//! uninterrupted run arrives.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Run, table};
use crate::provision::command;

/// Ten shards of a metric that takes its time.
const LONG: &[&str] = &[
    "audit",
    "digits-standard",
    "--data",
    "digits",
    "-n",
    "40",
    "--threat",
    "linf:0.1",
    "--attack",
    "fgsm",
    "--metric",
    "phi:grid=31,directions=1",
    "--shard-size",
    "4",
    "--landscapes",
    "0",
    "--engine",
    "tract",
    "--threads",
    "1",
    "--out",
    "run",
];

#[cfg(unix)]
#[test]
fn an_interrupted_run_is_kept_and_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = command(folder.path(), LONG).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let run = Run { folder, output: wait_for_first_phi_and_interrupt(child, "INT") };
    let run = run.expect(130);
    assert!(run.said().contains("finishing the batch under way; a second Ctrl-C stops now"), "{}", run.said());
    let page = run.text("report.html");
    assert!(page.contains("PARTIAL"), "the page does not say that it is partial");
    let kept = run.files("shards", ".npz");
    let of_phi = kept.keys().filter(|name| name.contains(".phi-")).count();
    assert!((1..10).contains(&of_phi), "{:?}", kept.keys());
    assert!(run.table("results.csv").iter().any(|r| r["component"] == "fgsm" && !r["value"].is_empty()));

    let resumed = resume(run);
    let resumed = resumed.expect(0);
    for (name, bytes) in &kept {
        assert!(&resumed.read(&format!("shards/{name}")) == bytes, "{name} was computed again");
    }
    assert!(!resumed.text("report.html").contains("PARTIAL"));
    let whole = Run::new(LONG).expect(0);
    assert!(whole.read("samples.csv") == resumed.read("samples.csv"), "samples.csv differs from an uninterrupted run");
    assert_eq!(whole.files("shards", ".npz"), resumed.files("shards", ".npz"));
    assert_eq!(table(&whole.text("results.csv")).len(), table(&resumed.text("results.csv")).len());
}

#[cfg(unix)]
#[test]
fn a_terminated_run_ends_with_143() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = command(folder.path(), LONG).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let run = Run { folder, output: wait_for_first_phi_and_interrupt(child, "TERM") }.expect(143);
    assert!(run.text("report.html").contains("PARTIAL"));
}

/// A single shard that takes minutes is left between two batches, and has no result; a second signal changes nothing about that.
#[cfg(unix)]
#[test]
fn a_long_shard_is_left_in_the_middle() {
    for signals in [1, 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments: Vec<&str> = LONG
            .iter()
            .map(|&word| match word {
                "phi:grid=31,directions=1" => "phi:grid=151,directions=20",
                "4" => "40",
                word => word,
            })
            .collect();
        let started = command(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = started.expect("the program starts");
        let there = || Run::shards(folder.path()).iter().any(|name| name.contains(".fgsm-"));
        while !there() {
            std::thread::sleep(Duration::from_millis(10));
        }
        // the next job is the metric
        std::thread::sleep(Duration::from_millis(500));
        for _ in 0..signals {
            let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
            assert!(sent.success() || signals == 2);
            std::thread::sleep(Duration::from_millis(20));
        }
        let run = Run { output: child.wait_with_output().expect("an output"), folder }.expect(130);
        assert!(run.said().contains("a second Ctrl-C stops now"), "{}", run.said());
        let phi = run.files("shards", ".npz").into_keys().filter(|name| name.contains(".phi-")).count();
        assert_eq!(phi, 0, "the shard was finished first");
        assert!(signals == 2 || run.text("report.html").contains("PARTIAL"));
    }
}

fn resume(run: Run) -> Run {
    let mut arguments = LONG.to_vec();
    arguments.push("--resume");
    let output = crate::provision::flatscape(run.folder.path(), &arguments);
    Run { output, ..run }
}

/// Waits until the first of the ten long shards is there, then sends the signal.
fn wait_for_first_phi_and_interrupt(mut child: std::process::Child, signal: &str) -> std::process::Output {
    let folder = std::fs::read_link(format!("/proc/{}/cwd", child.id())).expect("the folder of the process");
    let there = || Run::shards(&folder).iter().any(|name| name.contains(".phi-"));
    while !there() {
        if child.try_wait().expect("a child").is_some() {
            let output = child.wait_with_output().expect("an output");
            panic!("it ended before it was interrupted: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    child.wait_with_output().expect("an output")
}
