//! From a user's files to a [`model::Model`] that fits a [`data::Dataset`]: cards, preprocessing, gradient files. Images, files and
//! refusals are those of the crate `flatscape-data`, hazards and remedies those of `flatscape-hazards`, named here again because
//! every model needs them.
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

pub use flatscape_data::{self as data, files, number, refusal};
pub use flatscape_hazards::{doubt, drawn, functions, hazards, remedies, surrogates};

pub mod card;
pub mod gradient;
pub mod inspect;
pub mod mcnemar;
pub mod model;
pub mod random;
pub mod scores;
pub mod suggest;
