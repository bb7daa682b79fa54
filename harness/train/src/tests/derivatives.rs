//! Derivatives by parameters against differences in double precision, first and second order, with batch statistics and without.

use flatscape_graph::{Graph, Tensor};
use flatscape_intake::random::{Law, Place, fill};
use flatscape_measure::link::{Link, WEIGHT};
use flatscape_measure::threats::ThreatModel;

use super::{named, net, normal, parsed, run, trainable};
use crate::form::{Form, parameter, values_of};

/// Costs, and whether they name a gradient.
const COSTS: &[(&str, &str)] = &[
    ("cross-entropy", "cost (float[N,K] logits, int64[N] y) => (float[N] cost) { cost = flatscape.CrossEntropy(logits, y) }"),
    (
        "squared gradient norm",
        "cost (float[N,K] logits, int64[N] y, float[N,D] grad) => (float[N] cost) <int64[1] axis = {1}> { ce = flatscape.CrossEntropy(logits, y)  s = ReduceSumSquare<keepdims = 0>(grad, axis)  cost = Add(ce, s) }",
    ),
    (
        "product with a cotangent, attached",
        "cost (float[N,K] logits, int64[N] y, float[N,D] vjp) => (float[N] cost) <int64[1] axis = {1}> { ce = flatscape.CrossEntropy(logits, y)  s = ReduceSumSquare<keepdims = 0>(vjp, axis)  cost = Add(ce, s) }",
    ),
    (
        "features and weights of the last layer",
        "cost (float[N,K] logits, int64[N] y, float[N,F] features, float[K,F] head_weight) => (float[N] cost) <int64[1] axis = {1}> { ce = flatscape.CrossEntropy(logits, y)  t = Transpose<perm = [1, 0]>(head_weight)  m = MatMul(features, t)  s = ReduceSumSquare<keepdims = 0>(m, axis)  cost = Add(ce, s) }",
    ),
    (
        "adversarial and clean point",
        "cost (float[N,K] logits, float[N,K] logits_adv, int64[N] y) => (float[N] cost) { a = flatscape.CrossEntropy(logits_adv, y)  c = flatscape.CrossEntropy(logits, y)  cost = Mul(a, c) }",
    ),
];

const COTANGENT: &str = "cotangent (float[N,K] logits) => (float[N,K] ct) { ct = Softmax(logits) }";

/// Weight · Σ cost and its derivatives at some weights.
fn value(graph: &Graph, parameters: &[Tensor], feed: &[(&str, Tensor)]) -> (f64, Vec<Vec<f64>>) {
    let names: Vec<String> = (0..parameters.len()).map(parameter).collect();
    let mut fed = feed.to_vec();
    fed.extend(names.iter().map(String::as_str).zip(parameters.iter().cloned()));
    let results = run(graph, &fed);
    let cost: f64 = named(&results, "cost").to_f64().iter().sum();
    (cost / 4.0, names.iter().map(|name| named(&results, &format!("d{name}")).to_f64()).collect())
}

#[test]
fn derivatives_are_those_of_differences() {
    let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
    let cotangent = parsed(COTANGENT);
    for normalised in [false, true] {
        let found = trainable(&net(normalised));
        let marked = found.native.any_batch().expect("a free batch").clone();
        let form = Form::of(&found, &marked, &vec![true; found.weights.len()]).expect("opened");
        let weights: Vec<Tensor> = found.weights.iter().map(|w| w.value.clone()).collect();
        let (parameters, _) = values_of(&form, &weights);
        let feed = [
            ("x0", normal(&[4, 2, 4, 4], "x", 1.0)),
            ("x_adv", normal(&[4, 2, 4, 4], "x'", 1.0)),
            ("y", Tensor::ints(&[0, 1, 2, 1])),
            (WEIGHT, Tensor::scalar(0.25f32)),
        ];
        for (what, words) in COSTS {
            let link = Link { cotangent: Some(&cotangent), ..Link::of(&form.training, &threat) };
            let names: Vec<String> = (0..parameters.len()).map(parameter).collect();
            let costed = link.cost(&parsed(words), &names, false).unwrap_or_else(|e| panic!("{what}: {e}"));
            let (_, derivatives) = value(&costed.graph, &parameters, &feed);
            // tract computes the mean of squares in float32, also of doubles: larger steps, and fewer digits
            let (h, tolerance) = if normalised { (5e-3, 1e-4) } else { (1e-4, 1e-7) };
            for key in 0..3 {
                let directions: Vec<Vec<f64>> = parameters
                    .iter()
                    .enumerate()
                    .map(|(i, p)| {
                        let mut data = vec![0f32; p.len()];
                        fill(Law::Normal, Place::new(key, "direction", "d").sample(i as u64), &mut data);
                        data.into_iter().map(f64::from).collect()
                    })
                    .collect();
                let moved = |step: f64| -> Vec<Tensor> {
                    let one = |(p, d): (&Tensor, &Vec<f64>)| {
                        let data: Vec<f64> = p.to_f64().iter().zip(d).map(|(p, d)| p + step * d).collect();
                        Tensor::new(p.shape(), data).expect("the same shape")
                    };
                    parameters.iter().zip(&directions).map(one).collect()
                };
                let at =
                    |h: f64| (value(&costed.graph, &moved(h), &feed).0 - value(&costed.graph, &moved(-h), &feed).0) / (2.0 * h);
                // the error of both differences is of order h², and the combination of order h⁴
                let slope = (4.0 * at(h / 2.0) - at(h)) / 3.0;
                let product: f64 = derivatives.iter().flatten().zip(directions.iter().flatten()).map(|(a, b)| a * b).sum();
                let off = (slope - product).abs() / slope.abs().max(1e-3);
                assert!(off < tolerance, "{what}, batch statistics {normalised}: {product} for {slope}");
            }
        }
    }
}

#[test]
fn a_cost_without_parameters_is_refused() {
    let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
    let found = trainable(&net(false));
    let marked = found.native.any_batch().expect("a free batch").clone();
    let form = Form::of(&found, &marked, &vec![true; found.weights.len()]).expect("opened");
    let words =
        "cost (float[N,C,H,W] x0) => (float[N] cost) <int64[3] axes = {1, 2, 3}> { cost = ReduceSum<keepdims = 0>(x0, axes) }";
    let refused =
        Link::of(&form.training, &threat).cost(&parsed(words), &[parameter(0)], false).expect_err("refused").to_string();
    assert!(refused.contains("does not depend on the parameters"), "{refused}");
}
