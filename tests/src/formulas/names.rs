//! The names and functions of the protocol where they are known on paper: programs as text, linked to small models and run on
//! both engines.

use std::collections::BTreeMap;

use flatscape_engine::Engine;
use flatscape_graph::{Graph, Tensor, text};
use flatscape_measure::attack::host;
use flatscape_measure::link::{Link, LinkError, Point};
use flatscape_measure::stage::{Draw, Stage, Step, Values};
use flatscape_measure::threats::ThreatModel;

use super::toy::{LIN_TOY, Toy, boxed, close, dot, threat};
use crate::provision::engines;

fn program(words: &str) -> Graph {
    text::parse(words).unwrap_or_else(|why| panic!("{why}\n{words}"))
}

fn link<'a>(toy: &'a Toy, threat: &'a ThreatModel) -> Link<'a> {
    Link { steps: 1, ..Link::of(&toy.graph, threat) }
}

/// Values for a compiled graph: x-like ones as rows of pixels.
fn fed(toy: &Toy, stage: &Stage, inputs: &[(&str, Vec<f64>)]) -> Values {
    let [c, h, w] = toy.shape;
    let pixels = c * h * w;
    let mut values = Values::default();
    for (name, data) in inputs {
        let floats: Vec<f32> = data.iter().map(|&v| v as f32).collect();
        let tensor = match *name {
            "y" | "target" => Tensor::ints(&data.iter().map(|&v| v as i64).collect::<Vec<_>>()),
            "eps" => Tensor::scalar(data[0] as f32),
            _ => Tensor::new(&[data.len() / pixels, c, h, w], floats).expect("rows of pixels"),
        };
        values.put(name, stage.upload(&tensor).expect("uploaded"));
    }
    values
}

fn results(stage: &Stage, values: &Values, rows: usize) -> BTreeMap<String, Vec<f64>> {
    let ids: Vec<u64> = (0..rows as u64).collect();
    let draw = Draw { seed: 0, component: "names", restart: 0, step: Step::All(0) };
    let found = stage.run(values, &ids, &draw).expect("it runs");
    found.names().into_iter().map(|name| (name.clone(), host(&found, &name).expect("a result").to_f64())).collect()
}

/// What a step graph gives.
fn stepped(engine: &dyn Engine, toy: &Toy, link: &Link, words: &str, inputs: &[(&str, Vec<f64>)]) -> BTreeMap<String, Vec<f64>> {
    let linked = link.stage(&program(words), Point::Fed, false, &[]).unwrap_or_else(|why| panic!("{why}\n{words}"));
    let stage = Stage::compile(engine, &linked).expect("it compiles");
    let rows = inputs.iter().find(|(name, _)| name.starts_with('x')).map_or(1, |(_, x)| x.len() / toy.grey(0.0).len());
    results(&stage, &fed(toy, &stage, inputs), rows)
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = z.iter().map(|v| (v - largest).exp()).collect();
    e.iter().map(|v| v / e.iter().sum::<f64>()).collect()
}

/// Wᵀv
fn back<const D: usize>(weights: &[[f64; D]], v: &[f64]) -> Vec<f64> {
    (0..D).map(|i| weights.iter().zip(v).map(|(row, v)| row[i] * v).sum()).collect()
}

const W3: [[f64; 3]; 3] = [[1.0, -2.0, 0.0], [0.0, 1.0, 3.0], [-1.0, 0.5, 0.25]];
const X: [f64; 3] = [0.5, 0.25, 0.75];

/// z = Wx
fn scores(x: &[f64]) -> Vec<f64> {
    W3.iter().map(|row| dot(row, x)).collect()
}

/// ℓ = Σ z·Detach(z) has the gradient Wᵀz and the Hessian 0; without the mark they are 2Wᵀz and 2WᵀW.
#[test]
fn detach_stops_derivatives_of_every_order() {
    let (toy, threat) = (Toy::affine(&W3, &[0.0; 3]), threat("linf:0.1"));
    let d = [0.3, -0.2, 1.0];
    let objective = |mark: &str| {
        program(&format!(
            "objective (float[N,3] logits) => (float[N] loss) <int64[1] c = {{1}}>
             {{ a = {mark}(logits)  p = Mul(logits, a)  loss = ReduceSum<keepdims = 0>(p, c) }}"
        ))
    };
    let step = "step (float[N,3] grad, float[N,3] hvp) => (float[N,3] state_g_next, float[N,3] state_h_next)
                { state_g_next = Identity(grad)  state_h_next = Identity(hvp) }";
    for engine in engines() {
        for (mark, order) in [("flatscape.Detach", 1.0), ("Identity", 2.0)] {
            let objective = objective(mark);
            let link = Link { objective: Some(&objective), ..link(&toy, &threat) };
            let found = stepped(&*engine, &toy, &link, step, &[("x", X.to_vec()), ("direction", d.to_vec())]);
            let expected: Vec<f64> = back(&W3, &scores(&X)).iter().map(|v| v * order).collect();
            close(mark, &found["state_g_next"], &expected, 1e-5);
            let curved: Vec<f64> = back(&W3, &scores(&d)).iter().map(|v| v * 2.0 * (order - 1.0)).collect();
            close(mark, &found["state_h_next"], &curved, 1e-5);
        }
    }
}

/// A cotangent p ∘ p is attached: ½‖Jᵀct‖² then has a derivative through ct. For a linear model there is no other.
#[test]
fn a_cotangent_is_attached_unless_it_says_otherwise() {
    let (toy, threat) = (Toy::affine(&W3, &[0.0; 3]), threat("linf:0.1"));
    let objective = program(
        "objective (float[N,3] vjp) => (float[N] loss) <int64[1] d = {1}, float half = {0.5}>
         { s = Mul(vjp, vjp)  t = ReduceSum<keepdims = 0>(s, d)  loss = Mul(t, half) }",
    );
    let step = "step (float[N,3] grad, float[N,3] vjp) => (float[N,3] state_g_next, float[N,3] state_v_next)
                { state_g_next = Identity(grad)  state_v_next = Identity(vjp) }";
    for engine in engines() {
        for (mark, attached) in [("Identity", 1.0), ("flatscape.Detach", 0.0)] {
            let cotangent = program(&format!("cotangent (float[N,3] logits) => (float[N,3] ct) {{ ct = {mark}(logits) }}"));
            let link = Link { objective: Some(&objective), cotangent: Some(&cotangent), ..link(&toy, &threat) };
            let found = stepped(&*engine, &toy, &link, step, &[("x", X.to_vec())]);
            // v = Wᵀz = Ax with A = WᵀW, and ∇½‖Ax‖² = A·Ax
            let v = back(&W3, &scores(&X));
            close(mark, &found["state_v_next"], &v, 1e-5);
            let expected: Vec<f64> = back(&W3, &scores(&v)).iter().map(|g| g * attached).collect();
            close(mark, &found["state_g_next"], &expected, 1e-4);
        }
    }
}

/// ∇²CE·d = Wᵀ(diag p − ppᵀ)Wd.
fn curvature(x: &[f64], d: &[f64]) -> Vec<f64> {
    let (p, u) = (softmax(&scores(x)), scores(d));
    let mean = dot(&p, &u);
    back(&W3, &p.iter().zip(&u).map(|(p, u)| p * (u - mean)).collect::<Vec<_>>())
}

#[test]
fn hvp_is_the_hessian_of_the_loss_times_the_direction() {
    let (toy, threat) = (Toy::affine(&W3, &[0.0; 3]), threat("linf:0.1"));
    let (d, other) = ([0.3, -0.2, 1.0], [-0.5, 2.0, 0.25]);
    let step = "step (float[N,3] hvp) => (float[N,3] state_h_next) { state_h_next = Identity(hvp) }";
    let probe = program(
        "probe (float[N,3] x0, float[N,3] state_a) => (float[N,3] x, float[N,3] direction)
         { x = Identity(x0)  direction = Identity(state_a) }",
    );
    let observe = program("observe (float[N,3] hvp) => (float[N,3] obs_h) { obs_h = Identity(hvp) }");
    for engine in engines() {
        let link = link(&toy, &threat);
        for targeted in [false, true] {
            let link = Link { targeted, ..link };
            let inputs =
                [("x", [X, other].concat()), ("direction", [d, X].concat()), ("y", vec![0.0, 2.0]), ("target", vec![1.0, 1.0])];
            let found = stepped(&*engine, &toy, &link, step, &inputs);
            // the second derivative of cross-entropy does not depend on the class
            let sign = if targeted { -1.0 } else { 1.0 };
            let expected: Vec<f64> = [curvature(&X, &d), curvature(&other, &X)].concat().iter().map(|v| v * sign).collect();
            close("hvp", &found["state_h_next"], &expected, 1e-5);
        }
        let linked = link.probe(&probe, &observe).expect("it links");
        assert_eq!((linked.forwards, linked.backwards), (1, 2));
        let stage = Stage::compile(&*engine, &linked).expect("it compiles");
        assert!(!stage.reads("direction"), "the direction is the probe's");
        let mut values = fed(&toy, &stage, &[("x0", X.to_vec()), ("y", vec![1.0])]);
        let state = Tensor::new(&[1, 3], d.map(|v| v as f32).to_vec()).expect("a state");
        values.put("state_a", stage.upload(&state).expect("uploaded"));
        close("hvp of a probe's direction", &results(&stage, &values, 1)["obs_h"], &curvature(&X, &d), 1e-5);
    }
}

/// What `init` gives as `state_direction`, and a step as `direction`, is what later graphs multiply.
#[test]
fn a_direction_is_kept_like_a_state() {
    let engine = crate::provision::tract();
    let toy = Toy::lin();
    let threat = threat("linf:0.1");
    let linked = link(&toy, &threat).stage(
        &program("init (float[N,3] x0) => (float[N,3] state_direction, float[N,3] state_other) { state_direction = Identity(x0)  state_other = Neg(x0) }"),
        Point::Clean,
        false,
        &[],
    );
    let stage = Stage::compile(&*engine, &linked.expect("it links")).expect("it compiles");
    let draw = Draw { seed: 0, component: "names", restart: 0, step: Step::All(0) };
    let found = stage.run(&fed(&toy, &stage, &[("x0", X.to_vec())]), &[0], &draw).expect("it runs");
    let mut values = Values::default();
    values.keep(found);
    let mut names = values.names();
    names.sort();
    assert_eq!(names, ["direction", "state_direction", "state_other"]);
}

#[test]
fn ascent_is_the_gradient_of_the_loss_up_to_a_positive_factor() {
    let threat = threat("linf:0.1");
    let step = "step (float[N,3] ascent, float[N,3] grad) => (float[N,3] state_a_next, float[N,3] state_g_next)
                { state_a_next = Identity(ascent)  state_g_next = Identity(grad) }";
    for engine in engines() {
        // however confident the model is, the direction is there; the exact gradient is 0 from a lead of about 100 on
        for scale in [1.0, 1000.0] {
            let weights = W3.map(|row| row.map(|w| w * scale));
            let toy = Toy::affine(&weights, &[0.0; 3]);
            let z: Vec<f64> = scores(&X).iter().map(|v| v * scale).collect();
            let q = softmax(&[z[0], z[2]]);
            let expected = back(&weights, &[q[0], -1.0, q[1]]);
            let found = stepped(&*engine, &toy, &link(&toy, &threat), step, &[("x", X.to_vec()), ("y", vec![1.0])]);
            close("ascent", &found["state_a_next"], &expected, 1e-5 * scale);
            let wrong = 1.0 - softmax(&z)[1];
            let exact: Vec<f64> = expected.iter().map(|a| a * wrong).collect();
            close("grad", &found["state_g_next"], &exact, 1e-5);
            assert!(scale < 2.0 || found["state_g_next"].iter().all(|&g| g == 0.0), "{found:?}");
            let aimed = Link { targeted: true, ..link(&toy, &threat) };
            let found = stepped(&*engine, &toy, &aimed, step, &[("x", X.to_vec()), ("target", vec![1.0])]);
            let down: Vec<f64> = expected.iter().map(|a| -a).collect();
            close("ascent towards a class", &found["state_a_next"], &down, 1e-5 * scale);
        }
        let toy = Toy::affine(&W3, &[0.0; 3]);
        let objective =
            program("objective (float[N,3] logits, int64[N] y) => (float[N] loss) { loss = flatscape.Margin(logits, y) }");
        let own = Link { objective: Some(&objective), ..link(&toy, &threat) };
        let found = stepped(&*engine, &toy, &own, step, &[("x", X.to_vec()), ("y", vec![1.0])]);
        close("of an objective it is the gradient", &found["state_a_next"], &found["state_g_next"], 0.0);
        close("the margin's", &found["state_g_next"], &back(&W3, &[1.0, -1.0, 0.0]), 1e-6);
    }
}

/// Three ways to write a linear last layer, and what is none.
#[test]
fn the_head_is_the_last_linear_layer() {
    let threat = threat("linf:0.1");
    let emit = "emit (float[N,F] features, float[N,F] features0, float[C,F] head_weight, float[C] head_bias, float[N,2] logits)
                => (float[N,F] vec_f, float[N,F] vec_f0, float[C,F] vec_w, float[C] col_b, float[N,2] vec_z)
                { vec_f = Identity(features)  vec_f0 = Identity(features0)  vec_w = Identity(head_weight)
                  col_b = Identity(head_bias)  vec_z = Identity(logits) }";
    let front = "h = Reshape(x, flat)  t = Tanh(h)";
    let tails = [
        "logits = Gemm<alpha = 2., beta = 3., transB = 1>(t, rows, bias)".to_owned(),
        "m = MatMul(t, columns)  logits = Add(m, bias6)".to_owned(),
        "u = Reshape(t, pixel)  c = Conv(u, kernel, bias6)  logits = Flatten(c)".to_owned(),
        "m = MatMul(t, columns)  logits = Relu(m)".to_owned(),
    ];
    let graph = |tail: &str| {
        program(&format!(
            "model (float[N,1,1,3] x) => (float[N,2] logits)
             <int64[2] flat = {{0, 3}}, int64[4] pixel = {{0, 3, 1, 1}}, float[2,3] rows = {{1, 2, 3, 4, 5, 6}},
              float[2] bias = {{0.5, -1}}, float[2] bias6 = {{1.5, -3}},
              float[3,2] columns = {{2, 8, 4, 10, 6, 12}}, float[2,3,1,1] kernel = {{2, 4, 6, 8, 10, 12}}> {{ {front}  {tail} }}"
        ))
    };
    let t: Vec<f64> = X.iter().map(|v| v.tanh()).collect();
    for engine in engines() {
        for tail in &tails[..3] {
            let toy = Toy { graph: graph(tail), shape: [1, 1, 3], classes: 2, units: Vec::new() };
            toy.graph.check().unwrap_or_else(|why| panic!("{tail}: {why}"));
            let found = stepped(&*engine, &toy, &link(&toy, &threat), emit, &[("x", X.to_vec()), ("x0", vec![0.0; 3])]);
            close(tail, &found["vec_f"], &t, 1e-6);
            close(tail, &found["vec_f0"], &[0.0; 3], 1e-6);
            close(tail, &found["vec_w"], &[2.0, 4.0, 6.0, 8.0, 10.0, 12.0], 1e-6);
            close(tail, &found["col_b"], &[1.5, -3.0], 1e-6);
            let z = [dot(&[2.0, 4.0, 6.0], &t) + 1.5, dot(&[8.0, 10.0, 12.0], &t) - 3.0];
            close(tail, &found["vec_z"], &z, 1e-5);
        }
    }
    let toy = Toy { graph: graph(&tails[3]), shape: [1, 1, 3], classes: 2, units: Vec::new() };
    let refused = link(&toy, &threat).stage(&program(emit), Point::Fed, false, &[]).expect_err("a ReLU at the end is not linear");
    let expected = "the program reads `features`, which needs a linear last layer, and this model has none: the operator before the logits is \"Relu\"";
    assert_eq!(refused.to_string().replace('"', ""), expected.replace('"', ""));
    assert!(matches!(refused, LinkError::Lacking { .. }));
}

/// At adversarial points `x0` is the adversarial point, and `x_clean` stays the image.
#[test]
fn clean_quantities_stay_at_the_clean_point() {
    let (toy, threat) = (Toy::affine(&W3, &[0.0; 3]), threat("linf:0.1"));
    let emit = "emit (float[N,3] x_clean, float[N,3] x0, float[N,3] logits, float[N,3] logits0, float[N,3] logits_clean, float[N] loss_clean)
        => (float[N,3] vec_far, float[N,3] vec_z, float[N,3] vec_z0, float[N,3] vec_zc, float[N] col_loss)
        { vec_far = Sub(x0, x_clean)  vec_z = Identity(logits)  vec_z0 = Identity(logits0)  vec_zc = Identity(logits_clean)
          col_loss = Identity(loss_clean) }";
    let moved = [0.6, 0.15, 0.75];
    for engine in engines() {
        let linked = link(&toy, &threat).stage(&program(emit), Point::Clean, false, &[]).expect("it links");
        assert_eq!(linked.forwards, 2, "x is x0 in the graphs of a metric");
        let stage = Stage::compile(&*engine, &linked).expect("it compiles");
        let inputs = [("x0", moved.to_vec()), ("x_clean", X.to_vec()), ("y", vec![1.0])];
        let found = results(&stage, &fed(&toy, &stage, &inputs), 1);
        close("how far", &found["vec_far"], &[0.1, -0.1, 0.0], 1e-6);
        close("logits", &found["vec_z"], &scores(&moved), 1e-5);
        close("logits0", &found["vec_z0"], &scores(&moved), 1e-5);
        close("logits_clean", &found["vec_zc"], &scores(&X), 1e-5);
        close("loss_clean", &found["col_loss"], &[-softmax(&scores(&X))[1].ln()], 1e-5);
    }
}

/// One compiled graph serves every radius: the radius of the threat model that it was linked with does not matter.
#[test]
fn another_radius_compiles_nothing() {
    let toy = Toy::lin();
    let linked_with = boxed("linf:0.3");
    let step = "step (float[N,3] x0, float[N,3] grad, float eps) => (float[N,3] x_next)
                { s = Sign(grad)  two = Add(eps, eps)  d = Mul(s, two)  x_next = Add(x0, d) }";
    for engine in engines() {
        let linked = link(&toy, &linked_with).stage(&program(step), Point::Fed, true, &[]).expect("it links");
        let stage = Stage::compile(&*engine, &linked).expect("it compiles");
        for eps in [0.1, 0.25] {
            let inputs = [("x0", vec![0.5; 3]), ("x", vec![0.5; 3]), ("y", vec![0.0]), ("eps", vec![eps])];
            let found = results(&stage, &fed(&toy, &stage, &inputs), 1);
            close("twice the radius, projected", &found["x_next"], &[0.5 - eps, 0.5 + eps, 0.5 + eps], 1e-6);
        }
    }
}

#[test]
fn difference_of_logits_ratios_are_functions_of_programs() {
    let weights: [[f64; 5]; 5] = std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    let (toy, threat) = (Toy::affine(&weights, &[0.0; 5]), threat("linf:0.1"));
    let emit = "emit (float[N,5] logits, int64[N] y, int64[N] target) => (float[N] col_d, float[N] col_t)
                { col_d = flatscape.Dlr(logits, y)  col_t = flatscape.DlrTargeted(logits, y, target) }";
    let z = [3.0, 1.0, 0.0, -1.0, 2.0];
    let inputs = [("x", [z, z.map(|v| 5.0 * v + 7.0)].concat()), ("y", vec![0.0, 0.0]), ("target", vec![1.0, 1.0])];
    for engine in engines() {
        let found = stepped(&*engine, &toy, &link(&toy, &threat), emit, &inputs);
        close("DLR", &found["col_d"], &[-0.5; 2], 1e-6);
        close("targeted DLR", &found["col_t"], &[-0.8; 2], 1e-6);
    }
    let two = Toy::lin();
    let refused = link(&two, &threat).stage(
        &program("emit (float[N,2] logits, int64[N] y) => (float[N] col_d) { col_d = flatscape.Dlr(logits, y) }"),
        Point::Fed,
        false,
        &[],
    );
    let why = refused.expect_err("two classes have no third logit").to_string();
    assert!(why.contains("Dlr compares 3 logits, and the model has 2 classes"), "{why}");
}

#[test]
fn projections_may_have_a_radius_per_sample() {
    let toy = Toy::lin();
    let step =
        "step (float[N,3] x, float[N,3] x0, float[N] state_r) => (float[N,3] x_next) { x_next = flatscape.Project(x, state_r) }";
    let x = [0.5 + 0.3, 0.5 - 0.4, 0.5];
    for engine in engines() {
        for (name, expected) in [
            ("linf:9", [[0.1, -0.1, 0.0], [0.3, -0.35, 0.0]]),
            ("l2:9", [[0.06, -0.08, 0.0], [0.21, -0.28, 0.0]]),
            ("l1:9", [[0.0, -0.1, 0.0], [0.125, -0.225, 0.0]]),
        ] {
            let threat = boxed(name);
            let linked = link(&toy, &threat).stage(&program(step), Point::Fed, false, &[]).expect("it links");
            let stage = Stage::compile(&*engine, &linked).expect("it compiles");
            let mut values = fed(&toy, &stage, &[("x", [x, x].concat()), ("x0", vec![0.5; 6])]);
            let radii = Tensor::new(&[2], vec![0.1f32, 0.35]).expect("two radii");
            values.put("state_r", stage.upload(&radii).expect("uploaded"));
            let found: Vec<f64> = results(&stage, &values, 2)["x_next"].iter().map(|v| v - 0.5).collect();
            close(name, &found, &expected.concat(), 1e-6);
        }
    }
}

/// The nearest point: on the plane, in the box, and at the distance that a search over λ or over the order of |w| finds.
#[test]
fn the_nearest_point_of_a_hyperplane_is_found_in_three_norms() {
    const D: usize = 40;
    let weights: [[f64; D]; 2] = std::array::from_fn(|k| std::array::from_fn(|i| (1.3 * (i * i + 7 * k) as f64).sin()));
    let toy = Toy::affine(&weights, &[0.0; 2]);
    let step = format!(
        "step (float[N,{D}] x, float[N,{D}] state_w, float[N] state_b) => (float[N,{D}] x_next)
         {{ x_next = flatscape.Hyperplane(x, state_w, state_b) }}"
    );
    // near, far enough that most coordinates stop at the box, and out of reach; a gradient of ordinary size and a tiny one
    for engine in engines() {
        for name in ["linf:1", "l2:1", "l1:1"] {
            let threat = boxed(name);
            let linked = link(&toy, &threat).stage(&program(&step), Point::Fed, false, &[]).expect("it links");
            let stage = Stage::compile(&*engine, &linked).expect("it compiles");
            for (scale, share) in [(1.0, 0.05), (1.0, -0.9), (1e-20, 0.5), (1.0, 0.0), (1.0, 2.0)] {
                let x: Vec<f64> = (0..D).map(|i| 0.5 + 0.45 * (0.7 * i as f64).cos()).collect();
                let w: Vec<f64> = (0..D).map(|i| weights[0][i] * scale).collect();
                let side = f64::signum(share);
                let room: Vec<f64> = w.iter().zip(&x).map(|(w, x)| if side * w > 0.0 { 1.0 - x } else { *x }).collect();
                let reach: f64 = w.iter().zip(&room).map(|(w, r)| w.abs() * r).sum();
                let gap = share * reach;
                let mut values = fed(&toy, &stage, &[("x", x.clone())]);
                let row = |data: &[f64]| Tensor::new(&[1, D], data.iter().map(|&v| v as f32).collect()).expect("a row");
                let level = Tensor::new(&[1], vec![(dot(&w, &x) + gap) as f32]).expect("a number");
                values.put("state_w", stage.upload(&row(&w)).expect("uploaded"));
                values.put("state_b", stage.upload(&level).expect("uploaded"));
                let found = &results(&stage, &values, 1)["x_next"];
                let moves: Vec<f64> = found.iter().zip(&x).map(|(a, b)| a - b).collect();
                let what = format!("{name} {share} on {}", engine.name());
                assert!(found.iter().all(|v| (0.0..=1.0).contains(v)), "{what}: outside the box");
                close(&what, &[dot(&w, &moves) / scale], &[gap.abs().min(reach) * side / scale], 2e-5 * reach / scale);
                let best = least(&threat, &w, &room, gap.abs().min(reach));
                let length =
                    threat.distance(&moves.iter().map(|&v| v as f32).collect::<Vec<_>>().into(), &[0.0; D]).expect("a distance");
                close(&what, &[length], &[best], 1e-4 * best.max(0.1));
            }
        }
    }
}

/// The smallest norm of moves with Σ|w||d| = gap and |d| ≤ room.
fn least(threat: &ThreatModel, w: &[f64], room: &[f64], gap: f64) -> f64 {
    if threat.norm.name == "l1" {
        // a coordinate of weight 0 moves nothing
        let mut order: Vec<usize> = (0..w.len()).filter(|&i| w[i] != 0.0).collect();
        order.sort_by(|&a, &b| w[b].abs().total_cmp(&w[a].abs()));
        let (mut rest, mut spent) = (gap, 0.0);
        for i in order {
            let part = (rest / w[i].abs()).min(room[i]).max(0.0);
            spent += part;
            rest -= part * w[i].abs();
        }
        return spent;
    }
    let step = |level: f64, i: usize| match threat.norm.name {
        "linf" => level.min(room[i]),
        _ => (level * w[i].abs()).min(room[i]),
    };
    let reached = |level: f64| (0..w.len()).map(|i| w[i].abs() * step(level, i)).sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    while reached(high) < gap * (1.0 - 1e-12) && high < 1e60 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if reached(middle) < gap { low = middle } else { high = middle }
    }
    let moves: Vec<f64> = (0..w.len()).map(|i| step(high, i)).collect();
    if threat.norm.name == "linf" { moves.iter().copied().fold(0.0, f64::max) } else { dot(&moves, &moves).sqrt() }
}

/// Under a flow the parameter moves, its gradient goes through the decoding, and `x` is what it decodes to. Under a norm z is x.
#[test]
fn parameters_have_a_gradient_a_step_and_a_ball() {
    let toy = Toy::affine(&W3, &[0.0; 3]);
    let image = [0.1, 0.4, 0.2];
    let step = |p: usize| {
        format!(
            "step (float[N,{p}] z, float[N,{p}] grad_z, float eps, float[N,3] x) => (float[N,{p}] z_next, float[N,{p}] state_g_next, float[N,3] state_x_next)
             {{ s = flatscape.Steepest(grad_z)  two = Add(eps, eps)  d = Mul(s, two)  z_next = Add(z, d)
                state_g_next = Identity(grad_z)  state_x_next = Identity(x) }}"
        )
    };
    for engine in engines() {
        let flow = boxed("flow:0.5px");
        let linked = link(&toy, &flow).stage(&program(&step(6)), Point::Decoded, true, &[]).expect("it links");
        let stage = Stage::compile(&*engine, &linked).expect("it compiles");
        let mut values = fed(&toy, &stage, &[("x0", image.to_vec()), ("y", vec![1.0]), ("eps", vec![0.25])]);
        let still = Tensor::new(&[1, 6], vec![0f32; 6]).expect("a flow");
        values.put("z", stage.upload(&still).expect("uploaded"));
        let found = results(&stage, &values, 1);
        close("x", &found["state_x_next"], &image, 1e-6);
        // ∂x/∂column to the right, and from the left in the last column; an image of one row has no other way
        let p = softmax(&scores(&image));
        let g = back(&W3, &[p[0], p[1] - 1.0, p[2]]);
        let along = [0.3 * g[0], -0.2 * g[1], -0.2 * g[2]];
        close("grad_z", &found["state_g_next"], &[0.0, 0.0, 0.0, along[0], along[1], along[2]], 1e-6);
        let expected: Vec<f64> = along.iter().map(|v| 0.25 * v.signum()).collect();
        close("z_next", &found["z_next"], &[vec![0.0; 3], expected].concat(), 1e-6);

        let linf = boxed("linf:0.5");
        let linked = link(&toy, &linf).stage(&program(&step(3)), Point::Decoded, true, &[]).expect("it links");
        let stage = Stage::compile(&*engine, &linked).expect("it compiles");
        let inputs = [("x0", image.to_vec()), ("x", image.to_vec()), ("y", vec![1.0]), ("eps", vec![0.05])];
        let found = results(&stage, &fed(&toy, &stage, &inputs), 1);
        close("the gradient itself", &found["state_g_next"], &g, 1e-6);
        let expected: Vec<f64> = image.iter().zip(&g).map(|(x, g)| x + 0.05 * g.signum()).collect();
        close("x_next", &found["x_next"], &expected, 1e-6);
    }
    let pixels = "step (float[N,3] x, float[N,3] grad) => (float[N,3] x_next) { x_next = Add(x, grad) }";
    let rigid = boxed("rigid:30deg+3px");
    let refused = link(&toy, &rigid).stage(&program(pixels), Point::Decoded, true, &[]).expect_err("it moves pixels");
    assert_eq!(
        refused.to_string(),
        "the program gives `x_next`, and images are decoded from a parameter under the threat model rigid; \
         it must give `z` and `z_next` instead"
    );
}

/// An objective that names z is differentiated in z as a whole; `ascent_z` is the same, and for cross-entropy it does not vanish.
#[test]
fn an_objective_may_name_the_parameter() {
    let image = [0.1, 0.4, 0.2];
    let words = "step (float[N,6] grad_z, float[N,6] ascent_z) => (float[N,6] state_g_next, float[N,6] state_a_next)
        { state_g_next = Identity(grad_z)  state_a_next = Identity(ascent_z) }";
    let flow = boxed("flow:0.5px");
    // ℓ = z_1 of the model − 2·Σz²
    let objective = program(
        "objective (float[N,3] logits, float[N,6] z) => (float[N] loss) <int64[1] one = {1}, float two = {2}>
        { l = Gather<axis = 1>(logits, one)  s = Squeeze(l, one)  q = Mul(z, z)  t = ReduceSum<keepdims = 0>(q, one)  p = Mul(t, two)  loss = Sub(s, p) }",
    );
    for engine in engines() {
        let found_at = |toy: &Toy, objective: Option<&Graph>, z: Vec<f32>| {
            let linked = Link { objective, ..link(toy, &flow) }.stage(&program(words), Point::Decoded, true, &[]);
            let stage = Stage::compile(&*engine, &linked.expect("it links")).expect("it compiles");
            let mut values = fed(toy, &stage, &[("x0", image.to_vec()), ("y", vec![1.0]), ("eps", vec![0.25])]);
            values.put("z", stage.upload(&Tensor::new(&[1, 6], z).expect("a flow")).expect("uploaded"));
            results(&stage, &values, 1)
        };
        let toy = Toy::affine(&W3, &[0.0; 3]);
        let z = [0.0, 0.0, 0.0, 0.25, 0.25, -0.25];
        let found = found_at(&toy, Some(&objective), z.to_vec());
        // the first two come from the right, the last from the left; the ramp between them as in the image
        let slopes = [0.3, -0.2, -0.2];
        let expected: Vec<f64> =
            (0..6).map(|i| if i < 3 { 0.0 } else { W3[1][i - 3] * slopes[i - 3] - 4.0 * f64::from(z[i]) }).collect();
        close("grad_z", &found["state_g_next"], &expected, 1e-5);
        close("ascent_z", &found["state_a_next"], &expected, 1e-5);
        // a confident model: cross-entropy's gradient underflows, its direction does not
        let sure = Toy::affine(&W3.map(|row| row.map(|w| 4000.0 * w)), &[0.0, 4000.0, 0.0]);
        let found = found_at(&sure, None, vec![0.0; 6]);
        assert!(found["state_g_next"].iter().all(|v| v.abs() < 1e-30), "{:?}", found["state_g_next"]);
        assert!(found["state_a_next"][3..].iter().all(|v| v.abs() > 1.0), "{:?}", found["state_a_next"]);
    }
}

#[test]
fn the_gradient_of_cross_entropy_of_lin_toy_is_as_in_the_formulas() {
    let (toy, threat) = (Toy::lin(), threat("linf:0.1"));
    let step = "step (float[N,3] grad) => (float[N,3] state_g_next) { state_g_next = Identity(grad) }";
    assert_eq!(LIN_TOY.len(), toy.classes);
    for engine in engines() {
        let found = stepped(&*engine, &toy, &link(&toy, &threat), step, &[("x", vec![0.5; 3]), ("y", vec![0.0])]);
        close("∇CE", &found["state_g_next"], &[-0.924_141_82, 2.772_425_46, 2.772_425_46], 1e-5);
    }
}
