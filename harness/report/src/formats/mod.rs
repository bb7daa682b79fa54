//! Everything that is made from a run beside its tables and its page. A writer is a pure function of a [`Page`](crate::Page); the
//! same page gives the same bytes. Everything that is printed may be hostile.

mod json;
mod junit;
mod markdown;
mod provenance;
mod sarif;

#[cfg(test)]
pub(crate) mod tests;

pub use json::{SCHEMA_VERSION, results_json};
pub use junit::junit_xml;
pub use markdown::results_md;
pub use sarif::results_sarif;
