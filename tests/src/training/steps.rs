//! Ten steps with the standard optimizers against the parameters and running statistics that PyTorch has after them
//! (`tests/golden/training.py`), on every engine.

use std::collections::BTreeMap;

use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType, onnx};
use flatscape_host::{Kind, Role, Task};
use flatscape_intake::model::{Intake, Trainable};
use flatscape_measure::attack::Batch;
use flatscape_measure::link::Link;
use flatscape_measure::prepared::numbers;
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use flatscape_train::form::{Form, values_of};
use flatscape_train::learner::{Learner, Recipe, Samples, When};

use crate::provision::{engines, plugins, root};

/// ((7919 i + salt) mod 251) / 251, moved and scaled.
pub(super) fn formula(shape: &[usize], salt: usize, scale: f32, shift: f32) -> Tensor {
    let count = shape.iter().product();
    let one = |i: usize| (((7919 * i + salt) % 251) as f32 / 251.0 + shift) * scale;
    Tensor::new(shape, (0..count).map(one).collect::<Vec<f32>>()).expect("as many as the shape says")
}

/// The net of the script: convolution, batch normalisation, ReLU, dense layer; 6×6 images, 3 classes.
fn net() -> Graph {
    let b = Builder::new(Graph::new("net"));
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(6), Dim::Fixed(6)]));
    let constant = |name: &str, tensor: Tensor| {
        let id = b.graph_mut().add_constant(name, tensor);
        b.expr(id)
    };
    let w = constant("conv.weight", formula(&[4, 1, 3, 3], 0, 1.0, -0.5));
    let h = b.op("Conv", &[x, w], [("kernel_shape", [3i64, 3][..].into())]);
    let full = |v: f64| Tensor::full(DType::F32, &[4], v);
    let (scale, shift) = (constant("bn.weight", full(1.0)), constant("bn.bias", full(0.0)));
    let (mean, variance) = (constant("bn.running_mean", full(0.0)), constant("bn.running_var", full(1.0)));
    let h = b.op("BatchNormalization", &[h, scale, shift, mean, variance], [("epsilon", 1e-5f32.into())]);
    let h = h.relu().reshape(&[-1, 64]);
    let (v, d) = (constant("fc.weight", formula(&[3, 64], 2, 0.5, -0.5)), constant("fc.bias", formula(&[3], 3, 0.2, -0.5)));
    b.output("z", b.op("Gemm", &[h, v, d], [("transB", 1.into())]));
    b.into_graph()
}

fn trainable() -> Trainable {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, onnx::write(&net())).expect("written");
    Trainable::load(&path.display().to_string(), &Intake::default(), None).expect("a model to train")
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let text = std::fs::read_to_string(root().join("tests/golden/training/steps.json")).expect("the golden values");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let plugins = plugins();
    let threat = ThreatModel::parse("linf:0", false).expect("a threat model");
    let task = Task::new([1, 6, 6], 3, "linf", 0.0);
    for engine in engines() {
        for run in golden["runs"].as_array().expect("runs") {
            let what = format!("{} with {} on {}", run["cost"], run["optimizer"], engine.name());
            let found = trainable();
            let marked = found.native.any_batch().expect("a free batch").clone();
            let form = Form::of(&found, &marked, &vec![true; found.weights.len()]).expect("opened");
            let built = |kind, text: &str| {
                let request = Request::parse(text).expect("a request");
                let component = plugins.component(kind, &request.id).expect("a component");
                let arguments = component.arguments(&request.arguments).expect("arguments");
                (plugins.build(component, &arguments, &task).expect("a program"), numbers(&arguments))
            };
            let trainer = if run["cost"] == "exact-ams" { "exact-ams:mu=1" } else { "standard" };
            let (cost, arguments) = built(Kind::Trainer, trainer);
            let (optimizer, settings) = built(Kind::Optimizer, run["optimizer"].as_str().expect("an optimizer"));
            let recipe = Recipe {
                trainer: "standard",
                cost: cost.graph(Role::Cost).expect("a cost"),
                cotangent: cost.graph(Role::Cotangent),
                arguments: &arguments,
                update: optimizer.graph(Role::Update).expect("an update"),
                perturb: None,
                settings: &settings,
                perturbing: &[],
                moves: false,
                smoothing: 0.0,
                average: None,
            };
            let learner = Learner::compile(engine.as_ref(), &form, &recipe, &Link::of(&form.training, &threat))
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(!learner.in_parts, "batch statistics mix rows");
            let weights: Vec<Tensor> = found.weights.iter().map(|w| w.value.clone()).collect();
            let (parameters, statistics) = values_of(&form, &weights);
            let mut state = learner.start(&parameters, &statistics).expect("a state");
            for step in 0..10usize {
                let y: Vec<i64> = (0..8).map(|i| (i * (step as i64 + 1)) % 3).collect();
                let batch = Batch {
                    ids: (0..8).collect(),
                    x0: formula(&[8, 1, 6, 6], 31 * step, 1.0, 0.0),
                    target: y.clone(),
                    y,
                    clean: None,
                    second: None,
                };
                let when = When { seed: 0, epoch: 0, step: step as u32, k: step as u64, lr: 0.05, eps: 0.0 };
                let costs = learner
                    .step(&mut state, Samples { batch: &batch, adversarial: None }, &when)
                    .unwrap_or_else(|e| panic!("{what}: {e}"));
                let mean = costs.cost.iter().sum::<f64>() / 8.0;
                let expected = run["costs"][step].as_f64().expect("a cost");
                assert!((mean - expected).abs() < 1e-5 * expected.abs().max(1.0), "{what}, step {step}: {mean} for {expected}");
            }
            let mut after: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for (&weight, buffer) in form.trained.iter().zip(&state.parameters) {
                after.insert(found.weights[weight].name.clone(), buffer.host().expect("on the host").to_f64());
            }
            for (s, pair) in form.statistics.iter().zip(state.statistics.chunks(2)) {
                after.insert(found.weights[s.mean].name.clone(), pair[0].to_f64());
                after.insert(found.weights[s.variance].name.clone(), pair[1].to_f64());
            }
            let names: Vec<&String> = run["after"].as_object().expect("weights").keys().collect();
            assert_eq!(after.len(), names.len());
            for name in names {
                let expected = run["after"][name].as_array().expect("numbers");
                for (place, (found, expected)) in after[name].iter().zip(expected).enumerate() {
                    let expected = expected.as_f64().expect("a number");
                    assert!((found - expected).abs() < 1e-5, "{what}: {name}[{place}] is {found}, PyTorch has {expected}");
                }
            }
        }
    }
}
