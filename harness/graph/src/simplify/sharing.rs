//! Shares equal constants, and equal nodes: the same operator, operands and attributes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::ir::{Attribute, Attributes, Graph, Node, ValueId};
use crate::ops;
use crate::tensor::Tensor;

/// What has been seen so far: of every content the first constant, of every operation the first result. Looked up by a hash of 64
/// bits and then compared; of two contents with the same hash only the first is shared.
#[derive(Default)]
pub(super) struct Sharing {
    canonical: HashMap<ValueId, ValueId>,
    constants: HashMap<u64, ValueId>,
    nodes: HashMap<u64, ValueId>,
}

/// Equal operands and attributes do not make these equal.
const DRAWN: &[&str] =
    &["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"];

/// The order of the two operands does not matter.
const COMMUTATIVE: &[&str] = &["Add", "Mul", "Equal", "And", "Or"];

impl Sharing {
    /// The first constant with the same content, or the value itself. Large constants are not compared.
    pub(super) fn constant(&mut self, graph: &Graph, id: ValueId) -> ValueId {
        const SMALL: usize = 1024;
        let Some(tensor) = graph.constant(id).filter(|t| t.len() <= SMALL) else { return id };
        if let Some(&same) = self.canonical.get(&id) {
            return same;
        }
        let first = *self.constants.entry(hash(|h| content(tensor, h))).or_insert(id);
        let same = graph.constant(first).is_some_and(|other| identical(other, tensor));
        let canonical = if same { first } else { id };
        self.canonical.insert(id, canonical);
        canonical
    }

    /// The results of an equal node that is there already, or under which hash the results of this one are to be remembered;
    /// neither if nothing is equal to it.
    pub(super) fn node(&self, graph: &Graph, node: &Node) -> Result<Vec<Option<ValueId>>, Option<u64>> {
        let drawn = DRAWN.contains(&&*node.op);
        let closed = node.attributes.0.values().all(|a| !matches!(a, Attribute::Graph(_) | Attribute::Unread(_)));
        if drawn || !closed || !ops::is_known(&node.op, &node.domain) {
            return Err(None);
        }
        let key = hash(|h| operation(node, h));
        let seen = self.nodes.get(&key).and_then(|&v| graph.value(v).producer).map(|(id, _)| graph.node_at(id));
        seen.filter(|seen| equal(seen, node)).map(|seen| seen.outputs.clone()).ok_or(Some(key))
    }

    /// Lets later equal nodes use these results.
    pub(super) fn remember(&mut self, key: u64, results: &[Option<ValueId>]) {
        if let Some(&first) = results.iter().flatten().next() {
            self.nodes.entry(key).or_insert(first);
        }
    }
}

fn hash(of: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of(&mut hasher);
    hasher.finish()
}

/// The operands of a node, sorted where their order does not matter.
fn operands(node: &Node) -> [Option<ValueId>; 2] {
    let pair = [node.input(0), node.input(1)];
    if COMMUTATIVE.contains(&&*node.op) && pair[0] > pair[1] { [pair[1], pair[0]] } else { pair }
}

fn operation(node: &Node, hasher: &mut DefaultHasher) {
    (&*node.op, &*node.domain, operands(node), node.inputs.get(2..), node.outputs.len()).hash(hasher);
    for (name, value) in &node.attributes.0 {
        name.hash(hasher);
        match value {
            Attribute::Int(v) => v.hash(hasher),
            Attribute::Float(v) => v.to_bits().hash(hasher),
            Attribute::String(v) => v.hash(hasher),
            Attribute::Ints(v) => v.hash(hasher),
            Attribute::Floats(v) => v.iter().for_each(|v| v.to_bits().hash(hasher)),
            Attribute::Strings(v) => v.hash(hasher),
            Attribute::Tensor(t) => content(t, hasher),
            Attribute::Graph(_) | Attribute::Unread(_) => {}
        }
    }
}

/// Whether two nodes are the same but for their labels.
fn equal(a: &Node, b: &Node) -> bool {
    let asked = |n: &Node, i: usize| n.outputs.get(i).is_some_and(Option::is_some);
    a.op == b.op
        && a.domain == b.domain
        && a.inputs.len() == b.inputs.len()
        && operands(a) == operands(b)
        && a.inputs.get(2..) == b.inputs.get(2..)
        && (0..a.outputs.len().max(b.outputs.len())).all(|i| asked(a, i) == asked(b, i))
        && same_attributes(&a.attributes, &b.attributes)
}

fn same_attributes(a: &Attributes, b: &Attributes) -> bool {
    a.0.len() == b.0.len()
        && a.0.iter().zip(&b.0).all(|((name, x), (other, y))| {
            name == other
                && match (x, y) {
                    (Attribute::Float(x), Attribute::Float(y)) => x.to_bits() == y.to_bits(),
                    (Attribute::Floats(x), Attribute::Floats(y)) => {
                        x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits())
                    }
                    (Attribute::Tensor(x), Attribute::Tensor(y)) => identical(x, y),
                    (x, y) => x == y,
                }
        })
}

/// Element type, extents and bits of a tensor.
fn content(tensor: &Tensor, hasher: &mut DefaultHasher) {
    (tensor.dtype(), tensor.shape()).hash(hasher);
    match tensor {
        Tensor::F32(a) => a.iter().for_each(|v| v.to_bits().hash(hasher)),
        Tensor::F64(a) => a.iter().for_each(|v| v.to_bits().hash(hasher)),
        Tensor::I8(a) => a.iter().for_each(|v| v.hash(hasher)),
        Tensor::I32(a) => a.iter().for_each(|v| v.hash(hasher)),
        Tensor::I64(a) => a.iter().for_each(|v| v.hash(hasher)),
        Tensor::U8(a) => a.iter().for_each(|v| v.hash(hasher)),
        Tensor::Bool(a) => a.iter().for_each(|v| v.hash(hasher)),
    }
}

/// Equal to the bit: −0 is not 0, and a NaN is itself.
fn identical(a: &Tensor, b: &Tensor) -> bool {
    if a.shape() != b.shape() {
        return false;
    }
    match (a, b) {
        (Tensor::F32(a), Tensor::F32(b)) => a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()),
        (Tensor::F64(a), Tensor::F64(b)) => a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()),
        (a, b) => a == b,
    }
}
