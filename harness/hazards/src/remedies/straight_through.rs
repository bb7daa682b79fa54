//! Straight through: where the derivative is zero almost everywhere, attacks take the derivative of a smooth function instead (BPDA, Athalye
//! et al. 2018). The values of the graph stay what they are.

use std::collections::HashMap;

use flatscape_graph::Graph;

use super::{Changes, Remedy, listed};
use crate::hazards::Reading;
use crate::smooth::{marked, subjects};

pub(super) const REMEDY: Remedy = Remedy {
    name: "straight-through",
    summary: "attacks differentiate rounding, signs, thresholds, argmax, k-winners and what clips pixels as smooth functions",
    changes: Changes::Gradient,
    rewrite,
};

fn rewrite(graph: &Graph) -> Option<(Graph, String)> {
    let reading = Reading::of(graph)?;
    let smooth: HashMap<_, _> = subjects(&reading).into_iter().map(|subject| (subject.y, subject.smooth)).collect();
    let (new, changed) = marked(graph, &smooth)?;
    let what = format!("attacks differentiate {} as a smooth function", listed(&changed));
    Some((new, what))
}
