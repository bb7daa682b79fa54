//! Normalisation of pixels inside the file, and whose numbers they are.

use super::reading::Reading;
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "baked-normalisation",
        unreliable: false,
        raised_if: "the pixels are shifted or multiplied by constants before the first layer with weights, and the clean accuracy is \
                    below 50 % or another preprocessing is significantly better; otherwise it is a note",
        explanation: "The file normalises by itself. Pixels that were normalised before would be normalised twice, and the \
                      clean accuracy would drop.",
        advice: "Give no --mean and --std for this file, and --scale 255 only if its constants are for pixels in 0..255.",
    },
    remedies: &[],
    find,
};

/// Means and deviations by whom they belong to, for pixels in [0,1]. Also what preprocessing is most often forgotten.
pub const KNOWN: &[(&str, &[f64], &[f64])] = &[
    ("ImageNet", &[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
    ("CIFAR-10", &[0.4914, 0.4822, 0.4465], &[0.2471, 0.2435, 0.2616]),
    ("CIFAR-10 (per-image deviations)", &[0.4914, 0.4822, 0.4465], &[0.2023, 0.1994, 0.201]),
    ("CIFAR-100", &[0.5071, 0.4867, 0.4408], &[0.2675, 0.2565, 0.2761]),
    ("CLIP", &[0.4815, 0.4578, 0.4082], &[0.2686, 0.2613, 0.2758]),
    ("MNIST", &[0.1307], &[0.3081]),
    ("Fashion-MNIST", &[0.286], &[0.353]),
    ("[-1, 1]", &[0.5], &[0.5]),
];

fn find(reading: &Reading) -> Option<Cause> {
    let (scale, shift, nodes) = affine(reading);
    let channels = scale.len().max(shift.len());
    let at = |list: &[f64], i: usize| list[if list.len() == 1 { 0 } else { i }];
    let pairs: Vec<(f64, f64)> = (0..channels).map(|i| (at(&scale, i), at(&shift, i))).collect();
    if nodes.is_empty() || pairs.iter().all(|&(a, b)| a == 1.0 && b == 0.0) || pairs.iter().any(|&(a, _)| a == 0.0) {
        return None;
    }
    // a·x + b = (x − mean)/std
    let mean: Vec<f64> = pairs.iter().map(|(a, b)| -b / a).collect();
    let std: Vec<f64> = pairs.iter().map(|(a, _)| 1.0 / a).collect();
    let whose = [(1.0, "in 0..1"), (255.0, "in 0..255")].iter().find_map(|(unit, range)| {
        let close = |found: &[f64], known: &[f64]| {
            found.iter().enumerate().all(|(i, f)| (f / unit - at(known, if known.len() == 1 { 0 } else { i % 3 })).abs() < 6e-4)
        };
        let name = KNOWN.iter().find(|(_, m, s)| (m.len() == 1 || m.len() == channels) && close(&mean, m) && close(&std, s))?;
        Some(format!(": the numbers of {} for pixels {range}", name.0))
    });
    let list = |values: &[f64]| {
        let same = values.iter().all(|v| (v - values[0]).abs() < 1e-9);
        let shown: Vec<String> = values.iter().take(if same { 1 } else { 4 }).map(|v| format!("{v:.4}")).collect();
        shown.join(",")
    };
    let whose = whose.unwrap_or_default();
    Some(Cause { what: format!("the file takes (x − {})/{} of its input{whose}", list(&mean), list(&std)), nodes })
}

/// What happens to every pixel before anything else, as a·x + b per channel (or one for all), and the nodes that do it.
fn affine(reading: &Reading) -> (Vec<f64>, Vec<f64>, Vec<String>) {
    let (mut scale, mut shift, mut nodes) = (vec![1.0], vec![0.0], Vec::new());
    let mut value = reading.input;
    while let Some(node) = reading.only_reader(value) {
        let is_first = node.input(0) == Some(value);
        let constant = node.input(usize::from(is_first)).and_then(|v| reading.graph.constant(v)).map(|t| t.to_f64());
        let few = constant.filter(|c| !c.is_empty() && c.len() <= 4);
        let (a, b) = match (&*node.op, few) {
            ("Identity" | "Cast" | "Transpose" | "Reshape" | "Squeeze" | "Unsqueeze", _) => (vec![1.0], vec![0.0]),
            ("Mul", Some(c)) => (c, vec![0.0]),
            ("Div", Some(c)) if is_first => (c.iter().map(|c| 1.0 / c).collect(), vec![0.0]),
            ("Add", Some(c)) => (vec![1.0], c),
            ("Sub", Some(c)) if is_first => (vec![1.0], c.iter().map(|c| -c).collect()),
            ("Sub", Some(c)) => (vec![-1.0], c),
            // scaling before rounding belongs to a quantiser
            ("Round" | "Floor" | "Ceil" | "QuantizeLinear", _) => return (vec![1.0], vec![0.0], Vec::new()),
            _ => break,
        };
        if !matches!(&*node.op, "Identity" | "Cast" | "Transpose" | "Reshape" | "Squeeze" | "Unsqueeze") {
            nodes.push(node.describe());
        }
        scale = join(&scale, &a, |s, a| s * a);
        shift = join(&join(&shift, &a, |s, a| s * a), &b, |s, b| s + b);
        let Some(next) = node.output(0) else { break };
        value = next;
    }
    (scale, shift, nodes)
}

fn join(left: &[f64], right: &[f64], with: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let at = |list: &[f64], i: usize| list[if list.len() == 1 { 0 } else { i.min(list.len() - 1) }];
    (0..left.len().max(right.len())).map(|i| with(at(left, i), at(right, i))).collect()
}
