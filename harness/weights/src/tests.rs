//! Filters by the meaning of operators, derivatives against differences, invariance, convexity: on files as exporters lay them out.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flatscape_engine::{Choice, Engine, Settings, open};
use flatscape_graph::{Graph, onnx, text};
use flatscape_host::{Normalisation, SegmentRole};
use flatscape_intake::data::{Dataset, Request};
use flatscape_intake::model::{Intake, Model, ModelRequest};
use flatscape_intake::random::{Law, Place, fill};

use crate::space::{Ball, Space};

/// Never: nobody asks these tests to stop.
static GO_ON: AtomicBool = AtomicBool::new(false);

fn engine() -> Arc<dyn Engine> {
    open(&Settings { choice: Choice::Tract, ..Settings::default() }).expect("tract is compiled in")
}

/// The digits: 1×8×8, ten classes.
fn digits(n: usize) -> Dataset {
    Dataset::load(&Request { limit: Some(n), ..Request::new("digits") }).expect("the digits are inside")
}

/// A model in a file, and what is opened of it.
struct Opened {
    engine: Arc<dyn Engine>,
    model: Model,
    request: ModelRequest,
    data: Dataset,
    _folder: tempfile::TempDir,
}

impl Opened {
    fn of(graph: &Graph) -> Opened {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, onnx::write(graph)).expect("written");
        let (engine, data) = (engine(), digits(24));
        let source = path.display().to_string();
        let intake = Intake { preprocessing: stated(), ..Intake::default() };
        let model = Model::load(&source, &intake, &data, engine.as_ref()).unwrap_or_else(|e| panic!("{e}"));
        let request = ModelRequest { source, intake };
        Opened { engine, model, request, data, _folder: folder }
    }

    fn space(&self) -> Space<'_> {
        let ids: Vec<u64> = (0..self.data.len() as u64).collect();
        Space::open(self.engine.as_ref(), &self.model, &self.request, &self.data, &ids, &GO_ON).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// Pixels go in as they are.
fn stated() -> flatscape_intake::card::Preprocessing {
    let pixels = flatscape_intake::card::Preprocessing::default();
    flatscape_intake::card::Preprocessing { scale: Some(1.0), mean: Some(vec![0.0]), std: Some(vec![1.0]), ..pixels }
}

/// A net of text whose constants `NAME: shape` are filled with normal numbers.
fn net(words: &str, constants: &[(&str, &[usize])]) -> Graph {
    let mut graph = text::parse(words).unwrap_or_else(|e| panic!("{e}"));
    for (name, shape) in constants {
        let input = graph.input_named(name).unwrap_or_else(|| panic!("there is no {name}"));
        graph = graph.with_constant_input(input, normal(shape, name, 0.4));
    }
    graph
}

fn normal(shape: &[usize], key: &str, scale: f32) -> flatscape_graph::Tensor {
    let mut data = vec![0f32; shape.iter().product()];
    fill(Law::Normal, Place::new(7, "test", key), &mut data);
    data.iter_mut().for_each(|v| *v *= scale);
    flatscape_graph::Tensor::new(shape, data).expect("as many numbers as the shape says")
}

fn vector(n: usize, key: &str) -> Vec<f32> {
    normal(&[n], key, 1.0).to_vec().expect("floats")
}

fn plus(theta: &[f32], t: f32, v: &[f32]) -> Vec<f32> {
    theta.iter().zip(v).map(|(a, b)| a + t * b).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// As PyTorch exports: OIHW kernels, Gemm with transB = 1.
const PYTORCH: &str = "net (float[N,1,8,8] x, float[3,1,3,3] w, float[3] c, float[10,108] v, float[10] b) => (float[N,10] z) \
    { h = Conv<kernel_shape = [3, 3]>(x, w, c)  r = Tanh(h)  f = Flatten(r)  z = Gemm<transB = 1>(f, v, b) }";
const PYTORCH_WEIGHTS: &[(&str, &[usize])] = &[("w", &[3, 1, 3, 3]), ("c", &[3]), ("v", &[10, 108]), ("b", &[10])];

/// As exporters of TensorFlow and Keras do: HWIO kernels behind a Transpose, channels last, MatMul and Add.
const KERAS: &str = "net (float[N,1,8,8] x, float[3,3,1,3] w, float[3] c, float[108,10] v, float[10] b) => (float[N,10] z) \
    { k = Transpose<perm = [3, 2, 0, 1]>(w)  h = Conv<kernel_shape = [3, 3]>(x, k, c)  r = Tanh(h)  l = Transpose<perm = [0, 2, 3, 1]>(r) \
      f = Flatten(l)  m = MatMul(f, v)  z = Add(m, b) }";
const KERAS_WEIGHTS: &[(&str, &[usize])] = &[("w", &[3, 3, 1, 3]), ("c", &[3]), ("v", &[108, 10]), ("b", &[10])];

/// Kernels of a transposed convolution in two groups, Gemm with transB = 0, normalisation in the file.
const TRANSPOSED: &str = "net (float[N,1,8,8] x, float[4,1,3,3] w, float[4] s, float[4] o, float[4] m, float[4] q, float[4,3,2,2] t, \
    float[1176,10] v, float[10] b) => (float[N,10] z) { h = Conv<kernel_shape = [3, 3]>(x, w)  n = BatchNormalization(h, s, o, m, q) \
      r = Tanh(n)  u = ConvTranspose<kernel_shape = [2, 2], group = 2>(r, t)  g = Tanh(u)  p = Pad(g, pads)  f = Flatten(g) \
      z = Gemm<transB = 0>(f, v, b) }";

fn axes(opened: &Opened) -> Vec<(String, SegmentRole, Option<usize>)> {
    opened.space().segments.segments.iter().map(|s| (s.name.clone(), s.role, s.axis)).collect()
}

#[test]
fn filters_are_those_of_the_operator_whatever_the_layout() {
    use SegmentRole::{Bias, Kernel};
    let pytorch = Opened::of(&net(PYTORCH, PYTORCH_WEIGHTS));
    let keras = Opened::of(&net(KERAS, KERAS_WEIGHTS));
    let named = |name: &str, role, axis| (name.to_owned(), role, axis);
    let mut found = axes(&pytorch);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, [named("b", Bias, None), named("c", Bias, None), named("v", Kernel, Some(0)), named("w", Kernel, Some(0))]);
    let mut found = axes(&keras);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, [named("b", Bias, None), named("c", Bias, None), named("v", Kernel, Some(1)), named("w", Kernel, Some(3))]);
    for opened in [&pytorch, &keras] {
        let segments = opened.space().segments;
        let layer = |name: &str| segments.segments.iter().find(|s| s.name == name).expect("a weight").layer;
        assert_eq!((layer("w"), layer("v")), (layer("c"), layer("b")), "a bias has the layer of its kernel");
        assert_ne!(layer("w"), layer("v"));
        assert_eq!(segments.normalisation, Normalisation::None);
    }
}

#[test]
fn a_transposed_convolution_in_groups_has_the_filters_of_its_results() {
    let words = TRANSPOSED.replace("p = Pad(g, pads)", "");
    let size = 6 * 7 * 7;
    let words = words.replace("1176", &size.to_string());
    let mut graph = net(
        &words,
        &[("w", &[4, 1, 3, 3]), ("s", &[4]), ("o", &[4]), ("m", &[4]), ("t", &[4, 3, 2, 2]), ("v", &[size, 10]), ("b", &[10])],
    );
    let variance = graph.input_named("q").expect("the variance");
    graph = graph.with_constant_input(variance, flatscape_graph::Tensor::floats(vec![1.0, 0.5, 2.0, 1.5]));
    let opened = Opened::of(&graph);
    let segments = opened.space().segments;
    let of = |name: &str| segments.segments.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("there is no {name}"));
    let t = of("t");
    let filters = &segments.filters[t.offset..t.offset + t.size];
    // [C_in = 4, C_out/g = 3, 2, 2]: the first two channels are read by filters 0 to 2, the others by 3 to 5
    let wanted: Vec<i32> = (0..4).flat_map(|i| (0..3).flat_map(move |o| [(i / 2 * 3 + o); 4])).collect();
    assert_eq!((filters, t.axis), (&wanted[..], None));
    assert_eq!((of("v").axis, of("w").axis), (Some(1), Some(0)));
    assert_eq!([of("s").role, of("o").role], [SegmentRole::Scale; 2]);
    assert_eq!([of("m").role, of("q").role], [SegmentRole::Statistic; 2]);
    assert_eq!(segments.normalisation, Normalisation::Present);
    derivatives(&opened);
}

#[test]
fn names_of_the_exporter_say_that_normalisation_was_folded() {
    let words = PYTORCH.replace("float[3,1,3,3] w", "float[3,1,3,3] fused").replace("(x, w, c)", "(x, fused, c)");
    let mut graph = text::parse(&words).expect("a graph");
    for (name, called, shape) in
        [("fused", "onnx::Conv_19", &[3, 1, 3, 3][..]), ("c", "onnx::Conv_20", &[3]), ("v", "v", &[10, 108]), ("b", "b", &[10])]
    {
        let input = graph.input_named(name).expect("an input");
        graph.rename(input, called);
        graph = graph.with_constant_input(input, normal(shape, name, 0.4));
    }
    assert_eq!(Opened::of(&graph).space().segments.normalisation, Normalisation::Folded);
}

/// The loss is that of the file, its slope along a direction the gradient, and the slope of the gradient the product.
fn derivatives(opened: &Opened) {
    let mut space = opened.space();
    let theta = space.theta();
    let mut v = vector(theta.len(), "direction");
    for s in space.segments.segments.iter().filter(|s| s.role == SegmentRole::Statistic) {
        v[s.offset..s.offset + s.size].fill(0.0);
    }
    let (loss, gradient) = space.gradient(&theta).expect("a gradient");
    let [value, _] = space.loss(&theta).expect("a loss");
    assert!((loss - value).abs() < 1e-5 * value, "{loss} {value}");
    let h = 2e-3;
    let (up, down) = (plus(&theta, h, &v), plus(&theta, -h, &v));
    let slope = (space.loss(&up).expect("a loss")[0] - space.loss(&down).expect("a loss")[0]) / (2.0 * f64::from(h));
    let own = dot(&gradient, &v);
    assert!((own - slope).abs() < 2e-3 * own.abs().max(0.1), "{own} {slope}");
    let product = space.hvp(&theta, &v).expect("a product");
    let (up, down) = (space.gradient(&up).expect("a gradient").1, space.gradient(&down).expect("a gradient").1);
    let size = dot(&product, &product).sqrt();
    let off: f64 = product
        .iter()
        .zip(up.iter().zip(&down))
        .map(|(p, (a, b))| (f64::from(*p) - f64::from(a - b) / f64::from(2.0 * h)).powi(2))
        .sum();
    assert!(off.sqrt() < 5e-3 * size, "{} of {size}", off.sqrt());
    // symmetric: ⟨u, Hv⟩ = ⟨v, Hu⟩
    let u = vector(theta.len(), "another");
    let other = space.hvp(&theta, &u).expect("a product");
    assert!((dot(&u, &product) - dot(&v, &other)).abs() < 1e-4 * size * dot(&u, &u).sqrt());
}

#[test]
fn derivatives_are_those_of_differences() {
    derivatives(&Opened::of(&net(PYTORCH, PYTORCH_WEIGHTS)));
    derivatives(&Opened::of(&net(KERAS, KERAS_WEIGHTS)));
}

/// Softmax regression: the trace of the Hessian is mean (‖x‖² + 1) Σ p(1 − p), and the loss is convex along every line.
#[test]
fn softmax_regression_is_convex_and_has_its_trace() {
    let words = "net (float[N,1,8,8] x, float[10,64] v, float[10] b) => (float[N,10] z) { f = Flatten(x)  z = Gemm<transB = 1>(f, v, b) }";
    let opened = Opened::of(&net(words, &[("v", &[10, 64]), ("b", &[10])]));
    let mut space = opened.space();
    let theta = space.theta();
    let v = vector(theta.len(), "line");
    let line: Vec<f64> = (-5..=5).map(|t| space.loss(&plus(&theta, t as f32 * 0.2, &v)).expect("a loss")[0]).collect();
    assert!(line.windows(3).all(|w| w[0] - 2.0 * w[1] + w[2] >= -1e-6), "{line:?}");
    let mut trace = 0.0;
    for i in 0..theta.len() {
        let mut unit = vec![0f32; theta.len()];
        unit[i] = 1.0;
        trace += f64::from(space.hvp(&theta, &unit).expect("a product")[i]);
    }
    let batch = opened.data.batch(0..24);
    let (x, segments) = (batch.x.to_f64(), space.segments.clone());
    let part = |name: &str| {
        let s = segments.segments.iter().find(|s| s.name == name).expect("a weight");
        &theta[s.offset..s.offset + s.size]
    };
    let (w, b) = (part("v"), part("b"));
    let closed: f64 = x
        .chunks(64)
        .map(|x| {
            let score = |c: usize| (0..64).map(|k| f64::from(w[64 * c + k]) * x[k]).sum::<f64>() + f64::from(b[c]);
            let z: Vec<f64> = (0..10).map(score).collect();
            let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = z.iter().map(|v| (v - most).exp()).sum();
            let spread: f64 = z.iter().map(|v| (v - most).exp() / sum).map(|p| p * (1.0 - p)).sum();
            (x.iter().map(|v| v * v).sum::<f64>() + 1.0) * spread
        })
        .sum::<f64>()
        / 24.0;
    assert!((trace - closed).abs() < 1e-4 * closed, "{trace} {closed}");
}

/// Without biases, a ReLU between layers that are scaled by s and 1/s changes nothing, here and along directions scaled likewise.
#[test]
fn the_loss_is_invariant_where_the_function_is() {
    let words = "net (float[N,1,8,8] x, float[20,64] w, float[10,20] v) => (float[N,10] z) \
        { f = Flatten(x)  h = Gemm<transB = 1>(f, w)  r = Relu(h)  z = Gemm<transB = 1>(r, v) }";
    let opened = Opened::of(&net(words, &[("w", &[20, 64]), ("v", &[10, 20])]));
    let mut space = opened.space();
    let (theta, segments) = (space.theta(), space.segments.segments.clone());
    let d = vector(theta.len(), "direction");
    let scaled = |a: &[f32]| -> Vec<f32> {
        let factor = |name: &str| if name == "w" { 4.0 } else { 0.25 };
        segments
            .iter()
            .flat_map(|s| a[s.offset..s.offset + s.size].iter().map(|v| v * factor(&s.name)).collect::<Vec<_>>())
            .collect()
    };
    for t in [0.0, 0.3, -0.7] {
        let (one, other) = (plus(&theta, t, &d), plus(&scaled(&theta), t, &scaled(&d)));
        let (one, other) = (space.loss(&one).expect("a loss"), space.loss(&other).expect("a loss"));
        assert!((one[0] - other[0]).abs() < 1e-5 * one[0] && one[1] == other[1], "{one:?} {other:?}");
    }
}

#[test]
fn ascent_raises_the_loss_inside_of_the_ball_and_can_be_taken_back() {
    let opened = Opened::of(&net(PYTORCH, PYTORCH_WEIGHTS));
    let mut space = opened.space();
    let theta = space.theta();
    let [clean, _] = space.loss(&theta).expect("a loss");
    let ball = Ball { eps: 0.1, alpha: 0.02, steps: 10, go_on: false, range: (0.0, 1.0), seed: 0 };
    space.attack(&theta, &ball).expect("an attack");
    let [attacked, _] = space.loss(&theta).expect("a loss");
    assert!(attacked > clean + 0.1, "{attacked} {clean}");
    space.attack(&theta, &Ball { go_on: true, steps: 5, ..ball }).expect("an attack");
    assert!(space.loss(&theta).expect("a loss")[0] >= attacked - 1e-4, "it goes on from where it was");
    space.attack(&theta, &Ball { eps: 0.0, ..ball }).expect("back");
    assert_eq!(space.loss(&theta).expect("a loss")[0], clean);
}

#[test]
fn another_architecture_is_refused_with_a_sentence() {
    let opened = Opened::of(&net(PYTORCH, PYTORCH_WEIGHTS));
    let same = Opened::of(&net(PYTORCH, PYTORCH_WEIGHTS));
    let space = opened.space();
    assert_eq!(space.other(&same.request.source).expect("the same architecture"), space.theta());
    let relu = Opened::of(&net(&PYTORCH.replace("Tanh", "Relu"), PYTORCH_WEIGHTS));
    let error = space.other(&relu.request.source).expect_err("another architecture");
    assert_eq!(
        (error.id(), error.what.contains("operator 2 is Tanh in one and Relu in the other")),
        ("M163".to_owned(), true),
        "{error}"
    );
    let named = PYTORCH.replace("float[10,108] v", "float[10,108] u").replace("(f, v, b)", "(f, u, b)");
    let weights = [("w", &[3, 1, 3, 3][..]), ("c", &[3]), ("u", &[10, 108]), ("b", &[10])];
    let error = space.other(&Opened::of(&net(&named, &weights)).request.source).expect_err("another weight");
    assert!(error.what.ends_with("only the first has a weight v"), "{error}");
}

#[test]
fn refreshed_statistics_are_those_of_the_samples() {
    let words = "net (float[N,1,8,8] x, float[2,1,3,3] w, float[2] s, float[2] o, float[2] m, float[2] q, float[10,72] v) => (float[N,10] z) \
        { h = Conv<kernel_shape = [3, 3]>(x, w)  n = BatchNormalization(h, s, o, m, q)  r = Tanh(n)  f = Flatten(r)  z = Gemm<transB = 1>(f, v) }";
    let mut graph = net(words, &[("w", &[2, 1, 3, 3]), ("s", &[2]), ("o", &[2]), ("m", &[2]), ("v", &[10, 72])]);
    let variance = graph.input_named("q").expect("the variance");
    graph = graph.with_constant_input(variance, flatscape_graph::Tensor::floats(vec![3.0, 0.2]));
    let opened = Opened::of(&graph);
    let mut space = opened.space();
    let theta = space.theta();
    let before = space.loss(&theta).expect("a loss");
    space.refresh(Some(&theta)).expect("statistics");
    let after = space.loss(&theta).expect("a loss");
    assert_ne!(before, after);
    // weights times s before a normalisation that takes its statistics from the samples change nothing (but for its epsilon)
    let mut scaled = theta.clone();
    let w = space.segments.segments.iter().find(|s| s.name == "w").expect("a kernel").clone();
    scaled[w.offset..w.offset + w.size].iter_mut().for_each(|v| *v *= 3.0);
    space.refresh(Some(&scaled)).expect("statistics");
    let again = space.loss(&scaled).expect("a loss");
    assert!((again[0] - after[0]).abs() < 1e-3 * after[0], "{again:?} {after:?}");
    space.refresh(None).expect("back");
    assert_eq!(space.loss(&theta).expect("a loss"), before);
}

/// Normalisation folded by the graph in float32 beside that of constants, folded in double.
#[test]
fn weights_that_come_with_every_run_give_the_same_loss() {
    let words = "net (float[N,1,8,8] x, float[2,1,3,3] w, float[2] c, float[2] s, float[2] o, float[2] m, float[2] q, \
        float[3,2,1,1] u, float[3] s2, float[3] o2, float[3] m2, float[3] q2, float[10,108] v) => (float[N,10] z) \
        { h = Conv<kernel_shape = [3, 3]>(x, w, c)  n = BatchNormalization<epsilon = 0.01>(h, s, o, m, q)  r = Relu(n) \
          k = Conv(r, u)  l = BatchNormalization(k, s2, o2, m2, q2)  f = Flatten(l)  z = Gemm<transB = 1>(f, v) }";
    let shapes: &[(&str, &[usize])] = &[("w", &[2, 1, 3, 3]), ("c", &[2]), ("s", &[2]), ("o", &[2]), ("m", &[2])];
    let others: &[(&str, &[usize])] = &[("u", &[3, 2, 1, 1]), ("s2", &[3]), ("o2", &[3]), ("m2", &[3]), ("v", &[10, 108])];
    let mut graph = net(words, &[shapes, others].concat());
    for (name, variance) in [("q", vec![3.0, 0.2]), ("q2", vec![0.5, 1.0, 2.0])] {
        let input = graph.input_named(name).expect("a variance");
        graph = graph.with_constant_input(input, flatscape_graph::Tensor::floats(variance));
    }
    let opened = Opened::of(&graph);
    let (mut one, mut other) = (opened.space(), opened.space());
    (one.brings_weights, other.brings_weights) = (false, true);
    let theta = one.theta();
    for seed in ["", "another", "a third"] {
        let at = if seed.is_empty() { theta.clone() } else { plus(&theta, 0.05, &vector(theta.len(), seed)) };
        let (a, b) = (one.loss(&at).expect("a loss"), other.loss(&at).expect("a loss"));
        assert!((a[0] - b[0]).abs() < 1e-6 * a[0].abs() && a[1] == b[1], "{a:?} {b:?}");
    }
    let refreshed = |space: &mut Space| {
        space.refresh(Some(&theta)).expect("statistics");
        space.loss(&theta).expect("a loss")[0]
    };
    let (a, b) = (refreshed(&mut one), refreshed(&mut other));
    assert!((a - b).abs() < 1e-6 * a.abs(), "{a} {b}");
}

#[test]
fn a_model_without_weights_is_refused() {
    let words = "net (float[N,1,8,8] x) => (float[N,10] z) <int64[1] a = {0}, int64[1] b = {10}, int64[1] c = {1}> \
        { f = Flatten(x)  z = Slice(f, a, b, c) }";
    let opened = Opened::of(&text::parse(words).expect("a graph"));
    let ids = [0];
    let error = Space::open(opened.engine.as_ref(), &opened.model, &opened.request, &opened.data, &ids, &GO_ON).err();
    assert_eq!(error.expect("nothing to move").id(), "M160");
}
