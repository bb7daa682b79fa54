//! Both engines on the same graphs, and what they refuse.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};

use crate::{Buffer, Choice, CompileOptions, Device, Engine, EngineError, Settings, open, runtime};

mod running;

/// The library that the tests use: `FLATSCAPE_TEST_ORT`, or the pinned one, installed beside what is built if it is not there yet.
fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    let install = || {
        let test = std::env::current_exe().expect("a test has a path");
        let home = test.ancestors().nth(3).expect("target/PROFILE/deps/test").join("flatscape-home");
        std::fs::create_dir_all(&home).expect("the target directory can be written");
        let lock = std::fs::File::create(home.join("lock")).expect("the target directory can be written");
        lock.lock().expect("a file can be locked");
        // not by `eprintln!`, which the test harness keeps for itself
        let _ = writeln!(std::io::stderr(), "ONNX Runtime for the tests: installed into {}", home.display());
        runtime::install(&home, false).unwrap_or_else(|e| panic!("ONNX Runtime cannot be installed for the tests: {e}")).library
    };
    let set = std::env::var_os("FLATSCAPE_TEST_ORT").filter(|value| !value.is_empty()).map(PathBuf::from);
    LIBRARY.get_or_init(|| set.unwrap_or_else(install)).clone()
}

pub(crate) fn settings(choice: Choice, threads: usize) -> Settings {
    let library = (choice == Choice::Ort).then(library);
    Settings {
        choice,
        device: Device::Cpu,
        threads,
        library,
        plain: false,
        data_dir: PathBuf::from("/nonexistent"),
        process: None,
    }
}

/// Every engine, with two threads.
pub(crate) fn engines() -> Vec<Arc<dyn Engine>> {
    [Choice::Tract, Choice::Ort].map(|choice| open(&settings(choice, 2)).expect("both are there")).to_vec()
}

/// The results of one run with these tensors.
pub(crate) fn run(engine: &dyn Engine, graph: &Graph, options: &CompileOptions, inputs: &[Tensor]) -> Vec<Tensor> {
    let executable = engine.compile(graph, options).unwrap_or_else(|e| panic!("{e}"));
    let buffers: Vec<Buffer> = inputs.iter().cloned().map(Buffer::from).collect();
    let results = executable.run(&buffers.iter().collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{e}"));
    results.iter().map(|b| b.host().expect("host")).collect()
}

/// Numbers in [-1, 1) that look random, the same every time.
pub(crate) fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let count = shape.iter().product();
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    Tensor::new(shape, (0..count).map(|_| next()).collect::<Vec<f32>>()).expect("shape")
}

pub(crate) fn batch(rest: &[usize]) -> ValueType {
    let dims = [Dim::symbol("N")].into_iter().chain(rest.iter().map(|&n| Dim::Fixed(n))).collect();
    ValueType::new(DType::F32, dims)
}
