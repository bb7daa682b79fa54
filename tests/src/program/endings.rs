//! How a run ends and what it then says: conditions, doubts, refused models, directories in use, and the commands around audits.

use std::path::Path;

use flatscape_graph::{Builder, DType, Dim, Expr, Graph, ValueType, onnx};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;

use super::Run;
use crate::provision::{flatscape, onnx_runtime_library};

/// A quick audit of one model into `run`.
fn quick<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "audit",
        model,
        "--data",
        "digits",
        "-n",
        "40",
        "--attack",
        "fgsm",
        "--landscapes",
        "0",
        "--engine",
        "tract",
        "--out",
        "run",
    ];
    if !more.contains(&"--threat") {
        arguments.extend(["--threat", "linf:0.1"]);
    }
    arguments.extend(more);
    arguments
}

#[test]
fn conditions_decide_the_exit_code() {
    Run::new(&quick("digits-standard", &["--require", "clean_accuracy>=0.5", "--require", "robust_accuracy<=0.99"])).expect(0);
    let unmet = Run::new(&quick("digits-standard", &["--require", "robust_accuracy>=0.99"])).expect(1);
    assert!(unmet.said().contains("robust_accuracy>=0.99 does not hold"), "{}", unmet.said());
    // the interval's end decides where it is asked for, and a sample that is too small is said
    let robust = unmet.value("digits-standard", "fgsm", "robust_accuracy");
    let (value, low) = (format!("robust_accuracy>={robust}"), format!("robust_accuracy.ci_low>={robust}"));
    let wide = Run::new(&quick("digits-standard", &["--require", &value, "--require", &low])).expect(1);
    assert!(wide.said().contains(&format!("{low} does not hold")), "{}", wide.said());
    assert!(!wide.said().contains(&format!("{value} does not hold")), "{}", wide.said());
    let above = format!("robust_accuracy>={}", robust + 0.01);
    let small = wide.again(&quick("digits-standard", &["--require", &above, "--resume"])).expect(1);
    assert!(small.said().contains("the sample is too small to decide"), "{}", small.said());
}

/// What a vendor claims is compared with what is found, clean and under attack.
#[test]
fn claims_that_do_not_fit_the_findings_raise_a_doubt() {
    let run =
        Run::new(&quick("digits-standard", &["--claims", "clean_accuracy=0.95", "--claims", "robust_accuracy=0.99"])).expect(0);
    assert!(!run.said().contains("claimed-clean-accuracy") && !run.said().contains("weaker-than-claimed"), "{}", run.said());
    assert!(run.said().contains("claim-refuted"), "{}", run.said());
    let clean = Run::new(&quick("digits-standard", &["--claims", "clean_accuracy=0.5"])).expect(9);
    assert!(clean.said().contains("claimed-clean-accuracy") && clean.said().contains("claimed 0.5"), "{}", clean.said());
    let other = clean.again(&quick("digits-standard", &["--claims", "clean_accuracy=0.6", "--resume"])).expect(8);
    assert!(other.said().contains("claims"), "{}", other.said());
    let weaker = Run::new(&quick("digits-adversarial", &["--claims", "robust_accuracy=0.1"])).expect(9);
    assert!(weaker.said().contains("weaker-than-claimed"), "{}", weaker.said());
    for (claim, words) in
        [("accuracy=0.9", "clean_accuracy or robust_accuracy"), ("clean_accuracy=88.4", "0.884"), ("0.9", "METRIC=VALUE")]
    {
        let refused = Run::new(&quick("digits-standard", &["--claims", claim])).expect(2);
        assert!(refused.said().contains(words), "{claim}: {}", refused.said());
    }
}

/// A name that no row will have is refused before anything is computed.
#[test]
fn conditions_on_what_will_not_be_measured_are_refused_at_the_start() {
    for (requirement, words) in [
        ("robust_acc>=0.4", "did you mean robust_accuracy?"),
        ("robust_acuracy>=0.4", "did you mean robust_accuracy?"),
        ("phi_mean>=-1", "no row of this audit will be called \"phi_mean\""),
        ("robust_accuracy.ci_lo>=0.4", "robust_accuracy.ci_low"),
        ("robust_accuracy.value>=0.4", "robust_accuracy.ci_low"),
        ("robust_acc.ci_low>=0.4", "did you mean robust_accuracy?"),
        ("robust_accuracy", "METRIC>=VALUE"),
        ("robust_accuracy>=", "robust_accuracy>="),
    ] {
        let run = Run::new(&quick("digits-standard", &["--require", requirement])).expect(2);
        assert!(run.said().contains(words), "{requirement}: {}", run.said());
        assert!(!run.path("").exists(), "{requirement}: something was begun");
    }
}

#[test]
fn a_model_that_guesses_is_not_believed() {
    let run = Run::new(&quick("digits-standard", &["--scale", "0.001", "--require", "robust_accuracy>=0.99"])).expect(9);
    assert!(run.said().contains("UNRELIABLE") && run.said().contains("chance-accuracy"), "{}", run.said());
    let rows = run.table("results.csv");
    let clean = rows.iter().find(|r| r["metric"] == "clean_accuracy").expect("a row");
    assert!(clean["value"].parse::<f64>().expect("a rate") <= 0.15 && clean["flags"].contains("chance-accuracy"), "{clean:?}");
    assert!(run.text("report.html").contains("chance-accuracy"));
}

#[test]
fn a_refused_model_is_a_row_and_the_others_are_audited() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("broken.onnx"), b"<!doctype html><title>404</title>").expect("a file");
    let mut arguments = quick("broken.onnx", &[]);
    arguments.insert(2, "digits-amsreg");
    let output = flatscape(folder.path(), &arguments);
    let run = Run { folder, output }.expect(0);
    let rows = run.table("results.csv");
    let refused: Vec<_> = rows.iter().filter(|r| r["model"] == "broken").collect();
    assert_eq!(refused.len(), 1);
    assert!(refused[0]["value"].is_empty() && refused[0]["flags"].starts_with('M'), "{refused:?}");
    assert!(run.value("digits-amsreg", "fgsm", "robust_accuracy") > 0.0);
    assert!(run.text("report.html").contains("broken"));
    // alone it is the end
    let alone = flatscape(run.folder.path(), &quick("broken.onnx", &["--seed", "1"]));
    assert_eq!(alone.status.code(), Some(3), "{}", String::from_utf8_lossy(&alone.stderr));
}

#[test]
fn a_directory_holds_one_run() {
    let run = Run::new(&quick("digits-standard", &[])).expect(0);
    let before = (run.read("manifest.json"), run.read("samples.csv"));
    let again = flatscape(run.folder.path(), &quick("digits-standard", &[]));
    assert_eq!(again.status.code(), Some(8));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("holds a run already") && said.contains("--resume"), "{said}");
    // to resume with other options is another run
    let other = flatscape(run.folder.path(), &quick("digits-standard", &["--seed", "3", "--resume"]));
    assert_eq!(other.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&other.stderr).contains("seed"));
    assert_eq!((run.read("manifest.json"), run.read("samples.csv")), before);
    // something else in the directory is not touched
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("run")).expect("a folder");
    std::fs::write(folder.path().join("run/thesis.tex"), "everything").expect("a file");
    assert_eq!(flatscape(folder.path(), &quick("digits-standard", &[])).status.code(), Some(8));
    assert_eq!(std::fs::read_dir(folder.path().join("run")).expect("a folder").count(), 1);
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("run")).expect("a folder");
    let lock = std::fs::File::create(folder.path().join("run/lock")).expect("a file");
    lock.lock().expect("a lock");
    let output = flatscape(folder.path(), &quick("digits-standard", &[]));
    assert_eq!(output.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is in use"));
    drop(lock);
    assert_eq!(flatscape(folder.path(), &quick("digits-standard", &[])).status.code(), Some(0));
}

#[test]
fn a_ball_of_radius_zero_leaves_the_clean_accuracy() {
    let run =
        Run::new(&quick("digits-standard", &["--threat", "linf:0", "--threat", "l2:0", "--attack", "pgd:steps=3"])).expect(0);
    let clean = run.value("digits-standard", "clean", "clean_accuracy");
    let robust: Vec<_> = run.table("results.csv").into_iter().filter(|r| r["metric"] == "robust_accuracy").collect();
    assert_eq!(robust.len(), 6);
    for row in robust {
        assert_eq!(row["value"].parse::<f64>().expect("a rate"), clean, "{row:?}");
    }
}

/// Writes a model of images [N,1,1,2] and data of one class: pixels (0.5, 0.5).
fn toy(folder: &Path, logits: impl for<'b> Fn(Expr<'b>) -> Expr<'b>) {
    let builder = Builder::new(Graph::new("toy"));
    let extents = vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(2)];
    let x = builder.input("x", ValueType::new(DType::F32, extents));
    let z = logits(x.reshape(&[-1, 2]));
    builder.output("z", z);
    std::fs::write(folder.join("toy.onnx"), onnx::write(&builder.into_graph())).expect("a model");
    let mut data = NpzWriter::new(std::fs::File::create(folder.join("toy.npz")).expect("a file"));
    data.add_array("x", &Array4::<f32>::from_elem((30, 1, 1, 2), 0.5)).expect("images");
    data.add_array("y", &Array1::<i64>::zeros(30)).expect("labels");
    data.finish().expect("a file");
}

const TOY: &[&str] = &[
    "audit",
    "toy.onnx",
    "--data",
    "toy.npz",
    "--attack",
    "fgsm",
    "--attack",
    "pgd:steps=4",
    "--landscapes",
    "0",
    "--engine",
    "tract",
    "--out",
    "run",
];

/// z₀ = √(x₀ − 0.47) + 1: NaN left of 0.47. That is neither an adversarial example nor robustness.
#[test]
fn points_without_a_number_lower_the_headline() {
    let folder = tempfile::tempdir().expect("a folder");
    toy(folder.path(), |x| {
        let first = (x.slice(&[0], &[1], &[1], &[1]) - 0.47).sqrt() + 1.0;
        let zero = x.slice(&[1], &[2], &[1], &[1]) * 0.0;
        x.builder().concat(&[first, zero], 1)
    });
    let mut arguments = TOY.to_vec();
    arguments.extend(["--threat", "linf:0.1"]);
    let run = Run { output: flatscape(folder.path(), &arguments), folder }.expect(9);
    assert_eq!(run.value("toy", "clean", "clean_accuracy"), 1.0);
    for attack in ["fgsm", "pgd"] {
        assert_eq!(run.value("toy", attack, "robust_accuracy"), 0.0, "{attack}");
        assert_eq!(run.value("toy", attack, "nan_in_ball"), 1.0, "{attack}");
    }
    assert!(run.said().contains("nan-in-ball"), "{}", run.said());
    // nearer by, the model is defined everywhere
    let folder = run.folder;
    std::fs::remove_dir_all(folder.path().join("run")).expect("the run");
    let mut arguments = TOY.to_vec();
    arguments.extend(["--threat", "linf:0.01"]);
    let run = Run { output: flatscape(folder.path(), &arguments), folder }.expect(0);
    assert_eq!(run.value("toy", "union", "robust_accuracy"), 1.0);
}

/// A gradient with NaN is a doubt about the model, on every engine, and no fault of the attack that follows it.
#[test]
fn a_gradient_that_is_nan_is_not_blamed_on_the_attack() {
    let library = onnx_runtime_library();
    let library = library.to_str().expect("a path");
    for engine in [&["--engine", "tract"][..], &["--engine", "ort", "--ort-lib", library]] {
        let folder = tempfile::tempdir().expect("a folder");
        toy(folder.path(), |x| {
            // 0/0 is replaced, and the reverse of the quotient multiplies 0 with 1/0
            let none = x.slice(&[0], &[1], &[1], &[1]) * 0.0;
            let quotient = none / none;
            let first = quotient.unary("IsNaN").select(none + 1.0, quotient);
            x.builder().concat(&[first, x.slice(&[1], &[2], &[1], &[1]) * 0.5], 1)
        });
        let plan = TOY.iter().filter(|argument| !["--engine", "tract"].contains(argument));
        let mut arguments: Vec<&str> = plan.copied().collect();
        arguments.extend(["--threat", "linf:0.1"]);
        arguments.extend(engine);
        let run = Run { output: flatscape(folder.path(), &arguments), folder }.expect(9);
        assert!(run.said().contains("gradient-certificate"), "{}", run.said());
        assert!(!run.said().contains("P135") && !run.said().contains("rejected-proposals"), "{}", run.said());
    }
}

/// A gradient that vanishes makes attacks blind; the number is not believed.
#[test]
fn attacks_that_see_no_gradient_raise_a_doubt() {
    let folder = tempfile::tempdir().expect("a folder");
    toy(folder.path(), |x| {
        let first = (x.slice(&[0], &[1], &[1], &[1]) * 2.0).unary("Floor");
        let half = x.slice(&[1], &[2], &[1], &[1]) * 0.0 + 0.5;
        x.builder().concat(&[first, half], 1)
    });
    let mut arguments = TOY.to_vec();
    arguments.extend(["--threat", "linf:0.1"]);
    let run = Run { output: flatscape(folder.path(), &arguments), folder }.expect(9);
    assert!(run.said().contains("zero-gradients"), "{}", run.said());
}

#[test]
fn the_commands_around_audits_answer() {
    onnx_runtime_library();
    let inspected = Run::new(&["inspect", "digits-standard", "--json"]).expect(0);
    let facts: serde_json::Value = serde_json::from_slice(&inspected.output.stdout).expect("JSON");
    assert_eq!((&facts["classes"], facts["sha256"].as_str().map(str::len)), (&serde_json::json!(10), Some(64)));
    let listed = Run::new(&["plugins", "list"]).expect(0);
    for component in ["fgsm", "pgd", "logp", "ams", "phi", "likelihood-landscape"] {
        assert!(listed.said().contains(component), "{}", listed.said());
    }
    let status = Run::new(&["runtime", "status"]).expect(0);
    assert!(status.said().contains("is used"), "{}", status.said());
    let doctor = Run::new(&["doctor"]).expect(0);
    assert!(doctor.said().contains("all is well") && doctor.said().contains("tract works"), "{}", doctor.said());
    let unknown = Run::new(&["audit", "digits-standard", "--data", "digits", "--attack", "pdg"]).expect(2);
    assert!(unknown.said().contains("pgd"), "{}", unknown.said());
}
