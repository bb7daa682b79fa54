//! The ground around predictions: metrics along the path of an attack, statistics of a whole data set, landscapes along attacks.

use std::collections::BTreeMap;

use flatscape_graph::onnx;

use super::{EMBEDDED, Row, Run};
use crate::formulas::toy::Toy;
use crate::provision::{flatscape, onnx_runtime_library, root};

/// A folder with a model of images \[1,1,D\] as `model.onnx` and these images as `images.npz`.
fn folder(toy: &Toy, images: &[Vec<f64>], labels: &[i64]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("model.onnx"), onnx::write(&toy.graph)).expect("a model");
    let [c, h, w] = toy.shape;
    let pixels: Vec<f32> = images.iter().flatten().map(|&v| v as f32).collect();
    let file = std::fs::File::create(folder.path().join("images.npz")).expect("a file");
    let mut archive = ndarray_npy::NpzWriter::new(file);
    let x = ndarray::Array::from_shape_vec((images.len(), c, h, w), pixels).expect("images");
    archive.add_array("x", &x).expect("images");
    archive.add_array("y", &ndarray::Array::from_vec(labels.to_vec())).expect("labels");
    archive.finish().expect("an archive");
    folder
}

fn audit(folder: tempfile::TempDir, more: &[&str]) -> Run {
    let mut arguments = vec!["audit", "model.onnx", "--data", "images.npz", "--landscapes", "0", "--out", "run"];
    arguments.extend(more);
    arguments.extend(EMBEDDED);
    let output = flatscape(folder.path(), &arguments);
    Run { folder, output }
}

fn number(rows: &[Row], metric: &str) -> f64 {
    let row = rows.iter().find(|r| r["metric"] == metric).unwrap_or_else(|| panic!("no {metric}: {rows:#?}"));
    row["value"].parse().unwrap_or_else(|_| panic!("{row:?}"))
}

/// A path that crosses the boundary of two classes at constant speed: Σp(1 − p) = 2σ(u)(1 − σ(u)) at u = z₀ − z₁, largest at the
/// boundary and symmetric around it.
#[test]
fn uncertainty_is_largest_where_a_path_crosses_the_boundary() {
    let w = [3.0, -2.0, 4.0, 1.0];
    let l1: f64 = w.iter().map(|v: &f64| v.abs()).sum();
    // u(x) = w·x + b is 0.2·‖w‖₁ at the images: BIM with steps of 0.05 crosses after four of eight
    let image = vec![0.5; 4];
    let b = 0.2 * l1 - 0.5 * w.iter().sum::<f64>() + 0.05;
    let toy = Toy::affine(&[w, [0.0; 4]], &[b, 0.0]);
    let images: Vec<Vec<f64>> = vec![image; 3];
    let metric = "relative-flatness:at=path:(bim:steps=8,alpha=0.05)";
    let run = audit(folder(&toy, &images, &[0; 3]), &["--threat", "linf:0.4", "--metric", metric]);
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    let rows = run.table("results.csv");
    // u after k steps is 0.2·‖w‖₁ + 0.05 − 0.05·k·‖w‖₁: the fifth step is the first beyond 0
    assert_eq!(number(&rows, "flip_step_mean"), 5.0);
    let u = |k: i32| 0.2 * l1 + 0.05 - 0.05 * f64::from(k) * l1;
    let spread = |k: i32| {
        let sigma = 1.0 / (1.0 + (-u(k)).exp());
        2.0 * sigma * (1.0 - sigma)
    };
    let close = |found: f64, wanted: f64, what: &str| assert!((found - wanted).abs() < 1e-5, "{what}: {found}, not {wanted}");
    close(number(&rows, "uncertainty_at_image_mean"), spread(0), "image");
    close(number(&rows, "uncertainty_at_flip_mean"), spread(5), "flip");
    close(number(&rows, "uncertainty_at_end_mean"), spread(8), "end");
    // the step before the flip is nearest to the boundary
    assert_eq!(number(&rows, "uncertainty_peak_after_flip_mean"), -1.0);
    let path = run.table("paths.csv");
    for k in 0..=8 {
        let of = |aligned: &str, step: i32| {
            let wanted =
                |r: &&Row| r["quantity"] == "uncertainty" && r["aligned"] == aligned && r["step"].parse::<i32>() == Ok(step);
            path.iter().find(wanted).expect("a point")["mean"].parse::<f64>().expect("a number")
        };
        close(of("no", k), spread(k), "by step");
        close(of("yes", k - 5), spread(k), "by step after the flip");
    }
}

/// Statistics of a data set do not depend on how it is cut into jobs, and a verified directory gives them again.
#[test]
fn statistics_of_a_data_set_do_not_depend_on_its_jobs() {
    let of = |shard: &str| {
        let mut arguments =
            vec!["audit", "digits-standard", "--data", "digits", "-n", "200", "--threat", "linf:0.1", "--landscapes", "0"];
        for metric in
            ["neural-collapse", "logp:at=adv:fgsm", "phi:grid=3,directions=2", "jacobian", "relative-flatness:at=path:fgsm"]
        {
            arguments.extend(["--metric", metric]);
        }
        arguments.extend(["--shard-size", shard, "--out", "run"]);
        arguments.extend(EMBEDDED);
        let run = Run::new(&arguments).expect(0);
        let values: BTreeMap<(String, String), String> = run
            .table("results.csv")
            .into_iter()
            .filter(|r| !["gradient_certificate"].contains(&r["metric"].as_str()))
            .map(|r| ((r["component"].clone(), r["metric"].clone()), r["value"].clone()))
            .collect();
        (run, values)
    };
    let ((whole, one), (_, many)) = (of("200"), of("70"));
    assert_eq!(one.keys().collect::<Vec<_>>(), many.keys().collect::<Vec<_>>());
    for metric in ["nc1", "nc4", "logp_adversarial_ks", "temperature", "scaled_phi_sum", "spectral_norm_mean", "flip_step_mean"] {
        assert!(one.keys().any(|(_, name)| name == metric), "no {metric}: {one:#?}");
    }
    for (key, value) in &one {
        let (a, b) = (value.parse::<f64>(), many[key].parse::<f64>());
        let same = a
            .clone()
            .ok()
            .zip(b.clone().ok())
            .map_or(a.is_err() && b.is_err(), |(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(1e-3));
        assert!(same, "{key:?}: {value} and {}", many[key]);
    }
    let folder = whole.folder.path();
    let verified = flatscape(folder, &["verify", "run"]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let before = ["results.csv", "samples.csv", "paths.csv", "curves.csv"].map(|name| whole.read(name));
    assert_eq!(flatscape(folder, &["report", "run", "--format", "csv"]).status.code(), Some(0));
    assert_eq!(["results.csv", "samples.csv", "paths.csv", "curves.csv"].map(|name| whole.read(name)), before);
}

/// A model without errors has no temperature: its scaled Φ has no value, and everything else has one.
#[test]
fn a_model_without_errors_has_no_scaled_phi() {
    let toy = Toy::affine(&[[1.0, 2.0], [0.0, 0.0]], &[0.0, 0.0]);
    let images: Vec<Vec<f64>> = (1..9).map(|k| vec![0.1 * f64::from(k); 2]).collect();
    let run = audit(folder(&toy, &images, &[0; 8]), &["--threat", "linf:0.05", "--metric", "phi:grid=3,directions=1"]);
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    let rows = run.table("results.csv");
    assert!(number(&rows, "phi_sum") < 0.0);
    let row = rows.iter().find(|r| r["metric"] == "temperature").expect("a row");
    assert!(row["value"].is_empty(), "{row:?}");
    assert!(!rows.iter().any(|r| r["metric"].starts_with("scaled_phi")), "{rows:#?}");
    assert!(run.said().contains("no temperature is best"), "{}", run.said());
}

/// What a metric cannot do without is asked for before anything is computed, with the exit code of a usage error.
#[test]
fn a_metric_without_the_file_that_it_needs_is_a_usage_error() {
    for (metric, words) in [
        ("interpolation", "name the other file: interpolation:to=FILE"),
        ("mode-connection", "name the other file: mode-connection:to=FILE"),
        ("trajectory", "name the files before the model: trajectory:files=(a.onnx,b.onnx)"),
    ] {
        let run = Run::new(&["audit", "digits-standard", "--data", "digits", "-n", "10", "--metric", metric, "--out", "run"]);
        assert_eq!(run.code(), 2, "{metric}: {}", run.said());
        assert!(run.said().contains(words), "{metric}: {}", run.said());
        assert!(!run.path("run").join("jobs.json").exists(), "{metric}: nothing was planned");
    }
}

/// Along attacks: the surfaces are there, attacks that do not move the image are refused with the way out.
#[test]
fn landscapes_follow_attacks_or_say_why_not() {
    let draw = |directions: &str, more: &[&str]| {
        let mut arguments = vec!["landscape", "digits-standard", "--data", "digits", "--sample", "3", "--directions", directions];
        arguments.extend(["--grid", "-0.1:0.1:5", "--out", "run"]);
        arguments.extend(more);
        arguments.extend(EMBEDDED);
        Run::new(&arguments)
    };
    for (directions, name) in [("attack:fgsm", "attack-fgsm"), ("attack:(pgd:steps=3),noise", "attack-pgd-noise")] {
        let run = draw(directions, &["--threat", "linf:0.1"]).expect(0);
        let csv = run.text(&format!("landscapes/m0001-s000003-{name}.csv"));
        assert_eq!(csv.lines().count(), 26, "{csv}");
        let middle = csv.lines().nth(13).expect("a cell");
        assert!(middle.starts_with("0,0,0,"), "{middle}");
    }
    let loss = draw("random", &["--kind", "loss-input"]).expect(0);
    assert!(loss.path("landscapes/m0001-s000003-loss-input-random.svg").is_file());
    let still = draw("attack:fgsm", &["--threat", "linf:0"]);
    assert_eq!(still.code(), 2, "{}", still.said());
    assert!(still.said().contains("vanishes at image 3") && still.said().contains("--directions random"), "{}", still.said());
    let line = draw("attack:fgsm,(fgsm)", &["--threat", "linf:0.1"]);
    assert!(line.code() == 2 && line.said().contains("along one line"), "{}", line.said());
    for wrong in ["attack:nobody", "attack:", "nowhere", "attack:phi"] {
        assert_eq!(draw(wrong, &[]).code(), 2, "{wrong}");
    }
}

/// The rows of `samples.csv` for the images of a narrow network, by these metrics on one engine.
fn measured(net: &str, metrics: &[&str], engine: &[&str]) -> Vec<Row> {
    let nets = root().join("tests/golden/nets");
    let stored = std::fs::File::open(nets.join(format!("{net}.npz"))).expect("images");
    let mut stored = ndarray_npy::NpzReader::new(stored).expect("an archive");
    let x: ndarray::Array4<f32> = stored.by_name("image").expect("images");
    let y: ndarray::Array1<i64> = stored.by_name("label").expect("labels");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(nets.join(format!("{net}.onnx")), folder.path().join("model.onnx")).expect("a copy");
    let file = std::fs::File::create(folder.path().join("images.npz")).expect("a file");
    let mut archive = ndarray_npy::NpzWriter::new(file);
    archive.add_array("x", &x).expect("images");
    archive.add_array("y", &y).expect("labels");
    archive.finish().expect("an archive");
    let mut arguments = vec!["audit", "model.onnx", "--data", "images.npz", "--threat", "l2:0.1", "--landscapes", "0"];
    for metric in metrics {
        arguments.extend(["--metric", metric]);
    }
    arguments.extend(["--out", "run"]);
    arguments.extend(engine);
    let output = flatscape(folder.path(), &arguments);
    let run = Run { folder, output };
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    run.table("samples.csv")
}

/// Narrow networks as PyTorch exports them: Jacobians, spectral norms, curvatures of the last layer and gradients are those of its
/// autograd in float64, on both engines.
#[test]
fn metrics_of_networks_are_those_of_pytorch() {
    let golden = std::fs::read_to_string(root().join("tests/golden/geometry/nets.json")).expect("golden values");
    let golden: BTreeMap<String, BTreeMap<String, Vec<f64>>> = serde_json::from_str(&golden).expect("JSON");
    let library = onnx_runtime_library().display().to_string();
    for (net, values) in golden {
        for engine in [&["--engine", "tract"][..], &["--engine", "ort", "--ort-lib", &library]] {
            let samples = measured(&net, &["logp", "jacobian", "input-gradient", "relative-flatness"], engine);
            for (name, wanted) in &values {
                let found: Vec<f64> = samples.iter().filter_map(|row| row[name].parse().ok()).collect();
                assert_eq!(found.len(), wanted.len(), "{net}, {engine:?}: {name} in {samples:#?}");
                for (a, b) in found.iter().zip(wanted) {
                    assert!((a - b).abs() <= 1e-4 * b.abs(), "{net}, {engine:?}: {name} is {a}, not {b}");
                }
            }
        }
    }
}

/// The released Jacobian regulariser gives half of ‖J‖² where its vectors are the classes; where they are drawn, its mean and ours are
/// estimates of one number.
#[test]
fn the_jacobian_is_that_of_the_released_regulariser() {
    let golden = std::fs::read_to_string(root().join("tests/golden/geometry/jacobian_regularizer.json")).expect("golden values");
    let golden: serde_json::Value = serde_json::from_str(&golden).expect("JSON");
    let draws = golden["draws"].as_u64().expect("a number");
    let estimate = format!("jacobian:n-proj={draws}");
    for (net, values) in golden["nets"].as_object().expect("nets") {
        let list = |name: &str| values[name].as_array().expect(name).iter().map(|v| v.as_f64().expect("a number"));
        let found = |metric: &str| -> Vec<f64> {
            let rows = measured(net, &[metric], &["--engine", "tract"]);
            rows.iter().map(|row| row["jacobian_square"].parse::<f64>().expect("a number") / 2.0).collect()
        };
        for (ours, theirs) in found("jacobian").into_iter().zip(list("exact")) {
            assert!((ours - theirs).abs() <= 1e-5 * theirs, "{net}: {ours} is not {theirs}");
        }
        let theirs = list("estimated").zip(list("error"));
        for ((ours, exact), (mean, error)) in found(&estimate).into_iter().zip(list("exact")).zip(theirs) {
            // both have the same standard error
            assert!((ours - mean).abs() <= 4.0 * 2f64.sqrt() * error, "{net}: {ours} and {mean} ± {error}");
            assert!((ours - exact).abs() <= 4.0 * error, "{net}: {ours} estimates {exact} ± {error}");
        }
    }
}
