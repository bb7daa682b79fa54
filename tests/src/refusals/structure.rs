//! The structure of a graph: versions, names, order, extents, element types, operators and what one small node can ask for.

use std::path::Path;

use super::crafted::{
    bomb, calling, convolved, extended, function, good, graph, node, number, numbers, raw, sparse, string, subgraph, tensor,
    text, through,
};
use super::inputs::{classifier, file, model};
use super::table::{Case, accepted, case, refused};
use crate::wire::{Data, Model, bytes, int};

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // versions
    refused(13, "an opset of long ago", |f| model(f, good().opset("", 3)), "M013", "opset 3 … knows 7 to"),
    refused(14, "one domain under two names", |f| model(f, good().opset("ai.onnx", 17)), "M014", "two versions"),
    refused(14, "opset 0", |f| model(f, good().opset("", 0)), "M014", "opset 0"),
    refused(15, "no graph", |f| file(f, "m.onnx", &[int(1, 8), bytes(8, &int(2, 18))].concat()), "M015", "no graph"),
    refused(15, "no input", |f| model(f, Model::new().tensor("c", &[1, 10], Data::Float(&[0.5; 10])).node("Identity", &["c"], "logits").output("logits", "float[1,10]")), "M015", "no input"),
    // names and order
    refused(16, "a cycle", |f| model(f, classifier().node("Add", &["h", "b"], "a").node("Relu", &["a"], "b").node("Add", &["a", "b"], "logits").output("logits", "float[N,10]")), "M016", "cycle … node_b … -> … node_a … -> … node_b"),
    refused(16, "a node that reads itself", |f| model(f, classifier().node("Add", &["h", "logits"], "logits").output("logits", "float[N,10]")), "M016", "node_logits … -> … node_logits"),
    accepted(17, "nodes from the last to the first", |f| { let mut m = good(); m.nodes.reverse(); model(f, m) }, "10 classes … not in topological order and were sorted"),
    refused(18, "two nodes, one result", |f| model(f, classifier().node("Relu", &["h"], "logits").node("Tanh", &["h"], "logits").output("logits", "float[N,10]")), "M018", "Relu … Tanh … both produce … logits"),
    refused(18, "a node in the place of a weight", |f| model(f, good().node("Relu", &["h"], "w")), "M018", "an initializer … node_w … both produce"),
    refused(18, "two inputs of one name", |f| model(f, good().input("x", "float[N,1,8,8]")), "M018", "two inputs … \"x\""),
    refused(18, "two outputs of one name", |f| model(f, good().output("logits", "float[N,10]")), "M018", "two outputs … \"logits\""),
    refused(18, "two weights of one name", |f| model(f, good().tensor("w", &[1], Data::Float(&[0.0]))), "M018", "two initializers … \"w\""),
    refused(19, "weights that are not there", |f| { let mut m = good(); m.tensors.clear(); model(f, m) }, "M019", "node_h … \"w\" … nothing produces"),
    refused(19, "an output that is not there", |f| model(f, good().output("aux", "float[N,10]")), "M019", "nothing produces … \"aux\""),
    refused(19, "an operand without a name", |f| model(f, classifier().node("Add", &["h", ""], "logits").output("logits", "float[N,10]")), "M035", "node_logits … needs 2 operands"),
    refused(19, "a node without an operator", |f| model(f, classifier().node("", &["h"], "logits").output("logits", "float[N,10]")), "M025", "node_logits"),
    // extents
    refused(20, "an extent of zero", |f| model(f, good().input("extra", "float[N,0]")), "M020", "\"extra\" … extent 0"),
    refused(20, "negative extents whose product is right", |f| extended(f, &[bytes(5, &tensor("v", &[-4, -3], 1, &[raw(48)]))], &[]), "M020", "\"v\" … -4"),
    refused(21, "huge extents, few bytes", |f| extended(f, &[bytes(5, &tensor("v", &[1 << 31, 4], 1, &[raw(48)]))], &[]), "M022", "\"v\" … has 48"),
    refused(21, "a product of extents that comes out as 0", |f| extended(f, &[bytes(5, &tensor("v", &[1 << 32, 1 << 32], 1, &[raw(0)]))], &[]), "M021", "\"v\""),
    refused(21, "a thousand axes", |f| extended(f, &[bytes(5, &tensor("v", &[1; 1000], 1, &[raw(4)]))], &[]), "M021", "\"v\" … 1000 axes"),
    // data of tensors
    refused(22, "more data than the shape has", |f| extended(f, &[bytes(5, &tensor("v", &[3, 4], 1, &[raw(52)]))], &[]), "M022", "\"v\" … 48 bytes, has 52"),
    refused(22, "half a number", |f| extended(f, &[bytes(5, &tensor("v", &[3, 4], 1, &[raw(47)]))], &[]), "M022", "\"v\" … 48 bytes, has 47"),
    refused(22, "data twice", |f| extended(f, &[bytes(5, &tensor("v", &[1], 1, &[raw(4), bytes(4, &[0; 4])]))], &[]), "M022", "\"v\" … twice"),
    refused(22, "data in the wrong field", |f| extended(f, &[bytes(5, &tensor("v", &[1], 1, &[int(7, 1)]))], &[]), "M022", "\"v\" … float_data"),
    refused(22, "data in segments", |f| extended(f, &[bytes(5, &tensor("v", &[1], 1, &[bytes(3, &int(2, 4)), raw(4)]))], &[]), "M022", "\"v\" … segments"),
    // element types
    refused(23, "weights without a type", |f| typed(f, 0, 4), "M023", "\"v\" … undefined"),
    refused(23, "weights of type 9999", |f| typed(f, 9999, 4), "M023", "\"v\" … unknown (9999)"),
    refused(23, "strings for weights", |f| extended(f, &[bytes(5, &tensor("v", &[1], 8, &[text(6, "one")]))], &[]), "M023", "\"v\" … string"),
    refused(23, "complex weights", |f| typed(f, 14, 8), "M023", "\"v\" … complex64"),
    refused(23, "weights of four bits", |f| typed(f, 22, 1), "M023", "\"v\" … int4 … DequantizeLinear"),
    refused(23, "weights of eight-bit floats", |f| typed(f, 17, 1), "M023", "\"v\" … float8e4m3fn … DequantizeLinear"),
    refused(24, "a sparse weight of a gigabyte", |f| extended(f, &[bytes(15, &bomb("v"))], &[]), "M024", "\"v\" … sparse"),
    refused(24, "a sparse constant of a gigabyte", |f| extended(f, &[bytes(1, &node("Constant", &[], &["v"], &[sparse("sparse_value", &bomb(""))]))], &[]), "M024", "node_v … sparse"),
    // operators of other houses
    foreign("com.microsoft:MultiHeadAttention", |f| other(f, "com.microsoft:MultiHeadAttention")),
    foreign("com.microsoft:EPContext", |f| other(f, "com.microsoft:EPContext")),
    foreign("pyopmulti:PyOp", |f| other(f, "pyopmulti:PyOp")),
    foreign("org.pytorch.aten:ATen", |f| other(f, "org.pytorch.aten:ATen")),
    foreign("flatscape:Gram", |f| other(f, "flatscape:Gram")),
    foreign("flatscape.engine:PoolGradient", |f| other(f, "flatscape.engine:PoolGradient")),
    accepted(38, "a file of prose, notes and training graphs", chatty, "10 classes … descriptions in prose were dropped … 1 training graphs were dropped"),
    // control flow and functions
    accepted(30, "a condition on the image", conditional, "10 classes"),
    refused(31, "a loop without an end", endless, "M030", "node_logits"),
    refused(32, "conditions twenty deep", |f| extended(f, &[bytes(1, &conditions(20))], &[]), "M032", "16 graphs"),
    refused(33, "a function that calls itself", |f| calling(f, &[function("f0", &[node("mine:f0", &["x"], &["y"], &[])])]), "M033", "f0"),
    refused(33, "two functions that call each other", |f| calling(f, &[function("f0", &[node("mine:f1", &["x"], &["y"], &[])]), function("f1", &[node("mine:f0", &["x"], &["y"], &[])])]), "M033", "f"),
    refused(33, "a chain of three thousand functions", |f| calling(f, &chain(3000)), "M033", "f"),
    refused(33, "functions that double twenty-two times", |f| calling(f, &doubling(22)), "M033", "f"),
    // bombs
    bomb_of("ConstantOfShape", |f| through(f, "ConstantOfShape", &["a"], &[&[1 << 15, 1 << 15]], &[])),
    bomb_of("Tile", |f| through(f, "Tile", &["h", "a"], &[&[1, 1 << 28]], &[])),
    bomb_of("Tile", |f| through(f, "Tile", &["h", "a"], &[&[1 << 28, 1]], &[])),
    bomb_of("Expand", |f| through(f, "Expand", &["h", "a"], &[&[1 << 28, 1, 10]], &[])),
    bomb_of("Pad", |f| through(f, "Pad", &["h", "a"], &[&[0, 1 << 29, 0, 0]], &[])),
    bomb_of("Range", |f| { let m = classifier().tensor("a", &[], Data::Float(&[0.0])).tensor("b", &[], Data::Float(&[1e9])).tensor("c", &[], Data::Float(&[1.0])).node("Range", &["a", "b", "c"], "strange"); model(f, summed(m)) }),
    bomb_of("OneHot", |f| { let m = classifier().tensor("a", &[], Data::Int(&[1 << 30])).tensor("b", &[2], Data::Float(&[0.0, 1.0])).node_with("Cast", &["h"], "i", &[("to", 7)]).node("OneHot", &["i", "a", "b"], "strange"); model(f, summed(m)) }),
    bomb_of("Resize", |f| resized(f, &[1.0, 1.0, 30000.0, 30000.0])),
    bomb_of("Resize", |f| resized(f, &[1.0, 1.0, f32::INFINITY, 1.0])),
    bomb_of("Conv", |f| convolved(f, "Conv", &[1, 1, 1, 1], &[numbers("pads", &[1 << 20, 0, 1 << 20, 1 << 10])])),
    bomb_of("Conv", |f| convolved(f, "Conv", &[1, 1, 1, 1], &[numbers("pads", &[1 << 20; 4]), numbers("strides", &[1 << 20, 1 << 20])])),
    bomb_of("ConvTranspose", |f| convolved(f, "ConvTranspose", &[1, 1, 3, 3], &[numbers("strides", &[20000, 20000])])),
    refused(34, "ten gigabytes of constants in small pieces", pieces, "M034", "constants of … MB would be made on loading"),
    // attributes
    contradiction("a stride of 0", |f| convolved(f, "Conv", &[1, 1, 3, 3], &[numbers("strides", &[0, 1])]), "strides [0, 1]"),
    contradiction("a negative stride", |f| convolved(f, "MaxPool", &[1], &[numbers("kernel_shape", &[2, 2]), numbers("strides", &[-1, 1])]), "strides [-1, 1]"),
    contradiction("no groups", |f| convolved(f, "Conv", &[1, 1, 3, 3], &[number("group", 0)]), "group 0"),
    contradiction("a negative number of groups", |f| convolved(f, "ConvTranspose", &[1, 1, 3, 3], &[number("group", -1)]), "group -1"),
    contradiction("groups that do not divide the channels", |f| convolved(f, "Conv", &[2, 1, 3, 3], &[number("group", 2)]), "channels"),
    contradiction("padding of 2^31", |f| convolved(f, "Conv", &[1, 1, 3, 3], &[numbers("pads", &[1 << 31, 0, 0, 0])]), "pads"),
    contradiction("a window of 2^28", |f| convolved(f, "MaxPool", &[1], &[numbers("kernel_shape", &[1 << 28, 2]), string("auto_pad", "SAME_UPPER")]), "kernel_shape [268435456, 2]"),
    contradiction("an operand left out of a list", |f| through(f, "Max", &["h", "", "h"], &[], &[]), "operand 1"),
    contradiction("negative padding", |f| convolved(f, "AveragePool", &[1], &[numbers("kernel_shape", &[2, 2]), numbers("pads", &[-1, 0, 0, 0])]), "pads"),
    contradiction("padding as wide as the window", |f| convolved(f, "MaxPool", &[1], &[numbers("kernel_shape", &[2, 2]), numbers("pads", &[2, 0, 0, 0])]), "padding"),
    contradiction("dilations of another rank", |f| convolved(f, "Conv", &[1, 1, 3, 3], &[numbers("dilations", &[1, 1, 1])]), "dilations [1, 1, 1]"),
    contradiction("a kernel larger than the image", |f| convolved(f, "Conv", &[1, 1, 9, 9], &[]), "spans 9"),
    contradiction("an empty kernel", |f| convolved(f, "MaxPool", &[1], &[numbers("kernel_shape", &[0, 2])]), "kernel_shape [0, 2]"),
    contradiction("a window without a size", |f| convolved(f, "MaxPool", &[1], &[]), "kernel_shape"),
    contradiction("padding in words nobody knows", |f| convolved(f, "Conv", &[1, 1, 3, 3], &[string("auto_pad", "SOME")]), "auto_pad"),
    contradiction("output padding beyond the stride", |f| convolved(f, "ConvTranspose", &[1, 1, 3, 3], &[numbers("output_padding", &[9, 9])]), "output_padding"),
    contradiction("a permutation that is none", |f| through(f, "Transpose", &["h"], &[], &[numbers("perm", &[0, 0])]), "perm [0, 0]"),
    contradiction("a permutation of other axes", |f| through(f, "Transpose", &["h"], &[], &[numbers("perm", &[0, 1, 2])]), "perm"),
    contradiction("an axis that is not there", |f| through(f, "Softmax", &["h"], &[], &[number("axis", 7)]), "axis 7"),
    contradiction("the lowest axis of all", |f| through(f, "Softmax", &["h"], &[], &[number("axis", i64::MIN)]), "axis -9223372036854775808"),
    contradiction("the same axis twice", |f| through(f, "ReduceSum", &["h", "a"], &[&[1, -1]], &[]), "twice"),
    contradiction("a shape that does not fit", |f| through(f, "Reshape", &["w", "a"], &[&[7, 7]], &[]), "[64,10] … [7,7]"),
    contradiction("a shape with two unknowns", |f| through(f, "Reshape", &["h", "a"], &[&[-1, -1]], &[]), "-1"),
    contradiction("parts that do not make up the whole", |f| through(f, "Split", &["h", "a"], &[&[3]], &[number("axis", 1)]), "parts"),
    contradiction("more elements than there are", |f| through(f, "TopK", &["h", "a"], &[&[11]], &[]), "11 of 10"),
    contradiction("a negative number of elements", |f| through(f, "TopK", &["h", "a"], &[&[-1]], &[]), "elements is -1"),
    contradiction("a negative number of repeats", |f| through(f, "Tile", &["h", "a"], &[&[1, -1]], &[]), "repeats is -1"),
    contradiction("a ratio that is a list", |f| { let m = classifier().tensor("a", &[0], Data::Float(&[])).node("Dropout", &["h", "a"], "strange"); model(f, summed(m)) }, "scalars"),
    contradiction("places without an axis", |f| { let m = classifier().tensor("a", &[], Data::Int(&[1])).node("GatherND", &["h", "a"], "strange"); model(f, summed(m)) }, "no axis"),
    contradiction("a part of negative size", |f| through(f, "Split", &["h", "a"], &[&[-10]], &[number("axis", 1)]), "part is -10"),
    contradiction("padding beyond every extent", |f| through(f, "Pad", &["h", "a"], &[&[0, i64::MIN, 0, i64::MAX]], &[]), "pads by -9223372036854775808"),
    contradiction("an integer divided by 0", |f| { let m = classifier().tensor("a", &[1], Data::Int(&[0])).node_with("Cast", &["h"], "i", &[("to", 7)]).node("Div", &["i", "a"], "strange").node_with("Cast", &["strange"], "f", &[("to", 1)]).node("Add", &["h", "f"], "logits"); model(f, m.output("logits", "float[N,10]")) }, "by 0"),
    contradiction("an integer divided by what may be 0", |f| { let m = classifier().node_with("Cast", &["h"], "i", &[("to", 7)]).node("Mod", &["i", "i"], "strange").node_with("Cast", &["strange"], "f", &[("to", 1)]).node("Add", &["h", "f"], "logits"); model(f, m.output("logits", "float[N,10]")) }, "may be 0"),
    contradiction("a block size of 0", |f| convolved(f, "DepthToSpace", &[1], &[number("blocksize", 0)]), "block size"),
    contradiction("more operands than an operator takes", |f| through(f, "Relu", &["h", "h"], &[], &[]), "at most 1 operands"),
    contradiction("matrices that do not fit", |f| through(f, "MatMul", &["w", "w"], &[], &[]), "10 … 64"),
    contradiction("a cast to a type of nobody", |f| through(f, "Cast", &["h"], &[], &[number("to", 9999)]), "9999"),
    contradiction("cropping more than there is", |f| through(f, "Pad", &["h", "a"], &[&[0, -6, 0, -6]], &[]), "axis 1"),
    // constants that point nowhere
    index("Gather", |f| through(f, "Gather", &["w", "a"], &[&[64]], &[]), "64 … 64"),
    index("GatherElements", |f| { let m = classifier().tensor("a", &[1, 1], Data::Int(&[-65])).node("GatherElements", &["w", "a"], "strange"); model(f, summed(m)) }, "-65 … 64"),
    index("GatherND", |f| { let m = classifier().tensor("a", &[1, 2], Data::Int(&[0, 10])).node("GatherND", &["w", "a"], "strange"); model(f, summed(m)) }, "10 … 10"),
    index("ScatterElements", |f| { let m = classifier().tensor("a", &[1, 1], Data::Int(&[99])).tensor("u", &[1, 1], Data::Float(&[1.0])).node("ScatterElements", &["w", "a", "u"], "strange"); model(f, summed(m)) }, "99 … 64"),
    index("ScatterND", |f| { let m = classifier().tensor("a", &[1, 2], Data::Int(&[64, 0])).tensor("u", &[1], Data::Float(&[1.0])).node("ScatterND", &["w", "a", "u"], "strange"); model(f, summed(m)) }, "64 … 64"),
    index("Slice", |f| { let m = classifier().tensor("a", &[1], Data::Int(&[0])).tensor("b", &[1], Data::Int(&[5])).tensor("c", &[1], Data::Int(&[1])).tensor("d", &[1], Data::Int(&[0])).node("Slice", &["h", "a", "b", "c", "d"], "strange"); model(f, summed(m)) }, "step is 0"),
    accepted(37, "a hundred thousand nodes", long, "10 classes … Relu 100000"),
    refused(39, "strings for images", |f| model(f, good().input("words", "string[N]")), "M023", "\"words\" … string"),
    refused(39, "a map of probabilities", |f| extended(f, &[bytes(12, &[text(1, "h"), bytes(2, &bytes(5, &[int(1, 7), bytes(2, &bytes(1, &int(1, 1)))].concat()))].concat())], &[]), "M039", "\"h\" … map … zipmap=False"),
];

/// Row 25: an operator that no engine is ever asked for.
const fn foreign(name: &'static str, make: fn(&Path)) -> Case {
    refused(25, name, make, "M025", "node_logits … domain")
}

/// Row 34: a node of a few bytes that asks for gigabytes.
const fn bomb_of(operator: &'static str, make: fn(&Path)) -> Case {
    refused(34, operator, make, "M034", "node_strange … MB is the limit")
}

/// Row 35: a node that contradicts itself or its operands.
const fn contradiction(name: &'static str, make: fn(&Path), says: &'static str) -> Case {
    case(name, make, "inspect m.onnx", (3, "M035"), says).row(35).culprit("node_strange")
}

/// Row 36: a constant index outside its axis.
const fn index(operator: &'static str, make: fn(&Path), says: &'static str) -> Case {
    case(operator, make, "inspect m.onnx", (3, "M035"), says).row(36).culprit("node_strange")
}

/// Logits plus the mean of `strange`.
fn summed(model: Model) -> Model {
    let model = model.node_with("ReduceMean", &["strange"], "mean", &[("keepdims", 0)]);
    model.node("Add", &["h", "mean"], "logits").output("logits", "float[N,10]")
}

fn typed(folder: &Path, code: u64, length: usize) {
    extended(folder, &[bytes(5, &tensor("v", &[1], code, &[raw(length)]))], &[]);
}

fn other(folder: &Path, operator: &str) {
    let (domain, _) = operator.split_once(':').unwrap_or_default();
    model(folder, classifier().opset(domain, 1).node(operator, &["h"], "logits").output("logits", "float[N,10]"));
}

/// A hundred thousand descriptions, a megabyte of metadata and a training graph around a good model.
fn chatty(folder: &Path) {
    let docs: Vec<u8> = (0..100_000).flat_map(|i| bytes(13, &[text(1, &format!("v{i}")), text(3, "prose")].concat())).collect();
    let metadata = bytes(14, &[text(1, "ort_config"), text(2, &"{}".repeat(500_000))].concat());
    let training = bytes(20, &bytes(1, &graph(&[node("com.evil:Train", &[], &["t"], &[])], &["t"])));
    extended(folder, &[docs], &[text(6, "prose"), metadata, training]);
}

/// Logits that depend on a comparison.
fn conditional(folder: &Path) {
    let mut m = classifier().tensor("zero", &[], Data::Float(&[0.0])).node_with("ReduceMean", &["h"], "mean", &[("keepdims", 0)]);
    m = m.node("Greater", &["mean", "zero"], "c");
    let branch = |name: &str, op: &str| subgraph(name, &graph(&[node(op, &["h"], &["o"], &[])], &["o"]));
    m.nodes.push(node("If", &["c"], &["logits"], &[branch("then_branch", "Relu"), branch("else_branch", "Neg")]));
    model(folder, m.output("logits", "float[N,10]"));
}

/// A loop without a number of rounds whose condition stays true.
fn endless(folder: &Path) {
    let port = |field: u64, name: &str, code: u64| bytes(field, &[text(1, name), bytes(2, &bytes(1, &int(1, code)))].concat());
    let nodes = [node("Identity", &["k"], &["k2"], &[]), node("Relu", &["s"], &["s2"], &[])];
    let body = [port(11, "i", 7), port(11, "k", 9), port(11, "s", 1), graph(&nodes, &[]), port(12, "k2", 9), port(12, "s2", 1)];
    let mut m = classifier();
    m.tensors.push(tensor("yes", &[], 9, &[bytes(9, &[1])]));
    m.nodes.push(node("Loop", &["", "yes", "h"], &["logits"], &[subgraph("body", &body.concat())]));
    model(folder, m.output("logits", "float[N,10]"));
}

/// `If` in `If` in `If` …
fn conditions(levels: usize) -> Vec<u8> {
    let innermost = node("Identity", &["h"], &["inner"], &[]);
    (0..levels).fold(innermost, |inner, _| {
        let branch = graph(&[inner], &["inner"]);
        node("If", &["c"], &["inner"], &[subgraph("then_branch", &branch), subgraph("else_branch", &branch[..0])])
    })
}

/// `f0` calls `f1`, which calls `f2` …
fn chain(length: usize) -> Vec<Vec<u8>> {
    let call = |i: usize| if i + 1 == length { "Relu".to_owned() } else { format!("mine:f{}", i + 1) };
    (0..length).map(|i| function(&format!("f{i}"), &[node(&call(i), &["x"], &["y"], &[])])).collect()
}

/// Every function calls the next one twice.
fn doubling(levels: usize) -> Vec<Vec<u8>> {
    let call = |i: usize| if i + 1 == levels { "Relu".to_owned() } else { format!("mine:f{}", i + 1) };
    let body = |i: usize| [node(&call(i), &["x"], &["t"], &[]), node(&call(i), &["t"], &["y"], &[])];
    (0..levels).map(|i| function(&format!("f{i}"), &body(i))).collect()
}

/// Two hundred constants of 50 MB each that differ in one bit.
fn pieces(folder: &Path) {
    let mut model = classifier().tensor("shape", &[1], Data::Int(&[50 << 18]));
    for i in 0..200 {
        let value = bytes(5, &tensor("", &[1], 1, &[bytes(9, &(i as f32).to_le_bytes())]));
        let attribute = bytes(5, &[text(1, "value"), value, int(20, 4)].concat());
        model.nodes.push(node("ConstantOfShape", &["shape"], &[&format!("c{i}")], &[attribute]));
        model = model.node_with("ReduceMean", &[&format!("c{i}")], &format!("m{i}"), &[("keepdims", 0)]);
        let before = if i == 0 { "h".to_owned() } else { format!("s{}", i - 1) };
        model = model.node("Add", &[&before, &format!("m{i}")], &format!("s{i}"));
    }
    file(folder, "m.onnx", &model.output("s199", "float[N,10]").bytes());
}

fn resized(folder: &Path, scales: &[f32]) {
    let m = classifier().tensor("scales", &[scales.len()], Data::Float(scales)).node("Resize", &["x", "", "scales"], "strange");
    model(folder, summed(m));
}

/// A chain of a hundred thousand nodes.
fn long(folder: &Path) {
    let mut m = classifier();
    for i in 0..100_000 {
        let before = if i == 0 { "h".to_owned() } else { format!("r{}", i - 1) };
        m.nodes.push(node("Relu", &[&before], &[&format!("r{i}")], &[]));
    }
    file(folder, "m.onnx", &m.node("Identity", &["r99999"], "logits").output("logits", "float[N,10]").bytes());
}
