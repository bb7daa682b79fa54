//! A model file that an engine runs as its author wrote it. Only its ends are changed, so that tensors of this crate go in and come
//! out: half precision between them stays half precision. Knows names and element types of the file; of its operators nothing.

use std::collections::HashSet;
use std::sync::Arc;

use prost::Message;

use super::fault::ReadError;
use super::half::Half;
use super::interface::{half_of, value_type};
use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, type_proto};
use super::read::text;
use super::tensor::{Resolve, embed};
use crate::ir::ValueType;
use crate::name::shown;

/// `TensorProto.DataType` of float.
const FLOAT: i32 = 1;

/// The bytes of a model with all its data inside, without prose and training graphs. The file has been read before.
///
/// # Errors
/// As for [`super::read_with`], where data lies in other files.
pub fn self_contained(bytes: &[u8], resolve: Resolve<'_>) -> Result<Vec<u8>, ReadError> {
    let mut model = super::read::decode(bytes)?.0;
    model.doc_string = None;
    model.metadata_props.clear();
    model.training_info.clear();
    if let Some(graph) = &mut model.graph {
        embed_all(graph, resolve)?;
    }
    for node in model.functions.iter_mut().flat_map(|f| &mut f.node) {
        embed_in(node, resolve)?;
    }
    Ok(model.encode_to_vec())
}

fn embed_all(graph: &mut GraphProto, resolve: Resolve<'_>) -> Result<(), ReadError> {
    graph.doc_string = None;
    graph.metadata_props.clear();
    graph.initializer.iter_mut().try_for_each(|tensor| embed(tensor, resolve))?;
    graph.node.iter_mut().try_for_each(|node| embed_in(node, resolve))
}

fn embed_in(node: &mut NodeProto, resolve: Resolve<'_>) -> Result<(), ReadError> {
    for attribute in &mut node.attribute {
        attribute.t.iter_mut().map(|t| &mut **t).chain(&mut attribute.tensors).try_for_each(|tensor| embed(tensor, resolve))?;
        attribute.g.iter_mut().map(|g| &mut **g).chain(&mut attribute.graphs).try_for_each(|g| embed_all(g, resolve))?;
    }
    Ok(())
}

/// A model file with one input and one output of types that tensors here have, and its own numbers between them.
#[derive(Clone, Debug)]
pub struct OwnFile {
    /// An ONNX model with all its data inside.
    pub bytes: Arc<[u8]>,
    /// What messages call it.
    pub name: String,
    /// Name and type of its input: float where the file has half precision.
    pub input: (String, ValueType),
    /// Name and type of its output.
    pub output: (String, ValueType),
    /// The half precision of input and output in the file.
    ends: [Option<Half>; 2],
}

impl OwnFile {
    /// The ends of a self-contained file changed: the only input becomes float where it is of half precision, with a `Cast` to the
    /// stored type behind it, and `output` is cast to float. Other outputs are left out; nothing else is touched.
    ///
    /// # Errors
    /// A clause whose subject is the file: it takes several inputs, or no value is called `output`.
    pub fn new(self_contained: &[u8], output: &str) -> Result<OwnFile, String> {
        let mut model = ModelProto::decode(self_contained).map_err(|why| format!("cannot be decoded again: {why}"))?;
        let graph = model.graph.as_mut().ok_or("has no graph")?;
        let taken = names(graph);
        let fresh = |wanted: &str| {
            let mut name = wanted.as_bytes().to_vec();
            while taken.contains(&name) {
                name.push(b'_');
            }
            name
        };
        let (into, out_of) = (fresh("float_input"), fresh("float_output"));
        let leaves = graph.output.iter().find(|o| text(o.name()) == output).and_then(half_of);
        let last = last_value(graph, output).ok_or_else(|| format!("has no value {}", shown(output)))?;
        graph.node.push(cast(&last, &out_of, FLOAT));
        let result = type_proto::Value::TensorType(type_proto::Tensor { elem_type: Some(FLOAT), shape: None });
        let ty = Some(TypeProto { value: Some(result), denotation: None });
        graph.output = vec![ValueInfoProto { name: Some(out_of), r#type: ty, ..ValueInfoProto::default() }];
        let constants: HashSet<&[u8]> = graph.initializer.iter().map(|t| t.name()).collect();
        let mut open = graph.input.iter_mut().filter(|input| !constants.contains(input.name()));
        let (Some(input), None) = (open.next(), open.next()) else { return Err("takes several inputs, or none".to_owned()) };
        let enters = half_of(input);
        if enters.is_some()
            && let Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), .. }) = &mut input.r#type
        {
            let stored = tensor.elem_type.replace(FLOAT).unwrap_or(FLOAT);
            let own = input.name.replace(into.clone()).ok_or("has an input without a name")?;
            graph.node.insert(0, cast(&into, &own, stored));
        }
        Ok(OwnFile { ends: [enters, leaves], ..OwnFile::read(&model.encode_to_vec())? })
    }

    /// A number as the input of the file takes it. Engines drop casts at the ends, so who feeds the file rounds.
    pub fn entering(&self, x: f64) -> f64 {
        self.ends[0].map_or(x, |half| half.nearest(x as f32).into())
    }

    /// A number as the output of the file gives it.
    pub fn leaving(&self, y: f64) -> f64 {
        self.ends[1].map_or(y, |half| half.nearest(y as f32).into())
    }

    /// The file that these bytes hold, which [`OwnFile::new`] has made.
    ///
    /// # Errors
    /// A clause whose subject is the file.
    pub fn read(bytes: &[u8]) -> Result<OwnFile, String> {
        let model = ModelProto::decode(bytes).map_err(|why| format!("cannot be decoded: {why}"))?;
        let graph = model.graph.ok_or("has no graph")?;
        let constants: HashSet<&[u8]> = graph.initializer.iter().map(|t| t.name()).collect();
        let one = |role: &str, ports: &[&ValueInfoProto]| match ports {
            [port] => value_type(role, port).map(|ty| (text(port.name()), ty)).map_err(|e| e.to_string()),
            several => Err(format!("has {} {role}s, and one was expected", several.len())),
        };
        let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(|i| !constants.contains(i.name())).collect();
        let outputs: Vec<&ValueInfoProto> = graph.output.iter().collect();
        let name = text(graph.name());
        let (input, output) = (one("input", &inputs)?, one("output", &outputs)?);
        Ok(OwnFile { bytes: bytes.into(), name, input, output, ends: [None, None] })
    }
}

/// The name in the file of the value that is called `wanted`: an output, or what a node gives.
fn last_value(graph: &GraphProto, wanted: &str) -> Option<Vec<u8>> {
    let declared = graph.output.iter().map(|o| o.name());
    let given = graph.node.iter().flat_map(|n| &n.output).map(Vec::as_slice);
    declared.chain(given).find(|name| text(name) == wanted).map(<[u8]>::to_vec)
}

fn cast(from: &[u8], to: &[u8], element: i32) -> NodeProto {
    let kind = AttributeProto {
        name: Some(b"to".to_vec()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(i64::from(element)),
        ..AttributeProto::default()
    };
    NodeProto {
        input: vec![from.to_vec()],
        output: vec![to.to_vec()],
        op_type: Some(b"Cast".to_vec()),
        attribute: vec![kind],
        ..NodeProto::default()
    }
}

/// Every name of a value, in subgraphs too.
fn names(graph: &GraphProto) -> HashSet<Vec<u8>> {
    let mut all: HashSet<Vec<u8>> = graph.input.iter().chain(&graph.output).map(|port| port.name().to_vec()).collect();
    all.extend(graph.initializer.iter().map(|t| t.name().to_vec()));
    for node in &graph.node {
        all.extend(node.input.iter().chain(&node.output).cloned());
        let inner = |a: &AttributeProto| a.g.iter().map(|g| &**g).chain(&a.graphs).flat_map(names).collect::<Vec<_>>();
        all.extend(node.attribute.iter().flat_map(inner));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::super::proto::{OperatorSetIdProto, StringStringEntryProto, TensorProto};
    use super::*;
    use crate::tensor::DType;

    const HALF: i32 = 10;

    fn port(name: &str, element: i32) -> ValueInfoProto {
        let tensor = type_proto::Tensor { elem_type: Some(element), shape: None };
        let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation: None };
        ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..ValueInfoProto::default() }
    }

    fn add(inputs: [&str; 2], output: &str) -> NodeProto {
        let input = inputs.iter().map(|name| name.as_bytes().to_vec()).collect();
        NodeProto { input, output: vec![output.into()], op_type: Some(b"Add".to_vec()), ..NodeProto::default() }
    }

    /// y = x + w, and a value that takes the name that the new input would have.
    fn model(element: i32, weight: TensorProto) -> Vec<u8> {
        let graph = GraphProto {
            node: vec![add(["x", "w"], "float_input"), add(["float_input", "w"], "y")],
            input: vec![port("x", element)],
            output: vec![port("y", element), port("float_input", element)],
            initializer: vec![TensorProto { name: Some(b"w".to_vec()), data_type: Some(HALF), dims: vec![1], ..weight }],
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { domain: None, version: Some(17) };
        ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }

    fn inside() -> TensorProto {
        TensorProto { raw_data: Some(vec![0, 0x3c]), ..TensorProto::default() }
    }

    fn wires(file: &OwnFile) -> Vec<(String, Vec<String>, Vec<String>)> {
        let graph = ModelProto::decode(&*file.bytes).unwrap().graph.unwrap();
        let list = |names: &[Vec<u8>]| names.iter().map(|n| text(n)).collect();
        graph.node.iter().map(|n| (text(n.op_type()), list(&n.input), list(&n.output))).collect()
    }

    #[test]
    fn only_the_ends_are_changed() {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let file = OwnFile::new(&model(HALF, inside()), "y").unwrap();
        assert_eq!((&*file.input.0, file.input.1.dtype), ("float_input_", Some(DType::F32)));
        assert_eq!((&*file.output.0, file.output.1.dtype), ("float_output", Some(DType::F32)));
        let expected = [
            ("Cast".to_owned(), own(&["float_input_"]), own(&["x"])),
            ("Add".to_owned(), own(&["x", "w"]), own(&["float_input"])),
            ("Add".to_owned(), own(&["float_input", "w"]), own(&["y"])),
            ("Cast".to_owned(), own(&["y"]), own(&["float_output"])),
        ];
        assert_eq!(wires(&file), expected);
        assert_eq!((file.entering(0.1), file.leaving(70000.0)), (0.0999755859375, f64::INFINITY));
        // a float input stays what it is
        let file = OwnFile::new(&model(1, inside()), "float_input").unwrap();
        assert_eq!((&*file.input.0, wires(&file).len()), ("x", 3));
        assert!(OwnFile::new(&model(1, inside()), "z").unwrap_err().contains("no value"));
    }

    #[test]
    fn data_beside_the_file_comes_into_it() {
        let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
        let outside = TensorProto {
            data_location: Some(1),
            external_data: vec![entry("location", "w.bin"), entry("length", "2")],
            ..TensorProto::default()
        };
        let bytes = model(HALF, outside);
        let whole = self_contained(&bytes, &|tensor| {
            assert_eq!((&*tensor.location, tensor.length), ("w.bin", 2));
            Ok(vec![0, 0x3c])
        });
        assert_eq!(whole.unwrap(), model(HALF, inside()));
        assert!(self_contained(&bytes, &|_| Err((Fault::EXTERNAL, "it is gone".to_owned()))).is_err());
    }
}
