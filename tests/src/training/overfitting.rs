//! Catastrophic overfitting: what is found for a robust and for a steep model, that a training which loses its robustness and still
//! withstands its single step is stopped, and that a training which does not lose it is not.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use flatscape_graph::{DType, Tensor};
use flatscape_intake::data::Request as DataRequest;
use flatscape_intake::model::{Intake, ModelRequest, Trainable};
use flatscape_measure::request::Request;
use flatscape_train::checkpoint::Checkpoint;
use flatscape_train::form::values_of;
use flatscape_train::learner::weights_of;
use flatscape_train::plan::{Average, Chosen, Plan};
use flatscape_train::prepare::Prepared;
use flatscape_train::schedule::Schedule;
use flatscape_train::store::Facts;
use flatscape_train::watch::{Watched, overfitted};

use crate::provision::{command, flatscape, plugins, tract};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// `fast` on a model, with a step that leaves its random start where it is.
fn plan(model: &str) -> Plan {
    Plan {
        model: ModelRequest { source: model.to_owned(), intake: Intake::default() },
        data: DataRequest { limit: Some(300), ..DataRequest::new("digits") },
        trainer: Request::parse("fast:alpha=1e-6").expect("a trainer"),
        optimizer: Request::parse("sgd").expect("an optimizer"),
        attack: None,
        threat: Some("linf:0.1".to_owned()),
        epochs: 1,
        lr: 0.01,
        schedule: Schedule::constant(),
        augment: Vec::new(),
        batch_size: 64,
        seed: 0,
        validation: 0.1,
        smoothing: 0.0,
        average: Average::None,
        chosen: Chosen::default(),
    }
}

/// The weights of a model that was trained against PGD, and then those of one that was not, which have the same architecture: random
/// points of the ball are classified correctly by both, those of PGD by the first alone.
#[test]
fn a_model_that_withstands_its_step_alone_is_found() {
    let robust = plan("digits-adversarial");
    let engine = tract();
    let prepared = Prepared::of(&robust, &robust.model, engine.as_ref(), plugins()).unwrap_or_else(|e| panic!("{e}"));
    let watch = prepared.watch.as_ref().expect("a trainer of one step is watched");
    let of = |model: &str| -> Watched {
        let trainable = Trainable::load(model, &Intake::default(), None).unwrap_or_else(|e| panic!("{e}"));
        let weights: Vec<Tensor> = trainable.weights.iter().map(|w| w.value.cast(DType::F32)).collect();
        let (parameters, statistics) = values_of(&prepared.form, &weights);
        let buffers: Vec<_> = parameters.iter().map(|t| prepared.learner.upload(t).expect("uploaded")).collect();
        let found = watch.of(&prepared.evaluation, &weights_of(&buffers, &statistics), &prepared.data, &AtomicBool::new(false));
        found.expect("it runs").expect("the evaluation attacks")
    };
    let (before, after) = (of("digits-adversarial"), of("digits-standard"));
    assert_eq!((before.robust.n, after.single.n), (256, 256));
    assert!(before.robust.share > 0.9 && after.robust.share < 0.7 && after.single.share > 0.95, "{before:?} {after:?}");
    assert_eq!(overfitted(None, &before), None);
    assert_eq!(overfitted(Some(before.robust.share), &before), None);
    assert!(overfitted(Some(before.robust.share), &after).is_some());
}

const WORDS: &[&str] = &[
    "train",
    "digits-standard",
    "--data",
    "digits",
    "-n",
    "300",
    "--engine",
    "tract",
    "--batch-size",
    "32",
    "--threat",
    "linf:0.1",
];

/// What is watched of this model is known: almost all random points and about half of the points of PGD are right.
const STEEP: &[&str] = &["--trainer", "fast:alpha=1e-6", "--epochs", "40", "--lr", "0.0001"];

fn column(folder: &Path, out: &str, name: &str) -> Vec<Option<f64>> {
    let log = std::fs::read_to_string(folder.join(format!("{out}.train/log.csv"))).expect("a log");
    let place = log.lines().next().and_then(|l| l.split(',').position(|n| n == name)).unwrap_or_else(|| panic!("{name}: {log}"));
    log.lines().skip(1).map(|l| l.split(',').nth(place).and_then(|v| v.parse().ok())).collect()
}

/// Starts a training and kills it: where `checkpoint` is set when it has one, else after a moment.
fn killed(folder: &Path, arguments: &[&str], checkpoint: Option<&Path>) {
    let mut child = command(folder, arguments).spawn().expect("the program starts");
    match checkpoint {
        Some(path) => {
            while !path.exists() && child.try_wait().expect("a child").is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        None => std::thread::sleep(Duration::from_millis(900)),
    }
    let _ = child.kill();
    child.wait().expect("ended");
}

/// A checkpoint in which 97 % of the watched images held against PGD before: the next epoch is one of catastrophic overfitting.
#[test]
fn a_training_that_overfits_is_stopped_and_continued_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    for out in ["a.onnx", "b.onnx"] {
        let path = folder.path().join(format!("{out}.train/checkpoint"));
        killed(folder.path(), &[WORDS, STEEP, &["-o", out]].concat(), Some(&path));
        assert!(!folder.path().join(out).exists(), "it was too quick to be killed");
    }
    let path = |out: &str| folder.path().join(format!("{out}.train/checkpoint"));
    let bytes = std::fs::read(path("a.onnx")).expect("a checkpoint");
    let mut checkpoint = Checkpoint::<Facts>::read(&bytes).expect("a sound checkpoint");
    assert!(checkpoint.facts.watched.is_some_and(|share| share < 0.7), "{:?}", checkpoint.facts.watched);
    checkpoint.facts.watched = Some(0.97);
    for out in ["a.onnx", "b.onnx"] {
        checkpoint.publish(&path(out)).expect("written");
    }
    let resumed = |out: &str| flatscape(folder.path(), &[WORDS, STEEP, &["-o", out, "--resume"]].concat());
    let output = resumed("a.onnx");
    assert_eq!(output.status.code(), Some(9), "{}", said(&output));
    assert!(said(&output).contains("Catastrophic overfitting: after epoch"), "{}", said(&output));
    assert!(said(&output).contains("the last good model, of epoch"), "{}", said(&output));
    assert!(!folder.path().join("a.onnx").exists(), "nothing lies where the result was asked for");
    let kept = |out: &str| {
        ["last-good.onnx", "log.csv", "report.html", "checkpoint"].map(|name| {
            std::fs::read(folder.path().join(format!("{out}.train")).join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
        })
    };
    let first = kept("a.onnx");
    assert!(String::from_utf8_lossy(&first[2]).contains("Catastrophic overfitting"));
    // its last epoch is in the log and is not the one that was kept
    let rows = column(folder.path(), "a.onnx", "watched_robust_accuracy");
    assert_eq!(rows.len(), checkpoint.facts.rows.len() + 1);
    // continued again it says the same, and so does the other one, killed on its way
    assert_eq!(resumed("a.onnx").status.code(), Some(9));
    assert!(kept("a.onnx") == first);
    killed(folder.path(), &[WORDS, STEEP, &["-o", "b.onnx", "--resume"]].concat(), None);
    assert_eq!(resumed("b.onnx").status.code(), Some(9));
    assert!(kept("b.onnx") == first);
}

#[test]
fn a_training_that_keeps_its_robustness_is_not_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["--trainer", "fast", "--lr", "0.02", "--epochs", "8", "-o", "a.onnx"];
    let output = flatscape(folder.path(), &[WORDS, &options].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(column(folder.path(), "a.onnx", "watched_robust_accuracy").iter().all(Option::is_some));
    assert_eq!(column(folder.path(), "a.onnx", "watched_n"), [Some(256.0); 8]);
    // a trainer that takes ten steps is not watched
    let options = ["--trainer", "adversarial", "--lr", "0.02", "--epochs", "1", "-o", "b.onnx"];
    let output = flatscape(folder.path(), &[WORDS, &options].concat());
    assert!(matches!(output.status.code(), Some(0 | 9)), "{}", said(&output));
    assert_eq!(column(folder.path(), "b.onnx", "watched_n"), [None]);
}
