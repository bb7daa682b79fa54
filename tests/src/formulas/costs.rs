//! Costs of the standard trainers on models whose parameters are inputs: closed forms at an image and an adversarial point, and
//! derivatives by the parameters against closed forms and central differences.

use std::collections::BTreeMap;

use flatscape_engine::Engine;
use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};
use flatscape_host::{Kind, Program, Role, Task};
use flatscape_measure::attack::host;
use flatscape_measure::link::{Link, Linked, Point, WEIGHT};
use flatscape_measure::prepared::numbers;
use flatscape_measure::request::Request;
use flatscape_measure::stage::{Draw, Stage, Step, Values};

use super::toy::{LIN_TOY, close, dot, threat};
use crate::provision::{engines, plugins};

/// A model of images [N,1,1,D] whose parameters are inputs `param_<i>`.
struct Net {
    graph: Graph,
    pixels: usize,
    classes: usize,
    /// Shape and values of each parameter.
    parameters: Vec<(Vec<usize>, Vec<f64>)>,
}

impl Net {
    /// z = Wx, W as rows; the parameter is Wᵀ [D,classes].
    fn affine<const D: usize>(weights: &[[f64; D]]) -> Net {
        let values = (0..D).flat_map(|i| weights.iter().map(move |row| row[i])).collect();
        let (graph, pixels) = graph_of(D, |x, b| {
            let w = b.input("param_0", ValueType::fixed(DType::F32, &[D, weights.len()]));
            x.matmul(w)
        });
        Net { graph, pixels, classes: weights.len(), parameters: vec![(vec![D, weights.len()], values)] }
    }

    /// z = tanh(xA + a)B: smooth and curved, 4 pixels, 5 hidden values, 3 classes.
    fn curved() -> Net {
        let shapes = [vec![4, 5], vec![5], vec![5, 3]];
        let wave = |shape: &Vec<usize>, phase: f64| {
            (0..shape.iter().product()).map(|i: usize| (phase + 1.7 * i as f64).sin()).collect::<Vec<f64>>()
        };
        let (graph, pixels) = graph_of(4, |x, b| {
            let [a, bias, c] = [0, 1, 2].map(|i| b.input(&format!("param_{i}"), ValueType::fixed(DType::F32, &shapes[i])));
            (x.matmul(a) + bias).tanh().matmul(c)
        });
        let parameters = shapes.iter().enumerate().map(|(i, shape)| (shape.clone(), wave(shape, 0.4 + i as f64))).collect();
        Net { graph, pixels, classes: 3, parameters }
    }

    /// The program of a trainer for this model, with its arguments.
    fn program(&self, written: &str) -> (Program, Vec<(String, f64)>) {
        let request = Request::parse(written).expect(written);
        let component = plugins().component(Kind::Trainer, &request.id).expect(written);
        let arguments = component.arguments(&request.arguments).expect(written);
        let task = Task::new([1, 1, self.pixels], self.classes, "linf", 0.1);
        (plugins().build(component, &arguments, &task).expect(written), numbers(&arguments))
    }

    /// `cost`, `log_*`, `dparam_<i>` of one image with the label 0.
    fn costs(&self, engine: &dyn Engine, written: &str, x0: &[f64], x_adv: &[f64]) -> BTreeMap<String, Vec<f64>> {
        self.run(&self.compiled(engine, written), &[("x0", x0), ("x_adv", x_adv)])
    }

    /// The cost of a trainer with its derivatives, compiled.
    fn compiled(&self, engine: &dyn Engine, written: &str) -> Stage {
        let (program, arguments) = self.program(written);
        let threat = threat("linf:0.1");
        let link = Link { cotangent: program.graph(Role::Cotangent), arguments: &arguments, ..Link::of(&self.graph, &threat) };
        let names: Vec<String> = (0..self.parameters.len()).map(|i| format!("param_{i}")).collect();
        let costed =
            link.cost(program.graph(Role::Cost).expect("a cost"), &names, false).unwrap_or_else(|e| panic!("{written}: {e}"));
        let linked = Linked { graph: costed.graph, forwards: costed.forwards, backwards: costed.backwards, batch: None };
        Stage::compile(engine, &linked).expect("it compiles")
    }

    /// What a compiled graph gives with these parameters.
    fn run(&self, stage: &Stage, images: &[(&str, &[f64])]) -> BTreeMap<String, Vec<f64>> {
        let floats = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let mut values = Values::default();
        let mut feed = |name: &str, tensor: Tensor| {
            if stage.reads(name) {
                values.put(name, stage.upload(&tensor).expect("uploaded"));
            }
        };
        for (name, image) in images {
            feed(name, Tensor::new(&[1, 1, 1, self.pixels], floats(image)).expect("an image"));
        }
        for (i, (shape, data)) in self.parameters.iter().enumerate() {
            feed(&format!("param_{i}"), Tensor::new(shape, floats(data)).expect("a parameter"));
        }
        feed("y", Tensor::ints(&[0]));
        feed("eps", Tensor::scalar(0.1f32));
        feed(WEIGHT, Tensor::scalar(1f32));
        let draw = Draw { seed: 0, component: "costs", restart: 0, step: Step::All(0) };
        let found = stage.run(&values, &[0], &draw).expect("it runs");
        found.names().into_iter().map(|name| (name.clone(), host(&found, &name).expect("a result").to_f64())).collect()
    }
}

/// A model of one row of pixels.
fn graph_of(
    pixels: usize,
    formula: impl for<'b> Fn(flatscape_graph::Expr<'b>, &'b Builder) -> flatscape_graph::Expr<'b>,
) -> (Graph, usize) {
    let builder = Builder::new(Graph::new("net"));
    let extents = vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(pixels)];
    let x = builder.input("x", ValueType::new(DType::F32, extents));
    let logits = formula(x.reshape(&[-1, pixels as i64]), &builder);
    builder.output("logits", logits);
    let graph = builder.into_graph();
    graph.check().expect("the model checks");
    (graph, pixels)
}

const IDENTITY: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
const GREY: [f64; 3] = [0.5; 3];

/// With z = x the predictions are p = (.7, .2, .1) at the image and q = (.2, .5, .3) at the adversarial point.
#[test]
fn trades_and_mart_have_their_closed_forms() {
    let net = Net::affine(&IDENTITY);
    let (p, q) = ([0.7f64, 0.2, 0.1].map(f64::ln), [0.2f64, 0.5, 0.3].map(f64::ln));
    for engine in engines() {
        let trades = net.costs(&*engine, "trades", &p, &q);
        close("KL", &trades["log_kl"], &[0.583_814_70], 1e-6);
        close("trades", &trades["cost"], &[-(0.7f64.ln()) + 6.0 * 0.583_814_70], 1e-5);
        close("at the image itself", &net.costs(&*engine, "trades", &p, &p)["log_kl"], &[0.0], 1e-7);
        let mart = net.costs(&*engine, "mart", &p, &q);
        close("BCE", &mart["log_bce"], &[2.302_385_11], 1e-5);
        close("weighted KL", &mart["log_kl"], &[0.175_144_47], 1e-6);
        close("mart", &mart["cost"], &[2.302_385_11 + 5.0 * 0.175_144_47], 1e-5);
        for written in ["adversarial", "fast", "free", "awp"] {
            close(written, &net.costs(&*engine, written, &p, &q)["cost"], &[-(0.2f64.ln())], 1e-6);
        }
        for written in ["standard", "sam", "static-augmentation"] {
            close(written, &net.costs(&*engine, written, &p, &q)["cost"], &[-(0.7f64.ln())], 1e-6);
        }
    }
}

/// The mass score at the attacked point, and the slope of log p at the image towards it.
#[test]
fn attack_ams_looks_where_the_attack_leads() {
    let net = Net::affine(&LIN_TOY);
    let away = [0.1, 0.9, 0.4];
    for engine in engines() {
        let point = net.costs(&*engine, "attack-ams:mu=1", &away, &GREY);
        close("at the point", &point["log_ams"], &[8.288_738_49], 1e-5);
        close("with half of it", &[point["cost"][0] - point["log_ce"][0]], &[4.144_369_24], 1e-5);
        let slope = net.costs(&*engine, "attack-ams:along=direction", &GREY, &away);
        let d: Vec<f64> = away.iter().map(|v| v - 0.5).collect();
        let along = dot(&[0.075_858_18, 0.772_425_46, 2.772_425_46], &d);
        close("along the direction", &slope["log_ams"], &[along * along / dot(&d, &d)], 1e-5);
        close("where the attack stays", &net.costs(&*engine, "attack-ams:along=direction", &GREY, &GREY)["log_ams"], &[0.0], 0.0);
    }
}

/// For an affine model the Jacobian is W, so the derivative of λ/2·‖J‖² is λW.
#[test]
fn the_jacobian_of_an_affine_model_decays_its_weights() {
    let net = Net::affine(&LIN_TOY);
    for engine in engines() {
        let plain = net.costs(&*engine, "standard", &GREY, &GREY);
        let regular = net.costs(&*engine, "jacobian:n-proj=-1,lambda=2", &GREY, &GREY);
        let found: Vec<f64> = regular["dparam_0"].iter().zip(&plain["dparam_0"]).map(|(a, b)| a - b).collect();
        let expected: Vec<f64> = net.parameters[0].1.iter().map(|w| 2.0 * w).collect();
        close("λW", &found, &expected, 2e-5);
    }
}

/// dcost/dθ of every trainer against central differences of its cost. With p taken as a constant the derivative is another one.
#[test]
fn derivatives_by_the_parameters_are_slopes() {
    let net = Net::curved();
    let (x0, x_adv) = ([0.2, 0.7, 0.5, 0.1], [0.3, 0.6, 0.4, 0.2]);
    let step = 1.0 / 64.0;
    for engine in engines() {
        for written in [
            "standard",
            "adversarial",
            "trades",
            "mart",
            "jacobian:n-proj=-1,lambda=1",
            "jacobian:lambda=1",
            "jacobian:n-proj=2,lambda=1",
            "amsreg:n-proj=-1",
            "amsreg",
            "exact-ams:mu=1",
            "attack-ams:mu=1",
            "attack-ams:mu=1,along=direction",
            "input-gradient:lambda=1",
            "fam:lambda=1",
            "fam:lambda=1,flatness=trace",
            "fam:lambda=1,flatness=norm-trace",
        ] {
            let stage = net.compiled(&*engine, written);
            let images: [(&str, &[f64]); 2] = [("x0", &x0), ("x_adv", &x_adv)];
            let found = net.run(&stage, &images);
            for (i, (_, data)) in net.parameters.iter().enumerate() {
                for at in [0, data.len() / 2, data.len() - 1] {
                    let moved = |by: f64| {
                        let mut parameters = net.parameters.clone();
                        parameters[i].1[at] += by;
                        let net = Net { graph: net.graph.clone(), parameters, ..net };
                        net.run(&stage, &images)["cost"][0]
                    };
                    let slope = (moved(step) - moved(-step)) / (2.0 * step);
                    let derivative = found[&format!("dparam_{i}")][at];
                    let tolerance = 3e-3 * derivative.abs().max(1.0);
                    assert!(
                        (slope - derivative).abs() < tolerance,
                        "{written} on {}: {derivative} is not {slope}",
                        engine.name()
                    );
                }
            }
        }
        let [attached, detached] =
            ["true", "false"].map(|flag| net.costs(&*engine, &format!("amsreg:n-proj=-1,p-grad={flag}"), &x0, &x_adv));
        close("the value does not depend on it", &attached["cost"], &detached["cost"], 1e-6);
        let apart = attached["dparam_2"].iter().zip(&detached["dparam_2"]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart > 1e-2, "{apart}");
    }
}

/// δ' = Π(x + δ + ε·sign ∇) − x in the box [0, 1] and the ball of radius 0.1.
#[test]
fn the_perturbation_of_free_stays_in_ball_and_box() {
    let net = Net::affine(&IDENTITY);
    let (program, arguments) = net.program("free");
    let threat = super::toy::boxed("linf:0.1");
    let link = Link { arguments: &arguments, ..Link::of(&net.graph, &threat) };
    let linked = link.stage(program.graph(Role::Replay).expect("a replay"), Point::Clean, false, &[]).expect("it links");
    for engine in engines() {
        let images: [(&str, &[f64]); 3] = [("x0", &[0.5, 0.02, 0.98]), ("delta", &[0.05, 0.0, -0.04]), ("dx", &[0.3, -2.0, 0.0])];
        let found = net.run(&Stage::compile(&*engine, &linked).expect("it compiles"), &images);
        close("δ'", &found["delta_next"], &[0.1, -0.02, -0.04], 1e-6);
    }
}
