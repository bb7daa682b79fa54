//! What was stated about the interface of a model is in the file that comes out, so that it is audited without flags.

use std::path::Path;
use std::process::Output;

use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType, onnx};
use flatscape_intake::data::{Dataset, Pixels, Request, Split};

use crate::provision::flatscape;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// The digits 0 and 1 of both halves, as IDX files.
fn two_digits(folder: &Path) {
    std::fs::create_dir(folder).expect("a folder");
    for (split, name) in [(Split::Train, "train"), (Split::Test, "t10k")] {
        let data = Dataset::load(&Request { split, ..Request::new("digits") }).expect("digits");
        let Pixels::Bytes(pixels) = &data.pixels else { panic!("digits are bytes") };
        let chosen: Vec<usize> = (0..data.len()).filter(|&i| data.labels[i] < 2).collect();
        let word = |n: usize| (n as u32).to_be_bytes();
        let picked: Vec<u8> = chosen.iter().flat_map(|&i| pixels[64 * i..64 * (i + 1)].iter().copied()).collect();
        let labels: Vec<u8> = chosen.iter().map(|&i| data.labels[i] as u8).collect();
        let images = [&[0, 0, 8, 3][..], &word(chosen.len()), &word(8), &word(8), &picked].concat();
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).expect("written");
        let labels = [&[0, 0, 8, 1][..], &word(chosen.len()), &labels].concat();
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).expect("written");
    }
}

/// Two outputs, a hidden layer [N,2] and one number behind a sigmoid [N,1]; the input `keep` multiplies the hidden layer.
fn net(path: &Path) {
    let b = Builder::new(Graph::new("net"));
    let x = b.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)]));
    let keep = b.input("keep", ValueType::new(DType::F32, vec![]));
    let weights = |name: &str, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| ((7 * i + 3) % 11) as f32 / 50.0 - 0.1).collect::<Vec<f32>>();
        let id = b.graph_mut().add_constant(name, Tensor::new(shape, values).expect("as many"));
        b.expr(id)
    };
    let hidden = x.reshape(&[-1, 64]).matmul(weights("w1", &[64, 2])) * keep;
    let score = (hidden.tanh().matmul(weights("w2", &[2, 1]))).unary("Sigmoid");
    b.output("hidden", hidden);
    b.output("score", score);
    let graph = b.into_graph();
    graph.check().expect("a well-formed net");
    std::fs::write(path, onnx::write(&graph)).expect("written");
}

#[test]
fn the_stated_output_task_and_inputs_are_in_the_result() {
    let folder = tempfile::tempdir().expect("a folder");
    two_digits(&folder.path().join("data"));
    net(&folder.path().join("net.onnx"));
    let plain =
        |more: &[&str]| flatscape(folder.path(), &[&["audit", "--data", "data", "-n", "40", "--landscapes", "0"], more].concat());
    let attack = ["--threat", "linf:0.1", "--attack", "fgsm", "--engine", "tract"];
    // the file itself is not understood without flags
    let unknown = plain(&[&["net.onnx"], &attack[..], &["--out", "unknown"]].concat());
    assert!(matches!(unknown.status.code(), Some(2 | 3)), "{}", said(&unknown));
    let stated = ["--output", "score", "--task", "binary", "--input", "keep=2"];
    let words =
        ["train", "net.onnx", "--data", "data", "--threat", "linf:0.1", "--engine", "tract", "--lr", "0.1", "-o", "out.onnx"];
    let trained = flatscape(folder.path(), &[&words[..], &stated].concat());
    assert_eq!(trained.status.code(), Some(0), "{}", said(&trained));
    let audited = plain(&[&["out.onnx"], &attack[..], &["--out", "run"]].concat());
    assert!(matches!(audited.status.code(), Some(0 | 9)), "{}", said(&audited));
    assert!(said(&audited).contains("clean"), "{}", said(&audited));
    let file = onnx::read(&std::fs::read(folder.path().join("out.onnx")).expect("a result")).expect("an ONNX file");
    let value = |key: &str| file.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    assert_eq!((value("flatscape.output"), value("flatscape.task")), (Some("score"), Some("binary")));
    // what was given a value is a constant of the result
    let inputs: Vec<&str> = file.graph.inputs().iter().map(|&i| &*file.graph.value(i).name).collect();
    assert_eq!(inputs, ["x"]);
    let outputs: Vec<&str> = file.graph.outputs().iter().map(|o| &*o.name).collect();
    assert_eq!(outputs, ["hidden", "score"]);
    // a flag still wins over what the file states
    let other = plain(&[&["out.onnx"], &attack[..], &["--output", "hidden", "--task", "classes", "--out", "hidden"]].concat());
    assert!(matches!(other.status.code(), Some(0 | 9)), "{}", said(&other));
}
