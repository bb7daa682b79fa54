//! Everything that people hand over by mistake, one row each: what lies in the folder, what is typed, how it ends, what is said.

use std::path::Path;

use super::crafted::good;
use super::inputs::{
    Images, c_plugin, classifier, data, directory, file, idx, ill_labelled, model, panicking_plugin, pipe, text_file,
};
use crate::wire::{Data, Model};

/// One mistake, or what looks like one.
pub struct Case {
    /// The number of its kind: that of its message, if nothing else is stated.
    row: u16,
    pub name: &'static str,
    /// Makes what the command reads.
    pub make: fn(&Path),
    /// What is typed after `flatscape`, in the folder.
    pub command: &'static str,
    /// As documented for the command line.
    pub code: i32,
    /// The stable id of the message; empty where the command line itself is refused.
    pub id: &'static str,
    /// Every one of these, separated by ` … `, is said in this order.
    pub says: &'static str,
    /// This is said too, wherever.
    pub culprit: &'static str,
    /// Every one of these, separated by ` … `, is printed in this order.
    pub prints: &'static str,
    /// What may stay: a run directory, because the fault shows only in the middle of the work, or the file that was asked for.
    pub leaves: &'static str,
}

pub const fn case(
    name: &'static str,
    make: fn(&Path),
    command: &'static str,
    (code, id): (i32, &'static str),
    says: &'static str,
) -> Case {
    Case { row: 0, name, make, command, code, id, says, culprit: "", prints: "", leaves: "" }
}

/// A model `m.onnx` that is refused before anything is run.
pub const fn refused(row: u16, name: &'static str, make: fn(&Path), id: &'static str, says: &'static str) -> Case {
    case(name, make, "inspect m.onnx", (3, id), says).row(row)
}

/// A model `m.onnx` that only looks wrong.
pub const fn accepted(row: u16, name: &'static str, make: fn(&Path), prints: &'static str) -> Case {
    case(name, make, "inspect m.onnx", (0, ""), "").row(row).prints(prints)
}

const fn in_the_middle(case: Case) -> Case {
    case.leaves("run")
}

impl Case {
    pub const fn row(self, row: u16) -> Case {
        Case { row, ..self }
    }

    pub const fn culprit(self, culprit: &'static str) -> Case {
        Case { culprit, ..self }
    }

    pub const fn prints(self, prints: &'static str) -> Case {
        Case { prints, ..self }
    }

    pub const fn leaves(self, leaves: &'static str) -> Case {
        Case { leaves, ..self }
    }

    /// The number of its kind. Messages about models and options are numbered alike.
    pub fn number(&self) -> u16 {
        let of_id = || self.id.strip_prefix(['M', 'U']).filter(|n| n.len() == 3).and_then(|n| n.parse().ok());
        if self.row > 0 { self.row } else { of_id().unwrap_or(0) }
    }
}

pub fn nothing(_: &Path) {}

/// A file that is certainly no model, under the name `m.onnx`.
const fn no_model(name: &'static str, make: fn(&Path), says: &'static str) -> Case {
    case(name, make, "inspect m.onnx", (3, "M004"), says)
}

/// A model `m.onnx` that is audited with good data.
const fn audited(name: &'static str, make: fn(&Path), end: (i32, &'static str), says: &'static str) -> Case {
    case(name, make, "audit m.onnx --data digits -n 4 --engine tract --out run", end, says)
}

/// Data `d.npz` for a good model.
const fn measured(name: &'static str, make: fn(&Path), end: (i32, &'static str), says: &'static str) -> Case {
    case(name, make, "audit digits-standard --data d.npz --engine tract --threat linf:0.1 --out run", end, says)
}

/// A plugin `p.so`.
const fn plugged(name: &'static str, make: fn(&Path), id: &'static str, says: &'static str) -> Case {
    case(
        name,
        make,
        "audit digits-standard --data digits -n 4 --engine tract --attack fgsm --plugin p.so --out run",
        (5, id),
        says,
    )
}

/// Good models and data with options that cannot be meant.
const fn typed(name: &'static str, command: &'static str, id: &'static str, says: &'static str) -> Case {
    case(name, nothing, command, (2, id), says)
}

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // files that are not models
    case("no such file", nothing, "inspect missing.onnx", (3, "M001"), "missing.onnx"),
    case("no such file to differentiate", nothing, "grad missing.onnx -o g.onnx", (3, "M001"), "missing.onnx"),
    case("a misspelt name", nothing, "inspect digits-standart", (3, "M001"), "digits-standart … did you mean digits-standard?"),
    case("a folder", |f| directory(f, "m.onnx"), "inspect m.onnx", (3, "M001"), "m.onnx … directory"),
    case("a pipe", |f| pipe(f, "m.onnx"), "inspect m.onnx", (3, "M001"), "m.onnx … regular file"),
    case("an empty file", |f| file(f, "m.onnx", b""), "inspect m.onnx", (3, "M002"), "m.onnx … empty"),
    case("a cut file", |f| file(f, "m.onnx", &half(&classifier().bytes())), "inspect m.onnx", (3, "M003"), "m.onnx … graph"),
    case("random bytes", |f| file(f, "m.onnx", &noise()), "inspect m.onnx", (3, "M0"), "m.onnx"),
    no_model(
        "a git-LFS pointer",
        |f| text_file(f, "m.onnx", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        "m.onnx … git-LFS … git lfs pull",
    ),
    no_model("a PyTorch checkpoint", |f| file(f, "m.onnx", b"PK\x03\x04\0\0archive/data.pkl"), "m.onnx … PyTorch … never loaded"),
    no_model("an old PyTorch checkpoint", |f| file(f, "m.onnx", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."), "pickle … torch.onnx.export"),
    no_model("an error page", |f| text_file(f, "m.onnx", "<!DOCTYPE html><html><body>404</body></html>"), "HTML … download"),
    no_model("gzip", |f| file(f, "m.onnx", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"), "gzip … gunzip"),
    no_model("safetensors", |f| file(f, "m.onnx", b"\x10\0\0\0\0\0\0\0{\"__metadata__\"}"), "safetensors … export"),
    no_model("HDF5", |f| file(f, "m.onnx", b"\x89HDF\r\n\x1a\n\0\0"), "HDF5 … tf2onnx"),
    no_model("JSON", |f| text_file(f, "m.onnx", "{\"model\": 1}"), "JSON … .onnx"),
    no_model("TensorFlow Lite", |f| file(f, "m.onnx", b"\x1c\0\0\0TFL3\0\0\0\0"), "TensorFlow Lite"),
    no_model("a library", |f| file(f, "m.onnx", b"\x7fELF\x02\x01\x01\0"), "library"),
    // graphs that mean nothing
    audited("a custom operator", |f| model(f, classifier().opset("com.evil", 1).node("com.evil:EvilOp", &["h"], "logits").output("logits", "float[N,10]")), (3, "M025"), "EvilOp … node_logits … com.evil"),
    audited("an unknown operator", |f| model(f, classifier().node("Sofmax", &["h"], "logits").output("logits", "float[N,10]")), (3, "M025"), "Sofmax … node_logits … Softmax"),
    audited("opset 99", |f| model(f, good().opset("", 99)), (3, "M013"), "99"),
    audited("a file format of the future", |f| model(f, Model { ir_version: 99, ..good() }), (3, "M013"), "99"),
    audited("no opset", |f| model(f, Model { opsets: Vec::new(), ..good() }), (3, "M014"), "opset"),
    audited("two opsets", |f| model(f, Model { opsets: vec![(String::new(), 17), (String::new(), 18)], ..good() }), (3, "M014"), "two versions"),
    audited("no output", |f| model(f, classifier()), (3, "M015"), "output"),
    audited("a name defined twice", |f| model(f, good().node("Relu", &["x"], "h")), (3, "M018"), "\"h\""),
    audited("a cycle", |f| model(f, classifier().node("Add", &["h", "b"], "a").node("Relu", &["a"], "b").node("Add", &["a", "b"], "logits").output("logits", "float[N,10]")), (3, "M016"), "a … b"),
    audited("a name that nothing produces", |f| model(f, classifier().node("Add", &["h", "w3"], "logits").output("logits", "float[N,10]")), (3, "M019"), "node_logits … w3"),
    audited("an empty input", |f| model(f, good().input("extra", "float[0,8]")), (3, "M020"), "extra … extent 0"),
    audited("a negative extent", |f| model(f, good().input("extra", "float[-4,8]")), (3, "M020"), "extra"),
    audited("an element type of nobody", |f| model(f, good().input("words", "string[N]")), (3, "M0"), "words"),
    audited("weights of another size", |f| model(f, good().tensor("v", &[3, 4], Data::Float(&[0.0; 11]))), (3, "M022"), "\"v\" … 48 bytes … 44"),
    audited("weights beyond counting", |f| model(f, good().tensor("v", &[1 << 40, 1 << 40], Data::Float(&[0.0; 12]))), (3, "M021"), "\"v\""),
    audited("weights that are elsewhere and not there", |f| model(f, external(&[("location", "weights.bin")])), (3, "M045"), "\"v\" … weights.bin"),
    audited("weights outside the folder", |f| model(f, external(&[("location", "../../etc/passwd")])), (3, "M040"), "\"v\" … ../../etc/passwd"),
    audited("weights at an absolute path", |f| model(f, external(&[("location", "/etc/passwd")])), (3, "M040"), "\"v\" … /etc/passwd"),
    audited(
        "weights behind the end of their file",
        |f| {
            file(f, "weights.bin", &[0; 16]);
            model(f, external(&[("location", "weights.bin"), ("offset", "8"), ("length", "48")]));
        },
        (3, "M045"),
        "\"v\" … weights.bin",
    ),
    audited("weights whose place is stated twice", |f| model(f, external(&[("location", "a.bin"), ("location", "b.bin")])), (3, "M046"), "\"v\""),
    audited("NaN among the weights", |f| model(f, classifier().tensor("bias", &[10], Data::Float(&[f32::NAN; 10])).node("Add", &["h", "bias"], "logits").output("logits", "float[N,10]")), (3, "M065"), "bias … 10 NaN"),
    // models that are not classifiers of these images
    audited("an output that is a sequence", |f| model(f, good().node("SequenceConstruct", &["h"], "probabilities").sequence_output("probabilities")), (3, "M039"), "probabilities"),
    audited("two outputs that could be logits", |f| model(f, good().node("Relu", &["h"], "auxiliary").output("auxiliary", "float[N,10]")), (2, "U059"), "logits … auxiliary … --output"),
    audited("one number per image", |f| model(f, classifier().node_with("ReduceSum", &["h", "axis"], "score", &[("keepdims", 1)]).tensor("axis", &[1], Data::Int(&[1])).output("score", "float[N,1]")), (3, "M058"), "score … --task binary"),
    audited("a map instead of classes", |f| model(f, classifier().node("Identity", &["x"], "pixels").output("pixels", "float[N,1,8,8]")), (3, "M060"), "pixels … [N,classes]"),
    audited("pixels that must be integers", |f| model(f, Model::new().input("x", "uint8[N,1,8,8]").tensor("seven", &[1], Data::Int(&[7])).node_with("Cast", &["x"], "c", &[("to", 7)]).node("Div", &["c", "seven"], "d").node_with("Cast", &["d"], "e", &[("to", 1)]).node_with("Flatten", &["e"], "logits", &[("axis", 1)]).output("logits", "float[N,64]")), (3, "M055"), "uint8[N,1,8,8] … node_d … works on integers"),
    audited("a sigmoid per class", |f| model(f, classifier().node("Sigmoid", &["h"], "p").output("p", "float[N,10]")), (3, "M058"), "several may be right … --task classes"),
    audited("a softmax over the batch", |f| model(f, classifier().node_with("Softmax", &["h"], "p", &[("axis", 0)]).output("p", "float[N,10]")), (3, "M057"), "axis 0, which is the batch"),
    case("images of another size", |f| { model(f, good()); data(f, Images::Bytes([3, 1, 28, 28]), &[0, 1, 2]) }, "audit m.onnx --data d.npz --engine tract --threat linf:0.1 --out run", (3, "M053"), "float[N,1,8,8] … 28x28"),
    audited("images that are multiplied with each other", |f| model(f, Model::new().input("x", "float[N,64]").node("MatMul", &["x", "x"], "s").tensor("w", &[64, 10], Data::Float(&[0.01; 640])).node("MatMul", &["s", "w"], "logits").output("logits", "float[N,10]")), (3, "M053"), "m … [1,8,8] … MatMul"),
    case("a layout that does not fit", nothing, "audit digits-standard --data digits -n 4 --layout nhwc --engine tract --out run", (3, "M053"), "--layout nhwc"),
    case("two layouts that fit", |f| { model(f, Model::new().input("x", "float[N,3,3,3]").node_with("Flatten", &["x"], "logits", &[("axis", 1)]).output("logits", "float[N,27]")); data(f, Images::Bytes([3, 3, 3, 3]), &[0, 1, 2]) }, "audit m.onnx --data d.npz --engine tract --threat linf:0.1 --out run", (2, "U054"), "two layouts fit … --layout nchw"),
    case("an operator without a gradient", |f| model(f, unruled()), "grad m.onnx -o g.onnx", (3, "M026"), "gradient rule … Det … node_volume … m … 8 × 8"),
    case("no gradient at all", |f| model(f, classifier().node("Sign", &["h"], "logits").output("logits", "float[N,10]")), "grad m.onnx -o g.onnx", (3, "M028"), "x … 0 everywhere … inspect"),
    // data
    case("no such data set", nothing, "audit digits-standard --data mnist --data-dir nowhere --out run", (4, "D001"), "mnist … looked in … nowhere … --data-dir … curl"),
    case("a misspelt data set", nothing, "audit digits-standard --data minst --threat linf:0.1 --out run", (4, "D001"), "minst … mnist"),
    case("fewer images than asked for", nothing, "audit digits-standard --data digits -n 100000 --out run", (4, "D076"), "digits … 100000 … 500 … --allow-fewer"),
    measured("no such archive", nothing, (4, "D001"), "d.npz"),
    measured("an archive that is none", |f| text_file(f, "d.npz", "x,y\n1,2\n"), (4, "D085"), "d.npz"),
    measured("an archive without labels", data_without_labels, (4, "D080"), "\"y\""),
    measured("a label out of range", |f| data(f, Images::Bytes([3, 1, 8, 8]), &[0, 1, -1]), (4, "D077"), "row 2 … -1"),
    measured("labels of one class too many", |f| data(f, Images::Bytes([3, 1, 8, 8]), &[0, 1, 10]), (4, "D061"), "digits-standard has 10 classes … d has the labels 0..10"),
    measured("labels that are floats", ill_labelled, (4, "D077"), "labels … integers"),
    measured("more images than labels", |f| data(f, Images::Bytes([3, 1, 8, 8]), &[0, 1]), (4, "D078"), "3 images … 2 labels"),
    measured("no images", |f| data(f, Images::Bytes([0, 1, 8, 8]), &[]), (4, "D076"), "0 images"),
    measured("pixels 0..255 as floats", |f| data(f, Images::Floats([3, 1, 8, 8], 0.0, 255.0), &[0, 1, 2]), (4, "D079"), "[0, 255] … divide by 255"),
    measured("normalised pixels", |f| data(f, Images::Floats([3, 1, 8, 8], -1.5, 2.0), &[0, 1, 2]), (4, "D079"), "[-1.5, 2] … --mean"),
    measured("a pixel that is NaN", |f| data(f, Images::Floats([3, 1, 8, 8], f32::NAN, 0.5), &[0, 1, 2]), (4, "D079"), "row 0 … NaN"),
    case("a hundred classes for ten labels", |f| { model(f, Model::new().input("x", "float[N,1,8,8]").node_with("Flatten", &["x"], "logits", &[("axis", 1)]).output("logits", "float[N,64]")) }, "audit m.onnx --data digits -n 4 --engine tract --out run", (4, "D061"), "64 classes … 0..9"),
    case("a class for the background", |f| model(f, classifier().tensor("one", &[1], Data::Int(&[1])).node_with("ReduceSum", &["h", "one"], "sum", &[("keepdims", 1)]).node_with("Concat", &["sum", "h"], "logits", &[("axis", 1)]).output("logits", "float[N,11]")), "audit m.onnx --data digits -n 4 --engine tract --out run", (4, "D061"), "11 classes … 0..9 … --label-offset 1"),
    case("IDX files that end early", |f| idx(f, 0x0803, 100), "audit digits-standard --data idx --threat linf:0.1 --out run", (4, "D085"), "t10k-images-idx3-ubyte"),
    case("IDX files of another kind", |f| idx(f, 0x0d03, 2 * 64), "audit digits-standard --data idx --threat linf:0.1 --out run", (4, "D085"), "t10k-images-idx3-ubyte … begin"),
    case("data in a format that is not read", |f| text_file(f, "d.csv", "x,y\n"), "audit digits-standard --data d.csv --threat linf:0.1 --out run", (4, "D004"), "d.csv … npz"),
    // where results go
    case("a file in the place of the run", |f| text_file(f, "run", "mine"), "audit digits-standard --data digits -n 4 --engine tract --out run", (7, "O095"), "run … --out"),
    case("a run below a file", |f| text_file(f, "file", "mine"), "audit digits-standard --data digits -n 4 --engine tract --out file/run", (7, "O095"), "file/run … --out"),
    case("a run where nobody can write", nothing, "audit digits-standard --data digits -n 4 --engine tract --out /proc/run", (7, "O095"), "/proc/run … --out"),
    case("a folder of somebody else", |f| { directory(f, "run"); text_file(f, "run/thesis.tex", "everything") }, "audit digits-standard --data digits -n 4 --engine tract --out run", (8, "R096"), "run … not empty … --out"),
    case("a gradient where nobody can write", nothing, "grad digits-standard -o nowhere/g.onnx", (7, "O094"), "nowhere/g.onnx … -o"),
    // options
    typed("a radius without /255", "audit digits-standard --data digits --threat linf:8 --out run", "U090", "8 … linf:8/255 … --eps-is-large-on-purpose"),
    typed("a negative radius", "audit digits-standard --data digits --threat linf:-0.1 --out run", "U089", "linf:-0.1 … negative"),
    typed("a radius that is NaN", "audit digits-standard --data digits --threat linf:nan --out run", "U089", "linf:nan … finite"),
    typed("no radius", "audit digits-standard --data digits --threat linf --out run", "U089", "linf … linf:8/255"),
    typed("a misspelt norm", "audit digits-standard --data digits --threat linff:0.1 --out run", "U091", "linff … did you mean linf?"),
    typed("a misspelt attack", "audit digits-standard --data digits --attack pdg --out run", "U091", "pdg … pgd"),
    typed("a misspelt metric", "audit digits-standard --data digits --metric phii --out run", "U091", "phii … phi"),
    typed("an attack that asks for labels, under a norm that it lacks", "audit digits-standard --data digits --threat l1:1 --attack hopskipjump --out run", "U091", "the threat model is l1 … it serves linf, l2"),
    typed("a misspelt parameter", "audit digits-standard --data digits --attack pgd:step=3 --out run", "U091", "pgd … step … steps"),
    typed("a parameter that is not a number", "audit digits-standard --data digits --attack pgd:steps=many --out run", "U091", "steps … many"),
    typed("a parameter out of range", "audit digits-standard --data digits --attack pgd:steps=-3 --out run", "U091", "steps … -3"),
    typed("a misspelt profile", "audit digits-standard --data digits --profile quik --out run", "U091", "quik … quick"),
    typed("a grid with an even number of points", "landscape digits-standard --data digits --sample 0 --grid -0.1:0.1:10 --out run", "U089", "-0.1:0.1:10"),
    typed("a sample that is not there", "landscape digits-standard --data digits --sample 999999 --engine tract --out run", "U092", "999999 … 500"),
    typed("a misspelt option", "audit digits-standard --data digits --treat linf:0.1 --out run", "", "--treat … --threat"),
    typed("no images", "audit digits-standard --data digits -n 0 --out run", "U092", "-n 0"),
    typed("a batch of nothing", "audit digits-standard --data digits --batch-size 0 --out run", "", "--batch-size"),
    typed("a misspelt split", "audit digits-standard --data digits --split tets --out run", "U091", "tets … test"),
    typed("a misspelt layout", "audit digits-standard --data digits --layout nchww --out run", "U091", "nchww … nchw"),
    typed("means of another number of channels", "audit digits-standard --data digits -n 4 --engine tract --mean 0.1,0.2 --out run", "U093", "mean … 2 … 1 channel"),
    typed("a deviation of zero", "audit digits-standard --data digits --std 0 --out run", "U089", "positive"),
    typed("the gradient of something unknown", "grad digits-standard -o g.onnx --of entropy", "U091", "entropy … ce, logp"),
    typed("the gradient of a class too many", "grad digits-standard -o g.onnx --of logit:10", "U091", "logit:10 … 0..9"),
    typed("the gradient to something unknown", "grad digits-standard -o g.onnx --wrt pixels", "U091", "pixels … image"),
    typed("an output that is not there", "audit digits-standard --data digits -n 4 --output scores --engine tract --out run", "U059", "scores … logits"),
    // engines
    case("no library where one was named", nothing, "audit digits-standard --data digits -n 4 --ort-lib nowhere.so --out run", (6, ""), "nowhere.so"),
    case("a library that is none", |f| text_file(f, "ort.so", "hello"), "audit digits-standard --data digits -n 4 --ort-lib ort.so --out run", (6, ""), "ort.so"),
    case("a device that tract does not have", nothing, "audit digits-standard --data digits -n 4 --engine tract --device cuda --out run", (6, ""), "cuda:0 … tract runs on the CPU only"),
    // plugins
    plugged("no such plugin", nothing, "P001", "p.so"),
    plugged("a plugin that is text", |f| text_file(f, "p.so", "hello"), "P002", "p.so"),
    plugged("a plugin that was cut", |f| { c_plugin(f, "good"); let whole = std::fs::read(f.join("p.so")).expect("a plugin"); file(f, "p.so", &half(&whole)) }, "P00", "p.so"),
    plugged("a plugin of another version", |f| c_plugin(f, "wrong_major"), "P005", "p.so … plugin ABI 3."),
    plugged("a plugin that exports nothing", |f| c_plugin(f, "missing_symbol"), "P004", "p.so … flatscape plugin"),
    plugged("a plugin that ends the process", |f| c_plugin(f, "exit_in_constructor"), "P008", "p.so … ended the process"),
    in_the_middle(case("a plugin that panics", panicking_plugin, "audit digits-standard --data digits -n 4 --engine tract --attack panics --plugin p.so --out run", (5, "P007"), "panics … it panicked")),
    in_the_middle(case("a plugin that dies", |f| c_plugin(f, "segfault_in_build"), "audit digits-standard --data digits -n 4 --engine tract --attack bad --plugin p.so --out run", (5, "P008"), "SIGSEGV")),
    // names that would drive a terminal
    audited("a name of control characters", |f| model(f, classifier().node("Add", &["h", "w\u{1b}[31m\u{202e}"], "logits").output("logits", "float[N,10]")), (3, "M019"), r"w\u{1b}[31m\u{202e}"),
    case("a file name of control characters", nothing, "inspect a\u{1b}[31m\u{202e}.onnx", (3, "M001"), r"a\u{1b}[31m\u{202e}.onnx"),
];

fn external(entries: &[(&str, &str)]) -> Model {
    good().tensor("v", &[3, 4], Data::External(entries)).node("Identity", &["v"], "unused")
}

/// A classifier that ONNX Runtime can run, with an operator on its way that no gradient rule covers.
pub fn unruled() -> Model {
    classifier().node("Det", &["x"], "volume").node("Add", &["h", "volume"], "logits").output("logits", "float[N,10]")
}

fn data_without_labels(f: &Path) {
    super::inputs::archive(f, |archive| {
        archive.add_array("x", &ndarray::Array4::<u8>::zeros([3, 1, 8, 8])).expect("an array");
    });
}

fn half(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

/// Bytes without a pattern, the same ones always.
fn noise() -> Vec<u8> {
    let mut state = 12345u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..4096).map(next).collect()
}
