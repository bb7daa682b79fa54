//! The bytes of an ONNX file as a graph. Believes nothing: names must resolve, data must fit, order is made.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use prost::Message;

use super::fault::{Fault, ReadError};
use super::order::{Source, sources, topological};
use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto, tensor_shape_proto, type_proto};
use super::scan::{Scan, scan};
use super::sniff::sniff;
use super::tensor::{Resolve, dtype, tensor};
use super::{NEWEST_IR_VERSION, NEWEST_OPSET};
use crate::ir::{Attribute, Attributes, Dim, Graph, Node, ValueId, ValueType};
use crate::name::shown;
use crate::ops::{RANK, shared};

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
    /// What was changed or dropped while reading, as sentences.
    pub notes: Vec<String>,
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
    let (model, scan) = decode(bytes)?;
    let opset = opset(&model)?;
    let ir_version = model.ir_version.unwrap_or(0);
    let mut notes = dropped(&model, &scan);
    let producer = [&model.producer_name, &model.producer_version].map(|s| text(s.as_deref().unwrap_or_default()));
    let metadata = model.metadata_props.iter().map(|e| (text(e.key()), text(e.value()))).collect();
    let proto = model.graph.unwrap_or_default();
    for node in &proto.node {
        let called = |f: &&super::proto::FunctionProto| f.name() == node.op_type() && f.domain() == node.domain();
        if let Some(function) = model.functions.iter().find(called) {
            let what = format!("{} calls the local function {}", describe(node), shown(&text(function.name())));
            return Err(ReadError::new(Fault::FUNCTION, what).help("export the model without local functions, or inline them"));
        }
    }
    let mut reader = Reader { resolve, external: Vec::new(), infer: opset == crate::OPSET };
    let graph = reader.graph(proto, &mut notes)?;
    let ignored: BTreeSet<String> = reader.external.iter().flat_map(|e| &e.ignored).map(|key| shown(key)).collect();
    if !ignored.is_empty() {
        let keys: Vec<String> = ignored.into_iter().take(8).collect();
        notes.push(format!("unknown keys of external data were passed over: {}", keys.join(", ")));
    }
    Ok(ModelFile {
        graph,
        opset,
        ir_version,
        producer: producer.join(" ").trim().to_owned(),
        metadata,
        notes,
        external: reader.external,
    })
}

/// Protobuf to structs; what is not protobuf, or protobuf of something else, is called by its name.
fn decode(bytes: &[u8]) -> Result<(ModelProto, Scan), ReadError> {
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
        None => Err(ReadError::new(Fault::OPSET, "the file does not say which opset of the standard operators it uses")
            .help("export the model again")),
    }
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
    note(model.functions.len(), "local functions that the graph does not call were dropped");
    notes
}

struct Reader<'a> {
    resolve: Resolve<'a>,
    external: Vec<ExternalTensor>,
    infer: bool,
}

impl Reader<'_> {
    fn graph(&mut self, mut proto: GraphProto, notes: &mut Vec<String>) -> Result<Graph, ReadError> {
        if proto.output.is_empty() {
            return Err(ReadError::new(Fault::INCOMPLETE, "the graph has no output"));
        }
        if let Some(sparse) = proto.sparse_initializer.first() {
            let name = sparse.values.as_ref().map(|v| text(v.name())).unwrap_or_default();
            return Err(sparse_tensor(&name));
        }
        let (open, order) = {
            let sources = sources(&proto)?;
            let open: Vec<bool> = proto.input.iter().map(|i| sources.get(i.name()) == Some(&Source::Input)).collect();
            (open, topological(&proto.node, &sources)?)
        };
        let mut graph = Graph::new(&text(proto.name()));
        let mut ids: HashMap<Vec<u8>, ValueId> = HashMap::with_capacity(proto.initializer.len() + proto.node.len());
        for (input, _) in proto.input.iter().zip(open).filter(|(_, open)| *open) {
            let ty = value_type("input", input)?;
            ids.insert(input.name().to_vec(), graph.add_input(&text(input.name()), ty));
        }
        for mut initializer in std::mem::take(&mut proto.initializer) {
            let key = initializer.name.take().unwrap_or_default();
            let name = text(&key);
            let tensor = tensor(initializer, &name, self.resolve, &mut self.external)?;
            ids.insert(key, graph.add_constant(&name, tensor));
        }
        if order.is_some() {
            notes.push("the nodes were not in topological order and were sorted".to_owned());
        }
        let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut proto.node).into_iter().map(Some).collect();
        for index in order.unwrap_or_else(|| (0..nodes.len()).collect()) {
            if let Some(node) = nodes[index].take() {
                self.node(&mut graph, node, &mut ids)?;
            }
        }
        outputs(&mut graph, &proto.output, &ids, notes)?;
        unique_labels(&graph)?;
        Ok(graph)
    }

    fn node(&mut self, graph: &mut Graph, proto: NodeProto, ids: &mut HashMap<Vec<u8>, ValueId>) -> Result<(), ReadError> {
        let mut proto = proto;
        let mut attributes = BTreeMap::new();
        for attribute in std::mem::take(&mut proto.attribute) {
            let name = text(attribute.name());
            let label = proto.output.first().map(|o| text(o)).unwrap_or_default();
            let value = self.attribute(attribute, &label)?;
            if attributes.insert(name.clone(), value).is_some() {
                let what = format!("{} has the attribute {} twice", describe(&proto), shown(&name));
                return Err(ReadError::new(Fault::DUPLICATE, what));
            }
        }
        let attributes = Attributes::from(attributes);
        let domain = standard(proto.domain.as_deref().unwrap_or_default());
        let op = proto.op_type.as_deref().unwrap_or_default();
        let labels: Vec<Option<String>> = proto.output.iter().map(|o| (!o.is_empty()).then(|| text(o))).collect();
        let labels: Vec<Option<&str>> = labels.iter().map(Option::as_deref).collect();
        if domain.is_empty() && op == b"Constant" {
            let tensor = super::constant_value(&attributes).ok_or_else(|| constant_fault(&describe(&proto), &attributes))?;
            if let (Some(key), Some(Some(label))) = (proto.output.into_iter().next(), labels.first()) {
                ids.insert(key, graph.add_constant(label, tensor));
            }
            return Ok(());
        }
        let node = Node {
            op: shared(&text(op)),
            domain: shared(&text(domain)),
            name: text(proto.name.as_deref().unwrap_or_default()).into(),
            inputs: proto.input.iter().map(|i| ids.get(i).copied()).collect(),
            outputs: Vec::new(),
            attributes,
        };
        let results = if self.infer {
            graph.push_named(node, &labels)
        } else {
            let id = graph.append(node, &labels);
            graph.node_at(id).outputs.clone()
        };
        ids.extend(proto.output.into_iter().zip(results).filter_map(|(key, id)| id.map(|id| (key, id))));
        Ok(())
    }

    fn attribute(&mut self, proto: AttributeProto, label: &str) -> Result<Attribute, ReadError> {
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
                Some(t) => Attribute::Tensor(Arc::new(tensor(*t, label, self.resolve, &mut self.external)?)),
                None => Attribute::Unread("empty tensor"),
            },
            AttributeType::Graph => Attribute::Unread("graph"),
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

/// Adds the outputs of the interface. A declared type fills in what inference does not know; it never overrules it.
fn outputs(
    graph: &mut Graph,
    declared: &[ValueInfoProto],
    ids: &HashMap<Vec<u8>, ValueId>,
    notes: &mut Vec<String>,
) -> Result<(), ReadError> {
    let mut seen = HashSet::new();
    for output in declared {
        let name = text(output.name());
        let Some(&id) = ids.get(output.name()) else {
            let what = format!("nothing produces the output {} of the graph", shown(&name));
            return Err(ReadError::new(Fault::DANGLING, what));
        };
        if !seen.insert(output.name()) {
            return Err(ReadError::new(Fault::DUPLICATE, format!("the graph has two outputs {}", shown(&name))));
        }
        if output.r#type.is_some() {
            let ty = value_type("output", output)?;
            if let Err(why) = graph.declare(id, &ty) {
                notes.push(format!("the declared type of the output {} was ignored: it {why}", shown(&name)));
            }
        }
        graph.add_output(&name, id);
    }
    Ok(())
}

/// Names that differ only in bytes that are not text would become one name of the interface.
fn unique_labels(graph: &Graph) -> Result<(), ReadError> {
    let inputs = graph.inputs().iter().map(|&v| (v, &*graph.value(v).name));
    let mut labels: HashMap<&str, ValueId> = HashMap::new();
    for (id, label) in inputs.chain(graph.outputs().iter().map(|o| (o.value, &*o.name))) {
        if labels.insert(label, id).is_some_and(|other| other != id) {
            let what = format!("the graph has two inputs or outputs {}", shown(label));
            return Err(ReadError::new(Fault::DUPLICATE, what));
        }
    }
    Ok(())
}

/// The tensor type of an input or output.
fn value_type(role: &str, proto: &ValueInfoProto) -> Result<ValueType, ReadError> {
    let name = text(proto.name());
    let tensor = match proto.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        other => {
            let kind = other.map_or("has no type", other_kind);
            let what = format!("the {role} {} {kind}; only tensors are supported", shown(&name));
            return Err(ReadError::new(Fault::INTERFACE, what)
                .help("export the model again with tensors only, e.g. with zipmap=False for scikit-learn"));
        }
    };
    let dtype = dtype(tensor.elem_type.unwrap_or(0)).map_err(|found| {
        let what = format!("the {role} {} has element type {found}, which is not supported", shown(&name));
        ReadError::new(Fault::ELEMENT_TYPE, what).help("export the model with float inputs and outputs")
    })?;
    let extent = |dim: &tensor_shape_proto::Dimension| match &dim.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(n)) => match usize::try_from(*n) {
            Ok(n) => Ok(Dim::Fixed(n)),
            _ => {
                let what = format!("the {role} {} has the extent {n}", shown(&name));
                Err(ReadError::new(Fault::EXTENT, what).help("export the model with a positive or a named extent"))
            }
        },
        Some(tensor_shape_proto::dimension::Value::DimParam(s)) if !s.is_empty() => Ok(Dim::symbol(&text(s))),
        _ => Ok(Dim::Unknown),
    };
    if let Some(rank) = tensor.shape.as_ref().map(|s| s.dim.len()).filter(|&n| n > RANK) {
        let what = format!("the {role} {} has {rank} axes; {RANK} is the limit", shown(&name));
        return Err(ReadError::new(Fault::TOO_LARGE, what));
    }
    let shape = tensor.shape.as_ref().map(|s| s.dim.iter().map(extent).collect::<Result<Vec<Dim>, _>>()).transpose()?;
    Ok(ValueType { dtype: Some(dtype), shape })
}

fn other_kind(value: &type_proto::Value) -> &'static str {
    match value {
        type_proto::Value::TensorType(_) => "is a tensor",
        type_proto::Value::SequenceType(_) => "is a sequence",
        type_proto::Value::MapType(_) => "is a map",
        type_proto::Value::OptionalType(_) => "is optional",
        type_proto::Value::SparseTensorType(_) => "is a sparse tensor",
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
fn standard(domain: &[u8]) -> &[u8] {
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
