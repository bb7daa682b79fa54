//! Bounds where they are known on paper, and against what the models do.

use std::sync::Arc;

use flatscape_engine::{Choice, CompileOptions, Engine, Settings, open};
use flatscape_graph::{Graph, Tensor, text};

use super::*;

const UNIT: Region = Region { lo: 0.0, hi: 1.0 };

fn engine() -> Arc<dyn Engine> {
    open(&Settings { choice: Choice::Tract, ..Settings::default() }).expect("tract is compiled in")
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Vec<Vec<f64>> {
    let compiled = engine().compile(graph, &CompileOptions { lower: false, ..CompileOptions::default() }).expect("it compiles");
    let fed: Vec<_> = inputs.iter().map(|t| compiled.upload(t).expect("a buffer")).collect();
    let results = compiled.run(&fed.iter().collect::<Vec<_>>()).expect("it runs");
    results.into_iter().map(|r| r.host().expect("a result").to_f64()).collect()
}

/// The bounds [by intervals, the better ones] of images at radii.
fn bounded(net: &Graph, region: Region, x: &Tensor, eps: f64, y: &[i64]) -> [Vec<f64>; 2] {
    in_norm(net, region, Dual::L1, x, eps, y)
}

fn in_norm(net: &Graph, region: Region, dual: Dual, x: &Tensor, eps: f64, y: &[i64]) -> [Vec<f64>; 2] {
    let graph = bounds(net, region, dual, true).unwrap_or_else(|why| panic!("{why}"));
    let eps = Tensor::floats(vec![eps as f32; y.len()]);
    let mut found = run(&graph, &[x.clone(), eps, Tensor::ints(y)]).into_iter();
    [found.next().expect("interval"), found.next().expect("bound")]
}

fn net(text: &str) -> Graph {
    text::parse(text).unwrap_or_else(|why| panic!("{why}"))
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 2e-6, "{found} is not {expected}");
}

#[test]
fn a_net_of_two_units_has_the_bounds_of_the_paper_calculation() {
    let net = net("net (float[N,1,1,2] x) => (float[N,2] z)
        <float[2,2] w = {1, 1, -1, 1}, float[2] b = {0, -1}, float[2,2] v = {1, -1, -1, 1}, float[2] c = {0.5, 0}>
        { f = Flatten(x)  h = Gemm(f, w, b)  r = Relu(h)  z = Gemm(r, v, c) }");
    let x = Tensor::new(&[1, 1, 1, 2], vec![0.5f32, 0.5]).expect("a point");
    for (eps, expected) in [(0.1, 0.1), (0.125, 0.0), (0.2, -0.3)] {
        let [interval, bound] = bounded(&net, UNIT, &x, eps, &[0]);
        close(interval[0], expected);
        assert!(bound[0] >= interval[0] - 1e-6);
        let least = (0..=200 * 200).map(|i| [f64::from(i % 201), f64::from(i / 201)]).map(|[a, b]| {
            let (a, b) = (0.5 + eps * (a / 100.0 - 1.0), 0.5 + eps * (b / 100.0 - 1.0));
            let (h, k) = ((a - b).max(0.0), (a + b - 1.0).max(0.0));
            0.5 + 2.0 * h - 2.0 * k
        });
        assert!(bound[0] <= least.fold(f64::INFINITY, f64::min) + 1e-6, "the bound is above the margin of a point");
    }
}

#[test]
fn an_affine_classifier_is_bounded_exactly() {
    let net = net(
        "net (float[N,1,1,3] x) => (float[N,3] z) <float[3,3] w = {1, -2, 0.5, 0, 1, -1, 2, 0.25, 0.5}, float[3] b = {0.1, 0, -0.2}>
        { f = Flatten(x)  z = Gemm(f, w, b) }",
    );
    let x = Tensor::new(&[1, 1, 1, 3], vec![0.5f32, 0.5, 0.5]).expect("a point");
    // margins against t: (w_y − w_t)·x + b_y − b_t − ε ‖w_y − w_t‖₁, y = 0
    let (w, b) = ([[1.0, 0.0, 2.0], [-2.0, 1.0, 0.25], [0.5, -1.0, 0.5]], [0.1, 0.0, -0.2]);
    let margin = |t: usize, eps: f64| {
        let d: Vec<f64> = (0..3).map(|i| w[0][i] - w[t][i]).collect();
        0.5 * d.iter().sum::<f64>() + b[0] - b[t] - eps * d.iter().map(|v| v.abs()).sum::<f64>()
    };
    for eps in [0.0, 0.05, 0.3] {
        let [interval, bound] = bounded(&net, UNIT, &x, eps, &[0]);
        close(interval[0], margin(1, eps).min(margin(2, eps)));
        close(bound[0], interval[0]);
    }
    // beyond the box there are no images
    let edge = Tensor::new(&[1, 1, 1, 3], vec![1f32, 1.0, 1.0]).expect("a point");
    let [inside, _] = bounded(&net, UNIT, &edge, 0.5, &[0]);
    let [outside, _] = bounded(&net, Region { lo: 0.0, hi: 9.0 }, &edge, 0.5, &[0]);
    assert!(inside[0] > outside[0]);
}

#[test]
fn an_affine_classifier_is_bounded_exactly_in_balls_of_l2_and_l1() {
    // a normalisation before the weights, whose factors count
    let net = net("net (float[N,1,1,3] x) => (float[N,2] z)
        <float[3,2] w = {1, 0, -2, 1, 0.5, -1}, float[2] b = {0.1, 0}, float m = {0.5}, float[3] s = {0.5, 0.25, 1}>
        { c = Sub(x, m)  n = Div(c, s)  f = Flatten(n)  z = Gemm <alpha = 2.0> (f, w, b) }");
    let x = Tensor::new(&[1, 1, 1, 3], vec![0.6f32, 0.4, 0.9]).expect("a point");
    let wide = Region { lo: -9.0, hi: 9.0 };
    // (w_0 − w_1)·2/s
    let rows = [2.0 * 1.0 / 0.5, 2.0 * -3.0 / 0.25, 2.0 * 1.5];
    let margin = 0.1 * rows[0] - 0.1 * rows[1] + 0.4 * rows[2] + 0.1;
    let norms = [
        (Dual::L1, rows.iter().map(|r| f64::abs(*r)).sum::<f64>()),
        (Dual::L2, rows.iter().map(|r| r * r).sum::<f64>().sqrt()),
        (Dual::Linf, 24.0),
    ];
    for eps in [0.0, 0.05, 0.5] {
        for (dual, norm) in norms {
            let [interval, bound] = in_norm(&net, wide, dual, &x, eps, &[0]);
            close(interval[0] / norm, (margin - eps * norm) / norm);
            close(bound[0], interval[0]);
        }
    }
}

#[test]
fn lines_are_tighter_than_intervals_where_a_unit_cancels() {
    // relu(x) − relu(−x) = x: by intervals of the units the range doubles
    let net = net(
        "net (float[N,1,1,1] x) => (float[N,2] z) <float[1,2] w = {1, -1}, float[2,2] v = {1, 0, -1, 0}, float[2] c = {0, 0}>
        { f = Flatten(x)  h = Gemm(f, w)  r = Relu(h)  z = Gemm(r, v, c) }",
    );
    let x = Tensor::new(&[1, 1, 1, 1], vec![0f32]).expect("a point");
    let [interval, bound] = bounded(&net, Region { lo: -1.0, hi: 1.0 }, &x, 1.0, &[0]);
    close(interval[0], -1.0);
    assert!(bound[0] >= -1.0 - 1e-6);
}

/// A convolutional net with everything that has a rule, its numbers from a fixed sequence.
fn convolutional() -> Graph {
    let mut state = 1u32;
    let mut numbers = |count: usize, scale: f64| {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{:.4}", (f64::from(state >> 8) / f64::from(1u32 << 24) - 0.5) * scale)
        };
        (0..count).map(next).collect::<Vec<_>>().join(", ")
    };
    let (a, b, c, d) = (numbers(18, 1.2), numbers(36, 0.8), numbers(27, 1.0), numbers(2, 0.4));
    net(&format!(
        "net (float[N,1,6,6] x) => (float[N,3] z)
        <float[2,1,3,3] a = {{{a}}}, float[2] bias = {{{d}}}, float[2,2,3,3] b = {{{b}}}, float[3,9] c = {{{c}}}, float half = {{0.5}}, float[2,1,1] scale = {{-1.5, 2}}>
        {{ n = Sub(x, half)  h = Conv <pads = [1, 1, 1, 1]> (n, a, bias)  r = Relu(h)  g = Conv <pads = [1, 1, 1, 1]> (r, b)  s = Mul(g, scale)
          q = Add(s, h)  t = LeakyRelu <alpha = 0.1> (q)  m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (t)
          v = ReduceMean <keepdims = 1> (m, axes)  f = Flatten(v)  z = Gemm <transB = 1> (f, c) }}"
    )
    .replace("float half", "int64[1] axes = {1}, float half"))
}

/// A point of the ball around these pixels, at its surface, in the box.
fn moved(points: &[f32], dual: Dual, eps: f64, draw: u32) -> Vec<f32> {
    let sign =
        |i: usize| if (i as u32).wrapping_mul(2_654_435_761).wrapping_add(draw * 40_503) & 0x8000 == 0 { 1.0 } else { -1.0 };
    let step = |i: usize| match dual {
        Dual::L1 => eps,
        Dual::L2 => eps / 6.0,
        Dual::Linf if i % 36 == draw as usize % 36 => eps,
        Dual::Linf => 0.0,
    };
    points.iter().enumerate().map(|(i, &v)| (f64::from(v) + sign(i) * step(i)).clamp(0.0, 1.0) as f32).collect()
}

#[test]
fn no_point_of_the_ball_has_a_smaller_margin() {
    let net = convolutional();
    let image = |k: u32| (0..36).map(move |i| f64::from((i * 37 + k * 101) % 97) / 96.0);
    let points: Vec<f32> = (0..8).flat_map(image).map(|v| v as f32).collect();
    let x = Tensor::new(&[8, 1, 6, 6], points.clone()).expect("points");
    let y: Vec<i64> = (0..8).map(|k| k % 3).collect();
    let margins = |points: &[f32]| -> Vec<f64> {
        let z = run(&net, &[Tensor::new(&[8, 1, 6, 6], points.to_vec()).expect("points")]).remove(0);
        let margin = |(row, &y): (&[f64], &i64)| {
            let rival = (0..3).filter(|&t| t != y as usize).map(|t| row[t]).fold(f64::NEG_INFINITY, f64::max);
            row[y as usize] - rival
        };
        z.chunks(3).zip(&y).map(margin).collect()
    };
    for (dual, radii) in
        [(Dual::L1, [0.0, 0.01, 0.05, 0.2]), (Dual::L2, [0.0, 0.05, 0.2, 1.0]), (Dual::Linf, [0.0, 0.1, 0.5, 3.0])]
    {
        let mut before: Option<Vec<f64>> = None;
        for eps in radii {
            let [interval, bound] = in_norm(&net, UNIT, dual, &x, eps, &y);
            if eps == 0.0 {
                margins(&points).iter().zip(&bound).for_each(|(margin, bound)| assert!((margin - bound).abs() < 1e-5));
            }
            for draw in 0..200u32 {
                for ((margin, bound), interval) in margins(&moved(&points, dual, eps, draw)).iter().zip(&bound).zip(&interval) {
                    assert!(margin >= &(bound - 1e-5), "a margin of {margin} lies below the bound {bound} at {eps}, {dual:?}");
                    assert!(bound >= &(interval - 1e-6));
                }
            }
            // a ball lies in the cube of its radius, and bounds nest
            let [_, cube] = in_norm(&net, UNIT, Dual::L1, &x, eps, &y);
            assert!(bound.iter().zip(&cube).all(|(own, cube)| own >= &(cube - 1e-6)), "{dual:?} at {eps}");
            if dual == Dual::L2 && eps == 0.2 {
                assert!(bound.iter().zip(&cube).all(|(own, cube)| *own > cube + 0.1), "{bound:?} {cube:?}");
            }
            if let Some(before) = before.replace(bound.clone()) {
                assert!(before.iter().zip(&bound).all(|(near, far)| near >= &(far - 1e-6)), "bounds nest");
            }
        }
    }
}

/// Padding that repeats pixels moves several numbers at once: a ball of l1 is then no smaller than the numbers that one pixel moves.
#[test]
fn repeated_pixels_count_as_often_as_they_stand() {
    for mode in ["edge", "reflect"] {
        let net = net(&format!(
            "net (float[N,1,1,2] x) => (float[N,2] z) <int64[8] p = {{0, 0, 0, 1, 0, 0, 0, 1}}, float[4,2] w = {{1, -1, 1, -1, 1, -1, 1, -1}}>
            {{ q = Pad <mode = \"{mode}\"> (x, p)  f = Flatten(q)  z = Gemm(f, w) }}"
        ));
        let x = Tensor::new(&[1, 1, 1, 2], vec![0.5f32, 0.5]).expect("a point");
        // every pixel stands twice: the margin is 4(a + b) = 4, and its gradient (4, 4)
        for (dual, norm) in [(Dual::L1, 8.0), (Dual::L2, 32f64.sqrt()), (Dual::Linf, 4.0)] {
            let least = 4.0 - 0.25 * norm + 1e-5;
            let [interval, bound] = in_norm(&net, UNIT, dual, &x, 0.25, &[0]);
            assert!(interval[0] <= least && bound[0] <= least, "{mode}, {dual:?}: {interval:?} {bound:?}");
        }
    }
}

#[test]
fn what_has_no_rule_is_refused_by_name() {
    let refused = |body: &str| {
        let net =
            net(&format!("net (float[N,1,1,2] x) => (float[N,2] z) <float[2,2] w = {{1, 0, 0, 1}}> {{ f = Flatten(x) {body} }}"));
        bounds(&net, UNIT, Dual::L1, true).err().map(|why| why.to_string())
    };
    assert!(refused("z = Softmax(f)").is_some_and(|why| why.starts_with("Softmax")), "no rule for softmax");
    assert!(refused("s = Sin(f)  z = Gemm(s, w)").is_some_and(|why| why.starts_with("Sin")));
    assert!(refused("s = Selu <gamma = -1.0> (f)  z = Gemm(s, w)").is_some_and(|why| why.starts_with("Selu")), "it falls");
    assert!(refused("s = Selu(f)  z = Gemm(s, w)").is_none());
    assert!(refused("z = Mul(f, f)").is_some_and(|why| why.starts_with("Mul")));
    assert!(refused("z = Gemm(f, w)").is_none());
}
