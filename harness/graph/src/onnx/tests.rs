//! Files read, written and read again; files that are refused, and in which words.

use std::path::{Path, PathBuf};

use prost::Message;

use super::proto::{self, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::{Fault, ModelFile, ReadError, read, read_with, write};
use crate::{Attribute, Attributes, Dim, Graph, Node, Tensor, ValueType};

/// The folder of third-party models, if it is there.
fn models() -> Option<Vec<PathBuf>> {
    let data = std::env::var_os("FLATSCAPE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let Ok(files) = std::fs::read_dir(data.join("models")) else {
        println!("skipped: no models under {} (set FLATSCAPE_DATA)", data.display());
        return None;
    };
    let mut files: Vec<PathBuf> =
        files.flatten().map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no model", data.display());
    Some(files)
}

/// Only nodes, constants and the interface: what the file says of the opset does not matter for comparing.
fn same(a: &Graph, b: &Graph) {
    if let Some(what) = a.difference(b) {
        panic!("{what}\n{}\n{}", crate::text::print(a), crate::text::print(b));
    }
}

#[test]
fn third_party_models_survive() {
    for path in models().into_iter().flatten() {
        let file = read(&std::fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(file.opset < crate::OPSET && !file.graph.nodes().is_empty());
        let bytes = write(&file.graph);
        let again = read(&bytes).unwrap_or_else(|e| panic!("{} written: {e}", path.display()));
        assert_eq!(again.opset, crate::OPSET);
        same(&file.graph, &again.graph);
        assert_eq!(write(&again.graph), write(&read(&bytes).unwrap().graph), "{}", path.display());
        let text = crate::text::print_whole(&file.graph);
        let parsed = crate::text::parse(&text).unwrap_or_else(|e| panic!("{} as text: {e}", path.display()));
        same(&file.graph, &parsed);
    }
}
