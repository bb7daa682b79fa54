//! An engine in a process of its own gives the bytes of one in this process, and what happens to that process is an error with a
//! sentence: the next graph finds another one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flatscape_contain::sandbox;
use flatscape_engine::{Buffer, Choice, CompileOptions, Engine, EngineError, EngineLimits, EngineProcess, Settings, open};
use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};

use crate::provision::{home, onnx_runtime_library, program};

/// An engine with two threads in a process of the program with these limits.
fn contained(choice: Choice, limits: EngineLimits) -> Arc<dyn Engine> {
    let arguments = vec![OsString::from("engine-worker")];
    let process = EngineProcess { program: program().to_owned(), arguments, limits, sandbox: true };
    open(&Settings { process: Some(process), ..settings(choice) }).expect("the engine opens in a process")
}

fn settings(choice: Choice) -> Settings {
    let library = (choice == Choice::Ort).then(|| onnx_runtime_library().to_owned());
    Settings { choice, library, data_dir: home(), threads: 2, ..Settings::default() }
}

const BOTH: [Choice; 2] = [Choice::Tract, Choice::Ort];

fn noise(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    Tensor::new(shape, (0..count).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect::<Vec<_>>()).expect("a shape")
}

/// A convolution with its nonlinearity, as large as its input, and two short results.
fn layers() -> Graph {
    let b = Builder::new(Graph::new("layers"));
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(8), Dim::Fixed(16), Dim::Fixed(16)]));
    let y = b.op("Conv", &[x, b.constant(noise(&[8, 8, 3, 3]))], [("pads", [1, 1, 1, 1].into())]).relu();
    b.output("y", y);
    b.output("sum", y.sum(&[1, 2, 3], false));
    b.output("positive", y.sum(&[1, 2, 3], false).greater(y.sum(&[1, 2, 3], false).scalar(3.0)));
    b.into_graph()
}

#[test]
fn a_contained_engine_gives_the_bytes_of_one_in_this_process() {
    let _alone = alone();
    for choice in BOTH {
        let (here, there) = (open(&settings(choice)).expect("the engine opens"), contained(choice, EngineLimits::default()));
        assert_eq!((here.info(), here.name()), (there.info(), there.name()));
        assert_eq!(there.sealed(), Some(sandbox::support()), "it has shut itself in");
        let run = |engine: &dyn Engine| -> Vec<Tensor> {
            let executable = engine.compile(&layers(), &CompileOptions::default()).expect("compiled");
            let x = executable.upload(&noise(&[40, 8, 16, 16])).expect("uploaded");
            let once = executable.run(&[&x]).expect("run");
            // a result goes into the next run without coming back
            let twice = executable.run(&[&once[0]]).expect("run");
            let rows = Buffer::gathered(&[&once[0], &twice[0]], &[(1, 39), (0, 0), (1, 2)]).expect("gathered").expect("rows");
            let last = executable.run(&[&rows]).expect("run");
            once.iter().chain(&twice).chain([&rows]).chain(&last).map(|buffer| buffer.host().expect("on the host")).collect()
        };
        assert_eq!(run(here.as_ref()), run(there.as_ref()), "{choice:?}");
    }
}

#[test]
fn what_an_engine_refuses_is_said_as_in_this_process() {
    let _alone = alone();
    // tract says it when the graph runs
    let choice = Choice::Ort;
    let b = Builder::new(Graph::new("never"));
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(3)]));
    b.output("y", b.op("NoSuchOperator", &[x], flatscape_graph::Attributes::none()));
    let graph = b.into_graph();
    let refused = |engine: &dyn Engine| match engine.compile(&graph, &CompileOptions::default()) {
        Ok(_) => panic!("{choice:?} compiles it"),
        Err(error) => error,
    };
    let error = refused(contained(choice, EngineLimits::default()).as_ref());
    assert!(matches!(error, EngineError::Compile { .. }), "{error}");
    let executable = contained(choice, EngineLimits::default()).compile(&layers(), &CompileOptions::default()).expect("compiled");
    let error = executable.run(&[&Buffer::from(noise(&[2, 3]))]).expect_err("another shape");
    assert!(matches!(error, EngineError::Inputs { .. }), "{error}");
}

/// Tests that find or halt processes of this one run one after the other.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Processes of engines that this process has started.
fn children() -> BTreeSet<u32> {
    let me = std::process::id();
    let entries = std::fs::read_dir("/proc").expect("Linux").filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    entries
        .filter(|pid| {
            let of = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            of("cmdline").contains("engine-worker") && of("status").contains(&format!("PPid:\t{me}\n"))
        })
        .collect()
}

/// Starts an engine and says which process is its.
fn with_process(choice: Choice, limits: EngineLimits) -> (Arc<dyn Engine>, u32) {
    // tests run beside each other: the process is the one whose memory limit nobody else has
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _only = ONE_AT_A_TIME.lock().expect("no test panics here");
    let before = children();
    let engine = contained(choice, limits);
    let new: Vec<u32> = children().difference(&before).copied().collect();
    (engine, new[0])
}

#[test]
fn an_engine_that_is_killed_costs_what_it_held_and_the_next_graph_finds_another_one() {
    let _alone = alone();
    let (engine, pid) = with_process(Choice::Tract, EngineLimits::default());
    let executable = engine.compile(&layers(), &CompileOptions::default()).expect("compiled");
    let x = executable.upload(&noise(&[4, 8, 16, 16])).expect("uploaded");
    std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill is there");
    let error = executable.run(&[&x]).expect_err("its process is dead");
    assert!(matches!(&error, EngineError::Died { .. }), "{error}");
    assert!(error.to_string().contains("the process of tract died (SIGKILL) over the graph \"layers\""), "{error}");
    assert!(x.host().is_err(), "what it held is lost");
    let executable = engine.compile(&layers(), &CompileOptions::default()).expect("another process compiles it");
    executable.run(&[&Buffer::from(noise(&[4, 8, 16, 16]))]).expect("and runs it");
}

#[test]
fn an_engine_that_is_halted_is_ended() {
    let _alone = alone();
    let (engine, pid) = with_process(Choice::Tract, EngineLimits::default());
    let executable = engine.compile(&layers(), &CompileOptions::default()).expect("compiled");
    std::process::Command::new("kill").args(["-STOP", &pid.to_string()]).status().expect("kill is there");
    let begun = Instant::now();
    let error = executable.run(&[&Buffer::from(noise(&[4, 8, 16, 16]))]).expect_err("its process is halted");
    assert!(error.to_string().contains("was halted by a signal"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Multiplies a matrix by itself, over and over.
fn heavy(times: usize) -> Graph {
    let b = Builder::new(Graph::new("heavy"));
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(2000), Dim::Fixed(2000)]));
    let mut y = x;
    for _ in 0..times {
        y = y.matmul(x) * 1e-3;
    }
    b.output("y", y);
    b.into_graph()
}

#[test]
fn an_engine_that_takes_too_long_or_too_much_is_stopped() {
    let _alone = alone();
    let usual = EngineLimits::default();
    let slow = contained(Choice::Tract, EngineLimits { run: Duration::from_secs(1), ..usual });
    let executable = slow.compile(&heavy(200), &CompileOptions::default()).expect("compiled");
    let error = executable.run(&[&Buffer::from(noise(&[4, 2000, 2000]))]).expect_err("it takes minutes");
    assert!(error.to_string().contains("gave no answer within 1 s and was stopped"), "{error}");
    let small = contained(Choice::Tract, EngineLimits { memory: 300 << 20, ..usual });
    let executable = small.compile(&heavy(2), &CompileOptions::default()).expect("compiled");
    let error = executable.run(&[&Buffer::from(noise(&[16, 2000, 2000]))]).expect_err("a tensor has 256 MB");
    assert!(matches!(&error, EngineError::Memory { .. }), "{error}");
    assert!(error.to_string().contains("use a smaller --batch-size"), "{error}");
}
