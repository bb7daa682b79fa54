//! The table of messages against the vendored `onnx.proto`, and files that no protobuf writer gives.

use std::collections::BTreeMap;

use prost::Message as _;

use super::read;
use super::schema::{ALL, Kind};

/// Every field of `onnx.proto`: its message, number, name, type and whether it is repeated.
fn stated() -> BTreeMap<(String, u64), (String, String, bool)> {
    let source = include_str!("../../proto/onnx.proto");
    let mut open: Vec<String> = Vec::new();
    let mut fields = BTreeMap::new();
    for line in source.lines().map(|l| l.split("//").next().unwrap_or("").trim()) {
        let words: Vec<&str> = line.split([' ', '=', ';', '[']).filter(|w| !w.is_empty()).collect();
        match words[..] {
            ["message" | "enum" | "oneof", name, "{", ..] => open.push(name.to_owned()),
            ["}", ..] => drop(open.pop()),
            [label @ ("optional" | "repeated"), ty, name, number, ..] => {
                let message = open.iter().rfind(|m| *m != "value" && *m != "dim").cloned().unwrap_or_default();
                fields.insert((message, number.parse().unwrap()), (name.to_owned(), ty.to_owned(), label == "repeated"));
            }
            [ty, name, number] if open.last().is_some_and(|o| o == "value" || o == "dim") => {
                let message = open.iter().rfind(|m| *m != "value" && *m != "dim").cloned().unwrap_or_default();
                fields.insert((message, number.parse().unwrap()), (name.to_owned(), ty.to_owned(), false));
            }
            _ => {}
        }
    }
    fields
}

/// What `onnx.proto` calls the messages of the table, in its order.
const NAMES: &[&str] = &[
    "ModelProto",
    "GraphProto",
    "NodeProto",
    "AttributeProto",
    "TensorProto",
    "SparseTensorProto",
    "Segment",
    "ValueInfoProto",
    "TypeProto",
    "Tensor",
    "SparseTensor",
    "Sequence",
    "Optional",
    "Map",
    "TensorShapeProto",
    "Dimension",
    "FunctionProto",
    "OperatorSetIdProto",
    "StringStringEntryProto",
    "TensorAnnotation",
    "TrainingInfoProto",
    "DeviceConfigurationProto",
    "NodeDeviceConfigurationProto",
    "ShardingSpecProto",
    "IntIntListEntryProto",
    "ShardedDimProto",
    "SimpleShardedDimProto",
];

#[test]
fn the_table_of_messages_is_that_of_the_schema() {
    let stated = stated();
    let mut written = 0;
    for (message, name) in ALL.iter().zip(NAMES) {
        for field in message.fields {
            let key = ((*name).to_owned(), field.number);
            let (called, ty, repeated) = stated.get(&key).unwrap_or_else(|| panic!("{name} has no field {}", field.number));
            assert_eq!(called, field.name, "{name}");
            let expected = match (&**ty, *repeated, field.kind) {
                ("string" | "bytes", true, Kind::List) => true,
                ("string" | "bytes", false, Kind::Bytes) => called != "doc_string",
                ("string", false, Kind::Prose) => called == "doc_string",
                ("int64" | "uint64", true, Kind::Numbers(8)) | ("int32", true, Kind::Numbers(4)) => true,
                ("float", true, Kind::Fixed(4)) | ("double", true, Kind::Fixed(8)) | ("float", false, Kind::Float) => true,
                ("int64" | "int32" | "DataType" | "AttributeType" | "DataLocation", false, Kind::Number) => true,
                (ty, _, Kind::Message(inner)) => NAMES[inner.index] == ty.rsplit('.').next().unwrap_or(ty),
                _ => false,
            };
            assert!(expected, "{name}.{called} is {ty}");
            written += 1;
        }
    }
    assert_eq!(ALL.len(), NAMES.len());
    assert_eq!(written, stated.len(), "fields of onnx.proto");
    for (index, message) in ALL.iter().enumerate() {
        assert!(message.index == index && message.most > 0 && message.size >= 8, "{}", message.name);
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A field of bytes or of a message.
fn field(number: u64, value: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// `value` nested in fields of these numbers, the innermost first.
fn inside(levels: usize, numbers: &[u64], value: &[u8]) -> Vec<u8> {
    let mut bytes = value.to_vec();
    for level in 0..levels {
        bytes = field(numbers[level % numbers.len()], &bytes);
    }
    bytes
}

/// `y = Relu(x)`, as bytes, with room for more in the graph and in the model.
fn model(in_graph: &[u8], in_model: &[u8]) -> Vec<u8> {
    let source = "small (float[N,2] x) => (float[N,2] y) { y = Relu(x) }";
    let whole = super::write(&crate::text::parse(source).unwrap());
    let mut proto = super::proto::ModelProto::decode(&whole[..]).unwrap();
    let graph = proto.graph.take().unwrap().encode_to_vec();
    [proto.encode_to_vec(), field(7, &[&graph, in_graph].concat()), in_model.to_vec()].concat()
}

#[test]
fn bytes_that_no_writer_gives_are_refused_where_they_stand() {
    let rows: &[(&str, Vec<u8>, &str, &str)] = &[
        ("a group", model(&[], &[0x0b, 0x0c]), "M008", "a kind that ONNX does not use"),
        ("an unknown group", model(&[], &[0xfb, 0x07, 0xfc, 0x07]), "M008", "a kind that ONNX does not use"),
        ("field number 0", model(&[], &[0x02, 0x00]), "M008", "an impossible number"),
        ("a field number of 2^29", model(&[], &[varint((1 << 29) << 3), vec![0]].concat()), "M008", "an impossible number"),
        ("an overlong varint", model(&[], &[vec![0x08], vec![0x80; 10], vec![0]].concat()), "M008", "without an end"),
        ("a varint beyond 64 bits", model(&[], &[vec![0x08], vec![0xff; 9], vec![0x7f]].concat()), "M008", "without an end"),
        ("a graph that is a number", model(&[], &[0x38, 0x01]), "M008", "the field graph of a model is not of its kind"),
        ("a name that is a number", model(&[0x10, 0x01], &[]), "M008", "the field name of a graph is not of its kind"),
        ("a version that is text", model(&[], &field(1, b"8")), "M008", "the field ir_version of a model"),
        ("floats of three bytes", model(&field(5, &field(4, &[0; 3])), &[]), "M008", "the field float_data of a tensor"),
        ("a node longer than its graph", model(&[0x0a, 0x7f], &field(2, b"x")), "M008", "says 127 bytes, 0 left"),
        ("a file longer than itself", model(&[], &[0x12, 0x7f]), "M003", "cut off"),
        ("a number at the end of the file", model(&[], &[0x08, 0x80]), "M003", "has no end"),
        // type, sequence, type, … of a value description
        ("types in types", model(&field(11, &field(2, &inside(200, &[1, 4], &[]))), &[]), "M008", "100 messages"),
        ("graphs in graphs", model(&inside(60, &[6, 5, 1], &[]), &[]), "M032", "more than 16 graphs"),
        ("millions of empty nodes", model(&[0x0a, 0x00].repeat(5_000_000), &[]), "M007", "more than 400000 nodes"),
        ("millions of empty names", model(&field(1, &[0x0a, 0x00].repeat(8_000_000)), &[]), "M007", "more than 4000000 names"),
        (
            "millions of empty strings",
            model(&field(1, &field(5, &[0x4a, 0x00].repeat(8_000_000))), &[]),
            "M007",
            "more than 4000000 names",
        ),
        ("millions of functions", model(&[], &[0xca, 0x01, 0x00].repeat(10_001)), "M007", "more than 10000 functions"),
        ("millions of entries", model(&[], &[0x72, 0x00].repeat(2_500_000)), "M007", "more than 2000000 key-value pairs"),
        ("millions of packed numbers", model(&field(5, &field(7, &vec![0; 4_000_000])), &[]), "M023", "undefined"),
    ];
    for (name, bytes, id, words) in rows {
        let error = read(bytes).expect_err(name);
        assert!(error.id() == *id && error.what.contains(words), "{name}: {} {error}, not {id} {words}", error.id());
    }
}

#[test]
fn what_protobuf_allows_is_read_and_noted() {
    let plain = read(&model(&[], &[])).unwrap();
    let same = |bytes: &[u8], note: &str| {
        let file = read(bytes).unwrap_or_else(|e| panic!("{note}: {e}"));
        assert!(file.graph.difference(&plain.graph).is_none(), "{note}");
        assert!(note.is_empty() || file.notes.iter().any(|n| n.contains(note)), "{note}: {:?}", file.notes);
    };
    same(&model(&[], &[0xf8, 0x07, 0x01]), "1 fields that the ONNX schema does not know");
    same(&model(&field(60, b"?"), &field(99, &[0xff; 9])), "2 fields that the ONNX schema does not know");
    // a second graph that adds nothing, a varint with needless bytes, a second value of the same number
    same(&model(&[], &field(7, &[])), "1 more graphs of the file were merged");
    same(&model(&[], &[0x28, 0x81, 0x80, 0x00]), "");
    same(&model(&[], &[0x28, 0x01, 0x28, 0x02]), "");
    // half of a graph in each of two fields
    let whole = model(&[], &[]);
    let proto = super::proto::ModelProto::decode(&whole[..]).unwrap();
    let graph = proto.graph.clone().unwrap();
    let nodes = super::proto::GraphProto { node: graph.node.clone(), ..Default::default() };
    let rest = super::proto::GraphProto { node: Vec::new(), ..graph };
    let head = super::proto::ModelProto { graph: None, ..proto }.encode_to_vec();
    same(&[head, field(7, &nodes.encode_to_vec()), field(7, &rest.encode_to_vec())].concat(), "1 more graphs");
}
