//! The same command gives the same bytes; another machine or engine the same verdicts; a shard alone what it gave in the audit.

use std::sync::OnceLock;

use super::{ABOUT_THE_COMMAND, EMBEDDED, Row, Run, small};
use crate::provision::{flatscape, onnx_runtime_library};

/// The small audit on the reference engine, run once for all tests.
pub fn reference() -> &'static Run {
    static REFERENCE: OnceLock<Run> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        // the gradient certificate asks a second engine if there is one, and says so: it must not arrive between two runs
        onnx_runtime_library();
        Run::new(&small(EMBEDDED)).expect(0)
    })
}

#[test]
fn the_same_audit_gives_the_same_bytes() {
    let again = Run::new(&small(EMBEDDED)).expect(0);
    for (folder, ending, at_least) in [
        ("certificates", ".json", 2),
        ("jobs", ".json", 30),
        ("landscapes", ".csv", 4),
        ("landscapes", ".svg", 4),
        ("shards", ".npz", 30),
        ("shards", ".receipt.json", 30),
        ("witness", ".npz", 4),
    ] {
        let count = reference().files(folder, ending).len();
        assert!(count >= at_least, "{folder} holds {count} files {ending}");
    }
    // everything but the seconds
    reference().same_files(&again, &[]);
    let jobs = |run: &Run| {
        let mut names: Vec<String> =
            run.text("times.csv").lines().map(|l| l.split(',').next().unwrap_or_default().into()).collect();
        names.sort();
        names
    };
    assert_eq!(jobs(reference()), jobs(&again));
}

/// Who computes changes no byte of a result; the command and the number of workers stand in the manifest and on the page.
#[test]
fn any_number_of_workers_gives_the_same_bytes() {
    let three = Run::new(&small(&["--engine", "tract", "--threads", "1", "--jobs", "3"])).expect(0);
    reference().same_files(&three, ABOUT_THE_COMMAND);
    let manifest: serde_json::Value = serde_json::from_slice(&three.read("manifest.json")).expect("JSON");
    assert_eq!(manifest["workers"], 3);
    assert!(!three.path("claims").exists() && !three.path("set-aside").exists());
}

/// Verdict columns of two runs: at most one sample of every attack on every model is decided otherwise.
fn same_verdicts(other: &Run, what: &str) {
    let (a, b) = (reference().table("samples.csv"), other.table("samples.csv"));
    assert_eq!(a.len(), b.len(), "{what}");
    for model in ["digits-standard", "digits-amsreg"] {
        for column in ["prediction", "fgsm.outcome", "pgd.outcome"] {
            let of = |rows: &[Row]| -> Vec<(String, String)> {
                rows.iter()
                    .filter(|r| r["model"] == model && !r["threat"].is_empty())
                    .map(|r| (r["id"].clone(), r[column].clone()))
                    .collect()
            };
            let (a, b) = (of(&a), of(&b));
            assert_eq!(a.len(), 60, "{what}: {model} {column}");
            let different = a.iter().zip(&b).filter(|(a, b)| a != b).count();
            assert!(different <= 1, "{what}: {different} samples of {model} differ in {column}");
        }
    }
    for metric in ["ams_mean", "phi_mean"] {
        let component = metric.trim_end_matches("_mean");
        for model in ["digits-standard", "digits-amsreg"] {
            let (a, b) = (reference().value(model, component, metric), other.value(model, component, metric));
            // rounding puts single ReLUs of single images on the other side of their kink
            assert!((a - b).abs() <= 3e-4 * a.abs(), "{what}: {metric} of {model} is {a} and {b}");
        }
    }
}

#[test]
fn threads_batches_and_shards_do_not_change_the_verdict() {
    let mut arguments = small(&["--engine", "tract", "--threads", "3"]);
    for (flag, value) in [("--batch-size", "7"), ("--shard-size", "1000")] {
        let place = arguments.iter().position(|a| *a == flag).expect("a flag");
        arguments[place + 1] = value;
    }
    same_verdicts(&Run::new(&arguments).expect(0), "three threads, batches of 7");
}

#[test]
fn both_engines_give_the_same_verdict() {
    onnx_runtime_library();
    let other = Run::new(&small(&["--engine", "ort", "--threads", "2"])).expect(0);
    let manifest: serde_json::Value = serde_json::from_slice(&other.read("manifest.json")).expect("JSON");
    assert!(manifest["engine"]["name"].as_str().is_some_and(|name| name != "tract"), "{}", manifest["engine"]);
    same_verdicts(&other, "ONNX Runtime");
}

#[test]
fn another_seed_is_another_run() {
    let other = Run::new(&small(&["--engine", "tract", "--threads", "1", "--seed", "1"])).expect(0);
    assert!(reference().read("samples.csv") != other.read("samples.csv"), "the seed does nothing");
}

#[test]
fn a_shard_computed_alone_gives_the_same_bytes() {
    let run = reference();
    let jobs: Vec<String> = run.files("jobs", ".json").into_keys().collect();
    for name in jobs.iter().step_by(4) {
        let description = run.path("jobs").join(name);
        let mut arguments = vec!["shard", description.to_str().expect("a path"), "--out", "alone.npz"];
        arguments.extend(EMBEDDED);
        let output = flatscape(run.folder.path(), &arguments);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let alone = std::fs::read(run.folder.path().join("alone.npz")).expect("the result");
        assert!(alone == run.read(&format!("shards/{}", name.replace(".json", ".npz"))), "{name} differs");
    }
}
