//! Plugins, isolated: finds and checks their files, loads them in a child process, asks them, and checks every answer.
//!
//! [`Plugins::discover`] finds them; [`Component::arguments`] reads what a user wrote; [`Plugins::build`] gives a [`Program`] of
//! checked graphs; [`Plugins::run_oracle`] lets a component with control flow of its own ask an [`Oracle`];
//! [`Plugins::reduce`] lets a metric reduce the rows of all samples. This crate knows the
//! plugin interface and graphs. It knows no models, engines or reports, and it runs no graph.

pub mod builtin;
mod check;
mod component;
mod error;
mod extents;
mod guard;
mod names;
mod oracle;
mod params;
mod plugins;
mod program;
mod reduction;
mod search;
mod service;
mod session;
mod task;
mod template;
#[cfg(test)]
mod training_tests;
mod wire;
mod worker;

pub use check::{CheckItem, CheckReport, CheckedProgram, check};
pub use component::{Component, Goal, HOST_ARGUMENTS, Iterates, Kind, Plugin, RESERVED, STANDARD};
pub use error::{Blame, HostError};
pub use flatscape_abi::names as protocol;
pub use names::Noise;
pub use oracle::{Batch, Law, Oracle, OracleError};
pub use params::{Argument, Arguments, Param, ParamType, Value, parse_float};
pub use plugins::Plugins;
pub use program::{AttackStatistics, Program, Role, TrainingData};
pub use reduction::{Curve, Reduced, ReducedValue, Table};
pub use search::{PLUGIN_PATH, Search};
pub use session::{Limits, Note, PLUGIN_MEMORY, PLUGIN_SECONDS, WorkerCommand};
pub use task::Task;
pub use template::{Language, Template, new_plugin};
pub use worker::worker_main;
