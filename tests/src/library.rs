//! The crates as a library: the example that the README shows is compiled, run, and right.

use flatscape_engine::CompileOptions;
use flatscape_graph::{onnx, text};

use crate::provision::{root, tract};

#[path = "../../harness/autodiff/examples/gradient.rs"]
mod gradient;

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let example = std::fs::read_to_string(root().join("harness/autodiff/examples/gradient.rs")).expect("the example");
    let shown = &example[example.find("use ").expect("its first line")
        ..example.find("\n/// Differentiates a model that").expect("its last function")];
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    assert!(readme.contains(&format!("```rust\n{}\n```", shown.trim_end())), "README.md does not show this:\n{shown}");
}

/// y = x² summed: the gradient is 2x.
#[test]
fn the_example_differentiates() {
    let model = text::parse("square (float[N,3] x) => (float[N,3] y) { y = Mul(x, x) }").expect("a program");
    let bytes = gradient::with_gradient(&onnx::write(&model)).expect("a gradient");
    let graph = onnx::read(&bytes).expect("it reads what it wrote").graph;
    let executable = tract().compile(&graph, &CompileOptions::default()).expect("compiled");
    let x = flatscape_graph::Tensor::new(&[1, 3], vec![1.0f32, -2.0, 0.5]).expect("three numbers");
    let outputs = executable.run(&[&executable.upload(&x).expect("uploaded")]).expect("run");
    let all: Vec<Vec<f64>> = outputs.iter().map(|o| o.host().expect("on the host").to_f64()).collect();
    assert_eq!(all, [vec![1.0, 4.0, 0.25], vec![2.0, -4.0, 1.0]]);
    gradient::main().expect("the example runs");
}
