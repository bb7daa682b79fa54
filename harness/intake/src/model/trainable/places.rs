//! Where weights stand in a file of any opset: the operands of layers, also behind what only moves elements. Knows operators by
//! name, of their meaning nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use flatscape_graph::{Attributes, Graph, Node, Tensor, ValueId};

use super::{Weight, WeightRole};

/// Operators whose weights are trained, and the operands that are weights.
const LAYERS: &[(&str, &[usize])] = &[
    ("Conv", &[1, 2]),
    ("ConvTranspose", &[1, 2]),
    ("Gemm", &[0, 1, 2]),
    ("MatMul", &[0, 1]),
    ("Einsum", &[0, 1, 2]),
    ("FusedConv", &[1, 2]),
    ("FusedGemm", &[0, 1, 2]),
    ("FusedMatMul", &[0, 1]),
];

/// Operators that scale and shift by trained numbers.
const SCALES: &[(&str, &[usize])] = &[
    ("BatchNormalization", &[1, 2]),
    ("InstanceNormalization", &[1, 2]),
    ("LayerNormalization", &[1, 2]),
    ("GroupNormalization", &[1, 2]),
    ("RMSNormalization", &[1]),
    ("PRelu", &[1]),
];

/// Arithmetic that is trained where it follows a layer: a bias or a scale that an exporter wrote out. Before the first layer it is
/// preprocessing, and a single number is a constant of the formula.
const ARITHMETIC: &[&str] = &["Add", "Sub", "Mul", "Div"];

/// Operators that move the elements of their first operand and change none.
const MOVES: &[&str] = &["Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"];

/// Operators of quantised models whose integer operands are weights.
const QUANTISED: &[&str] = &[
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "QGemm",
    "DynamicQuantizeMatMul",
    "MatMulNBits",
];

/// Where the weights of a graph are.
pub(super) struct Places {
    pub weights: Vec<Weight>,
    pub dropouts: Vec<f64>,
    /// Names of the constants with several floats that are not recognised as weights.
    pub others: Vec<String>,
    /// A node that holds weights as integers.
    pub quantised: Option<String>,
    /// By constant, the weight that all its readers but those of `own` read.
    shared: HashMap<ValueId, usize>,
    /// By node and operand, a weight of this place alone: the statistics of a normalisation are never shared.
    own: HashMap<(usize, usize), usize>,
    /// By node, the number of a dropout.
    dropped: HashMap<usize, usize>,
}

/// What a place makes of the constant behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Parameter,
    Statistic(WeightRole),
    /// Something else reads it.
    Other,
}

/// Finds them.
pub(super) fn find(graph: &Graph) -> Places {
    let (behind, learned) = (behind(graph), learned(graph));
    let mut uses: BTreeMap<ValueId, Vec<(usize, usize, Use)>> = BTreeMap::new();
    for (at, node) in graph.nodes().iter().enumerate() {
        for (place, operand) in node.inputs.iter().enumerate() {
            let Some(constant) = operand.and_then(|v| behind.get(&v)) else { continue };
            let moves = place == 0 && is_move(graph, node);
            if !moves {
                uses.entry(*constant).or_default().push((at, place, used(graph, node, place, *constant, &learned)));
            }
        }
    }
    let visible: HashSet<ValueId> = graph.outputs().iter().filter_map(|o| behind.get(&o.value).copied()).collect();
    let mut places = Places {
        weights: Vec::new(),
        dropouts: Vec::new(),
        others: Vec::new(),
        quantised: quantised(graph),
        shared: HashMap::new(),
        own: HashMap::new(),
        dropped: HashMap::new(),
    };
    for (constant, uses) in uses {
        let Some(value) = graph.constant(constant) else { continue };
        let name = graph.value(constant).name.to_string();
        if uses.iter().any(|(.., used)| *used == Use::Other) || visible.contains(&constant) {
            let extents = |at: usize| matches!(&*graph.nodes()[at].op, "Resize" | "Upsample");
            if value.len() > 1 && !uses.iter().all(|(at, ..)| extents(*at)) {
                places.others.push(name);
            }
            continue;
        }
        let mut add = |role| {
            places.weights.push(Weight { name: name.clone(), value: (**value).clone(), role });
            places.weights.len() - 1
        };
        if uses.iter().any(|(.., used)| *used == Use::Parameter) {
            let weight = add(WeightRole::Parameter);
            places.shared.insert(constant, weight);
        }
        for (at, place, used) in uses {
            if let Use::Statistic(role) = used {
                let weight = add(role);
                places.own.insert((at, place), weight);
            }
        }
    }
    for (at, node) in graph.nodes().iter().enumerate() {
        if let Some(ratio) = dropout(graph, node) {
            places.dropped.insert(at, places.dropouts.len());
            places.dropouts.push(ratio);
        }
    }
    places
}

/// The graph with marks in place of its weights, and with a product by a mark in place of every dropout.
pub(super) fn marked(
    graph: &Graph,
    places: &Places,
    weight: &dyn Fn(usize) -> Tensor,
    dropout: &dyn Fn(usize) -> Tensor,
) -> Graph {
    let mut known: HashMap<usize, ValueId> = HashMap::new();
    let mut at = 0;
    graph.rewrite(|new, node, inputs| {
        let here = at;
        at += 1;
        let mut inputs = inputs.to_vec();
        let mut changed = false;
        for (place, operand) in node.inputs.iter().enumerate() {
            let shared = || operand.and_then(|v| places.shared.get(&v));
            let Some(&number) = places.own.get(&(here, place)).or_else(shared) else { continue };
            let name = || operand.map_or_else(String::new, |v| graph.value(v).name.to_string());
            let mark = *known.entry(number).or_insert_with(|| new.add_constant(&name(), weight(number)));
            inputs[place] = Some(mark);
            changed = true;
        }
        if let (Some(&number), Some(Some(x))) = (places.dropped.get(&here), inputs.first()) {
            let mark = new.add_constant("dropout", dropout(number));
            return Some(vec![Some(new.node("Mul", &[*x, mark], Attributes::none()))]);
        }
        changed.then(|| new.copy_node(graph, node, inputs))
    })
}

/// By value, the float constant whose elements it holds.
fn behind(graph: &Graph) -> HashMap<ValueId, ValueId> {
    let float = |(id, value): (ValueId, &flatscape_graph::Value)| {
        value.constant.as_ref().filter(|t| t.dtype().is_float() && !t.is_empty()).map(|_| (id, id))
    };
    let mut behind: HashMap<ValueId, ValueId> = graph.values().filter_map(float).collect();
    for node in graph.nodes().iter().filter(|n| is_move(graph, n)) {
        let source = node.input(0).and_then(|v| behind.get(&v).copied());
        if let (Some(source), Some(result)) = (source, node.output(0)) {
            behind.insert(result, source);
        }
    }
    behind
}

/// The values that depend on a layer.
fn learned(graph: &Graph) -> HashSet<ValueId> {
    let mut learned = HashSet::new();
    for node in graph.nodes() {
        if row(LAYERS, node).is_some() || node.inputs.iter().flatten().any(|v| learned.contains(v)) {
            learned.extend(node.outputs.iter().flatten().copied());
        }
    }
    learned
}

fn used(graph: &Graph, node: &Node, place: usize, constant: ValueId, learned: &HashSet<ValueId>) -> Use {
    if [LAYERS, SCALES].iter().any(|table| row(table, node).is_some_and(|places| places.contains(&place))) {
        return Use::Parameter;
    }
    let direct = node.input(place) == Some(constant);
    match (&*node.op, place) {
        ("BatchNormalization", 3) if direct => Use::Statistic(WeightRole::Mean),
        ("BatchNormalization", 4) if direct => Use::Statistic(WeightRole::Variance),
        (op, 0 | 1) if ARITHMETIC.contains(&op) && is_standard(node) => {
            let several = graph.constant(constant).is_some_and(|t| t.len() > 1);
            let follows = node.input(1 - place).is_some_and(|v| learned.contains(&v));
            if several && follows { Use::Parameter } else { Use::Other }
        }
        _ => Use::Other,
    }
}

fn row(table: &'static [(&str, &[usize])], node: &Node) -> Option<&'static [usize]> {
    let ours = is_standard(node) || &*node.domain == "com.microsoft";
    table.iter().find(|(op, _)| ours && *op == &*node.op).map(|(_, places)| *places)
}

fn is_standard(node: &Node) -> bool {
    matches!(&*node.domain, "" | "ai.onnx")
}

/// Also a `Slice` of a constant that keeps every element, as one that turns a kernel round does.
fn is_move(graph: &Graph, node: &Node) -> bool {
    is_standard(node) && (MOVES.contains(&&*node.op) || &*node.op == "Slice" && keeps_all(graph, node).unwrap_or(false))
}

fn keeps_all(graph: &Graph, slice: &Node) -> Option<bool> {
    let numbers = |place: usize| graph.constant(slice.input(place)?)?.to_ints();
    let shape = graph.constant(slice.input(0)?)?.shape().to_vec();
    let (starts, ends) = (numbers(1)?, numbers(2)?);
    let axes = slice.input(3).map_or_else(|| Some((0..starts.len() as i64).collect()), |_| numbers(3))?;
    let steps = slice.input(4).map_or_else(|| Some(vec![1; starts.len()]), |_| numbers(4))?;
    let whole = |at: usize| {
        let axis = usize::try_from(if axes[at] < 0 { axes[at] + shape.len() as i64 } else { axes[at] }).ok()?;
        let extent = *shape.get(axis)? as i64;
        let (start, end) = (*starts.get(at)?, *ends.get(at)?);
        Some(match steps.get(at)? {
            1 => (start == 0 || start <= -extent) && end >= extent,
            -1 => (start == -1 || start >= extent - 1) && end < -extent,
            _ => false,
        })
    };
    Some((0..axes.len()).all(|at| whole(at) == Some(true)))
}

/// The share that a node drops while a model is trained; 0.5 where the file does not say.
fn dropout(graph: &Graph, node: &Node) -> Option<f64> {
    let masked = node.output(1).is_some_and(|mask| {
        let read = graph.nodes().iter().flat_map(|n| n.inputs.iter().flatten());
        read.chain(graph.outputs().iter().map(|o| &o.value)).any(|v| *v == mask)
    });
    if &*node.op != "Dropout" || !is_standard(node) || masked {
        return None;
    }
    let stated = node.attributes.get("ratio").map(|_| f64::from(node.attributes.float("ratio", 0.5)));
    let operand = node.input(1).map(|v| graph.constant(v).and_then(|t| t.to_f64().first().copied()));
    let ratio = match (stated, operand) {
        (Some(ratio), _) => ratio,
        (None, Some(ratio)) => ratio?,
        (None, None) => 0.5,
    };
    (0.0..1.0).contains(&ratio).then_some(ratio)
}

/// A node that holds weights as integers.
fn quantised(graph: &Graph) -> Option<String> {
    let holds = |node: &&Node| {
        let integers =
            |v: &ValueId| graph.constant(*v).is_some_and(|t| !t.dtype().is_float() && t.len() > 1 && t.shape().len() > 1);
        QUANTISED.contains(&&*node.op) && node.inputs.iter().flatten().any(integers)
    };
    graph.nodes().iter().find(holds).map(Node::describe)
}
