//! Both engines on the same graphs, and what they refuse.

use std::path::PathBuf;
use std::sync::Arc;

use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};

use crate::{Buffer, Choice, CompileOptions, Device, Engine, EngineError, Settings, open};

mod running;

/// The library that the tests use: `FLATSCAPE_TEST_ORT` or `ORT_DYLIB_PATH`.
fn library() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let found = set("FLATSCAPE_TEST_ORT").or_else(|| set("ORT_DYLIB_PATH"));
    if found.is_none() {
        eprintln!("skipped: no ONNX Runtime library found (set FLATSCAPE_TEST_ORT to a libonnxruntime)");
    }
    found
}

pub(crate) fn settings(choice: Choice, threads: usize) -> Settings {
    let library = if choice == Choice::Ort { library() } else { None };
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

/// Every engine that is there, with two threads.
pub(crate) fn engines() -> Vec<Arc<dyn Engine>> {
    let mut engines = vec![open(&settings(Choice::Tract, 2)).expect("tract")];
    if library().is_some() {
        engines.push(open(&settings(Choice::Ort, 2)).expect("ONNX Runtime"));
    }
    engines
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
