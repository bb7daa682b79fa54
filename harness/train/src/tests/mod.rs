//! Parameters of files, derivatives against differences in double precision, updates against closed forms.

mod derivatives;
mod parameters;
mod updates;

use flatscape_engine::{Choice, CompileOptions, Engine, Settings, open};
use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Tensor, ValueType, onnx, text};
use flatscape_intake::model::{Intake, Trainable};
use flatscape_intake::random::{Law, Place, fill};
use std::sync::Arc;

/// tract, which computes in double.
pub fn tract() -> Arc<dyn Engine> {
    open(&Settings { choice: Choice::Tract, ..Settings::default() }).expect("tract is compiled in")
}

/// Normal numbers by key, times a scale.
pub fn normal(shape: &[usize], key: &str, scale: f64) -> Tensor {
    let mut data = vec![0f32; shape.iter().product()];
    fill(Law::Normal, Place::new(7, "test", key), &mut data);
    let data: Vec<f64> = data.into_iter().map(|v| f64::from(v) * scale).collect();
    Tensor::new(shape, data).expect("as many numbers as the shape says")
}

/// A graph of text.
pub fn parsed(words: &str) -> Graph {
    text::parse(words).unwrap_or_else(|e| panic!("{words}: {e}"))
}

/// A file with this graph, opened as something to train.
pub fn trainable(graph: &Graph) -> Trainable {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, onnx::write(graph)).expect("written");
    Trainable::load(&path.display().to_string(), &Intake::default(), None).unwrap_or_else(|e| panic!("{e}"))
}

/// The results of one run.
pub fn run(graph: &Graph, inputs: &[(&str, Tensor)]) -> Vec<(String, Tensor)> {
    let executable =
        tract().compile(graph, &CompileOptions { split: false, ..CompileOptions::default() }).unwrap_or_else(|e| panic!("{e}"));
    let fed: Vec<_> = graph
        .inputs()
        .iter()
        .map(|&v| {
            let name = &*graph.value(v).name;
            let (_, tensor) = inputs.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is not fed"));
            executable.upload(tensor).expect("uploaded")
        })
        .collect();
    let results = executable.run(&fed.iter().collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{e}"));
    graph.outputs().iter().zip(results).map(|(o, b)| (o.name.to_string(), b.host().expect("on the host"))).collect()
}

/// One of several results.
pub fn named<'r>(results: &'r [(String, Tensor)], name: &str) -> &'r Tensor {
    &results.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("there is no {name}")).1
}

/// x [N,2,4,4] → Conv 3×3 → BatchNormalization → Tanh → MatMul behind a Transpose, with a bias that is added: [N,3]. In double.
pub fn net(normalised: bool) -> Graph {
    let b = Builder::new(Graph::new("net"));
    let fixed = [2, 4, 4].map(Dim::Fixed);
    let x = b.input("image", ValueType::new(DType::F64, [vec![Dim::symbol("batch")], fixed.to_vec()].concat()));
    let constant = |name: &str, tensor: Tensor| {
        let id = b.graph_mut().add_constant(name, tensor);
        b.expr(id)
    };
    let (w, c) = (constant("conv.w", normal(&[3, 2, 3, 3], "w", 0.4)), constant("conv.b", normal(&[3], "c", 0.1)));
    let mut h = b.op("Conv", &[x, w, c], [("kernel_shape", [3i64, 3][..].into())]);
    if normalised {
        let gamma = constant("bn.gamma", Tensor::full(DType::F64, &[3], 1.0));
        let variance = constant("bn.variance", Tensor::full(DType::F64, &[3], 1.0));
        let (beta, mean) =
            (constant("bn.beta", Tensor::full(DType::F64, &[3], 0.0)), constant("bn.mean", Tensor::full(DType::F64, &[3], 0.0)));
        h = b.op("BatchNormalization", &[h, gamma, beta, mean, variance], [("epsilon", 1e-5f32.into())]);
    }
    let h = h.tanh().reshape(&[-1, 12]);
    let v = constant("fc.w", normal(&[3, 12], "v", 0.4));
    let z: Expr<'_> = h.matmul(v.transpose(&[1, 0])) + constant("fc.b", Tensor::full(DType::F64, &[3], 0.0));
    b.output("scores", z);
    b.into_graph()
}
