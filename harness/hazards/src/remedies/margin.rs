//! Margin instead of cross-entropy: `max_{j≠y} z_j − z_y`, whose gradient does not fade however sure the model is (Carlini and
//! Wagner 2017).

use flatscape_graph::{Graph, text};

use super::{Changes, Remedy};

pub(super) const REMEDY: Remedy = Remedy {
    name: "margin",
    summary: "attacks ascend the margin between logits instead of cross-entropy, which is zero in float32 once the model is sure",
    changes: Changes::Loss,
    // the loss is linked in, the model stays
    rewrite: |_| None,
};

/// The objective as a program graph: away from the label, or towards the target.
pub fn objective(targeted: bool) -> Graph {
    let program = if targeted {
        "objective (float[N,K] logits, int64[N] target) => (float[N] loss) { m = flatscape.Margin(logits, target)  loss = Neg(m) }"
    } else {
        "objective (float[N,K] logits, int64[N] y) => (float[N] loss) { loss = flatscape.Margin(logits, y) }"
    };
    text::parse(program).unwrap_or_default()
}
