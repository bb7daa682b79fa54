//! The mean over draws: attacks on a model with random nodes see eight draws at once (expectation over transformation, Athalye
//! et al. 2018), as the logarithm of the mean probability.

use flatscape_graph::Graph;

use super::{Changes, Remedy};
use crate::drawn::averaged;
use crate::hazards::{Reading, drawing};

pub(super) const REMEDY: Remedy = Remedy {
    name: "average",
    summary: "attacks on a model that draws random numbers see the mean probability over 8 draws",
    changes: Changes::Gradient,
    rewrite,
};

/// Draws per gradient.
pub(super) const DRAWS: usize = 8;

fn rewrite(graph: &Graph) -> Option<(Graph, String)> {
    let reading = Reading::of(graph)?;
    let drawn = drawing(&reading).len();
    graph.rank(reading.logits).filter(|rank| *rank == 2)?;
    Some((averaged(graph, DRAWS)?, format!("attacks see the mean probability over {DRAWS} draws of {drawn} random nodes")))
}
