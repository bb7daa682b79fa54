//! Numbers that others have published about models of theirs.

use super::Run;
use crate::provision::{onnx_runtime_library, shared_data};

/// PGD leaves `resnet_2b` 54.8 % at 2/255 and 62.2 % at 1/255 on the full test set (its publication in the verification competition of
/// 2021); the intervals of its first hundred images contain them.
#[test]
fn the_accuracy_of_resnet_2b_under_pgd_is_the_published_one() {
    let Some(data) = shared_data("published accuracies") else { return };
    let (model, images) = (data.join("models/resnet_2b.onnx"), data.join("cifar10/test_first100_lossless.bin"));
    if let Some(missing) = [&model, &images].into_iter().find(|file| !file.is_file()) {
        eprintln!("skipped: published accuracies: there is no {}", missing.display());
        return;
    }
    let [model, images, library] =
        [model.as_path(), images.as_path(), onnx_runtime_library()].map(|path| path.display().to_string());
    let mut arguments = vec!["audit", &model, "--data", &images, "--threat", "linf:1/255,2/255", "--attack", "pgd"];
    arguments.extend(["--mean", "0.4914,0.4822,0.4465", "--std", "0.2471,0.2435,0.2616"]);
    arguments.extend(["--engine", "ort", "--ort-lib", &library, "--landscapes", "0", "--out", "run"]);
    let run = Run::new(&arguments);
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    let rows = run.table("results.csv");
    for (threat, published) in [("linf:1/255", 0.6224), ("linf:2/255", 0.5482)] {
        let row =
            rows.iter().find(|row| row["component"] == "pgd" && row["metric"] == "robust_accuracy" && row["threat"] == threat);
        let row = row.unwrap_or_else(|| panic!("no row of {threat} in {rows:?}"));
        let [low, high] = ["ci_low", "ci_high"].map(|end| row[end].parse::<f64>().expect("a number"));
        assert_eq!(row["n"], "100");
        assert!((low..high).contains(&published), "{published} is not in [{low}, {high}] at {threat}");
    }
}
