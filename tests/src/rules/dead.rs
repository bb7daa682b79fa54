//! Cotangents that are infinite or NaN in a dead branch, and roots and norms at 0, against closed forms: what does not reach the
//! result has the gradient 0, to the first and to the second order.

use flatscape_autodiff::vjp;
use flatscape_engine::CompileOptions;
use flatscape_graph::{Builder, Tensor, simplify, text};

use super::engines;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// The operators between x float[1,4] and y, the values of x, the cotangent of y, and the gradient.
type Case = (&'static str, [f64; 4], &'static [f64], [f64; 4]);

const CASES: &[Case] = &[
    ("y = Relu (x)", [-1.0, 0.0, 1.0, 2.0], &[INF, NAN, 3.0, INF], [0.0, 0.0, 3.0, INF]),
    ("y = Abs (x)", [-1.0, 0.0, 0.0, 2.0], &[3.0, INF, NAN, 5.0], [-3.0, 0.0, 0.0, 5.0]),
    ("y = Sqrt (x)", [0.0, 0.0, 4.0, 1.0], &[1.0, INF, 8.0, 1.0], [0.0, 0.0, 2.0, 0.5]),
    ("y = Pow (x, half)", [0.0, 0.0, 4.0, 1.0], &[1.0, INF, 8.0, 1.0], [0.0, 0.0, 2.0, 0.5]),
    ("y = Pow (x, third)", [0.0, 0.0, 1.0, 1.0], &[1.0, INF, 3.0, 6.0], [0.0, 0.0, 0.9375, 1.875]),
    ("y = ThresholdedRelu <alpha = 0.5> (x)", [0.25, 0.5, 1.0, 2.0], &[INF, NAN, 3.0, 4.0], [0.0, 0.0, 3.0, 4.0]),
    ("y = Shrink <lambd = 0.5> (x)", [0.25, -0.25, 1.0, -2.0], &[INF, NAN, 3.0, 4.0], [0.0, 0.0, 3.0, 4.0]),
    ("y = HardSigmoid <alpha = 0.25> (x)", [-9.0, 9.0, 0.0, 1.0], &[INF, NAN, 4.0, 8.0], [0.0, 0.0, 1.0, 2.0]),
    ("y = HardSwish (x)", [-9.0, -4.0, 4.0, 9.0], &[INF, NAN, 4.0, 8.0], [0.0, 0.0, 4.0, 8.0]),
    ("y = Clip (x, low, high)", [-9.0, 9.0, 0.0, 0.25], &[INF, NAN, 4.0, 8.0], [0.0, 0.0, 4.0, 8.0]),
    ("y = Max (high, x)", [-9.0, 0.0, 2.0, 3.0], &[INF, NAN, 4.0, 8.0], [0.0, 0.0, 4.0, 8.0]),
    ("y = Min (low, x)", [9.0, 0.0, -2.0, -3.0], &[INF, NAN, 4.0, 8.0], [0.0, 0.0, 4.0, 8.0]),
    ("y = ReduceMax (x, axis)", [1.0, 2.0, 3.0, 4.0], &[INF], [0.0, 0.0, 0.0, INF]),
    ("y = ReduceMin (x, axis)", [1.0, 2.0, 3.0, 4.0], &[INF], [INF, 0.0, 0.0, 0.0]),
    ("y = ReduceL1 (x, axis)", [0.0, 2.0, -3.0, 0.0], &[INF], [0.0, INF, -INF, 0.0]),
    ("y = ReduceL2 (x, axis)", [0.0; 4], &[INF], [0.0; 4]),
    ("y = ReduceL2 (x, axis)", [3e-15, 4e-15, 0.0, 0.0], &[1.0], [0.6, 0.8, 0.0, 0.0]),
];

fn graph(operators: &str, width: usize) -> String {
    format!(
        "dead (float[1,4] x, float[1,{width}] ct) => (float[1,{width}] y) <float half = {{0.5}}, float third = {{0.3125}}, \
         float low = {{-0.5}}, float high = {{0.5}}, int64[1] axis = {{1}}> {{ {operators} }}"
    )
}

/// The gradient of ⟨ct, y⟩, and the product of its Jacobian with ones.
fn derivatives(operators: &str, x: [f64; 4], ct: &[f64]) -> Vec<[Vec<f64>; 2]> {
    let parsed = text::parse(&graph(operators, ct.len())).expect(operators);
    let (y, inputs) = (parsed.outputs()[0].value, parsed.inputs().to_vec());
    let b = Builder::new(parsed);
    let first = vjp(&b, y, inputs[1], &[inputs[0]]).expect(operators)[0].expect("x reaches y");
    let ones = b.expr(first).scalar(1.0).expand_like(b.expr(first));
    let second = vjp(&b, first, ones.id, &[inputs[0]]).expect(operators)[0];
    b.output("first", b.expr(first));
    // a gradient that does not depend on x has the derivative 0
    let second = second.map_or_else(|| b.expr(inputs[0]) * 0.0, |id| b.expr(id));
    b.output("second", second);
    let graph = simplify(&b.into_graph());
    let tensor = |values: &[f64]| Tensor::new(&[1, values.len()], values.iter().map(|&v| v as f32).collect()).expect("values");
    let of = |engine: &std::sync::Arc<dyn flatscape_engine::Engine>| {
        let executable = engine.compile(&graph, &CompileOptions::default()).expect(operators);
        let inputs = [tensor(&x), tensor(ct)].map(|t| executable.upload(&t).expect("an upload"));
        let outputs = executable.run(&[&inputs[0], &inputs[1]]).expect(operators);
        [1, 2].map(|at| outputs[at].host().expect("a result").to_f64())
    };
    engines().iter().map(of).collect()
}

#[test]
fn what_is_dead_has_the_gradient_0() {
    for &(operators, x, ct, expected) in CASES {
        for [found, _] in derivatives(operators, x, ct) {
            let near = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-6 * b.abs();
            assert!(found.iter().zip(expected).all(|(&a, b)| near(a, b)), "{operators} at {x:?}, {ct:?}: {found:?}");
        }
    }
}

/// With finite cotangents the second order is finite, too: nothing in a dead branch is 0·∞.
#[test]
fn the_second_order_is_finite() {
    for &(operators, x, ct, _) in CASES {
        let finite: Vec<f64> = ct.iter().map(|v| if v.is_finite() { *v } else { 1.0 }).collect();
        for [_, found] in derivatives(operators, x, &finite) {
            assert!(found.iter().all(|v| v.is_finite()), "{operators} at {x:?}: {found:?}");
        }
    }
}
