//! Files in half precision: the file itself judges where ONNX Runtime runs it, what float32 and rounding make of it stands beside,
//! and what cannot be run is said to be judged by a copy. The model is a classifier by the nearest mean, of which the weights need no
//! training: score k is m_k·x − |m_k|²/2.

use std::path::Path;
use std::process::Output;

use flatscape_intake::data::{Dataset, Request};

use crate::cases::files;
use crate::program::{Row, table};
use crate::provision::{flatscape, onnx_runtime_library};
use crate::wire::{Data, Model};

/// Images that means are taken of.
const IMAGES: usize = 200;

/// The number of half precision below a number, in its absolute value; 0 where that would be subnormal.
fn shortened(v: f32) -> f32 {
    if v.abs() < 6.2e-5 { 0.0 } else { f32::from_bits(v.to_bits() & !0x1fff) }
}

/// Weights [64,10] and bias [10].
fn means() -> (Vec<f32>, Vec<f32>) {
    let digits = Dataset::load(&Request::new("digits")).expect("digits").batch(0..IMAGES);
    let pixels = digits.x.to_vec::<f32>().expect("floats");
    let (mut sums, mut counts) = (vec![0f32; 640], [0f32; 10]);
    for (image, &y) in pixels.chunks(64).zip(&digits.y) {
        counts[y as usize] += 1.0;
        image.iter().enumerate().for_each(|(i, v)| sums[i * 10 + y as usize] += v);
    }
    let weights: Vec<f32> = sums.iter().enumerate().map(|(i, sum)| shortened(sum / counts[i % 10])).collect();
    let bias = |k: usize| shortened(-(0..64).map(|i| weights[i * 10 + k].powi(2)).sum::<f32>() / 2.0);
    (weights.clone(), (0..10).map(bias).collect())
}

/// Which file.
#[derive(Clone, Copy, PartialEq)]
struct Kind {
    /// Element type of input and output, and of what is between them.
    ends: &'static str,
    inner: &'static str,
    batch: &'static str,
    /// Operators behind the scores: of each its name and a number that it takes, if it takes one.
    tail: &'static [(&'static str, Option<f32>)],
}

/// `net.onnx` in a folder.
fn write(folder: &Path, kind: Kind) {
    let (weights, bias) = means();
    let half = |v: &'static str| v != "float";
    let code = |ty: &str| {
        if ty == "bfloat16" {
            16
        } else if ty == "float16" {
            10
        } else {
            1
        }
    };
    let mut model = Model::new().input("x", &format!("{}[{},1,8,8]", kind.ends, kind.batch));
    let own = |v: &[f32]| {
        if kind.inner == "bfloat16" { v.iter().map(|v| f32::from_bits(v.to_bits() & !0xffff)).collect() } else { v.to_vec() }
    };
    for (name, shape, values) in [("w", vec![64, 10], own(&weights)), ("b", vec![10], own(&bias))] {
        let data = if kind.inner == "bfloat16" { Data::Bfloat16(&values) } else { Data::Float16(&values) };
        model = model.tensor(name, &shape, data);
    }
    let widened = kind.inner == "weights";
    let mut x = "x";
    if half(kind.inner) && !widened && kind.ends != kind.inner {
        model = model.node_with("Cast", &["x"], "xh", &[("to", code(kind.inner))]);
        x = "xh";
    }
    if widened {
        model = model.node_with("Cast", &["w"], "wf", &[("to", 1)]).node_with("Cast", &["b"], "bf", &[("to", 1)]);
    }
    let (w, b) = if widened { ("wf", "bf") } else { ("w", "b") };
    model = model.node("Flatten", &[x], "flat").node("Gemm", &["flat", w, b], "z");
    let mut last = "z".to_owned();
    for (place, (op, number)) in kind.tail.iter().enumerate() {
        let (given, constant) = (format!("t{place}"), format!("c{place}"));
        model = match number {
            Some(v) => model.tensor(&constant, &[], Data::Float16(&[*v])).node(op, &[&last, &constant], &given),
            None => model.node(op, &[&last], &given),
        };
        last = given;
    }
    if half(kind.inner) && !widened && kind.ends != kind.inner {
        model = model.node_with("Cast", &[&last], "out", &[("to", 1)]);
        last = "out".to_owned();
    }
    let model = model.output(&last, &format!("{}[{},10]", kind.ends, kind.batch));
    std::fs::write(folder.join("net.onnx"), model.bytes()).expect("a model");
}

/// What an audit says of a file.
struct Said {
    code: i32,
    rows: Vec<Row>,
    manifest: serde_json::Value,
    text: String,
    folder: tempfile::TempDir,
}

fn audited(kind: Kind, engine: &str) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), kind);
    let arguments = ["audit", "net.onnx", "--data", "digits", "-n", "100", "--threat", "linf:0.1", "--attack", "pgd:steps=5"];
    let library = onnx_runtime_library().to_string_lossy().into_owned();
    let mut arguments = [&arguments[..], &["--landscapes", "0", "--out", "run", "--engine", engine]].concat();
    if engine == "ort" {
        arguments.extend(["--ort-lib", &library]);
    }
    Said::of(&flatscape(folder.path(), &arguments), folder)
}

impl Said {
    /// The outcome of an audit in a folder, with its directory `run`.
    fn of(output: &Output, folder: tempfile::TempDir) -> Said {
        let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        let read =
            |name: &str| std::fs::read_to_string(folder.path().join("run").join(name)).unwrap_or_else(|e| panic!("{e}: {text}"));
        let rows = table(&read("results.csv"));
        let manifest = serde_json::from_str(&read("manifest.json")).expect("JSON");
        Said { code: output.status.code().unwrap_or(-1), rows, manifest, text, folder }
    }

    fn value(&self, metric: &str) -> f64 {
        let row = self.rows.iter().find(|r| r["metric"] == metric).unwrap_or_else(|| panic!("no {metric}: {}", self.text));
        row["value"].parse().expect("a number")
    }

    fn judged_by(&self) -> String {
        self.manifest["models"][0]["judged_by"].to_string()
    }

    fn has(&self, doubt: &str) -> bool {
        self.rows.iter().any(|row| row["flags"].split([' ', ';', ',']).any(|flag| flag == doubt))
    }
}

const PLAIN: Kind = Kind { ends: "float16", inner: "float16", batch: "N", tail: &[] };

/// Overflows where every result is rounded; the factors cancel where it is not.
const OVERFLOW: &[(&str, Option<f32>)] =
    &[("Mul", Some(8192.0)), ("Mul", Some(8192.0)), ("Div", Some(8192.0)), ("Div", Some(8192.0))];

/// At 4096 the numbers of float16 are 4 apart: scores become equal.
const COARSE: &[(&str, Option<f32>)] = &[("Add", Some(4096.0))];

#[test]
fn ordinary_files_judge_and_nothing_is_doubted() {
    let float = audited(Kind { ends: "float", inner: "weights", ..PLAIN }, "ort");
    assert_eq!((float.judged_by().as_str(), float.has("half-precision")), ("\"file\"", false), "{}", float.text);
    assert!(!float.has("half-rounding"), "half precision in weights alone changes nothing: {}", float.text);
    for kind in
        [PLAIN, Kind { batch: "4", ..PLAIN }, Kind { tail: &[("Softmax", None)], ..PLAIN }, Kind { ends: "float", ..PLAIN }]
    {
        let said = audited(kind, "ort");
        assert_eq!(said.judged_by(), "\"file\"", "{}", said.text);
        assert!(!said.has("half-precision") && !said.has("float32-copy"), "{}", said.text);
        assert!((said.value("clean_accuracy") - float.value("clean_accuracy")).abs() < 0.011, "{}", said.text);
        assert!((said.value("robust_accuracy") - float.value("robust_accuracy")).abs() < 0.05, "{}", said.text);
        let checked = flatscape(said.folder.path(), &["verify", "run", "--engine", "ort"]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

/// Scores that half precision makes equal: the file answers so by itself, and both numbers are said.
#[test]
fn what_the_file_answers_otherwise_counts_and_is_doubted() {
    let said = audited(Kind { tail: COARSE, ..PLAIN }, "ort");
    assert_eq!((said.code, said.judged_by().as_str()), (9, "\"file\""), "{}", said.text);
    assert!(said.has("half-precision") && said.text.contains("in float32"), "{}", said.text);
    assert!(said.value("ties") > 0.3, "{}", said.text);
    let exact = audited(PLAIN, "ort");
    assert!(said.value("clean_accuracy") < exact.value("clean_accuracy") - 0.2, "{}", said.text);
}

/// Numbers that overflow in half precision: engines that compute in float32 do not see it, and it is said.
#[test]
fn overflow_is_doubted_on_every_engine() {
    for engine in ["ort", "tract"] {
        let said = audited(Kind { tail: OVERFLOW, ..PLAIN }, engine);
        assert_eq!(said.code, 9, "{engine}: {}", said.text);
        assert!(said.has("half-precision") && said.text.contains("rounded to half precision"), "{}", said.text);
    }
}

#[test]
fn what_no_engine_runs_is_judged_by_a_copy_and_said() {
    for (kind, engine, why) in [
        (PLAIN, "tract", "does not run files as they are"),
        (Kind { ends: "bfloat16", inner: "bfloat16", ..PLAIN }, "ort", "cannot load it"),
        (Kind { ends: "float", inner: "bfloat16", ..PLAIN }, "ort", "cannot load it"),
    ] {
        let said = audited(kind, engine);
        assert!(said.judged_by().contains("float32-copy") && said.judged_by().contains(why), "{}", said.judged_by());
        assert!(said.has("float32-copy") && said.text.contains("not by the file itself"), "{}", said.text);
    }
}

/// The case of a net that overflows in half precision, on the images that were kept with it. ONNX Runtime computes parts of it in
/// float32 and predicts as PyTorch does in float32, 0.9775; rounded after every operator it has no finite scores.
#[test]
fn the_case_of_an_overflow_is_judged_by_its_file_and_doubted() {
    let test = "the_case_of_an_overflow_is_judged_by_its_file_and_doubted";
    let Some(files) = files(test) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let library = onnx_runtime_library().to_string_lossy().into_owned();
    let [model, data] = ["c04_overflow.onnx", "c04.npz"].map(|name| files.join(name).to_string_lossy().into_owned());
    let asked = "--threat linf:0.1 --attack pgd:steps=5 --landscapes 0 --out run --engine ort --ort-lib";
    let arguments = ["audit", &model, "--data", &data].into_iter().chain(asked.split(' ')).chain([&*library]);
    let output = flatscape(folder.path(), &arguments.collect::<Vec<_>>());
    let said = Said::of(&output, folder);
    assert_eq!((said.code, said.judged_by().as_str()), (9, "\"file\""), "{}", said.text);
    assert_eq!(said.value("clean_accuracy"), 0.9775, "{}", said.text);
    let robust = said.value("robust_accuracy");
    assert!((0.30..0.42).contains(&robust), "{robust}");
    let numbers =
        "clean accuracy 0.9775 by the file on this engine, 0.9775 in float32, 0.0000 with every result rounded to half precision";
    assert!(said.has("half-precision") && said.text.contains(numbers), "{}", said.text);
    let verdict = format!("robust accuracy under pgd {robust:.4} by the file on this engine");
    assert!(said.text.contains(&verdict), "{}", said.text);
    let checked = flatscape(said.folder.path(), &["verify", "run", "--engine", "ort"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
