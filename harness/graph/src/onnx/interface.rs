//! The interface of a graph in a file: which types its inputs and outputs declare, what of it a graph holds, and what is left out.

use std::collections::{HashMap, HashSet};

use super::fault::{Fault, ReadError};
use super::half::Half;
use super::order::names_read;
use super::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, tensor_shape_proto, type_proto};
use super::read::text;
use super::tensor::dtype;
use crate::ir::{Dim, Graph, ValueId, ValueType};
use crate::name::shown;
use crate::ops::RANK;

/// Adds the outputs of the interface. A declared type fills in what inference does not know; it never overrules it.
pub(super) fn outputs(
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
pub(super) fn unique_labels(graph: &Graph) -> Result<(), ReadError> {
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

/// What is declared about the input of a subgraph, as far as it can be; it is known for certain when the graph is inlined.
pub(super) fn hinted_type(proto: &ValueInfoProto) -> ValueType {
    value_type("input", proto).unwrap_or_default()
}

/// The labels of the classes as a model of `ai.onnx.ml` states them: those of its `ZipMap`, else those among which an output chooses,
/// else of its only classifier. Empty where there are none, or several that differ.
pub(super) fn class_labels(proto: &GraphProto) -> Vec<String> {
    let of = |wanted: &dyn Fn(&[u8]) -> bool| {
        let nodes = proto.node.iter().filter(|n| n.domain() == b"ai.onnx.ml" && wanted(n.op_type()));
        let mut lists: Vec<Vec<String>> = nodes.filter_map(stated_labels).collect();
        lists.dedup();
        if lists.len() == 1 { lists.pop() } else { None }
    };
    let chosen_from = || proto.output.iter().find_map(|output| labels_behind(proto, output.name()));
    of(&|op| op == b"ZipMap").or_else(chosen_from).or_else(|| of(&|op| op.ends_with(b"Classifier"))).unwrap_or_default()
}

/// The labels of which an output gives one per image: an `ArrayFeatureExtractor` takes it from a list, or a classifier gives it.
fn labels_behind(proto: &GraphProto, output: &[u8]) -> Option<Vec<String>> {
    const LONGEST: usize = 8;
    let mut name = output;
    for _ in 0..LONGEST {
        let node = proto.node.iter().find(|n| n.output.iter().any(|o| o == name))?;
        match (node.domain(), node.op_type()) {
            (b"ai.onnx.ml", b"ArrayFeatureExtractor") => {
                let list = proto.initializer.iter().find(|t| Some(t.name()) == node.input.first().map(Vec::as_slice))?;
                return listed(list).filter(|labels| labels.len() > 1);
            }
            (b"ai.onnx.ml", op) if op.ends_with(b"Classifier") && node.output.first().is_some_and(|o| o == name) => {
                return stated_labels(node);
            }
            (b"" | b"ai.onnx", b"Cast" | b"Reshape" | b"Identity" | b"Squeeze" | b"Unsqueeze" | b"Flatten") => {
                name = node.input.first()?
            }
            _ => return None,
        }
    }
    None
}

/// Text or integers of a tensor, as text.
fn listed(tensor: &TensorProto) -> Option<Vec<String>> {
    const STRING: i32 = 8;
    const INT32: i32 = 6;
    const INT64: i32 = 7;
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    match tensor.data_type() {
        STRING => Some(tensor.string_data.iter().map(|s| text(s)).collect()),
        INT32 if raw.is_empty() => Some(tensor.int32_data.iter().map(i32::to_string).collect()),
        INT64 if raw.is_empty() => Some(tensor.int64_data.iter().map(i64::to_string).collect()),
        INT32 => Some(raw.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).to_string()).collect()),
        INT64 => Some(raw.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes).to_string()).collect()),
        _ => None,
    }
}

fn stated_labels(node: &NodeProto) -> Option<Vec<String>> {
    let of = |name: &[u8]| node.attribute.iter().find(|a| a.name() == name);
    let words = of(b"classlabels_strings").map(|a| a.strings.iter().map(|s| text(s)).collect::<Vec<_>>());
    let numbers = || {
        let list = of(b"classlabels_int64s").or_else(|| of(b"classlabels_ints"))?;
        Some(list.ints.iter().map(i64::to_string).collect::<Vec<_>>())
    };
    words.filter(|w| !w.is_empty()).or_else(numbers).filter(|labels| labels.len() > 1)
}

/// The output of a `ZipMap` becomes its operand, the scores. Other outputs that no tensor holds, or that hold text, are left out where
/// tensors of numbers stand beside them, with the nodes that lead to them only: the name of a class.
pub(super) fn tensors_only(proto: &mut GraphProto, notes: &mut Vec<String>) -> Result<(), ReadError> {
    const STRING: i32 = 8;
    let is_tensor = |o: &ValueInfoProto| match o.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.elem_type() != STRING,
        other => other.is_none(),
    };
    if proto.output.iter().all(is_tensor) {
        return Ok(());
    }
    let zipped: HashMap<Vec<u8>, Vec<u8>> = (proto.node.iter())
        .filter(|n| n.op_type() == b"ZipMap" && n.domain() == b"ai.onnx.ml")
        .filter_map(|n| Some((n.output.first()?.clone(), n.input.first()?.clone())))
        .collect();
    let mut taken: HashSet<Vec<u8>> = proto.output.iter().map(|o| o.name().to_vec()).collect();
    for output in &mut proto.output {
        let Some(scores) = zipped.get(output.name()).filter(|scores| taken.insert(scores.to_vec())) else { continue };
        let (map, scores) = (shown(&text(output.name())), scores.clone());
        notes.push(format!(
            "the output {map} holds a map; the scores that it is made of, {}, stand for it",
            shown(&text(&scores))
        ));
        (output.name, output.r#type) = (Some(scores), None);
    }
    let outputs: HashSet<&[u8]> = proto.output.iter().filter(|o| is_tensor(o)).map(|o| o.name()).collect();
    let is_text =
        |o: &ValueInfoProto| matches!(o.r#type.as_ref().and_then(|t| t.value.as_ref()), Some(type_proto::Value::TensorType(_)));
    let said_elsewhere = |o: &ValueInfoProto| zipped.get(o.name()).is_some_and(|x| outputs.contains(x.as_slice()));
    let floats = proto.output.iter().any(is_tensor);
    let drop: Vec<bool> = (proto.output.iter()).map(|o| !is_tensor(o) && floats && (is_text(o) || said_elsewhere(o))).collect();
    for (output, _) in proto.output.iter().zip(&drop).filter(|(_, drop)| **drop) {
        let kind = if is_text(output) { "text" } else { "a map" };
        notes.push(format!("the output {} holds {kind} and was left out", shown(&text(output.name()))));
    }
    let mut drop = drop.into_iter();
    proto.output.retain(|_| drop.next() == Some(false));
    without_dead(proto);
    Ok(())
}

/// Drops nodes and initializers that no output needs.
fn without_dead(proto: &mut GraphProto) {
    let mut producers: HashMap<Vec<u8>, usize> = HashMap::new();
    for (index, node) in proto.node.iter().enumerate() {
        producers.extend(node.output.iter().filter(|o| !o.is_empty()).map(|o| (o.clone(), index)));
    }
    let mut needed = vec![false; proto.node.len()];
    let mut read: HashSet<Vec<u8>> = HashSet::new();
    let mut open: Vec<Vec<u8>> = proto.output.iter().map(|o| o.name().to_vec()).collect();
    while let Some(name) = open.pop() {
        if !read.insert(name.clone()) {
            continue;
        }
        if let Some(&index) = producers.get(&name)
            && !std::mem::replace(&mut needed[index], true)
        {
            open.extend(names_read(&proto.node[index]).map(<[u8]>::to_vec));
        }
    }
    let mut needed = needed.into_iter();
    proto.node.retain(|_| needed.next() == Some(true));
    proto.initializer.retain(|t| read.contains(t.name()));
}

/// The tensor type of an input or output.
pub(super) fn value_type(role: &str, proto: &ValueInfoProto) -> Result<ValueType, ReadError> {
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
        // some exporters write any extent as -1
        Some(tensor_shape_proto::dimension::Value::DimValue(-1)) => Ok(Dim::Unknown),
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

/// The half precision of an input or output, where it is of one.
pub(super) fn half_of(proto: &ValueInfoProto) -> Option<Half> {
    match proto.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => Half::of_code(tensor.elem_type.unwrap_or(0).into()),
        _ => None,
    }
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
