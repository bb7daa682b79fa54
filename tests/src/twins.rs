//! One network in many files: laid out, typed, batched and ended as exporters do it. Every twin has the logits, the gradient and the
//! robust accuracy of the plain one, from what is stated about it and nothing else.

use std::path::Path;

use flatscape_autodiff::vjp;
use flatscape_engine::{CompileOptions, Engine};
use flatscape_graph::{Builder, DType, Graph, Tensor, ValueType, onnx, text};
use flatscape_intake::card::Preprocessing;
use flatscape_intake::data::{Dataset, Pixels, Request};
use flatscape_intake::functions::cross_entropy;
use flatscape_intake::model::{Intake, Model, Task};
use flatscape_measure::prepared::{Prepared, Settings, Work};
use flatscape_measure::request;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::Outcome;

use crate::provision::{engines, onnx_runtime, plugins, root, tract};
use crate::wire::{self, Data};

/// A twin: what stands before the network (from its own input to float[N,1,8,8] in [0,1]), what stands behind it, the flags, and
/// what its facts say.
struct Twin {
    name: &'static str,
    head: &'static str,
    tail: &'static str,
    flags: &'static [(&'static str, &'static str)],
    says: &'static str,
}

const PLAIN_HEAD: &str = "(float[N,1,8,8] image) => (float[N,1,8,8] u) { u = Identity(image) }";
const PLAIN_TAIL: &str = "(float[N,10] z) => (float[N,10] y) { y = Identity(z) }";

const fn with_head(
    name: &'static str,
    head: &'static str,
    flags: &'static [(&'static str, &'static str)],
    says: &'static str,
) -> Twin {
    Twin { name, head, tail: PLAIN_TAIL, flags, says }
}

const fn with_tail(
    name: &'static str,
    tail: &'static str,
    flags: &'static [(&'static str, &'static str)],
    says: &'static str,
) -> Twin {
    Twin { name, head: PLAIN_HEAD, tail, flags, says }
}

const TWINS: &[Twin] = &[
    // layouts
    with_head(
        "nhwc",
        "(float[N,8,8,1] image) => (float[N,1,8,8] u) { u = Transpose<perm = [0, 3, 1, 2]>(image) }",
        &[],
        "--layout nhwc (the only layout that fits)",
    ),
    with_head(
        "no channel axis",
        "(float[N,8,8] image) => (float[N,1,8,8] u) <int64[1] a = {1}> { u = Unsqueeze(image, a) }",
        &[],
        "--layout flat",
    ),
    with_head(
        "flat",
        "(float[N,64] image) => (float[N,1,8,8] u) <int64[4] s = {-1, 1, 8, 8}> { u = Reshape(image, s) }",
        &[],
        "--layout flat (the only layout that fits)",
    ),
    with_head(
        "columns",
        "(float[N,64,1] image) => (float[N,1,8,8] u) <int64[4] s = {-1, 1, 8, 8}> {
            r = Reshape(image, s)  u = Transpose<perm = [0, 1, 3, 2]>(r) }",
        &[("layout", "flat-columns")],
        "--layout flat-columns (as stated)",
    ),
    with_head(
        "open extents",
        "(float[N,height,width,channels] image) => (float[N,channels,height,width] u) { u = Transpose<perm = [0, 3, 1, 2]>(image) }",
        &[],
        "--layout nhwc (the only layout that fits)",
    ),
    // units and element types
    with_head(
        "normalised",
        "(float[N,1,8,8] image) => (float[N,1,8,8] u) <float s = {0.25}, float m = {0.5}> { a = Mul(image, s)  u = Add(a, m) }",
        &[("mean", "0.5"), ("std", "0.25")],
        "--mean 0.5 --std 0.25",
    ),
    with_head(
        "uint8",
        "(uint8[N,8,8,1] image) => (float[N,1,8,8] u) <float s = {255}> {
            f = Cast<to = 1>(image)  d = Div(f, s)  u = Transpose<perm = [0, 3, 1, 2]>(d) }",
        &[],
        "gradients are taken behind its cast to float",
    ),
    with_head(
        "int64",
        "(int64[N,64] image) => (float[N,1,8,8] u) <int64[4] s = {-1, 1, 8, 8}, float t = {255}> {
            r = Reshape(image, s)  f = Cast<to = 1>(r)  u = Div(f, t) }",
        &[],
        "--scale 255",
    ),
    with_head(
        "int8",
        "(int8[N,1,8,8] image) => (float[N,1,8,8] u) <float s = {255}, float m = {128}> { f = Cast<to = 1>(image)  a = Add(f, m)  u = Div(a, s) }",
        &[("scale", "255"), ("mean", "128")],
        "is int8[N,1,8,8]",
    ),
    with_head(
        "double input",
        "(double[N,1,8,8] image) => (float[N,1,8,8] u) { u = Cast<to = 1>(image) }",
        &[],
        "double[N,1,8,8]",
    ),
    // batches
    with_head(
        "batch of 1",
        "(float[1,1,8,8] image) => (float[1,1,8,8] u) <int64[2] t = {1, 64}, int64[4] s = {1, 1, 8, 8}> { r = Reshape(image, t)  u = Reshape(r, s) }",
        &[],
        "its batch of 1 was made free",
    ),
    with_head(
        "batch of 4, with constants for four images",
        "(float[4,1,8,8] image) => (float[4,1,8,8] u) <int64[2] t = {32, 8}, int64[4] s = {4, 1, 8, 8}, float[4,1] z = {0, 0, 0, 0}, int64[1] one = {1}, int64[1] all = {65}, float[4,1,1,1] half = {0.5, 0.5, 0.5, 0.5}> {
            r = Reshape(image, t)  q = Reshape(r, s)  f = Flatten(q)  c = Concat<axis = 1>(z, f)
            c0 = Slice(c, one, all, one)  v = Reshape(c0, s)  h = Mul(v, half)  u = Add(h, h) }",
        &[],
        "its batch of 4 was made free",
    ),
    with_head(
        "a batch of 3 that is not freed",
        "(float[3,1,8,8] image) => (float[3,1,8,8] u) <float[3,1,1,1] scales = {1, 2, 4}> { a = Mul(image, scales)  u = Div(a, scales) }",
        &[],
        "images run in batches of 3, the last one filled up with copies: 6 images in two orders give the same logits",
    ),
    // tails
    with_tail("softmax", "(float[N,10] z) => (float[N,10] y) { y = Softmax(z) }", &[], "the Softmax before output \"y\" was cut off"),
    with_tail("log-softmax", "(float[N,10] z) => (float[N,10] y) { y = LogSoftmax(z) }", &[], "the LogSoftmax before"),
    with_tail(
        "softmax written out and clipped",
        "(float[N,10] z) => (float[N,10] y) <int64[1] a = {1}, float l = {0.0000001}, float h = {1}> {
            m = ReduceMax(z, a)  u = Sub(z, m)  e = Exp(u)  s = ReduceSum(e, a)  p = Div(e, s)  y = Clip(p, l, h) }",
        &[],
        "the softmax (written out in several operators) before",
    ),
    with_tail("sigmoid", "(float[N,10] z) => (float[N,10] y) { y = Sigmoid(z) }", &[("task", "classes")], "the Sigmoid before"),
    with_tail(
        "probabilities of another making",
        "(float[N,10] z) => (float[N,10] y) <int64[1] a = {1}, float two = {2}> { h = Div(z, two)  e = Exp(h)  q = Mul(e, e)  s = ReduceSum(q, a)  y = Div(q, s) }",
        &[],
        "their logarithms stand for logits",
    ),
    with_tail(
        "[N,10,1,1]",
        "(float[N,10] z) => (float[N,10,1,1] y) <int64[2] a = {2, 3}> { u = Unsqueeze(z, a)  y = Softmax<axis = 1>(u) }",
        &[],
        "the Softmax before",
    ),
    // outputs
    with_tail(
        "label and probabilities",
        "(float[N,10] z) => (int64[N] label, float[N,10] probabilities) { probabilities = Softmax(z)  label = ArgMax<axis = 1, keepdims = 0>(z) }",
        &[],
        "of its 2 outputs \"probabilities\" answers",
    ),
    with_tail(
        "logits and their softmax",
        "(float[N,10] z) => (float[N,10] p, float[N,10] y) { y = Identity(z)  p = Softmax(z) }",
        &[],
        "of its 2 outputs \"y\" answers",
    ),
    with_tail(
        "a head for something else",
        "(float[N,10] z) => (float[N,4] box, float[N,10] y) <int64[1] o = {0}, int64[1] e = {4}, int64[1] a = {1}> { box = Slice(z, o, e, a)  y = Identity(z) }",
        &[],
        "of its 2 outputs \"y\" answers",
    ),
];

#[test]
fn twins_have_the_logits_the_gradient_and_the_robust_accuracy_of_the_plain_model() {
    let data = Dataset::load(&Request { limit: Some(64), ..Request::new("digits") }).expect("the digits are in the program");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for engine in engines() {
        let engine = engine.as_ref();
        let plain = load(folder.path(), &joined(PLAIN_HEAD, PLAIN_TAIL), &[], &data, engine);
        let expected = values(engine, &plain, &data);
        let robust = held(engine, &plain, &data);
        assert!((20..56).contains(&robust), "an attack that decides nothing: {robust} of 64 hold");
        for twin in TWINS {
            let model = load(folder.path(), &joined(twin.head, twin.tail), twin.flags, &data, engine);
            let what = format!("{} on {}", twin.name, engine.name());
            assert!(model.facts.iter().any(|f| f.contains(twin.says)), "{what}: no {:?} in {:#?}", twin.says, model.facts);
            close(&values(engine, &model, &data), &expected, twin.tail, &what);
            let found = held(engine, &model, &data);
            assert!(found.abs_diff(robust) <= usize::from(!twin.head.eq(PLAIN_HEAD)), "{what}: {found} hold, not {robust}");
        }
    }
}

/// The network between a head and a tail, as the bytes of a file.
fn joined(head: &str, tail: &str) -> Vec<u8> {
    let network = std::fs::read(root().join("models/digits-standard/model.onnx")).expect("a model of the project");
    let network = onnx::read(&network).expect("an ONNX file").graph;
    let [head, tail] = [head, tail].map(|program| text::parse(program).unwrap_or_else(|e| panic!("{e} in {program}")));
    let b = Builder::new(Graph::new("twin"));
    let input = head.value(head.inputs()[0]);
    let image = b.input(&input.name, input.ty.clone());
    let mut value = image.id;
    for part in [&head, &network] {
        value = b.inline(part, &|_, _| Some(value)).expect("the parts fit")[0].1;
    }
    for (name, value) in b.inline(&tail, &|_, _| Some(value)).expect("the parts fit") {
        b.output(&name, b.expr(value));
    }
    let graph = b.into_graph();
    graph.check().expect("the twin checks");
    onnx::write(&graph)
}

fn load(folder: &Path, bytes: &[u8], flags: &[(&str, &str)], data: &Dataset, engine: &dyn Engine) -> Model {
    try_load(folder, bytes, flags, data, engine).unwrap_or_else(|e| panic!("{e}"))
}

fn try_load(
    folder: &Path,
    bytes: &[u8],
    flags: &[(&str, &str)],
    data: &Dataset,
    engine: &dyn Engine,
) -> Result<Model, flatscape_intake::refusal::Refusal> {
    let path = folder.join("twin.onnx");
    std::fs::write(&path, bytes).expect("a temporary folder can be written");
    let flag = |name: &str| flags.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let intake = Intake {
        output: flag("output"),
        task: flag("task").map(|t| Task::parse(&t).expect("a task")),
        inputs: flag("input").map(|i| Intake::parse_input(&i).expect("an input")).into_iter().collect(),
        preprocessing: Preprocessing::parse(flag)?,
        ..Intake::default()
    };
    Model::load(&path.to_string_lossy(), &intake, data, engine)
}

/// Logits, up to a number per row, and the gradient of the cross-entropy with respect to the pixels.
fn values(engine: &dyn Engine, model: &Model, data: &Dataset) -> [Vec<f64>; 2] {
    const IMAGES: usize = 16;
    let b = Builder::new(model.graph.clone());
    let (x, z) = (model.graph.inputs()[0], model.graph.outputs()[0].value);
    let extent = model.graph.shape(x).expect("a shape")[0].clone();
    let label = b.input("label", ValueType::new(DType::I64, vec![extent.clone()]));
    let (_, ct) = cross_entropy(&b, b.expr(z), label);
    let gradient = vjp(&b, z, ct.id, &[x]).expect("every operator has a rule")[0].expect("a gradient");
    let centred = b.expr(z) - b.expr(z).mean(&[1], true);
    b.output("gradient", b.expr(gradient));
    b.output("centred", centred);
    let graph = flatscape_graph::simplify(&b.into_graph());
    let executable = engine.compile(&graph, &CompileOptions::default()).expect("compiled");
    let mut found = [Vec::new(), Vec::new()];
    let size = extent.fixed().unwrap_or(IMAGES);
    for start in (0..IMAGES).step_by(size) {
        let batch = data.gather(&(start..start + size).map(|i| i as u64).collect::<Vec<_>>());
        let inputs = [&batch.x, &Tensor::ints(&batch.y)].map(|t| executable.upload(t).expect("uploaded"));
        let outputs = executable.run(&[&inputs[0], &inputs[1]]).expect("run");
        for (name, into) in ["centred", "gradient"].iter().zip(&mut found) {
            let at = graph.outputs().iter().position(|o| &*o.name == *name).expect("an output");
            let values = outputs[at].host().expect("on the host").to_f64();
            into.extend_from_slice(&values[..values.len() / size * size.min(IMAGES - start)]);
        }
    }
    found
}

/// Relative to the largest value: 1e-4; where probabilities were made logarithms, 1e-3.
fn close(found: &[Vec<f64>; 2], expected: &[Vec<f64>; 2], tail: &str, what: &str) {
    for (part, (found, expected)) in ["logits", "gradient"].iter().zip(found.iter().zip(expected)) {
        assert_eq!(found.len(), expected.len(), "{what}: {part}");
        let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let difference = found.iter().zip(expected).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / largest;
        let allowed = if tail.contains("q = Mul") { 1e-3 } else { 1e-4 };
        assert!(difference <= allowed, "{what}: {part} differs by {difference:.1e} of the largest value");
    }
}

/// How many images hold under PGD.
fn held(engine: &dyn Engine, model: &Model, data: &Dataset) -> usize {
    let threat = ThreatModel::parse("linf:0.1", false).expect("a radius");
    let work = Work::Component(request::Request::parse("pgd:steps=5,restarts=1").expect("a request"));
    let settings = Settings { seed: 0, batch_size: 32 };
    let bench = Prepared::new(engine, plugins(), model, data, &work, &threat, settings).unwrap_or_else(|e| panic!("{e}"));
    let found = bench
        .compute(0..data.len(), None, None, &mut |_, _| {}, &std::sync::atomic::AtomicBool::new(false))
        .unwrap_or_else(|e| panic!("{e}"))
        .findings;
    found.get::<u8>("outcome").expect("a column").iter().filter(|&&o| o == Outcome::Held as u8).count()
}

/// A linear classifier of one logit for the digits 0 and 1, beside its twin of two logits.
#[test]
fn one_logit_is_two_of_which_one_is_zero() {
    let data = zeros_and_ones();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [two, sigmoid, raw, vector] = [
        "z0 = Sub(s, s)  y = Concat<axis = 1>(z0, s)",
        "y = Sigmoid(s)",
        "y = Identity(s)",
        "q = Squeeze(s, one)  y = Sigmoid(q)",
    ]
    .map(|end| {
        let shape = if end.starts_with("z0") {
            "[N,2]"
        } else if end.starts_with('q') {
            "[N]"
        } else {
            "[N,1]"
        };
        format!(
            "(float[N,10] z) => (float{shape} y) <int64[1] none = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}> {{
                z1 = Slice(z, one, two, one)  zz = Slice(z, none, one, one)  s = Sub(z1, zz)  {end} }}"
        )
    });
    let engine = tract();
    let engine = engine.as_ref();
    let plain = load(folder.path(), &joined(PLAIN_HEAD, &two), &[], &data, engine);
    let (expected, robust) = (values(engine, &plain, &data), held(engine, &plain, &data));
    for tail in [&sigmoid, &raw, &vector] {
        let model = load(folder.path(), &joined(PLAIN_HEAD, tail), &[("task", "binary")], &data, engine);
        assert_eq!(model.classes, 2);
        assert!(model.facts.iter().any(|f| f.contains("are (0, s)")), "{:#?}", model.facts);
        close(&values(engine, &model, &data), &expected, tail, tail);
        assert_eq!(held(engine, &model, &data), robust, "{tail}");
        let error = try_load(folder.path(), &joined(PLAIN_HEAD, tail), &[], &data, engine).expect_err("not stated").to_string();
        assert!(error.contains("error[M058]") && error.contains("say --task binary"), "{error}");
    }
}

/// The digits 0 and 1 of the test half.
fn zeros_and_ones() -> Dataset {
    let all = Dataset::load(&Request::new("digits")).expect("the digits are in the program");
    let chosen: Vec<usize> = (0..all.len()).filter(|&i| all.labels[i] < 2).take(32).collect();
    let Pixels::Bytes(bytes) = &all.pixels else { panic!("the digits are bytes") };
    let pixels = chosen.iter().flat_map(|&i| bytes[i * 64..(i + 1) * 64].to_vec()).collect();
    let labels = chosen.iter().map(|&i| all.labels[i]).collect();
    Dataset { pixels: Pixels::Bytes(pixels), labels, class_names: Vec::new(), ..all }
}

/// Weights that half precision holds exactly: the files give the same numbers.
#[test]
fn half_precision_and_double_are_the_same_numbers() {
    let data = Dataset::load(&Request { limit: Some(16), ..Request::new("digits") }).expect("the digits are in the program");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let weights: Vec<f32> = (0..90).map(|i| ((i * 37 % 33) as f32 - 16.0) / 32.0).collect();
    let wide: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
    let model = |ty: &str, kernel: Data| {
        wire::Model::new()
            .input("x", &format!("{ty}[N,1,8,8]"))
            .tensor("w", &[10, 1, 3, 3], kernel)
            .node("Conv", &["x", "w"], "c")
            // smooth: at a kink the last bit decides
            .node("Tanh", &["c"], "t")
            .node("GlobalAveragePool", &["t"], "y")
            .output("y", &format!("{ty}[N,10,1,1]"))
            .bytes()
    };
    for engine in [onnx_runtime(), tract()] {
        let engine = engine.as_ref();
        let plain = load(folder.path(), &model("float", Data::Float(&weights)), &[], &data, engine);
        let expected = values(engine, &plain, &data);
        for (ty, kernel, says) in [
            ("float16", Data::Float16(&weights), "1 tensor, 2 inputs and outputs in half precision"),
            ("bfloat16", Data::Bfloat16(&weights), "1 tensor, 2 inputs and outputs in half precision"),
            ("double", Data::Double(&wide), if engine.name() == "ort" { "computed in float32, not in double" } else { "" }),
        ] {
            let twin = load(folder.path(), &model(ty, kernel), &[], &data, engine);
            assert!(twin.facts.iter().any(|f| f.contains(says)), "{ty} on {}: {:#?}", engine.name(), twin.facts);
            close(&values(engine, &twin, &data), &expected, "", &format!("{ty} on {}", engine.name()));
        }
    }
}

/// The message names the flag that states what cannot be known.
#[test]
fn what_is_ambiguous_is_asked_for() {
    let data = Dataset::load(&Request { limit: Some(16), ..Request::new("digits") }).expect("the digits are in the program");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = tract();
    let tails = [
        (
            "(float[N,10] z) => (float[N,10] y, float[N,10] aux) { y = Relu(z)  aux = Neg(z) }",
            "error[U059]",
            "\"y\" float[N,10], \"aux\" float[N,10]\nhelp: say which one, [N,classes]: --output NAME",
        ),
        (
            "(float[N,10] z) => (float[N,10] y) { y = Sigmoid(z) }",
            "error[M058]",
            "several may be right at once\nhelp: if exactly one",
        ),
        ("(float[N,10] z) => (float[N,10] y) { y = Softmax<axis = 0>(z) }", "error[M057]", "over axis 0, which is the batch"),
        (
            "(float[N,10] z) => (float[N,5,2] y) <int64[3] s = {-1, 5, 2}> { y = Reshape(z, s) }",
            "error[M060]",
            "an answer for every position or box",
        ),
        (
            "(float[N,10] z) => (float[N,9] y) <int64[1] o = {0}, int64[1] e = {9}, int64[1] a = {1}> { y = Slice(z, o, e, a) }",
            "error[D061]",
            "has 9 classes, digits has the labels 0..9",
        ),
    ];
    let heads = [
        ("(int8[N,1,8,8] image) => (float[N,1,8,8] u) { u = Cast<to = 1>(image) }", "error[U055]", "--scale 255 --mean 128"),
        (
            "(float[N,1,9,9] image) => (float[N,1,8,8] u) <int64[2] o = {0, 0}, int64[2] e = {8, 8}, int64[2] a = {2, 3}> { u = Slice(image, o, e, a) }",
            "error[M053]",
            "--resize 9x9",
        ),
    ];
    let tails = tails.map(|(tail, id, says)| (joined(PLAIN_HEAD, tail), id, says));
    for (bytes, id, says) in tails.into_iter().chain(heads.map(|(head, id, says)| (joined(head, PLAIN_TAIL), id, says))) {
        let error = try_load(folder.path(), &bytes, &[], &data, engine.as_ref()).expect_err(says).to_string();
        assert!(error.contains(id) && error.contains(says), "{error}\nlacks {id} or {says}");
    }
}
