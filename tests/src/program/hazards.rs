//! Hazards and their remedies in whole audits: what a masked gradient hides is not reported as robust, and a requested remedy
//! breaks it; suggestions if a model gets wrong input.

use std::path::Path;

use flatscape_engine::CompileOptions;
use flatscape_graph::{Attributes, Builder, DType, Dim, Expr, Graph, Tensor, ValueType, onnx};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;

use super::Run;
use crate::provision::{flatscape, onnx_runtime_library, tract};

/// Pixels of an image.
const PIXELS: usize = 64;

/// Writes a model z = (s(x), 0) of images [N,1,8,8], and data of class 0: every pixel is 0.5.
fn write(folder: &Path, score: impl for<'b> Fn(Expr<'b>) -> Expr<'b>) {
    let builder = Builder::new(Graph::new("toy"));
    let extents = [Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)];
    let x = builder.input("x", ValueType::new(DType::F32, extents.to_vec()));
    let score = score(x.reshape(&[-1, PIXELS as i64]));
    let columns = Tensor::new(&[1, 2], vec![1.0f32, 0.0]).expect("two numbers");
    builder.output("z", score * builder.constant(columns));
    std::fs::write(folder.join("toy.onnx"), onnx::write(&builder.into_graph())).expect("a model");
    let mut data = NpzWriter::new(std::fs::File::create(folder.join("toy.npz")).expect("a file"));
    data.add_array("x", &Array4::<f32>::from_elem((24, 1, 8, 8), 0.5)).expect("images");
    data.add_array("y", &Array1::<i64>::zeros(24)).expect("labels");
    data.finish().expect("a file");
}

/// The mean over the pixels, [N,1].
fn mean(x: Expr<'_>) -> Expr<'_> {
    x.mean(&[1], true)
}

fn audit(folder: tempfile::TempDir, more: &[&str]) -> Run {
    let mut arguments =
        vec!["audit", "toy.onnx", "--data", "toy.npz", "--attack", "pgd:steps=8", "--landscapes", "0", "--out", "run"];
    if !more.contains(&"--engine") {
        arguments.extend(["--engine", "tract"]);
    }
    arguments.extend(more);
    Run { output: flatscape(folder.path(), &arguments), folder }
}

/// The flags of the row of PGD.
fn flags(run: &Run) -> String {
    run.table("results.csv").iter().find(|r| r["component"] == "pgd" && r["metric"] == "robust_accuracy").expect("a row")["flags"]
        .clone()
}

/// x ↦ round(4x)/4 and x ↦ sign(x − 0.45), and then something linear: plain PGD sees no gradient, and a random start moves the mean
/// of 64 pixels by too little.
#[test]
fn what_rounding_hides_is_not_called_robust_and_straight_through_breaks_it() {
    type Score = for<'b> fn(Expr<'b>) -> Expr<'b>;
    let rounded: Score = |x| mean((x * 4.0).unary("Round") / 4.0) - 0.4;
    let signs: Score = |x| mean((x - 0.45).sign());
    for (code, score, eps) in [("rounding", rounded, "linf:0.2"), ("sign", signs, "linf:0.1")] {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), score);
        let blind = audit(folder, &["--threat", eps]).expect(9);
        assert_eq!(blind.value("toy", "union", "robust_accuracy"), 1.0, "{code}");
        assert!(flags(&blind).contains(code) && flags(&blind).contains("no-gradient"), "{}", flags(&blind));
        assert!(blind.said().contains("UNRELIABLE") && blind.said().contains("--remedy straight-through"), "{}", blind.said());
        assert!(blind.text("report.html").contains(code));
        assert!(blind.text("manifest.json").contains(&format!("\"code\": \"{code}\"")));

        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), score);
        let seen = audit(folder, &["--threat", eps, "--remedy", "straight-through"]).expect(0);
        assert_eq!(seen.value("toy", "union", "robust_accuracy"), 0.0, "{code}: {}", seen.said());
        assert!(flags(&seen).contains(code) && flags(&seen).contains("remedied"), "{}", flags(&seen));
        // the file that was written runs, gives the model's own logits, and a gradient that is not zero
        let files = seen.files("remedies", ".onnx");
        let (name, bytes) = files.iter().next().expect("a file");
        assert!(name.ends_with("-straight-through.onnx"), "{name}");
        let graph = onnx::read(bytes).expect("it reads what it wrote").graph;
        assert!(graph.nodes().iter().all(|n| n.domain.is_empty()), "standard operators only");
        let executable = tract().compile(&graph, &CompileOptions::default()).expect("compiled");
        let x = executable.upload(&Tensor::full(DType::F32, &[1, 1, 8, 8], 0.5)).expect("uploaded");
        let y = executable.upload(&Tensor::ints(&[0])).expect("uploaded");
        let outputs: Vec<Vec<f64>> =
            executable.run(&[&x, &y]).expect("run").iter().map(|o| o.host().expect("host").to_f64()).collect();
        assert!(outputs[0][0] > 0.0 && outputs[2].iter().all(|g| *g < 0.0), "{code}: {outputs:?}");
        // a shard alone gives the same bytes, remedy and all
        let shard = seen.files("jobs", ".json").into_keys().find(|name| name.contains("pgd")).expect("a job");
        let alone =
            flatscape(seen.folder.path(), &["shard", &format!("run/jobs/{shard}"), "-o", "alone.npz", "--engine", "tract"]);
        assert_eq!(alone.status.code(), Some(0), "{}", String::from_utf8_lossy(&alone.stderr));
        let stored = seen.read(&format!("shards/{}", shard.replace(".json", ".npz")));
        assert!(std::fs::read(seen.folder.path().join("alone.npz")).expect("a result") == stored, "{code}");
    }
}

/// Logits of a thousand: cross-entropy is 0 on the whole ball, the margin is not.
#[test]
fn attacks_ascend_where_the_loss_underflows() {
    fn score(x: Expr<'_>) -> Expr<'_> {
        (mean(x) - 0.4) * 10_000.0
    }
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), score);
    // the direction of ascent keeps its digits where the gradient of cross-entropy is 0: nothing grave is to be said
    let seen = audit(folder, &["--threat", "linf:0.15"]).expect(0);
    assert!(flags(&seen).contains("logit-scale") && !flags(&seen).contains("loss-underflow"), "{}", flags(&seen));
    assert_eq!(seen.value("toy", "union", "robust_accuracy"), 0.0);
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), score);
    let seen = audit(folder, &["--threat", "linf:0.15", "--remedy", "margin"]).expect(0);
    assert_eq!(seen.value("toy", "union", "robust_accuracy"), 0.0);
}

/// A model that counts its images and answers otherwise above eight: read off the graph, and found by running at other sizes.
#[test]
fn a_model_that_counts_its_images_is_doubted() {
    fn counting(x: Expr<'_>) -> Expr<'_> {
        let images = x.unary("Shape").slice(&[0], &[1], &[0], &[1]).cast(DType::F32);
        mean(x) - 0.4 + images.greater(8.0).cast(DType::F32)
    }
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), counting);
    let run = audit(folder, &["--threat", "linf:0.15"]).expect(9);
    assert!(flags(&run).contains("batch-size") && flags(&run).contains("batch-dependent"), "{}", flags(&run));
    // what decides is the answer for one image, which every attack reaches
    assert_eq!(run.value("toy", "union", "robust_accuracy"), 0.0);
}

/// Statistics of the batch: said before any attack and found by running; in evaluation mode it is another model, and that is said.
#[test]
fn training_mode_is_said_and_evaluation_mode_is_another_model() {
    fn trained(x: Expr<'_>) -> Expr<'_> {
        let b = x.builder();
        let row = |value: f64| b.constant(Tensor::full(DType::F32, &[PIXELS], value));
        let inputs = [x, row(1.0), row(0.0), row(0.4), row(0.01)];
        let normalised = b.ops("BatchNormalization", &inputs, 3, Attributes::none().with("training_mode", 1))[0];
        mean(normalised)
    }
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), trained);
    onnx_runtime_library();
    let inspected = flatscape(folder.path(), &["inspect", "toy.onnx", "--json"]);
    let facts: serde_json::Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(facts["hazards"][0]["code"], "batch-norm-in-training", "{facts}");
    assert!(facts["hazards"][0]["remedies"].as_array().expect("a list").contains(&"eval-mode".into()));
    let words = flatscape(folder.path(), &["inspect", "toy.onnx"]);
    assert!(String::from_utf8_lossy(&words.stdout).contains("--remedy eval-mode"));

    let run = audit(folder, &["--threat", "linf:0.05", "--engine", "ort"]).expect(9);
    assert!(flags(&run).contains("batch-norm-in-training"), "{}", flags(&run));
    let folder = run.folder;
    std::fs::remove_dir_all(folder.path().join("run")).expect("the run");
    let run = audit(folder, &["--threat", "linf:0.05", "--remedy", "eval-mode"]).expect(0);
    assert!(run.said().contains("THE MODEL WAS CHANGED"), "{}", run.said());
    assert!(!flags(&run).contains("batch-norm-in-training") && flags(&run).contains("remedied"), "{}", flags(&run));
    assert_eq!(run.files("remedies", "-eval-mode.onnx").len(), 1);
    assert_eq!(run.value("toy", "clean", "clean_accuracy"), 1.0);
}

/// Noise inside: points are judged over keyed draws, and attacks are doubted until they see a mean of draws, too.
#[test]
fn noise_inside_is_found_by_running() {
    fn noisy(x: Expr<'_>) -> Expr<'_> {
        let noise = x.builder().op("RandomNormalLike", &[x], Attributes::none());
        mean(x + noise * 0.1) - 0.4
    }
    onnx_runtime_library();
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), noisy);
    let run = audit(folder, &["--threat", "linf:0.05", "--engine", "ort"]).expect(9);
    assert!(flags(&run).contains("random-operator"), "{}", flags(&run));
    let folder = run.folder;
    std::fs::remove_dir_all(folder.path().join("run")).expect("the run");
    let run = audit(folder, &["--threat", "linf:0.05", "--engine", "ort", "--remedy", "average"]).expect(0);
    for code in ["random-operator", "remedied"] {
        assert!(flags(&run).contains(code), "{code} is not among {}", flags(&run));
    }
    assert!(!flags(&run).contains("batch-dependent") && !flags(&run).contains("not-repeatable"), "{}", flags(&run));
    assert_eq!(run.files("remedies", "-average.onnx").len(), 1);
}

/// A sum over the images so far: the answer depends on the place in the batch.
#[test]
fn the_order_of_images_must_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), |x| {
        let b = x.builder();
        let so_far = b.op("CumSum", &[mean(x), b.constant(Tensor::scalar(0i64))], Attributes::none());
        so_far - 0.4
    });
    let run = audit(folder, &["--threat", "linf:0.05"]);
    assert_eq!(run.code(), 9, "{}", run.said());
    for code in ["order-dependent", "batch-mixing", "batch-dependent"] {
        assert!(flags(&run).contains(code), "{code} is not among {}", flags(&run));
    }
}

#[test]
fn a_misspelt_remedy_is_refused() {
    let run = Run::new(&["audit", "digits-standard", "--data", "digits", "--remedy", "straight-thru"]).expect(2);
    assert!(run.said().contains("did you mean straight-through?"), "{}", run.said());
}

/// Fed the wrong thing, the tool finds the mistake, says the flag that undoes it, and applies nothing.
#[test]
fn a_wrong_preprocessing_is_found_out_and_not_put_right() {
    for (wrong, right) in
        [(&["--scale", "0.001"][..], "with --scale 1 "), (&["--mean", "4", "--std", "3"], "with --mean 0 --std 1 ")]
    {
        let mut arguments =
            vec!["audit", "digits-standard", "--data", "digits", "-n", "200", "--attack", "fgsm", "--threat", "linf:0.1"];
        arguments.extend(["--landscapes", "0", "--engine", "tract", "--out", "run"]);
        arguments.extend(wrong);
        let run = Run::new(&arguments).expect(9);
        let said = run.said();
        assert!(said.contains(right) && said.contains("nothing was changed"), "{wrong:?}: {said}");
        assert!(run.text("report.html").contains(right.trim()), "{wrong:?}");
        let clean = run.table("results.csv").into_iter().find(|r| r["metric"] == "clean_accuracy").expect("a row");
        assert!(
            clean["flags"].contains("other-preprocessing") && clean["value"].parse::<f64>().expect("a rate") < 0.5,
            "{clean:?}"
        );
    }
}

/// Only the gradient: without a remedy there is none, and that is said; with it the file differentiates something smooth.
#[test]
fn gradient_files_take_remedies_too() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), |x| mean((x * 4.0).unary("Floor") / 4.0));
    let refused = flatscape(folder.path(), &["grad", "toy.onnx", "-o", "grad.onnx"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(3) && said.contains("--remedy straight-through"), "{said}");
    let done = flatscape(folder.path(), &["grad", "toy.onnx", "-o", "grad.onnx", "--remedy", "all"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(0) && said.contains("as a smooth function") && said.contains("says --of"), "{said}");
    let graph = onnx::read(&std::fs::read(folder.path().join("grad.onnx")).expect("a file")).expect("a graph").graph;
    assert!(graph.nodes().iter().all(|n| n.domain.is_empty()), "standard operators only");
    let executable = tract().compile(&graph, &CompileOptions::default()).expect("compiled");
    let x = executable.upload(&Tensor::full(DType::F32, &[1, 1, 8, 8], 0.5)).expect("uploaded");
    let y = executable.upload(&Tensor::ints(&[0])).expect("uploaded");
    let gradient = executable.run(&[&x, &y]).expect("run").pop().expect("outputs").host().expect("on the host").to_f64();
    assert!(gradient.len() == PIXELS && gradient.iter().all(|g| *g < 0.0), "{gradient:?}");
}
