//! Operators that tract lacks, or lacks in a form, written with those it has. Nothing here is about speed: that is `lower`.

use flatscape_graph::{Attribute, Attributes, Builder, DType, Expr, Graph, Node, Tensor, ValueId};

/// The results of a node in another form; `None` where tract has the form that it is in.
type Form = for<'b> fn(&Site<'b>) -> Option<Vec<Expr<'b>>>;

/// Every operator with what is written for it.
const FORMS: &[(&str, Form)] = &[
    ("MatMul", |n| {
        // a · b = Σ aᵢ·bᵢ, of two vectors
        let (a, b) = (n.x(0)?, n.x(1)?);
        (a.rank() == Some(1) && b.rank() == Some(1)).then(|| vec![(a * b).sum(&[0], false)])
    }),
    ("BatchNormalization", batch_normalization),
    ("SoftmaxCrossEntropyLoss", |n| {
        let x = n.x(0)?;
        let centred = x - x.reduce("ReduceMax", &[1], true);
        let logarithms = centred - centred.exp().sum(&[1], true).log();
        Some(vec![likelihood(n, logarithms)?, logarithms])
    }),
    ("LpPool", |n| {
        // (Σ |x|^p)^(1/p) over windows; padding adds 0
        if n.node.attributes.int("ceil_mode", 0) != 0 {
            return None;
        }
        let p = n.node.attributes.int("p", 2) as f64;
        let kernel = n.node.attributes.ints("kernel_shape")?;
        let count = kernel.iter().map(|&k| k as f64).product::<f64>();
        let mut attributes = n.node.attributes.clone();
        attributes.0.remove("p");
        let powers = n.x(0)?.abs().pow(p);
        let means = n.builder.op("AveragePool", &[powers], attributes.with("count_include_pad", 1));
        Some(vec![(means * count).pow(1.0 / p)])
    }),
    ("GlobalLpPool", |n| {
        let (p, x) = (n.node.attributes.int("p", 2) as f64, n.x(0)?);
        let axes: Vec<i64> = (2..x.rank()? as i64).collect();
        Some(vec![x.abs().pow(p).sum(&axes, true).pow(1.0 / p)])
    }),
    ("NegativeLogLikelihoodLoss", |n| Some(vec![likelihood(n, n.x(0)?)?])),
];

/// The graph with every form that tract lacks written out.
pub(super) fn written(graph: &Graph) -> Graph {
    let form = |node: &Node| FORMS.iter().find(|(op, _)| node.domain.is_empty() && *op == &*node.op).map(|(_, form)| form);
    if graph.nodes().iter().all(|node| form(node).is_none()) {
        return graph.clone();
    }
    graph.rewrite(|new, node, inputs| {
        let form = form(node)?;
        let builder = Builder::new(std::mem::take(new));
        let results = form(&Site { builder: &builder, node, inputs }).map(|r| r.iter().map(|e| e.id).collect::<Vec<_>>());
        *new = builder.into_graph();
        let results = results?;
        Some(node.outputs.iter().enumerate().map(|(k, asked)| asked.and(results.get(k).copied())).collect())
    })
}

/// A node of the old graph with its operands in the new one.
struct Site<'b> {
    builder: &'b Builder,
    node: &'b Node,
    inputs: &'b [Option<ValueId>],
}

impl<'b> Site<'b> {
    fn x(&self, i: usize) -> Option<Expr<'b>> {
        self.inputs.get(i).copied().flatten().map(|v| self.builder.expr(v))
    }

    fn is_constant(&self, i: usize) -> bool {
        self.x(i).is_some_and(|x| self.builder.graph().constant(x.id).is_some())
    }
}

/// y = γ·(x − μ)/√(v + ε) + β. tract has it for constant parameters and without training.
fn batch_normalization<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let training = n.node.attributes.int("training_mode", 0) != 0;
    if !training && (1..5).all(|i| n.is_constant(i)) {
        return None;
    }
    let x = n.x(0)?;
    let rank = x.rank()? as i64;
    let parameter = |i: usize| Some(n.x(i)?.cast(x.dtype()));
    let spread = |v: Expr<'b>| v.unsqueeze(&(1..rank - 1).collect::<Vec<_>>());
    let axes: Vec<i64> = (0..rank).filter(|&axis| axis != 1).collect();
    let (stated_mean, stated_variance) = (parameter(3)?, parameter(4)?);
    let (mean, variance) = match training {
        false => (stated_mean, stated_variance),
        true => {
            let mean = x.mean(&axes, false);
            let centred = x - spread(mean);
            (mean, (centred * centred).mean(&axes, false))
        }
    };
    let deviation = (variance + f64::from(n.node.attributes.float("epsilon", 1e-5))).sqrt();
    let y = (x - spread(mean)) * spread(parameter(1)? / deviation) + spread(parameter(2)?);
    let kept = f64::from(n.node.attributes.float("momentum", 0.9));
    let running = |stated: Expr<'b>, seen: Expr<'b>, i| Some((stated * kept + seen * (1.0 - kept)).cast(n.x(i)?.dtype()));
    Some(vec![y, running(stated_mean, mean, 3)?, running(stated_variance, variance, 4)?])
}

/// −w[l] · x[l] at every place, summed, or averaged by the weights; x [N,C,…], l [N,…], w [C]. A label that is ignored weighs nothing.
fn likelihood<'b>(n: &Site<'b>, x: Expr<'b>) -> Option<Expr<'b>> {
    let (b, label) = (n.builder, n.x(1)?.cast(DType::I64));
    let dims = x.dims()?;
    let classes = dims.get(1)?.fixed()? as i64;
    let mut along = vec![1; dims.len() - 1];
    along[0] = classes;
    let numbers = b.ints(&(0..classes).collect::<Vec<_>>()).reshape(&along);
    let mut chosen = label.unsqueeze(&[1]).equal(numbers);
    if let Some(Attribute::Int(ignored)) = n.node.attributes.get("ignore_index") {
        let kept = label.equal(b.constant(Tensor::scalar(*ignored))).negate();
        chosen = chosen.and(kept.unsqueeze(&[1]));
    }
    let weights = chosen.cast(x.dtype());
    let weights = n.x(2).map_or(weights, |w| weights * w.reshape(&along));
    let zero = x.scalar(0.0);
    // an infinite logarithm beside the label counts for nothing
    let losses = -(b.op("Where", &[chosen, x, zero], Attributes::none()) * weights).sum(&[1], false);
    let all: Vec<i64> = (0..dims.len() as i64 - 1).collect();
    Some(match n.node.attributes.string("reduction", "mean") {
        "none" => losses,
        "sum" => losses.sum(&all, false),
        _ => losses.sum(&all, false) / weights.sum(&[1], false).sum(&all, false),
    })
}
