//! What we say about a model: data sets, cards, threat models, the attack loop, verification, metrics, numbers with intervals.
//!
//! This crate knows how everything fits together and has the engines to ask. It has no command line, draws no picture, and
//! contains no attack and no metric: those arrive as plugins.
//!
//! ```
//! use flatscape_audit::data::{Dataset, Request};
//! use flatscape_audit::inspect::Inspection;
//! use flatscape_audit::model::{Intake, Model, Native};
//! use flatscape_audit::{threats::ThreatModel, verify::Verifier};
//! use flatscape_engine::{Choice, Settings, open};
//!
//! // what can be read off a file without running it
//! let native = Native::load("digits-standard", &Intake::default())?;
//! assert!(Inspection::of(&native).hazards.is_empty());
//!
//! // pixels in, logits out, on the engine that is compiled in
//! let engine = open(&Settings { choice: Choice::Tract, ..Settings::default() })?;
//! let images = Dataset::load(&Request { limit: Some(8), ..Request::new("digits") })?;
//! let model = Model::load("digits-standard", &Intake::default(), &images, engine.as_ref())?;
//! let judge = Verifier::new(engine.as_ref(), &model.graph, &ThreatModel::parse("linf:0.1", false)?, 4)?;
//! assert_eq!(judge.logits(&images.batch(0..8).x)?[0].len(), 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod attack;
pub mod audit;
pub mod card;
pub mod certificate;
pub mod conduct;
pub mod data;
pub mod directory;
pub mod files;
pub mod findings;
pub mod flags;
pub mod functions;
pub mod gradient;
pub mod grid;
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
