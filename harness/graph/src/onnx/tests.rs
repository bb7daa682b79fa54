//! Files read, written and read again; files that are refused, and in which words.

use std::path::{Path, PathBuf};
use std::time::Instant;

use prost::Message;

use super::proto::attribute_proto::AttributeType;
use super::proto::{self, AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::{ExternalTensor, Fault, ReadError, read, read_with, write};
use crate::{Attribute, Attributes, DType, Dim, Graph, Node, Tensor, ValueType, text};

/// The third-party models, if they are there.
fn models() -> Vec<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("FLATSCAPE_DATA").map_or_else(beside, PathBuf::from);
    let Ok(files) = std::fs::read_dir(data.join("models")) else {
        println!("skipped: no models under {} (set FLATSCAPE_DATA)", data.display());
        return Vec::new();
    };
    let files = files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "onnx"));
    let files: Vec<PathBuf> = files.collect();
    assert!(!files.is_empty(), "{} holds no model", data.display());
    files
}

fn same(a: &Graph, b: &Graph) {
    if let Some(what) = a.difference(b) {
        panic!("{what}\n{}\n{}", text::print(a), text::print(b));
    }
}

#[test]
fn third_party_models_survive_bytes_and_text() {
    for path in models() {
        let file = read(&std::fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(file.opset < crate::OPSET && !file.graph.nodes().is_empty());
        let bytes = write(&file.graph);
        let again = read(&bytes).unwrap_or_else(|e| panic!("{} written: {e}", path.display()));
        assert_eq!(again.opset, crate::OPSET);
        same(&file.graph, &again.graph);
        // what is inferred on reading is written the next time; from then on the bytes stay
        let twice = write(&again.graph);
        assert!(write(&read(&twice).unwrap().graph) == twice, "{} changes", path.display());
        let parsed = text::parse(&text::print_whole(&file.graph)).unwrap_or_else(|e| panic!("{} as text: {e}", path.display()));
        same(&file.graph, &parsed);
    }
}

/// A graph with every element type, every kind of attribute, absent operands and results, and awkward names.
pub(super) fn everything() -> Graph {
    let mut graph = Graph::new("every thing");
    let shape = vec![Dim::symbol("N"), Dim::Unknown, Dim::Fixed(3), Dim::symbol("h w")];
    let x = graph.add_input("x", ValueType::new(DType::F32, shape));
    let rankless = graph.add_input("any rank", ValueType { dtype: Some(DType::I64), shape: None });
    let scalar = graph.add_input("eps", ValueType::fixed(DType::F64, &[]));
    let constants = [
        Tensor::new(&[5], vec![1.5f32, -0.0, f32::NAN, f32::NEG_INFINITY, 1e-40]).unwrap(),
        Tensor::new(&[2, 1], vec![0.1f64, -1e300]).unwrap(),
        Tensor::new(&[3], vec![i8::MIN, 0, i8::MAX]).unwrap(),
        Tensor::new(&[2], vec![i32::MIN, i32::MAX]).unwrap(),
        Tensor::new(&[2], vec![i64::MIN, i64::MAX]).unwrap(),
        Tensor::new(&[2], vec![0u8, 255]).unwrap(),
        Tensor::new(&[2], vec![true, false]).unwrap(),
        Tensor::new(&[0, 4], Vec::<f32>::new()).unwrap(),
        Tensor::scalar(7i64),
    ];
    let mut inputs = vec![Some(x), None, Some(rankless), Some(scalar)];
    inputs.extend(constants.into_iter().map(|t| Some(graph.add_constant("x", t))));
    let attributes = Attributes::from([
        ("int", Attribute::Int(-3)),
        ("float", Attribute::Float(2.0)),
        ("string", Attribute::String("a \"b\" \\ \u{1b}[2J \u{202e} é".to_owned())),
        ("ints", Attribute::Ints(vec![1, -1])),
        ("floats", Attribute::Floats(vec![1.0, 1e-20, f32::INFINITY])),
        ("strings", Attribute::Strings(vec!["a".to_owned(), String::new()])),
        ("no_ints", Attribute::Ints(Vec::new())),
        ("no_floats", Attribute::Floats(Vec::new())),
        ("no_strings", Attribute::Strings(Vec::new())),
        ("tensor", Attribute::Tensor(Tensor::new(&[2], vec![1.0f32, 2.0]).unwrap().into())),
    ]);
    let node = Node {
        op: "Everything".into(),
        domain: "test.domain".into(),
        name: "/block/Everything".into(),
        inputs,
        outputs: Vec::new(),
        attributes,
    };
    let results = graph.push_named(node, &[Some("x"), None, Some("#1")]);
    let constant = graph.add_constant("c", Tensor::ints(&[1, 2, 3]));
    graph.add_output("first", results[0].unwrap());
    graph.add_output("again", results[0].unwrap());
    graph.add_output("third", results[2].unwrap());
    graph.add_output("constant", constant);
    graph.add_output("eps", scalar);
    graph.add_output("input", x);
    graph
}

#[test]
fn everything_survives() {
    let graph = everything();
    let once = read(&write(&graph)).unwrap().graph;
    // three outputs needed an Identity; from then on nothing changes any more
    assert_eq!(once.nodes().len(), graph.nodes().len() + 3);
    assert_eq!(once.inputs().len(), 3);
    let node = &once.nodes()[0];
    assert_eq!((node.outputs.len(), node.outputs[1]), (3, None));
    assert_eq!(node.attributes, graph.nodes()[0].attributes);
    assert_eq!(&*node.name, "/block/Everything");
    same(&once, &read(&write(&once)).unwrap().graph);
    same(&once, &text::parse(&text::print_whole(&once)).unwrap());
    same(&once, &text::parse(&text::print(&graph)).unwrap());
    assert!(graph.difference(&once).is_some());
}

#[test]
fn names_are_kept_or_made_unique() {
    let mut graph = Graph::new("");
    let mut x = graph.add_input("x", ValueType::fixed(DType::F32, &[2]));
    for _ in 0..3 {
        x = graph.push_named(Node::new("Relu", &[x], []), &[Some("y")])[0].unwrap();
    }
    graph.add_output("y", x);
    let model = ModelProto::decode(&write(&graph)[..]).unwrap();
    let nodes = model.graph.unwrap().node;
    let names: Vec<String> = nodes.iter().map(|n| String::from_utf8(n.output[0].clone()).unwrap()).collect();
    assert_eq!(names, ["y_1", "y_2", "y"]);
    let names: Vec<&[u8]> = nodes.iter().map(|n| n.name()).collect();
    assert_eq!(names, [&b"Relu"[..], b"Relu_1", b"Relu_2"]);
    assert_eq!(model.ir_version, Some(8));
    assert_eq!(model.opset_import[0].version, Some(crate::OPSET));
}

/// `y = Relu(x)`, `z = Add(y, w)`, with the constant `w`.
fn small() -> ModelProto {
    let source = "small (float[N,2] x) => (float[N,2] z) <float[2] w = {1, 2}> { y = Relu(x) z = Add(y, w) }";
    let mut model = ModelProto::decode(&write(&text::parse(source).unwrap())[..]).unwrap();
    model.graph.as_mut().unwrap().value_info.clear();
    model
}

#[test]
fn prefixes_are_refused() {
    let bytes = small().encode_to_vec();
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).expect_err("a prefix");
        assert!(["M002", "M003", "M014", "M015"].contains(&error.id()), "{length}: {} {error}", error.id());
    }
    assert!(read(&bytes).is_ok());
    let error = read(&bytes[..bytes.len() - 12]).unwrap_err();
    assert!(error.what.contains("field graph (at byte"), "{error}");
}

#[test]
fn other_files_are_called_by_their_names() {
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let rows: &[(&[u8], &str, &str)] = &[
        (b"", "M002", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "M004", "git-LFS pointer"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "M004", "HTML page"),
        (b"\n<!-- 404 --><html lang=\"en\">", "M004", "HTML page"),
        (b"\x80\x02}q\x00(X\x05\x00\x00\x00", "M004", "Python pickle"),
        (b"PK\x03\x04\x00\x00\x08\x08archive/data.pkl", "M004", "zip archive"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "M004", "gzip"),
        (&tar, "M004", "tar archive"),
        (b"\x20\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[]}}xxxx", "M004", "safetensors"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", "M004", "HDF5"),
        (b"\x1c\0\0\0TFL3\x14\0\x20\0", "M004", "TensorFlow Lite"),
        (b"\x1c\0\0\0ORTM\x14\0\x20\0", "M004", "ORT format"),
        (b"{\"model\": 1}", "M004", "JSON"),
        (b"\x93NUMPY\x01\0v\0", "M004", "NumPy"),
        (b"\x08\x08", "M015", "no graph"),
        (b"\x3a\x7f\x0a", "M003", "says 127 bytes, 1 left"),
        (b"\x0b\x0c", "M008", "malformed protobuf at byte 0"),
        (b"\x00\x01", "M008", "malformed protobuf at byte 0"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00", "M008", "a number without an end"),
    ];
    for (bytes, id, words) in rows {
        let error = read(bytes).expect_err(words);
        assert_eq!(error.id(), *id, "{error}");
        assert!(error.what.contains(words), "{error} should say {words:?}");
    }
    // random bytes
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8).collect();
    assert!(read(&noise).is_err());
    // a model whose bytes happen to carry another kind's mark is a model
    let mut model = small();
    model.ir_version = Some(8);
    model.producer_name = Some(b"ORTM".to_vec());
    assert!(model.encode_to_vec()[4..].starts_with(b"ORTM"));
    assert!(read(&model.encode_to_vec()).is_ok());
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |list: &[&str]| list.iter().map(|s| s.as_bytes().to_vec()).collect();
    NodeProto { op_type: Some(op.into()), input: names(inputs), output: names(outputs), ..NodeProto::default() }
}

/// A local function of the domain `mine` from a to b.
fn function(name: &str, node: Vec<NodeProto>) -> proto::FunctionProto {
    let (name, domain) = (Some(name.into()), Some(b"mine".to_vec()));
    proto::FunctionProto { name, domain, input: vec![b"a".to_vec()], output: vec![b"b".to_vec()], node, ..Default::default() }
}

/// Functions f0, f1, …, each of which calls the previous one this many times, one call after the other.
fn chain(length: usize, calls: usize) -> Vec<proto::FunctionProto> {
    let call = |op: String, i: usize, last: bool| {
        let (from, to) =
            (if i == 0 { "a".to_owned() } else { format!("t{i}") }, if last { "b".to_owned() } else { format!("t{}", i + 1) });
        NodeProto { domain: Some(b"mine".to_vec()), ..node(&op, &[&from], &[&to]) }
    };
    let body = |level: usize| match level {
        0 => vec![node("Relu", &["a"], &["b"])],
        _ => (0..calls).map(|i| call(format!("f{}", level - 1), i, i + 1 == calls)).collect(),
    };
    (0..length).map(|level| function(&format!("f{level}"), body(level))).collect()
}

fn nested(depth: usize) -> proto::GraphProto {
    let mut graph = proto::GraphProto::default();
    for _ in 0..depth {
        let body = AttributeProto { g: Some(Box::new(graph)), r#type: Some(AttributeType::Graph as i32), ..Default::default() };
        graph = proto::GraphProto {
            node: vec![NodeProto { attribute: vec![body], ..node("If", &["x"], &["i"]) }],
            ..Default::default()
        };
    }
    graph
}

fn dims(info: &mut ValueInfoProto) -> &mut Vec<proto::tensor_shape_proto::Dimension> {
    match info.r#type.as_mut().unwrap().value.as_mut().unwrap() {
        proto::type_proto::Value::TensorType(tensor) => &mut tensor.shape.as_mut().unwrap().dim,
        _ => panic!("a tensor"),
    }
}

/// A way to spoil the small model, the id of the refusal and words of its sentence.
type Row = (&'static str, &'static str, fn(&mut ModelProto, &mut proto::GraphProto, &mut TensorProto));

const ROWS: &[Row] = &[
    ("M007", "more than 400000 nodes", |_, g, _| g.node = vec![node("Identity", &["some name"], &["y"]); 400_001]),
    ("M007", "MB more than its own", |_, g, _| g.node = vec![NodeProto::default(); 400_000]),
    ("M013", "format version 99", |m, _, _| m.ir_version = Some(99)),
    ("M013", "opset 99; this program knows up to 27", |m, _, _| m.opset_import[0].version = Some(99)),
    ("M014", "does not say which opset", |m, _, _| m.opset_import.clear()),
    ("M014", "opset 0", |m, _, _| m.opset_import[0].version = None),
    ("M014", "in two versions", |m, _, _| {
        let again = proto::OperatorSetIdProto { domain: Some(b"ai.onnx".to_vec()), version: Some(17) };
        m.opset_import.push(again);
    }),
    ("M015", "no output", |_, g, _| g.output.clear()),
    ("M016", "a cycle: Add (node \"Add\") -> Relu (node \"Relu\") -> Add (node \"Add\")", |_, g, _| {
        g.node[0].input = vec![b"z".to_vec()];
    }),
    ("M016", "Add (node \"Add\") -> Add (node \"Add\")", |_, g, _| g.node[1].input[0] = b"z".to_vec()),
    ("M018", "Relu (node \"Relu\") and Neg (which gives \"y\") both produce \"y\"", |_, g, _| {
        g.node.insert(1, node("Neg", &["x"], &["y"]));
    }),
    ("M018", "an initializer and Relu (node \"Relu\") both produce \"w\"", |_, g, _| g.node[0].output = vec![b"w".to_vec()]),
    ("M018", "an input and Relu (node \"Relu\") both produce \"x\"", |_, g, _| g.node[0].output = vec![b"x".to_vec()]),
    ("M018", "two inputs \"x\"", |_, g, _| g.input.push(g.input[0].clone())),
    ("M018", "two outputs \"z\"", |_, g, _| g.output.push(g.output[0].clone())),
    ("M018", "two initializers \"w\"", |_, g, w| g.initializer.push(w.clone())),
    ("M018", "the attribute \"axis\" twice", |_, g, _| {
        g.node[0].attribute = vec![AttributeProto { name: Some(b"axis".to_vec()), i: Some(1), ..Default::default() }; 2];
    }),
    ("M019", "Add (node \"Add\") reads \"w3\", which nothing produces", |_, g, _| g.node[1].input[1] = b"w3".to_vec()),
    ("M019", "nothing produces the output \"q\"", |_, g, _| g.output[0].name = Some(b"q".to_vec())),
    ("M019", "reads \"a\\u{1b}[2J\\u{202e}b\"", |_, g, _| g.node[1].input[1] = "a\u{1b}[2J\u{202e}b".into()),
    ("M020", "negative extent -4", |_, _, w| w.dims = vec![-4, -3]),
    ("M020", "the input \"x\" has the extent -2", |_, g, _| {
        dims(&mut g.input[0])[0].value = Some(proto::tensor_shape_proto::dimension::Value::DimValue(-2));
    }),
    ("M021", "has 65 axes", |_, _, w| w.dims = vec![1; 65]),
    ("M021", "has 65 axes", |_, g, _| *dims(&mut g.input[0]) = vec![Default::default(); 65]),
    ("M021", "more than memory can hold", |_, _, w| w.dims = vec![1 << 40, 1 << 40]),
    ("M022", "tensor \"w\" (float[3]) needs 12 bytes, has 8", |_, _, w| w.dims = vec![3]),
    ("M022", "needs 8 bytes, has 7", |_, _, w| w.raw_data = Some(vec![0; 7])),
    ("M022", "raw and as numbers", |_, _, w| w.float_data = vec![1.0, 2.0]),
    ("M022", "needs 2 numbers in float_data, has 0 there and 2 elsewhere", |_, _, w| {
        w.raw_data = None;
        w.double_data = vec![1.0, 2.0];
    }),
    ("M022", "holds 300, which does not fit", |_, _, w| {
        (w.raw_data, w.data_type, w.int32_data) = (None, Some(2), vec![1, 300]);
    }),
    ("M022", "split into segments", |_, _, w| w.segment = Some(proto::tensor_proto::Segment::default())),
    ("M023", "tensor \"w\" has element type float8e4m3fn", |_, _, w| w.data_type = Some(17)),
    ("M023", "element type unknown (9999)", |_, _, w| w.data_type = Some(9999)),
    ("M023", "element type string", |_, _, w| w.data_type = Some(8)),
    ("M024", "initializer \"s\" is sparse", |_, g, _| {
        let values = TensorProto { name: Some(b"s".to_vec()), ..Default::default() };
        g.sparse_initializer = vec![proto::SparseTensorProto { values: Some(values), ..Default::default() }];
    }),
    ("M032", "nests more than 16 graphs", |_, g, _| g.node.extend(nested(16).node)),
    ("M033", "the local function \"Relu\" calls itself", |m, g, _| {
        g.node[0].domain = Some(b"mine".to_vec());
        let call = NodeProto { domain: Some(b"mine".to_vec()), ..node("Relu", &["a"], &["b"]) };
        m.functions = vec![function("Relu", vec![call])];
    }),
    ("M033", "more than 32", |m, g, _| {
        g.node[0].domain = Some(b"mine".to_vec());
        g.node[0].op_type = Some(b"f39".to_vec());
        m.functions = chain(40, 1);
    }),
    ("M033", "nodes once its local functions are inlined", |m, g, _| {
        g.node[0].domain = Some(b"mine".to_vec());
        g.node[0].op_type = Some(b"f29".to_vec());
        m.functions = chain(30, 4);
    }),
    ("M033", "is written in opset 12 and the model in 18, and \"Softmax\" changed", |m, _, _| {
        let mut old = function("f", vec![node("Softmax", &["a"], &["b"])]);
        old.opset_import = vec![proto::OperatorSetIdProto { domain: None, version: Some(12) }];
        m.functions = vec![old];
    }),
    ("M018", "two local functions \"f\"", |m, _, _| {
        m.functions = vec![function("f", vec![node("Relu", &["a"], &["b"])]), function("f", vec![node("Relu", &["a"], &["b"])])];
    }),
    ("M019", "nothing produces the output \"b\" of a local function", |m, g, _| {
        g.node[0].domain = Some(b"mine".to_vec());
        m.functions = vec![function("Relu", vec![node("Relu", &["a"], &["c"])])];
    }),
    ("M039", "the output \"z\" is a sequence", |_, g, _| {
        let sequence = proto::type_proto::Value::SequenceType(Box::default());
        g.output[0].r#type = Some(proto::TypeProto { value: Some(sequence), denotation: None });
    }),
    ("M039", "the input \"x\" has no type", |_, g, _| g.input[0].r#type = None),
    ("M045", "external data \"w.bin\": the data lies in another file", |_, _, w| external(w, &[("location", "w.bin")])),
    ("M045", "no location", |_, _, w| external(w, &[("offset", "0")])),
    ("M045", "the offset \"+48\"", |_, _, w| external(w, &[("location", "w.bin"), ("offset", "+48")])),
    ("M045", "too large", |_, _, w| external(w, &[("location", "w.bin"), ("length", "99999999999999999999")])),
    ("M046", "stands twice", |_, _, w| external(w, &[("location", "w.bin"), ("location", "v.bin")])),
    ("M048", "an address in memory", |_, _, w| external(w, &[("location", "*/_ORT_MEM_ADDR_/*")])),
    ("M047", "is not a path", |_, _, w| external(w, &[("location", "w.bin\0x")])),
    ("M022", "needs 8 bytes, its external data says 9", |_, _, w| external(w, &[("location", "w.bin"), ("length", "9")])),
];

fn external(tensor: &mut TensorProto, keys: &[(&str, &str)]) {
    let entry =
        |(key, value): &(&str, &str)| proto::StringStringEntryProto { key: Some((*key).into()), value: Some((*value).into()) };
    tensor.raw_data = None;
    tensor.data_location = Some(1);
    tensor.external_data = keys.iter().map(entry).collect();
}

fn spoil(row: &Row) -> Result<super::ModelFile, ReadError> {
    let mut model = small();
    let mut graph = model.graph.take().unwrap();
    let mut tensor = graph.initializer.remove(0);
    row.2(&mut model, &mut graph, &mut tensor);
    graph.initializer.push(tensor);
    model.graph = Some(graph);
    read(&model.encode_to_vec())
}

#[test]
fn refusals_name_the_culprit() {
    for row in ROWS {
        let error = spoil(row).expect_err(row.1);
        assert_eq!(error.id(), row.0, "{error}");
        assert!(error.what.contains(row.1), "{error:?} should say {:?}", row.1);
        assert!(!error.what.contains('\u{1b}') && error.what.len() < 400);
    }
    assert!(spoil(&("", "", |_, _, _| {})).is_ok());
}

#[test]
fn long_names_are_cut() {
    let mut model = small();
    model.graph.as_mut().unwrap().node[1].input[1] = vec![b'a'; 1 << 20];
    let error = read(&model.encode_to_vec()).unwrap_err();
    assert!(error.what.len() < 250 && error.what.contains('…'), "{error}");
}

#[test]
fn ids_are_unique_and_in_order() {
    assert!(Fault::ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
}

#[test]
fn harmless_oddities_are_accepted_and_noted() {
    let mut model = small();
    model.doc_string = Some(b"prose".to_vec());
    let graph = model.graph.as_mut().unwrap();
    // not sorted, an initializer that is listed as an input, names that are not text, the other name of the standard domain
    graph.node.reverse();
    let w = ValueInfoProto { name: Some(b"w".to_vec()), ..graph.input[0].clone() };
    graph.input.insert(0, w);
    let odd = vec![0xff, 0xfe];
    graph.node[0].input[0] = odd.clone();
    graph.node[1].output[0] = odd;
    graph.node[1].domain = Some(b"ai.onnx".to_vec());
    let mut bytes = model.encode_to_vec();
    bytes.extend([0xf8, 0x07, 0x01]); // field 127
    let file = read(&bytes).unwrap();
    assert_eq!(file.notes.len(), 3, "{:?}", file.notes);
    for words in ["descriptions in prose", "does not know", "topological order"] {
        assert!(file.notes.iter().any(|note| note.contains(words)), "{:?}", file.notes);
    }
    assert_eq!(file.graph.inputs().len(), 1);
    same(&file.graph, &read(&small().encode_to_vec()).unwrap().graph);
}

#[test]
fn constants_come_in_many_forms() {
    let attribute = |name: &str| AttributeProto { name: Some(name.into()), ..Default::default() };
    let rows = [
        (AttributeProto { f: Some(1.5), ..attribute("value_float") }, Tensor::scalar(1.5f32)),
        (AttributeProto { i: Some(3), ..attribute("value_int") }, Tensor::scalar(3i64)),
        (AttributeProto { ints: vec![1, 2], ..attribute("value_ints") }, Tensor::ints(&[1, 2])),
        (AttributeProto { floats: vec![1.0], ..attribute("value_floats") }, Tensor::new(&[1], vec![1.0f32]).unwrap()),
        (
            AttributeProto {
                t: Some(Box::new(TensorProto {
                    dims: vec![2],
                    data_type: Some(9),
                    int32_data: vec![0, 1],
                    ..Default::default()
                })),
                ..attribute("value")
            },
            Tensor::new(&[2], vec![false, true]).unwrap(),
        ),
    ];
    for (attribute, expected) in rows {
        let mut model = small();
        let graph = model.graph.as_mut().unwrap();
        graph.node.insert(0, NodeProto { attribute: vec![attribute], ..node("Constant", &[], &["c"]) });
        graph.node.push(node("Custom", &["c"], &["d"]));
        graph.output.push(ValueInfoProto { name: Some(b"d".to_vec()), ..Default::default() });
        let file = read(&model.encode_to_vec()).unwrap();
        let id = file.graph.nodes().last().unwrap().input(0).unwrap();
        assert_eq!(**file.graph.constant(id).unwrap(), expected);
    }
}

#[test]
fn what_subgraphs_capture_is_an_operand() {
    let mut model = small();
    let graph = model.graph.as_mut().unwrap();
    // the branch reads c, which stands behind the node
    let branch = proto::GraphProto {
        node: vec![node("Add", &["z", "c"], &["i"])],
        output: vec![ValueInfoProto { name: Some(b"i".to_vec()), ..Default::default() }],
        ..Default::default()
    };
    let attribute = |name: &str| AttributeProto {
        name: Some(name.into()),
        g: Some(Box::new(branch.clone())),
        r#type: Some(AttributeType::Graph as i32),
        ..Default::default()
    };
    let branches = vec![attribute("then_branch"), attribute("else_branch")];
    graph.node.push(NodeProto { attribute: branches, ..node("If", &["x"], &["q"]) });
    graph.node.push(node("Relu", &["x"], &["c"]));
    let file = read(&model.encode_to_vec()).unwrap();
    let last = file.graph.nodes().last().unwrap();
    assert_eq!((&*last.op, last.inputs.len(), last.captured()), ("If", 5, 4));
    file.graph.check().unwrap();
    let again = read(&write(&file.graph)).unwrap();
    assert_eq!(again.graph.difference(&file.graph), None);
    let parsed = text::parse(&text::print_whole(&file.graph)).unwrap();
    assert_eq!(parsed.difference(&file.graph), None, "{}", text::print_whole(&file.graph));
    // a name that no graph around has
    let AttributeProto { g: Some(inner), .. } = &mut model.graph.as_mut().unwrap().node[2].attribute[0] else { panic!() };
    inner.node[0].input[1] = b"nowhere".to_vec();
    let error = read(&model.encode_to_vec()).unwrap_err();
    assert_eq!((error.id(), error.what.contains("\"nowhere\", which nothing produces")), ("M019", true), "{error}");
}

#[test]
fn local_functions_are_inlined() {
    let mut model = small();
    let graph = model.graph.as_mut().unwrap();
    let referring = |name: &str, to: &str, kind| AttributeProto {
        name: Some(name.into()),
        ref_attr_name: Some(to.into()),
        r#type: Some(kind as i32),
        ..Default::default()
    };
    let given = |name: &str, f: f32| AttributeProto { name: Some(name.into()), f: Some(f), ..Default::default() };
    // the body is listed from its end, and its names are those of the graph
    let bend = NodeProto { attribute: vec![referring("alpha", "slope", AttributeType::Float)], ..node("Elu", &["x"], &["b"]) };
    let clip = NodeProto { attribute: vec![referring("alpha", "absent", AttributeType::Float)], ..node("Elu", &["a"], &["x"]) };
    let mut inner = function("Bend", vec![bend, clip]);
    inner.attribute = vec![b"absent".to_vec()];
    inner.attribute_proto = vec![given("slope", 0.5)];
    let call = |op: &str, slope: Option<f32>, from: &str, to: &str| NodeProto {
        domain: Some(b"mine".to_vec()),
        attribute: slope.map(|s| given("slope", s)).into_iter().collect(),
        ..node(op, &[from], &[to])
    };
    let twice = function("Twice", vec![call("Bend", None, "a", "t"), call("Bend", Some(0.25), "t", "b")]);
    graph.node.push(call("Twice", None, "z", "q"));
    graph.output.push(ValueInfoProto { name: Some(b"q".to_vec()), ..Default::default() });
    model.functions = vec![twice, inner];
    let file = read(&model.encode_to_vec()).unwrap();
    let slopes: Vec<Option<Attribute>> = file.graph.nodes()[2..].iter().map(|n| n.attributes.get("alpha").cloned()).collect();
    let float = |v: f32| Some(Attribute::Float(v));
    assert_eq!(slopes, [None, float(0.5), None, float(0.25)]);
    assert!(file.notes.contains(&"3 calls of local functions were inlined".to_owned()), "{:?}", file.notes);
    file.graph.check().unwrap();
}

#[test]
fn outputs_that_hold_text_or_maps_are_left_out_beside_others() {
    let mut model = small();
    let graph = model.graph.as_mut().unwrap();
    let sequence = proto::type_proto::Value::SequenceType(Box::default());
    let ty = |value| Some(proto::TypeProto { value: Some(value), denotation: None });
    graph.node.push(NodeProto { domain: Some(b"ai.onnx.ml".to_vec()), ..node("ZipMap", &["z"], &["m"]) });
    graph.output.push(ValueInfoProto { name: Some(b"m".to_vec()), r#type: ty(sequence), ..Default::default() });
    let file = read(&model.encode_to_vec()).unwrap();
    assert_eq!((file.graph.outputs().len(), file.graph.nodes().len()), (1, 2));
    assert!(file.notes.iter().any(|n| n == "the output \"m\" holds a map and was left out"), "{:?}", file.notes);
    // if the tensor behind it is not an output, it becomes one, and its labels are those of the classes
    let graph = model.graph.as_mut().unwrap();
    graph.output.remove(0);
    graph.node[2].attribute.push(AttributeProto {
        name: Some(b"classlabels_strings".to_vec()),
        strings: vec![b"cat".to_vec(), b"dog".to_vec()],
        ..Default::default()
    });
    let file = read(&model.encode_to_vec()).unwrap();
    assert_eq!(file.graph.outputs().iter().map(|o| &*o.name).collect::<Vec<_>>(), ["z"]);
    assert_eq!(file.class_labels, ["cat", "dog"]);
}

#[test]
fn external_data_is_fetched_by_the_caller() {
    let mut model = small();
    external(&mut model.graph.as_mut().unwrap().initializer[0], &[("location", "w.bin"), ("offset", "16")]);
    let bytes = model.encode_to_vec();
    let fetch = |asked: &ExternalTensor| {
        assert_eq!((&*asked.tensor, &*asked.location, asked.offset, asked.length), ("w", "w.bin", 16, 8));
        Ok([1.0f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect())
    };
    let file = read_with(&bytes, &fetch).unwrap();
    assert_eq!(file.external.len(), 1);
    same(&file.graph, &read(&small().encode_to_vec()).unwrap().graph);
    let short = read_with(&bytes, &|_| Ok(vec![0; 7])).unwrap_err();
    assert!(short.what.contains("needs 8 bytes, has 7"), "{short}");
}

#[test]
fn a_hundred_thousand_nodes_are_read_at_once() {
    const NODES: usize = 100_000;
    let mut model = small();
    let graph = model.graph.as_mut().unwrap();
    // a chain that is listed from its end
    let chain = (0..NODES).rev().map(|i| node("Custom", &[&format!("v{i}"), "w"], &[&format!("v{}", i + 1)]));
    graph.node = chain.collect();
    graph.node.push(node("Relu", &["x"], &["v0"]));
    graph.output[0].name = Some(format!("v{NODES}").into_bytes());
    let bytes = model.encode_to_vec();
    let start = Instant::now();
    let file = read(&bytes).unwrap();
    let again = write(&file.graph);
    let text = text::print(&file.graph);
    let parsed = text::parse(&text).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    same(&file.graph, &read(&again).unwrap().graph);
    same(&file.graph, &parsed);
    // about 0.3 s on an idle machine; anything quadratic takes minutes
    assert!(seconds < 20.0, "{seconds} s");
}
