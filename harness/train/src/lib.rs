//! Training of a classifier in an ONNX file: costs and optimizers arrive as plugins, parameters are inputs of the compiled graphs, and
//! the result is an ONNX file with the interface of the one it came from.
//!
//! This crate contains no trainer, no optimizer and no attack, and never reads the test half of a data set.

pub mod augment;
pub mod checkpoint;
mod directory;
pub mod evaluate;
pub mod learner;
pub mod manifest;
pub mod plan;
pub mod prepare;
mod publish;
mod refresh;
mod replay;
pub mod run;
pub mod schedule;
pub mod store;
mod sums;
pub mod update;
pub mod watch;

pub use flatscape_weights::form;

#[cfg(test)]
mod tests;
