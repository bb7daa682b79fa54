//! `flatscape train` as a subprocess: equal bytes for equal seeds, also after a kill; what it refuses; what it never reads.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use flatscape_graph::onnx;
use flatscape_intake::data::Dataset;
use flatscape_intake::data::Request;
use flatscape_intake::model::{Intake, Model};

use crate::provision::{command, flatscape, onnx_runtime};

/// A short adversarial training of a model that comes with the program.
const SHORT: &[&str] = &[
    "train",
    "digits-standard",
    "--data",
    "digits",
    "-n",
    "200",
    "--trainer",
    "adversarial",
    "--attack",
    "pgd:steps=2",
    "--threat",
    "linf:0.1",
    "--epochs",
    "3",
    "--batch-size",
    "32",
    "--lr",
    "0.05",
    "--augment",
    "crop,flip",
    "--average",
    "ema:0.9",
    "--seed",
    "5",
];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn train(folder: &Path, more: &[&str]) -> Output {
    flatscape(folder, &[SHORT, more].concat())
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Everything that a training leaves, but its lock and its times.
fn left(folder: &Path, out: &str) -> BTreeMap<String, Vec<u8>> {
    let beside = folder.join(format!("{out}.train"));
    let entries = std::fs::read_dir(&beside).expect("a folder").map(|e| e.expect("an entry").path());
    let mut files: BTreeMap<String, Vec<u8>> = entries
        .filter(|path| !path.ends_with("lock") && !path.ends_with("times.csv"))
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), read(&path)))
        .collect();
    files.insert("result".into(), read(&folder.join(out)));
    files
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_the_result_is_a_model() {
    let folder = tempfile::tempdir().expect("a folder");
    for out in ["a.onnx", "b.onnx"] {
        let output = train(folder.path(), &["-o", out]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    let (a, b) = (left(folder.path(), "a.onnx"), left(folder.path(), "b.onnx"));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in &a {
        assert!(bytes == &b[name], "{name} differs between two equal trainings");
    }
    let log = String::from_utf8(a["log.csv"].clone()).expect("text");
    assert_eq!(log.lines().count(), 4, "{log}");

    // another seed is another model
    let output = flatscape(folder.path(), &[&SHORT[..SHORT.len() - 1], &["6", "-o", "c.onnx"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(read(&folder.path().join("c.onnx")) != a["result"]);

    // interface and preprocessing are those of the model, and nothing has to be said about it
    let file = onnx::read(&a["result"]).expect("an ONNX file");
    let value = |key: &str| file.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    let told = value("training.command").expect("the command");
    assert!(told.starts_with("flatscape train digits-standard") && !told.contains("a.onnx"), "{told}");
    let manifest: serde_json::Value = serde_json::from_str(&value("training.manifest").expect("the manifest")).expect("JSON");
    assert_eq!(manifest["plan"]["seed"], 5);
    let data = Dataset::load(&Request { limit: Some(100), ..Request::new("digits") }).expect("digits");
    let engine = onnx_runtime();
    let load = |source: &str| Model::load(source, &Intake::default(), &data, engine.as_ref()).unwrap_or_else(|e| panic!("{e}"));
    let (before, after) = (load("digits-standard"), load(&folder.path().join("a.onnx").display().to_string()));
    assert_eq!(before.native.interface.inputs, after.native.interface.inputs);
    assert_eq!(before.native.interface.outputs, after.native.interface.outputs);
    assert_eq!((before.pixels.scale, before.pixels.mean), (after.pixels.scale, after.pixels.mean));
    let output = flatscape(
        folder.path(),
        &["audit", "a.onnx", "--data", "digits", "-n", "20", "--attack", "fgsm", "--threat", "linf:0.1"],
    );
    assert!(matches!(output.status.code(), Some(0 | 9)), "{}", said(&output));
}

/// Killed at several moments, in the middle of epochs, too, a training arrives where an undisturbed one arrives.
#[cfg(unix)]
#[test]
fn a_killed_training_is_resumed_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = train(folder.path(), &["-o", "whole.onnx"]);
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
    let mut kills = 0;
    for wait in [400u64, 700, 1000, 1300, 1600, 2000] {
        let arguments = [SHORT, &["-o", "killed.onnx"], if kills > 0 { &["--resume"][..] } else { &[] }].concat();
        let mut child = command(folder.path(), &arguments).spawn().expect("the program starts");
        std::thread::sleep(Duration::from_millis(wait));
        if child.try_wait().expect("a child").is_none() {
            child.kill().expect("killed");
            kills += 1;
        }
        child.wait().expect("ended");
        if !folder.path().join("killed.onnx.train/manifest.json").is_file() {
            kills = 0;
        }
    }
    if !folder.path().join("killed.onnx").is_file() {
        let begun = folder.path().join("killed.onnx.train/manifest.json").is_file();
        let last = train(folder.path(), if begun { &["-o", "killed.onnx", "--resume"] } else { &["-o", "killed.onnx"] });
        assert_eq!(last.status.code(), Some(0), "{}", said(&last));
    }
    let (whole, killed) = (left(folder.path(), "whole.onnx"), left(folder.path(), "killed.onnx"));
    for name in ["result", "log.csv", "manifest.json", "report.html", "curves.svg"] {
        assert!(whole[name] == killed[name], "{name} differs from an undisturbed training");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = train(folder.path(), &["-o", "a.onnx"]);
    assert_eq!(first.status.code(), Some(0), "{}", said(&first));
    let before = left(folder.path(), "a.onnx");
    let again = train(folder.path(), &["-o", "a.onnx"]);
    assert!(again.status.code() == Some(8) && said(&again).contains("R096"), "{}", said(&again));
    let changed = flatscape(folder.path(), &[SHORT, &["--smoothing", "0.1", "-o", "a.onnx", "--resume"]].concat());
    assert_eq!(changed.status.code(), Some(8), "{}", said(&changed));
    assert!(said(&changed).contains("plan.smoothing is 0.0, and here it is 0.1"), "{}", said(&changed));
    let mut damaged = read(&folder.path().join("a.onnx.train/checkpoint"));
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(folder.path().join("a.onnx.train/checkpoint"), &damaged).expect("written");
    let refused = train(folder.path(), &["-o", "a.onnx", "--resume"]);
    assert!(refused.status.code() == Some(8) && said(&refused).contains("R106"), "{}", said(&refused));
    let after = left(folder.path(), "a.onnx");
    assert!(before["result"] == after["result"] && before["manifest.json"] == after["manifest.json"]);
    std::fs::write(folder.path().join("mine.onnx"), b"mine").expect("written");
    let mine = train(folder.path(), &["-o", "mine.onnx"]);
    assert_eq!(mine.status.code(), Some(8), "{}", said(&mine));
    assert_eq!(read(&folder.path().join("mine.onnx")), b"mine");
}

#[test]
fn wrong_options_are_usage_errors_before_any_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let digits: &[&str] = &["train", "digits-standard", "--data", "digits", "-n", "50", "-o", "a.onnx"];
    for (more, part) in [
        (&["--trainer", "standrad"][..], "did you mean \"standard\"?"),
        (&["--schedule", "cosin"], "did you mean cosine?"),
        (&["--augment", "flop"], "did you mean flip?"),
        (&["--lr", "-1"], "a learning rate is positive"),
        (&["--average", "ema:2"], "between 0 and 1"),
        (&["--validation", "1"], "below 1"),
        (&["--freeze", "nothing*"], "no weight of digits-standard has such a name"),
        (&["--freeze", "*"], "nothing of digits-standard is left to train"),
        (&["--trainer", "adversarial", "--threat", "rigid:30deg+3px"], "a training moves pixels"),
    ] {
        let output = flatscape(folder.path(), &[digits, more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", said(&output));
        assert!(said(&output).contains(part), "{more:?}: {}", said(&output));
        assert!(!folder.path().join("a.onnx").exists());
        let _ = std::fs::remove_dir_all(folder.path().join("a.onnx.train"));
    }
}

/// A learning rate that is far too large ends the training with exit code 9, and with no result under the name that was asked for.
#[test]
fn a_training_that_diverges_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["train", "digits-standard", "--data", "digits", "-n", "200", "--lr", "1e30", "--epochs", "4", "-o", "a.onnx"];
    let output = flatscape(folder.path(), &options);
    assert_eq!(output.status.code(), Some(9), "{}", said(&output));
    assert!(said(&output).contains("Diverged") && said(&output).contains("not finite"), "{}", said(&output));
    assert!(!folder.path().join("a.onnx").exists());
    assert!(String::from_utf8(read(&folder.path().join("a.onnx.train/report.html"))).expect("text").contains("Diverged"));
}

#[test]
fn a_model_that_guesses_is_said_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = [
        "train", "resnet32", "--data", "digits", "-n", "100", "--lr", "1e-12", "--epochs", "1", "--threat", "linf:0", "-o",
        "a.onnx",
    ];
    let output = flatscape(folder.path(), &options);
    assert_eq!(output.status.code(), Some(9), "{}", said(&output));
    assert!(said(&output).contains("not shown to be better than guessing"), "{}", said(&output));
    let page = String::from_utf8(read(&folder.path().join("a.onnx.train/report.html"))).expect("text");
    assert!(page.contains("not shown to be better than guessing"));
}

/// The test half may be missing, damaged or another one: nothing of it is read.
#[test]
fn the_test_half_is_never_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let data =
        Dataset::load(&Request { limit: Some(120), split: flatscape_intake::data::Split::Train, ..Request::new("digits") });
    let data = data.expect("the training half of digits");
    let flatscape_intake::data::Pixels::Bytes(pixels) = &data.pixels else { panic!("digits are bytes") };
    let [_, h, w] = data.shape;
    let half = folder.path().join("half");
    std::fs::create_dir(&half).expect("a folder");
    let word = |n: usize| (n as u32).to_be_bytes();
    let images = [&[0, 0, 8, 3][..], &word(data.len()), &word(h), &word(w), pixels].concat();
    let labels: Vec<u8> = data.labels.iter().map(|&y| y as u8).collect();
    std::fs::write(half.join("train-images-idx3-ubyte"), images).expect("written");
    std::fs::write(half.join("train-labels-idx1-ubyte"), [&[0, 0, 8, 1][..], &word(data.len()), &labels].concat())
        .expect("written");
    let options = |out| ["train", "digits-standard", "--data", "half", "--epochs", "2", "--threat", "linf:0.1", "-o", out];
    let without = flatscape(folder.path(), &options("without.onnx"));
    assert_eq!(without.status.code(), Some(0), "{}", said(&without));
    std::fs::write(half.join("t10k-images-idx3-ubyte"), b"garbage").expect("written");
    std::fs::write(half.join("t10k-labels-idx1-ubyte"), b"garbage").expect("written");
    let with = flatscape(folder.path(), &options("with.onnx"));
    assert_eq!(with.status.code(), Some(0), "{}", said(&with));
    assert!(read(&folder.path().join("without.onnx")) == read(&folder.path().join("with.onnx")));
}
