//! The operators: for each one its result types, and how constants are folded. One row per operator, by family.

use std::sync::Arc;

use crate::ir::{Dim, Graph, Node, ValueType};
use crate::tensor::Tensor;

/// What inference found about one result.
#[derive(Clone, Debug, Default)]
pub struct Inferred {
    /// Element type and shape.
    pub ty: ValueType,
    /// For small integer results, the elements as extents.
    pub extents: Option<Vec<Dim>>,
}

/// Infers the results of a node from its operands. The error is a clause without subject («the axis 5 is outside rank 4»).
pub fn infer(_graph: &Graph, node: &Node) -> Result<Vec<Inferred>, String> {
    Ok(vec![Inferred::default(); node.outputs.len()])
}

/// The elements of a small integer tensor of rank 0 or 1 as extents (negative ones are unknown).
pub fn extents_of(tensor: &Arc<Tensor>) -> Option<Vec<Dim>> {
    if tensor.shape().len() > 1 || tensor.len() > 64 {
        return None;
    }
    let ints = tensor.to_ints()?;
    Some(ints.into_iter().map(|v| usize::try_from(v).map_or(Dim::Unknown, Dim::Fixed)).collect())
}

/// The number of an element type in ONNX files (`TensorProto.DataType`).
pub fn onnx_code(dtype: crate::DType) -> i64 {
    use crate::DType;
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bool => 9,
        DType::F64 => 11,
    }
}
