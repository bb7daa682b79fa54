//! The makers of what the cases hand over.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;

use crate::provision::{panicking_plugin as built_panicking_plugin, root};
use crate::wire::{Data, Model};

pub fn file(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("a temporary folder can be written");
}

pub fn text_file(folder: &Path, name: &str, text: &str) {
    file(folder, name, text.as_bytes());
}

pub fn directory(parent: &Path, name: &str) {
    std::fs::create_dir(parent.join(name)).expect("a temporary folder can be written");
}

pub fn pipe(folder: &Path, name: &str) {
    assert!(Command::new("mkfifo").arg(folder.join(name)).status().expect("mkfifo").success());
}

pub fn model(folder: &Path, model: Model) {
    file(folder, "m.onnx", &model.bytes());
}

/// Ten scores `h` for images `x` float[N,1,8,8]; outputs are still to be named.
pub fn classifier() -> Model {
    let weights: Vec<f32> = (0..640).map(|i| ((i * 37 % 101) as f32 - 50.0) / 100.0).collect();
    Model::new()
        .input("x", "float[N,1,8,8]")
        .tensor("w", &[64, 10], Data::Float(&weights))
        .node_with("Flatten", &["x"], "rows", &[("axis", 1)])
        .node("MatMul", &["rows", "w"], "h")
}

/// Images by their shape [n,C,H,W].
#[derive(Clone, Copy)]
pub enum Images {
    /// All black.
    Bytes([usize; 4]),
    /// The first pixel has the first value, all others the second.
    Floats([usize; 4], f32, f32),
}

/// `d.npz`.
pub fn data(folder: &Path, images: Images, labels: &[i64]) {
    archive(folder, |archive| {
        match images {
            Images::Bytes(shape) => archive.add_array("x", &Array4::<u8>::zeros(shape)),
            Images::Floats(shape, first, others) => {
                let mut x = Array4::from_elem(shape, others);
                x[[0, 0, 0, 0]] = first;
                archive.add_array("x", &x)
            }
        }
        .expect("an array");
        archive.add_array("y", &Array1::from_vec(labels.to_vec())).expect("an array");
    });
}

/// `d.npz` whose labels are floats.
pub fn ill_labelled(folder: &Path) {
    archive(folder, |archive| {
        archive.add_array("x", &Array4::<u8>::zeros([3, 1, 8, 8])).expect("an array");
        archive.add_array("y", &Array1::from_vec(vec![0.0f32, 1.0, 2.0])).expect("an array");
    });
}

pub fn archive(folder: &Path, fill: impl Fn(&mut NpzWriter<File>)) {
    let mut archive = NpzWriter::new(File::create(folder.join("d.npz")).expect("a temporary folder can be written"));
    fill(&mut archive);
    archive.finish().expect("an archive");
}

/// `idx/`: two test images of 8×8 whose file begins with `magic` and holds this many bytes of pixels; two labels.
pub fn idx(folder: &Path, magic: u32, pixels: usize) {
    directory(folder, "idx");
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    file(folder, "idx/t10k-images-idx3-ubyte", &[numbers(&[magic, 2, 8, 8]), vec![0; pixels]].concat());
    file(folder, "idx/t10k-labels-idx1-ubyte", &[numbers(&[0x0801, 2]), vec![0, 1]].concat());
}

/// `p.so`, from a source in `tests/plugins`.
pub fn c_plugin(folder: &Path, name: &str) {
    let mut command = Command::new("cc");
    command.args(["-std=gnu99", "-O1", "-w", "-fPIC", "-shared", "-pthread", "-I"]).arg(root().join("plugins/include"));
    command.arg("-o").arg(folder.join("p.so")).arg(root().join("tests/plugins").join(name).with_extension("c"));
    assert!(command.status().expect("there is a C compiler").success(), "{name}.c");
}

/// `p.so`, the plugin in Rust that panics when it is asked for a program.
pub fn panicking_plugin(folder: &Path) {
    std::fs::copy(built_panicking_plugin(), folder.join("p.so")).expect("the plugin was built");
}
