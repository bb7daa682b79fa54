//! Bounds on slopes where the largest slope is known: on paper, or over every point of a grid.

use flatscape_engine::{Choice, CompileOptions, Settings, open};
use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType, text};

use super::*;

const UNIT: Region = Region { lo: 0.0, hi: 1.0 };

fn net(words: &str) -> Graph {
    text::parse(words).unwrap_or_else(|why| panic!("{why}"))
}

/// The bounds for every class, around one image with the label 0.
fn bounded(net: &Graph, x: &[f32], eps: f32, dual: Dual) -> Vec<f64> {
    let shape: Vec<usize> =
        net.shape(net.inputs()[0]).expect("a shape").iter().skip(1).map(|d| d.fixed().expect("a size")).collect();
    let builder = Builder::new(Graph::new("slopes"));
    let dims = std::iter::once(Dim::symbol("N")).chain(shape.iter().map(|&n| Dim::Fixed(n))).collect();
    let inputs = [
        builder.input("x", ValueType::new(DType::F32, dims)),
        builder.input("eps", ValueType::new(DType::F32, vec![Dim::symbol("N")])),
        builder.input("y", ValueType::new(DType::I64, vec![Dim::symbol("N")])),
    ];
    let found = slopes(net, &builder, inputs, UNIT, dual).unwrap_or_else(|why| panic!("{why}"));
    builder.output("slopes", found);
    let graph = simplify(&builder.into_graph());
    graph.check().unwrap_or_else(|why| panic!("{why}"));
    let engine = open(&Settings { choice: Choice::Tract, ..Settings::default() }).expect("tract is compiled in");
    let compiled = engine.compile(&graph, &CompileOptions { lower: false, ..CompileOptions::default() }).expect("it compiles");
    let whole: Vec<usize> = std::iter::once(1).chain(shape).collect();
    let fed = [Tensor::new(&whole, x.to_vec()).expect("an image"), Tensor::floats(vec![eps]), Tensor::ints(&[0])];
    let fed: Vec<_> = fed.iter().map(|t| compiled.upload(t).expect("a buffer")).collect();
    compiled.run(&fed.iter().collect::<Vec<_>>()).expect("it runs")[0].host().expect("a result").to_f64()
}

#[test]
fn an_affine_classifier_has_the_norms_of_its_differences() {
    let net = net(
        "net (float[N,1,1,3] x) => (float[N,3] z) <float[3,3] w = {1, -2, 0.5, 0, 1, -1, 2, 0.25, 0.5}, float[3] b = {0.1, 0, -0.2}>
        { f = Flatten(x)  z = Gemm(f, w, b) }",
    );
    let w = [[1.0, 0.0, 2.0], [-2.0, 1.0, 0.25], [0.5, -1.0, 0.5]];
    let difference = |t: usize| [0, 1, 2].map(|i| w[0][i] - w[t][i]);
    for (dual, norm) in [
        (Dual::L1, (|v| v.iter().map(|x| x.abs()).sum()) as fn([f64; 3]) -> f64),
        (Dual::L2, |v| v.iter().map(|x| x * x).sum::<f64>().sqrt()),
        (Dual::Linf, |v| v.iter().fold(0.0, |m, x| m.max(x.abs()))),
    ] {
        let found = bounded(&net, &[0.5, 0.4, 0.7], 0.2, dual);
        for (t, found) in found.iter().enumerate() {
            let wanted = norm(difference(t));
            assert!(*found >= wanted && *found - wanted < 1e-5, "{dual:?}, {t}: {found} is not {wanted}");
        }
    }
}

/// z = (v·relu(Wx + b), 0): the gradient is constant on the pieces between the bends, and the grid meets them all.
#[test]
fn a_net_of_two_dimensions_is_bounded_between_its_largest_slope_and_a_little_more() {
    let wave = |k: usize, by: f64| 1.3 * (by * (k as f64 + 1.0)).sin();
    let mut total = [0.0, 0.0];
    for case in 0..6 {
        let (units, shift) = (12, case as f64);
        let w: Vec<[f64; 2]> = (0..units).map(|i| [wave(i, 1.1 + shift), wave(i, 2.3 + shift)]).collect();
        // every unit bends at a point within or near the ball
        let b: Vec<f64> = (0..units).map(|i| -0.5 * (w[i][0] + w[i][1]) + 0.12 * wave(i, 0.7 + shift)).collect();
        let v: Vec<f64> = (0..units).map(|i| wave(i, 3.1 + shift)).collect();
        let list = |values: &[f64]| values.iter().map(|v| format!("{v:.6}")).collect::<Vec<_>>().join(", ");
        let flat: Vec<f64> = (0..2).flat_map(|axis| w.iter().map(move |row| row[axis]).collect::<Vec<_>>()).collect();
        let head: Vec<f64> = v.iter().flat_map(|v| [*v, 0.0]).collect();
        let net = net(&format!(
            "net (float[N,1,1,2] x) => (float[N,2] z)
            <float[2,12] w = {{{}}}, float[12] b = {{{}}}, float[12,2] v = {{{}}}>
            {{ f = Flatten(x)  h = Gemm(f, w, b)  r = Relu(h)  z = MatMul(r, v) }}",
            list(&flat),
            list(&b),
            list(&head)
        ));
        let eps = 0.1;
        let mut largest = 0f64;
        for at in 0..241 * 241 {
            let point = [at / 241, at % 241].map(|k| 0.5 + eps * (k as f64 / 120.0 - 1.0));
            let slope = [0, 1].map(|axis| {
                let on = |i: &usize| w[*i][0] * point[0] + w[*i][1] * point[1] + b[*i] > 0.0;
                (0..units).filter(on).map(|i| v[i] * w[i][axis]).sum::<f64>()
            });
            largest = largest.max(slope[0].abs() + slope[1].abs());
        }
        let found = bounded(&net, &[0.5, 0.5], eps as f32, Dual::L1)[1];
        assert!(found >= largest * (1.0 - 1e-5), "the bound {found} is below the slope {largest} of a point");
        // at the image alone nothing is open, and the bound is its slope
        assert!(bounded(&net, &[0.5, 0.5], 0.0, Dual::L1)[1] <= largest * 1.0001);
        total = [total[0] + found, total[1] + largest];
    }
    assert!(total[0] < 1.8 * total[1], "the bounds are {} times the slopes", total[0] / total[1]);
}

/// Convolution, normalisation, residual sum, pools, sigmoid, tanh and clip: no sampled gradient is above the bound, and the bounds nest.
#[test]
fn no_slope_of_a_point_is_above_the_bound() {
    let wave =
        |n: usize, by: f64| (0..n).map(|i| format!("{:.5}", 0.6 * (by * (i as f64 + 1.0)).sin())).collect::<Vec<_>>().join(", ");
    let net = net(&format!(
        "net (float[N,1,6,6] x) => (float[N,3] z)
        <float[2,1,3,3] k = {{{}}}, float[2] kb = {{0.1, -0.2}}, float[2,2,3,3] l = {{{}}}, float[18,3] w = {{{}}},
         float low = {{-0.4}}, float high = {{0.9}}>
        {{ a = Conv<pads = [1,1,1,1]>(x, k, kb)  r = Relu(a)  c = Conv<pads = [1,1,1,1]>(r, l)  t = Tanh(c)  s = Add(r, t)
           p = MaxPool<kernel_shape = [2,2], strides = [2,2]>(s)  g = LeakyRelu<alpha = 0.2>(p)
           q = AveragePool<kernel_shape = [3,3], strides = [1,1], pads = [1,1,1,1], count_include_pad = 1>(g)
           u = Sigmoid(q)  v = Sub(u, g)  m = MaxPool<kernel_shape = [2,2], strides = [1,1], pads = [0,0,1,1]>(v)
           e = Clip(m, low, high)  f = Flatten(e)  z = MatMul(f, w) }}",
        wave(18, 1.7),
        wave(36, 2.9),
        wave(54, 0.9)
    ));
    let image: Vec<f32> = (0..36).map(|i| 0.5 + 0.4 * (1.3 * i as f32).sin()).collect();
    // gradients by the reverse rules, at points of the ball
    let builder = Builder::new(Graph::new("gradient"));
    let x = builder.input("x", net.value(net.inputs()[0]).ty.clone());
    let outputs = builder.inline(&net, &|_, _| Some(x.id)).expect("inlined");
    let logits = builder.expr(outputs[0].1);
    for t in 1..3 {
        let row: Vec<f32> = (0..3).map(|k| if k == 0 { 1.0 } else { -f32::from(u8::from(k == t)) }).collect();
        let ct = builder.constant(Tensor::new(&[1, 3], row).expect("a row")).expand_like(logits);
        let found = flatscape_autodiff::vjp(&builder, logits.id, ct.id, &[x.id]).expect("a gradient")[0].expect("a path");
        builder.output(&format!("gradient{t}"), builder.expr(found));
    }
    let engine = open(&Settings { choice: Choice::Tract, ..Settings::default() }).expect("tract is compiled in");
    let graph = simplify(&builder.into_graph());
    let compiled = engine.compile(&graph, &CompileOptions { lower: false, ..CompileOptions::default() }).expect("it compiles");
    let mut before = vec![0.0; 3];
    for eps in [0.0f32, 0.01, 0.05, 0.2] {
        let bounds = bounded(&net, &image, eps, Dual::L1);
        assert!(bounds.iter().zip(&before).all(|(now, before)| now * 1.0001 + 1e-6 >= *before), "{bounds:?} after {before:?}");
        let count = 200;
        let points: Vec<f32> = (0..count * 36)
            .map(|i| {
                (image[i % 36] + eps * (12.9898 * i as f32 + 4.1).sin().signum() * (0.7 * i as f32).cos().abs()).clamp(0.0, 1.0)
            })
            .collect();
        let fed = compiled.upload(&Tensor::new(&[count, 1, 6, 6], points).expect("points")).expect("a buffer");
        let found = compiled.run(&[&fed]).expect("it runs");
        for t in 1..3 {
            for gradient in found[t - 1].host().expect("a gradient").to_f64().chunks(36) {
                let slope: f64 = gradient.iter().map(|v| v.abs()).sum();
                assert!(slope <= bounds[t] * 1.00001, "eps = {eps}, class {t}: {slope} is above {}", bounds[t]);
            }
        }
        before = bounds;
    }
    assert!(before[1].is_finite() && before[1] < 1e3, "the bound says something: {before:?}");
}

#[test]
fn what_has_no_slope_is_refused_by_name() {
    let net = net("net (float[N,1,1,2] x) => (float[N,2] z) { f = Flatten(x)  z = Exp(f) }");
    let builder = Builder::new(Graph::new("slopes"));
    let n = || Dim::symbol("N");
    let x = builder.input("x", net.value(net.inputs()[0]).ty.clone());
    let eps = builder.input("eps", ValueType::new(DType::F32, vec![n()]));
    let y = builder.input("y", ValueType::new(DType::I64, vec![n()]));
    let why = slopes(&net, &builder, [x, eps, y], UNIT, Dual::L1).expect_err("no rule").to_string();
    assert!(why.contains("Exp") && why.contains("no rule for slopes"), "{why}");
}
