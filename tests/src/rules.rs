//! Every gradient rule: against central differences and golden values in double precision, and in single precision on every
//! engine, first and second order. A case is a file in `tests/rules`, `tests/golden/autograd` or `tests/golden/structure`; none needs Rust.
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
//! | `# opset: 20` | the graph is of this opset, which is normalised; else it stands as it is |

mod case;
mod dead;
mod differences;
pub mod exceptions;
mod golden;
mod mistakes;
mod program;
mod size;
mod structure;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use flatscape_engine::{Choice, Engine, Settings};

use crate::provision::onnx_runtime_with;

/// A directory of this crate.
fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Both engines, with one thread each: the same numbers in every run.
fn engines() -> [Arc<dyn Engine>; 2] {
    let settings = Settings { choice: Choice::Tract, threads: 1, ..Settings::default() };
    [flatscape_engine::open(&settings).expect("tract is compiled in"), onnx_runtime_with(1)]
}
