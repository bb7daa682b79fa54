//! `formulas`: operations on single elements that follow each other, and a sum, mean or maximum of them over axes, as one operator of
//! our own that passes over memory once, `Formula`. A Reshape between them that leaves rows as they are moves before them.
//!
//! A value that several formulas read is computed again in each where that reads no more memory than the value would, and nobody else
//! needs it. What ONNX Runtime fuses into a convolution stays where it is.

use std::collections::HashMap;

use flatscape_graph::{Attributes, DType, Dim, Graph, Node, ValueId, ValueType};
use flatscape_kernels::{Operation, Reduction, STEPS};

use super::{CHWN, DOMAIN, FORMULA, GATE, WINOGRAD, producer, pushed, uses};

/// Operands of a formula, at most.
pub(crate) const OPERANDS: usize = 8;
/// Steps that are computed again by every formula that reads them, at most.
const AGAIN: usize = 6;
/// Elements of a row, or of a value without rows, from which passes over memory cost more than operators.
const LARGE: usize = 256;
/// Elements beside each other that an operand has in one place, at least.
const RUN: usize = 32;
/// Operations of which ONNX Runtime does one element at a time.
const SLOW: [Operation; 2] = [Operation::Sign, Operation::Select];

pub(super) fn apply(graph: &Graph, _: &str, _: usize) -> Graph {
    let lowering = Lowering { graph, uses: uses(graph), by_formulas: readers(graph) };
    let mut known: HashMap<ValueId, Chain> = HashMap::new();
    let lowered = graph.rewrite(|new, node, inputs| {
        let ty = &graph.value(node.output(0)?).ty;
        let (chain, total) = match (lowering.operation(node), total(graph, node)) {
            (Some(operation), _) => (lowering.chain(new, &known, node, inputs, operation, ty)?, None),
            (None, Some(total)) => (lowering.reduced(&known, node, inputs)?, Some(total)),
            (None, None) => (lowering.reshaped(new, &known, node, inputs, ty)?, None),
        };
        // one operation alone is left to the engine, unless the engine is slow at it
        let slow = |steps: &[[usize; 4]]| matches!(steps, [[op, ..]] if SLOW.iter().any(|&slow| slow as usize == *op));
        let result = match chain.steps.len() >= 2 || total.is_some() || slow(&chain.steps) {
            true => emit(new, &chain, total, ty)?,
            false => new.copy_node(graph, node, inputs.to_vec()).first().copied()??,
        };
        if total.is_none() {
            known.insert(result, chain);
        }
        Some(vec![Some(result)])
    });
    lowered.without_dead()
}

/// Steps on values of the new graph. Operands of a step below [`OPERANDS`] are values, others results.
#[derive(Clone)]
struct Chain {
    values: Vec<ValueId>,
    /// One of them that has the extents of the result.
    like: Option<usize>,
    /// Those of them that are as large as the result.
    large: usize,
    steps: Vec<[usize; 4]>,
}

impl Chain {
    /// The place of a value; `None` where there are too many.
    fn value(&mut self, id: ValueId, large: bool) -> Option<usize> {
        if let Some(place) = self.values.iter().position(|&v| v == id) {
            return Some(place);
        }
        let place = self.values.len();
        self.values.push(id);
        self.large += usize::from(large);
        if large && self.like.is_none() {
            self.like = Some(place);
        }
        (place < OPERANDS).then_some(place)
    }

    /// Appends the steps of another one; gives the place of its result.
    fn append(&mut self, new: &Graph, other: &Chain, ty: &ValueType) -> Option<usize> {
        let places = other.values.iter().map(|&v| self.value(v, as_large(new, v, ty))).collect::<Option<Vec<_>>>()?;
        let base = self.steps.len();
        let moved = |operand: usize| if operand < OPERANDS { places[operand] } else { operand + base };
        self.steps.extend(other.steps.iter().map(|&[operation, a, b, c]| [operation, moved(a), moved(b), moved(c)]));
        (self.steps.len() < STEPS).then_some(OPERANDS + self.steps.len() - 1)
    }
}

struct Lowering<'g> {
    graph: &'g Graph,
    uses: HashMap<ValueId, usize>,
    /// Whether operations that a formula can have are the only readers of a value.
    by_formulas: HashMap<ValueId, bool>,
}

impl Lowering<'_> {
    /// What a node does to single elements of a large value.
    fn operation(&self, node: &Node) -> Option<Operation> {
        let operation = operation(node)?;
        let ty = &self.graph.value(node.output(0)?).ty;
        let fused = || {
            // ONNX Runtime fuses the first ReLU or addition behind a convolution into it, and folds products and sums by channel
            let behind = |id: ValueId| {
                let made = ["Conv", "ConvTranspose", CHWN, WINOGRAD].iter().any(|op| producer(self.graph, id, op).is_some());
                made && self.uses.get(&id) == Some(&1)
            };
            node.inputs.iter().flatten().any(|&id| behind(id))
        };
        let skipped = usize::from(operation == Operation::Select);
        let floats = node.inputs.iter().take(operation.operands()).skip(skipped).flatten();
        let all_floats = floats.copied().all(|id| self.graph.dtype(id) == Some(DType::F32));
        let fits = match operation {
            Operation::Max | Operation::Min => node.inputs.len() == 2,
            // a condition for every element would be one more pass
            Operation::Select => !as_large(self.graph, node.input(0)?, ty),
            _ => true,
        };
        (large(ty) && all_floats && fits && !fused()).then_some(operation)
    }

    /// The steps of a node on the values of the new graph.
    fn chain(
        &self,
        new: &mut Graph,
        known: &HashMap<ValueId, Chain>,
        node: &Node,
        inputs: &[Option<ValueId>],
        operation: Operation,
        ty: &ValueType,
    ) -> Option<Chain> {
        let mut inputs = inputs.to_vec();
        if operation == Operation::Select {
            inputs[0] = Some(as_number(new, inputs[0]?)?);
        }
        let mut chain = Chain { values: Vec::new(), like: None, large: 0, steps: Vec::new() };
        let mut places = Vec::new();
        for (&id, old) in inputs.iter().zip(&node.inputs).take(operation.operands()) {
            let (id, old) = (id?, (*old)?);
            let place =
                known.get(&id).filter(|made| self.worthwhile(made, old) && new.value(id).ty.shape == ty.shape).and_then(|made| {
                    let mut longer = chain.clone();
                    let place = longer.append(new, made, ty)?;
                    chain = longer;
                    Some(place)
                });
            places.push(match place {
                Some(place) => place,
                None => chain.value(id, as_large(new, id, ty)).filter(|_| runs(new, id, ty))?,
            });
        }
        let place = |operand: usize| places.get(operand).unwrap_or(&places[0]);
        chain.steps.push([operation as usize, *place(0), *place(1), *place(2)]);
        let fits = chain.steps.len() <= STEPS && (chain.like.is_some() || operation == Operation::Copy);
        fits.then_some(chain)
    }

    /// The steps of what a reduction reads.
    fn reduced(&self, known: &HashMap<ValueId, Chain>, node: &Node, inputs: &[Option<ValueId>]) -> Option<Chain> {
        let made = known.get(&inputs.first().copied()??)?;
        (self.worthwhile(made, node.input(0)?) && made.like.is_some()).then(|| made.clone())
    }

    /// The steps of what a Reshape reads that leaves rows as they are, on operands of other extents.
    fn reshaped(
        &self,
        new: &mut Graph,
        known: &HashMap<ValueId, Chain>,
        node: &Node,
        inputs: &[Option<ValueId>],
        ty: &ValueType,
    ) -> Option<Chain> {
        if &*node.op != "Reshape" || !node.domain.is_empty() || !large(ty) {
            return None;
        }
        let (value, extents) = (inputs.first().copied()??, inputs.get(1).copied()??);
        let made = known.get(&value).filter(|made| node.input(0).is_some_and(|old| self.worthwhile(made, old)))?;
        let from = new.value(value).ty.clone();
        let rows = |ty: &ValueType| ty.shape.as_deref().and_then(<[Dim]>::first).cloned();
        if rows(&from).is_none() || rows(&from) != rows(ty) {
            return None;
        }
        let is_one = |id: ValueId| new.shape(id).is_some_and(|dims| dims.iter().all(|dim| dim.fixed() == Some(1)));
        if !made.values.iter().all(|&id| as_large(new, id, &from) || is_one(id)) {
            return None;
        }
        let mut chain = made.clone();
        for id in &mut chain.values {
            if as_large(new, *id, &from) {
                *id = of_extents(new, *id, extents, node, ty)?;
            }
        }
        Some(chain)
    }

    /// Whether the steps of a value are computed where it is read.
    fn worthwhile(&self, made: &Chain, value: ValueId) -> bool {
        let again = || made.large <= 1 && made.steps.len() <= AGAIN && self.by_formulas.get(&value) == Some(&true);
        self.uses.get(&value) == Some(&1) || again()
    }
}

/// A value under other extents: what it was before a Reshape where it had them there.
fn of_extents(new: &mut Graph, id: ValueId, extents: ValueId, node: &Node, ty: &ValueType) -> Option<ValueId> {
    let before = producer(new, id, "Reshape").and_then(|reshape| reshape.input(0));
    if let Some(before) = before.filter(|&before| as_large(new, before, ty)) {
        return Some(before);
    }
    let reshaped = new.push(Node::new("Reshape", &[id, extents], node.attributes.clone()), 1)[0];
    new.declare(reshaped, ty).ok()?;
    Some(reshaped)
}

/// A condition as 0 and 1.
fn as_number(new: &mut Graph, condition: ValueId) -> Option<ValueId> {
    let ty = ValueType { dtype: Some(DType::F32), ..new.value(condition).ty.clone() };
    let number = new.push(Node::new("Cast", &[condition], Attributes::none().with("to", 1)), 1)[0];
    new.declare(number, &ty).ok()?;
    Some(number)
}

/// For every value, whether operations that a formula can have are its only readers.
fn readers(graph: &Graph) -> HashMap<ValueId, bool> {
    let mut alone = HashMap::new();
    for node in graph.nodes() {
        let reads = operation(node).is_some() || total(graph, node).is_some();
        node.inputs.iter().flatten().for_each(|&id| *alone.entry(id).or_insert(true) &= reads);
    }
    graph.outputs().iter().for_each(|o| {
        alone.insert(o.value, false);
    });
    alone
}

/// What a node does to single elements.
fn operation(node: &Node) -> Option<Operation> {
    Some(match (&*node.domain, &*node.op) {
        (DOMAIN, GATE) => Operation::Gate,
        ("", "Expand") => Operation::Copy,
        ("", "Add") => Operation::Add,
        ("", "Sub") => Operation::Sub,
        ("", "Mul") => Operation::Mul,
        ("", "Div") => Operation::Div,
        ("", "Neg") => Operation::Neg,
        ("", "Relu") => Operation::Relu,
        ("", "Sqrt") => Operation::Sqrt,
        ("", "Reciprocal") => Operation::Reciprocal,
        ("", "Abs") => Operation::Abs,
        ("", "Sign") => Operation::Sign,
        ("", "Max") => Operation::Max,
        ("", "Min") => Operation::Min,
        ("", "Where") => Operation::Select,
        _ => return None,
    })
}

/// The attribute `total` of a node that reduces a large value over all axes but one of the first two, or over all.
fn total(graph: &Graph, node: &Node) -> Option<[i64; 3]> {
    let reduction = match (&*node.domain, &*node.op) {
        ("", "ReduceSum") => Reduction::Sum,
        ("", "ReduceMean") => Reduction::Mean,
        ("", "ReduceMax") => Reduction::Max,
        _ => return None,
    };
    let x = node.input(0)?;
    let rank = graph.rank(x).filter(|_| large(&graph.value(x).ty))? as i64;
    let listed = match node.input(1) {
        Some(axes) => graph.constant(axes)?.to_ints()?,
        None => Vec::new(),
    };
    let nothing = listed.is_empty() && node.attributes.int("noop_with_empty_axes", 0) == 1;
    let summed = |axis: i64| listed.is_empty() || listed.contains(&axis) || listed.contains(&(axis - rank));
    let kept: Vec<i64> = (0..rank).filter(|&axis| !summed(axis)).collect();
    let kept = match kept[..] {
        [] => -1,
        [axis @ 0..=1] => axis,
        _ => return None,
    };
    (!nothing).then(|| [kept, reduction as i64, node.attributes.int("keepdims", 1)])
}

/// Whether a value of this type has many elements, in each row where it has rows.
fn large(ty: &ValueType) -> bool {
    let Some(dims) = ty.shape.as_deref().filter(|_| ty.dtype == Some(DType::F32)) else { return false };
    let rest = dims.iter().skip(1).map(Dim::fixed).product::<Option<usize>>();
    let first = dims.first().map_or(1, |d| d.fixed().unwrap_or(1));
    rest.is_some_and(|rest| rest * first >= LARGE)
}

/// Whether a value has the extents of a type.
fn as_large(new: &Graph, id: ValueId, ty: &ValueType) -> bool {
    new.shape(id).is_some() && new.shape(id) == ty.shape.as_deref()
}

/// Whether a value is repeated, or not, over many elements beside each other.
fn runs(new: &Graph, id: ValueId, ty: &ValueType) -> bool {
    let (Some(own), Some(all)) = (new.shape(id), ty.shape.as_deref()) else { return false };
    let is_one = |dim: &Dim| dim.fixed() == Some(1);
    let along = |moves: bool| {
        let pairs = own.iter().rev().zip(all.iter().rev());
        let alike = pairs.take_while(|(own, all)| if moves { own == all } else { is_one(own) });
        alike.map(|(_, all)| all.fixed().unwrap_or(1)).product::<usize>()
    };
    own.len() <= all.len() && (own.iter().all(is_one) || own == all || along(true).max(along(false)) >= RUN)
}

fn emit(new: &mut Graph, chain: &Chain, total: Option<[i64; 3]>, ty: &ValueType) -> Option<ValueId> {
    let count = chain.values.len();
    let operand = |place: usize| if place < OPERANDS { place } else { place - OPERANDS + count } as i64;
    let numbers = |&[operation, a, b, c]: &[usize; 4]| [operation as i64, operand(a), operand(b), operand(c)];
    let steps: Vec<i64> = chain.steps.iter().flat_map(numbers).collect();
    let mut attributes =
        Attributes::none().with("operands", [count as i64]).with("like", [chain.like? as i64]).with("steps", steps);
    if let Some(total) = total {
        attributes = attributes.with("total", total.to_vec());
    }
    Some(pushed(new, Node::new(FORMULA, &chain.values, attributes), ty))
}
