//! The textual form of ONNX, for people, fixtures and plugins: `agraph (float[N,3] x) => (float[N,3] y) { y = Relu(x) }`.
//!
//! The syntax is that of `onnx.parser` and `onnx.printer`. Beyond it, the name of the graph may be left out, and `\u{1b}` in a
//! quoted name or string is the character with that number, so that nothing printed here moves a terminal's cursor.
//! Left out: functions, external data, and types that no [`crate::Tensor`] holds.

mod lex;
mod parse;
mod print;

pub use parse::parse;
pub use print::{print, print_whole};

/// Why a text is not a graph, and where: line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// A sentence.
    pub what: String,
}

#[cfg(test)]
mod tests;
