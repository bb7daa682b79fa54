//! What a report shows beyond rates: what becomes of each class, single adversarial examples as pictures, distributions of log p, and
//! landscapes as characters. It knows the columns of `samples.csv` and the adversarial examples of a run; it reads and writes no file,
//! and the same input gives the same bytes.
//!
//! ```
//! use flatscape_report::{SampleKey, SampleValue, Samples};
//! use flatscape_views::{Examples, classes};
//!
//! let mut samples = Samples::default();
//! for (id, outcome) in [(0, "held"), (1, "broken")] {
//!     let key = SampleKey { model: "a".into(), threat: "linf:0.1".into(), id, label: 3, prediction: Some(3) };
//!     samples.set(&key, "pgd.outcome", SampleValue::Text(outcome.into()));
//! }
//! let tables = classes(&samples, &Examples::default());
//! assert_eq!((tables[0].rows[0].clean.0, tables[0].rows[0].robust.map(|rate| rate.0)), (1.0, Some(0.5)));
//! ```

mod classes;
mod closeups;
mod examples;
mod histograms;
mod picture;
mod png;
mod terminal;

pub use classes::classes;
pub use closeups::{Chosen, closeups};
pub use examples::{Example, Examples, Witnesses};
pub use histograms::histograms;
pub use picture::pictures;
pub use terminal::{Look, terminal};
