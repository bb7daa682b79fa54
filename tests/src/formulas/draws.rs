//! Expectation over draws in closed form: the mean loss, its gradient and its ascent, the loss of the mean probability, and what
//! AutoAttack's code has (formulas.md, C19).

use flatscape_engine::CompileOptions;
use flatscape_graph::{DType, Tensor, text};
use flatscape_intake::drawn::{Expectation, Mean, expected};
use flatscape_intake::remedies::objective;
use flatscape_measure::link::{Link, Point};
use flatscape_measure::threats::ThreatModel;

use crate::provision::tract;

/// The draws: two numbers for each of the two scores.
const NOISE: [[f64; 2]; 3] = [[0.5, -1.0], [-2.0, 0.25], [1.5, 1.0]];
const X: [f64; 2] = [0.3, 0.9];
/// The label.
const Y: usize = 1;

/// What is linked to z = x + n over three draws: logits, loss, gradient, ascent.
fn linked(of: Mean, by_margin: bool) -> [Vec<f64>; 4] {
    let net = text::parse("net (float[N,1,1,2] x) => (float[N,2] z) { f = Flatten(x)  n = RandomNormalLike(f)  z = Add(f, n) }");
    let graph = expected(&net.expect("a graph"), Expectation { draws: NOISE.len(), of }).expect("draws");
    let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model").on([1, 1, 2]);
    let margin = by_margin.then(|| objective(false));
    let link = Link { objective: margin.as_ref(), ..Link::of(&graph, &threat) };
    let linked = link.forward(Point::Fed, &["logits", "loss", "grad", "ascent"]).expect("linked");
    // a gradient and an ascent, which are one where there is an objective
    assert_eq!((linked.forwards, linked.backwards), (3, if by_margin { 3 } else { 6 }));
    let engine = tract();
    let executable = engine.compile(&linked.graph, &CompileOptions::default()).expect("compiled");
    let fed = linked.graph.inputs().iter().map(|&id| {
        let name = &*linked.graph.value(id).name;
        let floats =
            |values: [f64; 2], shape: &[usize]| Tensor::new(shape, values.map(|v| v as f32).to_vec()).expect("two numbers");
        match name {
            "x" => floats(X, &[1, 1, 1, 2]),
            "y" => Tensor::ints(&[Y as i64]),
            _ => {
                let k: usize = name.rsplit('x').next().and_then(|k| k.parse().ok()).unwrap_or_else(|| panic!("{name}"));
                assert_eq!(linked.graph.dtype(id), Some(DType::F32));
                floats(NOISE[k], &[1, 2])
            }
        }
    });
    let buffers: Vec<_> = fed.map(|tensor| executable.upload(&tensor).expect("uploaded")).collect();
    let outputs = executable.run(&buffers.iter().collect::<Vec<_>>()).expect("run");
    let named = |name: &str| {
        let place = linked.graph.outputs().iter().position(|o| &*o.name == name).unwrap_or_else(|| panic!("{name}"));
        outputs[place].host().expect("on the host").to_f64()
    };
    ["logits", "loss", "grad", "ascent"].map(named)
}

fn probabilities() -> Vec<[f64; 2]> {
    let of = |n: &[f64; 2]| {
        let z = [X[0] + n[0], X[1] + n[1]];
        let sum = z[0].exp() + z[1].exp();
        z.map(|z| z.exp() / sum)
    };
    NOISE.iter().map(of).collect()
}

fn close(found: &[f64], expected: &[f64], what: &str) {
    assert!(found.len() == expected.len(), "{what}: {found:?} {expected:?}");
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{what}: {found:?} is not {expected:?}");
}

/// Whether two directions are the same.
fn parallel(a: &[f64], b: &[f64]) -> bool {
    let (dot, na, nb) = a.iter().zip(b).fold((0.0, 0.0, 0.0), |(d, x, y), (a, b)| (d + a * b, x + a * a, y + b * b));
    (dot / f64::sqrt(na * nb) - 1.0).abs() < 1e-5
}

#[test]
fn expectations_over_draws_have_their_closed_forms() {
    let p = probabilities();
    let mean = |of: &dyn Fn(&[f64; 2]) -> f64| p.iter().map(of).sum::<f64>() / p.len() as f64;
    let gradient = [mean(&|p| p[0]), mean(&|p| p[1] - 1.0)];
    let (mean_loss, of_mean) = (mean(&|p| -p[Y].ln()), -mean(&|p| p[Y]).ln());
    assert!(mean_loss > of_mean, "Jensen");
    let log_mean = [mean(&|p| p[0]).ln(), mean(&|p| p[1]).ln()];

    let [logits, loss, grad, ascent] = linked(Mean::Losses, false);
    close(&logits, &log_mean, "logits of the mean probability");
    close(&loss, &[mean_loss], "mean loss");
    close(&grad, &gradient, "gradient of the mean loss");
    assert!(parallel(&ascent, &gradient), "{ascent:?} {gradient:?}");

    let last = [X[0] + NOISE[2][0], X[1] + NOISE[2][1]];
    let [logits, loss, grad, ascent] = linked(Mean::Gradients, false);
    close(&logits, &last, "scores of the last draw");
    close(&loss, &[-p[2][Y].ln()], "loss of the last draw");
    close(&grad, &gradient, "mean gradient");
    assert!(parallel(&ascent, &gradient), "{ascent:?} {gradient:?}");

    // margins: z_0 - z_1 of each draw
    let margins: Vec<f64> = NOISE.iter().map(|n| X[0] + n[0] - X[1] - n[1]).collect();
    let [_, loss, grad, _] = linked(Mean::Losses, true);
    close(&loss, &[margins.iter().sum::<f64>() / 3.0], "mean margin");
    close(&grad, &[1.0, -1.0], "gradient of the mean margin");
}
