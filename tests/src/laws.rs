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
    ("memmap2", &["flatscape-contain"]),
    ("landlock", &["flatscape-contain"]),
    ("seccompiler", &["flatscape-contain"]),
    ("clap", &["flatscape-cli"]),
    ("indicatif", &["flatscape-cli"]),
    ("comfy-table", &["flatscape-cli"]),
    ("csv", &["flatscape-data", "flatscape-report"]),
    ("plotters", &["flatscape-report"]),
    ("resvg", &["flatscape-raster"]),
    ("minijinja", &["flatscape-comparison", "flatscape-report"]),
    ("prost", &["flatscape-graph"]),
    ("statrs", &["flatscape-intake", "flatscape-measure", "flatscape-standard"]),
    ("nalgebra", &["flatscape-standard"]),
    ("signal-hook", &["flatscape-cli"]),
    ("mimalloc", &["flatscape-cli", "flatscape-tests"]),
];

/// Which crates of ours each crate may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("flatscape-graph", &[]),
    ("flatscape-abi", &[]),
    ("flatscape-contain", &[]),
    ("flatscape-report", &[]),
    ("flatscape-raster", &[]),
    ("flatscape-autodiff", &["flatscape-graph"]),
    ("flatscape-kernels", &[]),
    ("flatscape-engine", &["flatscape-contain", "flatscape-graph", "flatscape-kernels"]),
    ("flatscape-sdk", &["flatscape-abi", "flatscape-graph"]),
    ("flatscape-host", &["flatscape-abi", "flatscape-contain", "flatscape-graph"]),
    ("flatscape-standard", &["flatscape-sdk"]),
    ("flatscape-data", &["flatscape-engine", "flatscape-graph"]),
    ("flatscape-hazards", &["flatscape-autodiff", "flatscape-data", "flatscape-graph"]),
    ("flatscape-intake", &["flatscape-autodiff", "flatscape-data", "flatscape-engine", "flatscape-graph", "flatscape-hazards"]),
    ("flatscape-architectures", &["flatscape-graph", "flatscape-intake"]),
    ("flatscape-corruptions", &["flatscape-intake"]),
    ("flatscape-threats", &["flatscape-corruptions", "flatscape-graph", "flatscape-intake"]),
    ("flatscape-bounds", &["flatscape-autodiff", "flatscape-graph"]),
    (
        "flatscape-measure",
        &[
            "flatscape-autodiff",
            "flatscape-bounds",
            "flatscape-engine",
            "flatscape-graph",
            "flatscape-host",
            "flatscape-intake",
            "flatscape-threats",
        ],
    ),
    (
        "flatscape-certificate",
        &["flatscape-autodiff", "flatscape-engine", "flatscape-graph", "flatscape-intake", "flatscape-measure"],
    ),
    ("flatscape-views", &["flatscape-measure", "flatscape-report"]),
    (
        "flatscape-audit",
        &[
            "flatscape-autodiff",
            "flatscape-bounds",
            "flatscape-certificate",
            "flatscape-contain",
            "flatscape-engine",
            "flatscape-graph",
            "flatscape-host",
            "flatscape-intake",
            "flatscape-measure",
            "flatscape-report",
            "flatscape-views",
            "flatscape-weights",
        ],
    ),
    (
        "flatscape-weights",
        &["flatscape-autodiff", "flatscape-engine", "flatscape-graph", "flatscape-host", "flatscape-intake", "flatscape-measure"],
    ),
    ("flatscape-comparison", &["flatscape-report"]),
    (
        "flatscape-compare",
        &["flatscape-audit", "flatscape-comparison", "flatscape-intake", "flatscape-measure", "flatscape-report"],
    ),
    (
        "flatscape-train",
        &[
            "flatscape-architectures",
            "flatscape-engine",
            "flatscape-graph",
            "flatscape-host",
            "flatscape-intake",
            "flatscape-measure",
            "flatscape-report",
            "flatscape-weights",
        ],
    ),
    (
        "flatscape-cli",
        &[
            "flatscape-architectures",
            "flatscape-audit",
            "flatscape-autodiff",
            "flatscape-certificate",
            "flatscape-compare",
            "flatscape-comparison",
            "flatscape-contain",
            "flatscape-engine",
            "flatscape-graph",
            "flatscape-host",
            "flatscape-intake",
            "flatscape-measure",
            "flatscape-raster",
            "flatscape-report",
            "flatscape-standard",
            "flatscape-train",
            "flatscape-views",
        ],
    ),
];

/// Crates that do no I/O, and the words that would betray it.
const PURE: &[&str] = &[
    "harness/graph/src",
    "harness/autodiff/src",
    "harness/kernels/src",
    "harness/architectures/src",
    "harness/corruptions/src",
    "harness/hazards/src",
    "harness/threats/src",
    "harness/bounds/src",
    "harness/comparison/src",
    "harness/report/src",
    "harness/views/src",
];
/// Where lines are printed: `output.rs` alone, so that a closed pipe or a full disk is met in one place.
const PRINTS: &[&str] = &["println!", "eprintln!", "print!(", "eprint!("];
const IO: &[&str] =
    &["std::fs", "std::net", "std::process", "std::env", "File::open", "stdin()", "stdout()", "println!", "eprintln!"];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &[
    "harness/abi/",
    "harness/contain/",
    "harness/sdk/",
    "harness/host/",
    "harness/engine/src/onnxruntime",
    "harness/engine/src/library",
    // the vectors of one processor
    "harness/kernels/src/correlation.rs",
    "harness/kernels/src/direct.rs",
    "harness/kernels/src/formula.rs",
    "harness/kernels/src/chwn/mod.rs",
    "harness/kernels/src/vectors.rs",
    "harness/kernels/src/windows.rs",
    "harness/kernels/src/winograd/mod.rs",
];

/// Where special forms of layers are asked for: gradients, attacks, metrics and training, and the certificate, which compares them
/// with the plain form. What judges is not among them.
const FAST: &[&str] = &[
    "harness/certificate/src/compiled.rs",
    "harness/engine/",
    "harness/measure/src/attack.rs",
    "harness/measure/src/metric.rs",
    "harness/measure/src/oracle.rs",
    "harness/measure/src/pace.rs",
    "harness/measure/src/stage.rs",
    "harness/train/src/learner.rs",
    "harness/weights/src/space.rs",
];

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

/// The lines of a source that are code: no comments, and no item that is there for unit tests alone.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).expect("a source");
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim_start() == "#[cfg(test)]" {
            at = end_of_item(&lines, at);
        } else if !lines[at].trim_start().starts_with("//") {
            kept.push((at + 1, lines[at].to_owned()));
        }
        at += 1;
    }
    kept
}

/// The last line of the item that begins, with its attributes, at a line: sources are formatted, so that it closes at the
/// indentation at which it opens.
fn end_of_item(lines: &[&str], from: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(lines[from]);
    let attribute = |line: &str| line.trim_start().starts_with("#[") || line.trim_start().starts_with("//");
    let first = (from..lines.len()).find(|&at| !attribute(lines[at])).unwrap_or(lines.len() - 1);
    if lines[first].ends_with([';', '}']) {
        return first;
    }
    let ends = |line: &str| {
        indent(line) == own
            && (line.trim_start().starts_with('}') || line.trim_start().starts_with(')'))
            && line.ends_with(['}', ';'])
    };
    (first + 1..lines.len()).find(|&at| ends(lines[at])).unwrap_or(lines.len() - 1)
}

/// Name and number of lines of every function of a source that unit tests do not own.
fn functions(path: &Path) -> Vec<(String, usize)> {
    let code = code(path);
    let lines: Vec<&str> = code.iter().map(|(_, line)| line.as_str()).collect();
    let name = |line: &str| {
        let words = line.trim_start().strip_prefix("pub(crate) ").or(line.trim_start().strip_prefix("pub(super) "));
        let words = words.unwrap_or(line.trim_start());
        let words = ["pub ", "const ", "unsafe ", "extern \"C\" "]
            .iter()
            .fold(words, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
        let rest = words.strip_prefix("fn ")?;
        Some(rest.split(['(', '<']).next().unwrap_or_default().to_owned())
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = name(line) else { continue };
        let end = end_of_item(&lines, at);
        // comments count, so the numbers are those of the file
        found.push((name, code[end].0 - code[at].0 + 1));
    }
    found
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
fn every_home_holds_its_package() {
    let all = dependencies();
    for (package, homes) in HOMES {
        for home in *homes {
            let used = all.get(*home).unwrap_or_else(|| panic!("{home} is gone"));
            assert!(used.iter().any(|name| name == package), "{home} does not use {package}: strike the row of HOMES");
        }
    }
}

#[test]
fn every_crate_of_the_harness_has_arrows() {
    for package in dependencies().keys().filter(|name| name.starts_with("flatscape-") && *name != "flatscape-tests") {
        assert!(ARROWS.iter().any(|(from, _)| from == package), "{package} has no row of ARROWS");
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
fn one_place_prints() {
    let found: Vec<String> = [
        "cli",
        "data",
        "hazards",
        "intake",
        "threats",
        "bounds",
        "measure",
        "certificate",
        "weights",
        "audit",
        "views",
        "compare",
        "train",
    ]
    .map(|name| format!("harness/{name}/src"))
    .iter()
    .flat_map(|folder| violations(folder, PRINTS, |_| false))
    .collect();
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
fn what_judges_is_compiled_in_the_plain_form() {
    let found = violations("harness", &["Stage::fast(", "CompileOptions::fast(", "rows: Some(", "let rows = Some("], |path| {
        FAST.iter().any(|home| path.starts_with(home))
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn crates_do_not_know_what_is_not_theirs() {
    let found: Vec<String> = UNKNOWN_WORDS.iter().flat_map(|(folder, words)| violations(folder, words, |_| false)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Lines of pages have at most 100 columns, but for tables, pictures and code.
#[test]
fn lines_of_pages_are_short() {
    let mut long = Vec::new();
    for page in ["README.md", "ARCHITECTURE.md", "SECURITY.md", "STYLE.md", "harness/audit/DOUBTS.md"] {
        let text = std::fs::read_to_string(root().join(page)).expect(page);
        let prose = text.lines().enumerate().filter(|(_, line)| !line.starts_with(['|', '!']));
        long.extend(prose.filter(|(_, l)| l.chars().count() > 100).map(|(at, l)| format!("{page}:{}: {l}", at + 1)));
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn there_is_one_main() {
    let mains: Vec<PathBuf> = sources(&root().join("harness"))
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name != "build.rs"))
        .filter(|path| code(path).iter().any(|(_, line)| line.starts_with("fn main(")))
        .collect();
    assert_eq!(mains, [root().join("harness/cli/src/main.rs")]);
}

/// Lines that a file may have.
const FILE: usize = 600;
/// Lines that a function may have, and the folders that are held to it.
const FUNCTION: usize = 60;
const SHORT_FUNCTIONS: &[&str] = &[
    "harness/architectures/src",
    "harness/corruptions/src",
    "harness/hazards/src",
    "harness/data/src",
    "harness/intake/src",
    "harness/certificate/src",
    "harness/measure/src",
    "harness/threats/src",
    "harness/bounds/src",
    "harness/audit/src",
    "harness/compare/src",
    "harness/comparison/src",
    "harness/report/src",
    "harness/views/src",
    "harness/train/src",
    "harness/weights/src",
    "harness/cli/src",
];
/// Functions that are longer, and why.
const LONG: &[(&str, &str, &str)] = &[
    ("harness/certificate/src/file.rs", "subject", "one match over what a file can be differentiated with respect to"),
    (
        "harness/intake/src/gradient.rs",
        "join",
        "the steps of joining a gradient to a file, each of which needs what the one before found",
    ),
    ("harness/intake/src/model/native.rs", "of", "the questions to a file, in the order in which their answers are needed"),
    ("harness/report/src/figure.rs", "paint", "the parts of one picture, from back to front"),
];
/// Lines that a crate may have, and the one that may have more: an operator is a row and a shape rule there.
const CRATE: usize = 9000;
const LARGE: &[&str] = &["harness/graph"];

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").display().to_string()
}

#[test]
fn every_file_says_what_it_knows_and_stays_readable() {
    for folder in ["harness", "plugins/standard/src", "tests/src"] {
        for path in sources(&root().join(folder)) {
            let shown = shown(&path);
            let text = fs::read_to_string(&path).expect("a source");
            let generated = text.starts_with("// This file is @generated") || shown.ends_with("proto.rs");
            if generated {
                continue;
            }
            assert!(text.starts_with("//!"), "{shown} does not begin with a line that says what it knows");
            let lines = text.lines().count();
            assert!(lines <= FILE, "{shown} has {lines} lines: one thing each?");
        }
    }
}

#[test]
fn functions_stay_short() {
    let mut long = Vec::new();
    for folder in SHORT_FUNCTIONS {
        for path in sources(&root().join(folder)).into_iter().filter(|path| !path.ends_with("tests.rs")) {
            let found = functions(&path).into_iter().filter(|(_, lines)| *lines > FUNCTION);
            long.extend(found.map(|(name, lines)| (shown(&path), name, lines)));
        }
    }
    let excused = |file: &str, name: &str| LONG.iter().any(|(f, n, _)| *f == file && *n == name);
    let found: Vec<_> = long.iter().filter(|(file, name, _)| !excused(file, name)).collect();
    assert!(found.is_empty(), "functions of more than {FUNCTION} lines: {found:?}");
    let idle: Vec<_> = LONG.iter().filter(|(file, name, _)| !long.iter().any(|(f, n, _)| f == file && n == name)).collect();
    assert!(idle.is_empty(), "these are short now: {idle:?}");
}

#[test]
fn crates_stay_small() {
    for entry in fs::read_dir(root().join("harness")).expect("the crates").map(|e| e.expect("an entry").path()) {
        let lines: usize = sources(&entry).iter().map(|path| fs::read_to_string(path).expect("a source").lines().count()).sum();
        let name = shown(&entry);
        assert!(lines <= CRATE || LARGE.contains(&name.as_str()), "{name} has {lines} lines; at most {CRATE} are possible");
    }
}

#[test]
fn code_is_what_unit_tests_do_not_own() {
    let source = "//! A.\n\nfn a() {\n    b();\n}\n\n#[cfg(test)]\nuse b::c;\n\n#[cfg(test)]\nmod tests {\n    fn d() {}\n}\n\nfn e() -> u8 {\n    // f\n    1\n}\n";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.rs");
    fs::write(&path, source).expect("the folder is writable");
    let kept: Vec<usize> = code(&path).into_iter().filter(|(_, line)| !line.is_empty()).map(|(number, _)| number).collect();
    assert_eq!(kept, [3, 4, 5, 15, 17, 18]);
    assert_eq!(functions(&path), [("a".to_owned(), 3), ("e".to_owned(), 4)]);
}
