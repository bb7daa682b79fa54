//! What the losses before the steps of an attack say about it: still rising at the last step, or below the start.

use flatscape_graph::DType;

use super::Run;
use super::headline::digits;
use crate::provision::{flatscape, onnx_runtime_library, shared_data};

fn audit(folder: &std::path::Path, model: &str, more: &[&str]) -> Run {
    super::masked::audit(folder, model, &[&["-n", "60"], more].concat())
}

/// Forty steps that together are shorter than the radius: the loss rises to the last of them. AutoAttack's own are at their end.
#[test]
fn an_attack_that_was_stopped_on_its_way_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let short = ["--threat", "linf:0.1", "--attack", "pgd:steps=40,alpha=0.001,random-start=no"];
    let short = audit(folder.path(), "digits-standard", &short).expect(0);
    assert!(short.said().contains("doubt[loss-still-rising]"), "{}", short.said());
    let whole = audit(folder.path(), "digits-standard", &["--threat", "linf:0.05", "--profile", "standard"]).expect(0);
    assert!(!whole.said().contains("loss-still-rising") && !whole.said().contains("loss-falls"), "{}", whole.said());
}

/// x ↦ 2·round(16x)/16 − x has nearly the values of x, and everywhere the derivative −1: the steps go the wrong way.
#[test]
fn a_gradient_that_leads_downwards_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    digits(folder.path(), DType::F32, |x| (x * 16.0).unary("Round") * 0.125 - x, |_, z| z);
    let run = audit(folder.path(), "net.onnx", &["--threat", "linf:0.1", "--attack", "pgd:random-start=no"]).expect(9);
    assert!(run.said().contains("doubt[loss-falls]"), "{}", run.said());
}

/// Scores times 1000 (formulas.md, C20): cross-entropy of rescaled scores breaks what the margin breaks, for every κ, and its losses do
/// not round to zero.
#[test]
fn rescaled_cross_entropy_does_not_know_the_scale_of_scores() {
    let folder = tempfile::tempdir().expect("a folder");
    digits(folder.path(), DType::F32, |x| x, |_, z| z * 1000.0);
    let robust = |attack: &str| {
        let run = audit(folder.path(), "net.onnx", &["--threat", "linf:0.08", "--attack", attack]);
        run.value("net", "pgd", "robust_accuracy")
    };
    let margin = robust("pgd:loss=margin,steps=100,random-start=no");
    assert!(margin > 0.05 && margin < 0.9, "{margin} tells nothing");
    for kappa in ["1", "4", "16"] {
        let found = robust(&format!("pgd:loss=rescaled,kappa={kappa},steps=100,random-start=no"));
        // with a small κ cross-entropy pulls towards many classes at once
        assert!((found - margin).abs() < 5.5 / 60.0, "κ = {kappa}: {found}, by the margin {margin}");
    }
    // bit for bit the same where scores are multiplied by a power of two
    let same = |factor: f64| {
        digits(folder.path(), DType::F32, |x| x, |_, z| z * factor);
        let run = audit(folder.path(), "net.onnx", &["--threat", "linf:0.08", "--attack", "pgd:loss=rescaled,steps=20"]);
        let rows = run.table("samples.csv");
        rows.iter().map(|r| r.iter().find(|(key, _)| key.ends_with(".distance")).map(|(_, v)| v.clone())).collect::<Vec<_>>()
    };
    assert_eq!(same(1.0), same(1024.0));
}

/// The third-party models whose attacks by `standard` come to their end.
#[test]
fn attacks_on_third_party_models_come_to_their_end() {
    const MODELS: &[(&str, &str, &str)] = &[
        ("netkit_fashion_mlp", "fashion-mnist", "linf:0.02"),
        ("mnistfc_256x2", "mnist", "linf:0.04"),
        ("convnet_maxpool", "mnist", "linf:0.03"),
    ];
    let Some(shared) = shared_data("attacks_on_third_party_models_come_to_their_end") else { return };
    let library = onnx_runtime_library();
    for (name, data, threat) in MODELS {
        let folder = tempfile::tempdir().expect("a folder");
        let [model, data] = [format!("models/{name}.onnx"), (*data).to_owned()].map(|p| shared.join(p).display().to_string());
        let library = library.display().to_string();
        let mut arguments = vec!["audit", &model, "--data", &data, "-n", "50", "--threat", threat, "--profile", "standard"];
        arguments.extend(["--landscapes", "0", "--ort-lib", &library, "--out", "run"]);
        let run = Run { output: flatscape(folder.path(), &arguments), folder };
        let said = run.said();
        // one of them is sure enough for gradients that are zero
        assert!([0, 9].contains(&run.code()), "{name}: {said}");
        assert!(!said.contains("loss-still-rising") && !said.contains("loss-falls"), "{name}: {said}");
    }
}
