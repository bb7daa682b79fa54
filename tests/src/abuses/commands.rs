//! Whole commands: files of strangers, small machines, damaged libraries. Every script runs in an empty folder with the program in
//! `PATH`; its last command ends with the exit code and the words that its first lines state, in time.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::abuses;
use crate::provision::{command_of, home, onnx_runtime_library, program, root};
use crate::refusals::child;

/// How long a script may take on the clock of a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn commands_under_abuse_end_with_a_sentence() {
    let wrong: Vec<String> = abuses("sh")
        .iter()
        .filter_map(|(name, path, outcome)| ends(path, outcome).err().map(|why| format!("{name}: {why}")))
        .collect();
    assert!(wrong.is_empty(), "{} abuses\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// `7 WORDS … WORDS`: the exit code, and words that are printed in this order.
fn ends(script: &Path, outcome: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, words) = outcome.split_once(' ').unwrap_or((outcome, ""));
    let code: i32 = code.parse().expect("an exit code");
    // the variables that `command_of` sets and removes
    let surroundings = command_of(program(), folder.path(), &[]);
    let mut command = Command::new("sh");
    command.arg(script).current_dir(folder.path());
    for (name, value) in surroundings.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let places = [program().parent().expect("a folder").to_path_buf()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(places.into_iter().chain(std::env::split_paths(&path))).expect("paths");
    command.env("PATH", path).env("ORT_LIBRARY", onnx_runtime_library()).env("HOME", home()).env("SOURCES", root());
    let ended = child::run(command, PATIENCE);
    let said = [ended.stderr.as_slice(), ended.stdout.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let mut rest = said.as_str();
    for part in words.split(" … ").filter(|part| !part.is_empty()) {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return Err(format!("does not say {part:?}:\n{said}")),
        }
    }
    if ended.code() == code && !said.contains("panicked") {
        Ok(())
    } else {
        Err(format!("ended with {:?} ({}), not {code}:\n{said}", ended.status, ended.code()))
    }
}
