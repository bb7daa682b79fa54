//! Jobs become rows and a run directory: planning, executing, certificates, doubts, numbers with intervals.
//!
//! This crate knows how everything fits together and has the engines to ask. It has no command line, draws no picture, and
//! contains no attack and no metric: those arrive as plugins.

pub mod audit;
pub mod certificate;
pub mod directory;
pub mod flags;
pub mod job;
pub mod landscape;
pub mod profiles;
pub mod statistics;
pub mod summary;
pub mod violations;
pub mod witness;
