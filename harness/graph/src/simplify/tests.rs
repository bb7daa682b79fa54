//! Pairs of programs: what is written, and what is left of it.

use crate::{Builder, DType, Dim, Graph, Node, Tensor, ValueType, simplify, text};

/// Left simplifies to right, and right to itself.
const PAIRS: &[(&str, &str)] = &[
    // the target of Expand as PyTorch writes it
    (
        "(float[N,3] x, float[1,4,2] t) => (float[N,4,2] y) <int64[1] zero = {0}, int64[2] own = {-1, -1}, int64[3] minus = {-1, -1, -1}, int64[3] one = {1, 1, 1}> { s = Shape(x)  n = Gather(s, zero)  c = Concat<axis = 0>(n, own)  e = Equal(c, minus)  w = Where(e, one, c)  y = Expand(t, w) }",
        "(float[N,3] x, float[1,4,2] t) => (float[N,4,2] y) <int64[1] zero = {0}, int64[2] own = {1, 1}> { s = Shape(x)  n = Gather(s, zero)  c = Concat<axis = 0>(n, own)  y = Expand(t, c) }",
    ),
    ("(float[N,3] x) => (float[N,3] y) { a = Identity(x)  y = Relu(a) }", "(float[N,3] x) => (float[N,3] y) { y = Relu(x) }"),
    // neutral elements, on either side, broadcast or not
    (
        "(float[N,3] x) => (float[N,3] y) <float one = {1}, float[1,3] zero = {0, 0, 0}> { a = Mul(one, x)  b = Add(a, zero)  c = Sub(b, zero)  d = Div(c, one)  y = Relu(d) }",
        "(float[N,3] x) => (float[N,3] y) { y = Relu(x) }",
    ),
    // a zero that makes the result larger stays
    (
        "(float[N] x) => (float[2,N] y) <float[2,1] zero = {0, 0}> { y = Add(x, zero) }",
        "(float[N] x) => (float[2,N] y) <float[2,1] zero = {0, 0}> { y = Add(x, zero) }",
    ),
    // a name is not certainly larger than 1
    (
        "(float[N] x) => (float[3] y) <float[3] zero = {0, 0, 0}> { y = Add(x, zero) }",
        "(float[N] x) => (float[3] y) <float[3] zero = {0, 0, 0}> { y = Add(x, zero) }",
    ),
    // parts that are padded to the whole are put beside each other
    (
        "(float[N,2] a, float[N,3] b, float[N,1] c) => (float[N,6] y) <int64[4] p = {0, 0, 0, 4}, int64[4] q = {0, 2, 0, 1}, int64[4] r = {0, 5, 0, 0}> {
            u = Pad(a, p)  v = Pad(b, q)  w = Pad(c, r)  s = Add(v, u)  y = Add(s, w) }",
        "(float[N,2] a, float[N,3] b, float[N,1] c) => (float[N,6] y) { s = Concat<axis = 1>(a, b)  y = Concat<axis = 1>(s, c) }",
    ),
    // with a gap between them they stay
    (
        "(float[N,2] a, float[N,3] b) => (float[N,6] y) <int64[4] p = {0, 0, 0, 4}, int64[4] q = {0, 3, 0, 0}> { u = Pad(a, p)  v = Pad(b, q)  y = Add(u, v) }",
        "(float[N,2] a, float[N,3] b) => (float[N,6] y) <int64[4] p = {0, 0, 0, 4}, int64[4] q = {0, 3, 0, 0}> { u = Pad(a, p)  v = Pad(b, q)  y = Add(u, v) }",
    ),
    ("(float[N] x) => (float[N] y) { a = Neg(x)  b = Neg(a)  y = Exp(b) }", "(float[N] x) => (float[N] y) { y = Exp(x) }"),
    (
        "(float[N,3,4] x) => (float[N,3,4] y) { a = Transpose<perm = [1, 2, 0]>(x)  b = Transpose<perm = [2, 0, 1]>(a)  y = Relu(b) }",
        "(float[N,3,4] x) => (float[N,3,4] y) { y = Relu(x) }",
    ),
    (
        "(float[N,3,4] x) => (float[4,N,3] y) { a = Transpose<perm = [1, 2, 0]>(x)  y = Transpose<perm = [1, 2, 0]>(a) }",
        "(float[N,3,4] x) => (float[4,N,3] y) { y = Transpose<perm = [2, 0, 1]>(x) }",
    ),
    // reshapes: back where it started, or in one
    (
        "(float[N,3,4] x) => (float[N,3,4] y) <int64[2] a = {-1, 12}, int64[3] b = {-1, 3, 4}> { s = Reshape(x, a)  t = Reshape(s, b)  y = Relu(t) }",
        "(float[N,3,4] x) => (float[N,3,4] y) { y = Relu(x) }",
    ),
    (
        "(float[N,3,4] x) => (float[N,4,3] y) <int64[3] b = {-1, 4, 3}> { s = Flatten(x)  y = Reshape(s, b) }",
        "(float[N,3,4] x) => (float[N,4,3] y) <int64[3] b = {-1, 4, 3}> { y = Reshape(x, b) }",
    ),
    (
        "(float[N,3] x) => (float[N,3] y) <int64[1] a = {1}> { s = Unsqueeze(x, a)  t = Squeeze(s, a)  y = Relu(t) }",
        "(float[N,3] x) => (float[N,3] y) { y = Relu(x) }",
    ),
    // a target that is computed from a shape becomes a constant
    (
        "(float[N,16,5,5] x) => (float[N,400] y) <int64 at = {0}, int64[1] axis = {0}, int64[1] rest = {-1}> {
            s = Shape(x)  n = Gather<axis = 0>(s, at)  m = Unsqueeze(n, axis)  t = Concat<axis = 0>(m, rest)  y = Reshape(x, t) }",
        "(float[N,16,5,5] x) => (float[N,400] y) <int64[2] t = {0, 400}> { y = Reshape(x, t) }",
    ),
    ("(float[N,3] x) => (int64 y) { s = Shape<start = 1>(x)  y = ReduceSum<keepdims = 0>(s) }", "(float[N,3] x) => (int64 y) <int64 s = {3}> { y = Identity(s) }"),
    // equal nodes are computed once, also with exchanged operands
    (
        "(float[N] x, float[N] z) => (float[N] y) { a = Mul(x, z)  b = Mul(z, x)  y = Add(a, b) }",
        "(float[N] x, float[N] z) => (float[N] y) { a = Mul(x, z)  y = Add(a, a) }",
    ),
    // but not what is drawn
    (
        "(float[N] x) => (float[N] y) { a = RandomNormalLike(x)  b = RandomNormalLike(x)  y = Add(a, b) }",
        "(float[N] x) => (float[N] y) { a = RandomNormalLike(x)  b = RandomNormalLike(x)  y = Add(a, b) }",
    ),
    // nothing reads it
    ("(float[N] x) => (float[N] y) { a = Exp(x)  b = Add(a, x)  y = Relu(x) }", "(float[N] x) => (float[N] y) { y = Relu(x) }"),
    // nothing is moved
    (
        "(float[N,3] x) => (float[N,3] y) <int64[2] s = {1, 3}, int64[4] p = {0, 0, 0, 0}, int64[1] one = {1}> {
            a = Expand(x, s)  b = Pad(a, p)  c = Cast<to = 1>(b)  d = Sum(c)  e = Dropout(d)  y = Relu(e) }",
        "(float[N,3] x) => (float[N,3] y) { y = Relu(x) }",
    ),
    (
        "(float[N,1,3] x) => (float[N,1,3] y) <int64[1] one = {1}> { a = ReduceMax(x, one)  y = Relu(a) }",
        "(float[N,1,3] x) => (float[N,1,3] y) { y = Relu(x) }",
    ),
    // a reversal keeps the extents and is not nothing
    (
        "(float[N,3] x) => (float[N,3] y) <int64[1] s = {-1}, int64[1] e = {-9}, int64[1] a = {1}, int64[1] t = {-1}> { y = Slice(x, s, e, a, t) }",
        "(float[N,3] x) => (float[N,3] y) <int64[1] s = {-1}, int64[1] e = {-9}, int64[1] a = {1}, int64[1] t = {-1}> { y = Slice(x, s, e, a, t) }",
    ),
    // arithmetic on constants
    (
        "(float[N,2] x) => (float[N,2] y) <float[2] a = {1.5, -2}, float[2] b = {2, 0.25}> { c = Mul(a, b)  d = Max(c, a)  y = Add(x, d) }",
        "(float[N,2] x) => (float[N,2] y) <float[2] d = {3, -0.5}> { y = Add(x, d) }",
    ),
];

#[test]
fn programs_are_simplified() {
    for (before, after) in PAIRS {
        let parse = |text: &str| text::parse(text).unwrap_or_else(|e| panic!("{e} in {text}"));
        let (before, after) = (parse(before), parse(after));
        let simplified = simplify(&before);
        simplified.check().unwrap();
        let wanted = simplify(&after);
        assert_eq!(simplified.difference(&wanted), None, "\n{}\nshould be\n{}", text::print(&simplified), text::print(&wanted));
        assert!(wanted.nodes().len() <= after.nodes().len() && simplify(&simplified).difference(&simplified).is_none());
        // outputs that became a constant are written through an Identity, which simplification takes away
        assert!(
            after.difference(&wanted).is_none() || after.nodes().iter().any(|n| &*n.op == "Identity"),
            "{}",
            text::print(&after)
        );
    }
}

#[test]
fn folding_refuses_what_is_wrong_or_large() {
    let mut graph = Graph::new("divide");
    let (one, zero) = (graph.add_constant("one", Tensor::ints(&[1])), graph.add_constant("zero", Tensor::ints(&[0])));
    let y = graph.node("Div", &[one, zero], crate::Attributes::none());
    graph.add_output("y", y);
    assert_eq!(simplify(&graph).problems()[0].what, "Div: it divides an integer by 0");

    let mut graph = Graph::new("large");
    let shape = graph.add_constant("shape", Tensor::ints(&[40_000, 40_000]));
    let y = graph.node("ConstantOfShape", &[shape], crate::Attributes::none());
    graph.add_output("y", y);
    assert_eq!(simplify(&graph).nodes().len(), 1);
}

#[test]
fn a_hundred_thousand_nodes_take_linear_time() {
    let chain = |n: usize| {
        let mut graph = Graph::new("chain");
        let x = graph.add_input("x", ValueType::fixed(DType::F32, &[1, 3]));
        let mut y = x;
        for i in 0..n {
            y = match i % 3 {
                0 => graph.push(Node::new("Relu", &[y], crate::Attributes::none()), 1)[0],
                1 => graph.push(Node::new("Add", &[y, x], crate::Attributes::none()), 1)[0],
                _ => graph.push(Node::new("Identity", &[y], crate::Attributes::none()), 1)[0],
            };
        }
        graph.add_output("y", y);
        graph
    };
    let seconds = |n: usize| {
        let graph = chain(n);
        let run = |_| {
            let start = std::time::Instant::now();
            assert_eq!(simplify(&graph).nodes().len(), n - n / 3);
            start.elapsed().as_secs_f64()
        };
        (0..3).map(run).fold(f64::INFINITY, f64::min)
    };
    let (small, large) = (seconds(10_000), seconds(100_000));
    assert!(large < 50.0 * small.max(0.01), "{small} s for 10,000 nodes, {large} s for 100,000");
}

#[test]
fn formulas_of_a_builder_are_simplified_as_written() {
    let b = Builder::default();
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(2)]));
    let y = (x * 1.0 + 0.0).transpose(&[1, 0]).transpose_last() / 1.0;
    b.output("y", y.exp());
    let graph = simplify(&b.into_graph());
    assert_eq!(graph.nodes().iter().map(|n| &*n.op).collect::<Vec<_>>(), ["Exp"]);
}
