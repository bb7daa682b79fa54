//! The bytes of an ONNX file as a graph. Believes nothing: names must resolve, data must fit, order is made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use prost::Message;

use super::fault::{Fault, ReadError};
use super::functions::{Function, Functions};
use super::half::{self, Half, Operand, Rounding, Widened, named};
use super::interface::{class_labels, half_of, hinted_type, outputs, tensors_only, unique_labels, value_type};
use super::order::{Source, sources, topological};
use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::scan::{Scan, scan};
use super::sniff::sniff;
use super::tensor::{Resolve, tensor};
use super::{NEWEST_IR_VERSION, NEWEST_OPSET};
use crate::ir::{Attribute, Attributes, Graph, Node, ValueId};
use crate::name::shown;
use crate::ops::shared;
use crate::subgraph::Subgraph;
use crate::tensor::Tensor;

pub use super::tensor::ExternalTensor;

/// A model as its file has it.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// The graph, in topological order. Types are inferred only where `opset` is [`crate::OPSET`]; otherwise the nodes still
    /// mean what the older or newer opset says, and bringing them to [`crate::OPSET`] infers the types.
    pub graph: Graph,
    /// Opset of the standard domain.
    pub opset: i64,
    /// Version of the file format.
    pub ir_version: i64,
    /// The program that wrote the file, with its version; may be empty.
    pub producer: String,
    /// Key and value pairs that the producer left.
    pub metadata: Vec<(String, String)>,
    /// Labels of the classes, in the order of the scores, where operators of `ai.onnx.ml` state them; numbers as text.
    pub class_labels: Vec<String>,
    /// What was changed or dropped while reading, as sentences.
    pub notes: Vec<String>,
    /// Whether something is stored or computed in half precision in the file and widened to float in the graph.
    pub widened: bool,
    /// Tensors whose data came from other files.
    pub external: Vec<ExternalTensor>,
}

/// Reads a model that lies in one file.
///
/// # Errors
/// See [`read_with`]; external data is refused.
pub fn read(bytes: &[u8]) -> Result<ModelFile, ReadError> {
    read_with(bytes, &|_| Err((Fault::EXTERNAL, "the data lies in another file, and only this one was given".to_owned())))
}

/// Reads a model; `resolve` fetches the data of tensors that lie in other files (exactly `length` bytes from `offset`).
/// Takes time and memory linear in the length of the file.
///
/// # Errors
/// One of the kinds in [`Fault::ALL`], with a sentence that names the culprit.
pub fn read_with(bytes: &[u8], resolve: Resolve<'_>) -> Result<ModelFile, ReadError> {
    read_as(bytes, resolve, None)
}

/// Reads a model that lies in one file and computes in half precision: behind every operator that computes in it, the result is
/// rounded to it, so that the graph is what the file says on hardware with such arithmetic.
///
/// # Errors
/// As for [`read`]; `M023` where there are subgraphs, in which nothing would be rounded.
pub fn read_rounded(bytes: &[u8]) -> Result<ModelFile, ReadError> {
    read_as(bytes, &|_| Err((Fault::EXTERNAL, "the data lies in another file".to_owned())), Some(Rounding::default()))
}

fn read_as(bytes: &[u8], resolve: Resolve<'_>, rounding: Option<Rounding>) -> Result<ModelFile, ReadError> {
    let (mut model, scan) = decode(bytes)?;
    let opset = opset(&model)?;
    let ir_version = model.ir_version.unwrap_or(0);
    let mut notes = dropped(&model, &scan);
    if !imports_standard(&model) {
        notes.push(format!("the file uses no standard operators and names no opset of them; opset {opset} is taken"));
    }
    let producer = [&model.producer_name, &model.producer_version].map(|s| text(s.as_deref().unwrap_or_default()));
    let metadata = model.metadata_props.iter().map(|e| (text(e.key()), text(e.value()))).collect();
    let functions = Functions::of(std::mem::take(&mut model.functions), opset)?;
    let mut proto = model.graph.unwrap_or_default();
    functions.bounded(&proto)?;
    let class_labels = class_labels(&proto);
    tensors_only(&mut proto, &mut notes)?;
    let ports = proto.input.iter().chain(&proto.output).filter(|port| half_of(port).is_some()).count();
    let mut reader = Reader {
        resolve,
        external: Vec::new(),
        infer: opset == crate::OPSET,
        functions: &functions,
        frames: Vec::new(),
        attributes: Vec::new(),
        inlined: 0,
        rounding,
        widened: Widened { ports, ..Widened::default() },
    };
    let graph = reader.graph(proto, &mut notes)?;
    let ignored: BTreeSet<String> = reader.external.iter().flat_map(|e| &e.ignored).map(|key| shown(key)).collect();
    if !ignored.is_empty() {
        let keys: Vec<String> = ignored.into_iter().take(8).collect();
        notes.push(format!("unknown keys of external data were passed over: {}", keys.join(", ")));
    }
    if reader.inlined > 0 {
        notes.push(format!("{} calls of local functions were inlined", reader.inlined));
    }
    let widened = reader.widened.note();
    let is_widened = widened.is_some();
    notes.extend(widened);
    Ok(ModelFile {
        graph,
        opset,
        ir_version,
        producer: producer.join(" ").trim().to_owned(),
        metadata,
        class_labels,
        notes,
        widened: is_widened,
        external: reader.external,
    })
}

/// Protobuf to structs; what is not protobuf, or protobuf of something else, is called by its name.
pub(super) fn decode(bytes: &[u8]) -> Result<(ModelProto, Scan), ReadError> {
    let incomplete = || ReadError::new(Fault::INCOMPLETE, "the file has no graph").help("is this an ONNX model?");
    let scan = scan(bytes).and_then(|scan| if scan.graphs == 0 { Err(incomplete()) } else { Ok(scan) });
    let scan = scan.map_err(|fault| sniff(bytes).err().unwrap_or(fault))?;
    let model = ModelProto::decode(bytes)
        .map_err(|why| ReadError::new(Fault::MALFORMED, format!("malformed protobuf: {why}")).help("export the model again"))?;
    Ok((model, scan))
}

/// The opset of the standard domain, after a look at the versions.
fn opset(model: &ModelProto) -> Result<i64, ReadError> {
    let ir_version = model.ir_version.unwrap_or(0);
    if ir_version > NEWEST_IR_VERSION {
        let what = format!("the file has format version {ir_version}; this program knows up to {NEWEST_IR_VERSION}");
        return Err(ReadError::new(Fault::TOO_NEW, what).help("export the model again for an older version, or upgrade"));
    }
    let mut domains: HashMap<&[u8], i64> = HashMap::new();
    for import in &model.opset_import {
        let known = domains.insert(standard(import.domain()), import.version());
        if known.is_some_and(|known| known != import.version()) {
            let domain = text(import.domain());
            let what = format!("the file imports the domain {} in two versions", shown(&domain));
            return Err(ReadError::new(Fault::OPSET, what).help("export the model again"));
        }
    }
    match domains.get(&b""[..]) {
        Some(&opset) if opset > NEWEST_OPSET => {
            let what = format!("the model has opset {opset}; this program knows up to {NEWEST_OPSET}");
            Err(ReadError::new(Fault::TOO_NEW, what).help("export the model again for an older opset, or upgrade"))
        }
        Some(&opset) if opset >= 1 => Ok(opset),
        Some(opset) => Err(ReadError::new(Fault::OPSET, format!("the model has opset {opset}, which does not exist"))),
        // files of decision trees alone
        None if has_nodes(model) && !uses_standard(model) => Ok(crate::OPSET),
        None => Err(ReadError::new(Fault::OPSET, "the file does not say which opset of the standard operators it uses")
            .help("export the model again")),
    }
}

fn has_nodes(model: &ModelProto) -> bool {
    model.graph.as_ref().is_some_and(|graph| !graph.node.is_empty())
}

fn imports_standard(model: &ModelProto) -> bool {
    model.opset_import.iter().any(|import| standard(import.domain()).is_empty())
}

/// Whether an operator of the standard domain is anywhere in the file.
fn uses_standard(model: &ModelProto) -> bool {
    fn any(nodes: &[NodeProto]) -> bool {
        let inside =
            |node: &NodeProto| node.attribute.iter().any(|a| a.g.iter().map(|g| &**g).chain(&a.graphs).any(|g| any(&g.node)));
        nodes.iter().any(|node| standard(node.domain()).is_empty() || inside(node))
    }
    model.graph.iter().any(|graph| any(&graph.node)) || model.functions.iter().any(|f| any(&f.node))
}

/// Sentences about what reading leaves out.
fn dropped(model: &ModelProto, scan: &Scan) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |count: usize, what: &str| {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    };
    note(scan.graphs.saturating_sub(1), "more graphs of the file were merged into the first, as protobuf does");
    note(scan.docs, "descriptions in prose were dropped");
    note(scan.unknown, "fields that the ONNX schema does not know were dropped");
    note(model.training_info.len(), "training graphs were dropped");
    notes
}

struct Reader<'a> {
    resolve: Resolve<'a>,
    external: Vec<ExternalTensor>,
    infer: bool,
    functions: &'a Functions,
    /// The graphs that are being read, each inside the one before.
    frames: Vec<Frame>,
    /// The attributes of the calls of local functions that are being inlined; the last one is the innermost.
    attributes: Vec<HashMap<Vec<u8>, AttributeProto>>,
    /// How many calls were inlined.
    inlined: usize,
    /// What was read in another precision.
    widened: Widened,
    /// What is of half precision in the file, where results are rounded to it.
    rounding: Option<Rounding>,
}

/// A graph that is being read.
#[derive(Default)]
struct Frame {
    graph: Graph,
    ids: HashMap<Vec<u8>, ValueId>,
    /// Values of the graph around that this one captures.
    captured: Vec<ValueId>,
    /// Whether names do not resolve outside: in the body of a local function.
    closed: bool,
}

impl Reader<'_> {
    fn graph(&mut self, proto: GraphProto, notes: &mut Vec<String>) -> Result<Graph, ReadError> {
        if proto.output.is_empty() {
            return Err(ReadError::new(Fault::INCOMPLETE, "the graph has no output"));
        }
        self.frames.push(Frame { closed: true, ..Frame::default() });
        let (declared, sorted) = self.body(proto, true)?;
        if sorted {
            notes.push("the nodes were not in topological order and were sorted".to_owned());
        }
        let mut frame = self.frames.pop().unwrap_or_default();
        outputs(&mut frame.graph, &declared, &frame.ids, notes)?;
        unique_labels(&frame.graph)?;
        Ok(frame.graph)
    }

    /// Reads a subgraph, and says which values of the graph around it captures.
    fn subgraph(&mut self, proto: GraphProto) -> Result<(Subgraph, Vec<ValueId>), ReadError> {
        if self.rounding.is_some() {
            return Err(ReadError::new(Fault::ELEMENT_TYPE, "in subgraphs nothing is rounded to half precision"));
        }
        self.frames.push(Frame::default());
        let (declared, _) = self.body(proto, false)?;
        for output in &declared {
            let Some(id) = self.value(self.frames.len() - 1, output.name()) else {
                let what = format!("nothing produces the output {} of a subgraph", shown(&text(output.name())));
                return Err(ReadError::new(Fault::DANGLING, what));
            };
            let name = text(output.name());
            self.top().graph.add_output(&name, id);
        }
        let frame = self.frames.pop().unwrap_or_default();
        Ok((Subgraph { graph: frame.graph, captured: frame.captured.len() }, frame.captured))
    }

    /// Reads inputs, constants and nodes into the innermost graph. Gives back the outputs, and whether nodes were sorted.
    fn body(&mut self, mut proto: GraphProto, interface: bool) -> Result<(Vec<ValueInfoProto>, bool), ReadError> {
        if let Some(sparse) = proto.sparse_initializer.first() {
            let name = sparse.values.as_ref().map(|v| text(v.name())).unwrap_or_default();
            return Err(sparse_tensor(&name));
        }
        let (open, order) = {
            let sources = sources(&proto)?;
            let open: Vec<bool> = proto.input.iter().map(|i| sources.get(i.name()) == Some(&Source::Input)).collect();
            (open, topological(&proto.node, &sources, &|name| self.is_outside(name))?)
        };
        self.top().graph.name = text(proto.name());
        self.top().ids.reserve(proto.initializer.len() + proto.node.len());
        for (input, _) in proto.input.iter().zip(open).filter(|(_, open)| *open) {
            let ty = if interface { value_type("input", input)? } else { hinted_type(input) };
            let id = self.top().graph.add_input(&text(input.name()), ty);
            let id = self.rounded(id, half_of(input));
            self.top().ids.insert(input.name().to_vec(), id);
        }
        for mut initializer in std::mem::take(&mut proto.initializer) {
            let key = initializer.name.take().unwrap_or_default();
            let name = text(&key);
            let half = Half::of_code(initializer.data_type.unwrap_or(0).into());
            let tensor = self.tensor(initializer, &name)?;
            let id = self.top().graph.add_constant(&name, tensor);
            self.mark(id, half);
            self.top().ids.insert(key, id);
        }
        let sorted = order.is_some();
        let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut proto.node).into_iter().map(Some).collect();
        for index in order.unwrap_or_else(|| (0..nodes.len()).collect()) {
            if let Some(node) = nodes[index].take() {
                self.node(node)?;
            }
        }
        Ok((proto.output, sorted))
    }

    /// The innermost graph. There is one whenever a node is read.
    fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// The value of that name, captured through the graphs around where it is not of the innermost.
    fn value(&mut self, level: usize, name: &[u8]) -> Option<ValueId> {
        let frame = self.frames.get(level)?;
        if let Some(&id) = frame.ids.get(name) {
            return Some(id);
        }
        if frame.closed || level == 0 {
            return None;
        }
        let outer = self.value(level - 1, name)?;
        let value = self.frames[level - 1].graph.value(outer);
        let (label, ty) = (value.name.clone(), value.ty.clone());
        let frame = &mut self.frames[level];
        let id = frame.graph.add_input(&label, ty);
        frame.captured.push(outer);
        frame.ids.insert(name.to_vec(), id);
        Some(id)
    }

    /// Whether a name is of a graph around the innermost one.
    fn is_outside(&self, name: &[u8]) -> bool {
        let inner = self.frames.len() - self.frames.iter().rev().take_while(|f| !f.closed).count();
        let visible = &self.frames[inner.saturating_sub(1)..self.frames.len().saturating_sub(1)];
        visible.iter().any(|frame| frame.ids.contains_key(name))
    }

    fn node(&mut self, proto: NodeProto) -> Result<(), ReadError> {
        if let Some(function) = self.functions.called(&proto) {
            return self.call(function, proto);
        }
        let mut proto = proto;
        let mut attributes = BTreeMap::new();
        let mut captured: BTreeMap<String, Vec<ValueId>> = BTreeMap::new();
        let stored = proto.attribute.iter().find_map(|a| Half::of_code(a.t.as_ref()?.data_type?.into()));
        for attribute in std::mem::take(&mut proto.attribute) {
            let name = text(attribute.name());
            let label = proto.output.first().map(|o| text(o)).unwrap_or_default();
            let Some(attribute) = self.referred(attribute) else { continue };
            let value = self.attribute(attribute, &label, &mut |outer| drop(captured.insert(name.clone(), outer)))?;
            if attributes.insert(name.clone(), value).is_some() {
                let what = format!("{} has the attribute {} twice", describe(&proto), shown(&name));
                return Err(ReadError::new(Fault::DUPLICATE, what));
            }
        }
        let mut attributes = Attributes::from(attributes);
        let named = named(&attributes, stored);
        self.widened.attributes(&mut attributes);
        let domain = standard(proto.domain.as_deref().unwrap_or_default());
        let op = proto.op_type.as_deref().unwrap_or_default();
        let labels: Vec<Option<String>> = proto.output.iter().map(|o| (!o.is_empty()).then(|| text(o))).collect();
        let labels: Vec<Option<&str>> = labels.iter().map(Option::as_deref).collect();
        if domain.is_empty() && op == b"Constant" {
            let tensor = super::constant_value(&attributes).ok_or_else(|| constant_fault(&describe(&proto), &attributes))?;
            if let (Some(key), Some(Some(label))) = (proto.output.into_iter().next(), labels.first()) {
                let id = self.top().graph.add_constant(label, tensor);
                self.mark(id, stored);
                self.top().ids.insert(key, id);
            }
            return Ok(());
        }
        let level = self.frames.len().saturating_sub(1);
        let own: Vec<Option<ValueId>> = proto.input.iter().map(|i| self.value(level, i)).collect();
        let node = Node {
            op: shared(&text(op)),
            domain: shared(&text(domain)),
            name: text(proto.name.as_deref().unwrap_or_default()).into(),
            inputs: own.into_iter().chain(captured.into_values().flatten().map(Some)).collect(),
            outputs: Vec::new(),
            attributes,
        };
        let half = self.rounding.as_ref().and_then(|r| r.of(&node, named)).filter(|_| level == 0);
        let (exact, first_only) = (half::is_exact(&node.op), half::is_first_only(&node.op));
        let mut results = self.append(node, &labels);
        for id in results.iter_mut().take(if first_only { 1 } else { usize::MAX }).flatten() {
            if exact {
                self.mark(*id, half);
            } else {
                *id = self.rounded(*id, half);
            }
        }
        self.top().ids.extend(proto.output.into_iter().zip(results).filter_map(|(key, id)| id.map(|id| (key, id))));
        Ok(())
    }

    /// Adds a node to the innermost graph. Gives its results.
    fn append(&mut self, node: Node, labels: &[Option<&str>]) -> Vec<Option<ValueId>> {
        let infer = self.infer && self.frames.len() <= 1;
        let graph = &mut self.top().graph;
        if infer {
            return graph.push_named(node, labels);
        }
        let id = graph.append(node, labels);
        graph.node_at(id).outputs.clone()
    }

    /// Remembers that a value is of half precision in the file.
    fn mark(&mut self, id: ValueId, half: Option<Half>) {
        if let (Some(rounding), Some(half), true) = (&mut self.rounding, half, self.frames.len() <= 1) {
            rounding.halves.insert(id, half);
        }
    }

    /// The value rounded to half precision, where results are rounded.
    fn rounded(&mut self, id: ValueId, half: Option<Half>) -> ValueId {
        let (Some(half), true, true) = (half, self.rounding.is_some(), self.frames.len() <= 1) else { return id };
        let mut value = id;
        half.round(id, &mut |op, operands| {
            let inputs = operands.iter().map(|operand| match operand {
                Operand::Value(id) => Some(*id),
                Operand::Number(v) => Some(self.top().graph.add_constant("half", Tensor::scalar(*v))),
            });
            let inputs = inputs.collect();
            let (domain, attributes) = (shared(""), Attributes::none());
            let node = Node { op: shared(op), domain, name: "half".into(), inputs, outputs: Vec::new(), attributes };
            let given = self.append(node, &[Some("half")]).first().copied().flatten().unwrap_or(id);
            value = given;
            given
        });
        self.mark(value, Some(half));
        value
    }

    fn tensor(&mut self, proto: TensorProto, name: &str) -> Result<Tensor, ReadError> {
        self.widened.tensors += usize::from(Half::of_code(proto.data_type.unwrap_or(0).into()).is_some());
        tensor(proto, name, self.resolve, &mut self.external)
    }

    /// Inlines the call of a local function: its body in a scope of its own.
    fn call(&mut self, function: &Function, proto: NodeProto) -> Result<(), ReadError> {
        self.inlined += 1;
        let level = self.frames.len().saturating_sub(1);
        let mut ids = HashMap::with_capacity(function.nodes.len());
        for (name, given) in function.inputs.iter().zip(&proto.input) {
            if let Some(id) = self.value(level, given) {
                ids.insert(name.clone(), id);
            }
        }
        let mut attributes: HashMap<Vec<u8>, AttributeProto> =
            function.defaults.iter().map(|a| (a.name().to_vec(), a.clone())).collect();
        for attribute in proto.attribute {
            // the names in a graph are those of the caller, which the body does not see
            if attribute.g.is_some() || !attribute.graphs.is_empty() {
                let what = format!("the call of a local function {} hands a graph over", shown(&text(attribute.name())));
                return Err(ReadError::new(Fault::FUNCTION, what).help("export the model without local functions"));
            }
            if let Some(attribute) = self.referred(attribute) {
                attributes.insert(attribute.name().to_vec(), attribute);
            }
        }
        let frame = self.top();
        let outer = (std::mem::replace(&mut frame.ids, ids), std::mem::replace(&mut frame.closed, true));
        self.attributes.push(attributes);
        for node in &function.nodes {
            self.node(node.clone())?;
        }
        self.attributes.pop();
        let frame = self.top();
        let inner = std::mem::replace(&mut frame.ids, outer.0);
        frame.closed = outer.1;
        for (name, given) in function.outputs.iter().zip(proto.output).filter(|(_, given)| !given.is_empty()) {
            let Some(&id) = inner.get(name) else {
                let what = format!("nothing produces the output {} of a local function", shown(&text(name)));
                return Err(ReadError::new(Fault::DANGLING, what));
            };
            frame.ids.insert(given, id);
        }
        Ok(())
    }

    /// The attribute of the call that this one refers to, under this one's name; `None` if the call does not state it.
    fn referred(&self, attribute: AttributeProto) -> Option<AttributeProto> {
        match (attribute.ref_attr_name.as_deref(), self.attributes.last()) {
            (Some(name), Some(stated)) if !name.is_empty() => {
                stated.get(name).map(|given| AttributeProto { name: attribute.name, ..given.clone() })
            }
            _ => Some(attribute),
        }
    }

    /// `captures` receives what a subgraph reads from outside.
    fn attribute(
        &mut self,
        proto: AttributeProto,
        label: &str,
        captures: &mut dyn FnMut(Vec<ValueId>),
    ) -> Result<Attribute, ReadError> {
        if proto.ref_attr_name.as_ref().is_some_and(|name| !name.is_empty()) {
            return Ok(Attribute::Unread("reference"));
        }
        let kind = AttributeType::try_from(proto.r#type.unwrap_or(0)).unwrap_or(AttributeType::Undefined);
        let kind = if kind == AttributeType::Undefined { stated(&proto) } else { kind };
        let string = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        Ok(match kind {
            AttributeType::Int => Attribute::Int(proto.i()),
            AttributeType::Float => Attribute::Float(proto.f()),
            AttributeType::Ints => Attribute::Ints(proto.ints),
            AttributeType::Floats => Attribute::Floats(proto.floats),
            AttributeType::String => {
                string(proto.s.unwrap_or_default()).map_or(Attribute::Unread("binary string"), Attribute::String)
            }
            AttributeType::Strings => {
                let strings: Option<Vec<String>> = proto.strings.into_iter().map(string).collect();
                strings.map_or(Attribute::Unread("binary strings"), Attribute::Strings)
            }
            AttributeType::Tensor => match proto.t {
                Some(t) => Attribute::Tensor(Arc::new(self.tensor(*t, label)?)),
                None => Attribute::Unread("empty tensor"),
            },
            AttributeType::Graph => match proto.g {
                Some(graph) => {
                    let (inner, outer) = self.subgraph(*graph)?;
                    captures(outer);
                    Attribute::Graph(Arc::new(inner))
                }
                None => Attribute::Unread("empty graph"),
            },
            AttributeType::Graphs => Attribute::Unread("graphs"),
            AttributeType::SparseTensor => Attribute::Unread("sparse tensor"),
            AttributeType::SparseTensors => Attribute::Unread("sparse tensors"),
            AttributeType::Tensors => Attribute::Unread("tensors"),
            AttributeType::TypeProto => Attribute::Unread("type"),
            AttributeType::TypeProtos => Attribute::Unread("types"),
            AttributeType::Undefined => Attribute::Unread("nothing"),
        })
    }
}

/// The kind of an attribute that does not say it, from the field that is set.
fn stated(proto: &AttributeProto) -> AttributeType {
    let fields = [
        (proto.i.is_some(), AttributeType::Int),
        (proto.f.is_some(), AttributeType::Float),
        (proto.s.is_some(), AttributeType::String),
        (proto.t.is_some(), AttributeType::Tensor),
        (proto.g.is_some(), AttributeType::Graph),
        (!proto.ints.is_empty(), AttributeType::Ints),
        (!proto.floats.is_empty(), AttributeType::Floats),
        (!proto.strings.is_empty(), AttributeType::Strings),
    ];
    fields.into_iter().find(|(set, _)| *set).map_or(AttributeType::Undefined, |(_, kind)| kind)
}

fn constant_fault(called: &str, attributes: &Attributes) -> ReadError {
    match attributes.0.iter().next() {
        Some((_, Attribute::Unread(kind @ "sparse tensor"))) => {
            ReadError::new(Fault::SPARSE, format!("{called} holds a {kind}, which is not supported"))
        }
        Some((name, _)) => ReadError::new(
            Fault::ELEMENT_TYPE,
            format!("{called} holds its value in the attribute {}, which is not supported", shown(name)),
        ),
        None => ReadError::new(Fault::DATA, format!("{called} holds no value")),
    }
}

fn sparse_tensor(name: &str) -> ReadError {
    let what = format!("the initializer {} is sparse, which is not supported", shown(name));
    ReadError::new(Fault::SPARSE, what).help("export the model with dense weights")
}

/// The standard domain has two names.
pub(super) fn standard(domain: &[u8]) -> &[u8] {
    if domain == b"ai.onnx" { b"" } else { domain }
}

/// A name of the file as text; bytes that are not UTF-8 become replacement characters.
pub(super) fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// How messages call a node: by its name, or else by what it produces.
pub(super) fn describe(node: &NodeProto) -> String {
    let op = shown(&text(node.op_type())).trim_matches('"').to_owned();
    match (node.name(), node.output.iter().find(|o| !o.is_empty())) {
        (b"", Some(output)) => format!("{op} (which gives {})", shown(&text(output))),
        (b"", None) => op,
        (name, _) => format!("{op} (node {})", shown(&text(name))),
    }
}
