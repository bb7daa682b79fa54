//! What we say about a model: data sets, cards, threat models, the attack loop, verification, metrics, numbers with intervals.
//!
//! This crate knows how everything fits together and has the engines to ask. It has no command line, draws no picture, and
//! contains no attack and no metric: those arrive as plugins.

pub mod attack;
pub mod audit;
pub mod card;
pub mod conduct;
pub mod data;
pub mod directory;
pub mod files;
pub mod findings;
pub mod flags;
pub mod functions;
pub mod gradient;
pub mod hazards;
pub mod inspect;
pub mod intake;
pub mod landscape;
pub mod link;
pub mod metric;
pub mod model;
pub mod oracle;
pub mod profiles;
pub mod random;
pub mod rehearsal;
pub mod remedies;
pub mod request;
pub mod shard;
pub mod stage;
pub mod statistics;
pub mod suggest;
pub mod summary;
pub mod threats;
#[cfg(test)]
mod trial;
pub mod verify;
pub mod witness;
