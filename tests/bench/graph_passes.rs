//! What the passes over a graph cost as it grows: reading, normal form, reverse pass, simplification and writing, on chains of
//! residual blocks of 1,000, 10,000 and 100,000 nodes. Nothing is run on an engine.
//!
//!     graph-passes [NODES]...
//!
//! Prints a table in Markdown: seconds on the clock, best of five rounds, and the ratio to the row above.

use std::error::Error;
use std::time::Instant;

use flatscape_autodiff::vjp;
use flatscape_graph::normalize::{self, Options};
use flatscape_graph::{Attributes, Builder, DType, Dim, Graph, Tensor, ValueType, onnx, simplify};
use flatscape_intake::functions::cross_entropy;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The passes, in order.
const PASSES: [&str; 5] = ["read", "normalise", "free the batch", "differentiate", "simplify"];

const ROUNDS: usize = 5;

fn main() -> Fallible<()> {
    let given: Vec<usize> = std::env::args().skip(1).map(|n| n.parse()).collect::<Result<_, _>>()?;
    let sizes = if given.is_empty() { vec![1_000, 10_000, 100_000] } else { given };
    println!("| nodes | {} | all | to the row above | nodes with gradient |", PASSES.join(" | "));
    println!("|---:|{}---:|---:|---:|", "---:|".repeat(PASSES.len()));
    let mut above: Option<f64> = None;
    for nodes in sizes {
        let bytes = onnx::write(&chain(nodes));
        let mut best = [f64::INFINITY; PASSES.len()];
        let mut size = 0;
        for _ in 0..ROUNDS {
            let (seconds, after) = passes(&bytes)?;
            size = after;
            best.iter_mut().zip(seconds).for_each(|(b, s)| *b = b.min(s));
        }
        let all: f64 = best.iter().sum();
        let cells: Vec<String> = best.iter().map(|s| format!("{s:.4}")).collect();
        let ratio = above.map_or("".to_owned(), |a| format!("{:.1}", all / a));
        println!("| {nodes} | {} | {all:.4} | {ratio} | {size} |", cells.join(" | "));
        above = Some(all);
    }
    Ok(())
}

/// The seconds of every pass, and how many nodes came out.
fn passes(bytes: &[u8]) -> Fallible<([f64; PASSES.len()], usize)> {
    let mut seconds = [0.0; PASSES.len()];
    let mut clock = Instant::now();
    let mut lap = |pass: usize| {
        let now = Instant::now();
        seconds[pass] = (now - std::mem::replace(&mut clock, now)).as_secs_f64();
    };
    let file = onnx::read(bytes)?;
    lap(0);
    let graph = normalize::normalize(&file.graph, file.opset, &Options::default())?;
    lap(1);
    let input = graph.inputs()[0];
    let graph = normalize::symbolic_batch(&graph, input)?.unwrap_or(graph);
    lap(2);
    let b = Builder::new(graph);
    let (x, logits) = (b.graph().inputs()[0], b.graph().outputs()[0].value);
    let y = b.input("y", ValueType::new(DType::I64, vec![Dim::symbol("N")]));
    let (loss, cotangent) = cross_entropy(&b, b.expr(logits), y);
    let gradient = vjp(&b, logits, cotangent.id, &[x])?[0].ok_or("no gradient")?;
    b.output("loss", loss);
    b.output("gradient", b.expr(gradient));
    lap(3);
    let graph = simplify(&b.into_graph());
    lap(4);
    graph.check()?;
    Ok((seconds, graph.nodes().len()))
}

/// A net of residual blocks with about that many nodes, with the leftovers of an exporter: a batch that it froze, shapes that it
/// computes, batch normalisation, and constants of its own in every block.
fn chain(nodes: usize) -> Graph {
    const CHANNELS: usize = 4;
    let b = Builder::new(Graph::new("chain"));
    let mut x = b.input("x", ValueType::fixed(DType::F32, &[1, CHANNELS, 4, 4]));
    let mut drawn = 0u32;
    let mut weights = |shape: &[usize]| {
        let values = (0..shape.iter().product::<usize>()).map(|_| {
            drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (drawn >> 8) as f32 / (1 << 24) as f32 + 0.1
        });
        let values: Vec<f32> = values.collect();
        b.constant(Tensor::new(shape, values).unwrap_or_else(|| Tensor::full(DType::F32, shape, 1.0)))
    };
    while b.graph().nodes().len() < nodes {
        let convolved = b.op("Conv", &[x, weights(&[CHANNELS, CHANNELS, 1, 1])], Attributes::none());
        let scale = weights(&[CHANNELS]);
        let operands = [convolved, scale, weights(&[CHANNELS]), weights(&[CHANNELS]), weights(&[CHANNELS])];
        let normal = b.op("BatchNormalization", &operands, Attributes::none());
        let gated = normal.sigmoid() * normal;
        let batch = x.unary("Shape").slice(&[0], &[1], &[0], &[1]);
        let flat = b.op("Reshape", &[gated, b.concat(&[batch, b.ints(&[-1])], 0)], Attributes::none());
        x = (flat.reshape(&[1, CHANNELS as i64, 4, 4]) + x).relu();
    }
    b.output("logits", x.reshape(&[1, -1]));
    b.into_graph()
}
