//! What is differentiated in the place of a node whose derivative is zero or misleads. The values of the graph stay what they are: a mark
//! `flatscape.Surrogate(s, v)` has the value v and the derivative of s. Knows which nodes such a derivative can be given, not who asks.

use std::collections::{HashMap, HashSet};

use flatscape_graph::{Attributes, DType, Graph, Node, Tensor, ValueId, ops};

use crate::hazards::{COMPARISONS, Reading, clipped, thresholds};

/// The derivative of something that jumps at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Soft {
    /// \[|x| ≤ 1\].
    Hardtanh,
    /// 1/(1+|x|)², which is never zero.
    Softsign,
}

/// What stands in for the derivative of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Smooth {
    /// That of a value of the same shape.
    Operand(ValueId),
    /// That of minus a value of the same shape.
    Negative(ValueId),
    /// y = sign x: that of something soft in x.
    Sign(ValueId, Soft),
    /// y = \[a > b\] as a number: that of something soft in a − b. `rising` is false where it is \[a < b\].
    Step { a: ValueId, b: ValueId, rising: bool, soft: Soft },
    /// y = \[a > b\] ? u : v with u and v without a derivative: that of (u − v) times something soft in a − b.
    Choice { a: ValueId, b: ValueId, u: ValueId, v: ValueId, rising: bool, soft: Soft },
    /// y = the largest entry as 1, the others as 0: that of a softmax along the axis.
    Softmax { of: ValueId, axis: i64 },
}

impl Smooth {
    /// The same with another derivative where it jumps at 0.
    pub fn with(self, other: Soft) -> Smooth {
        match self {
            Smooth::Sign(x, _) => Smooth::Sign(x, other),
            Smooth::Step { a, b, rising, .. } => Smooth::Step { a, b, rising, soft: other },
            Smooth::Choice { a, b, u, v, rising, .. } => Smooth::Choice { a, b, u, v, rising, soft: other },
            unchanged => unchanged,
        }
    }
}

/// A value that is piecewise constant, or switched, in the pixels.
pub(crate) struct Subject {
    /// The value.
    pub y: ValueId,
    /// The operator that makes it so: `Greater` for what is cast from a comparison, `TopK` for what its entries switch.
    pub op: String,
    /// What can be differentiated in its place.
    pub smooth: Smooth,
    /// Whether the operator hides a derivative only here, because pixels are what it is applied to.
    pub at_pixels: bool,
}

/// The values between pixels and logits that hide a derivative, in topological order.
pub(crate) fn subjects(reading: &Reading) -> Vec<Subject> {
    let graph = reading.graph;
    let stepping: HashSet<Option<ValueId>> = thresholds(reading).iter().map(|n| n.output(0)).collect();
    let chosen_by_top_k = below_top_k(reading);
    let instead = |falls: bool| if falls { Smooth::Negative } else { Smooth::Operand };
    let clipped: HashMap<_, _> =
        clipped(reading).into_iter().map(|found| (found.node.output(0), instead(found.falls)(found.operand))).collect();
    let mut found = Vec::new();
    for node in reading.between() {
        let (Some(y), Some(x)) = (node.output(0), node.input(0)) else { continue };
        let comparison = || Comparison::behind(reading, &stepping, x);
        let soft = Soft::Softsign;
        let subject = match &*node.op {
            op if clipped.contains_key(&node.output(0)) => Some((op, clipped[&node.output(0)])),
            "Round" | "Floor" | "Ceil" => Some((&*node.op, Smooth::Operand(x))),
            "Sign" => Some(("Sign", Smooth::Sign(x, soft))),
            "Hardmax" => Some(("Hardmax", Smooth::Softmax { of: x, axis: node.attributes.int("axis", -1) })),
            "OneHot" => position(reading, node).map(|smooth| ("ArgMax", smooth)),
            "Cast" if graph.dtype(y).is_some_and(DType::is_float) => match (uncut(reading, x), comparison()) {
                (Some(before), _) => Some(("Cast", Smooth::Operand(before))),
                (None, Some(Comparison { op, a, b, rising })) => Some((op, Smooth::Step { a, b, rising, soft })),
                _ => None,
            },
            "Where" if reading.is_frozen(y) => comparison().and_then(|Comparison { op, a, b, rising }| {
                let (u, v) = (node.input(1)?, node.input(2)?);
                Some((op, Smooth::Choice { a, b, u, v, rising, soft }))
            }),
            // what the k largest keep of x
            "Mul" | "Where" => {
                let switch = |i: usize| node.input(i).is_some_and(|v| chosen_by_top_k[v.0 as usize] && reading.is_frozen(v));
                let kept = |i: usize| node.input(i).filter(|&v| reading.is_active(v) && !chosen_by_top_k[v.0 as usize]);
                let places: &[(usize, usize)] = if &*node.op == "Where" { &[(0, 1)] } else { &[(0, 1), (1, 0)] };
                let kept = places.iter().find_map(|&(s, k)| kept(k).filter(|_| switch(s)));
                kept.map(|x| ("TopK", Smooth::Operand(x)))
            }
            _ => None,
        };
        let at_pixels = clipped.contains_key(&node.output(0));
        found.extend(subject.map(|(op, smooth)| Subject { y, op: op.to_owned(), smooth, at_pixels }));
    }
    found
}

/// A comparison of floats whose truth value becomes a number.
struct Comparison<'a> {
    op: &'a str,
    a: ValueId,
    b: ValueId,
    rising: bool,
}

impl<'a> Comparison<'a> {
    fn behind(reading: &Reading<'a>, stepping: &HashSet<Option<ValueId>>, truth: ValueId) -> Option<Comparison<'a>> {
        let (mut by, mut negated) = (reading.producer(truth)?, false);
        while &*by.op == "Not" {
            (by, negated) = (reading.producer(by.input(0)?)?, !negated);
        }
        let (a, b) = (by.input(0)?, by.input(1)?);
        let of_floats = reading.graph.dtype(a).is_some_and(DType::is_float);
        let ordered = COMPARISONS.contains(&&*by.op) && &*by.op != "Equal" && of_floats;
        let rising = by.op.starts_with("Greater") != negated;
        (ordered && stepping.contains(&by.output(0))).then_some(Comparison { op: &by.op, a, b, rising })
    }
}

/// Per value: whether it depends on what `TopK` gives.
fn below_top_k(reading: &Reading) -> Vec<bool> {
    let mut below = vec![false; reading.graph.values().len()];
    for node in reading.between() {
        if &*node.op == "TopK" || node.inputs.iter().flatten().any(|v| below[v.0 as usize]) {
            node.outputs.iter().flatten().for_each(|v| below[v.0 as usize] = true);
        }
    }
    below
}

/// The float that was cut to this integer.
fn uncut(reading: &Reading, integer: ValueId) -> Option<ValueId> {
    let cut = reading.producer(integer).filter(|n| matches!(&*n.op, "Cast" | "CastLike"))?;
    let of_integer = reading.graph.dtype(integer).is_some_and(|t| !t.is_float() && t != DType::Bool);
    cut.input(0).filter(|&x| of_integer && reading.graph.dtype(x).is_some_and(DType::is_float))
}

/// `OneHot(ArgMax(x))` where both speak of the same axis.
fn position(reading: &Reading, one_hot: &Node) -> Option<Smooth> {
    let graph = reading.graph;
    let arg = reading.producer(one_hot.input(0)?).filter(|n| &*n.op == "ArgMax" && n.attributes.int("keepdims", 1) == 0)?;
    let x = arg.input(0)?;
    let rank = graph.rank(x)? as i64;
    let front = |axis: i64| if axis < 0 { axis + rank } else { axis };
    let axis = front(arg.attributes.int("axis", 0));
    let same = axis == front(one_hot.attributes.int("axis", -1)) && graph.shape(x)?.len() == graph.rank(one_hot.output(0)?)?;
    let values = graph.constant(one_hot.input(2)?)?.to_f64();
    (same && values == [0.0, 1.0]).then_some(Smooth::Softmax { of: x, axis })
}

/// The graph with a mark behind each of these values, which every reader reads, and the nodes that give them, described. `None` where
/// no mark could be set.
pub(crate) fn marked(graph: &Graph, smooth: &HashMap<ValueId, Smooth>) -> Option<(Graph, Vec<String>)> {
    let mut changed = Vec::new();
    let mut map: HashMap<ValueId, ValueId> = HashMap::new();
    let new = graph.rewrite(|new, node, inputs| {
        for (old, now) in node.inputs.iter().zip(inputs) {
            if let (Some(old), Some(now)) = (old, now) {
                map.insert(*old, *now);
            }
        }
        if !node.outputs.iter().flatten().any(|y| smooth.contains_key(y)) {
            return None;
        }
        let mut results = new.copy_node(graph, node, inputs.to_vec());
        for (y, result) in node.outputs.iter().zip(&mut results) {
            let (Some(smooth), Some(value)) = (y.and_then(|y| smooth.get(&y)), *result) else { continue };
            let like = derivative(new, &map, *smooth, value)?;
            changed.push(node.describe());
            let mut mark = Node::new("Surrogate", &[like, value], Attributes::none());
            mark.domain = ops::FUNCTIONS.into();
            *result = Some(new.push(mark, 1)[0]);
        }
        Some(results)
    });
    (!changed.is_empty() && new.problems().is_empty()).then_some((new, changed))
}

/// Appends what is differentiated in the place of a value, with the element type of the value.
fn derivative(new: &mut Graph, map: &HashMap<ValueId, ValueId>, smooth: Smooth, value: ValueId) -> Option<ValueId> {
    let dtype = new.dtype(value)?;
    let none = Attributes::none;
    let at = |old: ValueId| map.get(&old).copied();
    let between = |new: &mut Graph, a, b, rising: bool| {
        let d = if rising { new.node("Sub", &[a, b], none()) } else { new.node("Sub", &[b, a], none()) };
        typed(new, d, dtype)
    };
    Some(match smooth {
        Smooth::Operand(x) => {
            let x = at(x)?;
            typed(new, x, dtype)
        }
        Smooth::Negative(x) => {
            let x = typed(new, at(x)?, dtype);
            new.node("Neg", &[x], none())
        }
        Smooth::Sign(x, soft) => softened(new, at(x)?, soft, dtype),
        Smooth::Step { a, b, rising, soft } => {
            let d = between(new, at(a)?, at(b)?, rising);
            softened(new, d, soft, dtype)
        }
        Smooth::Choice { a, b, u, v, rising, soft } => {
            let d = between(new, at(a)?, at(b)?, rising);
            let step = softened(new, d, soft, dtype);
            let height = new.node("Sub", &[at(u)?, at(v)?], none());
            new.node("Mul", &[height, step], none())
        }
        Smooth::Softmax { of, axis } => {
            let of = at(of)?;
            let of = typed(new, of, dtype);
            new.node("Softmax", &[of], [("axis", axis.into())])
        }
    })
}

fn softened(new: &mut Graph, x: ValueId, soft: Soft, dtype: DType) -> ValueId {
    match soft {
        Soft::Softsign => new.node("Softsign", &[x], Attributes::none()),
        Soft::Hardtanh => {
            let [low, high] = [-1.0, 1.0].map(|bound| new.add_constant("bound", Tensor::full(dtype, &[], bound)));
            new.node("Clip", &[x, low, high], Attributes::none())
        }
    }
}

fn typed(graph: &mut Graph, value: ValueId, dtype: DType) -> ValueId {
    if graph.dtype(value) == Some(dtype) {
        return value;
    }
    graph.node("Cast", &[value], [("to", ops::onnx_code(dtype).into())])
}
