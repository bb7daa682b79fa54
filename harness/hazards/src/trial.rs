//! For tests: builds a graph from a formula and runs it on the embedded engine.

use flatscape_engine::{Choice, CompileOptions, Settings};
use flatscape_graph::{Builder, Dim, Expr, Graph, Tensor, ValueType};

/// The value of a formula at inputs; their first extent is the batch.
pub(crate) fn value_of(inputs: &[Tensor], formula: impl for<'b> Fn(&'b Builder, &[Expr<'b>]) -> Expr<'b>) -> Tensor {
    let builder = Builder::new(Graph::new("trial"));
    let handles: Vec<Expr<'_>> = inputs
        .iter()
        .enumerate()
        .map(|(i, tensor)| {
            let dims =
                tensor.shape().iter().enumerate().map(|(axis, &n)| if axis == 0 { Dim::symbol("N") } else { Dim::Fixed(n) });
            builder.input(&format!("input_{i}"), ValueType::new(tensor.dtype(), dims.collect()))
        })
        .collect();
    let result = formula(&builder, &handles);
    builder.output("result", result);
    let graph = builder.into_graph();
    graph.check().expect("the graph checks");
    let engine =
        flatscape_engine::open(&Settings { choice: Choice::Tract, ..Settings::default() }).expect("tract is compiled in");
    let executable = engine.compile(&graph, &CompileOptions::default()).expect("compiled");
    let buffers: Vec<_> = inputs.iter().map(|t| executable.upload(t).expect("uploaded")).collect();
    let outputs = executable.run(&buffers.iter().collect::<Vec<_>>()).expect("run");
    outputs[0].host().expect("on the host")
}

/// Asserts that a tensor holds these numbers up to `tolerance`.
pub(crate) fn assert_close(found: &Tensor, expected: &[f64], tolerance: f64) {
    let found = found.to_f64();
    assert_eq!(found.len(), expected.len(), "{found:?} against {expected:?}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance, "{found:?} is not {expected:?}");
    }
}

/// A float tensor.
pub(crate) fn float(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape, values.to_vec()).expect("as many numbers as the shape says")
}
