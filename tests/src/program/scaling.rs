//! One classifier whose last layer is multiplied by s, so that its scores are s times what they were and its predictions are the same: what
//! is called flat changes with s, robustness does not (the scaling study of Walter et al. 2025, arXiv:2510.14231).

use std::collections::BTreeMap;
use std::path::Path;

use flatscape_graph::onnx;

use super::{EMBEDDED, Row};
use crate::provision::{flatscape, root};

/// The factors; powers of two, so that scores are multiplied exactly.
const SCALES: [(&str, f32); 4] = [("quarter", 0.25), ("one", 1.0), ("eight", 8.0), ("hundred", 128.0)];

/// The file with the constants of its last operator multiplied where they stand.
fn scaled(file: &[u8], s: f32) -> Vec<u8> {
    let read = onnx::read(file).expect("a model");
    let last = read.graph.nodes().last().expect("an operator");
    assert_eq!(&*last.op, "Gemm");
    let mut bytes = file.to_vec();
    for place in [1, 2] {
        let tensor =
            read.graph.constant(last.input(place).expect("weights")).expect("constants").to_vec::<f32>().expect("floats");
        let stored = |factor: f32| tensor.iter().flat_map(|v| (v * factor).to_le_bytes()).collect::<Vec<u8>>();
        let old = stored(1.0);
        let at = bytes.windows(old.len()).position(|window| window == old).expect("the weights are in the file");
        bytes[at..at + old.len()].copy_from_slice(&stored(s));
    }
    bytes
}

fn audit(folder: &Path, arguments: &[&str], out: &str) -> Vec<Row> {
    let mut all = vec!["audit"];
    all.extend(arguments);
    all.extend(["--data", "digits", "-n", "300", "--threat", "linf:0.1", "--landscapes", "0", "--out", out]);
    all.extend(EMBEDDED);
    let output = flatscape(folder, &all);
    assert!([Some(0), Some(9)].contains(&output.status.code()), "{}", String::from_utf8_lossy(&output.stderr));
    super::table(&std::fs::read_to_string(folder.join(out).join("results.csv")).expect("a table"))
}

#[test]
fn flatness_follows_the_scale_of_the_scores_and_robustness_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = std::fs::read(root().join("models/digits-standard/model.onnx")).expect("a model");
    let files: Vec<String> = SCALES.iter().map(|(name, _)| format!("{name}.onnx")).collect();
    for ((_, s), file) in SCALES.iter().zip(&files) {
        std::fs::write(folder.path().join(file), scaled(&source, *s)).expect("a file");
    }
    let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    arguments.extend(["--attack", "pgd:steps=10", "--attack", "apgd-dlr:steps=10", "--metric", "relative-flatness"]);
    arguments.extend(["--metric", "phi:grid=3,directions=1"]);
    let rows = audit(folder.path(), &arguments, "run");
    let of = |model: &str, component: &str, metric: &str| -> f64 {
        let row = rows.iter().find(|r| r["model"] == model && r["component"] == component && r["metric"] == metric);
        row.unwrap_or_else(|| panic!("{model}: no {metric} of {component}"))["value"].parse().expect("a number")
    };
    let all = |component: &str, metric: &str| SCALES.map(|(name, _)| of(name, component, metric));
    // the same predictions, and the same examples where steps follow a direction or a ratio of scores
    assert!(all("clean", "clean_accuracy").iter().all(|v| *v == of("one", "clean", "clean_accuracy")));
    let robust = all("pgd", "robust_accuracy");
    assert!(robust[1] > 0.3 && robust[1] < 0.7, "PGD breaks about half: {robust:?}");
    for attack in ["pgd", "apgd-dlr"] {
        let found = all(attack, "robust_accuracy");
        assert!(found.iter().all(|v| (v - found[1]).abs() <= 0.03), "{attack}: the scale hides nothing: {found:?}");
    }
    // Φ grows with the scale, at the temperature of the model it does not
    let phi = all("phi", "phi_sum");
    assert!(phi.windows(2).all(|pair| pair[1] < 1.5 * pair[0]), "{phi:?}");
    assert!(phi[3] / phi[1] > 60.0, "{phi:?}");
    let (control, temperature) = (all("phi", "scaled_phi_sum"), all("phi", "temperature"));
    for ((_, s), (scaled, t)) in SCALES.iter().zip(control.iter().zip(&temperature)) {
        assert!((scaled / control[1] - 1.0).abs() < 1e-3, "{control:?}");
        assert!((t / temperature[1] / f64::from(*s) - 1.0).abs() < 1e-4, "{temperature:?}");
    }
    // at a large scale the model is sure, and the least robust of definitions of flatness call it flatter than at a small one
    let (spread, petzka) = (all("relative-flatness", "uncertainty_mean"), all("relative-flatness", "rel_petzka_mean"));
    assert!(spread.windows(2).all(|pair| pair[1] < pair[0]), "{spread:?}");
    assert!(petzka.iter().all(|v| *v > 0.0) && petzka.iter().any(|v| (v / petzka[1]).ln().abs() > 1.0), "{petzka:?}");
    transfers(folder.path());
}

/// Every example of the model as it was breaks it at every scale: the two answer alike everywhere.
fn transfers(folder: &Path) {
    let rows = audit(folder, &["hundred.onnx", "--attack", "pgd:steps=10", "--transfer", "one.onnx"], "transferred");
    let found: BTreeMap<&str, f64> = rows
        .iter()
        .filter(|r| r["component"] == "pgd" && r["metric"] == "robust_accuracy")
        .map(|r| (r["args"].as_str(), r["value"].parse().expect("a number")))
        .collect();
    let rows = audit(folder, &["one.onnx", "--attack", "pgd:steps=10"], "own");
    let own = rows.iter().find(|r| r["component"] == "pgd" && r["metric"] == "robust_accuracy").expect("a row");
    let own: f64 = own["value"].parse().expect("a number");
    let via = found.iter().find(|(args, _)| args.contains("via=")).unwrap_or_else(|| panic!("{found:?}")).1;
    assert_eq!(*via, own, "all examples transfer: {found:?}");
}
