//! Batch normalisation behind convolutions whose weights are inputs: `γ·(y − μ)/√(σ² + ε) + β` of a convolution is one with other
//! weights and bias, which the graph computes. In float32; [`flatscape_graph::normalize`] does the same for constants, in double.

use flatscape_graph::{Attributes, Graph, Node, Tensor, ValueId, simplify};

/// The graph with every normalisation in inference form that alone reads a convolution computed by the weights of that convolution.
pub(crate) fn folded(graph: &Graph) -> Graph {
    let new = graph.rewrite(|new, node, inputs| {
        let reads_alone =
            node.input(0).is_some_and(|x| graph.nodes().iter().filter(|n| n.inputs.contains(&Some(x))).count() == 1);
        let normalised = (reads_alone && is_inference(node)).then(|| absorbed(new, node, inputs))??;
        Some(vec![Some(normalised)])
    });
    simplify(&new.without_dead())
}

fn is_inference(node: &Node) -> bool {
    let training = node.attributes.int("training_mode", 0) != 0 || node.outputs.iter().skip(1).any(Option::is_some);
    &*node.op == "BatchNormalization" && node.domain.is_empty() && !training
}

fn absorbed(new: &mut Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<ValueId> {
    let (producer, _) = new.value(inputs.first().copied()??).producer?;
    let conv = new.node_at(producer).clone();
    if &*conv.op != "Conv" || !conv.domain.is_empty() {
        return None;
    }
    let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|place| inputs.get(place).copied().flatten());
    let (x, taps, (gamma, beta, mean, variance)) = (conv.input(0)?, conv.input(1)?, (gamma?, beta?, mean?, variance?));
    let dtype = new.dtype(taps)?;
    if [gamma, beta, mean, variance].iter().any(|&v| new.dtype(v) != Some(dtype)) {
        return None;
    }
    let mut extents = vec![-1];
    extents.resize(new.rank(taps)?, 1);
    let epsilon = new.add_constant("epsilon", Tensor::full(dtype, &[], node.attributes.float("epsilon", 1e-5).into()));
    let extents = new.add_constant("extents", Tensor::ints(&extents));
    let mut op = |name: &str, operands: &[ValueId]| new.node(name, operands, Attributes::none());
    let padded = op("Add", &[variance, epsilon]);
    let deviation = op("Sqrt", &[padded]);
    let scale = op("Div", &[gamma, deviation]);
    let by_result = op("Reshape", &[scale, extents]);
    let scaled = op("Mul", &[taps, by_result]);
    let centred = match conv.input(2) {
        Some(bias) => op("Sub", &[bias, mean]),
        None => op("Neg", &[mean]),
    };
    let shift = op("Mul", &[centred, scale]);
    let shift = op("Add", &[shift, beta]);
    Some(new.node("Conv", &[x, scaled, shift], conv.attributes))
}
