//! Who defines which name in a file, and an order in which every node stands behind what it reads.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::fault::{Fault, ReadError};
use super::proto::{GraphProto, NodeProto};
use super::read::{describe, text};
use crate::name::shown;

/// Nodes of a cycle that a message names.
const NAMED: usize = 12;

/// What defines a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Input,
    Initializer,
    Node(usize),
}

/// The definitions of a graph by name. An input with an initializer of the same name is a constant, not an input.
pub(super) fn sources(proto: &GraphProto) -> Result<HashMap<&[u8], Source>, ReadError> {
    let outputs: usize = proto.node.iter().map(|n| n.output.len()).sum();
    let mut sources = HashMap::with_capacity(proto.initializer.len() + proto.input.len() + outputs);
    let mut inputs = HashMap::with_capacity(proto.input.len());
    for input in &proto.input {
        if inputs.insert(input.name(), ()).is_some() {
            let what = format!("the graph has two inputs {}", shown(&text(input.name())));
            return Err(ReadError::new(Fault::DUPLICATE, what));
        }
    }
    for initializer in &proto.initializer {
        if sources.insert(initializer.name(), Source::Initializer).is_some() {
            let what = format!("the graph has two initializers {}", shown(&text(initializer.name())));
            return Err(ReadError::new(Fault::DUPLICATE, what));
        }
    }
    for input in &proto.input {
        sources.entry(input.name()).or_insert(Source::Input);
    }
    for (index, node) in proto.node.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            match sources.entry(output.as_slice()) {
                Entry::Vacant(free) => {
                    free.insert(Source::Node(index));
                }
                Entry::Occupied(taken) => {
                    let other = match *taken.get() {
                        Source::Input => "an input".to_owned(),
                        Source::Initializer => "an initializer".to_owned(),
                        Source::Node(other) => describe(&proto.node[other]),
                    };
                    let what = format!("{} and {} both produce {}", other, describe(node), shown(&text(output)));
                    return Err(ReadError::new(Fault::DUPLICATE, what));
                }
            }
        }
    }
    Ok(sources)
}

/// An order of the nodes in which each stands behind what it and its subgraphs read. `None` if the order of the file is one.
/// `outside` knows the names of the graphs around.
pub(super) fn topological(
    nodes: &[NodeProto],
    sources: &HashMap<&[u8], Source>,
    outside: &dyn Fn(&[u8]) -> bool,
) -> Result<Option<Vec<usize>>, ReadError> {
    let mut sorted = true;
    for (index, node) in nodes.iter().enumerate() {
        for input in names_read(node) {
            match sources.get(input) {
                Some(Source::Node(producer)) => sorted &= *producer < index,
                Some(_) => {}
                None if outside(input) => {}
                None => {
                    let what = format!("{} reads {}, which nothing produces", describe(node), shown(&text(input)));
                    return Err(ReadError::new(Fault::DANGLING, what));
                }
            }
        }
    }
    if sorted {
        return Ok(None);
    }
    // for each node, the nodes that it reads
    let producer = |name| if let Some(Source::Node(producer)) = sources.get(name) { Some(*producer) } else { None };
    let reads: Vec<Vec<usize>> = nodes.iter().map(|node| names_read(node).filter_map(producer).collect()).collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (index, producers) in reads.iter().enumerate() {
        producers.iter().for_each(|&p| readers[p].push(index));
    }
    let mut missing: Vec<usize> = reads.iter().map(Vec::len).collect();
    // of those that are ready, the first of the file
    let mut ready: BinaryHeap<Reverse<usize>> = (0..nodes.len()).filter(|&n| missing[n] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for &reader in &readers[index] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if order.len() == nodes.len() { Ok(Some(order)) } else { Err(cycle(nodes, &reads, &missing)) }
}

/// The names that a node and its subgraphs read.
pub(super) fn names_read(node: &NodeProto) -> impl Iterator<Item = &[u8]> {
    let mut inner = Vec::new();
    node.attribute.iter().filter_map(|a| a.g.as_ref()).for_each(|graph| captured(graph, &mut inner));
    node.input.iter().map(Vec::as_slice).filter(|i| !i.is_empty()).chain(inner)
}

/// Adds the names that a subgraph reads and does not define.
fn captured<'p>(graph: &'p GraphProto, names: &mut Vec<&'p [u8]>) {
    let inputs = graph.input.iter().map(|i| i.name());
    let constants = graph.initializer.iter().map(|t| t.name());
    let results = graph.node.iter().flat_map(|n| n.output.iter().map(Vec::as_slice));
    let own: HashSet<&[u8]> = inputs.chain(constants).chain(results).collect();
    let mut read: Vec<&[u8]> = graph.output.iter().map(|o| o.name()).collect();
    for node in &graph.node {
        read.extend(names_read(node));
    }
    names.extend(read.into_iter().filter(|name| !own.contains(name)));
}

/// Names one cycle among the nodes that never became ready.
fn cycle(nodes: &[NodeProto], reads: &[Vec<usize>], missing: &[usize]) -> ReadError {
    let mut at = missing.iter().position(|&m| m > 0).unwrap_or(0);
    let mut visited: HashMap<usize, usize> = HashMap::new();
    let mut path = Vec::new();
    // every waiting node reads a waiting node, so going upstream must come back to where it was
    while !visited.contains_key(&at) {
        visited.insert(at, path.len());
        path.push(at);
        at = reads[at].iter().copied().find(|&p| missing[p] > 0).unwrap_or(at);
    }
    let mut ring: Vec<String> = path[visited[&at]..].iter().rev().map(|&n| describe(&nodes[n])).collect();
    let more = ring.len().saturating_sub(NAMED);
    ring.truncate(NAMED);
    if more > 0 {
        ring.push(format!("{more} more"));
    }
    ring.push(ring[0].clone());
    ReadError::new(Fault::CYCLE, format!("the graph has a cycle: {}", ring.join(" -> ")))
}
