//! Pieces of ONNX files that nobody writes in earnest, byte by byte: attributes of any kind, tensors of any header, subgraphs,
//! functions. Field numbers are those of `onnx.proto`.

use std::path::Path;

use super::inputs::{classifier, file};
use crate::wire::{Data, Model, bytes, int};

pub fn text(field: u64, value: &str) -> Vec<u8> {
    bytes(field, value.as_bytes())
}

/// A classifier of the digits.
pub fn good() -> Model {
    classifier().node("Identity", &["h"], "logits").output("logits", "float[N,10]")
}

/// `m.onnx`: a good model, with more fields behind those of its graph and behind its own.
pub fn extended(folder: &Path, in_graph: &[Vec<u8>], in_model: &[Vec<u8>]) {
    let graph = if in_graph.is_empty() { Vec::new() } else { bytes(7, &in_graph.concat()) };
    file(folder, "m.onnx", &[good().bytes(), graph, in_model.concat()].concat());
}

/// A node with any number of results.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let (domain, op) = op.rsplit_once(':').unwrap_or(("", op));
    let names = |field: u64, list: &[&str]| list.iter().flat_map(|n| text(field, n)).collect::<Vec<u8>>();
    let name = text(3, &format!("node_{}", outputs.first().unwrap_or(&"")));
    [names(1, inputs), names(2, outputs), name, text(4, op), attributes.concat(), text(7, domain)].concat()
}

fn attribute(name: &str, kind: u64, value: Vec<u8>) -> Vec<u8> {
    bytes(5, &[text(1, name), value, int(20, kind)].concat())
}

pub fn number(name: &str, value: i64) -> Vec<u8> {
    attribute(name, 2, int(3, value as u64))
}

pub fn numbers(name: &str, values: &[i64]) -> Vec<u8> {
    attribute(name, 7, values.iter().flat_map(|&v| int(8, v as u64)).collect())
}

pub fn string(name: &str, value: &str) -> Vec<u8> {
    attribute(name, 3, text(4, value))
}

pub fn subgraph(name: &str, graph: &[u8]) -> Vec<u8> {
    attribute(name, 5, bytes(6, graph))
}

pub fn sparse(name: &str, tensor: &[u8]) -> Vec<u8> {
    attribute(name, 11, bytes(22, tensor))
}

/// A tensor with any header: extents, element type, other fields.
pub fn tensor(name: &str, extents: &[i64], code: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    let extents: Vec<u8> = extents.iter().flat_map(|&n| int(1, n as u64)).collect();
    [extents, int(2, code), fields.concat(), text(8, name)].concat()
}

/// `raw_data` of this many zeros.
pub fn raw(length: usize) -> Vec<u8> {
    bytes(9, &vec![0; length])
}

/// A sparse tensor of one float, dense 2^28 of them.
pub fn bomb(name: &str) -> Vec<u8> {
    let values = tensor(name, &[1], 1, &[raw(4)]);
    let indices = tensor("", &[1], 7, &[raw(8)]);
    [bytes(1, &values), bytes(2, &indices), int(3, 1 << 28)].concat()
}

/// A graph of these nodes that gives these outputs of type float.
pub fn graph(nodes: &[Vec<u8>], outputs: &[&str]) -> Vec<u8> {
    let ty = bytes(2, &bytes(1, &int(1, 1)));
    let outputs = outputs.iter().flat_map(|o| bytes(12, &[text(1, o), ty.clone()].concat()));
    nodes.iter().flat_map(|n| bytes(1, n)).chain(text(2, "inner")).chain(outputs).collect()
}

/// A local function of the domain `mine` from `x` to `y`.
pub fn function(name: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let opsets = [bytes(9, &[text(1, ""), int(2, 18)].concat()), bytes(9, &[text(1, "mine"), int(2, 1)].concat())].concat();
    let nodes: Vec<u8> = nodes.iter().flat_map(|n| bytes(7, n)).collect();
    bytes(25, &[text(1, name), text(4, "x"), text(5, "y"), nodes, opsets, text(10, "mine")].concat())
}

/// A classifier that calls the local function `f0`, and these functions. Each gives the name of its node's operator.
pub fn calling(folder: &Path, functions: &[Vec<u8>]) {
    let model = classifier().opset("mine", 1).node("mine:f0", &["h"], "logits").output("logits", "float[N,10]");
    file(folder, "m.onnx", &[model.bytes(), functions.concat()].concat());
}

/// A classifier whose logits pass through one more node. Integer operands are constants `a`, `b`, `c`, in this order.
pub fn through(folder: &Path, operator: &str, operands: &[&str], constants: &[&[i64]], attributes: &[Vec<u8>]) {
    let mut model = classifier();
    for (name, values) in ["a", "b", "c"].iter().zip(constants) {
        model = model.tensor(name, &[values.len()], Data::Int(values));
    }
    model.nodes.push(node(operator, operands, &["strange"], attributes));
    // whatever comes out is brought back to the shape of logits
    model.nodes.push(node("ReduceMean", &["strange"], &["mean"], &[number("keepdims", 0)]));
    let model = model.node("Add", &["h", "mean"], "logits").output("logits", "float[N,10]");
    file(folder, "m.onnx", &model.bytes());
}

/// The same on the image `x` float[N,1,8,8].
pub fn convolved(folder: &Path, operator: &str, kernel: &[usize], attributes: &[Vec<u8>]) {
    let weights = vec![0.1f32; kernel.iter().product()];
    let mut model = classifier().tensor("kernel", kernel, Data::Float(&weights));
    let operands: &[&str] = if operator.contains("Conv") { &["x", "kernel"] } else { &["x"] };
    model.nodes.push(node(operator, operands, &["strange"], attributes));
    model.nodes.push(node("ReduceMean", &["strange"], &["mean"], &[number("keepdims", 0)]));
    let model = model.node("Add", &["h", "mean"], "logits").output("logits", "float[N,10]");
    file(folder, "m.onnx", &model.bytes());
}
