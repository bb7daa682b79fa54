//! `flatscape verify` on a run that is as it was written, and on runs in which one thing was changed; and the script with which a
//! sceptic does the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flatscape_graph::Tensor;
use flatscape_measure::findings::Findings;

use crate::program::{Run, net_and_digits};
use crate::provision::{built, flatscape, root};

/// A run on a model and data that lie in its folder, so that they can be changed.
fn audited() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        net_and_digits(folder.path());
        let arguments = [
            "audit",
            "net.onnx",
            "--data",
            "digits.npz",
            "-n",
            "60",
            "--threat",
            "linf:0.1",
            "--attack",
            "fgsm",
            "--landscapes",
            "0",
            "--engine",
            "tract",
            "--out",
            "run",
        ];
        let output = flatscape(folder.path(), &arguments);
        let run = Run { folder, output };
        run.expect(0)
    })
}

/// A copy of the run.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(audited().folder.path(), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|e| e.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// What is reported, and the file in a folder whose change is reported so.
type Place<'a> = (&'a str, &'a dyn Fn(&Path) -> PathBuf);

/// What `verify` says of a folder, and its exit code.
pub fn verified(folder: &Path, engine: &str) -> (i32, String) {
    let output = flatscape(folder, &["verify", "run", "--engine", engine]);
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

fn witness(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder.join("run/witness")).expect("witnesses");
    entries.map(|e| e.expect("an entry").path()).next().expect("a witness file")
}

/// Changes the content of the witness file, and gives it back as a well-formed file.
fn changed(folder: &Path, change: impl Fn(&mut Findings)) {
    changed_in(&witness(folder), change);
}

/// The same for any file of findings.
pub fn changed_in(path: &Path, change: impl Fn(&mut Findings)) {
    let mut file = Findings::decode(&std::fs::read(path).expect("a file")).expect("findings");
    change(&mut file);
    std::fs::write(path, file.encode().expect("bytes")).expect("written");
}

#[test]
fn an_untouched_run_holds_on_both_engines() {
    let folder = copied();
    crate::provision::onnx_runtime_library();
    for engine in ["tract", "ort"] {
        let (code, said) = verified(folder.path(), engine);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("everything that was checked holds"), "{said}");
    }
}

#[test]
fn a_tampered_witness_is_named_with_its_sample() {
    type Change = fn(&mut Findings);
    let cases: [(&str, Change); 5] = [
        ("the model predicts the label", |f| {
            let clean = f.tensor("x0").expect("x0").clone();
            f.0.insert("x_adv".into(), clean);
        }),
        ("lies outside the box or the ball", |f| {
            let far: Vec<f32> = f.get::<f32>("x_adv").expect("points").iter().map(|v| (v + 0.3).min(1.0)).collect();
            let shape = f.tensor("x0").expect("x0").shape().to_vec();
            f.0.insert("x_adv".into(), Tensor::new(&shape, far).expect("a tensor"));
        }),
        ("is not that of the data set", |f| {
            let labels = f.get::<i64>("label").expect("labels").iter().map(|y| (y + 1) % 10).collect();
            f.column::<i64>("label", labels);
        }),
        ("another class than the one that was stored", |f| {
            let classes = f.get::<i64>("prediction").expect("classes").iter().map(|y| y + 10).collect();
            f.column::<i64>("prediction", classes);
        }),
        ("another model or another threat model", |f| f.column("threat", b"linf:0.3".to_vec())),
    ];
    for (expected, change) in cases {
        let folder = copied();
        changed(folder.path(), change);
        let (code, said) = verified(folder.path(), "tract");
        assert_eq!(code, 1, "{expected}: {said}");
        assert!(said.contains(expected) && said.contains("witness/m0001-"), "{expected}: {said}");
    }
}

#[test]
fn a_tampered_model_data_table_or_result_is_named() {
    let append = |path: &Path| {
        let mut bytes = std::fs::read(path).expect("a file");
        bytes.push(b'\n');
        std::fs::write(path, bytes).expect("written");
    };
    let shard = |folder: &Path| {
        let entries = std::fs::read_dir(folder.join("run/shards")).expect("results").map(|e| e.expect("an entry").path());
        entries
            .into_iter()
            .find(|p| p.to_string_lossy().contains("fgsm") && p.extension().is_some_and(|e| e == "npz"))
            .expect("one")
    };
    let table = |name: &'static str| move |folder: &Path| folder.join("run").join(name);
    let cases: [Place; 4] = [
        ("results.csv is not what the results of this run give", &table("results.csv")),
        ("samples.csv is not what the results of this run give", &table("samples.csv")),
        ("report.html is not what the results of this run give", &table("report.html")),
        ("its SHA-256 differs from its receipt", &shard),
    ];
    for (expected, place) in cases {
        let folder = copied();
        append(&place(folder.path()));
        let (code, said) = verified(folder.path(), "tract");
        assert_eq!((code, said.contains(expected)), (1, true), "{expected}: {said}");
    }
    let folder = copied();
    std::fs::copy(root().join("models/digits-jacobian/model.onnx"), folder.path().join("net.onnx")).expect("another model");
    let (code, said) = verified(folder.path(), "tract");
    assert_eq!((code, said.contains("the model net is not what the run was about")), (1, true), "{said}");
    let folder = copied();
    std::fs::copy(root().join("models/digits/digits-train.npz"), folder.path().join("digits.npz")).expect("other images");
    let (code, said) = verified(folder.path(), "tract");
    assert_eq!((code, said.contains("the data digits is not what the run was about")), (1, true), "{said}");
    let folder = copied();
    std::fs::remove_file(witness(folder.path())).expect("removed");
    let (code, said) = verified(folder.path(), "tract");
    assert_eq!((code, said.contains("is missing, and the results count its samples as broken")), (1, true), "{said}");
    let (code, said) = verified(tempfile::tempdir().expect("a folder").path(), "tract");
    assert_eq!((code, said.contains("R096")), (8, true), "{said}");
}

/// A Python with the two packages that the script needs, installed once under the target folder.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let home = built().join("sceptic");
        let python = home.join("bin/python");
        let ready = |python: &Path| {
            Command::new(python).args(["-c", "import numpy, onnxruntime"]).output().is_ok_and(|output| output.status.success())
        };
        if !ready(&python) {
            eprintln!("installing numpy and onnxruntime for tests/verify_run.py under {}", home.display());
            let made = Command::new("python3").args(["-m", "venv"]).arg(&home).status().expect("python3 runs");
            assert!(made.success(), "python3 -m venv failed; the package python3-venv is needed");
            let install = Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "onnxruntime==1.31.1", "numpy"])
                .status()
                .expect("pip runs");
            assert!(install.success() && ready(&python), "numpy and onnxruntime could not be installed");
        }
        python
    })
}

/// Both engines and the script without our code find nothing wrong.
pub fn holds_for_everybody(run: &Run) {
    crate::provision::onnx_runtime_library();
    for engine in ["tract", "ort"] {
        let (code, said) = verified(run.folder.path(), engine);
        assert_eq!(code, 0, "{said}");
    }
    let (code, said) = script(run.folder.path());
    assert_eq!((code, said.contains("everything that was checked holds")), (0, true), "{said}");
}

/// What the script of a sceptic says of a folder, and its exit code.
pub fn script(folder: &Path) -> (i32, String) {
    let path = root().join("tests/verify_run.py");
    let output = Command::new(python()).arg(path).arg("run").current_dir(folder).output().expect("python runs");
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

#[test]
fn the_script_of_a_sceptic_says_the_same() {
    let folder = copied();
    let (code, said) = script(folder.path());
    assert_eq!((code, said.contains("everything that was checked holds")), (0, true), "{said}");
    changed(folder.path(), |f| {
        let clean = f.tensor("x0").expect("x0").clone();
        f.0.insert("x_adv".into(), clean);
    });
    let (code, said) = script(folder.path());
    assert_eq!((code, said.contains("the model predicts the label")), (1, true), "{said}");
}

/// Examples of attacks that look for the nearest one may lie beyond the radius: they hold, at the distance that was stored.
#[test]
fn examples_beyond_the_radius_hold_for_a_sceptic() {
    let arguments = [
        "audit",
        "digits-standard",
        "--data",
        "digits",
        "-n",
        "12",
        "--threat",
        "linf:0.02",
        "--attack",
        "fmn",
        "--landscapes",
        "0",
    ];
    let run = Run::new(&[&arguments[..], &["--out", "run"], super::EMBEDDED].concat()).expect(0);
    copy(&root().join("models/digits-standard"), &run.folder.path().join("models/digits-standard"));
    let (code, said) = script(run.folder.path());
    assert_eq!((code, said.contains("everything that was checked holds")), (0, true), "{said}");
    let witness = std::fs::read_dir(run.path("witness")).expect("the folder").next().expect("a file").expect("an entry").path();
    changed_in(&witness, |f| {
        let near: Vec<f64> = f.get::<f64>("distance").expect("distances").iter().map(|d| d / 2.0).collect();
        f.column("distance", near);
    });
    let (code, said) = script(run.folder.path());
    assert_eq!((code, said.contains("at another distance")), (1, true), "{said}");
}

/// The lines of Python in README, on a model that ends in logits, on one that ends in a softmax, and on one whose names they need too.
#[test]
fn the_python_of_the_readme_works_for_every_model() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README");
    let lines = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines of Python");
    let graph = |text: &str| flatscape_graph::text::parse(text).expect("a graph");
    for (name, text) in [
        ("logits", "g (float[N,1,2,2] pixels) => (float[N,4] z) { z = Flatten(pixels) }"),
        ("softmax", "g (float[N,1,2,2] input) => (float[N,4] p) { f = Flatten(input) z = Mul(f, f) p = Softmax(z) }"),
        ("taken", "g (float[N,1,2,2] x) => (float[N,4] scores) { f = Flatten(x) scores = Mul(f, f) }"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let model = flatscape_graph::onnx::write(&graph(text));
        std::fs::write(folder.path().join("model.onnx"), model).expect("a model");
        let made = flatscape(folder.path(), &["grad", "model.onnx", "-o", "grad.onnx", "--of", "ce"]);
        assert_eq!(made.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&made.stderr));
        let script = format!(
            "import numpy as np\nimages = np.full((2, 1, 2, 2), 0.5, np.float32)\n{}\n\
             assert loss.shape == (2,) and gradient.shape == images.shape and np.isfinite(gradient).all()\n",
            lines.replace("np.array([3, 7])", "np.array([3, 1])")
        );
        let run = Command::new(python()).args(["-c", &script]).current_dir(folder.path()).output().expect("python runs");
        assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
    }
}
