//! What is kept of an attack's iterates: points outside of the ball do not count, what the judge refuses goes on, the nearest goal
//! keeps the nearest; and metrics that take steps before they look.

use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_graph::text;
use flatscape_host::{Program, Role};
use flatscape_measure::attack::{Attack, AttackError, Batch, Keep, Proposal, Restart, Ruling};
use flatscape_measure::link::Link;
use flatscape_measure::metric::Metric;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::{Outcome, Region, Verifier, admissible};

use super::toy::{How, LAST, Toy, boxed, close, point};
use crate::provision::{engines, tract};

/// A program of these graphs, in text.
fn program(steps: u32, probes: u32, graphs: &[(Role, &str)]) -> Program {
    let graph = |(role, written): &(Role, &str)| (*role, text::parse(written).unwrap_or_else(|e| panic!("{e} in {written}")));
    Program { probes, ..Program::new(graphs.iter().map(graph).collect(), steps) }
}

/// The k-th point lies `table[k]` below the image in every pixel.
fn descent(table: &[f32]) -> Program {
    let numbers: Vec<String> = table.iter().map(f32::to_string).collect();
    let step = format!(
        "(float[N,D] x0, int64 k) => (float[N,D] x_next) <float[{}] table = {{{}}}> {{ d = Gather(table, k)  x_next = Sub(x0, d) }}",
        table.len(),
        numbers.join(", ")
    );
    program(table.len() as u32, 0, &[(Role::Step, &step)])
}

/// z = (x₀, 0.45): class 0 from 0.45 on.
fn threshold() -> Toy {
    Toy::affine(&[[1.0, 0.0], [0.0, 0.0]], &[0.0, 0.45])
}

fn link<'a>(toy: &'a Toy, program: &'a Program, threat: &'a ThreatModel) -> Link<'a> {
    let (objective, cotangent) = (program.graph(Role::Objective), program.graph(Role::Cotangent));
    Link { objective, cotangent, steps: program.steps, ..Link::of(&toy.graph, threat) }
}

type Judge<'j> = &'j mut dyn FnMut(&[usize], &[Vec<f32>]) -> Result<Vec<Ruling>, AttackError>;

fn run(
    engine: &dyn Engine,
    toy: &Toy,
    program: &Program,
    threat: &ThreatModel,
    batch: &Batch,
    keep: Keep,
    judge: Judge,
) -> (Vec<Proposal>, Attack) {
    let attack = Attack::compile(engine, &link(toy, program, threat), program, "descent", true, keep).expect("compiled");
    let restart = Restart { seed: 0, eps: threat.eps, number: 0, batch_size: 2, stop: &AtomicBool::new(false) };
    let proposals = attack.run(batch, &restart, judge, &mut |_| {}).expect("run");
    (proposals, attack)
}

fn ruling(stands: bool) -> Ruling {
    if stands { Ruling::Stands } else { Ruling::Rejected }
}

/// The first hit lies outside of the ball (or of the box), the second one inside: only the second one counts.
#[test]
fn a_hit_outside_of_the_ball_does_not_end_the_attack() {
    let toy = threshold();
    for engine in engines() {
        for (table, threat) in [([0.3, 0.09, 0.0], "linf:0.1"), ([0.3, 0.06, 0.0], "l2:0.1"), ([0.55, 0.3, 0.0], "linf:0.9")] {
            let threat = boxed(threat);
            let batch = toy.batch(&[vec![0.5, 0.5]], &[0]);
            let stands = &mut |rows: &[usize], _: &[Vec<f32>]| Ok(vec![Ruling::Stands; rows.len()]);
            let (proposals, _) = run(&*engine, &toy, &descent(&table), &threat, &batch, Keep::FirstSuccess, stands);
            let x = proposals[0].point.clone().expect("a point");
            assert!(proposals[0].claimed, "{} on {}", threat.text(), engine.name());
            close("the second hit", &point(&proposals[0]), &[0.5 - f64::from(table[1]); 2], 1e-6);
            assert_eq!(admissible(&threat, &[0.5, 0.5], &x), None, "{}", threat.text());
            let verifier = Verifier::new(&*engine, &toy.graph, &threat, 2).expect("a verifier");
            let found = verifier.judge(&threat, Region::Ball, &batch.x0, &batch.y, &[Some(x.into())]).expect("judged");
            assert_eq!(found[0].outcome, Outcome::Broken, "{}", threat.text());
        }
    }
}

/// A sample whose adversarial example the judge refuses stays, and may find another one.
#[test]
fn what_the_judge_refuses_goes_on() {
    let toy = threshold();
    let batch = toy.batch(&vec![vec![0.5, 0.5]; 5], &[0; 5]);
    let mut asked: Vec<(usize, f32)> = Vec::new();
    let mut judge = |rows: &[usize], points: &[Vec<f32>]| {
        let pairs = rows.iter().zip(points);
        asked.extend(pairs.clone().map(|(&row, x)| (row, x[0])));
        // sample 3 stands at its second point only, sample 4 never
        Ok(pairs.map(|(&row, x)| ruling(row < 3 || row == 3 && x[0] > 0.41)).collect())
    };
    let threat = boxed("linf:0.1");
    let table = [0.1, 0.08, 0.07, 0.0];
    let (proposals, _) = run(&*tract(), &toy, &descent(&table), &threat, &batch, Keep::FirstSuccess, &mut judge);
    let first: Vec<usize> = asked.iter().filter(|(_, x)| (x - 0.4).abs() < 1e-6).map(|(row, _)| *row).collect();
    let second: Vec<usize> = asked.iter().filter(|(_, x)| (x - 0.42).abs() < 1e-6).map(|(row, _)| *row).collect();
    let third: Vec<usize> = asked.iter().filter(|(_, x)| (x - 0.43).abs() < 1e-6).map(|(row, _)| *row).collect();
    assert_eq!((first, second, third), (vec![0, 1, 2, 3, 4], vec![3, 4], vec![4]), "{asked:?}");
    close("sample 3", &point(&proposals[3]), &[0.42, 0.42], 1e-6);
    assert!(proposals[..4].iter().all(|p| p.claimed) && !proposals[4].claimed);
    let forwards: Vec<u64> = proposals.iter().map(|p| p.forwards).collect();
    assert_eq!(forwards, [2, 2, 2, 3, 5], "who leaves spends no more");
}

/// Of several adversarial examples the nearest is kept, inside of the ball or not, and nobody leaves.
#[test]
fn the_nearest_goal_keeps_the_nearest_and_answers_every_radius() {
    let toy = threshold();
    for engine in engines() {
        for eps in ["linf:0.02", "linf:0.1", "linf:0.4"] {
            let threat = boxed(eps);
            let batch = toy.batch(&[vec![0.5, 0.5], vec![0.47, 0.5], vec![0.9, 0.5]], &[0; 3]);
            let judge = &mut |rows: &[usize], _: &[Vec<f32>]| Ok(vec![Ruling::Stands; rows.len()]);
            let table = [0.3, 0.03, 0.06, 0.2, 0.0];
            let (proposals, _) = run(&*engine, &toy, &descent(&table), &threat, &batch, Keep::Nearest, judge);
            let claimed: Vec<bool> = proposals.iter().map(|p| p.claimed).collect();
            assert_eq!(claimed, [true, true, false], "{eps} on {}", engine.name());
            close("0.06 is the nearest", &point(&proposals[0]), &[0.44, 0.44], 1e-6);
            close("0.03 is the nearest", &point(&proposals[1]), &[0.44, 0.47], 1e-6);
            assert_eq!(proposals.iter().map(|p| p.forwards).collect::<Vec<_>>(), [6, 6, 6]);
        }
    }
}

/// The nearest example that the judge confirms counts: where it rejects the nearest one, an earlier or a later one is proposed.
#[test]
fn a_nearest_example_that_the_judge_rejects_gives_way_to_another() {
    let toy = threshold();
    let threat = boxed("linf:0.1");
    for engine in engines() {
        let batch = toy.batch(&vec![vec![0.5, 0.5]; 4], &[0; 4]);
        // all stand; not 0.06; only 0.2; none
        let rules: [fn(f32) -> bool; 4] = [|_| true, |d| d > 0.1, |d| (d - 0.2).abs() < 0.01, |_| false];
        let mut asked: Vec<(usize, f32)> = Vec::new();
        let mut judge = |rows: &[usize], points: &[Vec<f32>]| {
            let ruled = rows.iter().zip(points).map(|(&row, x)| {
                asked.push((row, 0.5 - x[0]));
                ruling(rules[row](0.5 - x[0]))
            });
            Ok(ruled.collect())
        };
        let table = [0.3, 0.03, 0.06, 0.2, 0.0];
        let (proposals, _) = run(&*engine, &toy, &descent(&table), &threat, &batch, Keep::Nearest, &mut judge);
        let claimed: Vec<bool> = proposals.iter().map(|p| p.claimed).collect();
        assert_eq!(claimed, [true, true, true, false], "{asked:?}");
        for (row, distance) in [(0, 0.06), (1, 0.3), (2, 0.2)] {
            close(&format!("sample {row}"), &point(&proposals[row]), &[0.5 - distance; 2], 1e-6);
        }
        let of = |row: usize| asked.iter().filter(|(r, _)| *r == row).map(|(_, d)| f64::from(*d)).collect::<Vec<f64>>();
        close("until one stands every one is judged", &of(3), &[0.3, 0.06, 0.2], 1e-6);
        close("then the nearest at times", &of(0), &[0.3, 0.06], 1e-6);
    }
}

/// Lots are packed again whenever samples leave; nobody's point depends on that.
#[test]
fn packing_changes_no_point() {
    let toy = Toy::curved();
    let images: Vec<Vec<f64>> = (0..23).map(|k| (0..12).map(|i| 0.5 + 0.3 * f64::from(i * 5 + k * 11).sin()).collect()).collect();
    let engine = tract();
    let threat = boxed("linf:0.2");
    let verifier = Verifier::new(&*engine, &toy.graph, &threat, 4).expect("a verifier");
    let mut batch = toy.batch(&images, &[0; 23]);
    let scores = verifier.logits(&batch.x0).expect("scores");
    batch.y = scores.iter().map(|z| flatscape_intake::scores::argmax(z).expect("a class") as i64).collect();
    let how = How { keep: Keep::FirstSuccess, ..LAST };
    let together = toy.attack(&*engine, "pgd:steps=12,alpha=0.02", &threat, &batch, how);
    let steps: std::collections::BTreeSet<u64> = together.iter().map(|p| p.forwards).collect();
    assert!(steps.len() > 3, "samples leave at different steps: {steps:?}");
    for (place, expected) in together.iter().enumerate() {
        let alone = &toy.attack(&*engine, "pgd:steps=12,alpha=0.02", &threat, &batch.range(place..place + 1), how)[0];
        assert_eq!((alone.claimed, alone.forwards), (expected.claimed, expected.forwards), "sample {place}");
        close(&format!("sample {place}"), &point(alone), &point(expected), 1e-6);
        assert_eq!(alone.losses.len(), 3 + 10, "three older ones and the last ten");
    }
}

/// The last ten losses, and steps that moved nothing or had no gradient.
#[test]
fn traces_are_counted_in_the_engine() {
    let toy = threshold();
    let batch = toy.batch(&vec![vec![0.5, 0.5]; 3], &[0; 3]);
    let judge = &mut |rows: &[usize], _: &[Vec<f32>]| Ok(vec![Ruling::Stands; rows.len()]);
    // the first step moves nothing, later ones do, and two of the last ten stand still
    let table = [0.0, 0.01, 0.02, 0.03, 0.04, 0.04, 0.03, 0.03, 0.02, 0.01, 0.005, 0.0];
    for engine in engines() {
        let (proposals, attack) = run(&*engine, &toy, &descent(&table), &boxed("linf:0.1"), &batch, Keep::FirstSuccess, judge);
        for proposal in &proposals {
            assert_eq!((proposal.unmoved_steps, proposal.gradients, proposal.zero_gradients), (3, 0, 0));
            let losses: Vec<f64> = proposal.losses.iter().map(|&l| f64::from(l)).collect();
            let cross_entropy = |d: f32| (1.0 + (0.45 - (0.5 - f64::from(d))).exp()).ln();
            let expected: Vec<f64> = table[1..11].iter().map(|&d| cross_entropy(d)).collect();
            // before them: of the older ones the first, the lowest of all, and the highest
            close("older losses", &losses[..3], &[cross_entropy(0.0); 3], 1e-6);
            close("the last ten losses", &losses[3..], &expected, 1e-6);
        }
        // two lots, twelve steps: one bool per sample and step, and what is read once at the end
        let (_, read) = attack.traffic();
        let once = 3 * 4 * (2 + 1 + 3 + 10 + 3);
        assert_eq!(read, 12 * 3 + once, "bytes from the engine");
    }
}

/// A metric's steps are taken before its probes and before `emit`.
#[test]
fn a_metric_takes_its_steps() {
    let toy = threshold();
    let program = program(
        3,
        2,
        &[
            (
                Role::Init,
                "(float[N,D] x0) => (float[N] state_total) <float zero = {0}, int64[1] a = {1}> { z = Mul(x0, zero)  state_total = ReduceSum<keepdims = 0>(z, a) }",
            ),
            (
                Role::Step,
                "(float[N,D] x, float[N] state_total) => (float[N,D] x_next, float[N] state_total_next) <float d = {0.1}, int64[1] a = {1}> { x_next = Add(x, d)  s = ReduceSum<keepdims = 0>(x, a)  state_total_next = Add(state_total, s) }",
            ),
            (Role::Probe, "(float[N,D] x0) => (float[N,D] x) { x = Identity(x0) }"),
            (Role::Observe, "(float[N] state_total) => (float[N] obs_seen) { obs_seen = Identity(state_total) }"),
            (
                Role::Emit,
                "(float[N] state_total, double[N] obs_seen_mean) => (float[N] col_total, double[N] col_seen) { col_total = Identity(state_total)  col_seen = Identity(obs_seen_mean) }",
            ),
        ],
    );
    for engine in engines() {
        let threat = boxed("linf:0.1");
        let metric = Metric::compile(&*engine, &link(&toy, &program, &threat), &program, "walk", 4).expect("compiled");
        let batch = toy.batch(&[vec![0.5, 0.5], vec![0.0, 0.5]], &[0; 2]);
        let found = metric.run(&batch, threat.eps, 0, &AtomicBool::new(false), &mut |_| {}).expect("run");
        // Σx over three steps: 1 + 1.2 + 1.4, and half a unit less each
        close("emit sees the states", &found.columns["total"], &[3.6, 2.1], 1e-5);
        close("so do the probes", &found.columns["seen"], &[3.6, 2.1], 1e-5);
    }
}
