//! The process in which an engine loads what was accepted, and the one that looks after it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use flatscape_engine::{Buffer, CompileOptions, Engine};
use flatscape_graph::{DType, Dim, Graph, Tensor, onnx};

use crate::provision::{onnx_runtime_with, tract};

/// How long an engine may be silent, on the clock of a busy machine.
const SILENCE: Duration = Duration::from_secs(40);
/// Virtual memory of a child, in kilobytes.
const MEMORY: u64 = 8 << 20;
/// Values above this many bytes are loaded and not run.
const RUN: u64 = 16 << 20;

const FOLDER: &str = "FLATSCAPE_ACCEPTED_FOLDER";
const ENGINE: &str = "FLATSCAPE_ACCEPTED_ENGINE";
const RANGE: &str = "FLATSCAPE_ACCEPTED_RANGE";

/// Has an engine load `0.onnx` to `count`, in as many processes as it takes. What it died of, or where it went silent.
pub fn load_all(engine: &'static str, folder: &Path, count: usize) -> Vec<String> {
    let mut faults = Vec::new();
    let mut next = 0;
    while next < count {
        let mut child = start(engine, folder, next, count);
        let lines = lines_of(&mut child);
        let mut begun = None;
        let why = loop {
            match lines.recv_timeout(SILENCE) {
                Ok(line) => {
                    if let Some(n) = line.split("begin ").nth(1).and_then(|n| n.trim().parse().ok()) {
                        begun = Some(n);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    break "hangs".to_owned();
                }
                Err(RecvTimeoutError::Disconnected) => break String::new(),
            }
        };
        let status = child.wait().expect("a child can be waited for");
        if why.is_empty() && status.success() {
            break;
        }
        let at = begun.unwrap_or(next);
        let why = if why.is_empty() { format!("dies: {status}") } else { why };
        let what = std::fs::read_to_string(folder.join(format!("{at}.txt"))).unwrap_or_default();
        let kept = keep(folder, at, engine);
        faults.push(format!("{engine} {why} on {at}.onnx ({what}), kept as {}", kept.display()));
        if faults.len() > 20 {
            break;
        }
        next = at + 1;
    }
    faults
}

/// A copy of a graph that outlives the folder.
fn keep(folder: &Path, at: usize, engine: &str) -> PathBuf {
    let kept = std::env::temp_dir().join(format!("flatscape-{engine}-{at}.onnx"));
    let _ = std::fs::copy(folder.join(format!("{at}.onnx")), &kept);
    kept
}

fn start(engine: &str, folder: &Path, from: usize, to: usize) -> Child {
    let test = std::env::current_exe().expect("a test has a path");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -c 0; ulimit -v {MEMORY}; exec \"$0\" \"$@\"")]).arg(test);
    command.args(["accepted::child_process", "--exact", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).env(ENGINE, engine).env(RANGE, format!("{from} {to}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the child starts")
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let (send, lines) = channel();
    let output = child.stdout.take().expect("its output is piped");
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The child: says which graph it begins with, loads it, runs it once where that is small. Refusing is all right.
pub fn work() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(folder), Some(engine), Some(range)) = (variable(FOLDER), variable(ENGINE), variable(RANGE)) else { return };
    let engine: Arc<dyn Engine> = if engine == "ort" { onnx_runtime_with(1) } else { tract() };
    let (from, to) = range.split_once(' ').expect("a range");
    for n in from.parse::<usize>().expect("a number")..to.parse().expect("a number") {
        let mut output = std::io::stdout();
        writeln!(output, "begin {n}").and_then(|()| output.flush()).expect("the parent listens");
        let bytes = std::fs::read(Path::new(&folder).join(format!("{n}.onnx"))).expect("the parent has written it");
        let graph = onnx::read(&bytes).expect("what we wrote can be read").graph;
        if let Ok(executable) = engine.compile(&graph, &CompileOptions::default())
            && let Some(inputs) = inputs(&graph)
        {
            let _ = executable.run(&inputs.iter().collect::<Vec<_>>());
        }
    }
}

/// Ones for every input, open extents 2; `None` where a run would be large.
fn inputs(graph: &Graph) -> Option<Vec<Buffer>> {
    // of `400*N`, 800
    let named = |name: &str| name.split('*').filter_map(|f| f.parse().ok()).fold(2, usize::saturating_mul);
    let extent = |dim: &Dim| match dim {
        Dim::Fixed(n) => *n,
        Dim::Symbol(name) => named(name),
        Dim::Unknown => 2,
    };
    let mut total = 0u64;
    for (_, value) in graph.values() {
        let count = value.ty.shape.iter().flatten().map(extent).fold(8u64, |n, d| n.saturating_mul(d as u64));
        total = total.saturating_add(count);
    }
    if total > RUN {
        return None;
    }
    let one = |&input: &flatscape_graph::ValueId| {
        let ty = &graph.value(input).ty;
        let shape: Vec<usize> = ty.shape.as_ref()?.iter().map(extent).collect();
        Some(Buffer::from(Tensor::full(ty.dtype.unwrap_or(DType::F32), &shape, 1.0)))
    };
    graph.inputs().iter().map(one).collect()
}
