//! What each operator does to an interval: one row per family.

use flatscape_graph::{Graph, Node};

/// How an operator treats intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Affine with constant coefficients in the operand with this place: the center goes through the operator, the radius through the
    /// operator with the absolute values of the coefficients and without what is added.
    Weighted {
        /// The place of the coefficients.
        weights: usize,
    },
    /// Affine with coefficients that are not negative and sum what they see (means, sums, windows), or that move entries: center and
    /// radius both go through it. Constants among the operands have radius 0.
    Positive,
    /// As [`Rule::Positive`], and what it pads with belongs to the center alone.
    Pads,
    /// The sum of operands, some negated: centers go through it, radii are added.
    Sum,
    /// Increasing in every operand: the ends of the interval go through it.
    Increasing,
}

impl Rule {
    /// Whether the operator is affine, so that the relaxation passes through it as it is.
    pub fn is_affine(self) -> bool {
        self != Rule::Increasing
    }
}

const MOVING: &[&str] = &[
    "AveragePool",
    "Concat",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GlobalAveragePool",
    "Identity",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Of these, the operators that give every entry once at most.
pub(crate) const ONE_TO_ONE: &[&str] =
    &["DepthToSpace", "Flatten", "Identity", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"];

const INCREASING: &[&str] = &[
    "Ceil",
    "Erf",
    "Exp",
    "Floor",
    "GlobalMaxPool",
    "Max",
    "MaxPool",
    "Min",
    "ReduceMax",
    "ReduceMin",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
    "Softplus",
    "Softsign",
    "Tanh",
];

/// The rule of a node; `varies` says which operands depend on the image.
pub(crate) fn rule(graph: &Graph, node: &Node, varies: &[bool]) -> Option<Rule> {
    let places: Vec<usize> = (0..varies.len()).filter(|&place| varies[place]).collect();
    let constant = |place: usize| node.input(place).and_then(|id| graph.constant(id));
    let positive = |place: usize| constant(place).is_some_and(|t| t.to_f64().iter().all(|v| *v >= 0.0));
    match &*node.op {
        op if !node.domain.is_empty() || node.outputs.len() != 1 && op != "Split" => None,
        // parameters of the operator must not depend on the image
        op if MOVING.contains(&op) && (op == "Concat" || places == [0]) => Some(Rule::Positive),
        "Pad" if places == [0] => Some(Rule::Pads),
        "Conv" | "ConvTranspose" if places == [0] => Some(Rule::Weighted { weights: 1 }),
        "Gemm" | "MatMul" if places == [0] => Some(Rule::Weighted { weights: 1 }),
        "Gemm" | "MatMul" if places == [1] => Some(Rule::Weighted { weights: 0 }),
        "Mul" if places.len() == 1 && places[0] < 2 => Some(Rule::Weighted { weights: 1 - places[0] }),
        "Div" if places == [0] => Some(Rule::Weighted { weights: 1 }),
        "Add" | "Sub" | "Neg" | "Sum" => Some(Rule::Sum),
        "MaxPool" if node.outputs.len() != 1 => None,
        op if INCREASING.contains(&op) => Some(Rule::Increasing).filter(|_| places == [0] || matches!(op, "Max" | "Min")),
        "LeakyRelu" if node.attributes.float("alpha", 0.01) >= 0.0 => Some(Rule::Increasing),
        "Selu" if ["alpha", "gamma"].iter().all(|name| node.attributes.float(name, 1.0) >= 0.0) => Some(Rule::Increasing),
        "Elu" if node.attributes.float("alpha", 1.0) >= 0.0 => Some(Rule::Increasing),
        "HardSigmoid" if node.attributes.float("alpha", 0.2) >= 0.0 => Some(Rule::Increasing),
        "PRelu" if places == [0] && positive(1) => Some(Rule::Increasing),
        "Clip" if places == [0] => Some(Rule::Increasing),
        _ => None,
    }
}
