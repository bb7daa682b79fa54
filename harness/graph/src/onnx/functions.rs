//! Local functions of a model: which one a node calls, how much their bodies hold when all calls are inlined, and in which opset
//! they are written. How a body becomes nodes is the reader's business.

use std::collections::HashMap;

use super::fault::{Fault, ReadError};
use super::order::{sources, topological};
use super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use super::read::{standard, text};
use super::schema::NODE;

use crate::name::shown;
use crate::normalize;
use prost::Message;

/// How deep functions may call each other.
const DEPTH: usize = 32;

/// Bytes of a body that count as one more node, so that large constants are not copied without end.
const BYTES_PER_NODE: usize = 1 << 10;

/// A local function, ready to be inlined.
pub(super) struct Function {
    /// Names of the operands.
    pub(super) inputs: Vec<Vec<u8>>,
    /// Names of the results.
    pub(super) outputs: Vec<Vec<u8>>,
    /// The body, every node behind what it reads.
    pub(super) nodes: Vec<NodeProto>,
    /// Attributes that have a default.
    pub(super) defaults: Vec<AttributeProto>,
    name: String,
    /// How many nodes a call becomes, and how deep its calls go.
    size: usize,
    depth: usize,
}

/// The local functions of a model by domain, name and overload.
#[derive(Default)]
pub(super) struct Functions {
    places: HashMap<Key, usize>,
    all: Vec<Function>,
}

type Key = (Vec<u8>, Vec<u8>, Vec<u8>);

impl Functions {
    /// Looks all functions over. Nothing is inlined yet; how much it would be is counted.
    ///
    /// # Errors
    /// `M033`: a function calls itself, calls go deeper than 32, or a body is written in an opset in which an operator means
    /// something else; `M018`, `M019`, `M016` for the names inside a body.
    pub(super) fn of(functions: Vec<FunctionProto>, opset: i64) -> Result<Functions, ReadError> {
        let mut found = Functions::default();
        for function in functions {
            let key = key(function.domain(), function.name(), function.overload());
            let name = shown(&text(function.name()));
            if found.places.insert(key, found.all.len()).is_some() {
                return Err(ReadError::new(Fault::DUPLICATE, format!("the model has two local functions {name}")));
            }
            same_meaning(&function.opset_import, &function.node, opset).map_err(|what| {
                ReadError::new(Fault::FUNCTION, format!("the local function {name} {what}"))
                    .help("export the model again with one opset for everything")
            })?;
            let input = function.input.iter().map(|i| ValueInfoProto { name: Some(i.clone()), ..Default::default() });
            let mut body = GraphProto { node: function.node, input: input.collect(), ..Default::default() };
            let order = topological(&body.node, &sources(&body)?, &|_| false)?;
            if let Some(order) = order {
                let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut body.node).into_iter().map(Some).collect();
                body.node = order.into_iter().filter_map(|i| nodes[i].take()).collect();
            }
            let (inputs, outputs) = (function.input, function.output);
            let (nodes, defaults) = (body.node, function.attribute_proto);
            found.all.push(Function { inputs, outputs, nodes, defaults, name, size: 0, depth: 0 });
        }
        let mut state = vec![Visit::New; found.all.len()];
        for index in 0..found.all.len() {
            found.measure(index, &mut state, 1)?;
        }
        Ok(found)
    }

    /// The function that a node calls.
    pub(super) fn called(&self, node: &NodeProto) -> Option<&Function> {
        self.index(node).map(|index| &self.all[index])
    }

    /// The graph with all calls inlined must not be larger than a graph may be.
    pub(super) fn bounded(&self, graph: &GraphProto) -> Result<(), ReadError> {
        let (size, _) = self.size(&graph.node);
        let most = NODE.most;
        if size > most {
            let what = format!("the model has more than {most} nodes once its local functions are inlined");
            return Err(ReadError::new(Fault::FUNCTION, what).help("export the model without local functions"));
        }
        Ok(())
    }

    fn index(&self, node: &NodeProto) -> Option<usize> {
        if self.all.is_empty() {
            return None;
        }
        self.places.get(&key(node.domain(), node.op_type(), node.overload())).copied()
    }

    /// Sizes every function once, those that it calls first.
    fn measure(&mut self, index: usize, state: &mut [Visit], depth: usize) -> Result<(), ReadError> {
        let fault = |name: &str, what: String| {
            let what = format!("the local function {name} {what}");
            ReadError::new(Fault::FUNCTION, what).help("export the model without local functions")
        };
        match state[index] {
            Visit::Done => return Ok(()),
            Visit::Open => return Err(fault(&self.all[index].name, "calls itself".to_owned())),
            Visit::New if depth > DEPTH => {
                return Err(fault(&self.all[index].name, format!("is called more than {DEPTH} calls deep")));
            }
            Visit::New => state[index] = Visit::Open,
        }
        let mut called = Vec::new();
        every_node(&self.all[index].nodes, &mut |node| called.extend(self.index(node)));
        called.sort_unstable();
        called.dedup();
        for callee in called {
            self.measure(callee, state, depth + 1)?;
        }
        let (size, deepest) = self.size(&self.all[index].nodes);
        if deepest >= DEPTH {
            return Err(fault(&self.all[index].name, format!("makes calls more than {DEPTH} deep")));
        }
        self.all[index].size = size;
        self.all[index].depth = deepest + 1;
        state[index] = Visit::Done;
        Ok(())
    }

    /// How many nodes these become, and how deep their calls go. Saturates.
    fn size(&self, nodes: &[NodeProto]) -> (usize, usize) {
        let (mut size, mut depth) = (0usize, 0);
        every_node(nodes, &mut |node| {
            let attributes: usize = node.attribute.iter().filter(|a| a.g.is_none()).map(Message::encoded_len).sum();
            let (own, below) = self.called(node).map_or((0, 0), |f| (f.size, f.depth));
            size = size.saturating_add(1 + attributes / BYTES_PER_NODE).saturating_add(own);
            depth = depth.max(below);
        });
        (size, depth)
    }
}

#[derive(Clone, Copy)]
enum Visit {
    New,
    Open,
    Done,
}

/// Every node, those in subgraphs too. The look over the wire format has bounded how deep graphs nest.
fn every_node(nodes: &[NodeProto], visit: &mut dyn FnMut(&NodeProto)) {
    for node in nodes {
        visit(node);
        for graph in node.attribute.iter().flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs)) {
            every_node(&graph.node, visit);
        }
    }
}

fn key(domain: &[u8], name: &[u8], overload: &[u8]) -> Key {
    (standard(domain).to_vec(), name.to_vec(), overload.to_vec())
}

/// A body may be written in another opset than the model as long as every operator in it means the same in both.
fn same_meaning(imports: &[OperatorSetIdProto], nodes: &[NodeProto], opset: i64) -> Result<(), String> {
    let own = imports.iter().find(|i| standard(i.domain()).is_empty()).map_or(opset, OperatorSetIdProto::version);
    let mut changed = None;
    if own != opset {
        every_node(nodes, &mut |node| {
            let op = text(node.op_type());
            if standard(node.domain()).is_empty() && !normalize::same_form(&op, own, opset) {
                changed.get_or_insert(op);
            }
        });
    }
    match changed {
        Some(op) => Err(format!("is written in opset {own} and the model in {opset}, and {} changed between them", shown(&op))),
        None => Ok(()),
    }
}
