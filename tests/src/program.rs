//! The real program as a subprocess: what stands in a run directory, that the same command gives the same bytes, and how a run
//! ends.

mod altered;
mod canaries;
mod compare;
mod corrupted;
mod decoded;
mod demo;
mod directories;
mod doubted;
mod elsewhere;
mod endings;
mod estimates;
mod geometry;
mod hazards;
mod headline;
mod interruption;
mod kills;
mod linear;
mod losses;
mod masked;
mod named;
mod page;
mod partly;
mod pipes;
mod png;
mod published;
mod repeat;
mod sample;
mod scaling;
mod scores;
mod similar;
mod surrogates;
mod survivors;
mod verify;
mod witness;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use crate::provision::{flatscape, onnx_runtime_library, root};

/// A finished command with its folder; the run directory is `run` in it.
pub struct Run {
    pub folder: tempfile::TempDir,
    pub output: Output,
}

impl Run {
    /// Runs the program in a folder of its own.
    pub fn new(arguments: &[&str]) -> Run {
        let folder = tempfile::tempdir().expect("a folder");
        let output = flatscape(folder.path(), arguments);
        Run { folder, output }
    }

    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    /// Everything that was said, for messages.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&[&self.output.stdout[..], &self.output.stderr].concat()).into_owned()
    }

    /// Ends the test where the exit code is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Run {
        assert_eq!(self.code(), code, "{}", self.said());
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        read(&self.path(name))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("UTF-8")
    }

    /// The rows of `results.csv` or `samples.csv`.
    pub fn table(&self, name: &str) -> Vec<Row> {
        table(&self.text(name))
    }

    /// The value of the only row of this model, component and metric.
    pub fn value(&self, model: &str, component: &str, metric: &str) -> f64 {
        let rows = self.table("results.csv");
        let wanted: Vec<&Row> =
            rows.iter().filter(|r| r["model"] == model && r["component"] == component && r["metric"] == metric).collect();
        assert_eq!(wanted.len(), 1, "{model}, {component}, {metric}: {wanted:?}");
        wanted[0]["value"].parse().unwrap_or_else(|_| panic!("{model}, {component}, {metric} has no value: {wanted:?}"))
    }

    /// A copy of the folder and everything in it.
    pub fn copy(&self) -> Run {
        let folder = tempfile::tempdir().expect("a folder");
        copy(self.folder.path(), folder.path());
        Run { folder, output: self.output.clone() }
    }

    /// Runs another command in the same folder.
    pub fn again(self, arguments: &[&str]) -> Run {
        let output = flatscape(self.folder.path(), arguments);
        Run { output, ..self }
    }

    /// Every file of the run directory by its path in it, but for the lock, the seconds, what was set aside and what a killed
    /// process left under a temporary name.
    pub fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        walk(&self.path(""), "", &mut files);
        files.retain(|name, _| {
            name != "lock" && name != "times.csv" && !name.starts_with("set-aside/") && !name.contains(".part-")
        });
        files
    }

    /// Ends the test where another run does not hold the same files with the same bytes, but for those whose path `differs`.
    #[track_caller]
    pub fn same_files(&self, other: &Run, differs: &[&str]) {
        let of = |run: &Run| {
            let mut tree = run.tree();
            tree.retain(|name, _| !differs.iter().any(|d| name.starts_with(d)));
            tree
        };
        let (a, b) = (of(self), of(other));
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
        for (name, bytes) in &a {
            assert!(bytes == &b[name], "{name} differs");
        }
    }

    /// The names of the results that are there so far, in a folder in which a program runs.
    pub fn shards(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder.join("run/shards")).into_iter().flatten().flatten();
        let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".npz") && !name.starts_with('.')).collect()
    }

    /// The path in the run directory of the result of the nth job of this kind, e.g. `fgsm`.
    pub fn shard(&self, kind: &str, nth: usize) -> String {
        let kind = format!(".{kind}-");
        let name = self.files("shards", ".npz").into_keys().filter(|name| name.contains(&kind)).nth(nth);
        format!("shards/{}", name.unwrap_or_else(|| panic!("no result {nth} of {kind}")))
    }

    /// Files in a folder of the run directory with this ending, by name.
    pub fn files(&self, folder: &str, ending: &str) -> BTreeMap<String, Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return BTreeMap::new() };
        let paths = entries.map(|e| e.expect("an entry").path()).filter(|p| p.to_string_lossy().ends_with(ending));
        paths.map(|p| (p.file_name().expect("a name").to_string_lossy().into_owned(), read(&p))).collect()
    }
}

/// A row by the names of its columns.
pub type Row = BTreeMap<String, String>;

/// Reads RFC 4180.
pub fn table(text: &str) -> Vec<Row> {
    let mut lines: Vec<Vec<String>> = vec![vec![String::new()]];
    let mut quoted = false;
    for c in text.chars() {
        let line = lines.last_mut().expect("one at least");
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(String::new()),
            '\n' if !quoted => lines.push(vec![String::new()]),
            c => line.last_mut().expect("one at least").push(c),
        }
    }
    assert_eq!(lines.pop(), Some(vec![String::new()]), "the last line ends");
    let header = lines.remove(0);
    let row = |cells: Vec<String>| -> Row {
        assert_eq!(cells.len(), header.len(), "{cells:?}");
        header.iter().cloned().zip(cells).collect()
    };
    lines.into_iter().map(row).collect()
}

/// A model and images as files of a folder, `net.onnx` and `digits.npz`, so that they can be changed.
pub fn net_and_digits(folder: &Path) {
    let models = root().join("models");
    std::fs::copy(models.join("digits-standard/model.onnx"), folder.join("net.onnx")).expect("a model");
    std::fs::copy(models.join("digits/digits-test.npz"), folder.join("digits.npz")).expect("images");
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder").map(|e| e.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).expect("a folder");
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn walk(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry")) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, read(&entry.path()));
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A small audit of two models in several shards, on the embedded engine, into `run`; `more` goes on.
pub fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "audit",
        "digits-standard",
        "digits-amsreg",
        "--data",
        "digits",
        "-n",
        "60",
        "--threat",
        "linf:0.1",
        "--attack",
        "fgsm",
        "--attack",
        "pgd:steps=5,restarts=2",
        "--metric",
        "ams",
        "--metric",
        "phi:grid=3,directions=1",
        "--shard-size",
        "25",
        "--batch-size",
        "16",
        "--out",
        "run",
    ];
    arguments.extend(more);
    arguments
}

/// One thread, tract: the reference.
pub const EMBEDDED: &[&str] = &["--engine", "tract", "--threads", "1"];

/// An audit of one model in 15 jobs without landscapes, on the reference engine, into `run`; `more` goes on.
pub fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", "30", "--threat", "linf:0.1"];
    arguments.extend(["--attack", "fgsm", "--attack", "pgd:steps=3", "--metric", "ams", "--landscapes", "0"]);
    arguments.extend(["--shard-size", "10", "--batch-size", "16", "--out", "run"]);
    arguments.extend(EMBEDDED);
    arguments.extend(more);
    arguments
}

/// Its jobs.
pub const TINY_JOBS: usize = 15;

/// The tiny audit, finished, once for all tests; they change copies of it.
pub fn finished() -> &'static Run {
    static FINISHED: OnceLock<Run> = OnceLock::new();
    FINISHED.get_or_init(|| {
        // the gradient certificate asks a second engine if there is one: it must not arrive between two runs
        onnx_runtime_library();
        let run = Run::new(&tiny(&[])).expect(0);
        assert_eq!(run.files("shards", ".npz").len(), TINY_JOBS);
        run
    })
}

/// Files that name the number of workers or the command.
pub const ABOUT_THE_COMMAND: &[&str] = &["manifest.json", "report.html"];
