//! Forms of operators that are fast on an engine. Every lowering keeps the meaning of the graph; which one is used is decided by
//! what the graph contains (operators, constants, extents), never by names.

mod beside;
mod chwn;
mod correlations;
mod flipped;
mod formulas;
mod gates;
mod phases;
mod pools;
mod transposed;
mod winograd;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use flatscape_graph::{Graph, Node, ValueId, ValueType};

use crate::CompileOptions;
pub(crate) use formulas::OPERANDS;

/// The domain of the operators that this crate brings along, for ONNX Runtime on the CPU and for tract. Files never contain them.
pub(crate) const DOMAIN: &str = "flatscape.engine";
/// `PoolGradient(x, ȳ)`, attributes of `MaxPool` and `positive`: whether only maxima above 0 pass.
pub(crate) const POOL_GRADIENT: &str = "PoolGradient";
/// `Interleave(a, b, c, d)`, attribute `extent`: four phases of an image.
pub(crate) const INTERLEAVE: &str = "Interleave";
/// `Correlation(x, ȳ)`, attributes of the convolution.
pub(crate) const CORRELATION: &str = "Correlation";
/// `Gate(x, v)`: v where x is positive, else 0.
pub(crate) const GATE: &str = "Gate";
/// `Formula(a, …)`, attributes `operands`, `like`, `steps` and `total`: operations on single elements, and a reduction of axes.
pub(crate) const FORMULA: &str = "Formula";
/// `Chwn(x, W, bias, sum, gate, ȳ)`, attributes of the convolution, `extents`, `adjoint`, `relu`, `positive` and `give`.
pub(crate) const CHWN: &str = "Chwn";
/// `Winograd(x, W, bias, sum, gate)`, attributes `pads`, `square`, `relu` and `adjoint`.
pub(crate) const WINOGRAD: &str = "Winograd";

/// One rewriting of a graph for some engines.
pub struct Lowering {
    /// Its name: the file that holds it.
    pub name: &'static str,
    /// The engines that it is for (`ort`, `cuda`, `tract`).
    pub engines: &'static [&'static str],
    /// When it applies and what it makes.
    pub summary: &'static str,
    /// What was measured.
    pub evidence: &'static str,
    /// How it rewrites a graph.
    pub apply: Apply,
}

/// A rewriting.
pub enum Apply {
    /// For one of the engines. What is computed keeps the precision of the operators that it stands for.
    Always(fn(&Graph, &str) -> Graph),
    /// For batches of a number of rows, where the caller states it: sums may be taken in another way, with another rounding.
    Special(fn(&Graph, &str, usize) -> Graph),
}

/// Every lowering, in the order in which they are applied.
///
/// Measured with ONNX Runtime 1.31 on AVX-512 and not here, because it gains a percent or nothing: `x > 0` by steep `HardSigmoid`s,
/// which keep the blocked layout; a first layer's gradient with 2×2 pixels as channels (5 to 35 % slower than `ConvTranspose`); the loss
/// of the scores, its cotangent and the test of success as one operator (5 % of a gradient step of a LeNet at batch 1, up to 8 % of PGD
/// on nets of two layers).
/// On tract, what is not computed in squares or for many images at a time keeps `ConvTranspose`: in its own form, flipped kernels made
/// the 64-64-128-128 net 1.3 times slower, a LeNet 1.9 times, and a ResNet-18 4 % faster.
pub const LOWERINGS: &[Lowering] = &[
    Lowering {
        name: "pools",
        engines: &["ort", "tract"],
        summary: "the gradient of MaxPool (indices and ScatterElements): one operator of our own, ReLU included",
        evidence: "on ONNX Runtime 18 % of a gradient step of the 64-64-128-128 net, 45 % of a LeNet; on tract 6 % of a Φ job of digits-standard",
        apply: Apply::Always(pools::apply),
    },
    Lowering {
        name: "gates",
        engines: &["ort", "tract"],
        summary: "Where(x > 0, v, 0), the gradient of a ReLU: one operator of our own",
        evidence: "on tract Where and Greater took 22 % of a Φ job of digits-standard, this takes 0.5 %; on ONNX Runtime it was not measured alone",
        apply: Apply::Always(gates::apply),
    },
    Lowering {
        name: "correlations",
        engines: &["ort", "tract"],
        summary: "the gradient of Conv by its kernel (a Conv by ȳ, batch and channels exchanged): one operator of our own",
        evidence: "with `flipped` on computed kernels, processor time of a training step on AVX2: LeNet 24 %, with a Jacobian term 24 %, AMSReg 30 %, ResNet-18 at batch 32 46 % less; on tract not measured alone",
        apply: Apply::Always(correlations::apply),
    },
    Lowering {
        name: "winograd",
        engines: &["ort", "tract"],
        summary: "Conv of 3×3 taps and stride 1, 16 channels or more: F(2×2, 3×3) or F(4×4, 3×3), with the bias, Add, Relu or Gate behind it; Correlation of such taps: the adjoint in the taps",
        evidence: "two cores with AVX-512, medians, against the plain form: a gradient step of a ResNet-18 at batch 16 takes 86 in place of 173 ms, at 64 342 in place of 666; of the 64-64-128-128 net 12.2 in place of 18.4 and 48.5 in place of 73.8; on tract, with the other special forms, of the ResNet-18 at 64 496 in place of 1441, of the other net 61 in place of 172",
        apply: Apply::Special(winograd::apply),
    },
    Lowering {
        name: "chwn",
        engines: &["ort", "tract"],
        summary: "Conv and ConvTranspose of at most 16 channels and fewer than 16 results (tract: 32 and 32): a register holds a pixel of many images, with the bias, Add, Relu, Gate or MaxPool behind it and the gradient of MaxPool before it",
        evidence: "two cores with AVX-512 (Zen 4), medians of 960 steps in turn with the plain form: a gradient step of a LeNet at batch 64 takes 0.90 in place of 1.17 ms, at 16 0.32 in place of 0.36; on tract 1.0 in place of 2.3 at 64",
        apply: Apply::Special(chwn::apply),
    },
    Lowering {
        name: "flipped",
        engines: &["ort", "cuda"],
        summary: "ConvTranspose, stride 1, 16 channels or more on both sides: Conv with kernels flipped and swapped",
        evidence: "7 % of a gradient step of a ResNet-18 and 9 % of the 64-64-128-128 net at batch 16",
        apply: Apply::Always(flipped::apply),
    },
    Lowering {
        name: "phases",
        engines: &["ort", "cuda"],
        summary: "ConvTranspose, stride 2, 16 channels or more on both sides: four small Convs, interleaved",
        evidence: "1.5 to 2 % of a gradient step of a ResNet-18, which has three such layers",
        apply: Apply::Always(phases::apply),
    },
    Lowering {
        name: "formulas",
        engines: &["ort", "tract"],
        summary: "Add, Sub, Mul, Div, Neg, Abs, Sign, Max, Min, Relu, Sqrt, Reciprocal, Gate, Where and Expand of large values that follow each other, and a sum, mean or maximum of them over all axes but one: one pass over memory",
        evidence: "a training step of a ResNet-18 at batch 128 takes 2382 MiB in place of 2948; PGD with 20 steps on 978 images and a net of two layers takes 0.16 in place of 0.19 s (medians of seven rounds in turn, two cores with AVX-512); on tract not measured alone",
        apply: Apply::Special(formulas::apply),
    },
];

/// Gives a result of an operator of our own, which is not in the table of the graph, its type.
pub(crate) fn typed(graph: &mut Graph, op: &str, result: ValueId, ty: &ValueType) {
    if let Err(why) = graph.declare(result, ty) {
        graph.add_problem(format!("the result of {op} {why}"));
    }
}

/// Appends a node of our own with one result of this type.
pub(crate) fn pushed(graph: &mut Graph, node: Node, ty: &ValueType) -> ValueId {
    let op = node.op.clone();
    let result = graph.push(Node { domain: DOMAIN.into(), ..node }, 1)[0];
    typed(graph, &op, result, ty);
    result
}

/// The graph in the form that this engine (`ort`, `cuda` for ONNX Runtime on a GPU, or `tract`) runs fastest. Special forms are made
/// where `rows` says how many rows a batch has.
pub fn lower(graph: &Graph, engine: &str, rows: Option<usize>) -> Graph {
    let wanted = LOWERINGS.iter().filter(|l| l.engines.contains(&engine));
    wanted.fold(graph.clone(), |graph, lowering| match (&lowering.apply, rows) {
        (Apply::Always(apply), _) => apply(&graph, engine),
        (Apply::Special(apply), Some(rows)) => apply(&graph, engine, rows),
        (Apply::Special(_), None) => graph,
    })
}

/// The gradients of convolutions over two axes in one group as such convolutions, where their extents are known.
pub(crate) fn as_convolutions(graph: &Graph) -> Graph {
    phases::apply(&flipped::apply(graph, flipped::DOUBLE), flipped::DOUBLE)
}

/// How an engine (`ort` or `tract`) on this processor computes the convolutions of a graph compiled with `CompileOptions::fast`: a
/// line for each, with its operands.
pub fn forms(graph: &Graph, engine: &str) -> Vec<String> {
    let lowered = lower(graph, engine, CompileOptions::fast().rows);
    let shape = |id: Option<ValueId>| id.map_or_else(String::new, |id| lowered.value(id).ty.to_string());
    let form = |node: &Node| match &*node.op {
        WINOGRAD => node.attributes.ints("square").map(|s| format!("in squares of {0}×{0}", s.first().unwrap_or(&0))),
        CHWN => Some("many images at a time".to_owned()),
        CORRELATION => Some(match node.attributes.ints("square") {
            Some(s) => format!("as a correlation in squares of {0}×{0}", s.first().unwrap_or(&0)),
            None => "as a correlation".to_owned(),
        }),
        "Conv" | "ConvTranspose" => Some(format!("directly ({})", node.op)),
        _ => None,
    };
    let line = |node: &Node| Some(format!("{} by {}: {}", shape(node.input(0)), shape(node.input(1)), form(node)?));
    lowered.nodes().iter().filter_map(line).collect()
}

/// How often every value is read, by nodes and as a result.
fn uses(graph: &Graph) -> HashMap<ValueId, usize> {
    let mut uses: HashMap<ValueId, usize> = HashMap::new();
    let read = graph.nodes().iter().flat_map(|n| n.inputs.iter().flatten().copied());
    read.chain(graph.outputs().iter().map(|o| o.value)).for_each(|v| *uses.entry(v).or_default() += 1);
    uses
}

/// The node that produces a value, if it is this operator.
fn producer<'g>(graph: &'g Graph, id: ValueId, op: &str) -> Option<&'g Node> {
    let (node, _) = graph.value(id).producer?;
    let node = graph.node_at(node);
    (&*node.op == op).then_some(node)
}
