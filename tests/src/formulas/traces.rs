//! Auto-PGD, FAB and Square against traces of the reference implementation, step by step: lengths of steps, losses, distances, and of
//! Square the first and the last point. `tests/golden/attacks.py` recorded them; network, images and random draws follow from
//! formulas that it shares with this file. The draws are fed in the place of keyed noise.

use flatscape_engine::Engine;
use flatscape_graph::Tensor;
use flatscape_host::{Kind, Role};
use flatscape_intake::scores::margin;
use flatscape_measure::attack::host;
use flatscape_measure::link::Point;
use flatscape_measure::stage::{Draw, Stage, Step, Values};
use flatscape_measure::threats::ThreatModel;
use serde::Deserialize;

use super::toy::{Toy, boxed, linear};
use crate::provision::{engines, root};

const SAMPLES: usize = 4;
const SHAPE: [usize; 3] = [2, 10, 10];
const PIXELS: usize = 200;
const HIDDEN: usize = 24;
const CLASSES: usize = 6;

#[derive(Deserialize)]
struct Golden {
    labels: Vec<i64>,
    traces: Vec<Trace>,
}

/// What the reference did: per step a row of samples.
#[derive(Deserialize)]
struct Trace {
    attack: String,
    threat: String,
    steps: usize,
    #[serde(default)]
    lengths: Vec<Vec<f64>>,
    #[serde(default)]
    losses: Vec<Vec<f64>>,
    #[serde(default)]
    best_losses: Vec<Vec<f64>>,
    #[serde(default)]
    shares: Vec<Vec<f64>>,
    #[serde(default)]
    distances: Vec<Vec<f64>>,
    #[serde(default)]
    start: Vec<f64>,
    #[serde(default)]
    last: Vec<f64>,
}

/// ((7919 i + salt) mod 251)/251
fn numbers(count: usize, salt: usize) -> impl Iterator<Item = f32> {
    (0..count).map(move |i| ((7919 * i + salt) % 251) as f32 / 251.0)
}

fn network() -> Toy {
    let layer = |rows: usize, columns: usize, salt: usize| -> (Vec<Vec<f64>>, Vec<f64>) {
        let weights: Vec<f64> =
            numbers(rows * columns, salt).map(|v| f64::from((v - 0.5) * 4.0 / (columns as f64).sqrt() as f32)).collect();
        let bias = numbers(rows, salt + 1).map(|v| f64::from((v - 0.5) * 0.5)).collect();
        (weights.chunks(columns).map(<[f64]>::to_vec).collect(), bias)
    };
    let (first, second) = (layer(HIDDEN, PIXELS, 3), layer(CLASSES, HIDDEN, 11));
    Toy::new(SHAPE, move |x| linear(linear(x, &first.0, &first.1).relu(), &second.0, &second.1))
}

/// The numbers that the reference drew in its n-th call, counted from 1.
fn drawn(call: usize, count: usize) -> Vec<f32> {
    numbers(count, 17 * call).map(|v| 2.0 * (v * 0.98 + 0.011) - 1.0).collect()
}

fn signs(call: usize, count: usize) -> Vec<f32> {
    drawn(call, count).into_iter().map(f32::signum).collect()
}

/// The draws that a graph reads: before the first step (`None`), and in every step.
fn draws(trace: &Trace, step: Option<usize>) -> Vec<(&'static str, Tensor)> {
    let tensor = |shape: &[usize], data: Vec<f32>| Tensor::new(shape, data).expect("draws of this shape");
    let all = |data| tensor(&[SAMPLES, PIXELS], data);
    let [c, _, w] = SHAPE;
    match (trace.attack.as_str(), &trace.threat[..2], step) {
        ("square", "li", None) => vec![("noise_rademacher_stripe", tensor(&[SAMPLES, c * w], signs(1, SAMPLES * c * w)))],
        ("square", "li", Some(step)) => {
            let call = 2 + 3 * step;
            vec![
                ("shared_noise_uniform_corner", tensor(&[2], [drawn(call, 1), drawn(call + 1, 1)].concat())),
                ("shared_noise_rademacher_colour", tensor(&[c], signs(call + 2, c))),
            ]
        }
        // squares of 2 pixels fill 10 × 10
        ("square", _, None) => {
            let mut tiles = vec![0.0; SAMPLES * c * 25];
            for tile in 0..25 {
                for (place, sign) in signs(2 * tile + 2, SAMPLES * c).into_iter().enumerate() {
                    tiles[place * 25 + tile] = sign;
                }
            }
            let turned = (0..25).flat_map(|tile| signs(2 * tile + 1, 1)).collect();
            vec![
                ("noise_rademacher_tile", tensor(&[SAMPLES, c * 25], tiles)),
                ("shared_noise_rademacher_tile_turn", tensor(&[25], turned)),
            ]
        }
        ("square", _, Some(step)) => {
            let call = 51 + 6 * step;
            let place = |call| tensor(&[2], [drawn(call, 1), drawn(call + 1, 1)].concat());
            vec![
                ("shared_noise_uniform_corner", place(call)),
                ("shared_noise_uniform_source", place(call + 2)),
                ("shared_noise_rademacher_turn", tensor(&[1], signs(call + 4, 1))),
                ("noise_rademacher_colour", tensor(&[SAMPLES, c], signs(call + 5, SAMPLES * c))),
            ]
        }
        (_, "li", None) => vec![("noise_uniform", all(drawn(1, SAMPLES * PIXELS)))],
        (_, _, None) => vec![("noise_normal", all(drawn(1, SAMPLES * PIXELS)))],
        _ => Vec::new(),
    }
}

/// An attack that is run by hand, so that its states can be seen.
struct ByHand {
    values: Values,
    init: Stage,
    steps: Vec<Stage>,
    last: Stage,
    count: usize,
}

impl ByHand {
    fn new(toy: &Toy, engine: &dyn Engine, trace: &Trace, threat: &ThreatModel, labels: &[i64]) -> ByHand {
        let count = if trace.attack == "square" { "queries" } else { "steps" };
        let compat = if trace.attack.starts_with("fab") { "" } else { ",compat=true" };
        let written = format!("{}:{count}={}{compat}", trace.attack, trace.steps);
        let (component, program, arguments) = toy.program(Kind::Attack, &written, threat, false);
        let link = toy.link(&program, threat, &arguments, false);
        let free = component.iterates == flatscape_host::Iterates::Free;
        let compile = |graph, point, asked: &[&str]| {
            Stage::compile(engine, &link.stage(graph, point, !free, asked).expect(&written)).expect(&written)
        };
        let steps = program.graphs(Role::Step).map(|graph| compile(graph, Point::Fed, &["loss", "logits"])).collect();
        let init = compile(program.graph(Role::Init).expect("a start"), Point::Start, &[]);
        let last = Stage::compile(engine, &link.forward(Point::Fed, &["loss", "logits"]).expect("a model")).expect("a model");
        let images: Vec<f32> = numbers(SAMPLES * PIXELS, 29).map(|v| v * 0.9 + 0.05).collect();
        let [c, h, w] = SHAPE;
        let x0 = last.upload(&Tensor::new(&[SAMPLES, c, h, w], images).expect("images")).expect("uploaded");
        let mut values = Values::default();
        values.put("x0", x0.clone());
        values.put("x", x0);
        values.put("y", last.upload(&Tensor::ints(labels)).expect("uploaded"));
        values.put("eps", last.upload(&Tensor::scalar(threat.eps as f32)).expect("uploaded"));
        values.put("restart", last.upload(&Tensor::scalar(0i64)).expect("uploaded"));
        ByHand { values, init, steps, last, count: program.steps as usize }
    }

    fn run(&mut self, stage: Option<usize>, trace: &Trace, step: Option<usize>) -> Values {
        for (name, tensor) in draws(trace, step) {
            self.values.put(name, self.last.upload(&tensor).expect("uploaded"));
        }
        let stage = stage.map_or(&self.init, |stage| &self.steps[stage]);
        let draw = Draw { seed: 0, component: "", restart: 0, step: Step::All(0) };
        let mut given = stage.run(&self.values, &[0; SAMPLES], &draw).expect("it runs");
        if let Some(x) = given.take("x").or_else(|| given.take("x_next")) {
            self.values.put("x", x);
        }
        given
    }

    fn start(&mut self, trace: &Trace) {
        let given = self.run(None, trace, None);
        self.values.keep(given);
    }

    /// Step k: what it gives, its states under the names with `_next`.
    fn step(&mut self, trace: &Trace, k: usize) -> Vec<(String, Vec<f64>)> {
        self.values.put("k", self.last.upload(&Tensor::scalar(k as i64)).expect("uploaded"));
        let given = self.run(Some(k % self.steps.len()), trace, Some(k));
        let seen = given.names().into_iter().map(|name| (name.clone(), host(&given, &name).expect("a value").to_f64()));
        let seen = seen.collect();
        self.values.keep(given);
        seen
    }

    fn x(&self) -> Vec<f64> {
        host(&self.values, "x").expect("a point").to_f64()
    }
}

fn of<'s>(seen: &'s [(String, Vec<f64>)], name: &str) -> &'s [f64] {
    &seen.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// Equal to rounding: float32 sums in another order.
fn same(what: &str, found: &[f64], golden: &[f64], tolerance: f64) {
    assert_eq!(found.len(), golden.len(), "{what}");
    for (place, (a, b)) in found.iter().zip(golden).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}, {place}: {a} is not {b}");
    }
}

#[test]
fn attacks_follow_their_reference_step_by_step() {
    let text = std::fs::read_to_string(root().join("tests/golden/attacks/traces.json")).expect("the golden traces");
    let golden: Golden = serde_json::from_str(&text).expect("JSON");
    let toy = network();
    for engine in engines() {
        for trace in &golden.traces {
            let threat = boxed(&trace.threat);
            let mut attack = ByHand::new(&toy, &*engine, trace, &threat, &golden.labels);
            match trace.attack.as_str() {
                "square" => square(&mut attack, trace),
                "fab" | "fab-t" => fab(&mut attack, trace, &threat, &golden.labels),
                _ => apgd(&mut attack, trace),
            }
        }
    }
}

/// Steps of Auto-PGD that are compared. Later ones hardly move, and rounding decides whether a loss rose.
const FIRM: usize = 30;
/// Steps in l1 that are compared in any case.
const FIRM_L1: usize = 5;
/// Three of 200 pixels, as a difference of shares.
const FEW_PIXELS: f64 = 3.0 / (1.5 * 200.0) + 1e-5;

/// f(x_{k+1}) is seen by step k + 1. In l1 two further steps go from one ball to the next; the reference takes them without counting.
fn apgd(attack: &mut ByHand, trace: &Trace) {
    attack.start(trace);
    let (mut taken, mut due) = (0, false);
    let l1 = attack.count > trace.steps;
    let balls = [3 * trace.steps / 10, 6 * trace.steps / 10];
    let mut left = 0;
    for k in 0..attack.count {
        let seen = attack.step(trace, k);
        let what = |of: &str| format!("{} {} {of} of step {taken}", trace.attack, trace.threat);
        let firm = taken < FIRM || l1;
        if due && firm {
            same(&what("loss"), of(&seen, "loss"), &trace.losses[taken - 1], 2e-5);
            if !l1 {
                same(&what("best loss"), of(&seen, "state_best_loss_next"), &trace.best_losses[taken - 1], 2e-5);
            }
        }
        // the step that leaves a ball takes no gradient step
        if l1 && due && left < 2 && taken == balls[left] {
            (left, due) = (left + 1, false);
            continue;
        }
        if firm {
            same(&what("length"), of(&seen, "state_length_next"), &trace.lengths[taken], 1e-5);
        }
        if l1 {
            let shares = of(&seen, "state_share_next");
            let apart = shares.iter().zip(&trace.shares[taken]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // rounding decides whether the projection puts a pixel back on the image exactly, and with that how many are changed; where
            // a few are counted otherwise, the steps after it are others
            if apart > 1e-5 && taken >= FIRM_L1 {
                assert!(apart <= FEW_PIXELS, "{}: {shares:?} is not {:?}", what("share"), trace.shares[taken]);
                return;
            }
            same(&what("share"), shares, &trace.shares[taken], 1e-5);
        }
        (taken, due) = (taken + 1, true);
    }
    assert_eq!(taken, trace.steps);
}

/// A margin that rounding decides, in logits.
const TIE: f64 = 1e-4;
/// Samples times steps that must be compared before rounding decides, of 80.
const COMPARED: usize = 12;

/// A step with a gradient, then one that looks where it led. Where the bias towards the image is below its bound, both overshoots
/// cancel, and FAB lands on the linearised boundary itself: rounding decides on which side, and the sample is not compared after that.
fn fab(attack: &mut ByHand, trace: &Trace, threat: &ThreatModel, labels: &[i64]) {
    attack.start(trace);
    let mut nearest = [1e10; SAMPLES];
    let (mut firm, mut compared) = ([true; SAMPLES], 0);
    let clean = host(&attack.values, "x0").expect("images").to_vec::<f32>().expect("float32");
    for k in 0..attack.count {
        let x = attack.x();
        let seen = attack.step(trace, k);
        if k % 2 == 0 {
            continue;
        }
        for (sample, scores) in of(&seen, "logits").chunks(CLASSES).enumerate() {
            let label = labels[sample] as usize;
            firm[sample] &= margin(scores, label).abs() > TIE;
            let own: Vec<f32> = x[sample * PIXELS..(sample + 1) * PIXELS].iter().map(|&v| v as f32).collect();
            let away = threat.distance(&own.clone().into(), &clean[sample * PIXELS..(sample + 1) * PIXELS]).expect("a distance");
            if margin(scores, label) < 0.0 {
                nearest[sample] = away.min(nearest[sample]);
            }
            if firm[sample] {
                let what = format!("{} {} distance of step {} of sample {sample}", trace.attack, trace.threat, k / 2);
                same(&what, &nearest[sample..=sample], &trace.distances[k / 2][sample..=sample], 1e-4);
                compared += 1;
            }
        }
    }
    assert!(compared >= COMPARED, "{} {}: only {compared} distances were compared", trace.attack, trace.threat);
}

fn square(attack: &mut ByHand, trace: &Trace) {
    attack.start(trace);
    same(&format!("square {} start", trace.threat), &attack.x(), &trace.start, 1e-6);
    for k in 0..attack.count {
        let seen = attack.step(trace, k);
        let what = format!("square {} best loss before query {k}", trace.threat);
        same(&what, of(&seen, "state_loss_next"), &trace.best_losses[k], 2e-5);
    }
    same(&format!("square {} last query", trace.threat), &attack.x(), &trace.last, 2e-5);
}
