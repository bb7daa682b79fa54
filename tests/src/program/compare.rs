//! Finished runs side by side: what pairs them, what flipped, what a gate says, and what is not a run.

use std::path::Path;
use std::process::Output;

use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;

use super::{Row, table};
use crate::provision::flatscape;

/// A small audit on the digits with the embedded engine, into `out`.
fn audit(folder: &Path, out: &str, more: &[&str]) {
    let mut arguments = vec!["audit", "--data", "digits", "--engine", "tract", "--landscapes", "0", "--out", out];
    arguments.extend(more);
    let output = flatscape(folder, &arguments);
    assert!(matches!(output.status.code(), Some(0 | 9)), "{out}: {}", said(&output));
}

/// Two runs of the same samples: the second attacks harder.
fn two() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let common = ["digits-standard", "digits-amsreg", "-n", "60", "--threat", "linf:0.1", "--attack", "fgsm", "--metric", "ams"];
    audit(folder.path(), "weak", &common);
    audit(folder.path(), "strong", &[&common[..], &["--seed", "3", "--attack", "pgd:steps=5"]].concat());
    folder
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn compared(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = flatscape(folder, &[&["compare"], arguments].concat());
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    said(&output)
}

fn rows(folder: &Path) -> Vec<Row> {
    table(&std::fs::read_to_string(folder.join("flatscape-compare/compare.csv")).expect("compare.csv"))
}

fn refused(folder: &Path, arguments: &[&str], code: i32, id: &str) {
    let words = compared(folder, arguments, code);
    assert!(words.contains(id), "{id}: {words}");
    // nothing is printed before a refusal
    assert!(words.starts_with("error["), "{words}");
}

#[test]
fn runs_over_the_same_samples_are_paired() {
    let folder = two();
    let words = compared(folder.path(), &["weak", "strong"], 0);
    // what differs comes first
    let [differs, values] = ["seed", "clean accuracy"].map(|part| words.find(part).unwrap_or_else(|| panic!("{part}: {words}")));
    assert!(differs < values, "{words}");
    let rows = rows(folder.path());
    let of = |kind: &str, metric: &str| rows.iter().filter(|r| r["kind"] == kind && r["metric"] == metric).collect::<Vec<_>>();
    // four models in runs: six pairs
    let clean = of("difference", "clean_accuracy");
    assert_eq!(clean.len(), 6);
    assert!(clean.iter().all(|r| r["pairing"] == "paired" && r["interval"] == "Tango's paired score"), "{clean:?}");
    let same = clean.iter().filter(|r| r["model"] == r["reference_model"]).collect::<Vec<_>>();
    assert_eq!(same.len(), 2);
    for row in same {
        assert_eq!([&row["difference"], &row["mcnemar_p"], &row["gained"], &row["lost"]], ["0", "1", "", ""], "{row:?}");
    }
    // a difference is what its flips say
    for row in of("difference", "robust_accuracy") {
        let count = |ids: &str| ids.split(';').filter(|id| !id.is_empty()).count() as f64;
        let [difference, n] = [&row["difference"], &row["n"]].map(|text| text.parse::<f64>().expect("a number"));
        assert!((difference - (count(&row["gained"]) - count(&row["lost"])) / n).abs() < 1e-12, "{row:?}");
    }
    // unions of other attacks do not share a column, and PGD stands in one run alone
    assert!(of("difference", "robust_accuracy").iter().all(|r| r["args"] != "fgsm, pgd" || r["run"] == r["reference_run"]));
    assert!(of("difference", "ams_mean").iter().all(|r| r["interval"] == "paired t"));
    for file in ["compare.html", "compare.md"] {
        let text = std::fs::read_to_string(folder.path().join("flatscape-compare").join(file)).expect(file);
        assert!(text.contains("digits-amsreg") && text.contains("seed"), "{file}");
    }
    // the same again is the same bytes, in the same place
    let before = std::fs::read(folder.path().join("flatscape-compare/compare.csv")).expect("compare.csv");
    compared(folder.path(), &["weak", "strong"], 0);
    assert_eq!(std::fs::read(folder.path().join("flatscape-compare/compare.csv")).expect("compare.csv"), before);
    gates(folder.path());
    bad_runs(folder.path());
}

/// Conditions on the difference to a baseline.
fn gates(folder: &Path) {
    let gate = |code: i32, baseline: &str, run: &str, requirement: &str| {
        compared(folder, &[run, "--baseline", baseline, "--require", requirement], code)
    };
    gate(0, "weak", "weak", "robust_accuracy>=0");
    gate(0, "weak", "strong", "clean_accuracy>=-0.02");
    assert!(gate(1, "weak", "strong", "clean_accuracy>=0.01").contains("clean_accuracy>=0.01 does not hold"));
    gate(1, "weak", "weak", "robust_accuracy.ci_low>=0");
    gate(0, "weak", "weak", "robust_accuracy.ci_low>=-0.1");
    // the union of the baseline is of other attacks than that of the run
    assert!(gate(1, "weak", "strong", "robust_accuracy>=-1").contains("does not have this measure"));
    refused(folder, &["strong", "--baseline", "weak", "--require", "robust_acc>=0"], 2, "U150");
    refused(folder, &["weak", "strong", "--require", "robust_accuracy>=0"], 2, "U150");
}

/// What is not a run, not whole, or not of this version; and what else lies where the files should go.
fn bad_runs(folder: &Path) {
    std::fs::create_dir(folder.join("empty")).expect("a folder");
    refused(folder, &["weak", "empty"], 8, "R096");
    refused(folder, &["weak", "nowhere"], 8, "R096");
    let run = folder.join("strong");
    let table = std::fs::read(run.join("results.csv")).expect("results.csv");
    std::fs::write(run.join("results.csv"), &table[..table.len() / 2]).expect("written");
    refused(folder, &["weak", "strong"], 8, "R150");
    std::fs::remove_file(run.join("results.csv")).expect("removed");
    refused(folder, &["weak", "strong"], 8, "R150");
    std::fs::write(run.join("results.csv"), table).expect("written");
    compared(folder, &["weak", "strong"], 0);
    let manifest = std::fs::read_to_string(run.join("manifest.json")).expect("manifest.json");
    let older = manifest.replacen("\"format\": 3", "\"format\": 2", 1);
    assert_ne!(older, manifest);
    std::fs::write(run.join("manifest.json"), older).expect("written");
    refused(folder, &["weak", "strong"], 8, "R098");
    std::fs::write(run.join("manifest.json"), "{").expect("written");
    refused(folder, &["weak", "strong"], 8, "R098");
    std::fs::write(run.join("manifest.json"), manifest).expect("written");
    refused(folder, &["weak", "strong", "--out", "weak"], 8, "R096");
    assert!(!folder.join("weak/compare.csv").exists());
}

#[test]
fn runs_over_other_samples_are_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let common = ["--threat", "linf:0.1", "--attack", "fgsm"];
    audit(folder.path(), "long", &[&["digits-standard", "-n", "60"], &common[..]].concat());
    audit(folder.path(), "short", &[&["digits-standard", "-n", "40"], &common[..]].concat());
    let words = compared(folder.path(), &["long", "short"], 0);
    assert!(
        words.contains("apart from those above") && words.contains("the first 40 samples and not the first 60 samples"),
        "{words}"
    );
    let rows = rows(folder.path());
    let differences: Vec<&Row> = rows.iter().filter(|r| r["kind"] == "difference").collect();
    assert!(!differences.is_empty());
    for row in differences {
        assert_eq!([&row["pairing"], &row["n"], &row["difference"]], ["paired on common samples", "40", "0"], "{row:?}");
    }
    assert!(rows.iter().all(|r| r["rank_first"].is_empty()));
}

#[test]
fn runs_over_other_data_share_nothing_or_are_two_samples() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut data = NpzWriter::new(std::fs::File::create(folder.path().join("other.npz")).expect("a file"));
    let pixel = |(image, _, row, column): (usize, usize, usize, usize)| ((image * 7 + row * 3 + column * 5) % 11) as f32 / 10.0;
    data.add_array("x", &Array4::from_shape_fn((30, 1, 8, 8), pixel)).expect("images");
    data.add_array("y", &Array1::from_shape_fn(30, |image| (image % 10) as i64)).expect("labels");
    data.finish().expect("a file");
    let common = ["--threat", "linf:0.1", "--attack", "fgsm"];
    audit(folder.path(), "digits", &[&["digits-standard", "-n", "40"], &common[..]].concat());
    let other = |out: &str, model: &str| {
        let mut arguments = vec!["audit", model, "--data", "other.npz", "--engine", "tract", "--landscapes", "0", "--out", out];
        arguments.extend(common);
        let output = flatscape(folder.path(), &arguments);
        assert!(matches!(output.status.code(), Some(0 | 9)), "{}", said(&output));
    };
    other("same-model", "digits-standard");
    other("other-model", "digits-amsreg");
    // guessing on data without meaning, the second run is unreliable, and so is the comparison
    let words = compared(folder.path(), &["digits", "same-model"], 9);
    assert!(words.contains("UNRELIABLE"), "{words}");
    let rows = rows(folder.path());
    let clean: Vec<&Row> = rows.iter().filter(|r| r["kind"] == "difference" && r["metric"] == "clean_accuracy").collect();
    assert_eq!(clean.len(), 1);
    assert_eq!([&clean[0]["pairing"], &clean[0]["interval"]], ["two-sample", "Newcombe's hybrid score"]);
    refused(folder.path(), &["digits", "other-model"], 8, "R151");
}
