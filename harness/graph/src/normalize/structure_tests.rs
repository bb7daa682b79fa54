//! Control flow and sequences vanish: what stands there before and after, and what is refused.

use super::{NormalizeError, Options, normalize};
use crate::text;

/// A graph, and the same without control flow.
const PAIRS: &[(&str, &str)] = &[
    // a condition that follows from extents; the branch reads a value from outside
    (
        "(float[N,3] x) => (float[N,3] y) <int64 one = {1}, int64 three = {3}> {
            a = Relu(x)  s = Shape(x)  n = Gather(s, one)  is = Equal(n, three)
            y = If <then_branch = t () => (p) { p = Tanh(a) }, else_branch = e () => (q) { q = Conv(a) }> (is) }",
        "(float[N,3] x) => (float[N,3] y) { a = Relu(x)  y = Tanh(a) }",
    ),
    // data decides between branches of one shape
    (
        "(float[2] x) => (float[2] y) <float zero = {0}> {
            t = ReduceSum<keepdims = 0>(x)  up = Greater(t, zero)
            y = If <then_branch = t () => (p) { p = Relu(x) }, else_branch = e () => (q) { q = Neg(x) }> (up) }",
        "(float[2] x) => (float[2] y) <float zero = {0}, int64[0] flat = {}> {
            t = ReduceSum<keepdims = 0>(x)  up = Greater(t, zero)  p = Relu(x)  q = Neg(x)  c = Reshape(up, flat)  y = Where(c, p, q) }",
    ),
    // iterations with their number, and what they collect
    (
        "(float[N,2] x) => (float[N,2] y, float[2,N,2] all) <int64 m = {2}, bool go = {1}> {
            y, all = Loop <body = b (int64 i, bool c, float[N,2] v) => (d, w, e) {
                d = Identity(c)  f = Cast<to = 1>(i)  w = Add(v, f)  e = Relu(w) }> (m, go, x) }",
        "(float[N,2] x) => (float[N,2] y, float[2,N,2] all) <float zero = {0}, float one = {1}, int64[1] front = {0}> {
            a = Add(x, zero)  p = Relu(a)  y = Add(a, one)  q = Relu(y)
            s = Unsqueeze(p, front)  t = Unsqueeze(q, front)  all = Concat<axis = 0>(s, t) }",
    ),
    // a condition that a counter makes false
    (
        "(float[2] x) => (float[2] y) <bool go = {1}, int64 zero = {0}, int64 two = {2}, int64 one = {1}> {
            k, y = Loop <body = b (int64 i, bool c, int64 n, float[2] v) => (d, o, w) {
                o = Add(n, one)  d = Less(o, two)  w = Sin(v) }> ( , go, zero, x) }",
        "(float[2] x) => (float[2] y) { a = Sin(x)  y = Sin(a) }",
    ),
    // elements from the last to the first
    (
        "(float[2,2] x, float[2] s) => (float[2] y) {
            y = Scan <num_scan_inputs = 1, scan_input_directions = [1], body = b (float[2] h, float[2] e) => (o) { o = Sub(h, e) }> (s, x) }",
        "(float[2,2] x, float[2] s) => (float[2] y) <int64[2] ones = {1, 1}, int64[1] front = {0}> {
            a, b = Split<axis = 0>(x, ones)  c = Squeeze(a, front)  d = Squeeze(b, front)  t = Sub(s, d)  y = Sub(t, c) }",
    ),
    // a sequence that vanishes
    (
        "(float[2,3] x) => (float[3,2] y, int64 n) <int64 at = {-1}> {
            p = SplitToSequence<axis = 0, keepdims = 0>(x)  e = SequenceAt(p, at)  r = Relu(e)  m = SequenceInsert(p, r, at)
            l = SequenceErase(m, at)  n = SequenceLength(m)  y = ConcatFromSequence<axis = 1, new_axis = 1>(l) }",
        "(float[2,3] x) => (float[3,2] y, int64 n) <int64[2] ones = {1, 1}, int64[1] front = {0}, int64[1] back = {1}, int64 three = {3}> {
            a, b = Split<axis = 0>(x, ones)  c = Squeeze(a, front)  d = Squeeze(b, front)  r = Relu(d)
            s = Unsqueeze(c, back)  t = Unsqueeze(r, back)  y = Concat<axis = 1>(s, t)  n = Identity(three) }",
    ),
    // what quantisers write, between its quantisers
    (
        "(uint8[N,3] a, uint8[N,3] b) => (uint8[N,3] y) <float s = {0.5}, uint8 z = {7}, float t = {0.25}, uint8 o = {0}> {
            y = com.microsoft.QLinearAdd(a, s, z, b, t, z, s, o) }",
        "(uint8[N,3] a, uint8[N,3] b) => (uint8[N,3] y) <float s = {0.5}, uint8 z = {7}, float t = {0.25}, uint8 o = {0}> {
            p = DequantizeLinear<axis = 1>(a, s, z)  q = DequantizeLinear<axis = 1>(b, t, z)  r = Add(p, q)  y = QuantizeLinear(r, s, o) }",
    ),
    (
        "(uint8[N,3] a) => (float[N,2] y) <float s = {0.5}, uint8 z = {7}, int8[2,3] w = {1, 2, 3, 4, 5, 6}, float[2] t = {0.25, 0.5}, int8[2] n = {0, 0}, int32[2] c = {8, -8}> {
            y = com.microsoft.QGemm<transB = 1>(a, s, z, w, t, n, c) }",
        "(uint8[N,3] a) => (float[N,2] y) <float s = {0.5}, uint8 z = {7}, int8[2,3] w = {1, 2, 3, 4, 5, 6}, float[2] t = {0.25, 0.5}, int8[2] n = {0, 0}, int32[2] c = {8, -8}> {
            p = DequantizeLinear<axis = 1>(a, s, z)  q = DequantizeLinear<axis = 0>(w, t, n)
            r = Gemm<alpha = 1.0, transA = 0, transB = 1>(p, q)  f = Cast<to = 1>(c)  u = Mul(s, t)  g = Mul(f, u)  y = Add(r, g) }",
    ),
    (
        "(uint8[N,3] a, uint8[N,2] b) => (uint8[N,5] y) <float s = {0.5}, uint8 z = {7}> {
            y = com.microsoft.QLinearConcat<axis = 1>(s, z, a, s, z, b, s, z) }",
        "(uint8[N,3] a, uint8[N,2] b) => (uint8[N,5] y) <float s = {0.5}, uint8 z = {7}> {
            p = DequantizeLinear<axis = 1>(a, s, z)  q = DequantizeLinear<axis = 1>(b, s, z)  r = Concat<axis = 1>(p, q)  y = QuantizeLinear(r, s, z) }",
    ),
    // of the first opsets
    (
        "(float[N,1,4,5] x) => (float[N,1,2,2] y) { y = Crop<border = [1, 2, 2, 0]>(x) }",
        "(float[N,1,4,5] x) => (float[N,1,2,2] y) <int64[2] a = {2, 1}, int64[2] b = {9223372036854775807, -2}, int64[2] c = {2, 3}, int64[2] d = {1, 1}> {
            y = Slice(x, a, b, c, d) }",
    ),
    (
        "(float[N,2,1,1] x) => (float[N,2,1,1] y) { y = ImageScaler<scale = 2.0, bias = [1.0, -1.0]>(x) }",
        "(float[N,2,1,1] x) => (float[N,2,1,1] y) <float t = {2}, float[1,2,1,1] b = {1, -1}> { p = Mul(x, t)  y = Add(p, b) }",
    ),
];

#[test]
fn control_flow_vanishes() {
    let read = |text: &str| text::parse(&format!("g {text}")).unwrap_or_else(|e| panic!("{e} in {text}"));
    for (before, after) in PAIRS {
        let found = normalize(&read(before), crate::OPSET, &Options::default()).unwrap_or_else(|e| panic!("{e} in {before}"));
        found.check().unwrap_or_else(|e| panic!("{e} in {before}"));
        let wanted = normalize(&read(after), crate::OPSET, &Options::default()).unwrap();
        assert_eq!(found.difference(&wanted), None, "\n{}\nshould be\n{}", text::print(&found), text::print(&wanted));
        // text says the same graph again, subgraphs and captures included
        let again = text::parse(&text::print_whole(&read(before))).unwrap_or_else(|e| panic!("{e} in {before}"));
        assert_eq!(again.difference(&read(before)), None, "{before}");
    }
}

/// What depends on data, or becomes too much.
const REFUSED: &[(&str, &str)] = &[
    (
        "(float[2] x, bool c) => (float[] y) {
            y = If <then_branch = t () => (p) { p = Relu(x) }, else_branch = e () => (q) { q = Concat<axis = 0>(x, x) }> (c) }",
        "If: its condition depends on data, and its branches differ in shape",
    ),
    (
        "(float[2] x, bool c) => (float[2] y) {
            y = If <then_branch = t () => (p) { p = RandomNormalLike(x) }, else_branch = e () => (q) { q = Relu(x) }> (c) }",
        "its then_branch holds RandomNormalLike",
    ),
    (
        "(float[2] x, int64 m) => (float[2] y) <bool go = {1}> {
            y = Loop <body = b (int64 i, bool c, float[2] v) => (d, w) { d = Identity(c)  w = Sin(v) }> (m, go, x) }",
        "Loop: its trip count depends on data",
    ),
    (
        "(float[2] x, bool go) => (float[2] y) {
            y = Loop <body = b (int64 i, bool c, float[2] v) => (d, w) { d = Identity(c)  w = Sin(v) }> ( , go, x) }",
        "Loop: its condition depends on data",
    ),
    (
        "(float[2] x) => (float[2] y) {
            y = Loop <body = b (int64 i, bool c, float[2] v) => (d, w) { d = Identity(c)  w = Sin(v) }> ( , , x) }",
        "more than 100000 nodes",
    ),
    // loops in loops without a node inside
    (
        "(float[2] x) => (float[2] y) <int64 m = {100000}> {
            y = Loop <body = b (int64 i, bool c, float[2] v) => (c, w) {
                w = Loop <body = e (int64 j, bool k, float[2] u) => (k, u) { }> (m, , v) }> (m, , x) }",
        "more than 100000 nodes",
    ),
    (
        "(float[M,2] x, float[2] s) => (float[2] y) {
            y = Scan <num_scan_inputs = 1, body = b (float[2] h, float[2] e) => (o) { o = Sub(h, e) }> (s, x) }",
        "Scan: the extent of what it scans is not fixed",
    ),
    (
        "(float[2] x, int64 i) => (float[2] y) { s = SequenceConstruct(x, x)  y = SequenceAt(s, i) }",
        "SequenceAt: where it reads depends on data",
    ),
    (
        "(float[M,2] x) => (float[] y) { s = SplitToSequence(x)  y = ConcatFromSequence<axis = 0>(s) }",
        "along the axis is not fixed",
    ),
    (
        "(float[M,2,3] x, float[1,3,3] w, float[1,3,3] r) => (float[] y) { y = RNN<hidden_size = 3>(x, w, r) }",
        "RNN: the length of its sequence is not fixed",
    ),
    (
        "(float[200000,2,3] x, float[1,3,3] w, float[1,3,3] r) => (float[] y) { y = RNN<hidden_size = 3>(x, w, r) }",
        "more than 100000 nodes",
    ),
];

#[test]
fn what_depends_on_data_is_refused() {
    for (source, words) in REFUSED {
        let graph = text::parse(&format!("g {source}")).unwrap_or_else(|e| panic!("{e} in {source}"));
        let error = normalize(&graph, crate::OPSET, &Options::default()).expect_err(words);
        assert!(error.to_string().contains(words), "{error} should say {words:?}");
        let control = ["If", "Loop", "Scan", "Sequence"].iter().any(|op| error.to_string().starts_with(op));
        let split = error.to_string().starts_with("SplitToSequence");
        assert_eq!(matches!(error, NormalizeError::ControlFlow(_)), control || split, "{error:?}");
    }
}
