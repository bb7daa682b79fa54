//! Who reads what the program prints does not change what it does: a closed pipe lets the work finish and keeps the exit code, and a
//! place that takes nothing is exit code 7.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::provision::command;

/// An audit whose condition does not hold.
const AUDIT: &[&str] = &[
    "audit",
    "digits-standard",
    "--data",
    "digits",
    "-n",
    "20",
    "--threat",
    "linf:0.1",
    "--attack",
    "fgsm",
    "--landscapes",
    "0",
    "--engine",
    "tract",
    "--require",
    "robust_accuracy>=0.99",
    "--out",
    "run",
];

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    drop(ours);
    Stdio::from(std::os::fd::OwnedFd::from(theirs))
}

fn full() -> Stdio {
    Stdio::from(OpenOptions::new().write(true).open("/dev/full").expect("the device is there"))
}

#[test]
fn a_reader_that_goes_away_changes_neither_the_work_nor_the_exit_code() {
    for errors_too in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut audit = command(folder.path(), AUDIT);
        audit.stdout(closed()).stderr(if errors_too { closed() } else { Stdio::null() });
        assert_eq!(audit.status().expect("the program starts").code(), Some(1), "the condition does not hold");
        let rows = std::fs::read_to_string(folder.path().join("run/results.csv")).expect("the work is done");
        assert!(rows.contains("robust_accuracy"), "{rows}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let listed = command(folder.path(), &["plugins", "list"]).stdout(closed()).output().expect("the program starts");
    assert_eq!((listed.status.code(), String::from_utf8_lossy(&listed.stderr).as_ref()), (Some(0), ""));
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_finds_no_room_is_seven_and_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let audit = command(folder.path(), AUDIT).stdout(full()).output().expect("the program starts");
    let said = String::from_utf8_lossy(&audit.stderr);
    assert_eq!(audit.status.code(), Some(7), "{said}");
    assert!(said.contains("error[O094]: standard output could not be written: ") && !said.contains("panicked"), "{said}");
    assert!(folder.path().join("run/results.csv").exists(), "what was computed is kept");
    for arguments in [&["--help"][..], &["plugins", "list"], &["inspect", "digits-standard"], &[]] {
        let ended = command(folder.path(), arguments).stdout(full()).output().expect("the program starts");
        assert_eq!(ended.status.code(), Some(7), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    let silent = command(folder.path(), &["inspect", "nowhere.onnx"]).stderr(full()).status().expect("the program starts");
    assert_eq!(silent.code(), Some(7), "nobody could read why");
}

#[test]
fn the_program_alone_says_what_can_be_typed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = command(folder.path(), &[]).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut page = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut page).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(page.lines().count() <= 20 && page.lines().all(|line| line.chars().count() <= 120), "{page}");
    for command in ["demo", "inspect", "audit", "plugins list", "doctor"] {
        assert!(page.contains(&format!("flatscape {command}")), "{page}");
    }
}
