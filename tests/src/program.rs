//! The real program as a subprocess: what stands in a run directory, that the same command gives the same bytes, and how a run
//! ends.

mod compare;
mod demo;
mod endings;
mod hazards;
mod interruption;
mod pipes;
mod repeat;
mod verify;
mod witness;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::provision::flatscape;

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
