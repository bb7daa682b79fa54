//! What somebody has who installed the program by each way that the README names, in an empty folder: it finds its plugin and an
//! engine. Completions and pages of the manual.

use std::path::Path;
use std::process::{Command, Output};

use flatscape_engine::runtime::VERSION;

use crate::provision::{built, command_of, flatscape, root};

/// Every shell gets a script that names the commands.
#[test]
fn completions_name_the_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish"] {
        let output = flatscape(folder.path(), &["completions", shell]);
        let script = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && script.contains("compare") && script.contains("threat"), "{shell}: {script:.300}");
    }
    assert_eq!(flatscape(folder.path(), &["completions", "tcsh"]).status.code(), Some(2));
}

/// One page per command, each with a name, a synopsis and its options.
#[test]
fn the_manual_has_a_page_per_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = flatscape(folder.path(), &["man", "--out", "man"]);
    assert!(output.status.success(), "{}", said(&output));
    for (page, words) in [("flatscape", "inspect"), ("flatscape-audit", "robust_accuracy"), ("flatscape-verify", "SYNOPSIS")] {
        let text = std::fs::read_to_string(folder.path().join(format!("man/{page}.1"))).expect(page);
        assert!(text.contains(words) && text.contains(".SH NAME") && text.contains(".TH"), "{page}: {text:.300}");
    }
    assert!(!folder.path().join("man/flatscape-plugin-worker.1").exists(), "hidden commands have no page");
    let printed = flatscape(folder.path(), &["man"]);
    assert!(String::from_utf8_lossy(&printed.stdout).contains(".TH"));
}

/// `cargo install --locked --path harness/cli`.
#[test]
fn cargo_installs_a_program_that_works_in_an_empty_folder() {
    if skipped("cargo install") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut install = Command::new(env!("CARGO"));
    install.args(["install", "--quiet", "--offline", "--locked", "--path", "harness/cli", "--root"]).arg(folder.path());
    ends_well(in_checkout(&mut install));
    works(&folder.path().join("bin/flatscape"), "tract");
}

/// `pip install '.[onnxruntime]'`: the program uses the library of that package.
#[test]
fn pip_installs_a_program_that_uses_the_onnxruntime_beside_it() {
    if skipped("pip install") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    ends_well(Command::new("python3").args(["-m", "venv"]).arg(folder.path().join("venv")));
    let mut install = Command::new(folder.path().join("venv/bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.arg(".[onnxruntime]").arg(format!("onnxruntime=={VERSION}"));
    ends_well(in_checkout(&mut install));
    works(&folder.path().join("venv/bin/flatscape"), "venv/lib/python");
}

/// Builds in the directory of this build, with its features: nothing but the program is compiled again.
fn in_checkout(command: &mut Command) -> &mut Command {
    command.current_dir(root()).env("CARGO_TARGET_DIR", built().parent().expect("target/PROFILE"))
}

/// Both ways build with the release profile.
fn skipped(test: &str) -> bool {
    if cfg!(debug_assertions) {
        eprintln!("skipped: {test}: it would build everything again with the release profile");
    }
    cfg!(debug_assertions)
}

/// `doctor` names the engine, the standard plugin attacks, and the report is there.
fn works(program: &Path, engine: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        let mut command = command_of(program, folder.path(), arguments);
        command.env("FLATSCAPE_HOME", folder.path().join("home")).env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX");
        command.output().expect("the program starts")
    };
    let doctor = run(&["doctor"]);
    assert!(doctor.status.success() && said(&doctor).contains(engine), "{}", said(&doctor));
    let audit = run(&["audit", "digits-standard", "--data", "digits", "-n", "5", "--attack", "pgd:steps=2", "--out", "run"]);
    assert!(audit.status.success(), "{}", said(&audit));
    assert!(folder.path().join("run/report.html").is_file());
}

#[track_caller]
fn ends_well(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", said(&output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}
