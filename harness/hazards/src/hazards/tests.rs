//! Programs of a few lines and what is read off them.

use flatscape_graph::{Graph, normalize, text};

use super::{Found, hazards};

/// What is read off a program at opset 18, in its normal form.
fn found(program: &str) -> Vec<Found> {
    hazards(&normal(program), None)
}

fn normal(program: &str) -> Graph {
    let graph = text::parse(program).unwrap_or_else(|e| panic!("{e} in {program}"));
    let graph = normalize::normalize(&graph, 18, &normalize::Options::default()).unwrap_or_else(|e| panic!("{e} in {program}"));
    graph.check().unwrap_or_else(|e| panic!("{e} in {program}"));
    graph
}

const CLIPPED: &[&str] = &["clipped-pixels"];

/// Programs from images x to logits z, and the codes of what stands in them.
const CASES: &[(&str, &[&str])] = &[
    // what hides the gradient
    ("(float[N,4] x) => (float[N,2] z) <float[4,2] w = {1,2,3,4,5,6,7,8}> { r = Round(x)  z = MatMul(r, w) }", &["rounding", "no-gradient"]),
    (
        "(float[N,4] x) => (float[N,2] z) <float[4,2] w = {1,2,3,4,5,6,7,8}> { r = Floor(x)  s = Add(x, r)  z = MatMul(s, w) }",
        &["rounding"],
    ),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { r = Sign(x)  z = MatMul(r, w) }", &["sign", "no-gradient"]),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { i = Cast<to = 6>(x)  f = Cast<to = 1>(i)  z = MatMul(f, w) }",
        &["integer-cast", "no-gradient"],
    ),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { r = Hardmax(x)  z = MatMul(r, w) }", &["argmax", "no-gradient"]),
    // a staircase as a number, and by choice
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float t = {0.5}> { b = Greater(x, t)  f = Cast<to = 1>(b)  z = MatMul(f, w) }",
        &["threshold", "no-gradient"],
    ),
    (
        "(float[N,2] x) => (float[N,2] z) <float t = {0.5}, float one = {1}, float zero = {0}> { b = Less(x, t)  f = Where(b, one, zero)  z = Add(x, f) }",
        &["threshold"],
    ),
    // a rectifier by hand is none
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float t = {0.5}> {
            y = MatMul(x, w)  b = Greater(y, t)  f = Cast<to = 1>(b)  z = Mul(y, f) }",
        &[],
    ),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float t = {0.5}, float o = {0}> {
            y = MatMul(x, w)  b = Greater(y, t)  z = Where(b, y, o) }",
        &[],
    ),
    (
        "(float[N,8] x) => (float[N,8] z) <int64[1] k = {3}, int64[1] a = {1}> {
            v, i = TopK(x, k)  t = ReduceMin(v, a)  b = GreaterOrEqual(x, t)  f = Cast<to = 1>(b)  z = Mul(x, f) }",
        &["winner-take-all"],
    ),
    // functions of single pixels that are flat where pixels are
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { r = Relu(x)  z = MatMul(r, w) }", CLIPPED),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { r = Abs(x)  z = MatMul(r, w) }", CLIPPED),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { r = Mul(x, x)  z = MatMul(r, w) }", &[]),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { r = Sqrt(x)  z = MatMul(r, w) }", CLIPPED),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float l = {0.1}, float h = {1}> { r = Clip(x, l, h)  z = MatMul(r, w) }",
        CLIPPED,
    ),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float t = {0.3}> { r = Min(x, t)  z = MatMul(r, w) }", CLIPPED),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float t = {0.5}> {
            b = Greater(x, t)  f = Cast<to = 1>(b)  r = Mul(x, f)  z = MatMul(r, w) }",
        CLIPPED,
    ),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float t = {0.5}, float o = {0}> {
            b = Greater(x, t)  r = Where(b, x, o)  z = MatMul(r, w) }",
        CLIPPED,
    ),
    // behind what only moves, scales or repeats pixels, and where a constant is computed from them
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float o = {0}> { s = Sum(x, o)  r = Relu(s)  z = MatMul(r, w) }", CLIPPED),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float[2,2] e = {0,1,1,0}> { s = MatMul(x, e)  r = Relu(s)  z = MatMul(r, w) }", CLIPPED),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float o = {0}> { k = Mul(x, o)  r = Max(k, x)  z = MatMul(r, w) }", CLIPPED),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float o = {0}> {
            k = Mul(x, o)  b = Greater(x, k)  r = Where(b, x, k)  z = MatMul(r, w) }",
        CLIPPED,
    ),
    (
        "(float[N,1,4,4] x) => (float[N,1,1,1] z) <float[1,1,3,3] d = {0,0,0,0,1,0,0,0,0}, float[1,1,2,2] w = {1,2,3,4}> {
            a = Conv(x, d)  r = Relu(a)  z = Conv(r, w) }",
        CLIPPED,
    ),
    (
        "(float[N,1,4,4] x) => (float[N,1,3,3] z) <float[1,1,2,2] w = {1,2,3,4}> {
            a = MaxPool<kernel_shape = [1, 1]>(x)  r = Relu(a)  z = Conv(r, w) }",
        CLIPPED,
    ),
    (
        "(float[N,1,4,4] x) => (float[N,1,3,3] z) <float[1,1,2,2] w = {1,2,3,4}, int64[1] a = {1}> {
            r = ReduceL1<keepdims = 1>(x, a)  z = Conv(r, w) }",
        CLIPPED,
    ),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { s = Mul(x, x)  r = Sqrt(s)  z = MatMul(r, w) }", CLIPPED),
    // a mean over a window depends on several pixels
    (
        "(float[N,1,4,4] x) => (float[N,1,1,1] z) <float[1,1,2,2] w = {1,2,3,4}> {
            a = AveragePool<kernel_shape = [3, 3]>(x)  r = Relu(a)  z = Conv(r, w) }",
        &[],
    ),
    (
        "(float[N,1,4,4] x) => (float[N,1,2,2] z) <float[1,1,1,1] s = {2}, float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}> {
            n = Conv(x, s)  r = Relu(n)  z = Conv(r, w) }",
        CLIPPED,
    ),
    // the same where no pixel is: whole range, shifted range, rounded range of bytes
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float l = {0}, float h = {1}> { r = Clip(x, l, h)  z = MatMul(r, w) }",
        &[],
    ),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float t = {0}> { r = Max(x, t)  z = MatMul(r, w) }", &[]),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float c = {-0.5}> { s = Mul(x, c)  r = Abs(s)  a = Sub(r, c)  q = Relu(a)  z = MatMul(q, w) }",
        &["clipped-pixels", "baked-normalisation"],
    ),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float c = {0.5}, float o = {-3}, float p = {3}> {
            s = Sub(x, c)  d = Div(s, c)  r = Clip(d, o, p)  a = Abs(r)  z = MatMul(a, w) }",
        &["baked-normalisation"],
    ),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { y = MatMul(x, w)  r = Relu(y)  z = MatMul(r, w) }", &[]),
    // what makes answers vary
    ("(float[N,2] x) => (float[N,2] z) { n = RandomNormalLike(x)  z = Add(x, n) }", &["random-operator"]),
    ("(float[N,2] x) => (float[N,2] z) <float r = {0.5}, bool t = {1}> { z = Dropout(x, r, t) }", &["dropout-in-training"]),
    ("(float[N,2] x) => (float[N,2] z) <float r = {0.5}> { z = Dropout(x, r) }", &[]),
    (
        "(float[N,2] x) => (float[N,2] z) <float[2] o = {1, 1}, float[2] n = {0, 0}> {
            z, m, v = BatchNormalization<training_mode = 1>(x, o, n, n, o) }",
        &["batch-norm-in-training"],
    ),
    ("(float[N,2] x) => (float[N,2] z) <int64[1] a = {0}> { m = ReduceMean(x, a)  z = Sub(x, m) }", &["batch-mixing"]),
    ("(float[N,2] x) => (float[N,2] z) <int64[1] a = {1}> { m = ReduceMean(x, a)  z = Sub(x, m) }", &[]),
    ("(float[N,2] x) => (float[N,2] z) { z = Softmax<axis = 0>(x) }", &["batch-mixing"]),
    // the number of images as a number, and as an extent
    (
        "(float[N,2] x) => (float[N,2] z) <int64[1] b = {0}, int64[1] e = {1}, int64 m = {8}> {
            s = Shape(x)  n = Slice(s, b, e)  g = Greater(n, m)  f = Cast<to = 1>(g)  z = Mul(x, f) }",
        &["batch-size"],
    ),
    (
        "(float[N,2] x) => (float[N,2] z) <int64 i = {0}, float h = {0.5}> {
            s = Shape(x)  n = Gather(s, i)  f = Cast<to = 1>(n)  q = Mul(f, h)  z = Add(x, q) }",
        &["batch-size"],
    ),
    ("(float[N,2] x) => (float[N,2] z) { n = Size(x)  f = Cast<to = 1>(n)  z = Add(x, f) }", &["batch-size"]),
    (
        "(float[N,2] x) => (float[N,2] z) <int64[1] b = {0}, int64[1] e = {1}, int64[1] k = {2}> {
            s = Shape(x)  n = Slice(s, b, e)  t = Concat<axis = 0>(n, k)  y = Reshape(x, t)  z = Add(y, y) }",
        &[],
    ),
    // what distorts the loss
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float k = {2}> { y = MatMul(x, w)  p = Softmax(y)  z = Mul(p, k) }", &["bounded-output"]),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float k = {1000}> { y = MatMul(x, w)  z = Mul(y, k) }", &["logit-scale"]),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float k = {0.001}> { y = MatMul(x, w)  z = Div(y, k) }", &["logit-scale"]),
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float k = {10}> { y = MatMul(x, w)  z = Mul(y, k) }", &[]),
    // what happens to pixels
    (
        "(float[N,1,4,4] x) => (float[N,1,2,2] z) <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}, float m = {0.1307}, float s = {0.3081}> {
            c = Sub(x, m)  u = Div(c, s)  z = Conv(u, w) }",
        &["baked-normalisation"],
    ),
    (
        "(float[N,1,8,8] x) => (float[N,1,2,2] z) <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}, float[4] k = {1, 1, 0.5, 0.5}> {
            u = Resize<mode = \"linear\">(x, , k)  z = Conv(u, w) }",
        &["baked-resize"],
    ),
    (
        "(float[N,1,8,8] x) => (float[N,1,2,2] z) <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}, int64[2] b = {2, 2}, int64[2] e = {6, 6}, int64[2] a = {2, 3}> {
            u = Slice(x, b, e, a)  z = Conv(u, w) }",
        &["lost-pixels"],
    ),
    (
        "(float[N,1,8,8] x) => (float[N,1,3,3] z) <float[1,1,2,2] w = {1,2,3,4}> { z = Conv<strides = [3, 3]>(x, w) }",
        &["lost-pixels"],
    ),
    // what looks like a hazard and is none: sign(u)·|u|³, the largest values, a stride that another layer makes good
    ("(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float c = {3}> { y = MatMul(x, w)  s = Sign(y)  a = Abs(y)  p = Pow(a, c)  z = Mul(s, p) }", &[]),
    ("(float[N,8] x) => (float[N,3] z) <int64[1] k = {3}> { z, i = TopK(x, k) }", &[]),
    ("(float[N,8] x) => (float[N,3] z) <int64[1] k = {3}> { v, i = TopK(x, k)  z = GatherElements<axis = 1>(x, i) }", &[]),
    (
        "(float[N,1,8,8] x) => (float[N,1,4,4] z) <float[1,1,1,1] w = {1}, float[1,1,2,2] v = {1,2,3,4}> {
            a = Conv<strides = [2, 2]>(x, w)  b = Conv<strides = [2, 2]>(x, v)  z = Add(a, b) }",
        &[],
    ),
    // and what is ordinary, images of bytes among it
    (
        "(uint8[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float k = {255}> { f = Cast<to = 1>(x)  u = Div(f, k)  r = Relu(u)  z = MatMul(r, w) }",
        &["clipped-pixels", "baked-normalisation"],
    ),
    (
        "(float[N,1,8,8] x) => (float[N,1] z) <float[1,1,2,2] w = {1,2,3,4}, int64[2] s = {0, -1}, float[9,1] v = {1,2,3,4,5,6,7,8,9}> {
            c = Conv<strides = [2, 2]>(x, w)  r = Relu(c)  p = MaxPool<kernel_shape = [2, 2]>(r)  f = Reshape(p, s)  z = MatMul(f, v) }",
        &[],
    ),
];

#[test]
fn every_hazard_is_found_and_nothing_else() {
    for (program, codes) in CASES {
        let all = found(program);
        let found: Vec<&str> = all.iter().map(|f| f.code).collect();
        assert_eq!(found, *codes, "{program}\n{all:#?}");
    }
}

/// What clips depends on what the model is fed.
#[test]
fn pixels_are_clipped_in_the_range_that_the_model_is_fed() {
    let clip = "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}, float l = {0}, float h = {1}> { r = Clip(x, l, h)  z = MatMul(r, w) }";
    let relu = "(float[N,2] x) => (float[N,2] z) <float[2,2] w = {1,2,3,4}> { r = Relu(x)  z = MatMul(r, w) }";
    let codes = |program: &str, fed| hazards(&normal(program), Some(fed)).iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(clip, (-2.0, 2.0)), CLIPPED);
    assert_eq!(codes(clip, (0.0, 255.0)), CLIPPED);
    assert_eq!(codes(clip, (0.25, 1.0)), [""; 0]);
    assert_eq!(codes(relu, (-2.0, 2.0)), CLIPPED);
    assert_eq!(codes(relu, (0.1, 2.0)), [""; 0]);
}

/// What cannot be written as a short program at opset 18 is listed; every other row has a case.
#[test]
fn every_row_has_a_case() {
    const ELSEWHERE: &[&str] = &["quantiser", "data-dependent-length", "tree-ensemble", "inner-optimisation"];
    for hazard in super::HAZARDS {
        let code = hazard.doubt.code;
        let seen = CASES.iter().any(|(_, codes)| codes.contains(&code));
        assert!(seen != ELSEWHERE.contains(&code), "{code}");
        assert!(hazard.remedies.iter().all(|r| crate::remedies::REMEDIES.iter().any(|k| k.name == *r)), "{code}");
    }
}

#[test]
fn causes_name_the_nodes_and_the_numbers() {
    let program = "(float[N,2] x) => (float[N,2] z) <float k = {4}, float[2,2] w = {1,2,3,4}> { u = Mul(x, k)  r = Round(u)  q = Div(r, k)  z = MatMul(q, w) }";
    let all = found(program);
    assert!(all[0].cause.contains("in steps of 0.25"), "{}", all[0].cause);
    assert_eq!(all[0].nodes.len(), 1);
    let program = "(float[N,3,4,4] x) => (float[N,1,2,2] z) <float[1,3,3,3] w, float[1,3,1,1] m = {123.675, 116.28, 103.53}, float[1,3,1,1] s = {58.395, 57.12, 57.375}> {
        c = Sub(x, m)  u = Div(c, s)  z = Conv(u, w) }";
    let weights = vec!["0.1"; 27].join(",");
    let all = found(&program.replace("w,", &format!("w = {{{weights}}},")));
    assert!(all[0].cause.contains("the numbers of ImageNet for pixels in 0..255"), "{}", all[0].cause);
}

/// Whether a gradient passes a quantiser is a matter of the rules; that it is one is not.
#[test]
fn quantisers_are_named() {
    let program = "(float[N,2] x) => (float[N,2] z) <float s = {0.1}, uint8 p = {0}> { q = QuantizeLinear(x, s, p)  z = DequantizeLinear(q, s, p) }";
    let all = found(program);
    assert!(all[0].code == "quantiser" && !all[0].unreliable, "{all:?}");
}

/// A batch that is fixed to one image cannot mix images.
#[test]
fn a_batch_of_one_mixes_nothing() {
    let mixing =
        |n: &str| format!("(float[{n},2] x) => (float[{n},2] z) <int64[1] a = {{0}}> {{ m = ReduceMean(x, a)  z = Sub(x, m) }}");
    assert!(found(&mixing("1")).is_empty());
    assert_eq!(found(&mixing("8"))[0].code, "batch-mixing");
}
