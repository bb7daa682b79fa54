//! Jobs become rows and a run directory: planning, executing, certificates, doubts, numbers with intervals.
//!
//! A [`plan`] becomes a [`manifest`] once its files are read, and the manifest becomes [`job`]s, all written before the first one
//! is computed. [`compute`] turns a job into a result, [`execute`] decides who does it. Tables, pages and verdicts are made of the
//! directory alone ([`stored`], [`rows`], [`publish`]).
//!
//! This crate has no command line, draws no picture, and contains no attack and no metric: those arrive as plugins.

pub mod audit;
pub mod bounds;
pub mod claim;
pub mod compute;
pub mod directory;
mod escalation;
mod estimate;
pub mod execute;
mod exhibits;
pub mod flags;
pub mod job;
pub mod landscape;
pub mod ledger;
pub mod manifest;
pub mod plan;
pub mod profiles;
pub mod publish;
pub mod requirement;
pub mod result;
pub mod rows;
mod sources;
pub mod stored;
pub mod verify;
pub mod violations;
mod weight_surfaces;
pub mod witness;
