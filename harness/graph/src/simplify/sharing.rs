//! Sharing of what is equal: constants of the same content, nodes of the same operator, operands and attributes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ir::{Attribute, Graph, Node, ValueId};
use crate::ops;
use crate::tensor::{DType, Tensor};

/// What has been seen so far.
#[derive(Default)]
pub(super) struct Sharing {
    canonical: HashMap<ValueId, ValueId>,
    constants: HashMap<(DType, Vec<usize>, Vec<u8>), ValueId>,
    nodes: HashMap<Key, Vec<Option<ValueId>>>,
}

/// A node without its labels.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Key {
    op: Arc<str>,
    domain: Arc<str>,
    inputs: Vec<Option<ValueId>>,
    outputs: Vec<bool>,
    attributes: Vec<u8>,
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
        let key = (tensor.dtype(), tensor.shape().to_vec(), bytes(tensor));
        let same = *self.constants.entry(key).or_insert(id);
        self.canonical.insert(id, same);
        same
    }

    /// What makes a node equal to another; `None` if nothing does.
    pub(super) fn key(node: &Node) -> Option<Key> {
        if !ops::is_known(&node.op, &node.domain) || DRAWN.contains(&&*node.op) {
            return None;
        }
        let mut inputs = node.inputs.clone();
        if COMMUTATIVE.contains(&&*node.op) {
            inputs.sort_unstable();
        }
        let mut attributes = Vec::new();
        for (name, value) in &node.attributes.0 {
            attributes.extend_from_slice(name.as_bytes());
            attributes.push(0);
            encode(value, &mut attributes)?;
            attributes.push(0);
        }
        let outputs = node.outputs.iter().map(Option::is_some).collect();
        Some(Key { op: node.op.clone(), domain: node.domain.clone(), inputs, outputs, attributes })
    }

    /// The results of an equal node that is there already.
    pub(super) fn node(&self, key: &Key) -> Option<Vec<Option<ValueId>>> {
        self.nodes.get(key).cloned()
    }

    /// Lets later equal nodes use these results.
    pub(super) fn remember(&mut self, key: Key, results: &[Option<ValueId>]) {
        self.nodes.insert(key, results.to_vec());
    }
}

fn encode(value: &Attribute, into: &mut Vec<u8>) -> Option<()> {
    match value {
        Attribute::Int(v) => into.extend(v.to_le_bytes()),
        Attribute::Float(v) => into.extend(v.to_bits().to_le_bytes()),
        Attribute::String(v) => into.extend(v.as_bytes()),
        Attribute::Ints(v) => v.iter().for_each(|v| into.extend(v.to_le_bytes())),
        Attribute::Floats(v) => v.iter().for_each(|v| into.extend(v.to_bits().to_le_bytes())),
        Attribute::Strings(v) => v.iter().for_each(|v| {
            into.extend(v.len().to_le_bytes());
            into.extend(v.as_bytes());
        }),
        Attribute::Tensor(t) => {
            into.extend(format!("{:?}{:?}", t.dtype(), t.shape()).as_bytes());
            into.extend(bytes(t));
        }
        Attribute::Unread(_) => return None,
    }
    Some(())
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    match tensor {
        Tensor::F32(a) => a.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect(),
        Tensor::F64(a) => a.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect(),
        Tensor::I8(a) => a.iter().map(|&v| v as u8).collect(),
        Tensor::I32(a) => a.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Tensor::I64(a) => a.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Tensor::U8(a) => a.iter().copied().collect(),
        Tensor::Bool(a) => a.iter().map(|&v| u8::from(v)).collect(),
    }
}
