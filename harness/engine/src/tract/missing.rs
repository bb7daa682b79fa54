//! Operators that tract lacks, or lacks in a form, written with those it has. Nothing here is about speed: that is `lower`.

use flatscape_graph::{Attribute, Attributes, Builder, DType, Dim, Expr, Graph, Node, Tensor, ValueId};

use super::{double, einsum};

/// The results of a node in another form; `None` where tract has the form that it is in.
pub(super) type Form = for<'b> fn(&Site<'b>) -> Option<Vec<Expr<'b>>>;

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
    ("Celu", |n| {
        // tract takes eˣ for e^(x/α)
        let (x, alpha) = (n.x(0)?, f64::from(n.node.attributes.float("alpha", 1.0)));
        Some(vec![x.max(0.0) + ((x.min(0.0) / alpha).exp() - 1.0) * alpha])
    }),
    ("Softplus", |n| {
        // log(1 + eˣ), without an exponential that overflows
        let x = n.x(0)?;
        Some(vec![x.max(0.0) + ((-x.abs()).exp() + 1.0).log()])
    }),
    ("LogSoftmax", |n| {
        let (x, axis) = (n.x(0)?, n.node.attributes.int("axis", -1));
        let centred = x - x.reduce("ReduceMax", &[axis], true);
        Some(vec![centred - centred.exp().sum(&[axis], true).log()])
    }),
    ("ReduceLogSumExp", |n| {
        // m + log Σ e^(x − m), with the maximum m; 0 for the maximum where it is infinite
        let (x, a) = (n.x(0)?, &n.node.attributes);
        let stated = n.axes(1, 0)?;
        let axes = match stated.is_empty() {
            true if a.int("noop_with_empty_axes", 0) != 0 => return Some(vec![x]),
            true => (0..x.rank()? as i64).collect(),
            false => ascending(stated, x.rank()?),
        };
        let largest = x.reduce("ReduceMax", &axes, true);
        let largest = largest.abs().less(f64::INFINITY).select(largest, x.scalar(0.0));
        let y = (x - largest).exp().sum(&axes, true).log() + largest;
        Some(vec![if a.int("keepdims", 1) == 0 { y.squeeze(&axes) } else { y }])
    }),
    ("Compress", |n| {
        let taken: Vec<bool> = n.builder.graph().constant(n.x(1)?.id)?.to_f64().iter().map(|&b| b != 0.0).collect();
        let places: Vec<i64> = (0..).zip(&taken).filter(|(_, taken)| **taken).map(|(place, _)| place).collect();
        let (x, axis) = match n.node.attributes.get("axis") {
            Some(Attribute::Int(axis)) => (n.x(0)?, *axis),
            _ => (n.x(0)?.reshape(&[-1]), 0),
        };
        Some(vec![x.gather(n.builder.ints(&places), axis)])
    }),
    ("Einsum", einsum::explicit),
    ("Pow", powers),
    ("Pad", pad),
    ("Slice", slice),
    ("ConvTranspose", transposed),
];

/// The graph with every form that tract lacks written out.
pub(super) fn written(graph: &Graph) -> Graph {
    let form = |node: &Node| {
        let double = node.input(0).is_some_and(|x| graph.dtype(x) == Some(DType::F64));
        let doubles = if double { double::FORMS } else { &[] };
        doubles.iter().chain(FORMS).find(|(op, _)| node.domain.is_empty() && *op == &*node.op).map(|(_, form)| form)
    };
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
pub(super) struct Site<'b> {
    pub(super) builder: &'b Builder,
    pub(super) node: &'b Node,
    inputs: &'b [Option<ValueId>],
}

impl<'b> Site<'b> {
    pub(super) fn x(&self, i: usize) -> Option<Expr<'b>> {
        self.inputs.get(i).copied().flatten().map(|v| self.builder.expr(v))
    }

    fn is_constant(&self, i: usize) -> bool {
        self.x(i).is_some_and(|x| self.builder.graph().constant(x.id).is_some())
    }

    /// x, broadcast against a tensor of these extents.
    pub(super) fn expanded(&self, x: Expr<'b>, extents: &[usize]) -> Expr<'b> {
        if extents.is_empty() {
            return x;
        }
        let extents: Vec<i64> = extents.iter().map(|&extent| extent as i64).collect();
        self.builder.op("Expand", &[x, self.builder.ints(&extents)], Attributes::none())
    }

    /// The axes of an operand, the first `count` where there is no such operand; `None` where they are computed.
    fn axes(&self, i: usize, count: usize) -> Option<Vec<i64>> {
        if self.x(i).is_some() { self.ints(i) } else { Some((0..count as i64).collect()) }
    }

    /// A constant operand of integers.
    fn ints(&self, i: usize) -> Option<Vec<i64>> {
        self.builder.graph().constant(self.x(i)?.id)?.to_ints()
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
            let squares = if x.dtype() == DType::F64 { double::square(centred) } else { centred * centred };
            (mean, squares.mean(&axes, false))
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

/// tract squares without broadcasting where the exponents are all 2.
pub(super) fn powers<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let exponents = n.builder.graph().constant(n.x(1)?.id)?.clone();
    let numbers = exponents.to_f64();
    let first = *numbers.first()?;
    if exponents.shape().is_empty() || numbers.iter().any(|&number| number != first) {
        return None;
    }
    let exponent = n.builder.constant(Tensor::full(exponents.dtype(), &[], first));
    Some(vec![n.expanded(n.x(0)?, exponents.shape()).pow(exponent)])
}

/// Axes counted from the first, in order.
fn ascending(axes: Vec<i64>, rank: usize) -> Vec<i64> {
    let mut axes: Vec<i64> = axes.into_iter().map(|axis| if axis < 0 { axis + rank as i64 } else { axis }).collect();
    axes.sort_unstable();
    axes
}

/// tract takes neither negative amounts nor a value that is computed.
fn pad<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let (b, x) = (n.builder, n.x(0)?);
    let (amounts, rank) = (n.ints(1)?, x.rank()?);
    let axes = n.axes(3, rank)?;
    let computed = n.x(2).filter(|_| !n.is_constant(2));
    if computed.is_none() && amounts.iter().all(|&amount| amount >= 0) {
        return None;
    }
    let (before, behind) = amounts.split_at_checked(axes.len())?;
    let starts: Vec<i64> = before.iter().map(|&amount| (-amount).max(0)).collect();
    let ends: Vec<i64> = behind.iter().map(|&amount| if amount < 0 { amount } else { i64::MAX }).collect();
    let x = x.slice(&starts, &ends, &axes, &vec![1; axes.len()]);
    let mut added = vec![0; 2 * rank];
    for (place, &axis) in axes.iter().enumerate() {
        let axis = if axis < 0 { axis + rank as i64 } else { axis } as usize;
        *added.get_mut(axis)? = before[place].max(0);
        *added.get_mut(rank + axis)? = (*behind.get(place)?).max(0);
    }
    let amounts = b.ints(&added);
    let padded = |x, value| b.op_with_gaps("Pad", &[Some(x), Some(amounts), value], n.node.attributes.clone());
    let Some(value) = computed else { return Some(vec![padded(x, n.x(2))]) };
    let inside = padded(x.equal(x).or(x.equal(x).negate()).cast(DType::F32), None);
    Some(vec![inside.greater(0.0).select(padded(x, None), value)])
}

/// tract moves a Slice with steps over a Reshape in a way that it refuses afterwards.
fn slice<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let (starts, ends, steps) = (n.ints(1)?, n.ints(2)?, n.ints(4)?);
    let axes = n.axes(3, starts.len())?;
    let dims = n.x(0)?.dims()?;
    let mut gathered = Vec::new();
    for (place, &axis) in axes.iter().enumerate() {
        let (start, end, step) = (*starts.get(place)?, *ends.get(place)?, *steps.get(place)?);
        if step != 1 {
            let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
            let extent = dims.get(usize::try_from(axis).ok()?)?.fixed()? as i64;
            gathered.push((axis, stepped(extent, start, end, step)?));
        }
    }
    if gathered.is_empty() {
        return None;
    }
    let mut x = n.x(0)?;
    for (place, &axis) in axes.iter().enumerate().filter(|&(place, _)| steps[place] == 1) {
        x = x.slice(&[starts[place]], &[ends[place]], &[axis], &[1]);
    }
    Some(vec![gathered.iter().fold(x, |x, (axis, places)| x.gather(n.builder.ints(places), *axis))])
}

/// The places of an axis that a slice takes; `None` for a step of 0.
fn stepped(extent: i64, start: i64, end: i64, step: i64) -> Option<Vec<i64>> {
    let at = |place: i64| if place < 0 { place.saturating_add(extent) } else { place };
    match step {
        1.. => Some((at(start).clamp(0, extent)..at(end).clamp(0, extent)).step_by(step as usize).collect()),
        0 => None,
        _ => {
            let (first, behind) = (at(start).clamp(-1, extent - 1), at(end).clamp(-1, extent - 1));
            Some((behind + 1..=first).rev().step_by(usize::try_from(step.unsigned_abs()).ok()?).collect())
        }
    }
}

/// tract puts the odd element of padding on the other side where `output_shape` is stated.
fn transposed<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let stated = n.node.attributes.ints("output_shape")?;
    let space = |place: usize| n.x(place)?.dims()?.get(2..)?.iter().map(Dim::fixed).collect::<Option<Vec<usize>>>();
    let (pixels, taps) = (space(0)?, space(1)?);
    let stated = stated.get(stated.len().checked_sub(pixels.len())?..)?;
    let entry = |name: &str, axis: usize, usual| n.node.attributes.ints(name).map_or(Some(usual), |list| list.get(axis).copied());
    let (mut before, mut behind, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for axis in 0..pixels.len() {
        let (stride, dilation) = (entry("strides", axis, 1)?, entry("dilations", axis, 1)?);
        let whole =
            stride * (pixels[axis] as i64 - 1) + entry("output_padding", axis, 0)? + (taps[axis] as i64 - 1) * dilation + 1;
        missing.push((stated[axis] - whole).max(0));
        let total = (whole - stated[axis]).max(0);
        let smaller = total / 2;
        let upper = n.node.attributes.string("auto_pad", "NOTSET") == "SAME_UPPER";
        before.push(if upper { smaller } else { total - smaller });
        behind.push(if upper { total - smaller } else { smaller });
    }
    before.extend(behind);
    let mut attributes = n.node.attributes.clone().with("pads", before);
    attributes.0.remove("output_shape");
    attributes.0.remove("auto_pad");
    if missing.iter().all(|&rows| rows == 0) {
        let operands: Vec<_> = (0..3).filter_map(|place| n.x(place)).collect();
        return Some(vec![n.builder.op("ConvTranspose", &operands, attributes)]);
    }
    // more is asked than the taps reach: there is the bias alone
    let reached = n.builder.op("ConvTranspose", &[n.x(0)?, n.x(1)?], attributes);
    let mut amounts = vec![0; missing.len() + 4];
    amounts.extend(&missing);
    let whole = n.builder.op("Pad", &[reached, n.builder.ints(&amounts)], Attributes::none());
    let along: Vec<i64> = [1, -1].into_iter().chain(missing.iter().map(|_| 1)).collect();
    Some(vec![n.x(2).map_or(whole, |bias| whole + bias.reshape(&along))])
}
