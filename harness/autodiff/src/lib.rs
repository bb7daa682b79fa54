//! Differentiation from graph to graph: a table with one rule per operator and the driver that applies it in reverse.
//!
//! This crate knows derivatives. It does no I/O, runs nothing, and has never heard of an engine, a loss or an attack. What it
//! appends are operators of the standard domain that have a rule themselves, so differentiating twice is calling twice.

mod book;
mod coverage;
mod driver;
mod error;
mod marks;
mod rule;
mod rules;
mod site;
mod table;
mod window;

pub use book::{Collapse, Join, Rulebook};
pub use coverage::{Coverage, Step, Verdict, carrying, coverage};
pub use driver::{vjp, vjp_by};
pub use error::{DiffError, Why};
pub use marks::without_marks;
pub use rule::{EachFormula, Formula, Kind, Rule, rule_for};
pub use rules::{FAMILIES, RULES};
pub use site::Site;
pub use table::rules_table;
