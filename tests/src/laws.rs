//! The laws of the architecture: which crate may know what. Read from `cargo metadata` and from the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::provision::root;

/// Packages that have one home, and the crate that is their home.
const HOMES: &[(&str, &[&str])] = &[
    ("ort", &["flatscape-engine"]),
    ("tract-onnx", &["flatscape-engine"]),
    ("libloading", &["flatscape-host"]),
    ("memmap2", &["flatscape-host"]),
    ("clap", &["flatscape-cli"]),
    ("indicatif", &["flatscape-cli"]),
    ("comfy-table", &["flatscape-cli"]),
    ("csv", &["flatscape-report"]),
    ("plotters", &["flatscape-report"]),
    ("minijinja", &["flatscape-report"]),
    ("prost", &["flatscape-graph"]),
    ("statrs", &["flatscape-audit"]),
];

/// Which crates of ours each crate may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("flatscape-graph", &[]),
    ("flatscape-abi", &[]),
    ("flatscape-report", &[]),
    ("flatscape-autodiff", &["flatscape-graph"]),
    ("flatscape-engine", &["flatscape-graph"]),
    ("flatscape-sdk", &["flatscape-abi", "flatscape-graph"]),
    ("flatscape-host", &["flatscape-abi", "flatscape-graph"]),
    ("flatscape-standard", &["flatscape-sdk"]),
    ("flatscape-intake", &["flatscape-autodiff", "flatscape-engine", "flatscape-graph"]),
    ("flatscape-measure", &["flatscape-autodiff", "flatscape-engine", "flatscape-graph", "flatscape-host", "flatscape-intake"]),
    (
        "flatscape-audit",
        &[
            "flatscape-autodiff",
            "flatscape-engine",
            "flatscape-graph",
            "flatscape-host",
            "flatscape-intake",
            "flatscape-measure",
            "flatscape-report",
        ],
    ),
    (
        "flatscape-cli",
        &[
            "flatscape-audit",
            "flatscape-autodiff",
            "flatscape-engine",
            "flatscape-graph",
            "flatscape-host",
            "flatscape-intake",
            "flatscape-measure",
            "flatscape-report",
        ],
    ),
];

/// Crates that do no I/O, and the words that would betray it.
const PURE: &[&str] = &["harness/graph/src", "harness/autodiff/src", "harness/report/src"];
const IO: &[&str] =
    &["std::fs", "std::net", "std::process", "std::env", "File::open", "stdin()", "stdout()", "println!", "eprintln!"];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] =
    &["harness/abi/", "harness/sdk/", "harness/host/", "harness/engine/src/onnxruntime", "harness/engine/src/library"];

/// Words that a crate must not know.
const UNKNOWN_WORDS: &[(&str, &[&str])] = &[
    ("harness/autodiff/src", &["onnxruntime", "tract", "session", "attack(", "Attack"]),
    ("harness/engine/src", &["pgd", "fgsm", "Attack", "adversarial"]),
    ("plugins/standard/src", &["onnxruntime", "tract_", "ort::"]),
    ("harness/host/src", &["flatscape_standard", "flatscape-standard"]),
];

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("metadata are JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let own = |dependency: &serde_json::Value| dependency["kind"].as_str() != Some("dev");
    packages
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().expect("dependencies").iter().filter(|d| own(d));
            let names = used.map(|d| d["name"].as_str().expect("a name").to_owned()).collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources").map(|e| e.expect("an entry").path()) {
        if entry.is_dir() {
            if entry.file_name().is_none_or(|name| name != "tests" && name != "examples") {
                found.extend(sources(&entry));
            }
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// The lines of a source that are code: no comments, and nothing from the first unit test on.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).expect("a source");
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed == "#[cfg(test)]" {
            break;
        }
        if !trimmed.starts_with("//") {
            lines.push((number + 1, line.to_owned()));
        }
    }
    lines
}

fn violations(folder: &str, words: &[&str], excused: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(&root().join(folder)) {
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        if excused(&shown) || shown.ends_with("/tests.rs") {
            continue;
        }
        for (number, line) in code(&path) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("{shown}:{number} says {word:?}: {}", line.trim()));
            }
        }
    }
    found
}

#[test]
fn every_named_package_has_one_home() {
    for (package, used) in dependencies() {
        for name in used {
            if let Some((_, homes)) = HOMES.iter().find(|(home, _)| *home == name) {
                assert!(homes.contains(&package.as_str()), "{package} uses {name}, whose home is {homes:?}");
            }
        }
    }
}

#[test]
fn arrows_between_crates_are_those_of_the_map() {
    let all = dependencies();
    for (package, allowed) in ARROWS {
        let used = all.get(*package).unwrap_or_else(|| panic!("{package} is gone"));
        for name in used.iter().filter(|name| name.starts_with("flatscape-")) {
            assert!(allowed.contains(&name.as_str()), "{package} uses {name}");
        }
    }
}

#[test]
fn graph_autodiff_and_report_do_no_input_or_output() {
    let found: Vec<String> = PURE.iter().flat_map(|folder| violations(folder, IO, |_| false)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn unsafe_stands_where_it_may() {
    let found: Vec<String> = ["harness", "plugins/standard/src"]
        .iter()
        .flat_map(|folder| {
            violations(folder, &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"], |path| {
                UNSAFE.iter().any(|u| path.starts_with(u))
            })
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn crates_do_not_know_what_is_not_theirs() {
    let found: Vec<String> = UNKNOWN_WORDS.iter().flat_map(|(folder, words)| violations(folder, words, |_| false)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn there_is_one_main() {
    let mains: Vec<PathBuf> = sources(&root().join("harness"))
        .into_iter()
        .filter(|path| code(path).iter().any(|(_, line)| line.starts_with("fn main(")))
        .collect();
    assert_eq!(mains, [root().join("harness/cli/src/main.rs")]);
}

#[test]
fn every_file_says_what_it_knows_and_stays_readable() {
    for folder in ["harness", "plugins/standard/src", "tests/src"] {
        for path in sources(&root().join(folder)) {
            let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
            let text = fs::read_to_string(&path).expect("a source");
            let generated = text.starts_with("// This file is @generated") || shown.ends_with("proto.rs");
            if generated {
                continue;
            }
            assert!(text.starts_with("//!"), "{shown} does not begin with a line that says what it knows");
            let lines = text.lines().count();
            assert!(lines <= 800, "{shown} has {lines} lines: one thing each?");
        }
    }
}
