//! What we say about a model: data sets, cards, threat models, the attack loop, verification, metrics, numbers with intervals.
//!
//! This crate knows how everything fits together and has the engines to ask. It has no command line, draws no picture, and
//! contains no attack and no metric: those arrive as plugins.

pub mod data;
pub mod files;
pub mod functions;
pub mod intake;
pub mod random;
pub mod statistics;
pub mod threats;
