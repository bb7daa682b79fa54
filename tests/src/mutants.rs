//! A small share of `tests/mutants.py`: damaged models and graphs of a grammar through `inspect`, and some of what is accepted
//! through an audit of one image on both engines. The script has a fixed seed and says what it counts as wrong.

use std::process::Command;

use crate::provision::{home, onnx_runtime_library, program, root, shared_data};

#[test]
fn damaged_models_and_graphs_of_a_grammar_end_in_sentences() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: damaged models: there is no python3");
        return;
    }
    let mut script = Command::new("python3");
    script.arg(root().join("tests/mutants.py")).arg(program()).env("FLATSCAPE_HOME", home());
    script.args(["--graphs", "40", "--audits", "1", "--threads", "2", "--ort-lib"]).arg(onnx_runtime_library());
    match shared_data("models to damage").map(|folder| folder.join("models")) {
        Some(models) => script.arg("--models").arg(models).args(["--mutants", "40"]),
        None => script.args(["--mutants", "0"]),
    };
    let output = script.output().expect("python3 starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("inspect: ") && said.contains(" tried, 0 wrong"), "{said}");
}
