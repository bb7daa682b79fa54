//! Files and the wire format: files that are not models, damaged models, and unusual models that are valid.

use super::crafted::{extended, good, node, text};
use super::inputs::{classifier, file, pipe, text_file};
use super::table::{Case, accepted, case, nothing, refused};
use crate::wire::{Model, bytes, int};

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("a path through a file", |f| text_file(f, "file", "x"), "inspect file/m.onnx", (3, "M001"), "no such file … file/m.onnx").row(1),
    refused(2, "an empty message", |f| file(f, "m.onnx", b"\x3a\x00"), "M014", "m.onnx … opset"),
    refused(4, "a zip archive", |f| file(f, "m.onnx", b"PK\x03\x04\x14\0\0\0model.onnx"), "M004", "zip … unzip"),
    refused(4, "a tar archive", |f| { let mut tar = vec![b'm'; 1024]; tar[257..262].copy_from_slice(b"ustar"); file(f, "m.onnx", &tar) }, "M004", "tar … unpack"),
    refused(4, "an ORT model", |f| file(f, "m.onnx", b"\x1c\0\0\0ORTM\x14\0\x20\0"), "M004", "ORT format … ONNX file"),
    accepted(5, "a model that ORT would take for another format", |f| file(f, "m.onnx", &polyglot()), "10 classes"),
    refused(6, "a file of three gigabytes", |f| sparse_file(f, 3 << 30), "M006", "3221225472 bytes … limit … --max-model-bytes"),
    case("a file above the limit that was stated", |f| file(f, "m.onnx", &good().bytes()), "inspect m.onnx --max-model-bytes 1000", (3, "M006"), "m.onnx … the limit is 1000 … external data").row(6),
    refused(7, "five million empty nodes", |f| extended(f, &[[0x0a, 0x00].repeat(5_000_000)], &[]), "M007", "more than 400000 nodes"),
    refused(7, "eight million empty names", |f| extended(f, &[bytes(1, &[0x0a, 0x00].repeat(8_000_000))], &[]), "M007", "more than 4000000 names"),
    refused(7, "two million empty attributes", |f| extended(f, &[bytes(1, &[0x2a, 0x00].repeat(1_900_000))], &[]), "M007", "MB more than its own"),
    refused(8, "a group", |f| extended(f, &[], &[vec![0x0b, 0x0c]]), "M008", "malformed protobuf at byte"),
    refused(8, "field number 0", |f| extended(f, &[], &[vec![0x02, 0x00]]), "M008", "malformed protobuf at byte … impossible number"),
    refused(8, "an overlong number", |f| extended(f, &[], &[vec![0x28], vec![0x80; 10], vec![0x00]]), "M008", "malformed protobuf at byte"),
    refused(8, "types nested a thousand deep", |f| extended(f, &[bytes(11, &bytes(2, &nested(1000)))], &[]), "M008", "more than 100 messages"),
    refused(8, "a graph that is a number", |f| extended(f, &[], &[int(7, 1)]), "M008", "the field graph of a model"),
    accepted(9, "two graphs and a field that nobody knows", |f| extended(f, &[text(10, "prose")], &[bytes(99, b"?"), int(60, 1)]), "10 classes … 1 more graphs of the file were merged … 2 fields that the ONNX schema does not know were dropped"),
    refused(9, "half a field behind the end", |f| extended(f, &[], &[vec![0x12, 0x40]]), "M003", "cut off … 64 bytes, 0 left"),
    named(10, "a NUL in names", |f| named_graph(f, b"a\0b")),
    named(10, "line breaks in names", |f| named_graph(f, b"a\nb\r\tc")),
    named(10, "names that drive a terminal", |f| named_graph(f, "\u{1b}]0;owned\u{7}\u{202e}".as_bytes())),
    named(10, "names that are not text", |f| named_graph(f, &[0xff, 0xfe, 0x80])),
    named(10, "names of a megabyte", |f| named_graph(f, &vec![b'n'; 1 << 20])),
    refused(10, "a megabyte in a message", |f| extended(f, &[bytes(1, &node("Relu", &[&"n".repeat(1 << 20)], &["y"], &[]))], &[]), "M019", "nnnn … nothing produces"),
    refused(11, "a socket", |f| drop(std::os::unix::net::UnixListener::bind(f.join("m.onnx")).expect("a socket")), "M001", "m.onnx"),
    case("a device for a model", nothing, "inspect /dev/zero", (3, "M001"), "/dev/zero … regular file").row(11),
    case("a pipe for data", |f| pipe(f, "d.npz"), "audit digits-standard --data d.npz --threat linf:0.1 --engine tract --out run", (4, "D0"), "d.npz … regular file").row(11),
];

/// Accepted, and differentiated too, so that the names stand in a file that is written.
const fn named(row: u16, name: &'static str, make: fn(&std::path::Path)) -> Case {
    case(name, make, "grad m.onnx -o g.onnx", (0, ""), "").row(row).leaves("g.onnx").prints("grad_x float[N,1,8,8]")
}

/// A good model whose graph, inner value and node have this name.
fn named_graph(folder: &std::path::Path, name: &[u8]) {
    let plain = [bytes(1, b"h"), bytes(2, name), bytes(3, name), text(4, "Relu")].concat();
    let mut model = classifier();
    model.nodes.push(plain);
    model.nodes.push([bytes(1, name), text(2, "logits"), text(4, "Identity")].concat());
    let model = model.output("logits", "float[N,10]").bytes();
    file(folder, "m.onnx", &[model, bytes(7, &bytes(2, name))].concat());
}

/// A good model with the mark of the ORT format where that format has it.
pub fn polyglot() -> Vec<u8> {
    let bytes = [text(2, "..ORTM"), Model { ir_version: 8, ..good() }.bytes()].concat();
    assert_eq!(&bytes[4..8], b"ORTM");
    bytes
}

/// The type of a sequence of sequences of sequences …
fn nested(levels: usize) -> Vec<u8> {
    (0..levels).fold(Vec::new(), |inner, _| bytes(4, &bytes(1, &inner)))
}

/// A file of this size that takes no room on the disk.
fn sparse_file(folder: &std::path::Path, size: u64) {
    std::fs::File::create(folder.join("m.onnx")).and_then(|f| f.set_len(size)).expect("a temporary folder can be written");
}
