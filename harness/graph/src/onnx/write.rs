//! A graph as the bytes of an ONNX file. Knows names, element types and their byte order; the same graph gives the same bytes.

use std::collections::BTreeSet;

use prost::Message;

use super::proto::attribute_proto::AttributeType;
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use crate::ir::{Attribute, Dim, Graph, Node, ValueType};
use crate::name::Naming;
use crate::ops::onnx_code;
use crate::tensor::Tensor;

/// The version of the ONNX file format that is written. Every runtime of the last years reads it.
const IR_VERSION: i64 = 8;

/// Writes a graph as an ONNX file: IR version 8, opset [`crate::OPSET`], other domains at version 1.
///
/// Names of the interface are kept, other names are made unique. An output that is an input, a constant or a value which is
/// already visible under another name is written through an `Identity`. Constants that nothing reads are left out, and so are
/// attributes that this program could not read ([`Attribute::Unread`], which [`Graph::check`] refuses).
pub fn write(graph: &Graph) -> Vec<u8> {
    model_proto(graph).encode_to_vec()
}

/// As [`write()`], with a sentence about the file and properties for those who read it: key and value, in this order.
pub fn write_described(graph: &Graph, description: &str, properties: &[(&str, String)]) -> Vec<u8> {
    let entry = |(key, value): &(&str, String)| StringStringEntryProto {
        key: Some(key.as_bytes().to_vec()),
        value: Some(value.clone().into_bytes()),
    };
    let model = ModelProto {
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: Some(description.into()),
        metadata_props: properties.iter().map(entry).collect(),
        ..model_proto(graph)
    };
    model.encode_to_vec()
}

fn model_proto(graph: &Graph) -> ModelProto {
    let naming = Naming::of(graph);
    let mut domains: BTreeSet<&str> = graph.nodes().iter().map(|n| &*n.domain).collect();
    domains.insert("");
    ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some(b"flatscape".to_vec()),
        opset_import: domains
            .into_iter()
            .map(|domain| OperatorSetIdProto {
                domain: Some(domain.into()),
                version: Some(if domain.is_empty() { crate::OPSET } else { 1 }),
            })
            .collect(),
        graph: Some(graph_proto(graph, &naming, 0)),
        ..ModelProto::default()
    }
}

/// The last `captured` inputs are names from outside and are not listed.
fn graph_proto(graph: &Graph, naming: &Naming, captured: usize) -> GraphProto {
    let own = graph.inputs().len() - captured.min(graph.inputs().len());
    let outputs = graph.outputs().iter().zip(&naming.outputs);
    let visible: BTreeSet<&str> = naming.outputs.iter().map(|name| &**name).collect();
    let results = graph.nodes().iter().flat_map(|n| n.outputs.iter().flatten().copied());
    GraphProto {
        name: Some(if graph.name.is_empty() { b"graph".to_vec() } else { graph.name.clone().into_bytes() }),
        input: graph.inputs()[..own].iter().map(|&v| value_info(naming.value(Some(v)), &graph.value(v).ty)).collect(),
        output: outputs.map(|(o, name)| value_info(name, &graph.value(o.value).ty)).collect(),
        initializer: naming
            .constants
            .iter()
            .filter_map(|&v| graph.constant(v).map(|t| tensor_proto(naming.value(Some(v)), t)))
            .collect(),
        node: (graph.nodes().iter().zip(&naming.nodes).map(|(node, name)| node_proto(node, name, naming)))
            .chain(naming.identities.iter().map(|(value, name)| identity(naming.value(Some(*value)), name)))
            .collect(),
        value_info: results
            .filter(|&v| graph.dtype(v).is_some() && !visible.contains(naming.value(Some(v))))
            .map(|v| value_info(naming.value(Some(v)), &graph.value(v).ty))
            .collect(),
        ..GraphProto::default()
    }
}

fn node_proto(node: &Node, name: &str, naming: &Naming) -> NodeProto {
    let name_of = |v: &Option<_>| naming.value(*v).as_bytes().to_vec();
    NodeProto {
        input: node.own_inputs().iter().map(name_of).collect(),
        output: node.outputs.iter().map(name_of).collect(),
        name: Some(name.into()),
        op_type: Some(node.op.as_bytes().to_vec()),
        domain: (!node.domain.is_empty()).then(|| node.domain.as_bytes().to_vec()),
        attribute: node.attributes.0.iter().filter_map(|(name, value)| attribute_proto(name, value, node, naming)).collect(),
        ..NodeProto::default()
    }
}

fn identity(from: &str, to: &str) -> NodeProto {
    NodeProto {
        input: vec![from.into()],
        output: vec![to.into()],
        name: Some(format!("{to}_identity").into_bytes()),
        op_type: Some(b"Identity".to_vec()),
        ..NodeProto::default()
    }
}

fn attribute_proto(name: &str, value: &Attribute, node: &Node, naming: &Naming) -> Option<AttributeProto> {
    let empty = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
    let (kind, filled) = match value {
        Attribute::Int(v) => (AttributeType::Int, AttributeProto { i: Some(*v), ..empty }),
        Attribute::Float(v) => (AttributeType::Float, AttributeProto { f: Some(*v), ..empty }),
        Attribute::String(v) => (AttributeType::String, AttributeProto { s: Some(v.clone().into_bytes()), ..empty }),
        Attribute::Ints(v) => (AttributeType::Ints, AttributeProto { ints: v.clone(), ..empty }),
        Attribute::Floats(v) => (AttributeType::Floats, AttributeProto { floats: v.clone(), ..empty }),
        Attribute::Strings(v) => {
            let strings = v.iter().map(|s| s.clone().into_bytes()).collect();
            (AttributeType::Strings, AttributeProto { strings, ..empty })
        }
        Attribute::Tensor(v) => (AttributeType::Tensor, AttributeProto { t: Some(Box::new(tensor_proto("", v))), ..empty }),
        Attribute::Graph(inner) => {
            let inside = naming.inside(inner, node.captures_of(name));
            let graph = graph_proto(&inner.graph, &inside, inner.captured);
            (AttributeType::Graph, AttributeProto { g: Some(Box::new(graph)), ..empty })
        }
        Attribute::Unread(_) => return None,
    };
    Some(AttributeProto { r#type: Some(kind as i32), ..filled })
}

fn value_info(name: &str, ty: &ValueType) -> ValueInfoProto {
    let dimension = |dim: &Dim| tensor_shape_proto::Dimension {
        value: match dim {
            Dim::Fixed(n) => Some(tensor_shape_proto::dimension::Value::DimValue(*n as i64)),
            Dim::Symbol(s) => Some(tensor_shape_proto::dimension::Value::DimParam(s.as_bytes().to_vec())),
            Dim::Unknown => None,
        },
        denotation: None,
    };
    let tensor = ty.dtype.map(|dtype| type_proto::Tensor {
        elem_type: Some(onnx_code(dtype) as i32),
        shape: ty.shape.as_ref().map(|dims| TensorShapeProto { dim: dims.iter().map(dimension).collect() }),
    });
    ValueInfoProto {
        name: Some(name.into()),
        r#type: tensor.map(|t| TypeProto { value: Some(type_proto::Value::TensorType(t)), denotation: None }),
        ..ValueInfoProto::default()
    }
}

fn tensor_proto(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name: (!name.is_empty()).then(|| name.into()),
        dims: tensor.shape().iter().map(|&n| n as i64).collect(),
        data_type: Some(onnx_code(tensor.dtype()) as i32),
        raw_data: Some(raw_data(tensor)),
        ..TensorProto::default()
    }
}

/// The elements, row-major and little-endian.
fn raw_data(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tensor.len() * tensor.dtype().size());
    match tensor {
        Tensor::F32(a) => a.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes())),
        Tensor::F64(a) => a.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes())),
        Tensor::I32(a) => a.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes())),
        Tensor::I64(a) => a.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes())),
        Tensor::I8(a) => bytes.extend(a.iter().map(|&v| v as u8)),
        Tensor::U8(a) => bytes.extend(a.iter()),
        Tensor::Bool(a) => bytes.extend(a.iter().map(|&v| u8::from(v))),
    }
    bytes
}
