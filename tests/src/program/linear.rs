//! What a run reads and writes grows with the number of its jobs, not with its square. Bytes are counted by the system, nothing is
//! timed.

use std::process::Stdio;
use std::time::Duration;

use super::EMBEDDED;
use crate::provision::command;

/// Bytes that a whole audit of so many images in shards of one read and wrote, its children included.
#[cfg(target_os = "linux")]
fn bytes(images: &str) -> [u64; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", images, "--attack", "fgsm"];
    arguments.extend(["--threat", "linf:0.1", "--landscapes", "0", "--shard-size", "1", "--out", "run"]);
    arguments.extend(EMBEDDED);
    let mut started = command(folder.path(), &arguments);
    let mut child = started.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let of_process = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).expect("a process has it");
    // a process that has ended keeps its counts until somebody asks for its status
    while !of_process("stat").rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let counts = of_process("io");
    assert_eq!(child.wait().expect("a status").code(), Some(0));
    let count = |name: &str| {
        let line = counts.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).expect("a count");
        line.parse().expect("a number")
    };
    [count("rchar"), count("wchar")]
}

#[cfg(target_os = "linux")]
#[test]
fn four_times_as_many_shards_cost_at_most_four_times_as_many_bytes() {
    let (few, many) = (bytes("40"), bytes("160"));
    for (what, few, many) in [("read", few[0], many[0]), ("written", few[1], many[1])] {
        assert!(many <= 4 * few, "{few} bytes {what} with 40 shards of a part, {many} with 160");
    }
}
