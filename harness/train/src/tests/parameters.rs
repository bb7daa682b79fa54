//! Where weights are, and what opening and writing a file do with them.

use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};
use flatscape_intake::model::{Trainable, WeightRole};

use flatscape_measure::attack::Batch;
use flatscape_measure::link::Link;
use flatscape_measure::threats::ThreatModel;

use super::{named, net, normal, parsed, run, tract, trainable};
use crate::form::{Form, values_of};
use crate::learner::{Learner, Recipe, Samples, When};

fn values(trainable: &Trainable) -> Vec<Tensor> {
    trainable.weights.iter().map(|w| w.value.clone()).collect()
}

fn names(trainable: &Trainable) -> Vec<(&str, WeightRole)> {
    trainable.weights.iter().map(|w| (w.name.as_str(), w.role)).collect()
}

/// Zero biases, scales of 1 and running statistics are equal numbers, and stay weights of their own.
#[test]
fn every_weight_is_found_once_and_equal_ones_are_not_merged() {
    use WeightRole::{Mean, Parameter, Variance};
    let found = trainable(&net(true));
    let mut names = names(&found);
    names.sort_by_key(|(name, _)| *name);
    let expected = [
        ("bn.beta", Parameter),
        ("bn.gamma", Parameter),
        ("bn.mean", Mean),
        ("bn.variance", Variance),
        ("conv.b", Parameter),
        ("conv.w", Parameter),
        ("fc.b", Parameter),
        ("fc.w", Parameter),
    ];
    assert_eq!(names, expected);
    let form = opened(&found, &[true; 8]);
    assert_eq!((form.trained.len(), form.statistics.len(), form.masks.len()), (6, 1, 0));
    assert_eq!((form.statistics[0].momentum as f32, form.statistics[0].spatial), (0.9, 4));
}

fn opened(found: &Trainable, chosen: &[bool]) -> Form {
    let marked = found.native.any_batch().expect("a free batch").clone();
    Form::of(found, &marked, chosen).unwrap_or_else(|e| panic!("{e}"))
}

/// The evaluation form with the file's weights, the graph with values put back, and the file as it was give the same scores.
#[test]
fn the_forms_compute_what_the_file_computes() {
    for normalised in [false, true] {
        let graph = net(normalised);
        let found = trainable(&graph);
        let x = normal(&[5, 2, 4, 4], "x", 1.0);
        let expected = run(&graph, &[("image", x.clone())]);
        let form = opened(&found, &vec![true; found.weights.len()]);
        let (parameters, statistics) = values_of(&form, &values(&found));
        let mut fed = vec![("image", x.clone())];
        let names: Vec<String> = (0..parameters.len()).map(crate::form::parameter).collect();
        let stats: Vec<String> = (0..statistics.len()).map(crate::form::statistic).collect();
        fed.extend(names.iter().map(String::as_str).zip(parameters));
        fed.extend(stats.iter().map(String::as_str).zip(statistics));
        let opened = run(&form.evaluation, &fed);
        let written = run(&found.file(&values(&found)).expect("followed"), &[("image", x)]);
        for (found, expected) in [(&opened[0].1, &expected[0].1), (named(&written, "scores"), &expected[0].1)] {
            for (a, b) in found.to_f64().iter().zip(expected.to_f64()) {
                assert!((a - b).abs() < 1e-12, "{a} for {b}");
            }
        }
    }
}

/// One matrix used as it is and transposed is one parameter; what comes before the first layer, and single numbers, are none.
#[test]
fn shared_weights_are_one_and_preprocessing_is_none() {
    let b = Builder::new(Graph::new("tied"));
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(3)]));
    let constant = |name: &str, tensor: Tensor| {
        let id = b.graph_mut().add_constant(name, tensor.cast(DType::F32));
        b.expr(id)
    };
    let (mean, w) = (constant("mean", normal(&[3], "m", 1.0)), constant("w", normal(&[3, 3], "w", 1.0)));
    let half = constant("half", Tensor::scalar(0.5f32));
    b.output("z", ((x - mean).matmul(w).tanh() * half).matmul(w.transpose(&[1, 0])));
    let found = trainable(&b.into_graph());
    assert_eq!(names(&found), [("w", WeightRole::Parameter)]);
    let form = opened(&found, &[true]);
    assert_eq!(form.training.inputs().len(), 2);
    let transposes = form.training.nodes().iter().filter(|n| &*n.op == "Transpose").count();
    assert_eq!(transposes, 1, "{}", flatscape_graph::text::print(&form.training));
}

#[test]
fn a_normalisation_whose_scale_is_frozen_keeps_its_statistics() {
    let found = trainable(&net(true));
    let chosen: Vec<bool> = found.weights.iter().map(|w| !w.name.starts_with("bn.")).collect();
    let form = opened(&found, &chosen);
    assert_eq!((form.trained.len(), form.statistics.len()), (4, 0));
    assert!(form.training.output_named("batch_mean_0_at").is_none());
}

#[test]
fn dropout_has_a_mask_in_training_alone_and_stays_in_the_file() {
    let graph = parsed(
        "net (float[N,2] x) => (float[N,2] z) <float[2,2] w = {1, 2, 3, 4}, float p = {0.25}> { h = MatMul(x, w)  d = Dropout(h, p)  z = MatMul(d, w) }",
    );
    let found = trainable(&graph);
    assert_eq!(found.dropouts, [0.25]);
    let form = opened(&found, &[true]);
    assert_eq!((form.masks.len(), form.masks[0].shape.clone(), form.masks[0].ratio), (1, vec![2], 0.25));
    assert!(form.training.input_named("mask_0_at").is_some() && form.evaluation.input_named("mask_0_at").is_none());
    let file = found.file(&values(&found)).expect("followed");
    assert_eq!(file.nodes().iter().filter(|n| &*n.op == "Dropout").count(), 1);
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let refused = |words: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, flatscape_graph::onnx::write(&parsed(words))).expect("written");
        let loaded = Trainable::load(&path.display().to_string(), &Default::default(), None);
        loaded.err().unwrap_or_else(|| panic!("{words} is accepted")).to_string()
    };
    let nothing = refused("net (float[N,2] x) => (float[N,2] z) { z = Relu(x) }");
    assert!(nothing.contains("M160") && nothing.contains("nothing in it can be trained"), "{nothing}");
    let quantised = refused(
        "net (float[N,2] x) => (float[N,2] z) <int8[2,2] w = {1, 2, 3, 4}, float s = {0.1}, int8 o = {0}> { d = DequantizeLinear(w, s, o)  z = MatMul(x, d) }",
    );
    assert!(quantised.contains("M161") && quantised.contains("quantised weights"), "{quantised}");
}

/// Twelve normalisations, the j-th of what has the mean j: their running means are 0.1·j after a step, and none takes those of another
/// whose number begins alike.
#[test]
fn many_normalisations_keep_their_statistics_apart() {
    let b = Builder::new(Graph::new("deep"));
    let mut h = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(3)]));
    let constant = |name: String, tensor: Tensor| {
        let id = b.graph_mut().add_constant(&name, tensor.cast(DType::F32));
        b.expr(id)
    };
    let full = |v: f64| Tensor::full(DType::F32, &[3], v);
    for j in 0..12 {
        let parts = [("scale", 1.0), ("shift", 0.0), ("mean", 0.0), ("variance", 1.0)];
        let [s, t, m, v] = parts.map(|(name, v)| constant(format!("{name}{j}"), full(v)));
        h = b.op("BatchNormalization", &[h + f64::from(j), s, t, m, v], flatscape_graph::Attributes::none());
    }
    b.output("z", h.matmul(constant("w".into(), normal(&[3, 2], "w", 1.0))));
    let found = trainable(&b.into_graph());
    let form = opened(&found, &vec![true; found.weights.len()]);
    let threat = ThreatModel::parse("linf:0", false).expect("a threat model");
    let cost = parsed("cost (float[N,K] logits, int64[N] y) => (float[N] cost) { cost = flatscape.CrossEntropy(logits, y) }");
    let update = parsed(
        "update (float[] param, float[] dparam, float lr) => (float[] param_next) { s = Mul(dparam, lr)  param_next = Sub(param, s) }",
    );
    let recipe = Recipe {
        trainer: "test",
        cost: &cost,
        cotangent: None,
        arguments: &[],
        update: &update,
        perturb: None,
        settings: &[],
        perturbing: &[],
        moves: false,
        smoothing: 0.0,
        average: None,
    };
    let learner = Learner::compile(tract().as_ref(), &form, &recipe, &Link::of(&form.training, &threat)).expect("compiled");
    let (parameters, statistics) = values_of(&form, &values(&found));
    let mut state = learner.start(&parameters, &statistics).expect("a state");
    let x0 = Tensor::new(&[4, 3], (0..12).map(|i| ((i * i) % 7) as f32 - 2.0).collect()).expect("twelve numbers");
    let mean: f64 = x0.to_f64().iter().step_by(3).sum::<f64>() / 4.0;
    let y = vec![0, 1, 1, 0];
    let batch = Batch { ids: (0..4).collect(), x0, target: y.clone(), y, clean: None, second: None };
    let when = When { seed: 0, epoch: 0, step: 0, k: 0, lr: 0.1, eps: 0.0 };
    learner.step(&mut state, Samples { batch: &batch, adversarial: None }, &when).expect("a step");
    for (j, pair) in state.statistics.chunks(2).enumerate() {
        let expected = 0.1 * (j as f64 + if j == 0 { mean } else { 0.0 });
        let found = pair[0].to_f64()[0];
        assert!((found - expected).abs() < 1e-5, "normalisation {j}: {found} for {expected}");
    }
}
