//! Optimizers of the standard plugin: their update graphs on both engines, on parameters of several ranks, against closed forms and
//! against the same recurrences in float64.

use flatscape_engine::{CompileOptions, Engine};
use flatscape_graph::{DType, Graph, Tensor, ValueType};
use flatscape_host::{Kind, Role, Task};
use flatscape_measure::prepared::numbers;
use flatscape_measure::request::Request;

use super::toy::close;
use crate::provision::{engines, plugins};

/// An optimizer on one parameter, with its states.
struct Optimizer {
    graph: Graph,
    shape: Vec<usize>,
    arguments: Vec<(String, f64)>,
    states: Vec<(String, Vec<f32>)>,
    k: i64,
}

impl Optimizer {
    fn new(written: &str, shape: &[usize]) -> Optimizer {
        let request = Request::parse(written).expect(written);
        let component = plugins().component(Kind::Optimizer, &request.id).expect(written);
        let arguments = component.arguments(&request.arguments).expect(written);
        let program = plugins().build(component, &arguments, &Task::new([1, 1, 1], 2, "linf", 0.1)).expect(written);
        let mut graph = program.graph(Role::Update).expect("an update").clone();
        let size = shape.iter().product();
        let mut states = Vec::new();
        for input in graph.inputs().to_vec() {
            let name = graph.value(input).name.to_string();
            if graph.shape(input).is_none() {
                graph = graph.with_input_type(input, ValueType::fixed(DType::F32, shape));
            }
            if name.starts_with("state_") {
                states.push((name, vec![0f32; size]));
            }
        }
        // types of results follow
        let graph = graph.rewrite(|_, _, _| None);
        graph.check().expect(written);
        Optimizer { graph, shape: shape.to_vec(), arguments: numbers(&arguments), states, k: 0 }
    }

    fn step(&mut self, engine: &dyn Engine, param: &[f32], dparam: &[f32], lr: f32) -> Vec<f32> {
        let executable = engine.compile(&self.graph, &CompileOptions::default()).expect("it compiles");
        let tensor = |values: &[f32]| Tensor::new(&self.shape, values.to_vec()).expect("values of this shape");
        let feed = |input: &flatscape_graph::ValueId| {
            let name: &str = &self.graph.value(*input).name;
            let tensor = match name {
                "param" => tensor(param),
                "dparam" => tensor(dparam),
                "lr" => Tensor::scalar(lr),
                "k" => Tensor::scalar(self.k),
                "rank" => Tensor::scalar(self.shape.len() as i64),
                name if name.starts_with("arg_") => {
                    let found = self.arguments.iter().find(|(key, _)| *key == name[4..]).expect("an argument");
                    Tensor::scalar(found.1 as f32)
                }
                name => tensor(&self.states.iter().find(|(state, _)| state == name).expect("a state").1),
            };
            executable.upload(&tensor).expect("uploaded")
        };
        let inputs: Vec<_> = self.graph.inputs().iter().map(feed).collect();
        let results = executable.run(&inputs.iter().collect::<Vec<_>>()).expect("it runs");
        let mut next = Vec::new();
        for (output, buffer) in self.graph.outputs().iter().zip(results) {
            let tensor = buffer.host().expect("on the host");
            assert_eq!(tensor.shape(), self.shape, "{}", output.name);
            let values = tensor.to_vec::<f32>().expect("floats");
            match output.name.strip_suffix("_next") {
                Some("param") => next = values,
                Some(state) => self.states.iter_mut().find(|(name, _)| name == state).expect("a state").1 = values,
                None => panic!("{} is no output of an update", output.name),
            }
        }
        self.k += 1;
        next
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// θ₀ = 1, ∇L = 1, η = 0.1, μ = 0.9, λ = 0.01: three steps on paper.
#[test]
fn sgd_has_its_closed_form() {
    for engine in engines() {
        let three = |written: &str, shape: &[usize]| {
            let mut optimizer = Optimizer::new(written, shape);
            (0..3).fold(vec![1f32], |param, _| optimizer.step(&*engine, &param, &[1.0], 0.1))
        };
        close("momentum", &wide(&three("sgd:momentum=0.9,weight-decay=0.01", &[1])), &[0.433_874_699], 1e-6);
        // θ ← θ − 0.1·(1 + 0.01·θ)
        let plain = (0..3).fold(1f64, |theta, _| theta - 0.1 * (1.0 + 0.01 * theta));
        close("plain", &wide(&three("sgd:momentum=0,weight-decay=0.01", &[1])), &[plain], 1e-6);
        // biases do not decay where that is asked for, matrices do
        close("1-d", &wide(&three("sgd:momentum=0,weight-decay=0.01,decay-1d=false", &[1])), &[0.7], 1e-6);
        close("2-d", &wide(&three("sgd:momentum=0,weight-decay=0.01,decay-1d=false", &[1, 1])), &[plain], 1e-6);
        // v = 1, 1.9, 2.71; θ − η·(1 + μv): 0.19 + 0.271 + 0.3439
        close("nesterov", &wide(&three("sgd:nesterov=true,weight-decay=0", &[1])), &[1.0 - 0.8049], 1e-6);
    }
}

#[test]
fn the_first_step_of_adam_is_the_sign_of_the_gradient() {
    for engine in engines() {
        for gradient in [1e-3f32, -7.0, 250.0] {
            let after = Optimizer::new("adam", &[]).step(&*engine, &[0.5], &[gradient], 0.01);
            close("adam", &wide(&after), &[0.5 - 0.01 * f64::from(gradient.signum())], 2e-7);
        }
    }
}

/// Ten steps with the gradients of a quadratic against the recurrences of the papers in float64.
#[test]
fn ten_steps_follow_the_recurrences() {
    let start = [0.8f32, -1.2, 0.05, 2.0, -0.3, 0.7];
    let gradient = |theta: &[f64], k: usize| -> Vec<f64> {
        theta.iter().enumerate().map(|(i, t)| (i as f64 + 0.5) * t - (k as f64 * 0.7 + i as f64).sin()).collect()
    };
    for (written, decoupled, decay) in
        [("adam", false, 0.0), ("adam:weight-decay=0.1", false, 0.1), ("adamw:weight-decay=0.1", true, 0.1)]
    {
        for engine in engines() {
            let mut optimizer = Optimizer::new(written, &[2, 3]);
            let mut found = start.to_vec();
            let mut theta = wide(&start);
            let (mut m, mut v) = (vec![0f64; 6], vec![0f64; 6]);
            for k in 0..10 {
                let given: Vec<f32> = gradient(&wide(&found), k).iter().map(|&g| g as f32).collect();
                found = optimizer.step(&*engine, &found, &given, 0.05);
                let g = gradient(&theta, k);
                for i in 0..6 {
                    let g = g[i] + if decoupled { 0.0 } else { decay * theta[i] };
                    m[i] = 0.9 * m[i] + 0.1 * g;
                    v[i] = 0.999 * v[i] + 0.001 * g * g;
                    let t = k as i32 + 1;
                    let (hat, root) = (m[i] / (1.0 - 0.9f64.powi(t)), (v[i] / (1.0 - 0.999f64.powi(t))).sqrt());
                    theta[i] -= 0.05 * (if decoupled { decay * theta[i] } else { 0.0 } + hat / (root + 1e-8));
                }
            }
            close(&format!("{written} on {}", engine.name()), &wide(&found), &theta, 2e-6);
        }
    }
}
