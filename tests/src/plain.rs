//! What judges runs the plain form of a model: not one bit of it is computed in a special form of a layer.

use flatscape_engine::{Buffer, CompileOptions};
use flatscape_graph::{Attributes, Builder, DType, Dim, Graph, Tensor, ValueType};
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::Verifier;

use crate::provision::engines;

fn numbers(shape: &[usize], step: usize) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| ((i * step) % 251) as f32 / 250.0).collect();
    Tensor::new(shape, values).expect("a shape")
}

/// Two layers of 3×3 taps that a gradient would compute in squares.
fn model() -> Graph {
    let b = Builder::new(Graph::new("model"));
    let dims = [Dim::symbol("N"), Dim::Fixed(3), Dim::Fixed(16), Dim::Fixed(16)];
    let x = b.input("x", ValueType::new(DType::F32, dims.to_vec()));
    let pads = || Attributes::none().with("pads", [1; 4]);
    let first = b.op("Conv", &[x, b.constant(numbers(&[32, 3, 3, 3], 7919))], pads()).relu();
    let second = b.op("Conv", &[first, b.constant(numbers(&[32, 32, 3, 3], 104_729))], pads()).relu();
    b.output("logits", second.mean(&[2, 3], false).matmul(b.constant(numbers(&[32, 5], 31))));
    b.into_graph()
}

fn bits(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    values.into_iter().map(f64::to_bits).collect()
}

#[test]
fn the_judge_computes_what_the_graph_says_operator_by_operator() {
    let (graph, points) = (model(), numbers(&[9, 3, 16, 16], 97));
    let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
    for engine in engines() {
        let judged = Verifier::new(&*engine, &graph, &threat, 4).expect("a judge").logits(&points).expect("logits");
        let each = |options: &CompileOptions| {
            let executable = engine.compile(&graph, options).expect("compiled");
            let given = executable.run_each(&[&Buffer::from(points.clone())]).expect("run");
            bits(given[0].host().expect("on the host").to_f64())
        };
        let plain = each(&CompileOptions { lower: false, ..CompileOptions::default() });
        assert_eq!(bits(judged.into_iter().flatten()), plain, "{}", engine.name());
        // the comparison can fail: in squares, some bits differ
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            assert_ne!(each(&CompileOptions::fast()), plain, "{}", engine.name());
        }
    }
}
