//! Updates against closed forms.

use flatscape_graph::{DType, Tensor, ValueType};

use super::{named, parsed, run};
use crate::update::instantiate;

/// g ← g + wd·θ, v ← μv + g, θ ← θ − lr·v.
const SGD: &str = "update (float[] param, float[] dparam, float lr, float[] state_v, float arg_momentum, float arg_decay) => (float[] param_next, float[] state_v_next)
    { w = Mul(param, arg_decay)  g = Add(dparam, w)  m = Mul(state_v, arg_momentum)  state_v_next = Add(m, g)  s = Mul(state_v_next, lr)  param_next = Sub(param, s) }";

#[test]
fn three_steps_of_sgd_have_their_closed_form() {
    let graph = parsed(SGD);
    let types = [ValueType::fixed(DType::F32, &[]), ValueType::fixed(DType::F32, &[2, 3])];
    let arguments = [("momentum".to_owned(), 0.9), ("decay".to_owned(), 0.01)];
    let made = instantiate(("update", "param_next"), &graph, &types, &arguments, Some(0.5)).expect("it fits");
    assert_eq!(made.states.len(), 2);
    assert_eq!(made.states[1].shape, [2, 3]);
    let mut values: Vec<(String, Tensor)> = Vec::new();
    for (i, shape) in [vec![], vec![2, 3]].iter().enumerate() {
        values.push((format!("param_{i}"), Tensor::full(DType::F32, shape, 1.0)));
        values.push((format!("dparam_{i}"), Tensor::full(DType::F32, shape, 1.0)));
        values.push((format!("state_v_{i}"), Tensor::full(DType::F32, shape, 0.0)));
        values.push((format!("average_{i}"), Tensor::full(DType::F32, shape, 1.0)));
    }
    values.push(("lr".to_owned(), Tensor::scalar(0.1f32)));
    for _ in 0..3 {
        let fed: Vec<(&str, Tensor)> = values.iter().map(|(name, t)| (name.as_str(), t.clone())).collect();
        let results = run(&made.graph, &fed);
        assert!((named(&results, "dparam_norm").to_f64()[0] - 7f64.sqrt()).abs() < 1e-6);
        for (name, value) in &mut values {
            if let Some((_, next)) = results.iter().find(|(known, _)| *known == format!("{name}_next")) {
                *value = next.clone();
            }
        }
    }
    for (name, value) in values.iter().filter(|(name, _)| name.starts_with("param")) {
        for v in value.to_f64() {
            assert!((v - 0.433874699).abs() < 1e-6, "{name}: {v}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let types = [ValueType::fixed(DType::F32, &[3])];
    let refused =
        |words: &str| instantiate(("update", "param_next"), &parsed(words), &types, &[], None).expect_err("refused").to_string();
    let unknown = refused("update (float[3] param, float beta) => (float[3] param_next) { param_next = Mul(param, beta) }");
    assert!(unknown.contains("`beta`"), "{unknown}");
    let none = refused("update (float[3] param) => (float[3] moved) { moved = Neg(param) }");
    assert!(none.contains("does not give `param_next`"), "{none}");
    let shape = refused(
        "update (float[3] param) => (float[1] param_next) <int64[1] a = {0}> { param_next = ReduceSum<keepdims = 1>(param, a) }",
    );
    assert!(shape.contains("float[1]") && shape.contains("float[3]"), "{shape}");
}
