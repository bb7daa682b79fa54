//! `--resume` with something changed is refused, with the difference named; a disk that is full in the middle of a checkpoint costs
//! nothing that was finished.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flatscape_intake::data::{Dataset, Pixels, Request, Split};

use crate::plugins::misbehaving_with;
use crate::provision::{command, flatscape, home, program};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Some of the digits as IDX files, with changed labels.
pub fn images(folder: &Path, count: usize, label: &dyn Fn(u8) -> u8) {
    let request = Request { limit: Some(count), split: Split::Train, ..Request::new("digits") };
    let data = Dataset::load(&request).expect("the training half of digits");
    let Pixels::Bytes(pixels) = &data.pixels else { panic!("digits are bytes") };
    let [_, h, w] = data.shape;
    let word = |n: usize| (n as u32).to_be_bytes();
    std::fs::create_dir_all(folder).expect("a folder");
    let images = [&[0, 0, 8, 3][..], &word(data.len()), &word(h), &word(w), pixels].concat();
    std::fs::write(folder.join("train-images-idx3-ubyte"), images).expect("written");
    let labels: Vec<u8> = data.labels.iter().map(|&y| label(y as u8)).collect();
    std::fs::write(folder.join("train-labels-idx1-ubyte"), [&[0, 0, 8, 1][..], &word(data.len()), &labels].concat())
        .expect("written");
}

fn train(folder: &Path, more: &[&str]) -> Output {
    flatscape(folder, &[WORDS, more].concat())
}

const WORDS: &[&str] = &[
    "train",
    "digits-standard",
    "--data",
    "data",
    "--engine",
    "tract",
    "--threat",
    "linf:0.1",
    "--epochs",
    "2",
    "--batch-size",
    "16",
    "--lr",
    "0.001",
    "-o",
    "a.onnx",
];

#[test]
fn changed_data_plugins_and_options_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    images(&data, 80, &|label| label);
    let plugin =
        |weight: &str| -> PathBuf { misbehaving_with("weighted_cost", folder.path(), &format!("#define WEIGHT \"{weight}\"")) };
    let file = plugin("1.0");
    let own = ["--trainer", "bad", "--plugin", file.to_str().expect("a path")];
    let first = train(folder.path(), &own);
    assert_eq!(first.status.code(), Some(0), "{}", said(&first));
    let result = std::fs::read(folder.path().join("a.onnx")).expect("a result");
    let refused = |more: &[&str], difference: &str| {
        let output = train(folder.path(), &[&own[..], more, &["--resume"]].concat());
        assert_eq!(output.status.code(), Some(8), "{difference}: {}", said(&output));
        assert!(said(&output).contains("R096") && said(&output).contains(difference), "{difference}: {}", said(&output));
        assert!(std::fs::read(folder.path().join("a.onnx")).expect("a result") == result, "{difference}: the result changed");
    };
    refused(&["--seed", "3"], "plan.seed is 0, and here it is 3");
    refused(&["--optimizer", "adam"], "its components[1].arguments is \"momentum=0.9");
    refused(&["--freeze", "*bias*"], "its frozen is []");
    // one label is another
    images(&data, 80, &|label| if label == 3 { 5 } else { label });
    refused(&[], "its data[2] is");
    images(&data, 80, &|label| label);
    plugin("2.0");
    refused(&[], "its components[0].p");
    plugin("1.0");
    let same = train(folder.path(), &[&own[..], &["--resume"]].concat());
    assert_eq!(same.status.code(), Some(0), "{}", said(&same));
}

/// Whether a process may write files of this many KiB only; what is longer is an error of the write, as on a full disk.
#[cfg(unix)]
fn with_little_room(folder: &Path, kib: u32, more: &[&str]) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$0\" \"$@\"")]);
    shell.arg(program()).args([WORDS, more].concat()).current_dir(folder);
    shell.env("FLATSCAPE_HOME", home()).env("NO_COLOR", "1").output().expect("bash starts")
}

/// The first checkpoint of this training has 270 KiB. It is written under another name first, so that what was there stays.
#[cfg(unix)]
#[test]
fn a_full_disk_in_the_middle_of_a_checkpoint_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    images(&folder.path().join("data"), 80, &|label| label);
    let whole = train(folder.path(), &[]);
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
    let files = ["a.onnx", "a.onnx.train/log.csv", "a.onnx.train/report.html"];
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let expected = files.map(read);
    std::fs::remove_dir_all(folder.path().join("a.onnx.train")).expect("removed");
    std::fs::remove_file(folder.path().join("a.onnx")).expect("removed");
    // no room for the first checkpoint
    let full = with_little_room(folder.path(), 200, &[]);
    assert_eq!(full.status.code(), Some(7), "{}", said(&full));
    assert!(said(&full).contains("O094") && said(&full).contains("--resume"), "{}", said(&full));
    let checkpoint = folder.path().join("a.onnx.train/checkpoint");
    assert!(!checkpoint.exists() && !folder.path().join("a.onnx").exists());
    // stopped behind the first checkpoint, then no room for the second
    let mut child = command(folder.path(), &[WORDS, &["--resume"]].concat()).spawn().expect("the program starts");
    while !checkpoint.exists() && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let _ = child.kill();
    child.wait().expect("ended");
    let before = std::fs::read(&checkpoint).expect("a checkpoint");
    if !folder.path().join("a.onnx").exists() {
        let full = with_little_room(folder.path(), 200, &["--resume"]);
        assert_eq!(full.status.code(), Some(7), "{}", said(&full));
        assert!(std::fs::read(&checkpoint).expect("a checkpoint") == before, "the checkpoint before was touched");
    }
    let rest = train(folder.path(), &["--resume"]);
    assert_eq!(rest.status.code(), Some(0), "{}", said(&rest));
    for (name, expected) in files.into_iter().zip(expected) {
        assert!(read(name) == expected, "{name} differs from an undisturbed training");
    }
}
