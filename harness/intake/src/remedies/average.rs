//! The mean over draws: attacks on a model with random nodes see eight draws at once (expectation over transformation, Athalye
//! et al. 2018), as the logarithm of the mean probability.

use flatscape_graph::{Builder, Expr, Graph};

use super::{Changes, Remedy};
use crate::hazards::{Reading, drawing};

pub(super) const REMEDY: Remedy = Remedy {
    name: "average",
    summary: "attacks on a model that draws random numbers see the mean probability over 8 draws",
    changes: Changes::Gradient,
    rewrite,
};

/// Draws per gradient.
const DRAWS: usize = 8;

fn rewrite(graph: &Graph) -> Option<(Graph, String)> {
    let reading = Reading::of(graph)?;
    let drawn = drawing(&reading).len();
    if drawn == 0 || graph.rank(reading.logits) != Some(2) {
        return None;
    }
    let (input, output) = (graph.value(reading.input), &graph.outputs()[0]);
    let b = Builder::new(Graph::new(&graph.name));
    let x = b.input(&input.name, input.ty.clone());
    // every copy has nodes of its own, and nodes that draw are never shared
    let copy = |_| b.inline(graph, &|_, _| Some(x.id)).ok()?.first().map(|(_, z)| b.expr(*z).log_softmax(1));
    let copies: Vec<Expr<'_>> = (0..DRAWS).map(copy).collect::<Option<_>>()?;
    // ln mean p = m + ln Σ exp(ln p − m) − ln k
    let m = copies[1..].iter().fold(copies[0], |m, z| m.max(*z));
    let sum = copies.iter().map(|z| (*z - m).exp()).reduce(|a, b| a + b)?;
    b.output(&output.name, m + sum.log() - (DRAWS as f64).ln());
    Some((b.into_graph(), format!("attacks see the mean probability over {DRAWS} draws of {drawn} random nodes")))
}
