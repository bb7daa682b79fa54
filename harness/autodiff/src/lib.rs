//! Differentiation from graph to graph: a table with one rule per operator and the driver that applies it in reverse.
//!
//! This crate knows derivatives. It does no I/O, runs nothing, and knows no engines, losses or attacks. What it
//! appends are operators of the standard domain that have a rule themselves, so differentiating twice is calling twice.
//!
//! ```
//! use flatscape_autodiff::vjp;
//! use flatscape_graph::{Builder, onnx, simplify, text};
//!
//! let graph = text::parse("cube (float[N,3] x) => (float[N,3] y) { s = Mul(x, x)  y = Mul(s, x) }")?;
//! let (x, y) = (graph.inputs()[0], graph.outputs()[0].value);
//! let builder = Builder::new(graph);
//! let ones = builder.expr(y).scalar(1.0).expand_like(builder.expr(y));
//! // the gradient of Σ y, and the product of its own derivative with ones: the same call again
//! let first = vjp(&builder, y, ones.id, &[x])?[0].ok_or("x does not reach y")?;
//! let second = vjp(&builder, first, ones.id, &[x])?[0].ok_or("x does not reach its gradient")?;
//! builder.output("gradient", builder.expr(first));
//! builder.output("curvature", builder.expr(second));
//! let file = onnx::write(&simplify(&builder.into_graph()));
//! assert_eq!(onnx::read(&file)?.graph.outputs().len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/gradient.rs` does the same with a file.

mod application;
mod book;
mod coverage;
mod driver;
mod error;
mod marks;
mod rule;
mod rules;
mod table;
mod window;

pub use application::Application;
pub use book::{Collapse, Join, Rulebook};
pub use coverage::{Coverage, Step, Verdict, carrying, coverage};
pub use driver::{vjp, vjp_by, write_out};
pub use error::{DiffError, Why};
pub use marks::without_marks;
pub use rule::{Class, EachFormula, Formula, Integers, Passage, Rule, Written, rule_for};
pub use rules::{FAMILIES, RULES};
pub use table::rules_table;
