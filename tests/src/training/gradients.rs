//! Derivatives of the standard trainers' costs by all parameters against PyTorch's double autograd with `create_graph`
//! (`tests/golden/parameter_gradients.py`): in float32 on ONNX Runtime in the parts of a training, in float64 on tract.

use flatscape_certificate::widen;
use flatscape_engine::{CompileOptions, Engine, rows_are_independent};
use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType, onnx};
use flatscape_host::{Kind, Role, Task};
use flatscape_intake::model::{Intake, Trainable};
use flatscape_measure::link::{Costed, Link, WEIGHT};
use flatscape_measure::prepared::numbers;
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use flatscape_train::form::{Form, parameter};
use flatscape_train::learner::PARTS;

use super::steps::formula;
use crate::provision::{onnx_runtime, plugins, root, tract};

/// Names and shapes of the parameters, in the order of the script.
const SHAPES: &[(&str, &[usize])] = &[
    ("conv.weight", &[4, 1, 3, 3]),
    ("conv.bias", &[4]),
    ("fc1.weight", &[8, 16]),
    ("fc1.bias", &[8]),
    ("fc2.weight", &[3, 8]),
    ("fc2.bias", &[3]),
];

fn value(name: &str) -> Tensor {
    let place = SHAPES.iter().position(|(known, _)| *known == name).expect("a parameter");
    formula(SHAPES[place].1, 17 * place, 1.0, -0.5)
}

/// Convolution, ReLU, pool, dense layer, tanh, dense layer; 6×6 images, 3 classes.
fn net() -> Trainable {
    let b = Builder::new(Graph::new("net"));
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(6), Dim::Fixed(6)]));
    let [conv, bias, w1, b1, w2, b2] = [0, 1, 2, 3, 4, 5].map(|i| {
        let name = SHAPES[i].0;
        let id = b.graph_mut().add_constant(name, value(name));
        b.expr(id)
    });
    let h = b.op("Conv", &[x, conv, bias], [("kernel_shape", [3i64, 3][..].into())]).relu();
    let h = b.op("MaxPool", &[h], [("kernel_shape", [2i64, 2][..].into()), ("strides", [2i64, 2][..].into())]);
    let h = b.op("Gemm", &[h.reshape(&[-1, 16]), w1, b1], [("transB", 1.into())]).tanh();
    b.output("z", b.op("Gemm", &[h, w2, b2], [("transB", 1.into())]));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, onnx::write(&b.into_graph())).expect("written");
    Trainable::load(&path.display().to_string(), &Intake::default(), None).expect("a model to train")
}

/// The cost of a trainer with its derivatives.
fn costed(form: &Form, trainer: &str) -> Costed {
    let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
    let request = Request::parse(trainer).expect("a request");
    let component = plugins().component(Kind::Trainer, &request.id).expect("a component");
    let arguments = component.arguments(&request.arguments).expect("arguments");
    let program = plugins().build(component, &arguments, &Task::new([1, 6, 6], 3, "linf", 0.1)).expect("a program");
    let arguments = numbers(&arguments);
    let link = Link { cotangent: program.graph(Role::Cotangent), arguments: &arguments, ..Link::of(&form.training, &threat) };
    let names: Vec<String> = (0..form.trained.len()).map(parameter).collect();
    link.cost(program.graph(Role::Cost).expect("a cost"), &names, false).unwrap_or_else(|e| panic!("{trainer}: {e}"))
}

/// The mean cost, and the derivatives in the order of the form.
fn found(engine: &dyn Engine, graph: &Graph, options: &CompileOptions, found: &Trainable, form: &Form) -> (f64, Vec<Vec<f64>>) {
    let executable = engine.compile(graph, options).unwrap_or_else(|e| panic!("{e}"));
    let fed: Vec<_> = graph
        .inputs()
        .iter()
        .map(|&v| {
            let (name, dtype) = (graph.value(v).name.to_string(), graph.value(v).ty.dtype.expect("a type"));
            let tensor = match &*name {
                "x0" => formula(&[8, 1, 6, 6], 5, 1.0, 0.0),
                "x_adv" => formula(&[8, 1, 6, 6], 58, 1.0, 0.0),
                "y" => Tensor::ints(&(0..8).map(|i| i % 3).collect::<Vec<i64>>()),
                "eps" => Tensor::scalar(0.1f32),
                WEIGHT => Tensor::scalar(0.125f32),
                _ => {
                    let i = (0..form.trained.len()).find(|i| parameter(*i) == name);
                    value(&found.weights[form.trained[i.unwrap_or_else(|| panic!("{name} is read"))]].name)
                }
            };
            executable.upload(&tensor.cast(dtype)).expect("uploaded")
        })
        .collect();
    let results = executable.run(&fed.iter().collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{e}"));
    let named = |name: &str| {
        let place = graph.outputs().iter().position(|o| &*o.name == name).unwrap_or_else(|| panic!("no {name}"));
        results[place].host().expect("on the host").to_f64()
    };
    let derivatives = (0..form.trained.len()).map(|i| named(&format!("d{}", parameter(i)))).collect();
    (named("cost").iter().sum::<f64>() / 8.0, derivatives)
}

#[test]
fn derivatives_by_the_parameters_are_those_of_pytorch() {
    let text = std::fs::read_to_string(root().join("tests/golden/training/gradients.json")).expect("the golden values");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let net = net();
    let marked = net.native.any_batch().expect("a free batch").clone();
    let form = Form::of(&net, &marked, &vec![true; net.weights.len()]).expect("opened");
    let whole = CompileOptions { split: false, ..CompileOptions::default() };
    for (trainer, expected) in golden["costs"].as_object().expect("costs") {
        let costed = costed(&form, trainer);
        assert!(rows_are_independent(&costed.rows), "{trainer}");
        let parts = CompileOptions { sums: Some(PARTS), ..whole.clone() };
        let single = found(&*onnx_runtime(), &costed.graph, &parts, &net, &form);
        let double = found(&*tract(), &widen(&costed.graph).expect("in double"), &whole, &net, &form);
        for (what, tolerance, (cost, derivatives)) in [("float32", 1e-5, single), ("float64", 1e-9, double)] {
            let known = expected["cost"].as_f64().expect("a cost");
            assert!((cost - known).abs() < tolerance * known.abs(), "{trainer} in {what}: the cost is {cost} for {known}");
            let mut off = Vec::new();
            for (&weight, derivative) in form.trained.iter().zip(&derivatives) {
                let known = expected["gradients"][&net.weights[weight].name].as_array().expect("numbers");
                let known: Vec<f64> = known.iter().map(|v| v.as_f64().expect("a number")).collect();
                assert_eq!(known.len(), derivative.len());
                // relative to the root mean square of the derivatives of this parameter
                let scale = (known.iter().map(|v| v * v).sum::<f64>() / known.len() as f64).sqrt();
                assert!(scale > 1e-6, "{trainer}: {} has no derivative to compare", net.weights[weight].name);
                off.extend(derivative.iter().zip(&known).map(|(a, b)| (a - b).abs() / scale));
            }
            off.sort_by(f64::total_cmp);
            let (usual, largest) = (off[off.len() * 99 / 100], off[off.len() - 1]);
            let shown = format!("{trainer} in {what}: 99 % are within {usual:.1e}, the largest difference is {largest:.1e}");
            assert!(usual < tolerance && largest < 10.0 * tolerance, "{shown}");
            println!("{shown}");
        }
    }
}
