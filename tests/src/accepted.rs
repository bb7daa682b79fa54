//! What is accepted, both engines load: small graphs are spoiled in thousands of ways, read and admitted or refused like any file,
//! and the bytes that we then write are handed to each engine in a process of its own. It may refuse them; it must neither crash
//! nor hang. Deterministic: the same seeds give the same graphs. `FLATSCAPE_MUTANTS` sets how many there are of every seed.

mod child;
mod mutate;

use std::path::Path;
use std::time::{Duration, Instant};

use flatscape_graph::{Graph, onnx, text};
use flatscape_intake::model::admit;

use crate::provision::{onnx_runtime_library, root};
use mutate::Random;

/// Spoiled copies of every seed.
const MUTANTS: usize = 8;
/// How long reading and admitting one file may take on the clock of a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn what_is_accepted_both_engines_load_without_crash_or_hang() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (tried, accepted) = spoil(folder.path());
    // a test that refuses everything, or nothing, would say nothing
    assert!(accepted * 10 > tried && accepted * 10 < tried * 9, "{accepted} of {tried} are accepted");
    onnx_runtime_library();
    let faults: Vec<String> = std::thread::scope(|scope| {
        let ask = |engine: &'static str| {
            let folder = folder.path();
            scope.spawn(move || child::load_all(engine, folder, accepted))
        };
        let asked = ["ort", "tract"].map(ask);
        asked.into_iter().flat_map(|thread| thread.join().expect("a child is looked after")).collect()
    });
    assert!(faults.is_empty(), "{} of {accepted} accepted graphs\n\n{}", faults.len(), faults.join("\n\n"));
}

/// Writes what is accepted as `0.onnx`, `1.onnx`, … and counts what was tried and accepted.
fn spoil(folder: &Path) -> (usize, usize) {
    let (mut tried, mut accepted) = (0, 0);
    let rounds = std::env::var("FLATSCAPE_MUTANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(MUTANTS);
    for (name, seed) in seeds() {
        let mut random = Random::of(&name);
        for round in 0..rounds {
            let mut bytes = onnx::write(&mutate::spoiled(&seed, &mut random));
            if round % 4 == 3 {
                mutate::flip(&mut bytes, &mut random);
            }
            tried += 1;
            if let Some(graph) = admitted(&name, round, &bytes) {
                std::fs::write(folder.join(format!("{accepted}.onnx")), onnx::write(&graph)).expect("a file");
                std::fs::write(folder.join(format!("{accepted}.txt")), format!("{name}, round {round}")).expect("a file");
                accepted += 1;
            }
        }
    }
    (tried, accepted)
}

/// The normal form of a file, or `None` where it is refused. Neither may take long, and no file makes us panic.
fn admitted(name: &str, round: usize, bytes: &[u8]) -> Option<Graph> {
    let start = Instant::now();
    let found = std::panic::catch_unwind(|| {
        let file = onnx::read(bytes).ok()?;
        let graph = admit("mutant", &file).ok()?;
        graph.check().ok().map(|()| graph)
    });
    let graph = found.unwrap_or_else(|_| {
        let kept = std::env::temp_dir().join("flatscape-panics.onnx");
        let _ = std::fs::write(&kept, bytes);
        panic!("{name}, round {round}, panics: {}", kept.display())
    });
    assert!(start.elapsed() < PATIENCE, "{name}, round {round}, takes {:?}", start.elapsed());
    graph
}

/// The graphs of `tests/rules` in single precision.
fn seeds() -> Vec<(String, Graph)> {
    let entries = std::fs::read_dir(root().join("tests/rules")).expect("tests/rules is there");
    let mut paths: Vec<_> = entries.map(|e| e.expect("tests/rules can be listed").path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "onnxtxt"));
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().expect("a case has a name").to_string_lossy().into_owned();
        let source = std::fs::read_to_string(&path).expect("a case can be read");
        let single = source.replace("double", "float").replace("to = 11", "to = 1");
        text::parse(&single).ok().map(|graph| (name, graph))
    };
    let seeds: Vec<_> = paths.into_iter().filter_map(read).collect();
    assert!(seeds.len() > 150, "{} seeds", seeds.len());
    seeds
}

/// The child of the test above; does nothing when it is run by hand.
#[test]
#[ignore = "a child of another test"]
fn child_process() {
    child::work();
}
