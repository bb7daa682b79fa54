//! Metrics of the loss around the weights: against PyTorch (`tests/golden/weights.py`), and on losses that are known on paper.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_host::{Ascent, Given, Kind, Law, Normalisation, OracleError, Segment, SegmentRole, Task, WeightFacts, Weights};
use flatscape_intake::card::Preprocessing;
use flatscape_intake::data::{Dataset, Request as Data};
use flatscape_intake::model::{Intake, Model, ModelRequest};
use flatscape_intake::random::{self, Place};
use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::Findings;
use flatscape_measure::prepared::{Prepared, Settings, Work};
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use flatscape_weights::measure::{Asked, measure};

use crate::provision::{engines, plugins, root};

static GO_ON: AtomicBool = AtomicBool::new(false);

fn golden() -> serde_json::Value {
    let text = std::fs::read_to_string(root().join("tests/golden/weights/golden.json")).expect("the golden values");
    serde_json::from_str(&text).expect("JSON")
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn near(found: f64, wanted: f64, relative: f64) {
    assert!((found - wanted).abs() <= relative * wanted.abs().max(1e-6), "{found} is not {wanted}");
}

/// A file of the golden values on the first digits of the test half.
struct Net {
    model: Model,
    request: ModelRequest,
    data: Dataset,
}

impl Net {
    fn of(engine: &dyn Engine, file: &str, n: usize) -> Net {
        let source = root().join("tests/golden/weights").join(file).display().to_string();
        let plain = Preprocessing { scale: Some(1.0), mean: Some(vec![0.0]), std: Some(vec![1.0]), ..Preprocessing::default() };
        let request = ModelRequest { source, intake: Intake { preprocessing: plain, ..Intake::default() } };
        let data = Dataset::load(&Data { limit: Some(n), ..Data::new("digits") }).expect("the digits are inside");
        let model = Model::load(&request.source, &request.intake, &data, engine).unwrap_or_else(|e| panic!("{e}"));
        Net { model, request, data }
    }

    fn measured(&self, engine: &dyn Engine, written: &str) -> Result<Findings, Refusal> {
        let request = Request::parse(written).expect(written);
        let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
        let asked = Asked {
            engine,
            plugins: plugins(),
            model: (&self.model, &self.request),
            dataset: &self.data,
            range: 0..self.data.len(),
            request: &request,
            threat: &threat,
            settings: Settings { seed: 0, batch_size: 64 },
        };
        measure(&asked, &mut |_, _| {}, &GO_ON).map(|(findings, _)| findings).map_err(Refusal::from)
    }

    /// Columns of the program of a metric.
    fn columns(&self, engine: &dyn Engine, written: &str) -> Findings {
        let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
        let work = Work::Component(Request::parse(written).expect(written));
        let settings = Settings { seed: 0, batch_size: 64 };
        let prepared = Prepared::new(engine, plugins(), &self.model, &self.data, &work, &threat, settings);
        let prepared = prepared.unwrap_or_else(|e| panic!("{written}: {e}"));
        let found = prepared.compute(0..self.data.len(), None, None, &mut |_, _| {}, &GO_ON);
        found.unwrap_or_else(|e| panic!("{written}: {e}")).findings
    }
}

/// Value, both ends of the interval, n.
fn value(found: &Findings, name: &str) -> Vec<f64> {
    let column = format!("reduced_{name}");
    found.tensor(&column).unwrap_or_else(|| panic!("there is no {name}: {:?}", found.0.keys())).to_f64()
}

#[test]
fn hessians_are_those_of_pyhessian() {
    let golden = &golden()["hessian"];
    for engine in engines() {
        let engine = engine.as_ref();
        let net = Net::of(engine, "kept.onnx", 64);
        let found = net.measured(engine, "hessian-eigenvalues:count=2,steps=60").unwrap_or_else(|e| panic!("{e}"));
        for (place, wanted) in ["1", "2"].iter().zip(golden["top_pyhessian"].as_array().expect("eigenvalues")) {
            near(value(&found, &format!("hessian_eigenvalue_{place}"))[0], number(wanted), 1e-4);
            assert!(value(&found, &format!("hessian_eigenvalue_{place}_residual"))[0] < 1e-4);
        }
        // the third that power iteration finds is the one of largest modulus, a negative one
        near(value(&found, "hessian_eigenvalue_min")[0], number(&golden["smallest"]), 1e-4);
        let found = net.measured(engine, "hessian-trace:probes=200").unwrap_or_else(|e| panic!("{e}"));
        let error = value(&found, "hessian_trace_se")[0];
        assert!((value(&found, "hessian_trace")[0] - number(&golden["trace"])).abs() < 4.0 * error, "{error}");
        let layers: f64 =
            found.with_prefix("reduced_hessian_trace_").filter(|(name, _)| *name != "se").map(|(_, t)| t.to_f64()[0]).sum();
        near(layers, value(&found, "hessian_trace")[0], 1e-6);
        let by_parameter = |names: &[&str]| names.iter().map(|name| number(&golden["trace_by_parameter"][name])).sum::<f64>();
        let fc = value(&found, "hessian_trace_4_fc_weight");
        assert!((fc[0] - by_parameter(&["fc.weight", "fc.bias"])).abs() < 1.5 * (fc[2] - fc[1]), "{fc:?}");
        let up = value(&found, "hessian_trace_3_up_weight");
        assert!((up[0] - by_parameter(&["up.weight", "up.bias"])).abs() < 1.5 * (up[2] - up[1]), "{up:?}");
        let head = net.columns(engine, "hessian-trace:of=head").get::<f64>("col_head_hessian_trace").expect("a column");
        near(head.iter().sum::<f64>() / head.len() as f64, by_parameter(&["fc.weight"]), 1e-5);
    }
}

#[test]
fn hessians_of_the_input_are_those_of_pytorch() {
    let golden = &golden()["hessian"]["input"];
    for engine in engines() {
        let net = Net::of(engine.as_ref(), "kept.onnx", 3);
        let found = net.columns(engine.as_ref(), "hessian-trace:of=input,probes=500");
        let column = |name: &str| found.get::<f64>(name).unwrap_or_else(|e| panic!("{e}"));
        let (trace, error) = (column("col_input_hessian_trace"), column("col_input_hessian_trace_se"));
        for (i, wanted) in golden.as_array().expect("images").iter().enumerate() {
            assert!((trace[i] - number(&wanted["trace"])).abs() < 4.0 * error[i], "{} {} {wanted}", trace[i], error[i]);
        }
        let found = net.columns(engine.as_ref(), "hessian-eigenvalues:of=input,steps=30");
        let row = |name: &str, i: usize| {
            let all = found.tensor(name).unwrap_or_else(|| panic!("there is no {name}")).to_f64();
            all[i * all.len() / 3..(i + 1) * all.len() / 3].to_vec()
        };
        for (i, wanted) in golden.as_array().expect("images").iter().enumerate() {
            let (alpha, beta) = (row("vec_lanczos_alpha", i), row("vec_lanczos_beta", i));
            let largest = |sign: f64| sturm(&alpha, &beta[..alpha.len() - 1], sign);
            near(largest(1.0), number(&wanted["largest"][0]), 1e-3);
            near(-largest(-1.0), number(&wanted["smallest"]), 1e-3);
        }
    }
}

/// The largest eigenvalue of sign·T, by bisection with the count of negative pivots.
fn sturm(alpha: &[f64], beta: &[f64], sign: f64) -> f64 {
    let below = |x: f64| {
        let (mut count, mut d) = (0, 1.0);
        for (i, a) in alpha.iter().enumerate() {
            let b = if i == 0 { 0.0 } else { beta[i - 1] };
            d = sign * a - x - b * b / d;
            d = if d == 0.0 { 1e-300 } else { d };
            count += usize::from(d < 0.0);
        }
        count
    };
    let (mut low, mut high) = (-1e4, 1e4);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if below(middle) == alpha.len() { high = middle } else { low = middle }
    }
    high
}

#[test]
fn the_centre_of_a_landscape_is_the_loss_and_folded_normalisation_is_said() {
    let golden = golden();
    for engine in engines() {
        let engine = engine.as_ref();
        let loss = number(&golden["hessian"]["loss"]);
        for (file, folded) in [("kept.onnx", 0.0), ("folded.onnx", 1.0)] {
            let net = Net::of(engine, file, 64);
            let found = net.measured(engine, "weight-landscape:grid=-1:1:5").unwrap_or_else(|e| panic!("{e}"));
            near(value(&found, "weight_loss_centre")[0], loss, 1e-6);
            assert_eq!(value(&found, "bn_folded")[0], folded, "{file}");
            assert_eq!(found.tensor("surface_weight_loss").expect("a surface").shape(), [5, 5]);
            assert_eq!(found.get::<f64>("grid_x_weight_loss").expect("an axis"), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        }
        let again = Net::of(engine, "kept.onnx", 64);
        let bytes = || {
            let found = again.measured(engine, "weight-landscape:grid=-1:1:3").unwrap_or_else(|e| panic!("{e}"));
            found.encode().expect("an encoding")
        };
        assert!(bytes() == bytes(), "the same request gives the same bytes");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_sentence() {
    let engines = engines();
    let engine = engines[0].as_ref();
    let net = Net::of(engine, "kept.onnx", 8);
    let file = |name: &str| root().join("tests/golden/weights").join(name).display().to_string();
    let cases = [
        ("weight-landscape:grid=-1:1:0".to_owned(), "U091", "has 0 points; 2 to 1001 are possible"),
        ("weight-landscape:grid=-1:1:1000000000".to_owned(), "U091", "has 1000000000 points; 2 to 1001 are possible"),
        ("interpolation".to_owned(), "U091", "name the other file: interpolation:to=FILE"),
        (format!("interpolation:to={}", file("kept.onnx")), "U091", "the direction to it vanishes"),
        (format!("interpolation:to={}", file("folded.onnx")), "M163", "have different architectures: operator 2 is"),
        (format!("interpolation:to={}", file("none.onnx")), "M001", "no such file"),
        (format!("trajectory:files=({0},{0})", file("kept.onnx")), "U091", "they give no direction to project on"),
        ("soft-rank:damping=0".to_owned(), "U091", "it is more than 0"),
    ];
    for (written, id, words) in cases {
        let error = net.measured(engine, &written).expect_err(&written);
        assert!(error.id() == id && error.what.contains(words), "{written}: {} {error}", error.id());
    }
}

/// L(θ) = ½ (θ − w)ᵀA(θ − w), w the weights of the «file», A diagonal: everything is known.
struct Quadratic {
    centre: Vec<f32>,
    diagonal: Vec<f64>,
    segments: Vec<(SegmentRole, usize)>,
    /// By name, what `other` answers.
    others: Vec<(String, Vec<f32>)>,
    given: BTreeMap<String, Given>,
}

impl Quadratic {
    fn new(centre: &[f32], diagonal: &[f64]) -> Quadratic {
        let segments = vec![(SegmentRole::Kernel, centre.len())];
        Quadratic { centre: centre.to_vec(), diagonal: diagonal.to_vec(), segments, others: Vec::new(), given: BTreeMap::new() }
    }

    fn measure(&mut self, written: &str) {
        let request = Request::parse(written).expect(written);
        let component = plugins().component(Kind::Metric, &request.id).expect(written);
        let arguments = component.arguments(&request.arguments).expect(written);
        let task = Task::new([1, 1, 2], 3, "linf", 0.1);
        plugins().run_weights(component, &arguments, &task, self).unwrap_or_else(|e| panic!("{written}: {e}"));
    }

    fn value(&self, name: &str) -> f64 {
        match self.given.get(name) {
            Some(Given::Value { value, .. }) => *value,
            other => panic!("{name}: {other:?} of {:?}", self.given.keys()),
        }
    }

    fn curve(&self, name: &str) -> (Vec<f64>, Vec<f64>) {
        match self.given.get(name) {
            Some(Given::Curve { x, y, .. }) => (x.clone(), y.clone()),
            other => panic!("{name}: {other:?} of {:?}", self.given.keys()),
        }
    }
}

impl Weights for Quadratic {
    fn facts(&self) -> WeightFacts {
        let mut offset = 0;
        let segments = self.segments.iter().map(|&(role, size)| {
            offset += size;
            Segment { name: format!("w{offset}"), shape: vec![1, size], role, axis: None, layer: 0, offset: offset - size, size }
        });
        let segments = segments.collect();
        WeightFacts { segments, parameters: self.centre.len(), samples: 1, normalisation: Normalisation::None, seed: 0 }
    }

    fn theta(&self) -> Vec<f32> {
        self.centre.clone()
    }

    fn filters(&self) -> Vec<i32> {
        vec![0; self.centre.len()]
    }

    fn loss(&mut self, theta: &[f32]) -> Result<[f64; 2], OracleError> {
        let square = |((t, w), a): ((&f32, &f32), &f64)| 0.5 * a * f64::from(t - w).powi(2);
        Ok([theta.iter().zip(&self.centre).zip(&self.diagonal).map(square).sum(), 1.0])
    }

    fn gradient(&mut self, theta: &[f32]) -> Result<(f64, Vec<f32>), OracleError> {
        let slope = |((t, w), a): ((&f32, &f32), &f64)| (a * f64::from(t - w)) as f32;
        Ok((self.loss(theta)?[0], theta.iter().zip(&self.centre).zip(&self.diagonal).map(slope).collect()))
    }

    fn hvp(&mut self, _theta: &[f32], v: &[f32]) -> Result<Vec<f32>, OracleError> {
        Ok(v.iter().zip(&self.diagonal).map(|(v, a)| (a * f64::from(*v)) as f32).collect())
    }

    fn attack(&mut self, _theta: &[f32], _ascent: Ascent) -> Result<(), OracleError> {
        Ok(())
    }

    fn refresh(&mut self, _theta: Option<&[f32]>) -> Result<(), OracleError> {
        Ok(())
    }

    fn noise(&mut self, law: Law, stream: u32, index: u32) -> Result<Vec<f32>, OracleError> {
        let law = random::LAWS.iter().find(|(name, _)| *name == law.name()).expect("a law").1;
        let mut drawn = vec![0f32; self.centre.len()];
        random::fill(law, Place::new(0, "quadratic", &stream.to_string()).at(0, index), &mut drawn);
        Ok(drawn)
    }

    fn other(&mut self, file: &str) -> Result<Vec<f32>, OracleError> {
        let found = self.others.iter().find(|(name, _)| name == file);
        found.map(|(_, theta)| theta.clone()).ok_or_else(|| OracleError::Failed(format!("there is no {file}")))
    }

    fn give(&mut self, given: Given) {
        self.given.insert(given.name().to_owned(), given);
    }
}

/// On average ξ²‖w‖² tr A/(2n), at worst ½ξ²‖w‖² λmax.
#[test]
fn the_flatness_of_a_quadratic_is_known() {
    let centre: Vec<f32> = (0..40).map(|i| (i as f32 * 0.7).sin()).collect();
    let mut diagonal: Vec<f64> = (0..40).map(|i| 0.2 + 0.02 * i as f64).collect();
    diagonal[7] = 9.0;
    let square: f64 = centre.iter().map(|w| f64::from(*w).powi(2)).sum();
    let mut model = Quadratic::new(&centre, &diagonal);
    model.measure("robust-flatness:draws=1000");
    near(model.value("robust_flatness_average"), 0.25 * square * diagonal.iter().sum::<f64>() / 80.0, 0.05);
    model.measure("robust-flatness:case=worst");
    near(model.value("robust_flatness_worst"), 0.5 * 0.003f64.powi(2) * square * 9.0, 0.01);
}

#[test]
fn the_spectrum_of_a_quadratic_is_its_diagonal() {
    let diagonal: Vec<f64> = (0..20).map(|i| if i < 4 { [8.0, 5.0, 3.0, -2.0][i] } else { 0.01 * i as f64 }).collect();
    let mut model = Quadratic::new(&[1.0; 20], &diagonal);
    model.measure("hessian-eigenvalues:count=3,steps=20");
    for (place, wanted) in [8.0, 5.0, 3.0].iter().enumerate() {
        near(model.value(&format!("hessian_eigenvalue_{}", place + 1)), *wanted, 1e-6);
    }
    near(model.value("hessian_eigenvalue_min"), -2.0, 1e-6);
    // of a diagonal matrix every draw of signs gives the trace
    model.measure("hessian-trace:probes=3");
    near(model.value("hessian_trace"), diagonal.iter().sum(), 1e-6);
    assert!(model.value("hessian_trace_se") < 1e-5);
    model.measure("hessian-density:probes=3,steps=20");
    near(model.value("hessian_density_trace"), diagonal.iter().sum(), 1e-5);
    near(model.value("hessian_density_square"), diagonal.iter().map(|a| a * a).sum(), 0.7);
    let (x, y) = model.curve("hessian_density");
    near(y.iter().sum::<f64>() * (x[1] - x[0]), 1.0, 1e-9);
}

#[test]
fn the_soft_rank_of_the_identity_is_half_its_size() {
    let mut model = Quadratic::new(&[1.0; 10], &[1.0; 10]);
    model.measure("soft-rank:damping=1");
    near(model.value("soft_rank"), 5.0, 1e-6);
}

#[test]
fn a_line_of_files_is_a_line_and_a_curve_ends_at_its_files() {
    let end: Vec<f32> = (0..12).map(|i| (i as f32).cos()).collect();
    let at = |t: f32| end.iter().map(|w| w * (1.0 + t)).collect::<Vec<f32>>();
    let mut model = Quadratic::new(&end, &[1.0; 12]);
    model.others = vec![("a".into(), at(3.0)), ("b".into(), at(1.0))];
    model.measure("trajectory:files=(a,b)");
    near(model.value("trajectory_explained_1"), 1.0, 1e-9);
    assert_eq!(model.value("trajectory_explained_2"), 0.0);
    let (x, y) = model.curve("trajectory");
    assert_eq!((x.len(), x[2], y[2]), (3, 0.0, 0.0), "the model itself is the origin");
    near(x[0] / x[1], 3.0, 1e-6);
    // L on the line is a quadratic of t: no barrier, and t = 1 is the other file
    model.measure("interpolation:to=b,grid=0:1:11");
    let square: f64 = end.iter().map(|w| f64::from(*w).powi(2)).sum();
    let (t, loss) = model.curve("interpolation_loss");
    for (t, loss) in t.iter().zip(loss) {
        near(loss + 1e-9, 0.5 * square * t * t + 1e-9, 1e-5);
    }
    assert!(model.value("interpolation_barrier").abs() < 1e-9);
    for path in ["bezier", "chain"] {
        model.measure(&format!("mode-connection:to=b,path={path},iterations=5"));
        let (_, loss) = model.curve("connection_loss");
        assert_eq!((loss.len(), loss[0]), (61, 0.0));
        near(loss[60], 0.5 * square, 1e-6);
    }
}

/// Runs `flatscape landscape` on the digits; exit code, and what it says.
fn landscape(folder: &std::path::Path, arguments: &[&str]) -> (i32, String) {
    let usual = ["landscape", "digits-standard", "digits-adversarial", "--data", "digits", "-n", "40", "--engine", "tract"];
    let mut command = std::process::Command::new(crate::provision::program());
    let done =
        command.args(usual).args(["--kind", "loss-weights"]).args(arguments).current_dir(folder).output().expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.code().unwrap_or(-1), said)
}

#[test]
fn landscapes_over_weights_are_data_and_pictures() {
    let folder = tempfile::tempdir().expect("a folder");
    let drawn = |arguments: &[&str], out: &str| -> BTreeMap<String, Vec<u8>> {
        let (code, said) = landscape(folder.path(), &[arguments, &["--out", out]].concat());
        assert_eq!(code, 0, "{said}");
        let entries = std::fs::read_dir(folder.path().join(out).join("landscapes")).expect("a folder");
        let read = |entry: std::fs::DirEntry| {
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file"))
        };
        entries.map(|entry| read(entry.expect("an entry"))).collect()
    };
    let files = drawn(&["--grid", "-1:1:5"], "a");
    let stem = "weights-weight-landscape";
    let names =
        [format!("m0001-{stem}.csv"), format!("m0001-{stem}.svg"), format!("m0002-{stem}.csv"), format!("m0002-{stem}.svg")];
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), [&names[..], &[format!("{stem}.svg")]].concat());
    let text = String::from_utf8(files[&names[0]].clone()).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (26, "x,y,loss,accuracy"));
    assert!(drawn(&["--grid", "-1:1:5"], "b") == files, "the same command gives the same bytes");
    assert!(drawn(&["--grid", "-1:1:5", "--seed", "1"], "c")[&names[0]] != files[&names[0]], "another seed, other directions");
    let line = drawn(&["--directions", "to:digits-amsreg", "--grid", "0:1:3"], "d");
    let text = String::from_utf8(line["m0001-interpolation-interpolation_loss.csv"].clone()).expect("UTF-8");
    let centre = lines.iter().find(|line| line.starts_with("0,0,")).expect("the file is a point of the grid");
    let at = |line: &str, column: usize| line.split(',').nth(column).and_then(|v| v.parse::<f64>().ok()).expect("a number");
    near(at(text.lines().nth(1).expect("t = 0"), 1), at(centre, 2), 1e-6);
    assert!(line.contains_key("interpolation-interpolation_loss.svg"));
}

#[test]
fn landscapes_over_weights_that_are_not_possible_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--grid", "-1:1:0"], 2, "has 0 points"),
        (&["--grid", "-1:1:1000000000"], 2, "has 1000000000 points"),
        (&["--directions", "fgsm"], 2, "are unknown for weights"),
        (&["--directions", "to:smallnet-standard"], 3, "different architectures"),
        (&["--directions", "to:"], 2, "names no file"),
    ];
    for (place, (arguments, code, words)) in cases.iter().enumerate() {
        let out = format!("run{place}");
        let (found, said) = landscape(folder.path(), &[*arguments, &["--out", &out]].concat());
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(found, *code, "{arguments:?}: {said}");
    }
}
