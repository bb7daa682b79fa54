//! Costs of the standard trainers, linked to models that are known on paper and run on both engines.

use std::collections::BTreeMap;

use flatscape_engine::Engine;
use flatscape_graph::Tensor;
use flatscape_host::{Kind, Role, Task};
use flatscape_measure::attack::host;
use flatscape_measure::link::{Link, Point};
use flatscape_measure::prepared::numbers;
use flatscape_measure::request::Request;
use flatscape_measure::stage::{Draw, Stage, Step, Values};

use super::toy::{Toy, close, threat};
use crate::provision::{engines, plugins};

/// What a cost gives at one image that stands in every one of `rows` rows, with the label 0: `cost` and `log_*`.
fn costs(engine: &dyn Engine, toy: &Toy, written: &str, image: &[f64], rows: usize) -> BTreeMap<String, Vec<f64>> {
    let request = Request::parse(written).expect(written);
    let component = plugins().component(Kind::Trainer, &request.id).expect(written);
    let arguments = component.arguments(&request.arguments).expect(written);
    let threat = threat("linf:0.1");
    let task = Task::new(toy.shape, toy.classes, "linf", 0.1);
    let program = plugins().build(component, &arguments, &task).expect(written);
    let numbers = numbers(&arguments);
    let link = Link { cotangent: program.graph(Role::Cotangent), arguments: &numbers, ..Link::of(&toy.graph, &threat) };
    let cost = program.graph(Role::Cost).expect("a cost");
    let linked = link.stage(cost, Point::Clean, false, &[]).unwrap_or_else(|why| panic!("{written}: {why}"));
    let stage = Stage::compile(engine, &linked).expect("it compiles");
    let [c, h, w] = toy.shape;
    let pixels: Vec<f32> = image.iter().map(|&v| v as f32).collect();
    let mut values = Values::default();
    for (name, tensor) in
        [("x0", Tensor::new(&[rows, c, h, w], pixels.repeat(rows)).expect("images")), ("y", Tensor::ints(&vec![0; rows]))]
    {
        values.put(name, stage.upload(&tensor).expect("uploaded"));
    }
    let ids: Vec<u64> = (0..rows as u64).collect();
    let draw = Draw { seed: 0, component: &component.id, restart: 0, step: Step::All(0) };
    let found = stage.run(&values, &ids, &draw).expect("it runs");
    found.names().into_iter().map(|name| (name.clone(), host(&found, &name).expect("a result").to_f64())).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// CE(−0.5, 2; 0), the cross-entropy of LinToy at (.5, .5, .5).
fn lin_ce() -> f64 {
    ((-0.5f64).exp() + 2f64.exp()).ln() + 0.5
}

const GREY: [f64; 3] = [0.5; 3];

#[test]
fn exact_costs_on_lin_toy_are_those_of_the_formulas() {
    let cases = [
        ("standard", 0.0, None),
        ("jacobian:n-proj=-1,lambda=1", 7.5, Some(("log_jacobian", 15.0))),
        ("amsreg:n-proj=-1", 4.284_576_68, Some(("log_amsreg", 8.569_153_35))),
        ("amsreg:n-proj=-1,p-grad=false", 4.284_576_68, Some(("log_amsreg", 8.569_153_35))),
        ("exact-ams:mu=1", 4.144_369_24, Some(("log_ams", 8.288_738_49))),
        ("exact-ams:mu=0.5", 2.072_184_62, Some(("log_ams", 8.288_738_49))),
        ("input-gradient:lambda=2", 2.0 * 16.226_723_97, Some(("log_gradient", 16.226_723_97))),
    ];
    for engine in engines() {
        for (written, regulariser, part) in cases {
            let found = costs(&*engine, &Toy::lin(), written, &GREY, 2);
            close(written, &found["cost"], &[lin_ce() + regulariser; 2], 2e-5);
            if let Some((name, value)) = part {
                close(written, &found[name], &[value; 2], 2e-5);
            }
            assert!(written == "standard" || (found["log_ce"][0] - lin_ce()).abs() < 1e-5, "{written}");
        }
    }
}

/// The standard deviation of one projection is √20.5 for the Jacobian of LinToy; without the factor C the mean would be 7.5.
#[test]
fn random_projections_estimate_the_norm() {
    let rows = 20_000;
    for engine in engines() {
        for (written, part, exact) in [
            ("jacobian", "log_jacobian", 15.0),
            ("jacobian:n-proj=3", "log_jacobian", 15.0),
            ("amsreg", "log_amsreg", 8.569_153_35),
            ("amsreg:n-proj=3", "log_amsreg", 8.569_153_35),
        ] {
            let found = costs(&*engine, &Toy::lin(), written, &GREY, rows);
            close(written, &[mean(&found[part])], &[exact], 5.0 * 20.5f64.sqrt() / (rows as f64).sqrt());
            assert!(found[part][0] != found[part][1], "{written}: each sample has its own projection");
        }
    }
}

/// K = 2, W = (1, −1), φ = 1, and K = 4, W = 1, φ = (1, 1, 1, 1).
#[test]
fn relative_flatness_has_its_closed_forms() {
    let identity: [[f64; 4]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| f64::from(i == j)));
    for engine in engines() {
        let two = Toy::affine(&[[1.0], [-1.0]], &[0.0, 0.0]);
        for (flatness, value) in [("petzka", 0.419_974_34), ("trace", 0.419_974_34), ("norm-trace", 0.296_966_70)] {
            let found = costs(&*engine, &two, &format!("fam:flatness={flatness},lambda=10"), &[1.0], 1);
            close(flatness, &found["log_flatness"], &[value], 1e-6);
            close(flatness, &[found["cost"][0] - found["log_ce"][0]], &[10.0 * value], 1e-5);
        }
        let four = Toy::affine(&identity, &[0.0; 4]);
        for (flatness, value) in [("petzka", 3.0), ("trace", 12.0), ("norm-trace", 6.0)] {
            let found = costs(&*engine, &four, &format!("fam:flatness={flatness}"), &[1.0; 4], 1);
            close(flatness, &found["log_flatness"], &[value], 1e-5);
        }
        // a sure model: 1 − Σp² would be 0 in float32 from a lead of 17 on
        let sure = Toy::affine(&[[20.0], [-20.0]], &[0.0, 0.0]);
        let found = costs(&*engine, &sure, "fam:flatness=norm-trace", &[1.0], 1);
        let p = 1.0 / (1.0 + 40f64.exp());
        close("sure", &[found["log_flatness"][0] / (2.0 * p * (1.0 - p) * 800f64.sqrt())], &[1.0], 1e-4);
    }
}
