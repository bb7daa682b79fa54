//! Models for paper: their twins have the same values and the derivative that the remedy states.

use flatscape_engine::{Choice, CompileOptions, Settings};
use flatscape_graph::{Graph, Tensor, text};

use super::*;

fn graph(program: &str) -> Graph {
    text::parse(program).unwrap_or_else(|e| panic!("{e} in {program}"))
}

fn asked(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    let engine =
        flatscape_engine::open(&Settings { choice: Choice::Tract, ..Settings::default() }).expect("tract is compiled in");
    let executable = engine.compile(graph, &CompileOptions::default()).expect("compiled");
    let buffers: Vec<_> = inputs.iter().map(|t| executable.upload(t).expect("uploaded")).collect();
    let outputs = executable.run(&buffers.iter().collect::<Vec<_>>()).expect("run");
    outputs.iter().map(|o| o.host().expect("on the host")).collect()
}

/// Programs whose gradient is zero, and the gradient of z₀ − z₁ that is taken instead, where z = (s, 0) and s the sum over the
/// smooth twin: at x = (0.3, −2).
const THROUGH: &[(&str, [f64; 2])] = &[
    ("r = Round(x)", [1.0, 1.0]),
    ("r = Ceil(x)", [1.0, 1.0]),
    // what clips pixels, and falls where they rise
    ("r = Relu(x)", [1.0, 1.0]),
    ("r = Clip(x, half, two)", [1.0, 1.0]),
    ("m = Neg(x)  r = Abs(m)", [1.0, 1.0]),
    // the square and its root together
    ("s = Mul(x, x)  r = Sqrt(s)", [1.0, 1.0]),
    // 1/(1+|x|)²
    ("r = Sign(x)", [1.0 / (1.3 * 1.3), 1.0 / 9.0]),
    ("i = Cast<to = 7>(x)  r = Cast<to = 1>(i)", [1.0, 1.0]),
    // 1/(1+|x − ½|)²
    ("b = Greater(x, half)  r = Cast<to = 1>(b)", [1.0 / (1.2 * 1.2), 1.0 / (3.5 * 3.5)]),
    ("b = Less(x, half)  r = Cast<to = 1>(b)", [-1.0 / (1.2 * 1.2), -1.0 / (3.5 * 3.5)]),
    ("b = Greater(x, half)  c = Not(b)  r = Cast<to = 1>(c)", [-1.0 / (1.2 * 1.2), -1.0 / (3.5 * 3.5)]),
    // (u − v) times that, with u = ½, v = 2
    ("b = GreaterOrEqual(x, half)  r = Where(b, half, two)", [-1.5 / (1.2 * 1.2), -1.5 / (3.5 * 3.5)]),
];

/// Programs, what the user says of them, and the derivative that is taken, as in [`THROUGH`]: at x = (0.3, −2).
const SURROGATES: &[(&str, &str, [f64; 2])] = &[
    ("r = Round(x)", "Round=identity", [1.0, 1.0]),
    ("r = Sign(x)", "Sign=identity", [1.0, 1.0]),
    ("r = Sign(x)", "Sign=hardtanh", [1.0, 0.0]),
    ("r = Sign(x)", "Sign=softsign", [1.0 / (1.3 * 1.3), 1.0 / 9.0]),
    ("i = Cast<to = 7>(x)  r = Cast<to = 1>(i)", "Cast=identity", [1.0, 1.0]),
    ("b = Greater(x, half)  r = Cast<to = 1>(b)", "Greater=hardtanh", [1.0, 0.0]),
    ("b = Less(x, half)  r = Cast<to = 1>(b)", "Less=softsign", [-1.0 / (1.2 * 1.2), -1.0 / (3.5 * 3.5)]),
    // outside of the bounds the true rule gives 0
    ("r = Clip(x, half, two)", "Clip=identity", [1.0, 1.0]),
    ("r = Relu(x)", "Relu=identity", [1.0, 1.0]),
    // a block of two operators, of which one has a derivative
    ("a = Mul(x, two)  c = Round(a)  r = Mul(c, two)", "x..c=identity", [2.0, 2.0]),
];

fn two_inputs(lines: &str) -> Graph {
    graph(&format!(
        "model (float[N,2] x) => (float[N,2] z) <float half = {{0.5}}, float two = {{2}}, float[2,2] w = {{1, 0, 1, 0}}> {{ {lines}  z = MatMul(r, w) }}"
    ))
}

/// Sign, comparisons, rounding, bounds and blocks, by the rule that the user names.
#[test]
fn surrogates_are_those_that_the_user_names() {
    let x = Tensor::new(&[1, 2], vec![0.3f32, -2.0]).expect("two numbers");
    for (lines, asked, expected) in SURROGATES {
        let model = two_inputs(lines);
        let done = of_request(&model, "x", &[], &[(*asked).to_owned()]).unwrap_or_else(|e| panic!("{asked}: {e}"));
        assert!(done.sentences[0].contains(&format!("surrogate: {}×1", asked.split('=').next().expect("a name"))), "{done:?}");
        let twin = done.twin.as_ref().unwrap_or_else(|| panic!("{asked} finds nothing in {lines}"));
        let values = |g: &Graph| run(g, std::slice::from_ref(&x));
        assert_eq!(values(&simplify(&without_marks(twin.clone()))), values(&model), "{lines}");
        let (name, file) = &done.graphs()[0];
        assert_eq!(*name, "surrogate");
        let outputs = run(file, &[x.clone(), Tensor::ints(&[1])]);
        let z = outputs[0].to_f64();
        let p = 1.0 / (1.0 + (z[1] - z[0]).exp());
        for (found, derivative) in outputs[2].to_f64().iter().zip(expected) {
            assert!((found - p * derivative).abs() < 1e-5, "{asked} in {lines}: {found} is not {}", p * derivative);
        }
    }
}

/// w·Round(255x)/255: the true gradient is 0, that of the surrogate is w (formulas.md, C19).
#[test]
fn rounding_to_grey_levels_passes_the_weights() {
    let model = graph(
        "model (float[N,2] x) => (float[N,2] z) <float k = {255}, float[2,2] w = {3, 0, -2, 0}> {
            a = Mul(x, k)  b = Round(a)  c = Div(b, k)  z = MatMul(c, w) }",
    );
    let x = Tensor::new(&[1, 2], vec![0.31f32, 0.77]).expect("two numbers");
    let inputs = [x, Tensor::ints(&[1])];
    let blind = super::gradient(&model, true).expect("a gradient");
    assert_eq!(run(&blind, &inputs)[2].to_f64(), [0.0, 0.0]);
    let done = of_request(&model, "x", &asked(&["margin"]), &asked(&["Round=identity"])).expect("a twin");
    let graphs = done.graphs();
    assert_eq!(graphs.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["surrogate", "margin"]);
    let found = run(&graphs[1].1, &inputs)[2].to_f64();
    assert!(found.iter().zip([3.0, -2.0]).all(|(g, w): (&f64, f64)| (g - w).abs() < 1e-6), "{found:?}");
}

#[test]
fn what_a_surrogate_does_not_find_is_said_or_refused() {
    let model = two_inputs("r = Round(x)");
    let request = |text: &[&str]| of_request(&model, "x", &[], &asked(text));
    let idle = request(&["Floor=identity"]).expect("nothing to do");
    assert!(idle.twin.is_none() && idle.idle[0].contains("nothing in this model"), "{idle:?}");
    let error = |text: &[&str]| request(text).expect_err("refused");
    assert!(error(&["y..r=identity"]).to_string().contains("no value"), "{}", error(&["y..r=identity"]));
    assert!(error(&["r..x=identity"]).to_string().contains("does not depend"));
    let twice = two_inputs("s = Sign(x)  r = Mul(s, two)");
    let error = of_request(&twice, "x", &[], &asked(&["Sign=hardtanh", "Sign=softsign"])).expect_err("two rules");
    assert!(error.class.exit_code() == 2 && error.to_string().contains("another request"), "{error}");
}

#[test]
fn attacks_differentiate_something_smooth_and_see_the_same_values() {
    let x = Tensor::new(&[1, 2], vec![0.3f32, -2.0]).expect("two numbers");
    for (lines, expected) in THROUGH {
        let model = graph(&format!(
            "model (float[N,2] x) => (float[N,2] z) <float half = {{0.5}}, float two = {{2}}, float[2,2] w = {{1, 0, 1, 0}}> {{ {lines}  z = MatMul(r, w) }}"
        ));
        let done = of_request(&model, "x", &asked(&["straight-through"]), &[]).expect("no surrogates");
        let twin = done.twin.as_ref().unwrap_or_else(|| panic!("{lines}"));
        assert_eq!(
            run(&simplify(&without_marks(twin.clone())), std::slice::from_ref(&x)),
            run(&model, std::slice::from_ref(&x)),
            "{lines}"
        );
        // the file: logits, loss, gradient of cross-entropy (p − e)ᵀJ with z = (s, 0)
        let (name, file) = &done.graphs()[0];
        assert_eq!(*name, "straight-through");
        let outputs = run(file, &[x.clone(), Tensor::ints(&[1])]);
        let z = outputs[0].to_f64();
        let p = 1.0 / (1.0 + (z[1] - z[0]).exp());
        for (found, derivative) in outputs[2].to_f64().iter().zip(expected) {
            assert!((found - p * derivative).abs() < 1e-5, "{lines}: {found} is not {}", p * derivative);
        }
    }
}

#[test]
fn k_winners_and_positions_are_looked_through() {
    let x = Tensor::new(&[1, 4], vec![0.3f32, -2.0, 0.9, 0.5]).expect("four numbers");
    let gradient_of = |program: &str| {
        let done = of_request(&graph(program), "x", &asked(&["straight-through"]), &[]).expect("no surrogates");
        run(&done.graphs()[0].1, &[x.clone(), Tensor::ints(&[1])])[2].to_f64()
    };
    let kept = gradient_of(
        "model (float[N,4] x) => (float[N,2] z) <int64[1] k = {2}, int64[1] a = {1}, float[4,2] w = {1,0, 1,0, 1,0, 1,0}> {
            v, i = TopK(x, k)  t = ReduceMin(v, a)  b = GreaterOrEqual(x, t)  f = Cast<to = 1>(b)  y = Mul(x, f)  z = MatMul(y, w) }",
    );
    assert!(kept.iter().all(|g| (g - kept[0]).abs() < 1e-6 && *g > 0.1), "{kept:?}");
    for place in ["y = Hardmax(x)", "i = ArgMax<axis = 1, keepdims = 0>(x)  y = OneHot(i, depth, values)"] {
        let found = gradient_of(&format!(
            "model (float[N,4] x) => (float[N,2] z) <int64 depth = {{4}}, float[2] values = {{0, 1}}, float[4,2] w = {{1,0, 2,0, 3,0, 4,0}}> {{ {place}  z = MatMul(y, w) }}"
        ));
        assert!(found.iter().any(|g| g.abs() > 1e-3) && found.iter().sum::<f64>().abs() < 1e-6, "{place}: {found:?}");
    }
}

/// σ(z) scaled: its twin hands out z, in the shape of the output.
#[test]
fn logits_are_recovered_from_behind_what_saturates() {
    let model = graph(
        "model (float[N,2] x) => (float[N,2] z) <float k = {3}, int64[2] s = {0, 2}> { p = Sigmoid(x)  m = Mul(p, k)  z = Reshape(m, s) }",
    );
    let done = of_request(&model, "x", &asked(&["logits"]), &[]).expect("no surrogates");
    let x = Tensor::new(&[1, 2], vec![40.0f32, 50.0]).expect("two numbers");
    assert_eq!(run(&done.graphs()[0].1, std::slice::from_ref(&x))[0].to_f64(), [40.0, 50.0]);
    assert!(run(&model, &[x])[0].to_f64().iter().all(|v| (v - 3.0).abs() < 1e-5));
    // one behind the other
    let twice = graph("model (float[N,2] x) => (float[N,2] z) <float low = {0.1}> { p = Softmax(x)  z = Clip(p, low) }");
    let done = of_request(&twice, "x", &asked(&["logits"]), &[]).expect("no surrogates");
    assert_eq!(done.graphs()[0].1.nodes().len(), 0, "{:?}", done.sentences);
    // a factor below zero turns the order around: nothing is cut
    let turned = graph("model (float[N,2] x) => (float[N,2] z) <float k = {-3}> { p = Sigmoid(x)  z = Mul(p, k) }");
    let done = of_request(&turned, "x", &asked(&["logits"]), &[]).expect("no surrogates");
    assert!(done.twin.is_none() && done.idle[0].contains("nothing in this model"), "{:?}", done.idle);
}

/// At a lead of 1000 the gradient of cross-entropy is 0, that of the margin is not.
#[test]
fn the_margin_survives_where_cross_entropy_does_not() {
    let model = graph("model (float[N,2] x) => (float[N,2] z) <float k = {1000}> { z = Mul(x, k) }");
    let x = Tensor::new(&[1, 2], vec![1.0f32, 0.0]).expect("two numbers");
    let blind = super::gradient(&model, false).expect("a gradient");
    assert_eq!(run(&blind, &[x.clone(), Tensor::ints(&[0])])[2].to_f64(), [0.0, 0.0]);
    let done = of_request(&model, "x", &asked(&["margin"]), &[]).expect("no surrogates");
    assert!(done.margin && done.twin.is_none());
    assert_eq!(run(&done.graphs()[0].1, &[x, Tensor::ints(&[0])])[2].to_f64(), [-1000.0, 1000.0]);
    for targeted in [false, true] {
        super::objective(targeted).check().expect("a program");
    }
}

#[test]
fn evaluation_mode_is_another_model() {
    let model = graph(
        "model (float[N,2] x) => (float[N,2] z) <float[2] g = {2, 2}, float[2] n = {0, 0}, float[2] v = {4, 4}, float r = {0.5}, bool t = {1}> {
            b, m, w = BatchNormalization<training_mode = 1, epsilon = 0.0>(x, g, n, n, v)  z = Dropout(b, r, t) }",
    );
    let (name, changed, said) = of_model(&model, &asked(&["eval-mode"])).expect("something to do");
    assert!(name == "eval-mode" && said.contains("THE MODEL WAS CHANGED"), "{said}");
    // γ·x/√v = x
    let x = Tensor::new(&[2, 2], vec![1.0f32, 2.0, 3.0, 4.0]).expect("four numbers");
    assert_eq!(run(&changed, &[x])[0].to_f64(), [1.0, 2.0, 3.0, 4.0]);
    assert!(of_model(&changed, &asked(&["eval-mode"])).is_none());
    assert!(of_model(&model, &asked(&["margin"])).is_none());
}

/// Eight copies with nodes of their own; without anything random there is nothing to average.
#[test]
fn draws_are_averaged_over_copies() {
    let model = graph("model (float[N,2] x) => (float[N,2] z) { n = RandomNormalLike(x)  z = Add(x, n) }");
    let done = of_request(&model, "x", &asked(&["average"]), &[]).expect("no surrogates");
    let twin = simplify(done.twin.as_ref().expect("a twin"));
    // the image, and a keyed draw for each copy
    assert_eq!(twin.inputs().len(), 9);
    assert!(twin.nodes().iter().all(|n| &*n.op != "RandomNormalLike"));
    let still = graph("model (float[N,2] x) => (float[N,2] z) { z = Relu(x) }");
    assert!(of_request(&still, "x", &asked(&["average"]), &[]).expect("no surrogates").twin.is_none());
    // ln of the mean of p, where all draws are the same
    let copies =
        graph("model (float[N,2] x) => (float[N,2] z) <float r = {0}, bool t = {1}> { n = Dropout(x, r, t)  z = Add(x, n) }");
    assert!(of_request(&copies, "x", &asked(&["average"]), &[]).expect("no surrogates").twin.is_none(), "nothing is dropped");
}

#[test]
fn remedies_are_asked_for_by_name() {
    assert_eq!(parse("").expect("none"), Vec::<String>::new());
    assert_eq!(parse("margin, straight-through").expect("two"), ["straight-through", "margin"]);
    assert_eq!(parse("all").expect("all").len(), REMEDIES.len());
    let error = parse("straight-thru").expect_err("a typo");
    assert!(error.class.exit_code() == 2 && error.to_string().contains("did you mean straight-through?"), "{error}");
}
