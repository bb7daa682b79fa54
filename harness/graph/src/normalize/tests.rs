//! Small programs of older and newer opsets and their normal forms.

use super::*;
use crate::text;

fn parse(text: &str) -> Graph {
    text::parse(text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

fn normal(opset: i64, text: &str) -> Result<Graph, NormalizeError> {
    normalize(&parse(text), opset, &Options::default())
}

/// The opset, the program, and its form at opset 18.
const PAIRS: &[(i64, &str, &str)] = &[
    (
        11,
        "(float[N,3,4] x) => (float[N,3] y) { y = ReduceMean<axes = [-1], keepdims = 0>(x) }",
        "(float[N,3,4] x) => (float[N,3] y) <int64[1] a = {-1}> { y = ReduceMean<keepdims = 0>(x, a) }",
    ),
    (
        12,
        "(float[N,3,1] x) => (float[N,3,1] y) { s = Squeeze<axes = [2]>(x)  r = Relu(s)  y = Unsqueeze<axes = [2]>(r) }",
        "(float[N,3,1] x) => (float[N,3,1] y) <int64[1] a = {2}> { s = Squeeze(x, a)  r = Relu(s)  y = Unsqueeze(r, a) }",
    ),
    (
        9,
        "(float[N,8] x) => (float[N,2] y) { y = Slice<starts = [2], ends = [4], axes = [1]>(x) }",
        "(float[N,8] x) => (float[N,2] y) <int64[1] s = {2}, int64[1] e = {4}, int64[1] a = {1}> { y = Slice(x, s, e, a) }",
    ),
    (
        10,
        "(float[N] x) => (float[N] y) { y = Clip<min = 0.0, max = 6.0>(x) }",
        "(float[N] x) => (float[N] y) <float l = {0}, float h = {6}> { y = Clip(x, l, h) }",
    ),
    (
        7,
        "(float[N,2] x) => (float[N,4] y) { d, m = Dropout<ratio = 0.5>(x)  y = Pad<pads = [0, 1, 0, 1], value = 2.0>(d) }",
        "(float[N,2] x) => (float[N,4] y) <int64[4] p = {0, 1, 0, 1}, float v = {2}> { d = Dropout(x) y = Pad(d, p, v) }",
    ),
    (
        11,
        "(float[N,4] x) => (float[N,1] a, float[N,3] b) { a, b = Split<axis = 1, split = [1, 3]>(x) }",
        "(float[N,4] x) => (float[N,1] a, float[N,3] b) <int64[2] s = {1, 3}> { a, b = Split<axis = 1>(x, s) }",
    ),
    // a zero of the type that the standard says
    (
        11,
        "(float[N,2] x) => (float[N,2] y) { s = Shape(x)  z = ConstantOfShape(s)  y = Add(x, z) }",
        "(float[N,2] x) => (float[N,2] y) { s = Shape(x)  z = ConstantOfShape<value = float[1] {0}>(s)  y = Add(x, z) }",
    ),
    // before opset 14 five results meant training, and two of them are gone
    (
        11,
        "(float[N,2,3] x, float[2] g) => (float[N,2,3] y) { y, m, v, sm, sv = BatchNormalization(x, g, g, g, g) }",
        "(float[N,2,3] x, float[2] g) => (float[N,2,3] y) { y, m, v = BatchNormalization<training_mode = 1>(x, g, g, g, g) }",
    ),
    // softmax of the flattened rows, and where that is the same
    (11, "(float[N,10] x) => (float[N,10] y) { y = Softmax(x) }", "(float[N,10] x) => (float[N,10] y) { y = Softmax<axis = 1>(x) }"),
    (
        11,
        "(float[N,3,4] x) => (float[N,3,4] y) { y = Softmax(x) }",
        "(float[N,3,4] x) => (float[N,3,4] y) <int64[3] s = {0, 3, 4}> { a = Flatten<axis = 1>(x)  b = Softmax<axis = 1>(a)  y = Reshape(b, s) }",
    ),
    // newer
    (20, "(float[N] x) => (float[N] y) { y = Cast<to = 1, saturate = 1>(x) }", "(float[N] x) => (float[N] y) { y = Identity(x) }"),
    (
        24,
        "(float[N] x) => (float[N] y) { y = Swish(x) }",
        "(float[N] x) => (float[N] y) { s = Sigmoid(x)  y = Mul(x, s) }",
    ),
    // what is cut off does not come back: [a b c d e] by (-1, 2) is [b c d e b c]
    (
        19,
        "(float[N,5] x) => (float[N,6] y) <int64[4] p = {0, -1, 0, 2}> { y = Pad<mode = \"wrap\">(x, p) }",
        "(float[N,5] x) => (float[N,6] y) <int64[6] i = {1, 2, 3, 4, 1, 2}> { y = Gather<axis = 1>(x, i) }",
    ),
    // windows
    (
        18,
        "(float[N,1,5,5] x) => (float[N,1,3,3] y) <float[1,1,2,2] w = {1, 2, 3, 4}> { y = Conv<auto_pad = \"SAME_LOWER\", strides = [2, 2]>(x, w) }",
        "(float[N,1,5,5] x) => (float[N,1,3,3] y) <float[1,1,2,2] w = {1, 2, 3, 4}> {
            y = Conv<dilations = [1, 1], kernel_shape = [2, 2], pads = [1, 1, 0, 0], strides = [2, 2]>(x, w) }",
    ),
    // batch normalisation: γ/√(σ²+ε) = 2 and 1/2
    (
        15,
        "(float[N,1,3] x) => (float[N,2,3] y) <float[2,1,1] w = {1, 2}, float[2] c = {5, 6}, float[2] g = {4, 1}, float[2] b = {1, 1}, float[2] m = {3, 4}, float[2] v = {3, 3}> {
            a = Conv(x, w, c)  y = BatchNormalization<epsilon = 1.0>(a, g, b, m, v) }",
        "(float[N,1,3] x) => (float[N,2,3] y) <float[2,1,1] w = {2, 1}, float[2] c = {5, 2}> {
            y = Conv<dilations = [1], kernel_shape = [1], pads = [0, 0], strides = [1]>(x, w, c) }",
    ),
    (
        15,
        "(float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, 2, 3, 4}, float[2] g = {4, 1}, float[2] b = {1, 1}, float[2] m = {3, 4}, float[2] v = {3, 3}> {
            a = Gemm<transB = 1>(x, w)  y = BatchNormalization<epsilon = 1.0>(a, g, b, m, v) }",
        "(float[N,2] x) => (float[N,2] y) <float[2,2] w = {2, 4, 1.5, 2}, float[2] c = {-5, -1}> { y = Gemm<beta = 1.0, transB = 1>(x, w, c) }",
    ),
    // its operand is read elsewhere too
    (
        15,
        "(float[N,2] x) => (float[N,2] y) <float[2] g = {4, 1}, float[2] b = {1, 1}, float[2] m = {3, 4}, float[2] v = {3, 3}> {
            a = Relu(x)  n = BatchNormalization<epsilon = 1.0>(a, g, b, m, v)  y = Add(a, n) }",
        "(float[N,2] x) => (float[N,2] y) <float[2] s = {2, 0.5}, float[2] t = {-5, -1}> { a = Relu(x)  k = Mul(a, s)  n = Add(k, t)  y = Add(a, n) }",
    ),
];

#[test]
fn programs_have_a_normal_form() {
    for (opset, before, after) in PAIRS {
        let found = normal(*opset, before).unwrap_or_else(|e| panic!("{e} in {before}"));
        found.check().unwrap_or_else(|e| panic!("{e} in {before}"));
        // constants are compared by content, so what is expected goes through the same passes
        let wanted = normal(crate::OPSET, after).unwrap();
        assert_eq!(found.difference(&wanted), None, "\n{}\nshould be\n{}", text::print(&found), text::print(&wanted));
        assert!(found.nodes().len() <= parse(after).nodes().len());
        assert_eq!(normalize(&found, crate::OPSET, &Options::default()).unwrap().difference(&found), None);
    }
}

#[test]
fn refusals_name_the_culprit() {
    let rows = [
        (99, "(float[N] x) => (float[N] y) { y = Relu(x) }", "opset 99; this build knows up to 27: re-export or upgrade"),
        (5, "(float[N] x) => (float[N] y) { y = Relu(x) }", "opset 5; this build knows 7 to 27: re-export with opset 7 or newer"),
        (
            18,
            "(float[N,2] x) => (float[N,2] y) <float[3] c = {1, 2, 3}> { y = Add(x, c) }",
            "Add: the shapes [N,2] and [3] do not broadcast",
        ),
        (
            20,
            "(float[N,1,H,4] x) => (float[N,1,H,2] y) { y = AveragePool<kernel_shape = [2, 2], dilations = [2, 2]>(x) }",
            "AveragePool: it has dilations, and the extents of x but the batch are not known",
        ),
        (
            7,
            "(float[N,2] x) => (float[N,2] y) <float[2] c = {1, 1}> { y = BatchNormalization<spatial = 0>(x, c, c, c, c) }",
            "BatchNormalization: spatial=0 has no form",
        ),
    ];
    for (opset, text, message) in rows {
        let error = normal(opset, text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn training_and_unfolded_normalisation_stay() {
    let text =
        "(float[N,2] x) => (float[N,2] y) <float[2] c = {1, 1}> { y = BatchNormalization<training_mode = 1>(x, c, c, c, c) }";
    let kept = normal(18, text).unwrap();
    assert_eq!(&*kept.nodes()[0].op, "BatchNormalization");
    let text = text.replace("training_mode = 1", "training_mode = 0");
    let kept = normalize(&parse(&text), 18, &Options { fold_batch_norm: false }).unwrap();
    assert_eq!(&*kept.nodes()[0].op, "BatchNormalization");
}

/// A program with a fixed batch, and what becomes of it: the type of its output, or the reason why it keeps its batch.
const BATCHES: &[(&str, Result<&str, &str>)] = &[
    ("(float[1,16,5,5] x) => (float[1,400] y) <int64[2] t = {1, -1}> { y = Reshape(x, t) }", Ok("float[N,400]")),
    ("(float[1,16,5,5] x) => (float[1,400] y) <int64[2] t = {1, 400}> { y = Reshape(x, t) }", Ok("float[N,400]")),
    ("(float[8,16,5,5] x) => (float[8,400] y) <int64[2] t = {8, 400}> { y = Reshape(x, t) }", Ok("float[N,400]")),
    ("(float[1,16,5,5] x) => (float[1,400] y) <int64[2] t = {-1, 400}> { y = Reshape(x, t) }", Ok("float[N,400]")),
    // images of one channel, and back
    (
        "(float[2,16,5,5] x) => (float[2,16,5,5] y) <int64[4] s = {32, 1, 5, 5}, int64[4] t = {2, 16, 5, 5}> { a = Reshape(x, s)  b = Relu(a)  y = Reshape(b, t) }",
        Ok("float[N,16,5,5]"),
    ),
    // the batch is not in front
    (
        "(float[1,6,4] x) => (float[1,24] y) <int64[3] s = {2, 12, 1}, int64[2] t = {24, 1}> {
            a = Transpose<perm = [1, 2, 0]>(x)  b = Reshape(a, s)  c = Relu(b)  d = Reshape(c, t)  y = Transpose<perm = [1, 0]>(d) }",
        Ok("float[N,24]"),
    ),
    // the shape is computed from the operand
    (
        "(float[1,6,4] x) => (float[1,24] y) <int64[1] at = {0}, int64[1] rest = {-1}> { s = Shape(x)  n = Gather(s, at)  t = Concat<axis = 0>(n, rest)  y = Reshape(x, t) }",
        Ok("float[N,24]"),
    ),
    // two targets, the second constant labelled before the first
    (
        "(float[1,4,6] x) => (float[1,24] y) <int64[2] t = {1, -1}, int64[3] s = {1, 6, -1}> {
            n = Neg(x)  a = Reshape(n, s)  b = Transpose<perm = [0, 2, 1]>(a)  y = Reshape(b, t) }",
        Ok("float[N,24]"),
    ),
    // a class token, repeated for the batch of the file and not
    (
        "(float[2,4,3] x) => (float[2,5,3] y) <float[2,1,3] c = {1, 2, 3, 1, 2, 3}> { y = Concat<axis = 1>(c, x) }",
        Ok("float[N,5,3]"),
    ),
    (
        "(float[2,4,3] x) => (float[2,5,3] y) <float[1,1,3] c = {1, 2, 3}, int64[3] s = {2, -1, -1}> { k = Abs(s)  e = Expand(c, k)  y = Concat<axis = 1>(e, x) }",
        Ok("float[N,5,3]"),
    ),
    ("(float[1,2] x) => (float[1,4] y) <float[1,2] c = {1, 2}> { y = Concat<axis = 1>(x, c) }", Ok("float[N,4]")),
    // an embedding of positions stored for every image
    ("(float[2,3] x) => (float[2,3] y) <float[2,3] c = {1, 2, 3, 1, 2, 3}> { y = Add(x, c) }", Ok("float[N,3]")),
    ("(float[2,3] x) => (float[2,2] y) <float[3,2] w = {1, 2, 3, 4, 5, 6}, float[2,2] c = {1, 2, 1, 2}> { y = Gemm(x, w, c) }", Ok("float[N,2]")),
    ("(float[2,1,3] x) => (float[2,4,3] y) <int64[3] s = {2, 4, 3}> { y = Expand(x, s) }", Ok("float[N,4,3]")),
    ("(float[2,3] x) => (float[2,3] y) <int64[1] z = {0}, int64[1] e = {2}> { y = Slice(x, z, e, z) }", Ok("float[N,3]")),
    (
        "(float[2,1,2,2] x) => (float[2,1,4,4] y) <int64[4] s = {2, 1, 4, 4}> { y = Resize<mode = \"nearest\">(x, , , s) }",
        Ok("float[N,1,4,4]"),
    ),
    // products of extents, as views write them
    (
        "(float[2,3,4] x) => (float[2,3,4] y) <int64 z = {0}, int64 o = {1}, int64[1] a = {0}, int64[1] four = {4}> {
            s = Shape(x)  n = Gather(s, z)  k = Gather(s, o)  m = Mul(n, k)  u = Unsqueeze(m, a)  t = Concat<axis = 0>(u, four)
            f = Reshape(x, t)  g = Relu(f)  v = Unsqueeze(n, a)  w = Unsqueeze(k, a)  b = Concat<axis = 0>(v, w, four)  y = Reshape(g, b) }",
        Ok("float[N,3,4]"),
    ),
    // rows that differ belong to the images
    (
        "(float[2,3] x) => (float[2,3] y) <float[2,3] c = {1, 2, 3, 4, 5, 6}> { y = Add(x, c) }",
        Err("the output \"y\" does not begin with the batch: Add gives float[2,3]"),
    ),
    // another name
    ("(float[batch,6] x) => (float[batch,6] y) { y = Relu(x) }", Ok("float[N,6]")),
    (
        "(float[1,2] x) => (float[2] y) <int64[1] a = {0}> { r = Relu(x)  y = ReduceSum<keepdims = 0>(r, a) }",
        Err("the output \"y\" does not begin with the batch: ReduceSum gives float[2]"),
    ),
    ("(float x) => (float y) { y = Relu(x) }", Err("the input has no first extent that could be a batch")),
];

#[test]
fn a_fixed_batch_is_freed() {
    for (text, wanted) in BATCHES {
        let graph = normal(18, text).unwrap();
        let freed = symbolic_batch(&graph, graph.inputs()[0]);
        match (freed, wanted) {
            (Ok(Some(freed)), Ok(wanted)) => {
                freed.check().unwrap();
                assert_eq!(freed.value(freed.outputs()[0].value).ty.to_string(), *wanted, "{text}");
                assert!(symbolic_batch(&freed, freed.inputs()[0]).unwrap().is_none());
            }
            (Err(found), Err(wanted)) => assert_eq!(found, *wanted, "{text}"),
            (found, wanted) => panic!("{text}: {found:?} should be {wanted:?}"),
        }
    }
}

#[test]
fn a_shape_stays_computed_while_the_batch_is_fixed() {
    let text = "(float[1,6,4] x) => (float[1] y) <int64[1] at = {0}> { s = Shape(x)  n = Gather(s, at)  y = ConstantOfShape(n) }";
    let graph = normal(18, text).unwrap();
    assert_eq!(graph.nodes().len(), 3);
    assert_eq!(
        crate::simplify(&graph).constant(crate::simplify(&graph).outputs()[0].value).map(|t| t.shape().to_vec()),
        Some(vec![1])
    );
}
