//! What scores are, and what follows from it: a likelihood that does not exist is not measured, scores that mislead cross-entropy
//! are doubted, dead branches and underflowing losses do not make a model look robust.

use std::path::Path;

use flatscape_graph::{Attributes, DType, Expr, Graph, Output, Tensor, onnx};

use super::headline::{case, digits};
use super::{EMBEDDED, Run};
use crate::provision::{flatscape, onnx_runtime_library, shared_data};

type Tail = for<'b> fn(Expr<'b>, Expr<'b>) -> Expr<'b>;

/// An audit with the embedded engine, of `net.onnx` unless the arguments name another model.
fn audit(folder: &Path, model: &str, more: &[&str]) -> Run {
    let mut arguments = vec!["audit", model, "--landscapes", "0", "--out", "run"];
    arguments.extend(more);
    let output = flatscape(folder, &arguments);
    let kept = tempfile::tempdir().expect("a folder");
    std::fs::rename(folder.join("run"), kept.path().join("run")).expect("a run directory");
    Run { folder: kept, output }
}

fn flags(run: &Run, metric: &str) -> String {
    let rows = run.table("results.csv");
    rows.iter().find(|row| row["metric"] == metric).unwrap_or_else(|| panic!("no row {metric}: {rows:?}"))["flags"].clone()
}

fn robust(run: &Run) -> f64 {
    let model = run.table("results.csv")[0]["model"].clone();
    run.value(&model, "union", "robust_accuracy")
}

const FEW: &[&str] = &["--data", "digits", "-n", "24", "--threat", "linf:0.1", "--attack", "fgsm"];

/// Log-probabilities and probabilities in forms that are not cut off: likelihood rows are refused, accuracies stay.
#[test]
fn a_likelihood_that_does_not_exist_is_not_measured() {
    let forms: [(&str, Tail, &str); 3] = [
        ("the logarithm of a softmax, twice", |_, z| z.softmax(1).log().softmax(1).log(), "log p(x) is constant"),
        ("the mean of two softmaxes", |_, z| (z.softmax(1) + (z * 0.5).softmax(1)) * z.scalar(0.5), "log p(x) is constant"),
        ("its logarithm", |_, z| ((z.softmax(1) + (z * 0.5).softmax(1)) * z.scalar(0.5)).log(), "log p(x) is constant"),
    ];
    let metrics = ["--metric", "logp", "--metric", "ams", "--metric", "phi:grid=3,directions=1"];
    for (what, tail, why) in forms {
        let folder = tempfile::tempdir().expect("a folder");
        digits(folder.path(), DType::F32, |x| x, tail);
        let run = audit(folder.path(), "net.onnx", &[FEW, &metrics, EMBEDDED].concat()).expect(0);
        assert!(robust(&run) < 1.0, "{what}");
        let rows = run.table("results.csv");
        for component in ["logp", "ams", "phi:grid=3,directions=1"] {
            let found: Vec<_> = rows.iter().filter(|row| row["component"] == component.split(':').next().unwrap_or("")).collect();
            assert!(!found.is_empty() && found.iter().all(|row| row["value"].is_empty()), "{what}: {component}: {found:?}");
            assert!(found.iter().all(|row| row["flags"].contains("M066")), "{what}: {found:?}");
        }
        assert!(run.said().contains(why), "{what}: {}", run.said());
        assert!(run.text("report.html").contains("does not exist for this model"), "{what}");
    }
    // the same network as it is has one
    let folder = tempfile::tempdir().expect("a folder");
    digits(folder.path(), DType::F32, |x| x, |_, z| z.softmax(1).log());
    let run = audit(folder.path(), "net.onnx", &[FEW, &metrics, EMBEDDED].concat()).expect(0);
    assert!(run.value("net", "logp", "logp_mean").is_finite() && run.value("net", "ams", "ams_mean") < 0.0);
}

/// A landscape of what is constant would draw rounding.
#[test]
fn no_landscape_is_drawn_of_a_constant() {
    let folder = tempfile::tempdir().expect("a folder");
    digits(folder.path(), DType::F32, |x| x, |_, z| z.softmax(1).log().softmax(1).log());
    let arguments = ["landscape", "net.onnx", "--data", "digits", "--sample", "0", "--out", "drawn"];
    let output = flatscape(folder.path(), &[&arguments[..], EMBEDDED].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("log p(x) is constant"), "{said}");
}

/// Scores in a small range: cross-entropy pulls towards all classes alike, and at a bound there is no slope. Exit 9 until what finds
/// more is attacked.
#[test]
fn squeezed_scores_are_doubted_until_what_finds_more_is_attacked() {
    let forms: [(&str, Tail); 3] =
        [("softsign", |_, z| (z * 0.2).unary("Softsign")), ("tanh", |_, z| (z * 0.3).unary("Tanh")), ("small", |_, z| z * 0.01)];
    let common = ["--data", "digits", "-n", "400", "--threat", "linf:0.1"];
    for (what, tail) in forms {
        let run = |attack: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            digits(folder.path(), DType::F32, |x| x, tail);
            let attack: Vec<&str> = attack.split(' ').collect();
            audit(folder.path(), "net.onnx", &[&common[..], &["--attack"], &attack, EMBEDDED].concat())
        };
        let blind = run("pgd:steps=10").expect(9);
        assert!(flags(&blind, "robust_accuracy").contains("losses-differ"), "{what}: {}", blind.said());
        assert!(blind.said().contains("pgd:loss=margin"), "{what}");
        // following the advice clears it; where the margin is not enough, that is said
        let better = run("pgd:steps=10,loss=margin");
        assert!(robust(&better) < robust(&blind), "{what}: {} against {}", robust(&better), robust(&blind));
        let doubted = what == "tanh";
        assert_eq!(better.code() == 9, doubted, "{what}: {}", better.said());
        if doubted {
            assert!(better.said().contains("through the scores before they are bounded"), "{}", better.said());
            let best = run("pgd:steps=10 --remedy logits").expect(0);
            assert!(robust(&best) < robust(&better), "{what}: {} against {}", robust(&best), robust(&better));
        }
    }
}

/// The network as it is pulls towards one class: nothing is compared and nothing is doubted.
#[test]
fn ordinary_scores_are_not_doubted() {
    let run = Run::new(
        &[&["audit", "digits-standard", "digits-adversarial", "--landscapes", "0", "--out", "run"][..], FEW, EMBEDDED].concat(),
    );
    let run = run.expect(0);
    assert!(!flags(&run, "robust_accuracy").contains("losses-differ"));
}

/// What was reported: a model on its data, arguments, the exit code, and where the robust accuracy must lie.
#[test]
fn reported_scores_have_their_values() {
    let cases: [(&str, &str, &str, i32, f64, f64); 5] = [
        // bounded scores: doubted, and right by the margin (0.36 with many steps)
        ("c28_softsign_x1.onnx", "c28.npz", "pgd", 9, 0.36, 1.0),
        ("c28_softsign_x1.onnx", "c28.npz", "pgd:loss=margin,steps=100,restarts=5", 0, 0.34, 0.39),
        // a dead branch: 0/0 in the gradient of a norm
        ("c08_lppool_torch.onnx", "c08.npz", "pgd:steps=40", 0, 0.20, 0.24),
        ("c08_lppool.onnx", "c08.npz", "pgd:steps=40", 0, 0.20, 0.24),
        ("c06_logsoftmax_twice.onnx", "c06.npz", "pgd", 0, 0.33, 0.38),
    ];
    for (model, data, attack, code, low, high) in cases {
        let (Some(model), Some(data)) = (case("reported_scores_have_their_values", model), case("", data)) else { return };
        let (shown, data) = (model.display().to_string(), data.display().to_string());
        let folder = tempfile::tempdir().expect("a folder");
        let more = ["--data", &data, "--threat", "linf:0.1", "--attack", attack];
        let run = audit(folder.path(), &shown, &[&more[..], EMBEDDED].concat()).expect(code);
        let found = robust(&run);
        assert!((low..=high).contains(&found), "{shown} under {attack}: {found} is not in {low}..{high}");
        assert_eq!(flags(&run, "robust_accuracy").contains("losses-differ"), code == 9, "{shown}: {}", run.said());
    }
}

/// Two networks of others with scores a thousand times as large: cross-entropy's gradient is 0 on nearly every image.
#[test]
fn cross_entropy_finds_what_the_margin_finds_where_it_underflows() {
    let test = "cross_entropy_finds_what_the_margin_finds_where_it_underflows";
    let Some(data) = shared_data(test) else { return };
    let library = onnx_runtime_library().display().to_string();
    for name in ["mnistfc_256x2", "netkit_mnist_mlp"] {
        let file = data.join("models").join(format!("{name}.onnx"));
        let Ok(bytes) = std::fs::read(&file) else {
            eprintln!("skipped: {test}: there is no {}", file.display());
            continue;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let graph = onnx::read(&bytes).expect("it reads").graph;
        std::fs::write(folder.path().join("net.onnx"), onnx::write(&thousandfold(&graph))).expect("a model");
        let data = data.join("mnist").display().to_string();
        let threats = ["--threat", "linf:0.02,0.05,0.1"];
        let attacks = ["--attack", "pgd", "--attack", "pgd:loss=margin"];
        let common = ["--data", &data, "-n", "300", "--engine", "ort", "--ort-lib", &library];
        let run = audit(folder.path(), "net.onnx", &[&common[..], &threats, &attacks].concat()).expect(0);
        let rows = run.table("results.csv");
        let of = |label: &str, eps: &str| -> f64 {
            let row = rows.iter().find(|r| {
                let labelled = r["args"].split(',').any(|argument| argument == label);
                r["component"] == "pgd" && r["metric"] == "robust_accuracy" && labelled && r["eps"] == eps
            });
            row.unwrap_or_else(|| panic!("{label} at {eps}: {rows:?}"))["value"].parse().expect("a number")
        };
        for eps in ["0.02", "0.05", "0.1"] {
            let (ce, margin) = (of("loss=ce", eps), of("loss=margin", eps));
            assert!(ce <= margin + 0.01, "{name} at {eps}: {ce} by cross-entropy, {margin} by the margin");
        }
    }
}

/// The network with its output multiplied by 1000.
fn thousandfold(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let output = graph.outputs()[0].clone();
    let factor = graph.add_constant("thousand", Tensor::scalar(1000f32));
    let large = graph.node("Mul", &[output.value, factor], Attributes::none());
    graph.set_outputs(vec![Output { value: large, ..output }]);
    graph
}
