//! Gradients that are right pass, and every mistake in a table of mistakes is found: by the row that is there for it.

use std::collections::HashMap;

use flatscape_autodiff::vjp;
use flatscape_engine::{Choice, Engine, Settings, open};
use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Tensor, ValueType, simplify};

use crate::*;
use flatscape_intake::functions::cross_entropy;
use flatscape_intake::random::{Law, Place, fill};

const SIDE: usize = 6;
const CLASSES: usize = 4;

/// What stands between the image and the logits.
type Net = for<'b> fn(&'b Builder, Expr<'b>) -> Expr<'b>;

fn weights(stream: &str, shape: &[usize], size: f32) -> Tensor {
    let mut values = vec![0f32; shape.iter().product()];
    fill(Law::Normal, Place::new(7, "certificate tests", stream), &mut values);
    values.iter_mut().for_each(|v| *v *= size);
    Tensor::new(shape, values).expect("a tensor")
}

/// Convolution, ReLU, maximum over windows, dense.
fn conv<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let w = b.constant(weights("conv", &[3, 1, 3, 3], 0.5));
    let bias = b.constant(weights("bias", &[3], 0.2));
    let y = b.op("Conv", &[x, w, bias], [("kernel_shape", [3, 3].into()), ("pads", [1, 1, 1, 1].into())]).relu();
    let pooled = b.op("MaxPool", &[y], [("kernel_shape", [2, 2].into()), ("strides", [2, 2].into())]);
    pooled.reshape(&[0, -1]).matmul(b.constant(weights("dense", &[27, CLASSES], 1.0)))
}

fn staircase<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    conv(b, (x * 8.0).unary("Round") / 8.0)
}

fn saturated<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    conv(b, x) * 1e4
}

/// Right everywhere, and of no use at the distance of a step.
fn shattered<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    conv(b, x + (x * 3000.0).unary("Sin") * 0.01)
}

/// Only the largest tenth of many units speaks (Xiao et al. 2020, k-winner-take-all).
fn winners<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let win = |y: Expr<'b>, k: i64| {
        let top = b.ops("TopK", &[y, b.ints(&[k])], 2, [("axis", (-1i64).into())])[0];
        let least = top.slice(&[k - 1], &[k], &[1], &[1]);
        y.at_least(least).select(y, y * 0.0)
    };
    let hidden = x.reshape(&[0, -1]).matmul(b.constant(weights("wide", &[SIDE * SIDE, 600], 0.3)));
    let again = win(hidden, 60).matmul(b.constant(weights("wider", &[600, 600], 0.1)));
    win(again, 60).matmul(b.constant(weights("last", &[600, CLASSES], 0.3)))
}

/// A subject with its own gradient, of images with a flat part (every window there has a tie).
fn subject(net: Net, count: usize) -> Subject {
    let b = Builder::new(Graph::new("net"));
    let dims = vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(SIDE), Dim::Fixed(SIDE)];
    let x = b.input("x", ValueType::new(DType::F32, dims));
    let logits = net(&b, x);
    b.output("logits", logits);
    let forward = simplify(&b.graph());
    let y = b.input("y", ValueType::new(DType::I64, vec![Dim::symbol("N")]));
    let (_, ct) = cross_entropy(&b, logits, y);
    let found = vjp(&b, logits.id, ct.id, &[x.id]).expect("a gradient")[0];
    let gradient = found.map_or_else(|| x * 0.0, |id| b.expr(id));
    b.graph_mut().set_outputs(Vec::new());
    b.output("gradient", gradient);
    let mut pixels = vec![0f32; count * SIDE * SIDE];
    fill(Law::Uniform, Place::new(3, "certificate tests", "pixels"), &mut pixels);
    // the left half is background
    pixels.iter_mut().enumerate().for_each(|(i, v)| *v = if i % SIDE < SIDE / 2 { 0.0 } else { v.abs() });
    let labels: Vec<i64> = (0..count as i64).map(|i| i % CLASSES as i64).collect();
    Subject {
        model: "net".into(),
        about: "here".into(),
        forward,
        gradient: simplify(&b.into_graph()),
        scalar: Scalar::CrossEntropy { classes: CLASSES, labels: labels.clone() },
        labels: Some(labels.clone()),
        variables: vec![Variable { name: "x".into(), shape: vec![1, SIDE, SIDE], gradient: "gradient".into() }],
        blocks: count,
        batched: true,
        start: pixels.iter().map(|&v| f64::from(v)).collect(),
        fixed: HashMap::from([("y".to_owned(), Tensor::ints(&labels))]),
        ids: (0..count as u64).collect(),
        bounds: Some((0.0, 1.0)),
        range: 1.0,
        reach: Some(0.1),
        hessian: None,
        ascent: false,
        surrogate: false,
        other: None,
        seed: 0,
    }
}

fn certified(subject: &Subject) -> Certificate {
    let tract = open(&Settings { choice: Choice::Tract, threads: 1, ..Settings::default() }).expect("tract is compiled in");
    let main: &dyn Engine = tract.as_ref();
    let second = Err("not available: this test has one engine".to_owned());
    certify(subject, &Engines { main, second, double: vec![tract.clone()] })
}

fn failed(certificate: &Certificate) -> Vec<&str> {
    let mut names: Vec<&str> = certificate.failures().map(|row| row.check.as_str()).collect();
    names.dedup();
    names
}

#[test]
fn an_honest_net_passes_in_spite_of_kinks_and_ties() {
    for count in [1, 16] {
        let found = certified(&subject(conv, count));
        assert_eq!(found.passed(), Some(true), "{count} images: {:#?}", found.rows);
        let impossible: Vec<&str> =
            found.rows.iter().filter(|r| r.outcome == Outcome::NotPossible).map(|r| r.check.as_str()).collect();
        assert_eq!(
            impossible,
            ["second-engine", "second-engine"],
            "a check that cannot be made is not a pass: {:#?}",
            found.rows
        );
        assert!(found.sentence().contains("2 were not possible"), "{}", found.sentence());
    }
}

#[test]
fn what_hides_a_gradient_is_found_by_its_row() {
    let cases: [(&str, Net, &[&str]); 4] = [
        ("staircase", staircase, &["zero-gradients"]),
        ("saturated", saturated, &["zero-gradients"]),
        ("shattered", shattered, &["slope-near", "slope-far"]),
        ("winners", winners, &["slope-near"]),
    ];
    for (name, net, rows) in cases {
        let found = certified(&subject(net, 16));
        assert_eq!(found.passed(), Some(false), "{name}: {:#?}", found.rows);
        for row in rows {
            assert!(failed(&found).contains(row), "{name}: {row} is not among {:?}: {:#?}", failed(&found), found.rows);
        }
    }
}

/// Scores so large that cross-entropy is sure of every image: its gradient vanishes where the model is right, and what attacks
/// ascend (the direction without the factor that vanishes) does not.
#[test]
fn a_gradient_that_vanishes_because_the_model_is_sure_is_no_failure_of_the_ascent() {
    let found = certified(&Subject { ascent: true, ..subject(saturated, 16) });
    assert_eq!(found.passed(), Some(true), "{:#?}", found.rows);
    let zero = found.rows.iter().find(|row| row.check == "zero-gradients").expect("its row");
    assert!(zero.measured.contains("that are in question"), "{}", zero.measured);
}

/// The staircase with the gradient of the net behind it, as straight-through estimators have it: no zeros, and no slope.
#[test]
fn a_straight_through_gradient_is_no_slope() {
    let surrogate = Subject { gradient: subject(conv, 16).gradient, ..subject(staircase, 16) };
    let found = certified(&surrogate);
    assert_eq!(found.passed(), Some(false));
    assert!(failed(&found).contains(&"slope"), "{:?}", failed(&found));
    let asked = certified(&Subject { surrogate: true, ..surrogate });
    assert!(asked.passed() == Some(true) && asked.sentence().contains("it is a surrogate"), "{}", asked.sentence());
}

/// What a wrong rule does to a gradient.
type Mistake = for<'b> fn(&'b Builder, Expr<'b>) -> Expr<'b>;

#[test]
fn every_mistake_in_a_gradient_is_found() {
    let mistakes: &[(&str, Mistake, &str)] = &[
        ("the sign", |_, g| -g, "slope"),
        ("a factor of 1.05", |_, g| g * 1.05, "slope"),
        ("a factor of 0.995", |_, g| g * 0.995, "slope"),
        ("a factor of 1/N", |b, g| g * b.constant(Tensor::scalar(0.0625f32)), "slope"),
        ("axes swapped", |_, g| g.transpose(&[0, 1, 3, 2]), "slope"),
        (
            "shifted by a row",
            |b, g| {
                let last = g.slice(&[5], &[6], &[2], &[1]);
                b.concat(&[last, g.slice(&[0], &[5], &[2], &[1])], 2)
            },
            "slope",
        ),
        (
            "one column lost",
            |b, g| {
                let mask: Vec<f32> = (0..SIDE).map(|i| if i == 4 { 0.0 } else { 1.0 }).collect();
                g * b.constant(Tensor::new(&[1, 1, 1, SIDE], mask).expect("a mask"))
            },
            "slope",
        ),
        ("only the sign", |_, g| g.sign(), "slope"),
        ("nothing", |_, g| g * 0.0, "zero-gradients"),
        ("no numbers", |b, g| g / b.constant(Tensor::scalar(0.0f32)), "finite-gradients"),
    ];
    for (name, mistake, row) in mistakes {
        let honest = subject(conv, 16);
        let mut wrong = honest.clone();
        let value = honest.gradient.outputs()[0].value;
        let b = Builder::new(honest.gradient.clone());
        let spoilt = mistake(&b, b.expr(value));
        b.graph_mut().set_outputs(Vec::new());
        b.output("gradient", spoilt);
        wrong.gradient = b.into_graph();
        let found = certified(&wrong);
        assert_eq!(found.passed(), Some(false), "{name}: {:#?}", found.rows);
        assert!(failed(&found).contains(row), "{name}: {row} is not among {:?}", failed(&found));
    }
}

#[test]
fn another_gradient_is_compared_and_the_worst_sample_named() {
    let honest = subject(conv, 16);
    let b = Builder::new(honest.gradient.clone());
    let value = b.expr(honest.gradient.outputs()[0].value);
    // every third sample is stretched, sample 5 is turned round
    let mut factor: Vec<f32> = (0..16).map(|i| if i % 3 == 0 { 1.1 } else { 1.0 }).collect();
    factor[5] = -1.0;
    let factor = b.constant(Tensor::new(&[16, 1, 1, 1], factor).expect("factors"));
    let turned = value * factor;
    b.graph_mut().set_outputs(Vec::new());
    b.output("theirs", turned);
    let other = Other { name: "theirs.onnx".into(), graph: b.into_graph(), output: "theirs".into() };
    let found = certified(&Subject { other: Some(other), ..honest });
    assert_eq!(found.passed(), Some(true), "the gradient in use is right");
    let row = found.disagreement().expect("7 of 16 are more than 5 %");
    assert!(row.measured.contains("worst is sample 5") && row.measured.contains("cosine -1.0000"), "{}", row.measured);
}

#[test]
fn certificates_are_the_same_every_time() {
    assert_eq!(certified(&subject(conv, 8)), certified(&subject(conv, 8)));
}
