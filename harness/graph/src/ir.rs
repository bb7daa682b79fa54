//! The graph: values, nodes in topological order, inputs and outputs. In SSA form: every value has one producer.

use std::sync::Arc;

pub use crate::attributes::{Attribute, Attributes};
use crate::name::{escape, shown};
use crate::ops;
use crate::tensor::{DType, Tensor};
pub use crate::types::{Dim, Shape, ValueType};

/// Index of a [`Value`] in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// Index of a [`Node`] in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A tensor-valued edge of the graph.
#[derive(Clone, Debug)]
pub struct Value {
    /// A label; for graph inputs the name of the interface. Labels of other values need not be unique.
    pub name: Arc<str>,
    /// What is known about element type and shape.
    pub ty: ValueType,
    /// The value itself, for constants (initializers).
    pub constant: Option<Arc<Tensor>>,
    /// For small integer values, the elements as extents: what `Shape` gives, with symbols kept. Inference reads it.
    pub extents: Option<Vec<Dim>>,
    /// The node and the output position that produce it; `None` for inputs and constants.
    pub producer: Option<(NodeId, usize)>,
}

/// One operator application.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator, e.g. `Conv`.
    pub op: Arc<str>,
    /// The operator's domain; empty for standard ONNX.
    pub domain: Arc<str>,
    /// The name in the file, or empty.
    pub name: Arc<str>,
    /// Operands; `None` where an optional one is absent.
    pub inputs: Vec<Option<ValueId>>,
    /// Results; `None` for an optional one that is not used.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes.
    pub attributes: Attributes,
}

impl Node {
    /// A node of the standard domain without outputs yet, to be given to [`Graph::push`].
    pub fn new(op: &str, inputs: &[ValueId], attributes: impl Into<Attributes>) -> Node {
        Node {
            op: ops::shared(op),
            domain: ops::shared(""),
            name: ops::shared(""),
            inputs: inputs.iter().map(|&v| Some(v)).collect(),
            outputs: Vec::new(),
            attributes: attributes.into(),
        }
    }

    /// The same node on other operands, with the same optional results.
    #[must_use]
    pub(crate) fn on(&self, inputs: Vec<Option<ValueId>>) -> Node {
        Node {
            op: self.op.clone(),
            domain: self.domain.clone(),
            name: self.name.clone(),
            inputs,
            outputs: self.outputs.clone(),
            attributes: self.attributes.clone(),
        }
    }

    /// The operand at a position, if it is there.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// The result at a position, if it is there.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// How messages call it: `Conv (node "/conv1/Conv")`.
    pub fn describe(&self) -> String {
        let op = escape(&self.op);
        if self.name.is_empty() { op } else { format!("{op} (node {})", shown(&self.name)) }
    }
}

/// A result of the graph under the name the outside knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The name of the interface.
    pub name: Arc<str>,
    /// The value.
    pub value: ValueId,
}

/// Something wrong that was found while the graph was built; [`Graph::check`] reports the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Problem {
    /// A sentence that names the node.
    pub what: String,
}

/// A tensor program: nodes in topological order over values in SSA form.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// A label.
    pub name: String,
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<Output>,
    problems: Vec<Problem>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Graph {
        Graph { name: name.to_owned(), ..Graph::default() }
    }

    /// Adds an input of the interface.
    pub fn add_input(&mut self, name: &str, ty: ValueType) -> ValueId {
        let id = self.add_value(name, ty);
        self.inputs.push(id);
        id
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: &str, tensor: impl Into<Arc<Tensor>>) -> ValueId {
        let tensor = tensor.into();
        let id = self.add_value(name, ValueType::fixed(tensor.dtype(), tensor.shape()));
        let value = &mut self.values[id.0 as usize];
        value.extents = ops::extents_of(&tensor);
        value.constant = Some(tensor);
        id
    }

    /// Appends a node of `outputs` results, infers their types and returns them. What is wrong with the node is kept as
    /// a [`Problem`] for [`Graph::check`], so that expressions read as formulas.
    pub fn push(&mut self, mut node: Node, outputs: usize) -> Vec<ValueId> {
        let id = NodeId(self.nodes.len() as u32);
        let results: Vec<ValueId> = (0..outputs)
            .map(|position| {
                let label = format!("{}_{}", node.op, self.values.len());
                let value = self.add_value(&label, ValueType::default());
                self.values[value.0 as usize].producer = Some((id, position));
                value
            })
            .collect();
        node.outputs = results.iter().map(|&v| Some(v)).collect();
        self.nodes.push(node);
        self.infer_node(id);
        results
    }

    /// Appends a node whose results carry these labels (`None` for an unused optional result) and infers their
    /// types. Mistakes become problems, as with [`Graph::push`].
    pub fn push_named(&mut self, node: Node, results: &[Option<&str>]) -> Vec<Option<ValueId>> {
        let id = self.append(node, results);
        self.infer_node(id);
        self.nodes[id.0 as usize].outputs.clone()
    }

    /// Appends a node as it stands in a file of another opset: labelled results, no inference.
    pub(crate) fn append(&mut self, mut node: Node, results: &[Option<&str>]) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        node.outputs = Vec::with_capacity(results.len());
        for (position, label) in results.iter().enumerate() {
            let value = label.map(|label| self.add_value(label, ValueType::default()));
            if let Some(value) = value {
                self.values[value.0 as usize].producer = Some((id, position));
            }
            node.outputs.push(value);
        }
        self.nodes.push(node);
        id
    }

    /// Takes over a declared type where inference found less.
    ///
    /// # Errors
    /// A clause («`is float[N,10], not float[N,1000]`») if the two contradict each other; the inferred type stays.
    pub fn declare(&mut self, id: ValueId, declared: &ValueType) -> Result<(), String> {
        let found = &self.value(id).ty;
        let refined = found.refined(declared).ok_or_else(|| format!("is {found}, not {declared}"))?;
        self.values[id.0 as usize].ty = refined;
        Ok(())
    }

    /// Appends a node with one result.
    pub fn node(&mut self, op: &str, inputs: &[ValueId], attributes: impl Into<Attributes>) -> ValueId {
        self.push(Node::new(op, inputs, attributes), 1)[0]
    }

    /// Makes a value visible to the outside under a name.
    pub fn add_output(&mut self, name: &str, value: ValueId) {
        self.outputs.push(Output { name: name.into(), value });
    }

    /// Replaces the list of outputs.
    pub fn set_outputs(&mut self, outputs: Vec<Output>) {
        self.outputs = outputs;
    }

    /// The optional output of a node at a position; it is added if the node did not have it (e.g. the indices of `MaxPool`).
    pub fn ensure_output(&mut self, node: NodeId, position: usize) -> ValueId {
        if let Some(value) = self.nodes[node.0 as usize].output(position) {
            return value;
        }
        let label = format!("{}_{}", self.nodes[node.0 as usize].op, self.values.len());
        let value = self.add_value(&label, ValueType::default());
        self.values[value.0 as usize].producer = Some((node, position));
        let outputs = &mut self.nodes[node.0 as usize].outputs;
        if outputs.len() <= position {
            outputs.resize(position + 1, None);
        }
        outputs[position] = Some(value);
        self.infer_node(node);
        value
    }

    /// The value behind an id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// Gives a value another label.
    pub fn rename(&mut self, id: ValueId, name: &str) {
        self.values[id.0 as usize].name = name.into();
    }

    /// Every value, in the order of ids.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().map(|(i, v)| (ValueId(i as u32), v))
    }

    /// All nodes, in topological order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// The node behind an id.
    pub fn node_at(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Gives a node a name (what messages and viewers show).
    pub fn name_node(&mut self, id: NodeId, name: &str) {
        self.nodes[id.0 as usize].name = name.into();
    }

    /// The inputs of the interface.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The outputs of the interface.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The input of that name.
    pub fn input_named(&self, name: &str) -> Option<ValueId> {
        self.inputs.iter().copied().find(|&v| &*self.value(v).name == name)
    }

    /// The value behind the output of that name.
    pub fn output_named(&self, name: &str) -> Option<ValueId> {
        self.outputs.iter().find(|o| &*o.name == name).map(|o| o.value)
    }

    /// Extents of a value, if the rank is known.
    pub fn shape(&self, id: ValueId) -> Option<&[Dim]> {
        self.value(id).ty.shape.as_deref()
    }

    /// Rank of a value, if known.
    pub fn rank(&self, id: ValueId) -> Option<usize> {
        self.shape(id).map(<[Dim]>::len)
    }

    /// Element type of a value, if known.
    pub fn dtype(&self, id: ValueId) -> Option<DType> {
        self.value(id).ty.dtype
    }

    /// The constant behind a value, if it is one.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.value(id).constant.as_ref()
    }

    /// What was found wrong so far.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Records something wrong.
    pub fn add_problem(&mut self, what: String) {
        self.problems.push(Problem { what });
    }

    /// Puts a place in front of the problems from a position on.
    pub(crate) fn locate_problems(&mut self, from: usize, place: &str) {
        for problem in &mut self.problems[from..] {
            problem.what.insert_str(0, place);
        }
    }

    /// The same graph with another type for an input. Types of results are forgotten and follow with the next [`Graph::rewrite`].
    #[must_use]
    pub fn with_input_type(&self, input: ValueId, ty: ValueType) -> Graph {
        let mut new = self.clone();
        new.values[input.0 as usize].ty = ty;
        new.forget_types();
        new
    }

    /// The same graph with a constant in place of an input.
    #[must_use]
    pub fn with_constant_input(&self, input: ValueId, tensor: impl Into<Arc<Tensor>>) -> Graph {
        let mut new = self.clone();
        let tensor = tensor.into();
        let value = &mut new.values[input.0 as usize];
        value.ty = ValueType::fixed(tensor.dtype(), tensor.shape());
        value.extents = ops::extents_of(&tensor);
        value.constant = Some(tensor);
        new.inputs.retain(|&i| i != input);
        new
    }

    /// The same graph without the inputs that nothing reads, and their names.
    #[must_use]
    pub fn without_unread_inputs(&self) -> (Graph, Vec<Arc<str>>) {
        let mut read = vec![false; self.values.len()];
        let needed = self.needed();
        let nodes = self.nodes.iter().zip(&needed).filter(|(_, needed)| **needed);
        nodes.flat_map(|(n, _)| n.inputs.iter().flatten()).for_each(|v| read[v.0 as usize] = true);
        self.outputs.iter().for_each(|o| read[o.value.0 as usize] = true);
        let mut new = self.clone();
        new.inputs.retain(|v| read[v.0 as usize]);
        let gone = self.inputs.iter().filter(|v| !read[v.0 as usize]).map(|&v| self.value(v).name.clone()).collect();
        (new, gone)
    }

    /// The same graph without the problems found so far, for a pass that infers everything anew.
    #[must_use]
    pub(crate) fn without_problems(mut self) -> Graph {
        self.problems.clear();
        self.forget_types();
        self
    }

    /// Forgets what was inferred, so that a copy infers it anew.
    fn forget_types(&mut self) {
        for value in self.values.iter_mut().filter(|v| v.producer.is_some()) {
            (value.ty, value.extents) = Default::default();
        }
    }

    /// Which nodes some output needs.
    pub(crate) fn needed(&self) -> Vec<bool> {
        let mut live = vec![false; self.values.len()];
        self.outputs.iter().for_each(|o| live[o.value.0 as usize] = true);
        let mut needed = vec![false; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().rev() {
            needed[i] = node.outputs.iter().flatten().any(|v| live[v.0 as usize]);
            if needed[i] {
                node.inputs.iter().flatten().for_each(|v| live[v.0 as usize] = true);
            }
        }
        needed
    }

    /// The same graph without the nodes and constants that no output needs. Inputs stay. Nothing is inferred again.
    #[must_use]
    pub fn without_dead(mut self) -> Graph {
        let needed = self.needed();
        let mut live = vec![false; self.values.len()];
        self.inputs.iter().chain(self.outputs.iter().map(|o| &o.value)).for_each(|v| live[v.0 as usize] = true);
        for (node, _) in self.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
            node.inputs.iter().chain(&node.outputs).flatten().for_each(|v| live[v.0 as usize] = true);
        }
        let places =
            |kept: &[bool]| -> Vec<u32> { kept.iter().scan(0, |n, &k| Some(std::mem::replace(n, *n + u32::from(k)))).collect() };
        let (values, nodes) = (places(&live), places(&needed));
        let moved = |v: &mut ValueId| *v = ValueId(values[v.0 as usize]);
        retain(&mut self.values, &live);
        retain(&mut self.nodes, &needed);
        for value in &mut self.values {
            value.producer = value.producer.map(|(node, at)| (NodeId(nodes[node.0 as usize]), at));
        }
        for node in &mut self.nodes {
            node.inputs.iter_mut().chain(&mut node.outputs).flatten().for_each(moved);
        }
        self.inputs.iter_mut().chain(self.outputs.iter_mut().map(|o| &mut o.value)).for_each(moved);
        self
    }

    /// Copies the graph node by node into a new one. For every node, `rule` may append a replacement to the new graph and
    /// return the new results, or return `None` to have the node copied. Inputs, constants that are used and outputs are
    /// carried over. This is the one way in which passes change a graph.
    pub fn rewrite(&self, rule: impl FnMut(&mut Graph, &Node, &[Option<ValueId>]) -> Option<Vec<Option<ValueId>>>) -> Graph {
        self.rewrite_some(&vec![true; self.nodes.len()], rule)
    }

    /// As [`Graph::rewrite`], of the marked nodes only; no other node may read a result of one that is not marked.
    pub(crate) fn rewrite_some(
        &self,
        marked: &[bool],
        mut rule: impl FnMut(&mut Graph, &Node, &[Option<ValueId>]) -> Option<Vec<Option<ValueId>>>,
    ) -> Graph {
        let mut new = Graph::new(&self.name);
        let mut map: Vec<Option<ValueId>> = vec![None; self.values.len()];
        for &input in &self.inputs {
            map[input.0 as usize] = Some(new.add_input(&self.value(input).name, self.value(input).ty.clone()));
        }
        for (node, _) in self.nodes.iter().zip(marked).filter(|(_, marked)| **marked) {
            let inputs: Vec<Option<ValueId>> = node.inputs.iter().map(|i| i.map(|v| self.carry(&mut new, &mut map, v))).collect();
            let results = rule(&mut new, node, &inputs).unwrap_or_else(|| new.copy_node(self, node, inputs));
            for (old, result) in node.outputs.iter().zip(results) {
                if let (Some(old), Some(result)) = (old, result) {
                    map[old.0 as usize] = Some(result);
                }
            }
        }
        for output in &self.outputs {
            let value = self.carry(&mut new, &mut map, output.value);
            new.add_output(&output.name, value);
        }
        new.problems.extend(self.problems.iter().cloned());
        new
    }

    /// Appends a copy of a node of another graph, with these operands of this graph. Labels of the results are kept. Their types
    /// are those of the other graph where nothing that they follow from has changed, and inferred otherwise.
    pub fn copy_node(&mut self, from: &Graph, node: &Node, inputs: Vec<Option<ValueId>>) -> Vec<Option<ValueId>> {
        let id = NodeId(self.nodes.len() as u32);
        let unchanged = self.types_follow(from, node, &inputs);
        let mut results = Vec::with_capacity(node.outputs.len());
        for (position, old) in node.outputs.iter().enumerate() {
            results.push(old.map(|old| {
                let old = from.value(old);
                let (ty, extents) = if unchanged { (old.ty.clone(), old.extents.clone()) } else { Default::default() };
                self.values.push(Value { name: old.name.clone(), ty, constant: None, extents, producer: Some((id, position)) });
                ValueId(self.values.len() as u32 - 1)
            }));
        }
        self.nodes.push(Node {
            op: node.op.clone(),
            domain: node.domain.clone(),
            name: node.name.clone(),
            inputs,
            outputs: results.clone(),
            attributes: node.attributes.clone(),
        });
        if !unchanged {
            self.infer_node(id);
        }
        results
    }

    /// Whether a copy of a node on these operands has the result types that its original has in `from`: the same operator with
    /// the same attributes, on operands of which the same is known.
    fn types_follow(&self, from: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> bool {
        let first = node.outputs.iter().flatten().next();
        let Some(original) = first.and_then(|&v| from.value(v).producer).map(|(id, _)| from.node_at(id)) else { return false };
        let alike = |(old, new): (&Option<ValueId>, &Option<ValueId>)| match (old, new) {
            (Some(old), Some(new)) => {
                let (old, new) = (from.value(*old), self.value(*new));
                let constants = match (&old.constant, &new.constant) {
                    (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                    (a, b) => a.is_none() && b.is_none(),
                };
                constants && old.ty == new.ty && old.extents == new.extents
            }
            (old, new) => old.is_none() && new.is_none(),
        };
        original.op == node.op
            && original.domain == node.domain
            && original.outputs == node.outputs
            && original.inputs.len() == inputs.len()
            && original.attributes.shares(&node.attributes)
            && original.inputs.iter().zip(inputs).all(alike)
            && node.outputs.iter().flatten().all(|&v| from.dtype(v).is_some())
    }

    fn carry(&self, new: &mut Graph, map: &mut [Option<ValueId>], old: ValueId) -> ValueId {
        if let Some(id) = map[old.0 as usize] {
            return id;
        }
        let value = self.value(old);
        let id = match &value.constant {
            Some(tensor) => new.add_constant(&value.name, tensor.clone()),
            None => {
                new.add_problem(format!("value {:?} is read before it is produced", value.name));
                new.add_value(&value.name, value.ty.clone())
            }
        };
        map[old.0 as usize] = Some(id);
        id
    }

    fn add_value(&mut self, name: &str, ty: ValueType) -> ValueId {
        self.values.push(Value { name: name.into(), ty, constant: None, extents: None, producer: None });
        ValueId(self.values.len() as u32 - 1)
    }

    fn infer_node(&mut self, id: NodeId) {
        let node = &self.nodes[id.0 as usize];
        match ops::infer(self, node) {
            Ok(found) => {
                let outputs = node.outputs.clone();
                for (output, inferred) in outputs.into_iter().zip(found) {
                    if let Some(output) = output {
                        let value = &mut self.values[output.0 as usize];
                        value.ty = inferred.ty;
                        value.extents = inferred.extents;
                    }
                }
            }
            Err(what) => self.add_problem(format!("{}: {what}", self.nodes[id.0 as usize].describe())),
        }
    }
}

/// Keeps the elements that are marked.
fn retain<T>(list: &mut Vec<T>, kept: &[bool]) {
    let mut marks = kept.iter();
    list.retain(|_| marks.next() == Some(&true));
}
