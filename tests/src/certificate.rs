//! Gradient certificates as the program gives them: what honest models get, what masked ones get, and what a gradient graph from
//! elsewhere is worth. The models are those that come with the program, changed by a few nodes.

use std::path::{Path, PathBuf};

use flatscape_graph::{Builder, Expr, Graph, onnx};
use serde_json::Value;

use crate::program::{Row, Run, table};
use crate::provision::{flatscape, onnx_runtime_library, root};

/// The digits model with something done to its pixels and to its logits.
fn changed(
    folder: &Path,
    name: &str,
    before: for<'b> fn(Expr<'b>) -> Expr<'b>,
    after: for<'b> fn(Expr<'b>) -> Expr<'b>,
) -> String {
    let bytes = std::fs::read(root().join("models/digits-standard/model.onnx")).expect("a model");
    let model = onnx::read(&bytes).expect("an ONNX file");
    assert_eq!(model.opset, flatscape_graph::OPSET, "its nodes mean what nodes of the house mean");
    let inner = model.graph;
    let input = inner.inputs()[0];
    let b = Builder::new(Graph::new(name));
    let x = b.input(&inner.value(input).name, inner.value(input).ty.clone());
    let fed = before(x);
    let outputs = b.inline(&inner, &|_, _| Some(fed.id)).expect("it fits");
    let logits = after(b.expr(outputs[0].1));
    b.output("logits", logits);
    let path = folder.join(name).with_extension("onnx");
    std::fs::write(&path, onnx::write(&b.into_graph())).expect("written");
    path.to_string_lossy().into_owned()
}

fn same(x: Expr<'_>) -> Expr<'_> {
    x
}

/// A quick audit of one model in a folder, into `run` there.
fn audit(folder: &Path, model: &str, more: &[&str]) -> (i32, String) {
    let quick = ["audit", model, "--data", "digits", "-n", "40", "--attack", "fgsm", "--threat", "linf:0.1"];
    let rest = ["--landscapes", "0", "--engine", "tract", "--threads", "1", "--out", "run"];
    let _ = std::fs::remove_dir_all(folder.join("run"));
    let output = flatscape(folder, &[&quick[..], &rest, more].concat());
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// The only certificate of a run.
fn certificate(folder: &Path) -> Value {
    let files: Vec<_> = std::fs::read_dir(folder.join("run/certificates")).expect("certificates").collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let file = files[0].as_ref().expect("an entry").path();
    serde_json::from_slice(&std::fs::read(file).expect("a certificate")).expect("JSON")
}

fn rows(folder: &Path) -> Vec<Row> {
    table(&std::fs::read_to_string(folder.join("run/results.csv")).expect("results"))
}

/// The rows of the only certificate: check, points, outcome.
fn checks(folder: &Path) -> Vec<(String, String, String, String)> {
    let certificate = certificate(folder);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_else(|| panic!("{key} of {row}")).to_owned();
    let rows = certificate["rows"].as_array().expect("rows").clone();
    rows.iter().map(|r| (text(r, "check"), text(r, "points"), text(r, "outcome"), text(r, "measured"))).collect()
}

#[test]
fn every_model_that_comes_with_the_program_has_a_certificate_that_holds() {
    onnx_runtime_library();
    let models = ["digits-standard", "digits-adversarial", "digits-jacobian", "digits-amsreg"];
    for engine in ["tract", "ort"] {
        let mut arguments = vec!["audit"];
        arguments.extend(models);
        arguments.extend(["--data", "digits", "-n", "40", "--attack", "fgsm", "--threat", "linf:0.1", "--landscapes", "0"]);
        arguments.extend(["--engine", engine, "--threads", "1", "--out", "run"]);
        let run = Run::new(&arguments).expect(0);
        let certificates = run.files("certificates", ".json");
        assert_eq!(certificates.len(), models.len(), "{:?}", certificates.keys());
        for (bytes, model) in certificates.values().zip(&models) {
            let certificate: Value = serde_json::from_slice(bytes).expect("JSON");
            assert_eq!(certificate["model"], *model);
            let rows = certificate["rows"].as_array().expect("rows");
            for points in ["clean", "iterate"] {
                for check in [
                    "slope",
                    "margin-slope",
                    "slope-near",
                    "slope-far",
                    "dot-product",
                    "dot-product-twice",
                    "second-engine",
                    "float64",
                    "zero-gradients",
                    "finite-gradients",
                ] {
                    let row = rows.iter().find(|r| r["check"] == check && r["points"] == points);
                    let row = row.unwrap_or_else(|| panic!("{model} has no {check} at {points}: {rows:#?}"));
                    assert_eq!(row["outcome"], "pass", "{model} on {engine}: {row:#}");
                    assert!(
                        row["samples"].as_u64().is_some_and(|n| n >= 16)
                            && row["threshold"].as_str().is_some_and(|t| !t.is_empty())
                    );
                }
            }
            assert_eq!(run.value(model, "certificate", "gradient_certificate"), 1.0);
        }
        let page = run.text("report.html");
        assert!(page.contains("Gradient certificates") && page.contains("dot-product-twice") && !page.contains("Failed."));
    }
}

/// A certificate that fails is the first line, a flag, a row and the exit code; each for the reason that is built in.
#[test]
fn models_that_hide_their_gradient_are_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: [(&str, String, &str); 2] = [
        ("rounded", changed(folder.path(), "rounded", |x| (x * 8.0).unary("Round") / 8.0, same), "zero-gradients"),
        ("shattered", changed(folder.path(), "shattered", |x| x + (x * 3000.0).unary("Sin") * 0.01, same), "slope-near"),
    ];
    for (name, model, reason) in cases {
        let (code, said) = audit(folder.path(), &model, &["--metric", "ams"]);
        assert_eq!(code, 9, "{name}: {said}");
        let first = said.lines().next().unwrap_or_default();
        assert!(first.starts_with(&format!("UNRELIABLE: The gradient certificate of {name} failed")), "{name}: {first}");
        let failed: Vec<_> = checks(folder.path()).into_iter().filter(|c| c.2 == "fail").collect();
        assert!(failed.iter().any(|c| c.0 == reason), "{name}: {failed:#?}");
        let row = rows(folder.path()).into_iter().find(|r| r["metric"] == "gradient_certificate").expect("a row");
        assert_eq!((row["value"].as_str(), row["flags"].as_str()), ("0", "gradient-certificate"), "{name}");
        let page = std::fs::read_to_string(folder.path().join("run/report.html")).expect("a page");
        assert!(page.contains("Failed.") && page.contains("gradient-certificate"), "{name}");
    }
}

/// `flatscape grad` of one model, as somebody else's gradient of another.
fn gradient_of(folder: &Path, model: &str, name: &str) -> PathBuf {
    let output = flatscape(folder, &["grad", model, "-o", name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join(name)
}

#[test]
fn a_gradient_that_came_with_the_model_is_checked_and_can_be_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    gradient_of(folder.path(), "digits-standard", "own.onnx");
    let robust = |rows: &[Row]| {
        let row = rows.iter().find(|r| r["component"] == "fgsm" && r["metric"] == "robust_accuracy").expect("a row");
        row["value"].clone()
    };
    let mut found = Vec::new();
    for whose in ["ours", "theirs"] {
        let (code, said) = audit(folder.path(), "digits-standard", &["--gradients", "own.onnx", "--use-gradients", whose]);
        assert_eq!(code, 0, "{said}");
        let compared: Vec<_> = checks(folder.path()).into_iter().filter(|c| c.0 == "given-gradients").collect();
        assert_eq!(compared.len(), 2, "clean and under attack");
        assert!(compared.iter().all(|c| c.2 == "pass" && c.3.contains("worst is sample")), "{compared:#?}");
        found.push(robust(&rows(folder.path())));
    }
    assert_eq!(found[0], found[1], "the same gradient gives the same attack");
}

/// `tests/golden/given`: a classifier and its gradient as PyTorch traced, differentiated and exported them.
#[test]
fn a_gradient_from_pytorch_agrees_with_ours_and_can_be_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let given = |name: &str| root().join("tests/golden/given").join(name).to_string_lossy().into_owned();
    for whose in ["ours", "theirs"] {
        let arguments = ["--gradients", &given("gradient.onnx"), "--use-gradients", whose];
        let (code, said) = audit(folder.path(), &given("model.onnx"), &arguments);
        assert_eq!(code, 0, "{whose}: {said}");
        let rows = checks(folder.path());
        let of = |check: &str| rows.iter().filter(|r| r.0 == check).map(|r| r.2.as_str()).collect::<Vec<_>>();
        assert_eq!((of("given-gradients"), of("slope")), (vec!["pass"; 2], vec!["pass"; 2]), "{whose}: {rows:#?}");
    }
}

#[test]
fn a_wrong_gradient_is_a_doubt_and_following_it_is_unreliable() {
    let folder = tempfile::tempdir().expect("a folder");
    gradient_of(folder.path(), "digits-amsreg", "other.onnx");
    let (code, said) = audit(folder.path(), "digits-standard", &["--gradients", "other.onnx"]);
    assert_eq!(code, 0, "what is followed is right: {said}");
    assert!(said.contains("doubt[gradients-disagree]") && said.contains("worst is sample"), "{said}");
    let (code, said) = audit(folder.path(), "digits-standard", &["--gradients", "other.onnx", "--use-gradients", "theirs"]);
    assert_eq!(code, 9, "{said}");
    let failed: Vec<String> = checks(folder.path()).into_iter().filter(|c| c.2 == "fail").map(|c| c.0).collect();
    assert!(failed.contains(&"slope".to_owned()) && failed.contains(&"given-gradients".to_owned()), "{failed:?}");
    assert!(!failed.contains(&"margin-slope".to_owned()), "the products are still ours: {failed:?}");
}

/// The gradient of the net behind a staircase, as its straight-through gradient.
#[test]
fn a_straight_through_gradient_from_elsewhere_is_called_one_that_is_no_slope() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = changed(folder.path(), "rounded", |x| (x * 8.0).unary("Round") / 8.0, same);
    gradient_of(folder.path(), "digits-standard", "through.onnx");
    let (code, said) = audit(folder.path(), &model, &["--gradients", "through.onnx", "--use-gradients", "theirs"]);
    assert_eq!(code, 9, "{said}");
    let failed: Vec<String> = checks(folder.path()).into_iter().filter(|c| c.2 == "fail").map(|c| c.0).collect();
    assert!(failed.contains(&"slope".to_owned()) && !failed.contains(&"zero-gradients".to_owned()), "{failed:?}");
    let row =
        rows(folder.path()).into_iter().find(|r| r["component"] == "fgsm" && r["metric"] == "robust_accuracy").expect("a row");
    assert!(row["value"].parse::<f64>().expect("a rate") < 0.9, "and yet it breaks what our zero gradient cannot: {row:?}");
}

#[test]
fn gradient_graphs_that_break_the_contract_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    gradient_of(folder.path(), "digits-standard", "own.onnx");
    let model = root().join("models/digits-standard/model.onnx").to_string_lossy().into_owned();
    for (arguments, code, words) in [
        (vec!["--gradients", "own.onnx", "--gradients-output", "loss"], 3, "the gradient is float[N]"),
        (vec!["--gradients", "own.onnx", "--gradients-output", "gradient"], 3, "it has no output \"gradient\""),
        (vec!["--gradients", &model], 3, "it has no output"),
        (vec!["--gradients", "nowhere.onnx"], 3, "nowhere.onnx"),
        (vec!["--use-gradients", "theirs"], 2, "there are none"),
    ] {
        let (found, said) = audit(folder.path(), "digits-standard", &arguments);
        assert!(found == code && said.contains(words), "{arguments:?} ended with {found}: {said}");
    }
}

/// A run that was interrupted, or is repeated, keeps its certificates.
#[test]
fn certificates_are_kept_for_a_run_that_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(audit(folder.path(), "digits-standard", &[]).0, 0);
    let first = certificate(folder.path());
    let arguments = ["audit", "digits-standard", "--data", "digits", "-n", "40", "--attack", "fgsm", "--threat", "linf:0.1"];
    let rest = ["--landscapes", "0", "--engine", "tract", "--threads", "1", "--out", "run", "--resume"];
    let output = flatscape(folder.path(), &[&arguments[..], &rest].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(certificate(folder.path()), first);
}
