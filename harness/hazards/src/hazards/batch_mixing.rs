//! Operators that join the images of a batch.

use flatscape_graph::Node;

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "batch-mixing",
        unreliable: true,
        raised_if: "a reduction, a softmax or the like runs along the axis that counts the images",
        explanation: "The logits of one image depend on the others in its batch: an attack on one image moves the others, and \
                      no verdict on a single image exists.",
        advice: "Normalise every image by its own statistics, or export the model for one image at a time.",
    },
    remedies: &[],
    find,
};

/// Operators that join entries along one axis, and the axis that they take by themselves.
const ALONG: &[(&str, i64)] =
    &[("ArgMax", 0), ("ArgMin", 0), ("Softmax", -1), ("LogSoftmax", -1), ("Hardmax", -1), ("LpNormalization", -1), ("TopK", -1)];

fn find(reading: &Reading) -> Option<Cause> {
    cause(reading.between().filter(|n| mixes(reading, n)), "along the axis that counts the images")
}

fn mixes(reading: &Reading, node: &Node) -> bool {
    let Some(x) = node.input(0).filter(|&x| reading.carries(x)) else { return false };
    let rank = reading.graph.rank(x).unwrap_or(0) as i64;
    let listed = |operand: usize| node.input(operand).and_then(|v| reading.graph.constant(v)).and_then(|t| t.to_ints());
    let all: Vec<i64> = (0..rank).collect();
    let axes = match &*node.op {
        op if op.starts_with("Reduce") => listed(1).filter(|axes| !axes.is_empty()).unwrap_or(all),
        "CumSum" => listed(1).unwrap_or_default(),
        "MeanVarianceNormalization" => node.attributes.ints("axes").map_or_else(|| vec![0, 2, 3], <[i64]>::to_vec),
        // one scale for the whole tensor
        "DynamicQuantizeLinear" => all,
        op => match ALONG.iter().find(|(name, _)| *name == op) {
            Some((_, default)) => vec![node.attributes.int("axis", *default)],
            None => return false,
        },
    };
    axes.iter().any(|&a| usize::try_from(if a < 0 { a + rank } else { a }).is_ok_and(|a| reading.counts_images(x, a)))
}
