//! What a model is: ONNX in, ONNX out, and the graph in between.
//!
//! This crate knows ONNX files (bytes), the textual form of ONNX, operators and their shapes, and how to rewrite one graph
//! into another. It does no I/O, evaluates only constants, and knows no gradients, engines or attacks.
//!
//! ```
//! use flatscape_graph::{Builder, DType, Dim, Graph, ValueType, onnx, simplify, text};
//!
//! // formulas build graphs; types are inferred while they grow
//! let builder = Builder::new(Graph::new("half"));
//! let x = builder.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(3)]));
//! builder.output("y", (x / 2.0).relu().sum(&[1], false));
//! let graph = simplify(&builder.into_graph());
//! graph.check()?;
//!
//! // bytes out, bytes in, and the textual form of ONNX for people
//! let read = onnx::read(&onnx::write(&graph))?.graph;
//! assert_eq!(read.value(read.outputs()[0].value).ty.to_string(), "float[N]");
//! assert!(text::print(&read).contains("Relu"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attributes;
mod batch;
mod check;
mod compare;
mod expr;
pub mod hash;
mod inline;
mod ir;
mod limits;
mod name;
pub mod normalize;
pub mod onnx;
pub mod ops;
mod simplify;
mod subgraph;
mod tensor;
pub mod text;
mod types;

pub use batch::follow_the_batch;
pub use check::CheckError;
pub use expr::{Builder, Expr, Operand};
pub use inline::InlineError;
pub use ir::{Attribute, Attributes, Dim, Graph, Node, NodeId, Output, Problem, Shape, Value, ValueId, ValueType};
pub use limits::{CONSTANT_BYTES, CONSTANT_FACTOR, VALUE_BYTES};
pub use name::{escape, shown};
pub use simplify::simplify;
pub use subgraph::Subgraph;
pub use tensor::{DType, Element, Tensor, rows};

/// The one opset that normalised graphs and everything written by flatscape use.
pub const OPSET: i64 = 18;
