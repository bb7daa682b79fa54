//! Components of `weights/1` that misbehave (`tests/plugins/weights*.c`), each against the sentence that the user must read, on a
//! quadratic loss.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use flatscape_host::{
    Ascent, Blame, Given, HostError, Kind, Law, Limits, Normalisation, OracleError, Plugins, Search, Segment, SegmentRole, Task,
    WeightFacts, Weights, WorkerCommand, worker_main,
};

/// The child process of these tests: this executable, told to run only this.
#[test]
#[ignore = "it is started by the other tests"]
fn worker() {
    let code = worker_main();
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

fn library(name: &str, folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = folder.join(format!("{name}.so"));
    let mut command = Command::new("cc");
    command.args(["-std=gnu99", "-O1", "-w", "-fPIC", "-shared", "-pthread", "-I"]).arg(root.join("plugins/include"));
    let built = command.arg("-o").arg(&out).arg(root.join(format!("tests/plugins/{name}.c"))).arg("-lm").output();
    let built = built.expect("there is a C compiler");
    assert!(built.status.success(), "{name}: {}", String::from_utf8_lossy(&built.stderr));
    out
}

fn worker_command() -> WorkerCommand {
    let exe = std::env::current_exe().expect("a test knows where it is");
    let mut worker = WorkerCommand::new(exe, &["worker", "--exact", "--ignored"]);
    let brief = Duration::from_secs(2);
    worker.limits = Limits { load: brief, build: brief, run: brief, ..Limits::default() };
    worker
}

/// L = ½ Σ i·θ_i², i from 1.
#[derive(Default)]
struct Quadratic {
    asked: usize,
    given: Vec<String>,
    opened: Vec<String>,
    /// After this many questions no more are answered; 0: never.
    budget: usize,
    fails: bool,
}

impl Quadratic {
    fn ask(&mut self) -> Result<(), OracleError> {
        self.asked += 1;
        match (self.fails, self.budget > 0 && self.asked > self.budget) {
            (true, _) => Err(OracleError::Failed("the engine fell over".into())),
            (_, true) => Err(OracleError::Stop),
            _ => Ok(()),
        }
    }
}

impl Weights for Quadratic {
    fn facts(&self) -> WeightFacts {
        let role = SegmentRole::Kernel;
        let one = Segment { name: "w".into(), shape: vec![3], role, axis: None, layer: 0, offset: 0, size: 3 };
        WeightFacts { segments: vec![one], parameters: 3, samples: 7, normalisation: Normalisation::None, seed: 0 }
    }

    fn theta(&self) -> Vec<f32> {
        vec![1.0, 2.0, 3.0]
    }

    fn filters(&self) -> Vec<i32> {
        vec![-1; 3]
    }

    fn loss(&mut self, theta: &[f32]) -> Result<[f64; 2], OracleError> {
        self.ask()?;
        Ok([theta.iter().enumerate().map(|(i, w)| 0.5 * (i + 1) as f64 * f64::from(w * w)).sum(), 1.0])
    }

    fn gradient(&mut self, theta: &[f32]) -> Result<(f64, Vec<f32>), OracleError> {
        let [loss, _] = self.loss(theta)?;
        Ok((loss, theta.iter().enumerate().map(|(i, w)| (i + 1) as f32 * w).collect()))
    }

    fn hvp(&mut self, _theta: &[f32], v: &[f32]) -> Result<Vec<f32>, OracleError> {
        self.ask()?;
        Ok(v.iter().enumerate().map(|(i, v)| (i + 1) as f32 * v).collect())
    }

    fn attack(&mut self, _theta: &[f32], _ascent: Ascent) -> Result<(), OracleError> {
        self.ask()
    }

    fn refresh(&mut self, _theta: Option<&[f32]>) -> Result<(), OracleError> {
        Ok(())
    }

    fn noise(&mut self, _law: Law, _stream: u32, _index: u32) -> Result<Vec<f32>, OracleError> {
        Ok(vec![0.5; 3])
    }

    fn other(&mut self, file: &str) -> Result<Vec<f32>, OracleError> {
        self.opened.push(file.to_owned());
        Ok(vec![0.0; 3])
    }

    fn give(&mut self, given: Given) {
        self.given.push(given.name().to_owned());
    }

    fn cancelled(&self) -> bool {
        self.budget > 0 && self.asked > self.budget
    }
}

fn measured(worker: &WorkerCommand, file: &Path, how: &str, model: &mut Quadratic) -> Result<(), HostError> {
    let plugins = Plugins::discover(&Search::only(&[file.to_owned()]), worker);
    assert_eq!(plugins.refused(), []);
    let bad = plugins.component(Kind::Metric, "bad-weights").expect("it loads");
    assert!(bad.is_weights() && !bad.is_oracle() && !bad.builds);
    let arguments = [("how".into(), how.into()), ("to".into(), "(one.onnx,two.onnx)".into())];
    let arguments = bad.arguments(&arguments).expect("good arguments");
    plugins.run_weights(bad, &arguments, &Task::new([1, 2, 2], 3, "linf", 0.1), model)
}

#[test]
fn a_metric_measures_the_same_in_both_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = library("weights", folder.path());
    for worker in [worker_command(), WorkerCommand::in_process()] {
        let mut model = Quadratic::default();
        measured(&worker, &file, "good", &mut model).expect("it measures");
        assert_eq!(model.given, ["first", "surface", "curve"]);
        assert_eq!(model.asked, 3);
    }
}

/// (how, id, the beginning of the sentence, what was given before)
const CASES: &[(&str, &str, &str, usize)] = &[
    ("nan", "P24", "bad-weights: no loss", 0),
    ("short", "P24", "bad-weights: no loss", 0),
    ("rank", "P24", "bad-weights: no loss", 0),
    ("null", "P24", "bad-weights: no loss", 0),
    ("twice", "P24", "bad-weights: it was not accepted", 1),
    ("value-nan", "P24", "bad-weights: it was not accepted", 1),
    ("name", "P24", "bad-weights: it was not accepted", 1),
    ("interval", "P24", "bad-weights: it was not accepted", 1),
    ("wide", "P24", "bad-weights: it was not accepted", 1),
    ("curve", "P24", "bad-weights: it was not accepted", 1),
    ("other", "P24", "bad-weights: it was not accepted", 1),
    ("steps", "P24", "bad-weights: it was not accepted", 1),
    ("law", "P24", "bad-weights: it was not accepted", 1),
    ("writes", "P08", "plugin weights.so died (SIG", 0),
    ("crash", "P08", "plugin weights.so died (SIGSEGV) in measure of bad-weights", 1),
    ("exit", "P08", "plugin weights.so ended the process (exit code 0) in measure of bad-weights", 1),
    ("loop", "P10", "plugin weights.so gave no answer within 2 s in measure of bad-weights and was stopped", 1),
    ("thread", "P06", "component bad-weights of plugin weights.so: it failed: asked in vain", 0),
    ("free", "P14", "plugin weights.so asked 10001 questions that cost nothing and 0 others", 0),
    ("panics", "P06", "component bad-weights of plugin weights.so: it answered the unknown status 77", 1),
];

#[test]
fn metrics_that_misbehave() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = library("weights", folder.path());
    for &(how, id, beginning, given) in CASES {
        let mut model = Quadratic::default();
        let error = measured(&worker_command(), &file, how, &mut model).expect_err(how);
        assert!(error.sentence.starts_with(beginning) && error.id == id, "{how}: {} {}", error.id, error.sentence);
        assert_eq!((model.given.len(), model.opened.len()), (given, 0), "{how}: what was given before stays");
    }
}

#[test]
fn files_that_the_user_named_are_opened_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut model = Quadratic::default();
    measured(&worker_command(), &library("weights", folder.path()), "named", &mut model).expect("it was named");
    assert_eq!(
        model.opened,
        ["(one.onnx,two.onnx)"],
        "the host asks for the text of the argument; whether it is a file is not its business"
    );
}

#[test]
fn a_stop_ends_the_run_and_a_failing_engine_is_not_the_plugins_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = library("weights", folder.path());
    let mut model = Quadratic { budget: 20, ..Quadratic::default() };
    let error = measured(&worker_command(), &file, "stubborn", &mut model).expect_err("it never ends by itself");
    assert_eq!(error.id, "P14", "{}", error.sentence);
    assert!(error.sentence.contains("asked on after it was told to stop"), "{}", error.sentence);
    let mut model = Quadratic { fails: true, ..Quadratic::default() };
    let error = measured(&worker_command(), &file, "good", &mut model).expect_err("the engine failed");
    assert_eq!((error.blame, error.sentence.as_str(), error.exit_code()), (Blame::Oracle, "the engine fell over", 6));
}

#[test]
fn tables_that_are_wrong_are_refused_when_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [
        ("weights_null", "plugin weights_null.so: component 0: its table for weights/1 has no `measure`"),
        (
            "weights_attack",
            "plugin weights_attack.so: component \"bad\": it is of kind attack and implements weights/1, which is for metrics",
        ),
    ];
    for (name, sentence) in cases {
        let plugins = Plugins::discover(&Search::only(&[library(name, folder.path())]), &worker_command());
        assert_eq!(plugins.components().len(), 0);
        assert_eq!((plugins.refused()[0].id, plugins.refused()[0].sentence.as_str()), ("P09", sentence));
    }
}

#[test]
fn the_check_measures_softmax_regression() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = flatscape_host::check(&library("weights", folder.path()), &worker_command(), false);
    let wrong: Vec<String> = report.items.iter().filter(|i| !i.pass).map(|i| format!("{}: {}", i.name, i.sentence)).collect();
    assert_eq!(wrong, [""; 0]);
    assert!(report.items.iter().any(|i| i.sentence == "it measures softmax regression in 1 ways"), "{:?}", report.items);
}
