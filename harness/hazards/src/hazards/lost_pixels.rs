//! Pixels that the model throws away before its first layer with weights.

use flatscape_graph::{Node, ValueId};

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "lost-pixels",
        unreliable: false,
        raised_if: "the images are cropped, pooled or sampled sparsely before the first layer with weights",
        explanation: "Some pixels do not count or only as a mean: perturbations there do nothing, and a radius in L2 or L1 \
                      over all pixels is spent on pixels that the model does not read.",
        advice: "State the radius for the image that the model reads, or export the model behind this step.",
    },
    remedies: &[],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let front = reading.front().filter(|n| crops(reading, n) || pools(n));
    // a pixel that one layer skips may be read by another
    let skipping: Vec<&Node> = reading.first_layers().filter(|n| skips(reading, n)).collect();
    let alone = |x: ValueId| reading.readers(x) == skipping.iter().filter(|n| n.input(0) == Some(x)).count();
    let layers = skipping.iter().copied().filter(|n| n.input(0).is_some_and(alone));
    cause(front.chain(layers), "before the images are looked at whole")
}

/// A slice or negative padding of rows or columns, unless other slices of the same value hold the rest.
fn crops(reading: &Reading, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let ints = |operand: usize| node.input(operand).and_then(|v| reading.graph.constant(v)).and_then(|t| t.to_ints());
    let smaller = || {
        let extents = |v| reading.graph.shape(v).map(|s| s.iter().skip(1).map(|d| d.fixed()).collect::<Vec<_>>());
        let (before, after) = (extents(x), node.output(0).and_then(extents));
        before.zip(after).is_some_and(|(a, b)| a.len() == b.len() && a.iter().zip(&b).any(|(a, b)| a > b && b.is_some()))
    };
    match &*node.op {
        "Slice" => reading.readers(x) == 1 && smaller(),
        "Pad" => ints(1).is_some_and(|pads| pads.iter().any(|&p| p < 0)),
        _ => false,
    }
}

fn pools(node: &Node) -> bool {
    let strides = node.attributes.ints("strides").is_some_and(|s| s.iter().any(|&s| s > 1));
    matches!(&*node.op, "AveragePool" | "MaxPool" | "LpPool") && strides || node.op.starts_with("Global")
}

/// A convolution whose stride exceeds its kernel.
fn skips(reading: &Reading, node: &Node) -> bool {
    let Some(weights) = node.input(1).and_then(|w| reading.graph.shape(w)).filter(|_| &*node.op == "Conv") else { return false };
    let strides = node.attributes.ints("strides").unwrap_or_default();
    let kernel = weights.iter().skip(2).map(|d| d.fixed().unwrap_or(usize::MAX));
    strides.iter().zip(kernel).any(|(&stride, kernel)| usize::try_from(stride).is_ok_and(|s| s > kernel))
}
