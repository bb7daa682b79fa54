//! The list of networks with their sets of operators: `tests/architectures/operators.md` says what the files hold.

use std::collections::{BTreeMap, BTreeSet};

use flatscape_graph::onnx;

use super::golden::Net;
use crate::provision::root;

/// At least 25 networks differ in what they are made of, and the committed list is that of the files.
#[test]
fn at_least_25_networks_have_distinct_sets_of_operators() {
    let mut sets: BTreeMap<BTreeSet<String>, Vec<String>> = BTreeMap::new();
    let mut page = String::from("| network | written by | opset | operators |\n|---|---|---|---|\n");
    for net in Net::all() {
        let file = onnx::read(&std::fs::read(&net.path).expect("a file")).unwrap_or_else(|e| panic!("{net}: {e}"));
        let named = |n: &flatscape_graph::Node| match &*n.domain {
            "" | "ai.onnx" => n.op.to_string(),
            domain => format!("{domain}.{}", n.op),
        };
        let operators: BTreeSet<String> = file.graph.nodes().iter().map(named).collect();
        let list: Vec<&str> = operators.iter().map(String::as_str).collect();
        page += &format!("| {net} | {} | {} | {} |\n", file.producer, file.opset, list.join(" "));
        sets.entry(operators).or_default().push(net.to_string());
    }
    println!("{page}{} distinct sets of operators", sets.len());
    assert!(sets.len() >= 25, "{} distinct sets of operators: {sets:?}", sets.len());
    let path = root().join("tests/architectures/operators.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("FLATSCAPE_WRITE_LISTS").is_some() {
        std::fs::write(&path, &page).expect("the list can be written");
    } else {
        assert!(
            written == page,
            "tests/architectures/operators.md is not the list of the files; FLATSCAPE_WRITE_LISTS=1 writes it"
        );
    }
}
