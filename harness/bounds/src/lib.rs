//! Verified lower bounds on the margin of a classifier over a ball, from graph to graph: interval bound propagation (Gowal et al.
//! 2018, arXiv:1810.12715) and backward linear relaxation on top of it (CROWN-IBP, Zhang et al. 2020, arXiv:1906.06316).
//!
//! Beside them stand upper bounds on the slopes of margins over the same ball, by the same intervals.
//!
//! This crate knows operators and intervals. It runs nothing and knows no engines and no attacks. What it cannot bound it refuses by
//! name; it never guesses. The graph that it makes is meant to be run in double precision: every linear operator widens its interval
//! by a bound on the rounding of that run.
//!
//! ```
//! use flatscape_bounds::{Dual, Region, bounds};
//! use flatscape_graph::text;
//!
//! let net = text::parse(
//!     "net (float[N,1,1,2] x) => (float[N,2] z)
//!     <float[2,2] w = {1, 1, -1, 1}, float[2] b = {0, -1}, float[2,2] v = {1, -1, -1, 1}, float[2] c = {0.5, 0}>
//!     { f = Flatten(x)  h = Gemm(f, w, b)  r = Relu(h)  z = Gemm(r, v, c) }",
//! )?;
//! let graph = bounds(&net, Region { lo: 0.0, hi: 1.0 }, Dual::L1, true)?;
//! // float[N] each: the bound by intervals, the better of the two, and the largest score at the centre
//! let names: Vec<_> = graph.outputs().iter().map(|o| o.name.to_string()).collect();
//! assert_eq!(names, ["interval", "bound", "scale"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backward;
mod forward;
mod rules;
mod slopes;
#[cfg(test)]
mod slopes_tests;
#[cfg(test)]
mod tests;

use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Node, Tensor, ValueId, ValueType, simplify};

/// The box of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The smallest value of a pixel.
    pub lo: f64,
    /// The largest.
    pub hi: f64,
}

/// Why a model has no bounds.
#[derive(Debug, thiserror::Error)]
pub enum NoBounds {
    /// An operator, or the way in which it is used, has no rule.
    #[error("{0} has no rule for intervals")]
    Operator(String),
    /// An operator whose slope cannot be bounded, or is not by this crate.
    #[error("{0} has no rule for slopes")]
    Slope(String),
    /// Extents that are needed are not known.
    #[error("the extents of {0} are not known")]
    Extents(String),
    /// The model is not one of images and logits.
    #[error("the model does not map images [N,C,H,W] to logits [N,K]")]
    Interface,
    /// What was built is not well formed.
    #[error("the graph of the bounds is not well formed: {0}")]
    Check(#[from] flatscape_graph::CheckError),
    /// An affine operator could not be transposed.
    #[error(transparent)]
    Transpose(#[from] flatscape_autodiff::DiffError),
}

/// The graph of lower bounds on min over t ≠ y of z_y − z_t, over all images within ε of x that lie in the region. `dual` names the norm
/// of the ball by its dual norm. A ball of l2 or l1 is the cube around it but for the first linear operator, whose rows it bounds by
/// their dual norm, and for linear forms that reach the image.
///
/// Inputs: `x` float\[N,C,H,W\], `eps` float\[N\] and `y` int64\[N\]. Outputs: `interval` float\[N\], the bound by intervals with the
/// last affine layers merged into the margin; `bound` float\[N\], the larger one of that and of the linear relaxation (equal to the
/// former without `relax`); `scale` float\[N\], the largest |z| at the centre of the intervals.
///
/// # Errors
/// The model has an operator without a rule, or it is not an image classifier.
pub fn bounds(model: &Graph, region: Region, dual: Dual, relax: bool) -> Result<Graph, NoBounds> {
    let (input, output, classes) = interface(model)?;
    let image = model.value(input).ty.clone();
    let batch = image.shape.as_ref().filter(|s| s.len() == 4).and_then(|s| s.first()).cloned().ok_or(NoBounds::Interface)?;
    let builder = Builder::new(Graph::new("bounds"));
    let x = builder.input("x", image);
    let eps = builder.input("eps", ValueType::new(DType::F32, vec![batch.clone()]));
    let y = builder.input("y", ValueType::new(DType::I64, vec![batch]));
    let tape = forward::propagate(model, &builder, x, eps, region, (dual, f64::EPSILON / 2.0))?;
    let classed = backward::Classes::new(y, classes);
    let merged = backward::margin(&tape, output, &classed, false)?;
    let best = if relax { merged.max(backward::margin(&tape, output, &classed, true)?) } else { merged };
    builder.output("interval", merged);
    builder.output("bound", best);
    let center = tape.interval(output).ok_or(NoBounds::Interface)?.center;
    builder.output("scale", center.abs().reduce("ReduceMax", &[1], false));
    let graph = simplify(&builder.into_graph());
    graph.check()?;
    Ok(graph)
}

/// The norm in which a gradient bounds the growth over a ball.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dual {
    /// Of balls in the maximum norm.
    L1,
    /// Of balls in the Euclidean norm.
    L2,
    /// Of balls in the norm ‖·‖₁.
    Linf,
}

impl Dual {
    /// That of the balls of a threat model, by the name of its norm; `None` where that is no ball with rules here.
    pub fn of(norm: &str) -> Option<Dual> {
        match norm {
            "linf" => Some(Dual::L1),
            "l2" => Some(Dual::L2),
            "l1" => Some(Dual::Linf),
            _ => None,
        }
    }
}

/// Builds upper bounds on the dual norms of ∇(z_y − z_t), for every class t, over all images of the ball around `x` that lie in the
/// region: float\[N,K\], 0 at the label. `x` float\[N,C,H,W\], `eps` float\[N\], `y` int64\[N\]; balls of l2 and l1 are bounded as in
/// [`bounds`]. The graph is meant to be run in single precision, whose rounding is part of the bound.
///
/// Where operators bend or saturate (ReLU and its kin, `Clip`, `Sigmoid`, `Tanh`, `MaxPool`) their slopes lie in an interval that
/// follows from intervals of values; a bound on a network that bends anywhere in the ball is therefore above the true constant.
///
/// # Errors
/// The model has an operator without a rule, or it is not an image classifier.
pub fn slopes<'b>(
    model: &Graph,
    builder: &'b Builder,
    [x, eps, y]: [Expr<'b>; 3],
    region: Region,
    dual: Dual,
) -> Result<Expr<'b>, NoBounds> {
    let (_, output, classes) = interface(model)?;
    let tape = forward::propagate(model, builder, x, eps, region, (dual, f64::from(f32::EPSILON) / 2.0))?;
    slopes::slopes(&tape, output, y, classes, dual)
}

/// The image, the logits and how many these are.
fn interface(model: &Graph) -> Result<(ValueId, ValueId, usize), NoBounds> {
    let input = *model.inputs().first().filter(|_| model.inputs().len() == 1).ok_or(NoBounds::Interface)?;
    let output = model.outputs().first().ok_or(NoBounds::Interface)?.value;
    match model.shape(output) {
        Some([_, classes]) => Ok((input, output, classes.fixed().ok_or(NoBounds::Interface)?)),
        _ => Err(NoBounds::Interface),
    }
}

/// Multiplications that the bounds of one image take, about.
pub fn work(model: &Graph, relax: bool) -> u64 {
    let once: u64 = model.nodes().iter().map(|node| multiplications(model, node)).sum();
    let classes = model.outputs().first().and_then(|o| model.shape(o.value)?.last()?.fixed()).unwrap_or(1) as u64;
    // center and radius; per class a form to the front, and the operator at zero
    once * if relax { 2 + 3 * classes } else { 2 }
}

/// Multiplications of a node with constant weights on one image.
fn multiplications(model: &Graph, node: &Node) -> u64 {
    let constant = |place: usize| node.input(place).and_then(|id| model.constant(id));
    let size = |id: Option<ValueId>| id.and_then(|id| model.shape(id)).and_then(inner).map_or(0, |e| e.iter().product::<usize>());
    let Some(weights) = constant(1).or_else(|| constant(0)) else { return 0 };
    let (rows, columns) = (weights.shape().first().copied().unwrap_or(1), weights.shape().last().copied().unwrap_or(1));
    let per_value = |over: usize| weights.len() / over.max(1);
    let count = match &*node.op {
        "Conv" => size(node.output(0)) * per_value(rows),
        "ConvTranspose" => size(node.input(0)) * per_value(rows),
        "Gemm" if node.attributes.int("transB", 0) != 0 => size(node.output(0)) * per_value(rows),
        "Gemm" | "MatMul" => size(node.output(0)) * per_value(columns),
        _ => 0,
    };
    count as u64
}

/// A constant of these extents.
fn filled<'b>(builder: &'b Builder, shape: &[usize], value: f64) -> Expr<'b> {
    builder.constant(Tensor::full(DType::F32, shape, value))
}

/// Extents behind the batch.
fn inner(dims: &[Dim]) -> Option<Vec<usize>> {
    dims.iter().skip(1).map(Dim::fixed).collect()
}
