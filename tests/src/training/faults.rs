//! Trainers that give what cannot be trained with, models and data that cannot be used: refused in words before anything is trained,
//! or stopped with the last good model.

use std::path::Path;
use std::process::Output;

use flatscape_graph::{Attributes, Builder, DType, Dim, Expr, Graph, Tensor, ValueType, onnx};

use crate::plugins::misbehaving;
use crate::provision::{flatscape, shared_data};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// A short training on tract.
fn train(folder: &Path, model: &str, more: &[&str]) -> Output {
    let words = ["train", model, "--data", "digits", "-n", "100", "--engine", "tract", "--batch-size", "20", "--epochs", "3"];
    flatscape(folder, &[&words[..], more].concat())
}

#[test]
fn costs_that_cannot_be_minimised_are_faults_of_the_trainer() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, sentence) in [
        ("cost_is_nan", "the cost of 20 of 20 samples is not finite, before anything was trained"),
        ("cost_is_constant", "does not depend on the parameters of the model"),
        ("cost_of_the_batch", "cost"),
        ("cost_of_two_axes", "cost"),
    ] {
        let file = misbehaving(name, folder.path());
        let out = format!("{name}.onnx");
        let options = ["--trainer", "bad", "--threat", "linf:0.1", "--plugin", file.to_str().expect("a path"), "-o", &out];
        let output = train(folder.path(), "digits-standard", &options);
        assert_eq!(output.status.code(), Some(5), "{name}: {}", said(&output));
        assert!(said(&output).contains(sentence) && said(&output).contains("bad"), "{name}: {}", said(&output));
        assert!(!folder.path().join(&out).exists());
    }
}

/// A cost that is not a number in the second epoch: five steps per epoch, NaN from the eighth on.
#[test]
fn a_training_that_diverges_keeps_the_last_good_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = misbehaving("cost_becomes_nan", folder.path());
    let options = ["--trainer", "bad", "--threat", "linf:0.1", "--plugin", file.to_str().expect("a path"), "-o", "a.onnx"];
    let output = train(folder.path(), "digits-standard", &options);
    assert_eq!(output.status.code(), Some(9), "{}", said(&output));
    assert!(said(&output).contains("Diverged: in batch 3 of epoch 2"), "{}", said(&output));
    assert!(said(&output).contains("the last good model, of epoch 1,"), "{}", said(&output));
    assert!(!folder.path().join("a.onnx").exists());
    let page = std::fs::read_to_string(folder.path().join("a.onnx.train/report.html")).expect("a page");
    assert!(page.contains("Diverged: in batch 3 of epoch 2") && page.contains("last-good.onnx"));
    // it is a model like any other
    let audit = ["audit", "a.onnx.train/last-good.onnx", "--data", "digits", "-n", "20", "--threat", "linf:0.1"];
    let output = flatscape(folder.path(), &[&audit[..], &["--attack", "fgsm", "--engine", "tract"]].concat());
    assert!(matches!(output.status.code(), Some(0 | 9)), "{}", said(&output));
}

/// A net of images of 8×8 pixels.
fn net(folder: &Path, name: &str, batch: Dim, formula: impl for<'b> Fn(&'b Builder, Expr<'b>) -> Expr<'b>) {
    let b = Builder::new(Graph::new("net"));
    let x = b.input("x", ValueType::new(DType::F32, vec![batch, Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)]));
    b.output("z", formula(&b, x));
    let graph = b.into_graph();
    graph.check().expect("a well-formed net");
    std::fs::write(folder.join(name), onnx::write(&graph)).expect("written");
}

fn small_weights(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::new(shape, (0..count).map(|i| ((7 * i + 3) % 11) as f32 / 110.0 - 0.045).collect::<Vec<f32>>()).expect("as many")
}

#[test]
fn models_without_weights_to_train_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let free = || Dim::symbol("N");
    // ten pixels as scores
    net(folder.path(), "bare.onnx", free(), |b, x| x.reshape(&[-1, 64]).gather(b.ints(&(20..30).collect::<Vec<i64>>()), 1));
    net(folder.path(), "quantised.onnx", free(), |b, x| {
        let weights = b.constant(small_weights(&[64, 10]).cast(DType::I8));
        let (scale, zero) = (b.constant(Tensor::scalar(0.01f32)), b.constant(Tensor::scalar(0i8)));
        x.reshape(&[-1, 64]).matmul(b.op("DequantizeLinear", &[weights, scale, zero], Attributes::none()))
    });
    for (name, id, sentence) in
        [("bare.onnx", "M160", "nothing in it can be trained"), ("quantised.onnx", "M161", "quantised weights cannot be trained")]
    {
        let output = train(folder.path(), name, &["-o", "a.onnx", "--threat", "linf:0.1"]);
        assert_eq!(output.status.code(), Some(3), "{name}: {}", said(&output));
        assert!(said(&output).contains(id) && said(&output).contains(sentence), "{name}: {}", said(&output));
        assert!(!folder.path().join("a.onnx").exists() && !folder.path().join("a.onnx.train/manifest.json").exists());
    }
}

/// A batch of 1 or of 8 in the file is made free where the graph allows that, and the result keeps its interface.
#[test]
fn files_with_a_fixed_batch_are_trained_where_the_batch_can_be_freed() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, batch) in [("one.onnx", 1), ("eight.onnx", 8)] {
        net(folder.path(), name, Dim::Fixed(batch), |b, x| {
            let id = b.graph_mut().add_constant("w", small_weights(&[64, 10]));
            x.reshape(&[batch as i64, 64]).matmul(b.expr(id))
        });
        let out = format!("trained-{name}");
        let output = train(folder.path(), name, &["-o", &out, "--threat", "linf:0.1", "--lr", "0.1"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
        let written = onnx::read(&std::fs::read(folder.path().join(&out)).expect("a result")).expect("an ONNX file").graph;
        assert_eq!(written.shape(written.inputs()[0]).expect("a shape")[0], Dim::Fixed(batch), "{name}");
    }
    // what mixes the rows of its batch cannot be freed, and that is said
    net(folder.path(), "mixed.onnx", Dim::Fixed(2), |b, x| {
        let id = b.graph_mut().add_constant("w", small_weights(&[128, 20]));
        x.reshape(&[1, 128]).matmul(b.expr(id)).reshape(&[2, 10])
    });
    let output = train(folder.path(), "mixed.onnx", &["-o", "mixed-out.onnx", "--threat", "linf:0.1"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("M052") && said(&output).contains("cannot be made free"), "{}", said(&output));
}

/// Labels from 10 on for a model of ten classes.
#[test]
fn labels_beyond_the_classes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    super::resumed::images(&folder.path().join("data"), 60, &|label| label + 4);
    let words = ["train", "digits-standard", "--data", "data", "--engine", "tract", "--threat", "linf:0.1", "-o", "a.onnx"];
    let output = flatscape(folder.path(), &words);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("D061"), "{}", said(&output));
    assert!(!folder.path().join("a.onnx.train/manifest.json").exists());
}

#[test]
fn attacks_that_a_training_cannot_run_are_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let oracle = misbehaving("oracle", folder.path());
    let file = oracle.to_str().expect("a path");
    for (more, code, sentence) in [
        (&["--trainer", "adversarial", "--threat", "rigid:30deg+3px"][..], 2, "a training moves pixels"),
        (
            &["--trainer", "adversarial", "--threat", "linf:0.1", "--attack", "bad-oracle", "--plugin", file],
            2,
            "runs through oracle/1",
        ),
        (&["--trainer", "adversarial", "--threat", "linf:0.1", "--attack", "pgd:target=second"], 2, "target="),
    ] {
        let output = train(folder.path(), "digits-standard", &[more, &["-o", "a.onnx"]].concat());
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", said(&output));
        assert!(said(&output).contains(sentence), "{more:?}: {}", said(&output));
        assert!(!folder.path().join("a.onnx.train/manifest.json").exists(), "{more:?}");
        let _ = std::fs::remove_dir_all(folder.path().join("a.onnx.train"));
    }
    if let Some(data) = shared_data("attacks_that_a_training_cannot_run_are_refused_before_anything_starts") {
        // a trainer that attacks needs a radius, also where it keeps its perturbation itself
        let data = data.join("fashion-mnist").display().to_string();
        let words = ["train", "lenet", "--data", &data, "-n", "64", "--engine", "tract", "-o", "b.onnx"];
        for trainer in ["adversarial", "free"] {
            let output = flatscape(folder.path(), &[&words[..], &["--trainer", trainer]].concat());
            assert_eq!(output.status.code(), Some(2), "{trainer}: {}", said(&output));
            assert!(said(&output).contains("no threat model is stated"), "{trainer}: {}", said(&output));
        }
    }
}

/// What a fresh user types: every trainer with its defaults moves the standard model without ruining it.
#[test]
fn default_weights_of_our_own_regularisers_leave_the_model_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    for trainer in ["attack-ams", "attack-ams:along=direction", "exact-ams", "input-gradient", "fam", "sam"] {
        let out = format!("{}.onnx", trainer.replace([':', '='], "-"));
        let words = ["train", "digits-standard", "--data", "digits", "--engine", "tract", "--epochs", "2", "--trainer", trainer];
        let output = flatscape(folder.path(), &[&words[..], &["-o", &out]].concat());
        assert_eq!(output.status.code(), Some(0), "{trainer}: {}", said(&output));
        let log = std::fs::read_to_string(folder.path().join(format!("{out}.train/log.csv"))).expect("a log");
        let place = log.lines().next().and_then(|l| l.split(',').position(|n| n == "validation_clean_accuracy"));
        let last = log.lines().last().and_then(|l| l.split(',').nth(place?)?.parse::<f64>().ok()).expect("an accuracy");
        assert!(last > 0.9, "{trainer}: {last} of the validation images are right after two epochs: {log}");
    }
}
