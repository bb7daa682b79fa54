//! A program meets a model: linking, the attack loop, metrics, threat models, verification, and what they find.
//!
//! This crate computes. It writes no file, has no command line, and contains no attack and no metric: those arrive as plugins.
//!
//! ```
//! use flatscape_engine::{Choice, Settings, open};
//! use flatscape_intake::data::{Dataset, Request};
//! use flatscape_intake::model::{Intake, Model};
//! use flatscape_measure::{threats::ThreatModel, verify::Verifier};
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
pub mod canary;
pub mod columns;
pub mod dry_run;
mod error;
pub mod findings;
pub mod levels;
pub mod limits;
pub mod link;
pub mod losses;
mod measures;
pub mod metric;
pub mod oracle;
pub mod pace;
pub mod prepared;
pub mod reduction;
pub mod request;
pub mod stage;
pub mod statistics;
pub mod verify;

pub use flatscape_threats as threats;
