//! The number of images in a batch as a number of the calculation.

use flatscape_graph::Node;

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "batch-size",
        unreliable: true,
        raised_if: "the number of images in the batch reaches the logits as a number, and not only as an extent",
        explanation: "The model can tell how many images it is asked about, and may answer otherwise where it is attacked: attacks and verification run in batches of \
                      other sizes than a deployment.",
        advice: "Export the model without the size of the batch in it, or for one image at a time.",
    },
    remedies: &[],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let follows = flatscape_graph::follow_the_batch(reading.graph, &|value, axis| reading.counts_images(value, axis));
    let counts = |node: &&Node| {
        matches!(&*node.op, "Shape" | "Size") && node.outputs.iter().flatten().any(|&output| follows[output.0 as usize])
    };
    // the nodes that make a number of it, for the words
    let first: Vec<&Node> = reading.needed().filter(counts).collect();
    let reaches = follows[reading.logits.0 as usize];
    if reaches { cause(first, "gives the number of images in the batch, and the logits depend on it") } else { None }
}
