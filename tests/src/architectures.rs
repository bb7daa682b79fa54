//! Whole networks as exporters write them, differentiated end to end as `flatscape grad` does and compared with autograd in
//! float64. A case is a pair of files, `tests/architectures/<framework>/<name>.onnx` and `.npz`; none needs Rust.
//!
//! In single precision the gradient file runs on both engines. In double precision its nodes are first spelled out in operators
//! that have float64 kernels (`double.rs`), and what is left to compare is the derivative itself.

mod double;
mod exceptions;
mod golden;
mod list;

use std::sync::Arc;

use flatscape_engine::{Choice, Engine, Settings};
use flatscape_graph::{Graph, simplify};
use flatscape_intake::gradient::{self, assemble};
use flatscape_intake::model::{Intake, Native};

use crate::provision::{onnx_runtime_with, root};
use crate::rules::exceptions::settle;
use golden::{Net, Worst};

/// Largest difference in single precision, relative to the largest element of the sample.
const SINGLE: f64 = 2e-4;
/// The same for Hessian-vector products, where differences of nearly equal numbers are divided.
const SINGLE_SECOND: f64 = 2e-3;
/// In double precision. What is left is that the files hold constants such as √2 in float32.
const DOUBLE: f64 = 1e-6;

/// Every network: logits, loss, gradient and, where it is defined, the Hessian-vector product.
/// `cargo test --release -p flatscape-tests networks_differentiate -- --nocapture` prints the table.
#[test]
fn networks_differentiate_as_their_frameworks_do() {
    let engines = engines();
    let mut failures = Vec::new();
    let (mut compared, mut doubles) = (0, 0);
    println!(
        "| network | opset | nodes | forward | gradient | ratio | ORT | tract | double |\n|---|---|---|---|---|---|---|---|---|"
    );
    for net in Net::all() {
        let what = net.to_string();
        let built = built(&net);
        let refused = built.as_ref().err().cloned();
        settle(&mut failures, &format!("{what}: built"), refused.map_or(Ok(()), Err), exceptions::not_built(&what));
        let Ok(file) = built else { continue };
        let mut cells = Vec::new();
        for engine in &engines {
            let found = golden::compare(&net, engine.as_ref(), &file.graph, file.batch, SINGLE, SINGLE_SECOND);
            cells.push(cell(&found));
            let expected = exceptions::not_run(engine.name(), false, &what);
            compared += usize::from(settle(&mut failures, &format!("{what} on {}", engine.name()), found.map(drop), expected));
        }
        let found = double::spelled_out(&file.graph)
            .and_then(|graph| golden::compare(&net, engines[1].as_ref(), &graph, file.batch, DOUBLE, DOUBLE));
        cells.push(cell(&found));
        let expected = exceptions::not_run(engines[1].name(), true, &what);
        doubles += usize::from(settle(&mut failures, &format!("{what} in double precision"), found.map(drop), expected));
        let ratio = file.gradient as f64 / file.forward as f64;
        let nodes = file.native.operators.values().sum::<usize>();
        println!(
            "| {what} | {} | {nodes} | {} | {} | {ratio:.2} | {} |",
            file.native.opset,
            file.forward,
            file.gradient,
            cells.join(" | ")
        );
    }
    println!("{compared} comparisons in single and {doubles} in double precision");
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// The networks that the benchmark measures: from the image to the loss and back there are at most 3.5 times the nodes from the
/// image to the loss, and from a cotangent of the logits at most 3.5 times those from the image to the logits.
#[test]
fn gradient_graphs_are_small() {
    for name in ["lenet", "ddnet", "rn18", "rn32"] {
        let path = root().join(format!("tests/golden/nets/{name}.onnx"));
        let native = Native::load(&path.to_string_lossy(), &Intake::default()).expect(name);
        for (of, last) in [("ce", "loss"), ("cotangent", "logits")] {
            let request = gradient::Request::parse(of, "input", 1).expect("a request");
            let whole = assemble(&native, &request).expect(name).graph;
            let mut forward = whole.clone();
            let kept = forward.outputs().iter().filter(|o| [last, "logits"].contains(&&*o.name)).cloned().collect();
            forward.set_outputs(kept);
            let (forward, whole) = (simplify(&forward).nodes().len(), whole.nodes().len());
            let ratio = whole as f64 / forward as f64;
            println!("{name} --of {of}: {forward} nodes to {last}, {whole} with the gradient: {ratio:.2}");
            assert!(ratio <= 3.5, "{name} --of {of}: {whole} nodes with the gradient, {forward} without");
        }
    }
}

/// A gradient file and the sizes of its parts.
struct File {
    native: Native,
    graph: Graph,
    /// The batch that could not be made free.
    batch: Option<usize>,
    /// Nodes of the model alone, simplified.
    forward: usize,
    /// Nodes of the model with its gradient, first order, simplified.
    gradient: usize,
}

impl File {
    fn of(native: Native, second: bool) -> Result<File, String> {
        let ask = |order| {
            let request = gradient::Request::parse("ce", "input", order).map_err(|e| e.to_string())?;
            assemble(&native, &request).map(|g| g.graph).map_err(|e| e.to_string())
        };
        let free = native.any_batch().ok();
        let forward = simplify(free.unwrap_or(&native.graph)).nodes().len();
        let batch = if free.is_some() { None } else { native.fixed_batch };
        let first = ask(1)?;
        let gradient = first.nodes().len();
        let graph = if second { ask(2)? } else { first };
        // what is run is the file, not the graph that it was written from
        let graph = flatscape_graph::onnx::read(&flatscape_graph::onnx::write(&graph)).map_err(|e| e.to_string())?.graph;
        Ok(File { native, graph, batch, forward, gradient })
    }
}

fn built(net: &Net) -> Result<File, String> {
    let native = Native::load(&net.path.to_string_lossy(), &Intake::default()).map_err(|e| e.to_string())?;
    File::of(native, net.second())
}

fn cell(found: &Result<Worst, String>) -> String {
    found.as_ref().map_or("–".to_owned(), Worst::to_string)
}

/// ONNX Runtime and tract, with one thread each: the same numbers in every run.
fn engines() -> [Arc<dyn Engine>; 2] {
    let settings = Settings { choice: Choice::Tract, threads: 1, ..Settings::default() };
    [onnx_runtime_with(1), flatscape_engine::open(&settings).expect("tract is compiled in")]
}
