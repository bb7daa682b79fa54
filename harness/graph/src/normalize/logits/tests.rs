//! Tails as exporters write them, and what stays when they are cut.

use super::*;
use crate::text;

/// A program, what is cut, and the operators on the way to the logits.
const TAILS: &[(&str, Answer, Cut, &str)] = &[
    ("(float[N,3] x) => (float[N,3] p) { z = Relu(x)  p = Softmax(z) }", Answer::Classes, Cut::Softmax, "Relu"),
    ("(float[N,3] x) => (float[N,3] p) { z = Relu(x)  p = LogSoftmax<axis = 1>(z) }", Answer::Classes, Cut::LogSoftmax, "Relu"),
    (
        "(float[N,3,1] x) => (float[N,3] p) <int64[1] a = {2}> { z = Relu(x)  q = Softmax<axis = 1>(z)  p = Squeeze(q, a) }",
        Answer::Classes,
        Cut::Softmax,
        "Relu Squeeze",
    ),
    // channels last, and back
    (
        "(float[N,3,1,1] x) => (float[N,3,1,1] p) { z = Transpose<perm = [0, 2, 3, 1]>(x)  q = Softmax(z)  p = Transpose<perm = [0, 3, 1, 2]>(q) }",
        Answer::Classes,
        Cut::Softmax,
        "Transpose Transpose",
    ),
    // a temperature belongs to the logits
    (
        "(float[N,3] x) => (double[N,3] p) <float t = {2}> { z = Div(x, t)  q = Softmax(z)  p = Cast<to = 11>(q) }",
        Answer::Classes,
        Cut::Softmax,
        "Div Cast",
    ),
    // clipped, renormalised, logarithm
    (
        "(float[N,3] x) => (float[N,3] p) <float l = {0.0000001}, float h = {0.9999999}, int64[1] a = {1}> {
            z = Relu(x)  q = Softmax(z)  s = ReduceSum(q, a)  r = Div(q, s)  c = Clip(r, l, h)  p = Log(c) }",
        Answer::Classes,
        Cut::WrittenLogSoftmax,
        "Relu",
    ),
    (
        "(float[N,3] x) => (float[N,3] p) <float e = {0.00001}> { z = Relu(x)  q = Softmax(z)  r = Add(e, q)  p = Log(r) }",
        Answer::Classes,
        Cut::WrittenLogSoftmax,
        "Relu",
    ),
    // written out
    (
        "(float[N,3] x) => (float[N,3] p) <int64[1] a = {1}> { z = Relu(x)  e = Exp(z)  s = ReduceSum(e, a)  p = Div(e, s) }",
        Answer::Classes,
        Cut::WrittenSoftmax,
        "Relu",
    ),
    (
        "(float[N,3] x) => (float[N,3] p) <int64[1] a = {-1}, float t = {0.000001}> {
            z = Relu(x)  m = ReduceMax(z, a)  u = Sub(z, m)  e = Exp(u)  s = ReduceSum(e, a)  c = Max(s, t)  p = Div(e, c) }",
        Answer::Classes,
        Cut::WrittenSoftmax,
        "Relu",
    ),
    (
        "(float[N,3] x) => (float[N,3] p) <int64[1] a = {1}> {
            z = Relu(x)  m = ReduceMax<keepdims = 0>(z, a)  n = Unsqueeze(m, a)  u = Sub(z, n)  e = Exp(u)
            s = ReduceSum<keepdims = 0>(e, a)  t = Unsqueeze(s, a)  r = Reciprocal(t)  p = Mul(r, e) }",
        Answer::Classes,
        Cut::WrittenSoftmax,
        "Relu",
    ),
    (
        "(float[N,3] x) => (float[N,3] p) <int64[1] a = {1}> { z = Relu(x)  s = ReduceLogSumExp(z, a)  p = Sub(z, s) }",
        Answer::Classes,
        Cut::WrittenLogSoftmax,
        "Relu",
    ),
    (
        "(float[N,3] x) => (float[N,3] p) <int64[1] a = {1}> {
            z = Relu(x)  m = ReduceMax(z, a)  u = Sub(z, m)  e = Exp(u)  s = ReduceSum(e, a)  l = Log(s)  g = Add(l, m)  p = Sub(z, g) }",
        Answer::Classes,
        Cut::WrittenLogSoftmax,
        "Relu",
    ),
    (
        "(float[N,3] x) => (float[N,3] p) <int64[1] a = {1}> {
            z = Relu(x)  m = ReduceMax(z, a)  u = Sub(z, m)  e = Exp(u)  s = ReduceSum(e, a)  l = Log(s)  g = Sub(u, l)  p = Exp(g) }",
        Answer::Classes,
        Cut::WrittenSoftmax,
        "Relu",
    ),
    // sigmoids
    ("(float[N,3] x) => (float[N,3] p) { z = Relu(x)  p = Sigmoid(z) }", Answer::StatedClasses, Cut::Sigmoid, "Relu"),
    ("(float[N,1] x) => (float[N,1] p) { z = Relu(x)  p = Sigmoid(z) }", Answer::Binary, Cut::Sigmoid, "Relu Pad"),
    ("(float[N] x) => (float[N] p) { z = Relu(x)  p = Sigmoid(z) }", Answer::Binary, Cut::Sigmoid, "Relu Unsqueeze Pad"),
    ("(float[N,1] x) => (float[N,1] p) { p = Relu(x) }", Answer::Binary, Cut::Nothing, "Relu Pad"),
    (
        "(float[N,1,1,1] x) => (float[N,1,1,1] p) <float one = {1}> { z = Relu(x)  n = Neg(z)  e = Exp(n)  d = Add(e, one)  p = Div(one, d) }",
        Answer::Binary,
        Cut::Sigmoid,
        "Relu Squeeze Pad",
    ),
    (
        "(float[N,1] x) => (float[N,2] p) <float[1] one = {1}> { z = Relu(x)  q = Sigmoid(z)  r = Sub(one, q)  p = Concat<axis = 1>(r, q) }",
        Answer::Classes,
        Cut::SigmoidPair,
        "Relu Pad",
    ),
    // no tails: an attention map; a softmax inside; sums of something else
    ("(float[N,3,4] x) => (float[N,3,4] p) { p = Softmax(x) }", Answer::Classes, Cut::Nothing, "Softmax"),
    ("(float[N,3] x) => (float[N,3] p) { z = Softmax(x)  p = Relu(z) }", Answer::Classes, Cut::Nothing, "Softmax Relu"),
    (
        "(float[N,3] x) => (float[N,3] p) <int64[1] a = {1}> { e = Exp(x)  z = Relu(x)  f = Exp(z)  s = ReduceSum(f, a)  p = Div(e, s) }",
        Answer::Classes,
        Cut::Nothing,
        "Exp Relu Exp ReduceSum Div",
    ),
    ("(float[N,3] x) => (float[N,3] p) { z = Relu(x)  p = Log(z) }", Answer::Classes, Cut::Nothing, "Relu Log"),
];

#[test]
fn tails_are_cut() {
    for (program, answer, wanted, ops) in TAILS {
        let graph = text::parse(program).unwrap_or_else(|e| panic!("{e} in {program}"));
        graph.check().unwrap_or_else(|e| panic!("{e} in {program}"));
        let (cut_off, cut) = logits(&graph, 0, *answer).unwrap_or_else(|e| panic!("{e} in {program}"));
        cut_off.check().unwrap();
        assert_eq!(cut, *wanted, "{program}");
        let first = cut_off.outputs()[0].clone();
        let (mut alone, own) = (cut_off.clone(), cut_off.outputs().last().unwrap().clone());
        alone.set_outputs(vec![first.clone()]);
        let left = alone.without_dead();
        assert_eq!(left.nodes().iter().map(|n| &*n.op).collect::<Vec<_>>().join(" "), *ops, "{program}");
        assert_eq!(&*own.name, "p");
        if *answer == Answer::Binary || cut == Cut::SigmoidPair {
            assert_eq!(cut_off.value(first.value).ty.to_string(), "float[N,2]", "{program}");
        } else {
            assert_eq!(cut_off.shape(first.value), cut_off.shape(own.value), "{program}");
        }
    }
}

#[test]
fn answers_that_are_no_classes_are_refused() {
    for (program, says) in [
        ("(float[N,3] x) => (float[N,3] p) { p = Softmax<axis = 0>(x) }", "ends in a Softmax over axis 0, which is the batch"),
        (
            "(float[N,3,1] x) => (float[N,3,1] p) { p = Softmax<axis = -1>(x) }",
            "ends in a Softmax over axis -1 of float[N,3,1], which are not the classes",
        ),
        (
            "(float[N,3] x) => (float[N,3] p) { p = Sigmoid(x) }",
            "ends in a Sigmoid over 3 classes, so every class is answered on its own and several may be right at once",
        ),
    ] {
        let graph = text::parse(program).unwrap();
        assert_eq!(logits(&graph, 0, Answer::Classes).unwrap_err().to_string(), says);
    }
}
