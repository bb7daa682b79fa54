//! One step of `sam` and of `awp` on z = Wx + b: the point at which the gradient is taken again and the step are known on paper.

use flatscape_engine::Engine;
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

use crate::provision::{engines, plugins};

/// W as rows, b, and the image; the label is 0.
const WEIGHTS: [[f64; 3]; 2] = [[0.4, -0.3, 0.2], [-0.1, 0.5, 0.3]];
const BIAS: [f64; 2] = [0.1, -0.2];
const IMAGE: [f64; 3] = [0.5, 0.8, 0.2];
const LR: f64 = 0.5;

fn trainable() -> Trainable {
    let b = Builder::new(Graph::new("net"));
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(3)]));
    let constant = |name: &str, shape: &[usize], values: &[f64]| {
        let tensor = Tensor::new(shape, values.iter().map(|&v| v as f32).collect::<Vec<f32>>()).expect("as many");
        let id = b.graph_mut().add_constant(name, tensor);
        b.expr(id)
    };
    let (w, c) = (constant("w", &[2, 3], WEIGHTS.as_flattened()), constant("b", &[2], &BIAS));
    b.output("z", b.op("Gemm", &[x.reshape(&[-1, 3]), w, c], [("transB", 1.into())]));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, onnx::write(&b.into_graph())).expect("written");
    Trainable::load(&path.display().to_string(), &Intake::default(), None).expect("a model to train")
}

/// The parameters after one step of SGD without momentum and decay: W and b.
fn step(engine: &dyn Engine, trainer: &str) -> (Vec<f64>, Vec<f64>) {
    let found = trainable();
    let marked = found.native.any_batch().expect("a free batch").clone();
    let form = Form::of(&found, &marked, &vec![true; found.weights.len()]).expect("opened");
    let task = Task::new([1, 1, 3], 2, "linf", 0.1);
    let built = |kind, text: &str| {
        let request = Request::parse(text).expect("a request");
        let component = plugins().component(kind, &request.id).expect("a component");
        let arguments = component.arguments(&request.arguments).expect("arguments");
        (plugins().build(component, &arguments, &task).expect("a program"), numbers(&arguments))
    };
    let (cost, arguments) = built(Kind::Trainer, trainer);
    let (optimizer, settings) = built(Kind::Optimizer, "sgd:momentum=0,weight-decay=0");
    let recipe = Recipe {
        trainer: "perturbed",
        cost: cost.graph(Role::Cost).expect("a cost"),
        cotangent: None,
        arguments: &arguments,
        update: optimizer.graph(Role::Update).expect("an update"),
        perturb: cost.graph(Role::Perturb),
        settings: &settings,
        perturbing: &arguments,
        moves: false,
        smoothing: 0.0,
        average: None,
    };
    let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
    let learner = Learner::compile(engine, &form, &recipe, &Link::of(&form.training, &threat)).expect("compiled");
    let weights: Vec<Tensor> = found.weights.iter().map(|w| w.value.clone()).collect();
    let (parameters, statistics) = values_of(&form, &weights);
    let mut state = learner.start(&parameters, &statistics).expect("a state");
    let x0 = Tensor::new(&[1, 1, 1, 3], IMAGE.map(|v| v as f32).to_vec()).expect("an image");
    let batch = Batch { ids: vec![0], x0: x0.clone(), y: vec![0], target: vec![0], clean: None, second: None };
    let when = When { seed: 0, epoch: 0, step: 0, k: 0, lr: LR, eps: 0.1 };
    // the adversarial point is the image here: what is tested is the move of the weights
    learner.step(&mut state, Samples { batch: &batch, adversarial: Some(&x0) }, &when).expect("a step");
    let after = |name: &str| {
        let place = form.trained.iter().position(|&w| found.weights[w].name == name).expect("a parameter");
        state.parameters[place].host().expect("on the host").to_f64()
    };
    (after("w"), after("b"))
}

/// The derivatives of cross-entropy by W and b: (p − e₀)xᵀ and p − e₀.
fn gradient(w: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let z: Vec<f64> = (0..2).map(|k| (0..3).map(|i| w[3 * k + i] * IMAGE[i]).sum::<f64>() + b[k]).collect();
    let p = 1.0 / (1.0 + (z[1] - z[0]).exp());
    let off = [p - 1.0, 1.0 - p];
    (off.iter().flat_map(|o| IMAGE.map(|x| o * x)).collect(), off.to_vec())
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// a + factor·b.
fn moved(a: &[f64], b: &[f64], factor: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + factor * b).collect()
}

fn close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 2e-6, "{what}: {found} is not {expected}");
    }
}

/// θ − lr·∇L(θ + ρ·∇L/‖∇L‖), the norm over all parameters.
#[test]
fn a_step_of_sam_is_that_of_its_formula() {
    let (w, b) = (WEIGHTS.as_flattened(), &BIAS[..]);
    let (gw, gb) = gradient(w, b);
    for rho in [0.0, 0.5] {
        let far = rho / norm(&[&gw[..], &gb].concat());
        let (pw, pb) = gradient(&moved(w, &gw, far), &moved(b, &gb, far));
        for engine in engines() {
            let (after_w, after_b) = step(&*engine, &format!("sam:rho={rho}"));
            close("W", &after_w, &moved(w, &pw, -LR));
            close("b", &after_b, &moved(b, &pb, -LR));
        }
        // far enough to tell the two gradients apart
        assert!(rho == 0.0 || (norm(&pw) - norm(&gw)).abs() > 0.02, "{} {}", norm(&pw), norm(&gw));
    }
}

/// W moves by γ·‖W‖ along its own normalised gradient, the bias stays; then the step from the original.
#[test]
fn a_step_of_awp_is_that_of_its_formula() {
    let (w, b) = (WEIGHTS.as_flattened(), &BIAS[..]);
    let (gw, _) = gradient(w, b);
    let gamma = 0.5;
    let (pw, pb) = gradient(&moved(w, &gw, gamma * norm(w) / norm(&gw)), b);
    for engine in engines() {
        let (after_w, after_b) = step(&*engine, &format!("awp:gamma={gamma}"));
        close("W", &after_w, &moved(w, &pw, -LR));
        close("b", &after_b, &moved(b, &pb, -LR));
    }
}
