//! Straight through: where the derivative is zero almost everywhere, attacks take the derivative of a smooth function instead (BPDA, Athalye
//! et al. 2018). The values of the graph stay what they are.

use std::collections::{HashMap, HashSet};

use flatscape_graph::{Attributes, DType, Graph, Node, Tensor, ValueId, ops};

use super::{Changes, Remedy, listed};
use crate::hazards::{COMPARISONS, Reading, thresholds};

pub(super) const REMEDY: Remedy = Remedy {
    name: "straight-through",
    summary: "attacks differentiate rounding, signs, thresholds, argmax and k-winners as smooth functions",
    changes: Changes::Gradient,
    rewrite,
};

/// What stands in for the derivative of a node.
#[derive(Clone, Copy)]
enum Smooth {
    /// y = round x: that of x.
    Operand(ValueId),
    /// y = sign x: that of x/(1+|x|), which is never zero.
    Softsign,
    /// y = [a > b] as a number: that of ½(1 + d/(1+|d|)), d = a − b. `rising` is false where it is [a < b].
    Step { a: ValueId, b: ValueId, rising: bool },
    /// y = [a > b] ? u : v with u and v without a derivative: that of v + (u − v)·step.
    Choice { a: ValueId, b: ValueId, rising: bool },
    /// y = the largest entry as 1, the others as 0: that of a softmax along the axis.
    Softmax { of: ValueId, axis: i64 },
}

fn rewrite(graph: &Graph) -> Option<(Graph, String)> {
    let reading = Reading::of(graph)?;
    let smooth = choose(&reading);
    if smooth.is_empty() {
        return None;
    }
    let mut changed = Vec::new();
    let mut map: HashMap<ValueId, ValueId> = HashMap::new();
    let new = graph.rewrite(|new, node, inputs| {
        for (old, now) in node.inputs.iter().zip(inputs) {
            if let (Some(old), Some(now)) = (old, now) {
                map.insert(*old, *now);
            }
        }
        let y = node.output(0)?;
        let smooth = smooth.get(&y)?;
        let mut results = new.copy_node(graph, node, inputs.to_vec());
        let value = results[0]?;
        let like = derivative(new, &map, *smooth, inputs, value)?;
        changed.push(node.describe());
        let mut mark = Node::new("Surrogate", &[like, value], Attributes::none());
        mark.domain = ops::FUNCTIONS.into();
        results[0] = Some(new.push(mark, 1)[0]);
        Some(results)
    });
    let what = format!("attacks differentiate {} as a smooth function", listed(&changed));
    (!changed.is_empty() && new.problems().is_empty()).then_some((new, what))
}

/// The nodes to be looked through, by their first result.
fn choose(reading: &Reading) -> HashMap<ValueId, Smooth> {
    let graph = reading.graph;
    let stepping: HashSet<Option<ValueId>> = thresholds(reading).iter().map(|n| n.output(0)).collect();
    let chosen_by_top_k = below_top_k(reading);
    let mut found = HashMap::new();
    for node in reading.between() {
        let (Some(y), Some(x)) = (node.output(0), node.input(0)) else { continue };
        let comparison = || {
            let (mut by, mut negated) = (reading.producer(x)?, false);
            while &*by.op == "Not" {
                (by, negated) = (reading.producer(by.input(0)?)?, !negated);
            }
            let (a, b) = (by.input(0)?, by.input(1)?);
            let ordered = COMPARISONS.contains(&&*by.op) && &*by.op != "Equal" && graph.dtype(a).is_some_and(DType::is_float);
            (ordered && stepping.contains(&by.output(0))).then_some((a, b, by.op.starts_with("Greater") != negated))
        };
        let smooth = match &*node.op {
            "Round" | "Floor" | "Ceil" => Some(Smooth::Operand(x)),
            "Sign" => Some(Smooth::Softsign),
            "Hardmax" => Some(Smooth::Softmax { of: x, axis: node.attributes.int("axis", -1) }),
            "OneHot" => position(reading, node),
            "Cast" if graph.dtype(y).is_some_and(DType::is_float) => match (uncut(reading, x), comparison()) {
                (Some(before), _) => Some(Smooth::Operand(before)),
                (None, Some((a, b, rising))) => Some(Smooth::Step { a, b, rising }),
                _ => None,
            },
            "Where" if reading.is_frozen(y) => comparison().map(|(a, b, rising)| Smooth::Choice { a, b, rising }),
            // what the k largest keep of x
            "Mul" | "Where" => {
                let switch = |i: usize| node.input(i).is_some_and(|v| chosen_by_top_k[v.0 as usize] && reading.is_frozen(v));
                let kept = |i: usize| node.input(i).filter(|&v| reading.is_active(v) && !chosen_by_top_k[v.0 as usize]);
                let places: &[(usize, usize)] = if &*node.op == "Where" { &[(0, 1)] } else { &[(0, 1), (1, 0)] };
                places.iter().find_map(|&(s, k)| kept(k).filter(|_| switch(s))).map(Smooth::Operand)
            }
            _ => None,
        };
        if let Some(smooth) = smooth {
            found.insert(y, smooth);
        }
    }
    found
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

/// Appends what is differentiated in the place of a node, with the element type of its value.
fn derivative(
    new: &mut Graph,
    map: &HashMap<ValueId, ValueId>,
    smooth: Smooth,
    inputs: &[Option<ValueId>],
    value: ValueId,
) -> Option<ValueId> {
    let dtype = new.dtype(value)?;
    let none = Attributes::none;
    let at = |old: ValueId| map.get(&old).copied();
    let half = |new: &mut Graph| new.add_constant("half", Tensor::full(dtype, &[], 0.5));
    let step = |new: &mut Graph, a, b, rising: bool| {
        let d = if rising { new.node("Sub", &[a, b], none()) } else { new.node("Sub", &[b, a], none()) };
        let d = typed(new, d, dtype);
        let (soft, half) = (new.node("Softsign", &[d], none()), half(new));
        let scaled = new.node("Mul", &[soft, half], none());
        new.node("Add", &[scaled, half], none())
    };
    Some(match smooth {
        Smooth::Operand(x) => {
            let x = at(x)?;
            typed(new, x, dtype)
        }
        Smooth::Softsign => new.node("Softsign", &[inputs[0]?], none()),
        Smooth::Step { a, b, rising } => step(new, at(a)?, at(b)?, rising),
        Smooth::Choice { a, b, rising } => {
            let step = step(new, at(a)?, at(b)?, rising);
            let (u, v) = (inputs.get(1).copied()??, inputs.get(2).copied()??);
            let (between, scaled) = (new.node("Sub", &[u, v], none()), step);
            let scaled = new.node("Mul", &[between, scaled], none());
            new.node("Add", &[v, scaled], none())
        }
        Smooth::Softmax { of, axis } => {
            let of = at(of)?;
            let of = typed(new, of, dtype);
            new.node("Softmax", &[of], [("axis", axis.into())])
        }
    })
}

fn typed(graph: &mut Graph, value: ValueId, dtype: DType) -> ValueId {
    if graph.dtype(value) == Some(dtype) {
        return value;
    }
    graph.node("Cast", &[value], [("to", ops::onnx_code(dtype).into())])
}
