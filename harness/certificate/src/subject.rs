//! What a certificate is about: a graph of values, a graph of their gradient, and the points at which they are compared. Knows
//! nothing of where they come from.

use std::collections::HashMap;

use flatscape_graph::{Dim, Graph, Tensor};

use crate::Scalar;

/// Steps that are taken towards an attack's iterate.
pub const WALK: u32 = 3;

/// Something to differentiate with respect to.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name as an input of the forward graph.
    pub name: String,
    /// Extents of one block: without the batch where every sample is a block.
    pub shape: Vec<usize>,
    /// The output of the gradient graph that holds its gradient.
    pub gradient: String,
}

/// A gradient from elsewhere, to be compared with the one in use.
#[derive(Clone, Debug)]
pub struct Other {
    /// Whose it is, for messages: `gradient.onnx`, or `ours`.
    pub name: String,
    /// Inputs as those of the gradient graph.
    pub graph: Graph,
    /// The output that holds the gradient.
    pub output: String,
}

/// A gradient and what it claims to be the gradient of.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name of the model.
    pub model: String,
    /// How sentences continue after «on 32 samples».
    pub about: String,
    /// The first output holds the values that lead to the scalar: logits [N,K] for a classifier. The variables are inputs.
    pub forward: Graph,
    /// The gradient as it is used.
    pub gradient: Graph,
    /// What is differentiated.
    pub scalar: Scalar,
    /// Labels of the samples, where the values are logits.
    pub labels: Option<Vec<i64>>,
    /// With respect to what.
    pub variables: Vec<Variable>,
    /// How many blocks of the variables have a scalar of their own: the samples of a batch, or 1 for parameters.
    pub blocks: usize,
    /// Whether a block is a row of a batch.
    pub batched: bool,
    /// The variables at the clean points, block by block.
    pub start: Vec<f64>,
    /// Inputs that stay as they are: `label`, `cotangent`, `vector`, images.
    pub fixed: HashMap<String, Tensor>,
    /// Ids of the samples: they key the random directions. Empty if a block is not a sample.
    pub ids: Vec<u64>,
    /// Smallest and largest value of a variable; steps stay between them.
    pub bounds: Option<(f64, f64)>,
    /// How far values of the variables lie apart; steps are in this unit.
    pub range: f64,
    /// The step in every entry that spends the radius of the threat model.
    pub reach: Option<f64>,
    /// Whether the graph gives the Hessian-vector product: its output, with the input `vector`.
    pub hessian: Option<String>,
    /// Whether the gradient is deliberately not that of the values (a remedy).
    pub surrogate: bool,
    /// Whether those who follow the gradient of cross-entropy take `ascent`, which does not vanish where the model is sure.
    pub ascent: bool,
    /// Another gradient of the same scalar.
    pub other: Option<Other>,
    /// Seed of the directions.
    pub seed: u64,
}

impl Subject {
    /// Numbers in one block.
    pub fn size(&self) -> usize {
        self.variables.iter().map(|v| v.shape.iter().product::<usize>()).sum()
    }

    /// Sizes of the variables within a block, in order.
    pub fn sizes(&self) -> Vec<usize> {
        self.variables.iter().map(|v| v.shape.iter().product()).collect()
    }

    /// The tensor of that name where the variables are `x`: a variable, `x0`, or what stays.
    pub(super) fn feed(&self, name: &str, x: &[f64]) -> Option<Tensor> {
        let mut from = 0;
        for (place, variable) in self.variables.iter().enumerate() {
            let size: usize = variable.shape.iter().product();
            if variable.name == name {
                return self.tensor(x, variable, from, size);
            }
            if place == 0 && name == "x0" {
                return self.tensor(&self.start, variable, from, size);
            }
            from += size;
        }
        self.fixed.get(name).cloned()
    }

    fn tensor(&self, x: &[f64], variable: &Variable, from: usize, size: usize) -> Option<Tensor> {
        if !self.batched {
            return Tensor::new(&variable.shape, x.get(from..from + size)?.to_vec());
        }
        let shape: Vec<usize> = std::iter::once(x.len() / size.max(1)).chain(variable.shape.iter().copied()).collect();
        Tensor::new(&shape, x.to_vec())
    }
}

/// What one evaluation of a graph costs per sample, in multiplications; unknown extents count as 1.
pub fn work(graph: &Graph) -> f64 {
    let extent = |d: &Dim| d.fixed().unwrap_or(1) as f64;
    let size = |id| graph.shape(id).map_or(1.0, |s| s.iter().map(extent).product::<f64>());
    let last = |id| graph.shape(id).and_then(<[Dim]>::last).map_or(1.0, extent);
    let first = |id| graph.shape(id).and_then(<[Dim]>::first).map_or(1.0, extent);
    let cost = |node: &flatscape_graph::Node| {
        let (x, w, y) = (node.input(0), node.input(1), node.output(0));
        let Some(y) = y else { return 0.0 };
        match (&*node.op, x, w) {
            ("Conv", _, Some(w)) => size(y) * size(w) / first(w).max(1.0),
            ("ConvTranspose", Some(x), Some(w)) => size(x) * size(w) / first(w).max(1.0),
            ("MatMul" | "Gemm", Some(x), _) => size(y) * last(x),
            _ => size(y),
        }
    };
    graph.nodes().iter().map(cost).sum()
}
