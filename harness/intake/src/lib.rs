//! From a user's files to a [`model::Model`] and a [`data::Dataset`]: opening, cards, preprocessing, hazards, remedies, and
//! refusals with their reasons.
//!
//! This crate knows no plugins, attacks or run directories.
//!
//! ```
//! use flatscape_intake::inspect::Inspection;
//! use flatscape_intake::model::{Intake, Native};
//!
//! // what can be read off a file without running it
//! let native = Native::load("digits-standard", &Intake::default())?;
//! assert!(Inspection::of(&native).hazards.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod card;
pub mod data;
pub mod doubt;
pub mod files;
pub mod functions;
pub mod gradient;
pub mod hazards;
pub mod inspect;
pub mod model;
pub mod number;
pub mod random;
pub mod refusal;
pub mod remedies;
pub mod scores;
pub mod suggest;
#[cfg(test)]
mod trial;
