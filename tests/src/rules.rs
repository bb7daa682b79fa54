//! Every gradient rule: against central differences and golden values in double precision, and in single precision on every
//! engine, first and second order. A case is a file in `tests/rules` or `tests/golden/autograd`; none needs Rust.
//!
//! A case in `tests/rules/<name>.onnxtxt` is one small graph. Inputs are drawn from a seed: no two elements of one input are
//! equal and none is close to 0. Comments in front of the graph steer:
//!
//! | comment | meaning |
//! |---|---|
//! | `# range: 0.3..2` | where floats are drawn from; −2..2 otherwise |
//! | `# ints: 0..4` | where integers are drawn from; 0..2 otherwise |
//! | `# wrt: x w` | the inputs that are differentiated; all float inputs otherwise |
//! | `# central-differences: no` | only the other comparisons |
//! | `# second-order: no` | only first order |
//! | `# tolerance: 1e-7` | relative error against central differences; 1e-8 otherwise |
//! | `# float32: no` | only double precision |

mod case;
mod differences;
mod exceptions;
mod golden;
mod program;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use flatscape_engine::{Choice, Engine, Settings};

/// A directory of this crate.
fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn tract() -> Arc<dyn Engine> {
    let settings = Settings { choice: Choice::Tract, threads: 1, ..Settings::default() };
    flatscape_engine::open(&settings).expect("tract is compiled in")
}

/// ONNX Runtime, if `FLATSCAPE_TEST_ORT` names its library.
fn ort() -> Option<Arc<dyn Engine>> {
    let Some(library) = std::env::var_os("FLATSCAPE_TEST_ORT") else {
        eprintln!("SKIPPED on ONNX Runtime: FLATSCAPE_TEST_ORT does not name its library");
        return None;
    };
    let settings = Settings { choice: Choice::Ort, library: Some(library.into()), threads: 1, ..Settings::default() };
    Some(flatscape_engine::open(&settings).expect("FLATSCAPE_TEST_ORT names a library that loads"))
}

/// tract, and ONNX Runtime if it is there.
fn engines() -> Vec<Arc<dyn Engine>> {
    [Some(tract()), ort()].into_iter().flatten().collect()
}
