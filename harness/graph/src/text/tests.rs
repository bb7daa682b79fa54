//! Texts that are read, texts that are refused and where, and what is printed.

use super::{parse, print, print_whole};
use crate::{Attribute, DType, Dim, Graph, Node, Tensor, ValueType};

#[test]
fn a_program_on_few_lines() {
    let graph = parse(
        "step (float[N,D] x0, float[N,D] grad, float eps) => (float[N,D] x_next)
         { s = Sign(grad)   d = Mul(s, eps)   x_next = Add(x0, d) }",
    );
    let graph = graph.unwrap();
    assert_eq!(graph.name, "step");
    assert_eq!(graph.inputs().len(), 3);
    assert_eq!(graph.rank(graph.input_named("eps").unwrap()), Some(0));
    assert_eq!(graph.shape(graph.input_named("x0").unwrap()).unwrap(), [Dim::symbol("N"), Dim::symbol("D")]);
    graph.check().unwrap();
    let expected = "step (float[N,D] x0, float[N,D] grad, float eps) => (float[N,D] x_next) {
  s = Sign(grad)
  d = Mul(s, eps)
  x_next = Add(x0, d)
}
";
    assert_eq!(print(&graph), expected);
}

/// Everything the parser of ONNX accepts and a graph can hold.
const SYNTAX: &str = r#"
<ir_version: 8, opset_import: ["" : 18, "flatscape" : 1], producer_name: "x", metadata_props: ["a": "b", "c": "d"]>
agraph (float[N,3,"h w",?] x, float eps, float[2] w = {1, 2.5}) => (y, float[] z)
<float[2] v = {1e-5, -inf}, int64 k = {-3}, bool[2] b = {0,1}, uint8[0] e = {}, float[N] r>
{ # a comment
  [node1] y, i = MaxPool<kernel_shape=[2,2], strides: ints = [2,2]>(x)
  ["n 2"] "a.b" = test.Clip(y, , eps)
  q = test.Clip("a.b", "", eps,) <after = 1>
  r = test.deep.Mix<mode="li\"nf", p=1.0, q: float = 2, e: ints = []>(q, v, w, k, b, e)
  c = Constant<value = float[2,1] {1.0, 2.0}>()
  d = Constant<value_ints = [1,2]>()
  f = Constant<value: tensor = int64 {7}>()
  , z = test.Foo(r, c, d, f) <s = ["a","b"], fl = [1.0, 2], t = float[1] named {nan}>
}"#;

#[test]
fn the_whole_syntax() {
    let graph = parse(SYNTAX).unwrap();
    let ops: Vec<&str> = graph.nodes().iter().map(|n| &*n.op).collect();
    assert_eq!(ops, ["MaxPool", "Clip", "Clip", "Mix", "Foo"]);
    assert_eq!(graph.inputs().len(), 2);
    let [pool, clip, again, mix, foo] = graph.nodes() else { panic!("five nodes") };
    assert_eq!((&*pool.name, &*clip.name, &*mix.domain), ("node1", "n 2", "test.deep"));
    assert_eq!(pool.attributes.ints("strides"), Some(&[2, 2][..]));
    assert_eq!(clip.inputs[1], None);
    assert_eq!((again.inputs.len(), again.attributes.int("after", 0)), (3, 1));
    assert_eq!(mix.attributes.string("mode", ""), "li\"nf");
    assert_eq!(mix.attributes.get("q"), Some(&Attribute::Float(2.0)));
    assert_eq!(mix.attributes.ints("e"), Some(&[][..]));
    assert_eq!(**graph.constant(mix.inputs[1].unwrap()).unwrap(), Tensor::new(&[2], vec![1e-5f32, f32::NEG_INFINITY]).unwrap());
    assert_eq!(**graph.constant(mix.inputs[2].unwrap()).unwrap(), Tensor::new(&[2], vec![1.0f32, 2.5]).unwrap());
    assert_eq!(**graph.constant(mix.inputs[3].unwrap()).unwrap(), Tensor::scalar(-3i64));
    assert_eq!(foo.outputs[0], None);
    assert_eq!(foo.attributes.get("fl"), Some(&Attribute::Floats(vec![1.0, 2.0])));
    let shape = graph.shape(graph.inputs()[0]).unwrap();
    assert_eq!(shape[2..], [Dim::symbol("h w"), Dim::Unknown]);
    let again = parse(&print_whole(&graph)).unwrap();
    assert_eq!(graph.difference(&again), None);
    assert_eq!(print(&graph), print(&again));
}

/// A text, the line and column of its fault, and words of the sentence.
const REFUSED: &[(&str, usize, usize, &str)] = &[
    ("", 1, 1, "\"(\" is expected here, and there is the end of the text"),
    ("g (float x) => (y) { y = Relu(w) }", 1, 31, "\"w\" is read here, and nothing above produces it"),
    ("g (float x) => (y) {\n  a = Relu(b)\n  b = Relu(x) }", 2, 12, "\"b\" is read here"),
    ("g (float x) => (y) { x = Relu(x) }", 1, 22, "\"x\" is defined above already"),
    ("g (float x, float x) => (y) { }", 1, 13, "\"x\" is defined above already"),
    ("g (float x) => (y) { }", 1, 17, "\"y\" is an output, and nothing produces it"),
    ("g (float x) => (y) { y = Relu(x)", 1, 33, "\"=\" is expected here"),
    ("g (float x) => (y) <float[2] w = {1}> { y = Relu(x) }", 1, 34, "\"w\" has the type float[2] and 1 values"),
    ("g (float x) => (y) <float[2] w = {...}> { y = Relu(x) }", 1, 34, "the values of \"w\" are left out here"),
    ("g (float x) => (y) <float[2] w> { y = Relu(x) }", 1, 21, "\"w\" has no values here"),
    ("g (float x) => (y) <float[N] w = {1}> { y = Relu(x) }", 1, 34, "needs a type with numbers as extents"),
    ("g (float x) => (y) <float[99999999999,99999999999] w = {1}> { y = Relu(x) }", 1, 56, "1 values"),
    ("g (float x) => (y) <int8 w = {200}> { y = Relu(x) }", 1, 31, "\"200\" is not a int8"),
    ("g (float x) => (y) <bool w = {2}> { y = Relu(x) }", 1, 31, "a bool is written as 0 or 1"),
    ("g (float16 x) => (y) { y = Relu(x) }", 1, 4, "the type \"float16\" is not supported"),
    ("g (x) => (y) { y = Relu(x) }", 1, 4, "the input \"x\" needs a type"),
    ("g (float[-1] x) => (y) { y = Relu(x) }", 1, 10, "the extent -1 is negative"),
    ("g (float[9999999999999999999] x) => (y) { y = Relu(x) }", 1, 10, "does not fit into int64"),
    ("g (float x) => (int64 y) { y = Relu(x) }", 1, 17, "\"y\" is float, not int64"),
    ("g (float[2] x) => (float[3] y) { y = Relu(x) }", 1, 20, "\"y\" is float[2], not float[3]"),
    ("g (float x) => (y) { y = Relu <a = @b> (x) }", 1, 36, "refers to another"),
    ("g (float x) => (y) { y = Relu <a = []> (x) }", 1, 36, "an empty list needs a type"),
    ("g (float x) => (y) { y = Relu <a: int = 1.5> (x) }", 1, 41, "not of the type \"int\""),
    ("g (float x) => (y) { y = Relu <a = 1, a = 2> (x) }", 1, 39, "the attribute \"a\" stands twice"),
    ("g (float x) => (y) { y = Relu <a = [1, \"b\"]> (x) }", 1, 36, "strings and numbers are mixed"),
    ("g (float x) => (y) { y = If <b = h () => (z) { }> (x) }", 1, 43, "\"z\" is an output, and nothing produces it"),
    ("g (float x) => (y) { \"é y = Relu(x) }", 1, 22, "begins here and does not end"),
    ("<opset_import: [\"\": 13]> g (float x) => (y) { y = Relu(x) }", 1, 21, "graphs in text are of opset 18"),
    ("g (float x) => (y) { y = Relu(x) } f (x) => (y) { y = Relu(x) }", 1, 36, "the end of the text"),
    ("g (float x) => (y) { y = Constant() }", 1, 22, "has no value"),
];

#[test]
fn refusals_name_the_place() {
    for (text, line, column, words) in REFUSED {
        let error = parse(text).expect_err(text);
        assert_eq!((error.line, error.column), (*line, *column), "{text}\n{error}");
        assert!(error.what.contains(words), "{text}\n{error} should say {words:?}");
    }
}

#[test]
fn mistakes_with_operators_carry_their_line() {
    let graph = parse("g (float[2,3] x) => (float[] y) {\n\n  y = MatMul(x, x)\n}").unwrap();
    let error = graph.check().unwrap_err();
    assert!(error.what.starts_with("line 3: MatMul"), "{error}");
}

#[test]
fn every_prefix_ends_well() {
    for (end, _) in SYNTAX.char_indices() {
        assert!(parse(&SYNTAX[..end]).is_err());
    }
    assert!(parse(SYNTAX).is_ok());
}

#[test]
fn a_name_may_be_left_out() {
    assert_eq!(parse("(float x) => (y) { y = Relu(x) }").unwrap().name, "");
}

#[test]
fn large_constants_are_left_out_for_reading() {
    let mut graph = Graph::new("g");
    let x = graph.add_input("x", ValueType::fixed(DType::F32, &[17]));
    let w = graph.add_constant("w", Tensor::full(DType::F32, &[17], 0.5));
    let y = graph.push_named(Node::new("Add", &[x, w], []), &[Some("y")])[0].unwrap();
    graph.add_output("y", y);
    assert!(print(&graph).contains("float[17] w = {...}"));
    assert!(parse(&print(&graph)).is_err());
    assert_eq!(parse(&print_whole(&graph)).unwrap().difference(&graph), None);
}

#[test]
fn nothing_printed_moves_a_cursor() {
    let mut graph = Graph::new("\u{1b}[2J");
    let x = graph.add_input("a\nb\u{202e}", ValueType::new(DType::F32, vec![Dim::symbol("\u{7}N")]));
    graph.add_output("\\u{41}", x);
    let text = print(&graph);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text}");
    let again = parse(&text).unwrap();
    assert_eq!((&*again.name, &*again.outputs()[0].name), ("\u{1b}[2J", "\\u{41}"));
    assert_eq!(again.value(again.inputs()[0]).name, graph.value(x).name);
    assert_eq!(again.shape(again.inputs()[0]), graph.shape(x));
}
