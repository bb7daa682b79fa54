//! The same command gives the same bytes; another machine or engine the same verdicts; a shard alone what it gave in the audit.

use std::sync::OnceLock;

use super::{EMBEDDED, Row, Run, small};
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
    for name in ["results.csv", "samples.csv", "report.html", "manifest.json"] {
        assert!(reference().read(name) == again.read(name), "{name} differs");
    }
    for (folder, ending, at_least) in [
        ("landscapes", ".csv", 4),
        ("landscapes", ".svg", 4),
        ("shards", ".npz", 30),
        ("shards", ".json", 30),
        ("witness", ".npz", 4),
    ] {
        let (a, b) = (reference().files(folder, ending), again.files(folder, ending));
        assert!(a.len() >= at_least, "{folder} holds {:?}", a.keys());
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
        for (name, bytes) in &a {
            assert!(bytes == &b[name], "{folder}/{name} differs");
        }
    }
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
            assert!((a - b).abs() <= 1e-4 * a.abs(), "{what}: {metric} of {model} is {a} and {b}");
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
    let descriptions: Vec<String> = run.files("shards", ".json").into_keys().collect();
    for name in descriptions.iter().step_by(4) {
        let description = run.path("shards").join(name);
        let mut arguments = vec!["shard", description.to_str().expect("a path"), "--out", "alone.npz"];
        arguments.extend(EMBEDDED);
        let output = flatscape(run.folder.path(), &arguments);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let alone = std::fs::read(run.folder.path().join("alone.npz")).expect("the result");
        assert!(alone == run.read(&format!("shards/{}", name.replace(".json", ".npz"))), "{name} differs");
    }
}
