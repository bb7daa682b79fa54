//! Catastrophic overfitting: `fast` with a step that is far too short leaves the points of its random start as they are. A model that
//! was robust learns to withstand such points alone, and the training is stopped; with a step that fits the radius it is not.

use std::path::Path;
use std::process::Output;

use crate::provision::{command, flatscape};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

const WORDS: &[&str] = &["train", "--data", "digits", "-n", "300", "--engine", "tract", "--batch-size", "32", "--lr", "0.02"];

const OVERFITS: &[&str] = &["digits-adversarial", "--trainer", "fast:alpha=0.001", "--threat", "linf:0.15", "--epochs", "60"];

fn column(folder: &Path, out: &str, name: &str) -> Vec<f64> {
    let log = std::fs::read_to_string(folder.join(format!("{out}.train/log.csv"))).expect("a log");
    let place = log.lines().next().and_then(|l| l.split(',').position(|n| n == name)).unwrap_or_else(|| panic!("{name}: {log}"));
    log.lines().skip(1).map(|l| l.split(',').nth(place).and_then(|v| v.parse().ok()).expect(name)).collect()
}

#[test]
fn fast_with_a_step_of_nothing_overfits_and_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = flatscape(folder.path(), &[WORDS, OVERFITS, &["-o", "a.onnx"]].concat());
    assert_eq!(output.status.code(), Some(9), "{}", said(&output));
    assert!(said(&output).contains("Catastrophic overfitting: after epoch"), "{}", said(&output));
    assert!(said(&output).contains("the last good model, of epoch"), "{}", said(&output));
    let (single, robust) = (
        column(folder.path(), "a.onnx", "watched_single_step_accuracy"),
        column(folder.path(), "a.onnx", "watched_robust_accuracy"),
    );
    let best = robust.iter().copied().fold(0.0, f64::max);
    let last = robust.len() - 1;
    assert!(best - robust[last] > 0.2 && single[last] - robust[last] > 0.2, "{single:?} {robust:?}");
    assert!(last < 59, "it ran to its end");
    // the model that is kept is not that of the last epoch, and nothing lies where the result was asked for
    assert!(folder.path().join("a.onnx.train/last-good.onnx").is_file() && !folder.path().join("a.onnx").exists());
    let page = std::fs::read_to_string(folder.path().join("a.onnx.train/report.html")).expect("a page");
    assert!(page.contains("Catastrophic overfitting"), "{page}");
    // continued, it says the same
    let kept = |name: &str| std::fs::read(folder.path().join("a.onnx.train").join(name)).expect(name);
    let before = ["last-good.onnx", "log.csv", "report.html"].map(kept);
    let again = flatscape(folder.path(), &[WORDS, OVERFITS, &["-o", "a.onnx", "--resume"]].concat());
    assert_eq!(again.status.code(), Some(9), "{}", said(&again));
    assert!(before == ["last-good.onnx", "log.csv", "report.html"].map(kept));
    // killed on the way, it arrives at the same bytes
    let mut child = command(folder.path(), &[WORDS, OVERFITS, &["-o", "b.onnx"]].concat()).spawn().expect("the program starts");
    while !folder.path().join("b.onnx.train/checkpoint").exists() && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait().expect("ended");
    let rest = flatscape(folder.path(), &[WORDS, OVERFITS, &["-o", "b.onnx", "--resume"]].concat());
    assert_eq!(rest.status.code(), Some(9), "{}", said(&rest));
    let killed = |name: &str| std::fs::read(folder.path().join("b.onnx.train").join(name)).expect(name);
    assert!(before == ["last-good.onnx", "log.csv", "report.html"].map(killed));
}

#[test]
fn fast_with_a_step_that_fits_is_not_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["digits-standard", "--trainer", "fast", "--threat", "linf:0.1", "--epochs", "8", "-o", "a.onnx"];
    let output = flatscape(folder.path(), &[WORDS, &options].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(column(folder.path(), "a.onnx", "watched_robust_accuracy").len(), 8);
    assert!(column(folder.path(), "a.onnx", "watched_n").iter().all(|&n| n == 256.0));
    // a trainer that takes ten steps is not watched
    let options = ["digits-standard", "--trainer", "adversarial", "--threat", "linf:0.1", "--epochs", "1", "-o", "b.onnx"];
    let output = flatscape(folder.path(), &[WORDS, &options].concat());
    assert!(matches!(output.status.code(), Some(0 | 9)), "{}", said(&output));
    let log = std::fs::read_to_string(folder.path().join("b.onnx.train/log.csv")).expect("a log");
    let place = log.lines().next().and_then(|l| l.split(',').position(|n| n == "watched_n")).expect("a column");
    assert_eq!(log.lines().nth(1).and_then(|l| l.split(',').nth(place)), Some(""));
}
