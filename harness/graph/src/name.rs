//! Names: how those from files are shown in messages, and how the values of a graph get unique ones when it is written.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ir::{Graph, Output, ValueId};
use crate::subgraph::Subgraph;

/// Characters of a name that a message shows.
const SHOWN: usize = 120;

/// A name from a file as messages show it: quoted, control and bidirectional characters escaped, cut at 120 characters.
pub fn shown(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// A name from outside as messages show it without quotes: control and bidirectional characters as `\\u{1b}`, at most 120 characters.
/// What came from a file, a plugin or a user passes this function or [`shown`] before it is shown.
pub fn escape(name: &str) -> String {
    let mut safe = String::new();
    for (i, c) in name.chars().enumerate() {
        if i == SHOWN {
            safe.push('…');
            break;
        }
        if is_odd(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

/// Control and bidirectional characters, and those that show nothing.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fffd}')
}

/// Whether a name of a file can be a label anywhere: neither empty nor endless, no control or bidirectional character.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 1024 && !name.contains(is_odd)
}

impl Graph {
    /// The same graph with inputs and outputs that every engine can name: as they are, or numbered if one of them is not a plain
    /// name. Positions stay.
    pub fn with_plain_interface(&self) -> Cow<'_, Graph> {
        let mut names = self.inputs().iter().map(|&v| &*self.value(v).name).chain(self.outputs().iter().map(|o| &*o.name));
        if names.all(is_plain) {
            return Cow::Borrowed(self);
        }
        let mut plain = self.clone();
        for (i, &input) in self.inputs().iter().enumerate() {
            plain.rename(input, &format!("input_{i}"));
        }
        let outputs = self.outputs().iter().enumerate();
        let renamed = outputs.map(|(i, o)| Output { name: format!("output_{i}").into(), value: o.value });
        plain.set_outputs(renamed.collect());
        Cow::Owned(plain)
    }
}

/// What a graph looks like from outside: which constants it uses, what everything is called, and which outputs need a node of
/// their own. Both writers (bytes and text) follow it, so they agree.
pub(crate) struct Naming {
    /// Name of every value that is written, by the number of its id.
    values: Vec<Option<Arc<str>>>,
    /// Name of every node.
    pub nodes: Vec<Arc<str>>,
    /// Constants that are read, in the order in which they are first read.
    pub constants: Vec<ValueId>,
    /// Outputs that are an input, a constant or a value that is already visible under another name: `Identity(value) → name`.
    pub identities: Vec<(ValueId, Arc<str>)>,
    /// Names of the outputs, in their order.
    pub outputs: Vec<Arc<str>>,
    /// Every name that a graph inside this one must not take.
    used: HashSet<Arc<str>>,
}

impl Naming {
    /// Names everything in a graph. Names of the interface are kept; others get a suffix where they would
    /// repeat, and those that are not plain are replaced.
    pub fn of(graph: &Graph) -> Naming {
        let inputs = graph.inputs().iter().map(|&v| graph.value(v).name.clone()).collect();
        let outputs = graph.outputs().iter().map(|o| o.name.clone()).collect();
        Naming::with(graph, Unique::default(), inputs, outputs)
    }

    /// Names everything in a subgraph of a node of this graph. What it captures has its name from outside; no other name repeats
    /// one from outside.
    pub fn inside(&self, subgraph: &Subgraph, captures: &[Option<ValueId>]) -> Naming {
        let mut taken = Unique { used: self.used.clone(), next: HashMap::new() };
        let graph = &subgraph.graph;
        let own = graph.inputs().len() - subgraph.captured.min(graph.inputs().len());
        let mut inputs: Vec<Arc<str>> = graph.inputs()[..own].iter().map(|&v| taken.name(&graph.value(v).name)).collect();
        inputs.extend(captures.iter().map(|&v| Arc::from(self.value(v))));
        let outputs = graph.outputs().iter().map(|o| taken.name(&o.name)).collect();
        Naming::with(graph, taken, inputs, outputs)
    }

    fn with(graph: &Graph, mut taken: Unique, inputs: Vec<Arc<str>>, outputs: Vec<Arc<str>>) -> Naming {
        let mut values: Vec<Option<Arc<str>>> = vec![None; graph.values().len()];
        for (&input, name) in graph.inputs().iter().zip(inputs) {
            taken.reserve(&name);
            values[input.0 as usize] = Some(name);
        }
        let mut identities = Vec::new();
        for (output, wanted) in graph.outputs().iter().zip(&outputs) {
            taken.reserve(wanted);
            let name = &mut values[output.value.0 as usize];
            match name {
                Some(name) if name == wanted => {}
                None if graph.value(output.value).producer.is_some() => *name = Some(wanted.clone()),
                _ => identities.push((output.value, wanted.clone())),
            }
        }
        let mut constants = Vec::new();
        let mut seen = HashSet::new();
        let read = graph.nodes().iter().flat_map(|n| n.inputs.iter().flatten().copied());
        for value in read.chain(identities.iter().map(|(value, _)| *value)) {
            if graph.constant(value).is_some() && seen.insert(value) {
                constants.push(value);
            }
        }
        let results = graph.nodes().iter().flat_map(|n| n.outputs.iter().flatten().copied());
        for value in constants.iter().copied().chain(results) {
            let name = &mut values[value.0 as usize];
            if name.is_none() {
                *name = Some(taken.name(&graph.value(value).name));
            }
        }
        let used = taken.used;
        let mut taken = Unique::default();
        let nodes = graph.nodes().iter().map(|n| taken.name(if n.name.is_empty() { &n.op } else { &n.name })).collect();
        Naming { values, nodes, constants, identities, outputs, used }
    }

    /// The name of a value; empty (absent) for one that nothing writes.
    pub fn value(&self, id: Option<ValueId>) -> &str {
        id.and_then(|id| self.values[id.0 as usize].as_deref()).unwrap_or("")
    }
}

/// Hands out names that have not been used.
#[derive(Default)]
struct Unique {
    used: HashSet<Arc<str>>,
    next: HashMap<Arc<str>, u32>,
}

impl Unique {
    fn reserve(&mut self, name: &Arc<str>) {
        self.used.insert(name.clone());
    }

    fn name(&mut self, wanted: &Arc<str>) -> Arc<str> {
        let wanted: Arc<str> = if is_plain(wanted) { wanted.clone() } else { "value".into() };
        let mut name = wanted.clone();
        let next = self.next.entry(wanted.clone()).or_insert(0);
        while !self.used.insert(name.clone()) {
            *next += 1;
            name = format!("{wanted}_{next}").into();
        }
        name
    }
}
