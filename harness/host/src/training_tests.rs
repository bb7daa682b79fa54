//! Programs of trainers and optimizers: what is read, and what is refused with which clause.

use std::path::PathBuf;
use std::sync::Arc;

use flatscape_abi as abi;

use crate::component::{Component, Goal, Iterates, Kind, Plugin};
use crate::params::{Argument, Arguments, Value};
use crate::program::{AttackStatistics, Program, RawGraph, RawProgram, Role, TrainingData, read};
use crate::task::Task;

const COST: &str = "cost (float[N,C] logits, int64[N] y) => (float[N] cost) { cost = flatscape.CrossEntropy(logits, y) }";
const AT_X_ADV: &str =
    "cost (float[N,C] logits_adv, int64[N] y) => (float[N] cost) { cost = flatscape.CrossEntropy(logits_adv, y) }";
const UPDATE: &str = "update (float[] param, float[] dparam, float lr) => (float[] param_next)
    { step = Mul(dparam, lr)  param_next = Sub(param, step) }";
const REPLAY: &str = "replay (float[N,D] delta, float[N,D] dx, float eps) => (float[N,D] delta_next)
    { s = Sign(dx)  d = Mul(s, eps)  delta_next = Add(delta, d) }";

fn component(kind: Kind) -> Component {
    let plugin = Plugin {
        path: PathBuf::new(),
        id: "mine".into(),
        version: String::new(),
        sha256: String::new(),
        sealed: flatscape_contain::sandbox::Sealed::NOT,
        notes: Vec::new(),
    };
    Component {
        id: "it".into(),
        name: "it".into(),
        kind,
        summary: String::new(),
        source: String::new(),
        params: Vec::new(),
        goal: Goal::Budget,
        iterates: Iterates::Inside,
        builds: true,
        extensions: Vec::new(),
        plugin: Arc::new(plugin),
    }
}

fn arguments() -> Arguments {
    let argument = |name: &str, value: Value| Argument { name: name.into(), spelling: String::new(), value, given: false };
    Arguments(vec![argument("beta", Value::Float(6.0)), argument("how-many", Value::Int(3))])
}

fn raw(graphs: &[(i32, &str)]) -> RawProgram {
    let graph = |(role, text): &(i32, &str)| RawGraph { role: *role, format: abi::TEXT_GRAPH, bytes: text.as_bytes().to_vec() };
    RawProgram { graphs: graphs.iter().map(graph).collect(), ..RawProgram::default() }
}

fn answered(kind: Kind, raw: &RawProgram) -> Result<Program, String> {
    read(&component(kind), &arguments(), &Task::new([1, 2, 2], 3, "linf", 0.1), raw)
}

#[test]
fn a_trainer_is_read_with_its_fields() {
    let plain = answered(Kind::Trainer, &raw(&[(abi::COST, COST)])).expect("it is right");
    assert_eq!(
        (plain.replays, plain.data, plain.bn_attack, plain.attack.as_deref()),
        (1, TrainingData::Clean, AttackStatistics::Eval, None)
    );
    let adversary = "adversary (float[N,C] logits, float[N,C] logits0) => (float[N] loss) <int64[1] a = {1}>
        { d = Sub(logits, logits0)  loss = ReduceSumSquare<keepdims = 0>(d, a) }";
    let inner = RawProgram {
        attack: "pgd:steps=10".into(),
        bn_attack: abi::BN_TRAIN,
        ..raw(&[(abi::COST, AT_X_ADV), (abi::ADVERSARY, adversary)])
    };
    let inner = answered(Kind::Trainer, &inner).expect("it is right");
    assert_eq!((inner.attack.as_deref(), inner.bn_attack), (Some("pgd:steps=10"), AttackStatistics::Train));
    let once = RawProgram { attack: "fgsm".into(), data: abi::ADVERSARIAL_ONCE, ..raw(&[(abi::COST, COST)]) };
    let once = answered(Kind::Trainer, &once).expect("it is right");
    assert_eq!(once.data, TrainingData::AdversarialOnce);
    assert!(plain.sha256 != once.sha256, "the fields are part of the hash");
    let free = RawProgram { replays: 8, ..raw(&[(abi::COST, AT_X_ADV), (abi::REPLAY, REPLAY)]) };
    assert_eq!(answered(Kind::Trainer, &free).expect("it is right").replays, 8);
}

/// The graphs are named after what is wrong; the clause is what a user reads behind the component's name.
#[test]
fn mistakes_of_trainers_are_named() {
    let given = |text: &'static str| raw(&[(abi::COST, text)]);
    let with = |attack: &str, text: &'static str| RawProgram { attack: attack.into(), ..given(text) };
    let cases = [
        (raw(&[(abi::ADVERSARY, COST)]), "its program has no cost graph, so there is nothing to minimise"),
        (given(AT_X_ADV), "its cost graph names \"logits_adv\", and it has neither an inner attack nor a replay graph"),
        (with("pgd", COST), "it has an inner attack, and its cost names nothing at x_adv"),
        (
            RawProgram { data: abi::ADVERSARIAL_ONLINE, ..with("pgd", AT_X_ADV) },
            "its cost graph names \"logits_adv\", and its training data hold the adversarial examples already",
        ),
        (
            RawProgram { data: abi::ADVERSARIAL_ONCE, ..given(COST) },
            "its training data are adversarial, and it has no inner attack",
        ),
        (RawProgram { data: 7, ..given(COST) }, "7 is not a kind of training data"),
        (RawProgram { bn_attack: 7, ..given(COST) }, "7 does not say which statistics batch normalisation uses under attack"),
        (with("pgd\n", AT_X_ADV), "its inner attack \"pgd\\u{a}\" is not one line of at most 1000 bytes"),
        (raw(&[(abi::COST, AT_X_ADV), (abi::REPLAY, REPLAY)]), "it has a replay graph and no replays"),
        (RawProgram { replays: 3, ..given(COST) }, "it wants replays and has no replay graph"),
        (
            RawProgram { replays: 3, attack: "pgd".into(), ..raw(&[(abi::COST, AT_X_ADV), (abi::REPLAY, REPLAY)]) },
            "it has an inner attack and a replay graph; x_adv can come from one of them",
        ),
        (
            given("cost (float[N,D] x0) => (float[N] cost) <int64[1] a = {1}> { cost = ReduceSum<keepdims = 0>(x0, a) }"),
            "its cost graph computes \"cost\" from nothing of the model, so no parameter would change",
        ),
        (
            given(
                "cost (float[N,C] logits, float[N,D] x0) => (float[N] cost) <int64[1] a = {1}> { z = Neg(logits)  cost = ReduceSum<keepdims = 0>(x0, a) }",
            ),
            "its cost graph computes \"cost\" from nothing of the model, so no parameter would change",
        ),
        (
            given("cost (float[N,C] logits) => (float[N] loss) <int64[1] a = {1}> { loss = ReduceSum<keepdims = 0>(logits, a) }"),
            "its cost graph gives \"loss\"; it may give cost, log_*",
        ),
        (
            given("cost (float[N,C] logits) => (cost) { cost = Neg(logits) }"),
            "its cost graph gives \"cost\" with the shape [N,3]; it is [N]",
        ),
        (
            given("cost (float[N,C] logits0) => (cost) <int64[1] a = {1}> { cost = ReduceSum<keepdims = 0>(logits0, a) }"),
            "its cost graph names \"logits0\", which only objective, cotangent, init, step, emit, observe, adversary may name",
        ),
        (
            raw(&[
                (abi::COST, COST),
                (abi::COTANGENT, "cotangent (float[N,C] logits, int64 restart) => (ct) { ct = Softmax(logits) }"),
            ]),
            "its cotangent graph names \"restart\", which a trainer does not have",
        ),
        (raw(&[(abi::COST, COST), (abi::STEP, COST)]), "its step graph has no place in a program of kind trainer"),
    ];
    for (raw, clause) in cases {
        let found = answered(Kind::Trainer, &raw).expect_err(clause);
        assert_eq!(found, clause);
    }
    let metric =
        RawProgram { attack: "pgd".into(), ..raw(&[(abi::EMIT, "emit (float[N] loss) => (col_l) { col_l = Identity(loss) }")]) };
    let clause = "it states an inner attack or training data, and it is of kind metric";
    assert_eq!(answered(Kind::Metric, &metric).expect_err(clause), clause);
}

#[test]
fn an_optimizer_serves_parameters_of_every_shape() {
    let program = answered(Kind::Optimizer, &raw(&[(abi::UPDATE, UPDATE)])).expect("it is right");
    let graph = program.graph(Role::Update).expect("an update");
    assert!(graph.inputs().iter().take(2).all(|&id| graph.shape(id).is_none()));
    let cases = [
        (
            "update (float[3] param, float[] dparam) => (param_next) { param_next = Sub(param, dparam) }",
            "declares \"param\" with the shape [3]; it is of unknown rank, as in float[]",
        ),
        (
            "update (float[] param, float lr) => (param_next) { param_next = Mul(param, lr) }",
            "computes \"param_next\" without \"dparam\"",
        ),
        (
            "update (float[] param, float[] dparam) => (state_m_next, param_next) { state_m_next = Neg(dparam)  param_next = Sub(param, dparam) }",
            "gives \"state_m_next\" and does not name \"state_m\"",
        ),
        (
            "update (float[] param, float[] dparam, float[] state_m) => (param_next) { param_next = Sub(state_m, dparam) }",
            "names \"state_m\" and does not give \"state_m_next\"",
        ),
        (
            "update (float[] dparam) => (param_next) <int64[1] a = {3}> { param_next = Reshape(dparam, a) }",
            "gives \"param_next\" with the shape [3]; it is of unknown rank, as in float[]",
        ),
        (
            "update (float[] param, float[] dparam, float[N,C] logits) => (param_next) { param_next = Sub(param, dparam) }",
            "names \"logits\", which only objective, cotangent, init, step, emit, observe, adversary, cost may name",
        ),
    ];
    for (text, clause) in cases {
        let found = answered(Kind::Optimizer, &raw(&[(abi::UPDATE, text)])).expect_err(clause);
        assert_eq!(found, format!("its update graph {clause}"), "{text}");
    }
    let none = answered(Kind::Optimizer, &raw(&[(abi::PERTURB, UPDATE)])).expect_err("no update");
    assert_eq!(none, "its program has no update graph");
}

#[test]
fn arguments_are_bound_for_the_program_of_another() {
    let text = "adversary (float[N,C] logits, float arg_beta, int64 arg_how_many) => (float[N] loss) <int64[1] a = {1}>
        { n = Cast<to = 1>(arg_how_many)  b = Mul(arg_beta, n)  s = ReduceSum<keepdims = 0>(logits, a)  loss = Mul(s, b) }";
    let raw = RawProgram { attack: "pgd".into(), ..raw(&[(abi::COST, AT_X_ADV), (abi::ADVERSARY, text)]) };
    let program = answered(Kind::Trainer, &raw).expect("it is right");
    let bound = program.bound(Role::Adversary, &arguments()).expect("an adversary");
    let inputs: Vec<&str> = bound.inputs().iter().map(|&id| &*bound.value(id).name).collect();
    assert_eq!(inputs, ["logits"]);
    let values: Vec<f64> = bound
        .values()
        .filter_map(|(_, v)| v.constant.as_ref().filter(|_| v.name.starts_with("arg_")))
        .flat_map(|t| t.to_f64())
        .collect();
    assert_eq!(values, [6.0, 3.0]);
    assert!(bound.check().is_ok());
    assert!(program.bound(Role::Perturb, &arguments()).is_none());
}
