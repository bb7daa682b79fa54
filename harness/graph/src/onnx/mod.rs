//! ONNX files as bytes: read with suspicion, written the same way every time. Nothing here opens a file.

mod fault;
mod functions;
mod half;
mod interface;
mod order;
mod own;
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, dead_code)]
mod proto;
mod read;
mod scan;
mod schema;
mod sniff;
mod tensor;
mod write;

pub use fault::{Fault, ReadError};
pub use own::{OwnFile, self_contained};
pub use read::{ExternalTensor, ModelFile, read, read_rounded, read_with};
pub use write::{write, write_described};

use std::sync::Arc;

use crate::ir::{Attribute, Attributes};
use crate::tensor::Tensor;

/// The newest version of the ONNX file format that is read.
pub const NEWEST_IR_VERSION: i64 = 13;

/// The newest opset of the standard domain that is known.
pub const NEWEST_OPSET: i64 = 27;

/// The tensor that a `Constant` node stands for, or `None` if no attribute says it in a way that is read.
pub(crate) fn constant_value(attributes: &Attributes) -> Option<Arc<Tensor>> {
    attributes.0.iter().find_map(|(name, value)| match (name.as_str(), value) {
        ("value", Attribute::Tensor(tensor)) => Some(tensor.clone()),
        ("value_float", Attribute::Float(v)) => Some(Arc::new(Tensor::scalar(*v))),
        ("value_int", Attribute::Int(v)) => Some(Arc::new(Tensor::scalar(*v))),
        ("value_floats", Attribute::Floats(v)) => Tensor::new(&[v.len()], v.clone()).map(Arc::new),
        ("value_ints", Attribute::Ints(v)) => Some(Arc::new(Tensor::ints(v))),
        _ => None,
    })
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
