//! A part that will take long says so before, and while it runs a line comes at intervals where there is no terminal.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::EMBEDDED;
use crate::provision::command;

#[cfg(unix)]
#[test]
fn a_long_part_is_announced_and_tells_how_far_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", "300", "--threat", "linf:0.1"];
    arguments.extend(["--attack", "fgsm", "--metric", "phi:grid=61,directions=10", "--landscapes", "0", "--out", "run"]);
    arguments.extend(EMBEDDED);
    let mut started = command(folder.path(), &arguments);
    let mut child = started.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut said = String::new();
    let (mut estimated, mut told) = (false, false);
    // both lines come before the part ends, or the pipe ends with the program
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
        let line = line.expect("UTF-8");
        estimated |= line.contains("phi") && line.contains("about ") && line.ends_with("for 300 images");
        told |= line.contains("phi") && line.contains(" of 300 after ") && line.contains("left");
        said.push_str(&line);
        said.push('\n');
        if estimated && told {
            let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
            assert!(sent.success());
            estimated = true;
            break;
        }
    }
    assert!(estimated && told, "{said}");
    assert_eq!(child.wait().expect("a status").code(), Some(130), "{said}");
}
